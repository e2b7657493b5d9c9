#include "load.h"

#include "flight.h"
#include "ready.h"

/* ------------------------------------------------------------------ looking, and answering */

/* With a ledger: an entry that is fresh, and so far from its end that chance has no say (see may_be_early in mapping.c). */
static int may_answer(sv_store *store, sv_handle handle, uint64_t now)
{
    sv_ledger *ledger = store->ledger;
    if (sv_ledger_state(ledger, handle, &now) != SV_FRESH)
        return 0;
    return ledger->terms.early <= 0 || !sv_ledger_may_be_early(ledger, handle, now);
}

/* 1: `value` is what is stored (new reference) and the hit is counted. 0: absent or loading. SV_RAISED. */
static int look_locked(sv_memo *memo, const sv_asked *asked, PyObject **value)
{
    sv_store *store = &memo->store;
    uint64_t moves = store->moves;
    int absent;
    sv_handle handle = sv_index_home(&store->index, store->slab.boxes, asked->hash, &absent);
    if (absent) {
        if (store->ledger != NULL) /* those who miss let go what is due; a hit may leave it to them */
            sv_store_sweep(store, asked->now, SV_STEPS);
        return 0;
    }
    int found = handle == SV_NONE ? 0 : sv_asked_equals(asked, store->slab.boxes[handle].key);
    if (SV_UNLIKELY(found < 0))
        return SV_RAISED;
    if (SV_UNLIKELY(found == 0 || store->moves != moves || store->ledger != NULL)) {
        found = sv_memo_find_locked(memo, asked, &handle);
        if (found != 1)
            return found;
    }
    PyObject *stored = store->slab.boxes[handle].value;
    if (SV_UNLIKELY(stored == NULL) || SV_UNLIKELY(store->ledger != NULL && !may_answer(store, handle, asked->now)))
        return 0;
    store->counts.hits++;
    sv_store_touch(store, handle);
    if (SV_UNLIKELY(store->ledger != NULL))
        sv_ledger_asked_for(store->ledger, handle, asked->now);
    *value = Py_NewRef(stored);
    return 1;
}

PyObject *sv_memo_answer_steal(sv_memo *memo, PyObject *stored)
{
    if (SV_LIKELY(memo->copy == NULL && memo->exceptions == NULL))
        return stored;
    PyObject *answer = stored;
    if (memo->flags & SV_ASYNC) {
        sv_ready *ready = (sv_ready *)stored;
        if (memo->copy == NULL || ready->raises)
            return stored;
        PyObject *copied = PyObject_CallOneArg(memo->copy, ready->outcome);
        answer = copied == NULL ? NULL : sv_ready_new(copied, 0);
        Py_XDECREF(copied);
    } else if (sv_is_ready(stored) && ((sv_ready *)stored)->raises == SV_REMEMBERED_ERROR) {
        answer = sv_ready_outcome(stored);
    } else if (memo->copy != NULL) {
        answer = PyObject_CallOneArg(memo->copy, stored);
    } else {
        return stored;
    }
    Py_DECREF(stored);
    return answer;
}

/* ------------------------------------------------------------------ misses, each caller for itself */

static SV_NEVER_INLINE PyObject *keep_key_steal(sv_memo *memo, const sv_asked *asked, PyObject *key, uint64_t epoch,
                                                uint64_t fences, PyObject *value)
{
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    int status = SV_OK, there = 0;
    sv_line lines, *line = sv_memo_line(memo, &lines);
    SV_LOCK(memo)
    sv_store *store = &memo->store;
    sv_handle found;
    if (store->epoch != epoch)
        there = sv_memo_find_locked(memo, asked, &found);
    if (there < 0)
        status = there;
    else if (!there && (store->fences == fences || !(memo->flags & SV_EXPLAIN))) {
        status = sv_store_insert(store, key, asked->hash, value, line, &pouch);
        if (status == SV_OK) {
            key = NULL;
            Py_INCREF(value);
        }
    }
    SV_UNLOCK()
    Py_XDECREF(key);
    sv_memo_drop(memo, &pouch);
    if (SV_LIKELY(status == SV_OK))
        return value;
    Py_DECREF(value);
    sv_store_error(status);
    return NULL;
}

/* Store what the function returned, as functools does it: if the key is there by now, that value stays. */
SV_NEVER_INLINE PyObject *sv_memo_keep(sv_memo *memo, const sv_asked *asked, uint64_t epoch, uint64_t fences,
                                       PyObject *value)
{
    sv_store *store = &memo->store;
    PyObject *key = sv_asked_key(asked);
    if (SV_UNLIKELY(key == NULL)) {
        Py_DECREF(value);
        return NULL;
    }
    int displaced;
    sv_departed gone;
    SV_LOCK(memo)
    displaced = store->epoch == epoch && sv_store_may_displace(store);
    if (SV_LIKELY(displaced))
        gone = sv_store_displace_steal(store, key, asked->hash, Py_NewRef(value));
    SV_UNLOCK()
    if (SV_UNLIKELY(!displaced))
        return keep_key_steal(memo, asked, key, epoch, fences, value);
    Py_DECREF(gone.key);
    Py_DECREF(gone.value);
    return value;
}

int sv_memo_remembers(const sv_memo *memo, PyObject *error)
{
    return memo->exceptions != NULL && PyErr_GivenExceptionMatches(error, memo->exceptions) &&
           (sv_words.busy == NULL || !PyErr_GivenExceptionMatches(error, sv_words.busy));
}

/* The function raised: remember the exception if it is one of those that the memo remembers. */
SV_NOINLINE void sv_memo_keep_error(sv_memo *memo, const sv_asked *asked, uint64_t epoch, uint64_t fences)
{
    SV_LOCK(memo)
    memo->store.counts.failures++;
    SV_UNLOCK()
    if (memo->exceptions == NULL)
        return;
    PyObject *error = sv_raised_take();
    if (sv_memo_remembers(memo, error)) {
        PyObject *stored = sv_ready_new(error, SV_REMEMBERED_ERROR);
        if (stored != NULL)
            stored = sv_memo_keep(memo, asked, epoch, fences, stored);
        Py_XDECREF(stored);
        PyErr_Clear();
    }
    sv_raised_put_steal(error);
}

/* A miss that is counted already. */
PyObject *sv_memo_load_alone(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames, uint64_t epoch, uint64_t fences)
{
    PyObject *value = sv_memo_call_fn(memo, args, nargsf, kwnames);
    if (SV_LIKELY(value != NULL)) {
        value = sv_memo_keep(memo, asked, epoch, fences, value);
        return value == NULL || memo->copy == NULL ? value : sv_memo_answer_steal(memo, value);
    }
    sv_memo_keep_error(memo, asked, epoch, fences);
    return NULL;
}

static PyObject *call_alone(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    PyObject *value = NULL;
    int found;
    uint64_t epoch, fences;
    SV_LOCK(memo)
    found = look_locked(memo, asked, &value);
    epoch = memo->store.epoch;
    fences = memo->store.fences;
    if (found == 0) {
        memo->store.counts.misses++;
        memo->store.counts.loads++;
    }
    SV_UNLOCK()
    if (SV_LIKELY(found == 1))
        return sv_memo_answer_steal(memo, value);
    return found < 0 ? NULL : sv_memo_load_alone(memo, asked, args, nargsf, kwnames, epoch, fences);
}

/* ------------------------------------------------------------------ misses, one works and the crowd waits */

static SV_NOINLINE PyObject *settle_error(sv_memo *memo, uint32_t number)
{
    PyObject *error = sv_raised_take(), *stored = NULL, *flight;
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    if (sv_memo_remembers(memo, error)) {
        stored = sv_ready_new(error, SV_REMEMBERED_ERROR);
        PyErr_Clear();
    }
    sv_line lines, *line = sv_memo_line(memo, &lines);
    SV_LOCK(memo)
    memo->store.counts.failures++;
    sv_store_settle_steal(&memo->store, number, stored, line, &pouch);
    flight = sv_store_end(&memo->store, number);
    SV_UNLOCK()
    if (flight != NULL) {
        /* KeyboardInterrupt and its like are about the leader's thread, not about the work */
        if (PyErr_GivenExceptionMatches(error, PyExc_Exception))
            sv_flight_fail(flight, error);
        else
            sv_flight_abandon(flight);
        Py_DECREF(flight);
    }
    sv_memo_drop(memo, &pouch);
    sv_raised_put_steal(error);
    return NULL;
}

SV_NEVER_INLINE PyObject *sv_memo_settle_steal(sv_memo *memo, uint32_t number, PyObject *value)
{
    if (SV_UNLIKELY(value == NULL))
        return settle_error(memo, number);
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    PyObject *flight;
    sv_line lines, *line = sv_memo_line(memo, &lines);
    SV_LOCK(memo)
    sv_store_settle_steal(&memo->store, number, Py_NewRef(value), line, &pouch);
    flight = sv_store_end(&memo->store, number);
    SV_UNLOCK()
    if (SV_UNLIKELY(flight != NULL)) {
        sv_flight_land(flight, value);
        Py_DECREF(flight);
    }
    sv_memo_drop(memo, &pouch);
    return SV_LIKELY(memo->copy == NULL) ? value : sv_memo_answer_steal(memo, value);
}

typedef enum { LEAD, FOLLOW, REENTER, HIT, FAILED } role;

typedef struct place {
    uint32_t number;  /* LEAD: of the load; REENTER: of the load that this thread leads further out */
    uint64_t serial;
    PyObject *thing;  /* HIT: the value; FOLLOW: the flight. New reference. */
} place;

/* The entry is there. A load whose leader vanished in a fork is taken over. */
static role join_entry_locked(sv_memo *memo, const sv_asked *asked, sv_handle handle, uint64_t me, place *here)
{
    sv_store *store = &memo->store;
    sv_box *box = &store->slab.boxes[handle];
    if (box->value != NULL) {
        store->counts.hits++;
        sv_store_touch(store, handle);
        if (store->ledger != NULL)
            sv_ledger_asked_for(store->ledger, handle, asked->now);
        here->thing = Py_NewRef(box->value);
        return HIT;
    }
    sv_load *load = &store->loads[box->prev];
    here->number = box->prev;
    here->serial = load->serial;
    store->counts.misses++;
    if (load->leader == me)
        return REENTER;
    if (load->generation != sv_fork_generation) {
        load->generation = sv_fork_generation;
        load->leader = me;
        load->flight = NULL; /* its waiters are gone; the reference is theirs and is lost with them */
        return LEAD;
    }
    if (load->flight == NULL && (load->flight = sv_flight_new(load->leader)) == NULL)
        return FAILED;
    store->counts.coalesced++;
    here->thing = Py_NewRef(load->flight);
    return FOLLOW;
}

static SV_NEVER_INLINE role join_locked(sv_memo *memo, const sv_asked *asked, uint64_t me, place *here)
{
    PyObject *key = NULL;
    sv_handle handle;
    int found = sv_memo_find_or_key_locked(memo, asked, &handle, &key);
    if (SV_UNLIKELY(found != 0)) {
        role mine = found < 0 ? FAILED : join_entry_locked(memo, asked, handle, me, here);
        Py_XDECREF(key); /* somebody else stored it in the meantime: its parts are the caller's, it dies quietly */
        return mine;
    }
    int status = sv_store_begin(&memo->store, key, asked->hash, me, &here->number);
    if (SV_UNLIKELY(status != SV_OK)) {
        Py_DECREF(key);
        sv_store_error(status);
        return FAILED;
    }
    memo->store.counts.misses++;
    memo->store.counts.loads++;
    return LEAD;
}

/* This thread is inside its own load of this key: compute, as functools would, and keep the inner value if the outer
 * load is still what the entry waits for. */
static SV_NEVER_INLINE PyObject *settle_inside_steal(sv_memo *memo, const place *outer, PyObject *value)
{
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    sv_line lines, *line = sv_memo_line(memo, &lines);
    SV_LOCK(memo)
    sv_store *store = &memo->store;
    memo->store.counts.loads++;
    if (outer->number < store->loads_size && store->loads[outer->number].serial == outer->serial)
        sv_store_settle_steal(store, outer->number, Py_NewRef(value), line, &pouch);
    SV_UNLOCK()
    sv_memo_drop(memo, &pouch);
    return memo->copy == NULL ? value : sv_memo_answer_steal(memo, value);
}

static PyObject *call_inside(sv_memo *memo, const place *outer, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames)
{
    PyObject *value = sv_memo_call_fn(memo, args, nargsf, kwnames);
    return value == NULL ? NULL : settle_inside_steal(memo, outer, value);
}

static PyObject *call_together(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                               PyObject *kwnames)
{
    for (;;) {
        place here;
        role mine;
        uint64_t me = sv_thread_number();
        SV_LOCK(memo)
        mine = join_locked(memo, asked, me, &here);
        SV_UNLOCK()
        if (SV_LIKELY(mine == LEAD))
            return sv_memo_settle_steal(memo, here.number, sv_memo_call_fn(memo, args, nargsf, kwnames));
        if (mine == HIT)
            return sv_memo_answer_steal(memo, here.thing);
        if (mine == REENTER)
            return call_inside(memo, &here, args, nargsf, kwnames);
        if (mine == FAILED)
            return NULL;
        PyObject *value;
        int landed = sv_flight_wait(here.thing, &value);
        Py_DECREF(here.thing);
        if (landed == 1)
            return memo->copy == NULL ? value : sv_memo_answer_steal(memo, value);
        if (landed == SV_RAISED)
            return NULL;
        if (landed == SV_FLIGHT_CIRCLE) {
            SV_LOCK(memo)
            memo->store.counts.loads++;
            SV_UNLOCK()
            value = sv_memo_call_fn(memo, args, nargsf, kwnames);
            return value == NULL || memo->copy == NULL ? value : sv_memo_answer_steal(memo, value);
        }
    }
}

/* ------------------------------------------------------------------ misses of an `async def` */

static PyObject *dict_of(PyObject *const *values, PyObject *kwnames)
{
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict != NULL && kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            Py_CLEAR(dict);
    return dict;
}

int sv_call_parts(PyObject *const *args, Py_ssize_t positional, PyObject *kwnames, PyObject **tuple, PyObject **dict)
{
    *tuple = PyTuple_New(positional);
    for (Py_ssize_t i = 0; *tuple != NULL && i < positional; i++)
        PyTuple_SET_ITEM(*tuple, i, Py_NewRef(args[i]));
    *dict = *tuple == NULL ? NULL : dict_of(args + positional, kwnames);
    if (*dict != NULL)
        return SV_OK;
    Py_CLEAR(*tuple);
    return SV_RAISED;
}

/* The coroutine that loads (sv_words.load) or refreshes the value of this call. */
PyObject *sv_memo_coroutine(sv_memo *memo, PyObject *maker, const sv_asked *asked, PyObject *const *args,
                            Py_ssize_t positional, PyObject *kwnames)
{
    PyObject *coroutine = NULL, *key = sv_asked_key(asked), *tuple, *dict;
    if (key != NULL && sv_call_parts(args, positional, kwnames, &tuple, &dict) == SV_OK) {
        coroutine = PyObject_CallFunctionObjArgs(maker, (PyObject *)memo, memo->fn, key, tuple, dict, NULL);
        Py_DECREF(tuple);
        Py_DECREF(dict);
    }
    Py_XDECREF(key);
    return coroutine;
}

/* What is no plain hit is decided above. */
static PyObject *call_steered(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                              PyObject *kwnames)
{
    PyObject *value = NULL;
    int found;
    SV_LOCK(memo)
    found = look_locked(memo, asked, &value);
    SV_UNLOCK()
    if (found == 1)
        return sv_memo_answer_steal(memo, value);
    if (found < 0)
        return NULL;
    return sv_memo_coroutine(memo, sv_words.steer, asked, args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *call_async(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    PyObject *value = NULL;
    int found;
    SV_LOCK(memo)
    found = look_locked(memo, asked, &value);
    SV_UNLOCK()
    if (found == 1)
        return sv_memo_answer_steal(memo, value);
    if (found < 0)
        return NULL;
    return sv_memo_coroutine(memo, sv_words.load, asked, args, PyVectorcall_NARGS(nargsf), kwnames);
}

/* ------------------------------------------------------------------ all of them */

static PyObject *call_asked(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    if (SV_UNLIKELY(memo->flags & SV_STEERED))
        return call_steered(memo, asked, args, nargsf, kwnames);
    if (!(memo->flags & (SV_ASYNC | SV_COALESCE)))
        return call_alone(memo, asked, args, nargsf, kwnames);
    if (memo->flags & SV_ASYNC)
        return call_async(memo, asked, args, nargsf, kwnames);
    PyObject *value = NULL;
    int found;
    SV_LOCK(memo)
    found = look_locked(memo, asked, &value);
    SV_UNLOCK()
    if (found == 1)
        return sv_memo_answer_steal(memo, value);
    return found < 0 ? NULL : call_together(memo, asked, args, nargsf, kwnames);
}

/* A call that is no hit of the quick kind. */
PyObject *sv_memo_call_asked(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames)
{
    PyObject *answer = call_asked(memo, asked, args, nargsf, kwnames);
    if (SV_UNLIKELY(memo->store.ledger != NULL)) /* looking lets leave what is due */
        sv_store_see_off((PyObject *)memo, &memo->store);
    return answer;
}

/* Call the function and count it as a load, and nothing else. */
PyObject *sv_memo_call_counted(sv_memo *memo, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *value = sv_memo_call_fn(memo, args, nargsf, kwnames);
    SV_LOCK(memo)
    memo->store.counts.loads++;
    memo->store.counts.failures += value == NULL;
    SV_UNLOCK()
    return value;
}
