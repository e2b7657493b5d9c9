/* Who leaves first: the contract between a store and an eviction rule.
 *
 * The store guarantees: calls come one at a time; `reserve` succeeded for every handle that is passed later; `enter`
 * and `leave` alternate for a handle; `victim` is called only when at least one entry is in, always before the
 * newcomer enters; an entry that is being loaded is not in. Where entries are weighed it calls `victim` again and again
 * until there is room, for the same newcomer, who may need none, one or all of them to go and may not come after all;
 * who weighs more than the whole cache is the store's to refuse, and so is the sum of the weights to keep.
 * The rule must: work in O(1) amortised time (a bounded number of steps in one call); use only the links of the
 * entries' boxes (prev, next), the sentinels' boxes and memory of its own; never touch key, value or hash (it may
 * read the hash); never fail outside `open`, `reserve` and `resize`; draw chance only from the seed it was opened
 * with.
 *
 * Exact LRU is also written out in lru.h as inline functions, because a hit must not cost a call.
 */
#ifndef SV_POLICY_H
#define SV_POLICY_H

#include "chain.h"

typedef struct sv_policy sv_policy;

typedef struct sv_rule {
    const char *name;
    size_t state_size; /* bytes of the rule's own state; it begins with an sv_policy */

    /* Prepare for at most `capacity` entries (or units of weight). SV_OK or SV_NOMEM. */
    int (*open)(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed);
    void (*close)(sv_policy *policy);

    /* Side arrays of the rule must reach handles below `boxes`. SV_OK or SV_NOMEM; NULL where there are none. */
    int (*reserve)(sv_policy *policy, uint32_t boxes);

    /* A new entry is in. `weight` is 1 unless the store weighs entries; 0 counts as 1. */
    void (*enter)(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight);

    /* The entry was read or its value replaced. */
    void (*hit)(sv_policy *policy, sv_slab *slab, sv_handle handle);

    /* The entry goes for a reason that is not the rule's (deleted, expired, cleared). */
    void (*leave)(sv_policy *policy, sv_slab *slab, sv_handle handle);

    /* The value was replaced by one of another weight: the entry stays who it is. NULL where weights do not matter to
     * the rule. (`leave` and `enter` would say it too, but then the rule forgets what the entry has earned.) The store
     * evicts afterwards if it holds too much, and this entry may be the victim. */
    void (*reweigh)(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight);

    /* Choose who leaves to make room for a newcomer with this hash (any number where there is no newcomer), and take it
     * out of the rule's chains. */
    sv_handle (*victim)(sv_policy *policy, sv_slab *slab, uint64_t newcomer);

    /* The bound changed; the store evicts afterwards if it holds too many. SV_OK or SV_NOMEM. */
    int (*resize)(sv_policy *policy, sv_slab *slab, uint64_t capacity);

    /* Every entry goes at once; ghosts and frequencies may be kept or dropped, chains must be empty. */
    void (*clear)(sv_policy *policy, sv_slab *slab);

    /* Handles in the order in which they would be offered to a reader, best kept first; SV_NONE starts and ends. */
    sv_handle (*walk)(const sv_policy *policy, const sv_slab *slab, sv_handle after);
} sv_rule;

struct sv_policy {
    const sv_rule *rule;
    uint64_t capacity;
};

#endif
