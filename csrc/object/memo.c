#include "memo.h"

#include <stddef.h>

#include "load.h"

PyTypeObject *sv_memo_type = NULL;
sv_memo_words sv_words;

/* ------------------------------------------------------------------ hits */

/* The hit of an entry that lies in its preferred slot, found without running Python code: of one bare argument, and of
 * any other call. NULL says nothing, and nothing is set. */
SV_INLINE PyObject *hit_locked(sv_store *store, sv_handle handle, int bounded)
{
    PyObject *value = store->slab.boxes[handle].value;
    if (SV_UNLIKELY(value == NULL))
        return NULL;
    store->counts.hits++;
    if (bounded)
        sv_lru_hit(&store->slab, handle);
    return Py_NewRef(value);
}

SV_INLINE PyObject *hit_call_locked(sv_store *store, const sv_asked *asked, int bounded, int *absent)
{
    sv_handle handle = sv_index_guess(&store->index, store->slab.boxes, asked->hash);
    *absent = 0;
    if (SV_UNLIKELY(handle == SV_NONE)) {
        handle = sv_index_home(&store->index, store->slab.boxes, asked->hash, absent);
        if (handle == SV_NONE)
            return NULL;
    }
    return sv_asked_equals_quickly(asked, store->slab.boxes[handle].key) ? hit_locked(store, handle, bounded) : NULL;
}

/* ------------------------------------------------------------------ the key of a call */

/* Replace the TypeError of an unhashable argument by one that names the argument and the remedy. */
static SV_NOINLINE void explain(sv_memo *memo, PyObject *const *values, Py_ssize_t failed, Py_ssize_t positional,
                                PyObject *kwnames)
{
    if (!PyErr_ExceptionMatches(PyExc_TypeError) || sv_words.unhashable == NULL)
        return;
    PyObject *cause = sv_raised_take();
    PyObject *name = NULL, *error = NULL;
    if (failed >= positional && kwnames != NULL)
        name = Py_NewRef(PyTuple_GET_ITEM(kwnames, failed - positional));
    else
        name = PyLong_FromSsize_t(failed + (memo->key_of == NULL ? memo->skip : 0));
    if (name != NULL)
        error = PyObject_CallFunctionObjArgs(sv_words.unhashable, memo->fn, name, values[failed],
                                             memo->key_of == NULL ? Py_None : memo->key_of, NULL);
    Py_XDECREF(name);
    if (error == NULL || !PyExceptionInstance_Check(error)) {
        PyErr_Clear();
        Py_XDECREF(error);
        sv_raised_put_steal(cause);
        return;
    }
    PyException_SetCause(error, cause); /* steals */
    sv_raised_put_steal(error);
}

int sv_memo_ask(sv_memo *memo, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames, sv_asked *asked,
                PyObject **holder)
{
    Py_ssize_t failed;
    *holder = NULL;
    if (memo->key_of == NULL) {
        if (SV_UNLIKELY(positional < memo->skip)) {
            PyErr_SetString(PyExc_TypeError, "a cached method was called without its instance");
            return SV_RAISED;
        }
        args += memo->skip;
        positional -= memo->skip;
    } else {
        if (Py_EnterRecursiveCall(" in a key function"))
            return SV_RAISED;
        *holder = PyObject_Vectorcall(memo->key_of, args, (size_t)positional, kwnames);
        Py_LeaveRecursiveCall();
        if (*holder == NULL)
            return SV_RAISED;
        args = holder;
        positional = 1;
        kwnames = NULL;
    }
    if (SV_LIKELY(sv_asked_read(asked, args, positional, kwnames, memo->rules, &failed) == SV_OK)) {
        const sv_ledger *ledger = memo->store.ledger;
        if (SV_LIKELY(ledger == NULL) || sv_ledger_now(ledger, &asked->now) == SV_OK)
            return SV_OK;
        failed = -1;
    }
    if ((memo->flags & SV_EXPLAIN) && failed >= 0)
        explain(memo, args, failed, positional, kwnames);
    Py_CLEAR(*holder);
    return SV_RAISED;
}

int sv_memo_find_locked(sv_memo *memo, const sv_asked *asked, sv_handle *found)
{
    sv_store *store = &memo->store;
    uint64_t now = asked->now;
    if (SV_LIKELY(store->ledger == NULL))
        return sv_store_find(store, asked, found);
    sv_store_sweep(store, now, SV_STEPS);
    int status = sv_store_find(store, asked, found);
    if (status != 1 || store->slab.boxes[*found].value == NULL)
        return status;
    sv_state state = sv_ledger_state(store->ledger, *found, &now);
    if (state == SV_FRESH || state == SV_STALE)
        return 1;
    sv_store_expire(store, *found, state);
    return store->slab.boxes[*found].value == NULL; /* it departed, or goes on as one that is loading */
}

int sv_memo_sweep_all(sv_memo *memo)
{
    uint64_t now;
    if (memo->store.ledger == NULL)
        return SV_OK;
    if (sv_ledger_now_precisely(memo->store.ledger, &now) != SV_OK)
        return SV_RAISED;
    SV_LOCK(memo)
    sv_store_sweep(&memo->store, now, UINT32_MAX);
    SV_UNLOCK()
    sv_store_see_off((PyObject *)memo, &memo->store);
    return SV_OK;
}

sv_line *sv_memo_line(const sv_memo *memo, sv_line *line)
{
    const sv_ledger *ledger = memo->store.ledger;
    if (SV_LIKELY(ledger == NULL))
        return NULL;
    *line = (sv_line){.terms = &ledger->terms, .weight = 1};
    PyObject *raised = ledger->clock != NULL && PyErr_Occurred() ? sv_raised_take() : NULL;
    if (sv_ledger_now_precisely(ledger, &line->now) != SV_OK) { /* the clock failed: the value has no time at all */
        PyErr_WriteUnraisable(ledger->clock);
        line->now = 0;
    }
    if (raised != NULL)
        sv_raised_put_steal(raised);
    return line;
}

int sv_memo_find_or_key_locked(sv_memo *memo, const sv_asked *asked, sv_handle *found, PyObject **key)
{
    for (;;) {
        int status = sv_memo_find_locked(memo, asked, found);
        if (status != 0 || *key != NULL)
            return status;
        uint64_t epoch = memo->store.epoch;
        *key = sv_asked_key(asked);
        if (*key == NULL)
            return SV_RAISED;
        if (SV_LIKELY(memo->store.epoch == epoch)) /* else making the key ran the garbage collector */
            return 0;
    }
}

/* ------------------------------------------------------------------ vectorcall */

static SV_NEVER_INLINE PyObject *call_other(sv_memo *memo, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *holder;
    sv_asked asked;
    if (SV_UNLIKELY(sv_memo_ask(memo, args, PyVectorcall_NARGS(nargsf), kwnames, &asked, &holder) != SV_OK))
        return NULL;
    PyObject *answer = sv_memo_call_asked(memo, &asked, args, nargsf, kwnames);
    Py_XDECREF(holder);
    return answer;
}

/* The function ended, well or with an exception, and the store is not full or was changed meanwhile. */
static SV_NEVER_INLINE PyObject *keep_one(sv_memo *memo, PyObject *key, uint64_t hash, uint64_t epoch, uint64_t fences,
                                          PyObject *value)
{
    sv_asked asked;
    sv_asked_from_key(&asked, &key, hash, memo->rules);
    if (SV_LIKELY(value != NULL))
        return sv_memo_keep(memo, &asked, epoch, fences, value);
    sv_memo_keep_error(memo, &asked, epoch, fences);
    return NULL;
}

/* One bare argument that is in its home chunk, or that one caller loads for all who ask meanwhile. */
static SV_NEVER_INLINE PyObject *join_one(PyObject *self, PyObject *const *args, size_t nargsf, uint64_t hash)
{
    sv_memo *memo = (sv_memo *)self;
    PyObject *key = args[memo->skip], *value = NULL;
    sv_store *store = &memo->store;
    uint32_t number = 0;
    int status = 1, absent;
    SV_LOCK(memo)
    sv_handle handle = sv_index_home(&store->index, store->slab.boxes, hash, &absent);
    if (absent && (memo->flags & (SV_ASYNC | SV_COALESCE)) == SV_COALESCE) {
        store->counts.misses++;
        store->counts.loads++;
        status = sv_store_begin(store, Py_NewRef(key), hash, sv_thread_number(), &number);
    } else if (handle != SV_NONE && sv_equal_quickly(store->slab.boxes[handle].key, key) == 1) {
        value = hit_locked(store, handle, store->maxsize != SV_UNBOUNDED);
    }
    SV_UNLOCK()
    if (status == SV_OK)
        return sv_memo_settle_steal(memo, number, sv_memo_call_fn(memo, args, nargsf, NULL));
    if (SV_LIKELY(status > 0))
        return value != NULL ? value : call_other(memo, args, nargsf, NULL);
    Py_DECREF(key);
    sv_store_error(status);
    return NULL;
}

/* One bare argument, not found in its preferred slot. One look at its home chunk mostly shows that it is absent: then
 * no key has to be compared, and where each caller works for itself the way to the function and back is short. What is
 * rarer is in join_one and keep_one, so that this needs few registers. */
static SV_NEVER_INLINE PyObject *call_one(PyObject *self, PyObject *const *args, size_t nargsf, uint64_t hash)
{
    sv_memo *memo = (sv_memo *)self;
    sv_store *store = &memo->store;
    uint64_t epoch, fences;
    int absent;
    if (memo->flags & (SV_ASYNC | SV_COALESCE))
        return join_one(self, args, nargsf, hash);
    SV_LOCK(memo)
    sv_index_home(&store->index, store->slab.boxes, hash, &absent);
    store->counts.misses += (uint64_t)absent;
    store->counts.loads += (uint64_t)absent;
    epoch = store->epoch;
    fences = store->fences;
    SV_UNLOCK()
    if (SV_UNLIKELY(!absent))
        return join_one(self, args, nargsf, hash);
    PyObject *value = sv_memo_call_fn(memo, args, nargsf, NULL);
    PyObject *key = args[memo->skip];
    int displaced;
    sv_departed gone;
    SV_LOCK(memo)
    displaced = value != NULL && store->epoch == epoch && sv_store_may_displace(store);
    if (SV_LIKELY(displaced))
        gone = sv_store_displace_steal(store, Py_NewRef(key), hash, Py_NewRef(value));
    SV_UNLOCK()
    if (SV_UNLIKELY(!displaced))
        return keep_one(memo, key, hash, epoch, fences, value);
    Py_DECREF(gone.key);
    Py_DECREF(gone.value);
    return value;
}

/* One bare argument whose hash is not at hand. This, call_one and call_several are apart from the commonest hit, so
 * that it saves no registers and needs no stack. */
static SV_NEVER_INLINE PyObject *call_unhashed(PyObject *self, PyObject *const *args, size_t nargsf)
{
    uint64_t hash;
    if (sv_hash_quickly(args[((sv_memo *)self)->skip], &hash))
        return call_one(self, args, nargsf, hash);
    return call_other((sv_memo *)self, args, nargsf, NULL);
}

/* Two positional arguments, found at the likeliest place; whatever else is up to call_several. What a hit waits for is
 * the way from the arguments to the entry, one load after another, more than the number of steps: so `skip` is known
 * when this is compiled, and no vector of tags is waited for. */
static PyObject *call_several(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames);
SV_INLINE PyObject *call_pair(PyObject *self, PyObject *const *args, size_t nargsf, Py_ssize_t skip)
{
    sv_store *store = &((sv_memo *)self)->store;
    PyObject *const *values = args + skip, *value = NULL;
    uint64_t hash;
    if (SV_LIKELY(sv_pair_hash_quickly(values, &hash))) {
        SV_LOCK(self)
        sv_handle handle = sv_index_likeliest(&store->index, hash);
        if (SV_LIKELY(handle != SV_NONE && sv_pair_equals_quickly(values, store->slab.boxes[handle].key)))
            value = hit_locked(store, handle, store->maxsize != SV_UNBOUNDED);
        SV_UNLOCK()
        if (SV_LIKELY(value != NULL))
            return value;
    }
    return call_several(self, args, nargsf, NULL);
}

static SV_NEVER_INLINE PyObject *call_two(PyObject *self, PyObject *const *args, size_t nargsf)
{
    return call_pair(self, args, nargsf, 0);
}

static SV_NEVER_INLINE PyObject *call_method_two(PyObject *self, PyObject *const *args, size_t nargsf)
{
    return call_pair(self, args, nargsf, 1);
}

/* No argument, several, or keywords. */
static SV_NEVER_INLINE PyObject *call_several(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    Py_ssize_t skip = memo->skip, positional = PyVectorcall_NARGS(nargsf) - skip;
    PyObject *value;
    sv_asked asked;
    if (SV_UNLIKELY(positional < 0) ||
        SV_UNLIKELY(!sv_asked_read_quickly(&asked, args + skip, positional, kwnames, memo->rules)))
        return call_other(memo, args, nargsf, kwnames);
    int absent;
    uint64_t epoch, fences;
    SV_LOCK(self)
    value = hit_call_locked(&memo->store, &asked, memo->store.maxsize != SV_UNBOUNDED, &absent);
    absent = absent && !(memo->flags & (SV_ASYNC | SV_COALESCE));
    memo->store.counts.misses += (uint64_t)absent;
    memo->store.counts.loads += (uint64_t)absent;
    epoch = memo->store.epoch;
    fences = memo->store.fences;
    SV_UNLOCK()
    if (SV_LIKELY(value != NULL))
        return value;
    if (absent)
        return sv_memo_load_alone(memo, &asked, args, nargsf, kwnames, epoch, fences);
    return sv_memo_call_asked(memo, &asked, args, nargsf, kwnames);
}

/* The commonest hit: one argument, an exact str or int, in its preferred slot; the very object that is stored, or an
 * equal int. */
SV_INLINE PyObject *call_quickly(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames,
                                 Py_ssize_t skip, int bounded)
{
    if (SV_UNLIKELY(PyVectorcall_NARGS(nargsf) != 1 + skip || kwnames != NULL)) {
        if (PyVectorcall_NARGS(nargsf) == 2 + skip && kwnames == NULL)
            return skip == 0 ? call_two(self, args, nargsf) : call_method_two(self, args, nargsf);
        return call_several(self, args, nargsf, kwnames);
    }
    PyObject *key = args[skip], *value = NULL;
    uint64_t hash;
    if (PyUnicode_CheckExact(key)) {
        hash = (uint64_t)sv_str_known_hash(key); /* -1: not computed yet */
        if (SV_UNLIKELY(hash == SV_HASH_NEVER))
            return call_unhashed(self, args, nargsf);
    } else if (SV_UNLIKELY(!PyLong_CheckExact(key) || !sv_int_short_hash(key, &hash))) {
        return call_unhashed(self, args, nargsf);
    }
    sv_store *store = &((sv_memo *)self)->store;
    sv_handle handle;
    SV_LOCK(self)
    handle = sv_index_guess(&store->index, store->slab.boxes, hash);
    if (SV_LIKELY(handle != SV_NONE)) {
        PyObject *stored = store->slab.boxes[handle].key;
        if (SV_LIKELY(stored == key) ||
            (PyLong_CheckExact(stored) && PyLong_CheckExact(key) && sv_int_equals_short(key, stored)))
            value = hit_locked(store, handle, bounded);
    }
    SV_UNLOCK()
    if (SV_LIKELY(value != NULL))
        return value;
    return handle == SV_NONE ? call_one(self, args, nargsf, hash) : join_one(self, args, nargsf, hash);
}

static PyObject *call_bounded(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_quickly(self, args, nargsf, kwnames, 0, 1);
}

static PyObject *call_unbounded(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_quickly(self, args, nargsf, kwnames, 0, 0);
}

/* An instance's memo of a method. */
static PyObject *call_method(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_quickly(self, args, nargsf, kwnames, 1, ((sv_memo *)self)->store.maxsize != SV_UNBOUNDED);
}

/* Answers have an end: one bare argument as in call_quickly, in its preferred slot, with nothing due. */
static PyObject *call_timed(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    sv_memo *memo = (sv_memo *)self;
    sv_store *store = &memo->store;
    const sv_ledger *ledger = store->ledger;
    PyObject *value = NULL;
    uint64_t hash, now;
    if (SV_UNLIKELY(PyVectorcall_NARGS(nargsf) != 1 + memo->skip || kwnames != NULL || ledger->clock != NULL) ||
        SV_UNLIKELY(!sv_hash_quickly(args[memo->skip], &hash)))
        return call_other(memo, args, nargsf, kwnames);
    now = sv_clock_coarse();
    SV_LOCK(self)
    PyObject *key = args[memo->skip];
    sv_handle handle = SV_NONE;
    if (SV_LIKELY(now < ledger->wheel.due))
        handle = sv_index_guess(&store->index, store->slab.boxes, hash);
    if (SV_LIKELY(handle != SV_NONE)) {
        const sv_box *box = &store->slab.boxes[handle];
        if ((box->key == key || sv_equal_quickly(box->key, key) == 1) && box->value != NULL &&
            sv_ledger_state(store->ledger, handle, &now) == SV_FRESH) {
            value = Py_NewRef((PyObject *)box->value);
            store->counts.hits++;
            sv_store_touch(store, handle);
            sv_ledger_asked_for(store->ledger, handle, now);
        }
    }
    SV_UNLOCK()
    return SV_LIKELY(value != NULL) ? value : call_other(memo, args, nargsf, NULL);
}

/* Typed keys, key=, copy=, cache_exceptions=, methods: whatever the paths above do not know. */
static PyObject *call_general(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return call_other((sv_memo *)self, args, nargsf, kwnames);
}

static PyObject *call_uncached(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    SV_LOCK(self)
    ((sv_memo *)self)->store.counts.misses++;
    SV_UNLOCK()
    return sv_memo_call_counted((sv_memo *)self, args, nargsf, kwnames);
}

static PyObject *call_destroyed(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    (void)self, (void)args, (void)nargsf, (void)kwnames;
    PyErr_SetString(PyExc_RuntimeError, "this memoized function was destroyed by the garbage collector");
    return NULL;
}

static vectorcallfunc select_call(const sv_memo *memo)
{
    if (memo->flags & SV_UNCACHED)
        return call_uncached;
    if ((memo->rules & SV_TYPED) || memo->key_of || memo->copy || memo->exceptions)
        return call_general;
    if (memo->store.ledger != NULL)
        return memo->store.ledger->terms.early > 0 ? call_general : call_timed;
    if (memo->store.policy != NULL && memo->store.policy->rule != &sv_lru_rule)
        return call_general;
    if (memo->skip)
        return memo->skip == 1 ? call_method : call_general;
    return memo->store.maxsize == SV_UNBOUNDED ? call_unbounded : call_bounded;
}

/* ------------------------------------------------------------------ birth and death */

/* Where an exact Python or C function keeps its vectorcallfunc; 0 for anything else. */
static size_t vectorcall_offset(PyObject *fn)
{
    if (Py_IS_TYPE(fn, &PyFunction_Type))
        return offsetof(PyFunctionObject, vectorcall);
    if (PyCFunction_CheckExact(fn) && ((PyCFunctionObject *)fn)->vectorcall != NULL)
        return offsetof(PyCFunctionObject, vectorcall);
    return 0;
}

PyObject *sv_memo_new(PyTypeObject *type, PyObject *fn, const sv_memo_options *options)
{
    if (!PyCallable_Check(fn)) {
        PyErr_SetString(PyExc_TypeError, "the first argument must be callable");
        return NULL;
    }
    sv_memo *memo = (sv_memo *)type->tp_alloc(type, 0); /* zeroed */
    if (memo == NULL)
        return NULL;
    uint64_t maxsize = options->maxsize < 0 ? SV_UNBOUNDED : (uint64_t)options->maxsize;
    memo->vectorcall = call_destroyed;
    uint64_t seed = (uint64_t)(uintptr_t)memo ^ sv_clock_precise();
    const sv_rule *rule = options->rule == NULL ? &sv_lru_rule : options->rule;
    if (maxsize == SV_UNBOUNDED)
        rule = options->has_ledger ? &sv_fifo_rule : NULL;
    if (sv_store_open(&memo->store, maxsize, rule, maxsize, seed) != SV_OK ||
        (options->has_ledger && sv_store_keep_ledger(&memo->store, SV_UNBOUNDED, seed) != SV_OK)) {
        Py_DECREF(memo);
        return PyErr_NoMemory();
    }
    if (options->has_ledger) {
        memo->store.ledger->terms = options->terms;
        memo->store.ledger->clock = Py_XNewRef(options->clock);
    }
    memo->fn = Py_NewRef(fn);
    memo->rules = memo->store.rules = options->rules;
    memo->store.awaited = (options->flags & SV_ASYNC) != 0;
    memo->fn_call = vectorcall_offset(fn);
    memo->flags = options->flags | (maxsize == 0 ? SV_UNCACHED : 0);
    memo->skip = options->skip;
    memo->key_of = Py_XNewRef(options->key_of);
    memo->exceptions = Py_XNewRef(options->exceptions);
    memo->copy = Py_XNewRef(options->copy);
    memo->vectorcall = select_call(memo);
    return (PyObject *)memo;
}

/* functools' own order of arguments: the drop-in decorators check and translate theirs before. */
static PyObject *memo_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"user_function", "maxsize", "typed", NULL};
    PyObject *fn, *maxsize;
    int typed;
    sv_memo_options options = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOp:lru_cache", names, &fn, &maxsize, &typed))
        return NULL;
    options.maxsize = -1;
    options.rules = typed ? SV_TYPED : 0;
    if (maxsize != Py_None) {
        if (!PyIndex_Check(maxsize)) {
            PyErr_SetString(PyExc_TypeError, "maxsize should be integer or None");
            return NULL;
        }
        options.maxsize = PyNumber_AsSsize_t(maxsize, PyExc_OverflowError);
        if (options.maxsize == -1 && PyErr_Occurred())
            return NULL;
        if (options.maxsize < 0)
            options.maxsize = 0;
    }
    return sv_memo_new(type, fn, &options);
}

int sv_memo_traverse(PyObject *self, visitproc visit, void *arg)
{
    sv_memo *memo = (sv_memo *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(memo->fn);
    Py_VISIT(memo->key_of);
    Py_VISIT(memo->exceptions);
    Py_VISIT(memo->copy);
    Py_VISIT(memo->dict);
    return sv_store_traverse(&memo->store, visit, arg);
}

int sv_memo_clear(PyObject *self)
{
    sv_memo *memo = (sv_memo *)self;
    sv_spill spill = {.departed = SV_NONE};
    if (memo->store.slab.boxes != NULL)
        sv_store_clear(&memo->store, &spill); /* without memory: the entries stay until the end */
    memo->vectorcall = call_destroyed;
    Py_CLEAR(memo->fn);
    Py_CLEAR(memo->key_of);
    Py_CLEAR(memo->exceptions);
    Py_CLEAR(memo->copy);
    Py_CLEAR(memo->dict);
    sv_spill_drop(&spill);
    sv_store_let_go(&memo->store);
    return 0;
}

void sv_memo_dealloc(PyObject *self)
{
    sv_memo *memo = (sv_memo *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, sv_memo_dealloc) /* memos may hold memos as values, without end */
    if (memo->weakrefs != NULL)
        PyObject_ClearWeakRefs(self);
    memo->vectorcall = call_destroyed;
    Py_CLEAR(memo->fn);
    Py_CLEAR(memo->key_of);
    Py_CLEAR(memo->exceptions);
    Py_CLEAR(memo->copy);
    Py_CLEAR(memo->dict);
    sv_store_close(&memo->store);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

const char *sv_memo_check(PyObject *self)
{
    const char *wrong;
    SV_LOCK(self)
    wrong = sv_store_check(&((sv_memo *)self)->store);
    SV_UNLOCK()
    return wrong;
}

/* ------------------------------------------------------------------ the methods of functools */

static PyObject *memo_cache_info(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_memo *memo = (sv_memo *)self;
    sv_counts counts;
    uint32_t current;
    if (sv_memo_sweep_all(memo) != SV_OK)
        return NULL;
    SV_LOCK(self)
    counts = memo->store.counts;
    current = memo->store.current;
    SV_UNLOCK()
    unsigned long long hits = counts.hits, misses = counts.misses;
    if (memo->store.maxsize == SV_UNBOUNDED)
        return PyObject_CallFunction(sv_words.info, "KKOI", hits, misses, Py_None, (unsigned int)current);
    return PyObject_CallFunction(sv_words.info, "KKKI", hits, misses, (unsigned long long)memo->store.maxsize,
                                 (unsigned int)current);
}

static PyObject *memo_cache_clear(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_memo *memo = (sv_memo *)self;
    sv_spill spill = {.departed = SV_NONE};
    int status;
    SV_LOCK(self)
    status = sv_store_clear(&memo->store, &spill);
    if (status == SV_OK) {
        memo->store.fences++;
        memo->store.counts = (sv_counts){0};
        if (memo->store.ledger != NULL)
            sv_ledger_count_anew(memo->store.ledger);
    }
    SV_UNLOCK()
    if (status != SV_OK)
        return PyErr_NoMemory();
    sv_spill_drop(&spill);
    Py_RETURN_NONE;
}

static PyObject *memo_reduce(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *memo_copy(PyObject *self, PyObject *anything)
{
    (void)anything;
    return Py_NewRef(self);
}

static PyObject *memo_get(PyObject *self, PyObject *instance, PyObject *type)
{
    (void)type;
    if (instance == NULL || instance == Py_None)
        return Py_NewRef(self);
    return PyMethod_New(self, instance);
}

static PyMethodDef memo_methods[] = {
    {"cache_info", memo_cache_info, METH_NOARGS,
     "cache_info($self, /)\n--\n\nHits, misses, maxsize and currsize, as functools' named tuple."},
    {"cache_clear", memo_cache_clear, METH_NOARGS,
     "cache_clear($self, /)\n--\n\nForget every result and set the counts to zero."},
    {"__reduce__", memo_reduce, METH_NOARGS, NULL},
    {"__copy__", memo_copy, METH_NOARGS, NULL},
    {"__deepcopy__", memo_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef memo_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyMemberDef sv_memo_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(sv_memo, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(sv_memo, weakrefs), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(sv_memo, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot memo_slots[] = {
    {Py_tp_doc, "A function that remembers its results: the drop-in for functools.lru_cache."},
    {Py_tp_new, memo_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, memo_get},
    {Py_tp_methods, memo_methods},
    {Py_tp_getset, memo_getset},
    {Py_tp_members, sv_memo_members},
    {Py_tp_traverse, sv_memo_traverse},
    {Py_tp_clear, sv_memo_clear},
    {Py_tp_dealloc, sv_memo_dealloc},
    {0, NULL},
};

static PyType_Spec memo_spec = {
    .name = "samovar._core.Memo",
    .basicsize = sizeof(sv_memo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = memo_slots,
};

int sv_memo_setup(void)
{
    if (sv_memo_type == NULL)
        sv_memo_type = (PyTypeObject *)PyType_FromSpec(&memo_spec);
    return sv_memo_type == NULL ? SV_RAISED : SV_OK;
}
