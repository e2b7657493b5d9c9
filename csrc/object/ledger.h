/* What a store remembers of its entries besides key and value: how long they are good, what they weigh, which tags
 * they carry; and the entries that are leaving. A store without such things has no ledger and pays nothing.
 *
 *   by handle, each array only once it is used:
 *     wheel     when the entry leaves by itself: when it is no longer fresh, plus as long as it may be served stale
 *     stays     when it stops being fresh, how long it is kept after that, its time to idle, what its load cost, and the
 *               load that renews it now
 *     weights   what it weighs
 *     tagged    its tags, and when they were last known not to have moved
 *
 *   stored         fresh_until            fresh_until + keep        Without a stay the two deadlines are one, and it
 *     |---- fresh -----|------ stale -----------|---- gone         stands in the wheel.
 *
 * An entry that leaves is taken out of the index, the order and the wheel at once, and departs: its box joins a chain
 * and keeps key, value and cause. When the operation is over and nothing is locked, `sv_store_see_off` tells the
 * owner's on_remove and drops the references, one after another. A thread that does so already does not do it again
 * further in: an on_remove or a __del__ that comes back to the store makes the chain longer, not the stack deeper.
 *
 * The caller holds the lock of the store's owner, and has read the clock (`sv_ledger_now`) before taking it.
 */
#ifndef SV_LEDGER_H
#define SV_LEDGER_H

#include "fences.h"
#include "pure/histogram.h"
#include "pure/slab.h"
#include "pure/wheel.h"
#include "tags.h"

#define SV_UNBOUNDED UINT64_MAX

typedef enum sv_cause { SV_EVICTED, SV_EXPIRED, SV_REPLACED, SV_DELETED, SV_INVALIDATED, SV_CLEARED, SV_CAUSES } sv_cause;
extern PyObject *sv_cause_names[SV_CAUSES];

/* A Freshness in nanoseconds; SV_NEVER where it has no word. */
typedef struct sv_terms {
    uint64_t ttl, tti, swr, sie, negative;
    double jitter, early;
} sv_terms;

typedef struct sv_stay {
    uint64_t fresh_until; /* SV_NEVER: for ever */
    uint64_t keep;        /* how long after that it may be served */
    uint64_t tti;         /* SV_NEVER: none */
    float cost;           /* seconds that its load took */
    uint32_t load;        /* number of the load that renews it + 1; 0: none */
} sv_stay;

typedef struct sv_tagged {
    sv_gathered *tags; /* NULL: none */
    uint64_t seen;
} sv_tagged;

typedef struct sv_ledger {
    sv_wheel wheel;
    sv_stay *stays;
    sv_tagged *tagged;
    uint32_t *weights;
    uint32_t stays_room, tagged_room, weights_room; /* made ready, a few at a time: no insertion pays for many */
    uint32_t stays_held, tagged_held, weights_held; /* that there is memory for */
    int dated;            /* an entry had a deadline or a tag: whoever reads must look */
    uint64_t dated_at;    /* the time when that began */
    uint64_t weight, maxweight;
    sv_handle departed, departed_last;
    uint32_t departed_count;
    uint32_t seers_count, seers_room;
    uint32_t seers_born;  /* the fork generation that the seers belong to */
    uint64_t *seers;      /* numbers of the threads that are seeing off */
    uint32_t unswept;     /* boxes below this have not been looked at since the last invalidation of tags */
    uint64_t gone[SV_CAUSES];
    uint64_t stale_hits;
    uint64_t chance;      /* of jitter */
    uint32_t chance_born; /* the fork generation that it was seeded in */
    sv_tags tags;
    sv_terms terms;       /* of entries that are stored without a word of their own */
    PyObject *clock;      /* callable, or NULL: the monotonic clock */
    PyObject *on_remove, *weigher;
    PyObject *read_fresh; /* the Freshness that was read last, and what it says: calls mostly give the same one */
    sv_terms read_terms;
    sv_fences *fences;    /* NULL: nobody asks for them */
    sv_histogram *load_times, *hit_times; /* nanoseconds; NULL until the first, or when not asked for */
} sv_ledger;

/* Empty, with the clock at `now`. */
void sv_ledger_open(sv_ledger *ledger, uint64_t now, uint64_t seed);
void sv_ledger_close(sv_ledger *ledger);
int sv_ledger_traverse(sv_ledger *ledger, visitproc visit, void *arg);
size_t sv_ledger_bytes(const sv_ledger *ledger);
int sv_ledger_setup(void);

SV_INLINE int sv_terms_have_an_end(const sv_terms *terms)
{
    return terms->ttl != SV_NEVER || terms->tti != SV_NEVER || terms->negative != SV_NEVER;
}

SV_INLINE int sv_terms_need_a_stay(const sv_terms *terms)
{
    return terms->swr > 0 || terms->sie > 0 || terms->tti != SV_NEVER || terms->early > 0;
}

/* Stale answers and early renewals: more than the core decides by itself. */
SV_INLINE int sv_terms_need_steering(const sv_terms *terms) { return terms->swr > 0 || terms->sie > 0 || terms->early > 0; }

/* Read a Freshness (None: no word about anything). SV_OK or SV_RAISED. May run Python code. */
int sv_terms_read(PyObject *fresh, sv_terms *terms);

/* ------------------------------------------------------------------ time */

/* The time in nanoseconds: of the ledger's own clock, or coarsely of the monotonic one. Asks a user's clock, so it
 * comes before the lock is taken. SV_OK or SV_RAISED. */
int sv_ledger_ask_clock(const sv_ledger *ledger, uint64_t *now);
SV_INLINE int sv_ledger_now(const sv_ledger *ledger, uint64_t *now)
{
    if (SV_UNLIKELY(ledger->clock != NULL))
        return sv_ledger_ask_clock(ledger, now);
    *now = sv_clock_coarse();
    return SV_OK;
}

/* The same to the nanosecond. */
int sv_ledger_now_precisely(const sv_ledger *ledger, uint64_t *now);

/* A time as the ledger's clock shows it. */
double sv_ledger_seconds(uint64_t now);

/* The time of somebody who did not ask for it, because nothing was dated: since then somebody else, or a key's __eq__,
 * stored the first entry that is. The lock is held, so a user's clock cannot be asked. */
SV_INLINE uint64_t sv_ledger_late_now(const sv_ledger *ledger)
{
    return ledger->clock == NULL ? sv_clock_precise() : ledger->dated_at;
}

/* Is this deadline reached? Makes `now` precise when that decides. */
SV_INLINE int sv_ledger_is_past(const sv_ledger *ledger, uint64_t deadline, uint64_t *now)
{
    if (deadline <= *now)
        return 1;
    if (SV_LIKELY(deadline - *now > SV_CLOCK_TICK) || ledger->clock != NULL)
        return 0;
    *now = sv_clock_precise();
    return deadline <= *now;
}

/* ------------------------------------------------------------------ entries */

/* Reach handles below `boxes` in every array that is used or about to be: `terms` and `tags` as in sv_ledger_write.
 * SV_OK, SV_NOMEM or SV_FULL. */
int sv_ledger_reserve(sv_ledger *ledger, uint32_t boxes, const sv_terms *terms, const sv_gathered *tags);

/* What is to be written of an entry. */
typedef struct sv_line {
    const sv_terms *terms;
    uint64_t now;   /* precise */
    sv_gathered *tags; /* or NULL; sv_ledger_write takes them over and leaves NULL */
    uint64_t seen;  /* tag clock up to which they are known not to have moved */
    int gathered;   /* there are tags, or there were */
    uint64_t late;  /* for how long it has been stale already */
    uint32_t weight;
    float cost;     /* seconds that the load took */
} sv_line;

/* Write an entry's line in place of what stood there. The tags that it had are answered (or NULL). */
sv_gathered *sv_ledger_write(sv_ledger *ledger, sv_handle handle, sv_line *line, int is_none);

/* Give the entry new deadlines and leave the rest. The caller has reserved. */
void sv_ledger_date(sv_ledger *ledger, sv_handle handle, const sv_terms *terms, uint64_t now, int is_none);

/* Make an entry stale from `at` on: 1 it may still be served until later, 0 it may not. */
int sv_ledger_spoil(sv_ledger *ledger, sv_handle handle, uint64_t at);

SV_INLINE uint64_t sv_ledger_fresh_until(const sv_ledger *ledger, sv_handle handle)
{
    uint64_t leaves = sv_wheel_deadline(&ledger->wheel, handle);
    if (handle >= ledger->stays_room)
        return leaves;
    uint64_t fresh_until = ledger->stays[handle].fresh_until;
    return fresh_until < leaves ? fresh_until : leaves;
}

typedef enum { SV_FRESH, SV_STALE, SV_PAST, SV_WRONG } sv_state;

/* Whether one of an entry's tags was invalidated, so that it may not be served any more. It learns of soft ones. */
int sv_ledger_is_wrong(sv_ledger *ledger, sv_handle handle);

/* What an entry is at this time. SV_PAST: expired; SV_WRONG: one of its tags was invalidated. */
sv_state sv_ledger_state_slowly(sv_ledger *ledger, sv_handle handle, uint64_t *now);
SV_INLINE sv_state sv_ledger_state(sv_ledger *ledger, sv_handle handle, uint64_t *now)
{
    if (SV_LIKELY(!ledger->dated))
        return SV_FRESH;
    if (SV_LIKELY(ledger->tagged == NULL && ledger->stays == NULL)) { /* nothing but lifetimes */
        if (SV_LIKELY(*now + SV_CLOCK_TICK < ledger->wheel.due)) /* none ends so soon: no need to look at this one's */
            return SV_FRESH;
        return sv_ledger_is_past(ledger, sv_wheel_deadline(&ledger->wheel, handle), now) ? SV_PAST : SV_FRESH;
    }
    return sv_ledger_state_slowly(ledger, handle, now);
}

/* Whether chance has a say if this fresh entry is renewed early (XFetch): the chance that a load begins at more than 37
 * times beta times the load's cost before the end is 2^-53. */
SV_INLINE int sv_ledger_may_be_early(const sv_ledger *ledger, sv_handle handle, uint64_t now)
{
    if (handle >= ledger->stays_room || ledger->stays[handle].fresh_until == SV_NEVER)
        return 0;
    const sv_stay *stay = &ledger->stays[handle];
    return (double)(stay->fresh_until - now) <= ledger->terms.early * (double)stay->cost * 37e9;
}

/* The entry was asked for at this time: its time to idle begins anew. */
void sv_ledger_idle_anew(sv_ledger *ledger, sv_handle handle, uint64_t now);
SV_INLINE void sv_ledger_asked_for(sv_ledger *ledger, sv_handle handle, uint64_t now)
{
    if (SV_UNLIKELY(handle < ledger->stays_room && ledger->stays[handle].tti != SV_NEVER))
        sv_ledger_idle_anew(ledger, handle, now);
}

/* Forget what is written of an entry: its line is empty. */
void sv_ledger_erase(sv_ledger *ledger, sv_handle handle);

/* Set the counts to zero. */
SV_INLINE void sv_ledger_count_anew(sv_ledger *ledger)
{
    memset(ledger->gone, 0, sizeof(ledger->gone));
    ledger->stale_hits = 0;
}

/* Forget all lines, and who departs: the boxes are the caller's now. */
void sv_ledger_forget(sv_ledger *ledger);

/* The entry, out of index and order, departs: its box waits in the chain with key, value and cause. */
void sv_ledger_depart(sv_ledger *ledger, sv_slab *slab, sv_handle handle, sv_cause cause);

/* NULL when it is sound, else what is wrong. O(n); for tests. */
const char *sv_ledger_check(const sv_ledger *ledger, const sv_slab *slab);

#endif
