/* Entries with Python keys and values: index + slab + eviction rule, and the loads that are under way.
 *
 * Where Python code can run: while a key is compared (`sv_store_find`), and nowhere else in this file. References
 * that an operation takes out of the store go into the caller's pouch or spill, which is emptied after unlocking.
 * Every change of structure advances `epoch`; whoever called out compares it and looks again if it moved. A search
 * starts again only when what it walks over moved (`moves`): a comparison that adds entries cannot keep it from ending.
 *
 * An entry whose value is NULL is being loaded. It is in the index, in no chain, and not counted by `current`; its
 * box keeps in `prev` the number of its load:
 *
 *   box {key, value: NULL, hash, prev: n}  --->  loads[n] {handle, leader, serial, flight}
 *                                          <---
 * The load's number belongs to its leader until the leader ends it. An invalidation, a clear or a set in between
 * cuts the two apart (`handle` becomes SV_NONE): the load is fenced off, its value goes to those who waited and is
 * not stored. A refresh is a load whose entry still has its old value.
 *
 * The caller holds the lock of the object that owns the store (SV_LOCK) around every call here.
 */
#ifndef SV_STORE_H
#define SV_STORE_H

#include "callkey.h"
#include "ledger.h"
#include "pure/index.h"
#include "pure/lru.h"
#include "pure/rules.h"

#define SV_FAR_BOXES 16384u /* half a megabyte of them */

typedef struct sv_load {
    uint64_t leader;     /* sv_thread_number, or 0 when a task of an event loop leads */
    uint64_t serial;     /* later loads have higher ones; 0: this number is free */
    uint64_t begun;      /* the tags' clock at its begin */
    PyObject *flight;    /* new when somebody waits, else NULL */
    sv_handle handle;    /* SV_NONE once fenced off */
    uint32_t generation; /* sv_fork_generation at the start; of a free number: the next free one */
} sv_load;

/* What the floors above decide, and tell by name. */
typedef enum sv_told { SV_TOLD_EARLY, SV_TOLD_QUEUED, SV_TOLD_REFUSED, SV_TOLD_SHARED, SV_TOLD_RESCUED,
                       SV_TOLD_KINDS } sv_told;

typedef struct sv_counts {
    uint64_t hits, misses, coalesced, loads, failures, evictions;
    uint64_t told[SV_TOLD_KINDS];
} sv_counts;

typedef struct sv_store {
    sv_index index;
    sv_slab slab;
    uint64_t epoch;      /* advanced by every change of structure */
    uint64_t moves;      /* advanced when an entry leaves or changes its place in the index: searches start again */
    uint64_t fences;     /* advanced beside `epoch` when stored values are declared wrong: for loads without a number */
    uint64_t maxsize;    /* SV_UNBOUNDED: nothing is ever evicted and no order is kept */
    sv_counts counts;
    uint32_t current;    /* entries with a value */
    uint32_t brim;       /* `current` of a full store under exact LRU, else UINT32_MAX */
    uint32_t refreshing; /* loads whose entry has a value */
    uint32_t unnamed;    /* those of them that no stay names: to be searched for */
    uint32_t loads_size;
    uint32_t loads_free;  /* first free number, or loads_size */
    uint64_t last_serial;
    sv_load *loads;
    sv_policy *policy;   /* NULL when unbounded and without a ledger */
    int rules;           /* of comparing keys: SV_TYPED, SV_ALIKE */
    int awaited;         /* values are awaitables that are done (ready.h) */
    sv_ledger *ledger;   /* NULL: entries have no lifetimes, weights or tags, and nobody is told when they leave */
} sv_store;

/* `rule` decides who leaves first (NULL: nobody, and no order is kept) in a cache of `capacity` entries or units of
 * weight. SV_OK, or SV_NOMEM. */
int sv_store_open(sv_store *store, uint64_t maxsize, const sv_rule *rule, uint64_t capacity, uint64_t seed);

/* Give an empty store a ledger, with a bound of weight (SV_UNBOUNDED: none). SV_OK or SV_NOMEM. */
int sv_store_keep_ledger(sv_store *store, uint64_t maxweight, uint64_t seed);

/* Find the entry of a call. 1: `found` is its handle (loading or not); 0: there is none; SV_RAISED.
 * Whatever it returns, it describes the store as it is now. */
int sv_store_find(sv_store *store, const sv_asked *asked, sv_handle *found);

/* So many boxes the side arrays must reach now: those in use, the next one, and some, so that it is not asked each time. */
SV_INLINE uint32_t sv_store_reach(const sv_store *store)
{
    uint64_t some = (((uint64_t)store->slab.used + store->refreshing + 1) | 255) + 1;
    return some < store->slab.capacity ? (uint32_t)some : store->slab.capacity;
}

/* Tell the eviction rule that an entry was used. */
SV_INLINE void sv_store_touch(sv_store *store, sv_handle handle)
{
    if (store->policy == NULL)
        return;
    if (store->policy->rule == &sv_lru_rule)
        sv_lru_hit(&store->slab, handle);
    else
        store->policy->rule->hit(store->policy, &store->slab, handle);
}

/* Take the oldest entry of a store under exact LRU out of the order; the caller takes it out of the index. Its box is
 * still taken; the key and the value in it are the caller's. */
SV_INLINE sv_handle sv_store_unlink_oldest(sv_store *store)
{
    sv_box *boxes = store->slab.boxes;
    sv_handle oldest = boxes[SV_LRU_CHAIN].prev, next = boxes[oldest].prev;
    boxes[SV_LRU_CHAIN].prev = next;
    boxes[next].next = SV_LRU_CHAIN;
    if (store->slab.used > SV_FAR_BOXES) { /* larger than the near caches: ask for what the next eviction will want */
        const sv_box *soon = &boxes[next];
        SV_PREFETCH(&boxes[soon->prev]);
        SV_PREFETCH(soon->key);
        SV_PREFETCH(soon->value);
        sv_index_prefetch(&store->index, soon->hash);
    }
    store->counts.evictions++;
    store->moves++;
    return oldest;
}

/* Store a new entry; the key is not in the store. SV_OK, SV_NOMEM or SV_FULL; key and value are stolen on success
 * only. Evicts if the store is full: what leaves is in the pouch, or departs. `line` is what a ledger is to know of the
 * entry: its weight is not above the bound; NULL where the store has no ledger. */
int sv_store_insert(sv_store *store, PyObject *key, uint64_t hash, PyObject *value, sv_line *line, sv_pouch *pouch);

/* The short way of the commonest insertion, into a store that is full and under exact LRU: the box of the oldest entry
 * and its place in the index are used again, no memory is asked for. The entry that left is the caller's. */
typedef struct sv_departed {
    PyObject *key, *value;
} sv_departed;
SV_INLINE int sv_store_may_displace(const sv_store *store)
{
    return store->current == store->brim && store->refreshing == 0;
}
SV_INLINE sv_departed sv_store_displace_steal(sv_store *store, PyObject *key, uint64_t hash, PyObject *value)
{
    sv_handle handle = sv_store_unlink_oldest(store);
    sv_box *boxes = store->slab.boxes, *box = &boxes[handle];
    sv_departed gone = {box->key, box->value};
    uint64_t old_hash = box->hash;
    box->key = key;
    box->value = value;
    box->hash = hash;
    sv_index_rehash(&store->index, boxes, old_hash, hash, handle);
    sv_chain_push(&store->slab, SV_LRU_CHAIN, handle);
    store->epoch++;
    return gone;
}

/* Give an entry this value (stolen on success): fill it if it was loading, else replace. Loads that run for it are
 * fenced off. SV_OK; with a ledger also SV_NOMEM or SV_FULL, and nothing changed. */
int sv_store_set_steal(sv_store *store, sv_handle handle, PyObject *value, sv_line *line, sv_pouch *pouch);

/* Take an entry out, loading or not. Loads that run for it are fenced off. Its references are in the pouch, or depart. */
void sv_store_remove(sv_store *store, sv_handle handle, sv_cause cause, sv_pouch *pouch);

/* Fence off the loads that run for an entry; one that has no value leaves. */
void sv_store_fence_off(sv_store *store, sv_handle handle, sv_pouch *pouch);

/* Take everything out at once. SV_NOMEM changes nothing. What was in the store is in the spill. */
typedef struct sv_spill {
    sv_slab slab;
    sv_handle departed; /* who was leaving already */
    PyObject *on_remove;
} sv_spill;
int sv_store_clear(sv_store *store, sv_spill *spill);
void sv_spill_drop(sv_spill *spill); /* with nothing locked */

/* ------------------------------------------------------------------ with a ledger */

#define SV_STEPS 16u /* of sweeping, for one operation on one key */

/* Let what is due leave: `steps` of the wheel, and as many boxes looked at for tags that moved. */
void sv_store_sweep_slowly(sv_store *store, uint64_t now, uint32_t steps);
SV_INLINE void sv_store_sweep(sv_store *store, uint64_t now, uint32_t steps)
{
    if (SV_UNLIKELY(store->ledger->wheel.due <= now || store->ledger->unswept != 0))
        sv_store_sweep_slowly(store, now, steps);
}

/* An entry that turned out to be SV_PAST or SV_WRONG leaves. A load that renews an expired one goes on. */
void sv_store_expire(sv_store *store, sv_handle handle, sv_state state);

/* An entry that the rule gave up as its victim departs. */
void sv_store_take_victim(sv_store *store, sv_handle victim, sv_cause cause);

/* Evict until the bounds hold, after they became smaller. */
void sv_store_shrink(sv_store *store);

/* Number of the latest load that renews this entry, or SV_NO_LOAD. O(1), but O(loads) where no stay names it. */
#define SV_NO_LOAD UINT32_MAX
uint32_t sv_store_renewal(const sv_store *store, sv_handle handle);

/* Begin of the oldest load that runs, by the clock of the tags; UINT64_MAX: none runs. */
uint64_t sv_store_oldest_load(const sv_store *store);

/* Tell on_remove about those who departed, and drop what they held. With nothing locked; an exception that is set
 * survives, one of on_remove's own is written to sys.unraisablehook. Several threads may do so at once: whoever makes
 * entries leave helps to see them off. */
void sv_store_see_off_slowly(PyObject *owner, sv_store *store);
SV_INLINE void sv_store_see_off(PyObject *owner, sv_store *store)
{
    if (SV_UNLIKELY(SV_GLANCE(store->ledger->departed) != SV_NONE))
        sv_store_see_off_slowly(owner, store);
}

/* ------------------------------------------------------------------ loads */

/* Begin a load for a key that is not in the store. SV_OK, SV_NOMEM or SV_FULL; the key is stolen on success only. */
int sv_store_begin(sv_store *store, PyObject *key, uint64_t hash, uint64_t leader, uint32_t *number);

/* Begin a load for an entry that is there: if it is loading, the new load takes its place; if it has a value, that
 * stays until the load ends. SV_OK or SV_NOMEM. */
int sv_store_begin_again(sv_store *store, sv_handle handle, uint64_t leader, uint32_t *number);

/* Store a load's value (stolen, maybe NULL: then an entry that has no value goes) unless it was fenced off. The
 * load's number stays taken. 1 stored, 0 fenced off, or the ledger found no memory. */
int sv_store_settle_steal(sv_store *store, uint32_t number, PyObject *value, sv_line *line, sv_pouch *pouch);

/* The leader is done with the number. Returns the flight (new reference) or NULL. */
PyObject *sv_store_end(sv_store *store, uint32_t number);

/* ------------------------------------------------------------------ for the owner's type */

int sv_store_traverse(sv_store *store, visitproc visit, void *arg);
void sv_store_let_go(sv_store *store); /* tp_clear, after sv_store_clear: of whatever else it refers to */
void sv_store_close(sv_store *store); /* after sv_store_clear, or drops what is left itself */
size_t sv_store_bytes(PyObject *owner, const sv_store *store); /* with nothing locked */

/* NULL when the whole structure is sound, else what is wrong. O(n); for tests. */
const char *sv_store_check(const sv_store *store);

/* Set the Python exception of a failed result. Returns SV_RAISED. */
int sv_store_error(int status);

#endif
