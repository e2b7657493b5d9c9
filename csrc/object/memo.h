/* The memoized callable.
 *
 * A Memo is called through vectorcall; a function pointer per instance selects the path, so that the path of a hit
 * has no branches on options. Two types share the struct: Memo is the drop-in for functools.lru_cache; Memoized adds
 * coalescing and the cache_* verbs (memoized.c).
 *
 * Where Python code can run, and what is checked afterwards (nothing is locked or half changed there):
 *   hashing and comparing arguments   sv_asked_read, sv_store_find      the store's epoch
 *   key=                              before the store is looked at     nothing to check
 *   the function itself               the store's epoch (Memo); the load's number, which only its leader gives back
 *   copy=                             after the store is settled        nothing to check
 *   making a CallKey (GC, 3.11)       before a structural change        the store's epoch
 *   dropping references               from the pouch, at the end        nothing is used after it
 */
#ifndef SV_MEMO_H
#define SV_MEMO_H


#include "store.h"

/* SV_STEERED: misses, stale answers and early renewals are decided above (stale terms, early, tags). */
enum { SV_COALESCE = 1, SV_ASYNC = 2, SV_UNCACHED = 4, SV_EXPLAIN = 8, SV_STEERED = 16 };

typedef struct sv_memo {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *fn;
    size_t fn_call;      /* where in `fn` its vectorcallfunc is; 0: ask Python */
    sv_store store;
    int rules;           /* SV_TYPED, SV_ALIKE */
    int flags;           /* SV_COALESCE ... */
    Py_ssize_t skip;     /* leading arguments that are not part of the key: the instance of a method */
    PyObject *key_of;    /* key=, or NULL */
    PyObject *exceptions; /* cache_exceptions=, or NULL */
    PyObject *copy;      /* copy=, or NULL */
    PyObject *dict;
    PyObject *weakrefs;
} sv_memo;

extern PyTypeObject *sv_memo_type;
int sv_memo_setup(void);

/* NULL when the whole structure is sound, else what is wrong. O(n); for tests. */
const char *sv_memo_check(PyObject *memo);

/* Slots that subtypes name again: a heap type does not inherit them quietly. */
int sv_memo_traverse(PyObject *self, visitproc visit, void *arg);
int sv_memo_clear(PyObject *self);
void sv_memo_dealloc(PyObject *self);
extern PyMemberDef sv_memo_members[];

/* What the floors above hand down once: the types of cache_info() and cache_stats(), the coroutine functions that load
 * and refresh a memoized `async def`, the functions that do so where loads are steered and the one that says which tags
 * an answer carries there, the maker of the error for an unhashable argument, the type of a bound cached method, a
 * function that makes None where a pickled instance had a memo, and the exception that no memo remembers. */
typedef struct sv_memo_words {
    PyObject *info, *stats, *load, *refresh, *steer, *renew, *tags_of, *unhashable, *bound, *left_behind;
    PyObject *busy;
} sv_memo_words;
extern sv_memo_words sv_words;

typedef struct sv_memo_options {
    Py_ssize_t maxsize; /* negative: unbounded */
    int rules, flags;
    Py_ssize_t skip;
    PyObject *key_of, *exceptions, *copy; /* kept; NULL: none */
    PyObject *clock;                      /* the same; without one the monotonic clock */
    const sv_rule *rule;                  /* who leaves first */
    sv_terms terms;
    int has_ledger;                       /* the terms say something, or there are tags */
} sv_memo_options;

/* A new memo of this type (Memo or a subtype). NULL with MemoryError or TypeError. */
PyObject *sv_memo_new(PyTypeObject *type, PyObject *fn, const sv_memo_options *options);

/* Call the memoized function. An exact Python or C function counts the depth of its calls itself; anything else could
 * call this memo again from C without end, so its depth is counted here. */
SV_INLINE PyObject *sv_memo_call_fn(sv_memo *memo, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *fn = memo->fn;
    if (SV_LIKELY(memo->fn_call != 0)) {
        vectorcallfunc call;
        memcpy(&call, (const char *)fn + memo->fn_call, sizeof(call));
        return call(fn, args, nargsf, kwnames);
    }
    if (Py_EnterRecursiveCall(" in a memoized function"))
        return NULL;
    PyObject *value = PyObject_Vectorcall(fn, args, nargsf, kwnames);
    Py_LeaveRecursiveCall();
    return value;
}

/* Describe a call's key; `holder` receives what must be dropped after the last use of `asked` (maybe NULL).
 * SV_OK or SV_RAISED. */
int sv_memo_ask(sv_memo *memo, PyObject *const *args, Py_ssize_t positional, PyObject *kwnames, sv_asked *asked,
                PyObject **holder);

/* Find the entry of a call under the lock: as sv_store_find, but an entry that is past or wrong leaves. */
int sv_memo_find_locked(sv_memo *memo, const sv_asked *asked, sv_handle *found);

/* Whether this entry has a value that is fresh at this time. */
SV_INLINE int sv_memo_has_answer_locked(sv_memo *memo, sv_handle handle, uint64_t now)
{
    return memo->store.slab.boxes[handle].value != NULL &&
           (memo->store.ledger == NULL || sv_ledger_state(memo->store.ledger, handle, &now) == SV_FRESH);
}

/* What the ledger is to know of a value stored now: `line`, or NULL where there is no ledger. With nothing locked. */
sv_line *sv_memo_line(const sv_memo *memo, sv_line *line);

/* Let all go that has reached its end, so that what is counted is current. SV_OK, or SV_RAISED by a user's clock. */
int sv_memo_sweep_all(sv_memo *memo);

/* With nothing locked: drop what an operation took out. */
SV_INLINE void sv_memo_drop(sv_memo *memo, sv_pouch *pouch)
{
    sv_pouch_drop(pouch);
    if (SV_UNLIKELY(memo->store.ledger != NULL))
        sv_store_see_off((PyObject *)memo, &memo->store);
}

/* Find or insert under the lock: 1 found, 0 not and `key` is ready to be inserted without running Python code,
 * SV_RAISED. `key` starts as NULL; the caller drops it if it is not consumed. */
int sv_memo_find_or_key_locked(sv_memo *memo, const sv_asked *asked, sv_handle *found, PyObject **key);

#endif
