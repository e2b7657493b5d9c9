#include "memoized.h"

#include "load.h"
#include "protocol.h"
#include "ready.h"
#include "visit.h"

PyTypeObject *sv_memoized_type = NULL;

static const sv_counts no_counts;

static PyObject *stored_form(sv_memo *memo, PyObject *value)
{
    return (memo->flags & SV_ASYNC) ? sv_ready_new(value, 0) : Py_NewRef(value);
}

/* ------------------------------------------------------------------ verbs */

static PyObject *cache_contains(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *holder;
    sv_asked asked;
    sv_handle handle;
    int found;
    if (sv_memo_ask(memo, args, positional, kwnames, &asked, &holder) != SV_OK)
        return NULL;
    sv_pouch nothing;
    SV_POUCH_EMPTY(&nothing);
    SV_LOCK(self)
    found = sv_memo_find_locked(memo, &asked, &handle);
    if (found == 1)
        found = sv_memo_has_answer_locked(memo, handle, asked.now);
    SV_UNLOCK()
    sv_memo_drop(memo, &nothing);
    Py_XDECREF(holder);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyObject *cache_invalidate(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *holder;
    sv_asked asked;
    sv_handle handle;
    sv_pouch pouch;
    int found;
    SV_POUCH_EMPTY(&pouch);
    if (sv_memo_ask(memo, args, positional, kwnames, &asked, &holder) != SV_OK)
        return NULL;
    SV_LOCK(self)
    found = sv_memo_find_locked(memo, &asked, &handle);
    if (found >= 0) {
        memo->store.fences++;
        memo->store.epoch++; /* also when nothing leaves: a load without a number must see it */
        if (memo->store.ledger != NULL)
            sv_fences_key(memo->store.ledger->fences, asked.hash);
    }
    if (found == 1) {
        found = sv_memo_has_answer_locked(memo, handle, asked.now);
        sv_store_remove(&memo->store, handle, SV_DELETED, &pouch);
    }
    SV_UNLOCK()
    sv_memo_drop(memo, &pouch);
    Py_XDECREF(holder);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* The tags of a call's answer (new reference): None, or a tuple of str. NULL with an exception set. */
static PyObject *tags_of(sv_memo *memo, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    PyObject *tags, *tuple, *dict;
    if (!(memo->flags & SV_STEERED))
        return Py_NewRef(Py_None);
    if (sv_call_parts(args, positional, kwnames, &tuple, &dict) != SV_OK)
        return NULL;
    tags = PyObject_CallFunctionObjArgs(sv_words.tags_of, (PyObject *)memo, tuple, dict, NULL);
    Py_DECREF(tuple);
    Py_DECREF(dict);
    if (tags != NULL && sv_want_tags(tags) != SV_OK)
        Py_CLEAR(tags);
    return tags;
}

/* Store a value (kept) with these tags for a key: SV_OK or SV_RAISED. */
static int set_value(sv_memo *memo, const sv_asked *asked, PyObject *value, PyObject *tags)
{
    sv_handle handle;
    sv_pouch pouch;
    int status = SV_OK;
    SV_POUCH_EMPTY(&pouch);
    PyObject *key = NULL, *stored = stored_form(memo, value);
    if (stored == NULL)
        return SV_RAISED;
    sv_line lines, *line = sv_memo_line(memo, &lines);
    SV_LOCK(memo)
    if (line != NULL)
        status = sv_line_begin_locked(&memo->store, line, line->terms, tags, line->now, 1);
    if (status == SV_OK)
        status = sv_memo_find_or_key_locked(memo, asked, &handle, &key);
    if (status >= 0) {
        memo->store.fences++;
        memo->store.epoch++; /* also when there is no memory to store it: a load without a number must see it */
        if (memo->store.ledger != NULL)
            sv_fences_key(memo->store.ledger->fences, asked->hash);
    }
    if (status == 1) {
        status = sv_store_set_steal(&memo->store, handle, stored, line, &pouch);
        if (status == SV_OK)
            stored = NULL;
    } else if (status == 0) {
        status = sv_store_insert(&memo->store, key, asked->hash, stored, line, &pouch);
        if (status == SV_OK)
            key = stored = NULL;
    }
    if (line != NULL)
        sv_line_end_locked(&memo->store, line);
    SV_UNLOCK()
    Py_XDECREF(key);
    Py_XDECREF(stored);
    sv_memo_drop(memo, &pouch);
    return status == SV_OK ? SV_OK : sv_store_error(status);
}

static PyObject *cache_set(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *holder;
    sv_asked asked;
    if (positional < 1) {
        PyErr_SetString(PyExc_TypeError, "cache_set() needs the value as its first positional argument: "
                                         "cache_set(value, *args, **kwargs)");
        return NULL;
    }
    if (sv_memo_ask(memo, args + 1, positional - 1, kwnames, &asked, &holder) != SV_OK)
        return NULL;
    int status = SV_OK;
    if (!(memo->flags & SV_UNCACHED)) {
        PyObject *tags = tags_of(memo, args + 1, positional - 1, kwnames);
        status = tags == NULL ? SV_RAISED : set_value(memo, &asked, args[0], tags);
        Py_XDECREF(tags);
    }
    Py_XDECREF(holder);
    if (status != SV_OK)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *cache_key(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    PyObject *holder;
    sv_asked asked;
    if (sv_memo_ask((sv_memo *)self, args, positional, kwnames, &asked, &holder) != SV_OK)
        return NULL;
    PyObject *key = sv_asked_public(&asked);
    Py_XDECREF(holder);
    return key;
}

/* Begin a load of this key whatever is stored or on its way. SV_OK or SV_RAISED. */
static int begin_refresh(sv_memo *memo, const sv_asked *asked, uint32_t *number)
{
    uint64_t leader = sv_thread_number();
    sv_handle handle;
    PyObject *key = NULL;
    int status;
    SV_LOCK(memo)
    status = sv_memo_find_or_key_locked(memo, asked, &handle, &key);
    if (status == 1)
        status = sv_store_begin_again(&memo->store, handle, leader, number);
    else if (status == 0) {
        status = sv_store_begin(&memo->store, key, asked->hash, leader, number);
        if (status == SV_OK)
            key = NULL;
    }
    memo->store.counts.loads += status == SV_OK;
    SV_UNLOCK()
    Py_XDECREF(key);
    return status == SV_OK ? SV_OK : sv_store_error(status);
}

static PyObject *cache_refresh(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *holder, *answer;
    sv_asked asked;
    if (memo->flags & SV_UNCACHED)
        return sv_memo_call_counted(memo, args, (size_t)positional, kwnames);
    if (sv_memo_ask(memo, args, positional, kwnames, &asked, &holder) != SV_OK)
        return NULL;
    if (memo->flags & (SV_ASYNC | SV_STEERED)) {
        PyObject *maker = (memo->flags & SV_STEERED) ? sv_words.renew : sv_words.refresh;
        answer = sv_memo_coroutine(memo, maker, &asked, args, positional, kwnames);
    } else {
        uint32_t number;
        answer = NULL;
        if (begin_refresh(memo, &asked, &number) == SV_OK)
            answer = sv_memo_settle_steal(memo, number,
                                          sv_memo_call_fn(memo, args, (size_t)positional, kwnames));
    }
    Py_XDECREF(holder);
    return answer;
}

static PyObject *cache_stats(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_memo *memo = (sv_memo *)self;
    const sv_ledger *ledger = memo->store.ledger;
    sv_counts counts = no_counts;
    uint64_t gone[SV_CAUSES] = {0}, stale_hits = 0;
    uint32_t current;
    if (sv_memo_sweep_all(memo) != SV_OK)
        return NULL;
    SV_LOCK(self)
    counts = memo->store.counts;
    current = memo->store.current;
    if (ledger != NULL) {
        memcpy(gone, ledger->gone, sizeof(gone));
        stale_hits = ledger->stale_hits;
    }
    SV_UNLOCK()
    PyObject *maxsize = memo->store.maxsize == SV_UNBOUNDED ? Py_NewRef(Py_None)
                                                            : PyLong_FromUnsignedLongLong(memo->store.maxsize);
    if (maxsize == NULL)
        return NULL;
    return PyObject_CallFunction(sv_words.stats, "KKKKKKINKKKKKKKKKKK", (unsigned long long)counts.hits,
                                 (unsigned long long)counts.misses, (unsigned long long)counts.coalesced,
                                 (unsigned long long)counts.loads, (unsigned long long)counts.failures,
                                 (unsigned long long)counts.evictions, (unsigned int)current, maxsize,
                                 (unsigned long long)stale_hits, (unsigned long long)gone[SV_EXPIRED],
                                 (unsigned long long)gone[SV_REPLACED], (unsigned long long)gone[SV_DELETED],
                                 (unsigned long long)gone[SV_INVALIDATED], (unsigned long long)gone[SV_CLEARED],
                                 (unsigned long long)counts.told[SV_TOLD_EARLY],
                                 (unsigned long long)counts.told[SV_TOLD_QUEUED],
                                 (unsigned long long)counts.told[SV_TOLD_REFUSED],
                                 (unsigned long long)counts.told[SV_TOLD_SHARED],
                                 (unsigned long long)counts.told[SV_TOLD_RESCUED]);
}

/* ------------------------------------------------------------------ the protocol of a load (protocol.h) */

#define PROTOCOL(verb)                                                                     \
    static PyObject *memo_##verb(PyObject *self, PyObject *const *args, Py_ssize_t count)  \
    {                                                                                      \
        return sv_protocol_##verb(self, &((sv_memo *)self)->store, args, count);           \
    }
PROTOCOL(join)
PROTOCOL(refresh_begin)
PROTOCOL(settle)
PROTOCOL(drop)
PROTOCOL(abandon)
PROTOCOL(recheck)
PROTOCOL(tally)
PROTOCOL(watch_fences)
PROTOCOL(fenced_at)

/* What is stored of an outcome (new reference): of an `async def` an awaitable that is done, of an exception that the
 * memo remembers something that raises it; NULL, and no error, for one that it does not. SV_OK or SV_RAISED. */
static int outcome_form(sv_memo *memo, PyObject *outcome, int raises, PyObject **stored)
{
    *stored = NULL;
    if (raises && !sv_memo_remembers(memo, outcome))
        return SV_OK;
    if (memo->flags & SV_ASYNC)
        *stored = sv_ready_new(outcome, raises);
    else
        *stored = raises ? sv_ready_new(outcome, SV_REMEMBERED_ERROR) : Py_NewRef(outcome);
    return *stored == NULL ? SV_RAISED : SV_OK;
}

/* _form(outcome, raises) -> what is stored of it, or MISSING for an exception that is not. An exception is counted. */
static PyObject *protocol_form(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *stored;
    if (sv_want("_form", 2, count) != SV_OK)
        return NULL;
    int raises = args[1] == Py_True;
    SV_LOCK(self)
    memo->store.counts.failures += (uint64_t)raises;
    SV_UNLOCK()
    if (outcome_form(memo, args[0], raises, &stored) != SV_OK)
        return NULL;
    return stored == NULL ? Py_NewRef(sv_missing) : stored;
}

/* _answer(stored) -> what the caller gets for it, or the exception that it is. */
static PyObject *protocol_answer(PyObject *self, PyObject *stored)
{
    PyObject *answer = sv_memo_answer_steal((sv_memo *)self, Py_NewRef(stored));
    if (answer != NULL && (((sv_memo *)self)->flags & SV_ASYNC))
        Py_SETREF(answer, sv_ready_outcome(answer));
    return answer;
}

/* _now() -> the time by the memo's clock, in seconds; 0.0 where answers have no end. */
static PyObject *protocol_now(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    const sv_ledger *ledger = ((sv_memo *)self)->store.ledger;
    uint64_t now;
    if (ledger == NULL)
        return PyFloat_FromDouble(0.0);
    return sv_ledger_now_precisely(ledger, &now) != SV_OK ? NULL : PyFloat_FromDouble(sv_ledger_seconds(now));
}

/* The value of the keyword `soft`: 0, 1, or SV_RAISED. */
static int read_soft(PyObject *const *values, PyObject *kwnames)
{
    int soft = 0;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "soft") != 0) {
            PyErr_Format(PyExc_TypeError, "cache_invalidate_tags() takes tags and soft=, not %U=", name);
            return SV_RAISED;
        }
        if (!PyBool_Check(values[i])) {
            PyErr_Format(PyExc_TypeError, "cache_invalidate_tags: soft must be True or False, not %R", values[i]);
            return SV_RAISED;
        }
        soft = values[i] == Py_True;
    }
    return soft;
}

/* A tuple of exact str: a member of a StrEnum is the text that it stands for. */
static PyObject *read_tags(PyObject *const *args, Py_ssize_t count)
{
    PyObject *tags = PyTuple_New(count);
    for (Py_ssize_t i = 0; tags != NULL && i < count; i++) {
        PyObject *tag = PyUnicode_Check(args[i]) ? PyUnicode_FromObject(args[i]) : NULL;
        if (tag == NULL) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_TypeError, "cache_invalidate_tags: tags must be texts, and %R is none", args[i]);
            Py_CLEAR(tags);
            break;
        }
        PyTuple_SET_ITEM(tags, i, tag);
    }
    return tags;
}

/* cache_invalidate_tags(*tags, soft=False) */
static PyObject *cache_invalidate_tags(PyObject *self, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames)
{
    int soft = read_soft(args + positional, kwnames);
    PyObject *tags = soft < 0 ? NULL : read_tags(args, positional);
    if (tags == NULL)
        return NULL;
    int status = sv_store_invalidate_tags(self, &((sv_memo *)self)->store, tags, soft);
    Py_DECREF(tags);
    if (status != SV_OK)
        return NULL;
    Py_RETURN_NONE;
}

/* _alone() -> fences: count a load that nobody can join. */
static PyObject *protocol_alone(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_memo *memo = (sv_memo *)self;
    uint64_t fences;
    SV_LOCK(self)
    memo->store.counts.misses++;
    memo->store.counts.loads++;
    fences = memo->store.fences;
    SV_UNLOCK()
    return PyLong_FromUnsignedLongLong(fences);
}

/* _keep(key, outcome, raises, fences): store what a load alone found, unless a fence came up or the key is there. */
static PyObject *protocol_keep(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_memo *memo = (sv_memo *)self;
    if (sv_want("_keep", 4, count) != SV_OK)
        return NULL;
    PyObject *key = args[0];
    sv_asked asked;
    sv_handle handle;
    int status, raises = PyObject_IsTrue(args[2]);
    uint64_t fences = PyLong_AsUnsignedLongLong(args[3]);
    if (raises < 0 || PyErr_Occurred() || sv_asked_reread(&asked, &key, memo->rules) != SV_OK)
        return NULL;
    PyObject *stored, *consumed;
    sv_pouch pouch;
    sv_line lines, *line = sv_memo_line(memo, &lines);
    asked.now = line == NULL ? 0 : line->now;
    SV_POUCH_EMPTY(&pouch);
    if (outcome_form(memo, args[1], raises, &stored) != SV_OK)
        return NULL;
    consumed = Py_NewRef(key); /* find_or_key makes none: we have one */
    SV_LOCK(self)
    memo->store.counts.failures += (uint64_t)raises;
    status = stored == NULL ? 1 : sv_memo_find_or_key_locked(memo, &asked, &handle, &consumed);
    if (status == 0 && memo->store.fences == fences) {
        status = sv_store_insert(&memo->store, consumed, asked.hash, stored, line, &pouch);
        if (status == SV_OK)
            consumed = stored = NULL;
    } else if (status == 1) {
        status = SV_OK;
    }
    SV_UNLOCK()
    Py_XDECREF(consumed);
    Py_XDECREF(stored);
    sv_memo_drop(memo, &pouch);
    if (status != SV_OK) {
        sv_store_error(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *get_coalesce(PyObject *self, void *nothing)
{
    (void)nothing;
    return PyBool_FromLong(((sv_memo *)self)->flags & SV_COALESCE);
}

static PyObject *get_exceptions(PyObject *self, void *nothing)
{
    (void)nothing;
    PyObject *exceptions = ((sv_memo *)self)->exceptions;
    return exceptions == NULL ? PyTuple_New(0) : Py_NewRef(exceptions);
}

static PyObject *get_copy(PyObject *self, void *nothing)
{
    (void)nothing;
    PyObject *copy = ((sv_memo *)self)->copy;
    return Py_NewRef(copy == NULL ? Py_None : copy);
}

/* ------------------------------------------------------------------ the type */

int sv_memo_read_options(PyObject *args, PyObject **fn, sv_memo_options *options)
{
    PyObject *maxsize, *key_of, *exceptions, *copy, *fresh = Py_None, *clock = Py_None;
    const char *eviction = "lru";
    int typed, coalesce, is_async, has_tags = 0;
    *options = (sv_memo_options){.maxsize = -1};
    if (!PyArg_ParseTuple(args, "OOpOpOOp|OspO", fn, &maxsize, &typed, &key_of, &coalesce, &exceptions, &copy, &is_async,
                          &fresh, &eviction, &has_tags, &clock) ||
        sv_terms_read(fresh, &options->terms) != SV_OK)
        return SV_RAISED;
    options->rule = sv_rule_named(eviction);
    if (options->rule == NULL) {
        PyErr_Format(PyExc_ValueError, "eviction is %s, which is no rule's name", eviction);
        return SV_RAISED;
    }
    if (maxsize != Py_None) {
        options->maxsize = PyNumber_AsSsize_t(maxsize, PyExc_OverflowError);
        if (options->maxsize == -1 && PyErr_Occurred())
            return SV_RAISED;
        if (options->maxsize < 0)
            options->maxsize = 0;
    }
    options->rules = SV_ALIKE | (typed ? SV_TYPED : 0);
    options->flags = SV_EXPLAIN | (coalesce ? SV_COALESCE : 0) | (is_async ? SV_ASYNC : 0);
    options->key_of = key_of == Py_None ? NULL : key_of;
    options->exceptions = exceptions == Py_None ? NULL : exceptions;
    options->copy = copy == Py_None ? NULL : copy;
    options->clock = clock == Py_None ? NULL : clock;
    int steered = has_tags || sv_terms_need_steering(&options->terms);
    options->has_ledger = steered || sv_terms_have_an_end(&options->terms);
    options->flags |= steered ? SV_STEERED : 0;
    return SV_OK;
}

/* Memoized(fn, maxsize, typed, key, coalesce, exceptions, copy, is_async, fresh=None, eviction="lru", has_tags=False,
 * clock=None); None where there is none. The decorators have checked the arguments and say what was wrong with them. */
static PyObject *memoized_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *fn;
    sv_memo_options options;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "Memoized() takes no keyword arguments");
        return NULL;
    }
    if (sv_memo_read_options(args, &fn, &options) != SV_OK)
        return NULL;
    return sv_memo_new(type, fn, &options);
}

#define VERB(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef memoized_methods[] = {
    {"cache_invalidate", VERB(cache_invalidate), METH_FASTCALL | METH_KEYWORDS,
     "Forget the result of this call; True if there was a fresh one. A load of it that runs now is not stored."},
    {"cache_contains", VERB(cache_contains), METH_FASTCALL | METH_KEYWORDS,
     "Whether the result of this call is stored and fresh. Counts nothing and does not make it younger."},
    {"cache_set", VERB(cache_set), METH_FASTCALL | METH_KEYWORDS,
     "cache_set(value, *args, **kwargs): store a value as the result of this call, with its lifetime and its tags. A "
     "load of it that runs now is not stored."},
    {"cache_refresh", VERB(cache_refresh), METH_FASTCALL | METH_KEYWORDS,
     "Call the function and store its result in place of what is stored; returns the result (an awaitable of it for "
     "an `async def`). Until then others get what was stored."},
    {"cache_key", VERB(cache_key), METH_FASTCALL | METH_KEYWORDS,
     "A hashable that is equal for two calls whenever they share one result."},
    {"cache_stats", cache_stats, METH_NOARGS,
     "cache_stats($self, /)\n--\n\nWhat happened since the start or the last cache_clear(), as samovar.Stats."},
    {"cache_invalidate_tags", VERB(cache_invalidate_tags), METH_FASTCALL | METH_KEYWORDS,
     "cache_invalidate_tags(*tags, soft=False): every result that carries one of these tags is wrong from now on, or "
     "stale if soft. O(1) for each tag. A load of such a result that runs now is not stored."},
    {"_join", VERB(memo_join), METH_FASTCALL, NULL},
    {"_refresh_begin", VERB(memo_refresh_begin), METH_FASTCALL, NULL},
    {"_settle", VERB(memo_settle), METH_FASTCALL, NULL},
    {"_drop", VERB(memo_drop), METH_FASTCALL, NULL},
    {"_abandon", VERB(memo_abandon), METH_FASTCALL, NULL},
    {"_recheck", VERB(memo_recheck), METH_FASTCALL, NULL},
    {"_tally", VERB(memo_tally), METH_FASTCALL, NULL},
    {"_watch_fences", VERB(memo_watch_fences), METH_FASTCALL, NULL},
    {"_fenced_at", VERB(memo_fenced_at), METH_FASTCALL, NULL},
    {"_form", VERB(protocol_form), METH_FASTCALL, NULL},
    {"_answer", protocol_answer, METH_O, NULL},
    {"_now", protocol_now, METH_NOARGS, NULL},
    {"_alone", protocol_alone, METH_NOARGS, NULL},
    {"_keep", VERB(protocol_keep), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef memoized_getset[] = {
    {"_coalesce", get_coalesce, NULL, NULL, NULL},
    {"_exceptions", get_exceptions, NULL, NULL, NULL},
    {"_copy", get_copy, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot memoized_slots[] = {
    {Py_tp_doc, "A function that remembers its results; one call works, the crowd waits."},
    {Py_tp_new, memoized_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, sv_memo_members},
    {Py_tp_traverse, sv_memo_traverse},
    {Py_tp_clear, sv_memo_clear},
    {Py_tp_dealloc, sv_memo_dealloc},
    {Py_tp_methods, memoized_methods},
    {Py_tp_getset, memoized_getset},
    {0, NULL},
};

static PyType_Spec memoized_spec = {
    .name = "samovar._core.Memoized",
    .basicsize = sizeof(sv_memo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE, /* METHOD_DESCRIPTOR is inherited, with tp_descr_get */
    .slots = memoized_slots,
};

int sv_memoized_setup(void)
{
    if (sv_memoized_type != NULL)
        return SV_OK;
    PyObject *bases = PyTuple_Pack(1, sv_memo_type);
    if (bases != NULL)
        sv_memoized_type = (PyTypeObject *)PyType_FromSpecWithBases(&memoized_spec, bases);
    Py_XDECREF(bases);
    return sv_memoized_type == NULL ? SV_RAISED : SV_OK;
}
