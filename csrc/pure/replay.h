/* A cache of integer keys that holds nothing: index, slab and an eviction rule walk a trace and count its hits.
 *
 * What replays is what serves: the same structures and rules as in the object store, so a hit ratio found here is the
 * one that a store of this size would have had. No objects, no locks, no clock.
 */
#ifndef SV_REPLAY_H
#define SV_REPLAY_H

#include "index.h"
#include "policy.h"

typedef struct sv_replay {
    sv_slab slab;
    sv_index index;
    sv_policy *policy;
    uint32_t reserved; /* handles below this are known to the rule */
    uint32_t *weights; /* by handle; NULL while every entry weighs 1 */
    uint32_t weighed;  /* handles that `weights` reaches */
    uint64_t capacity; /* entries, or units of weight */
    uint64_t weight;   /* of what is in */
    uint64_t requests, hits;
    uint64_t requested_weight, hit_weight;
    uint64_t evictions;
} sv_replay;

/* A cache of `capacity` entries (or units of weight), empty. SV_OK, or SV_NOMEM and nothing is to close. */
int sv_replay_open(sv_replay *replay, const sv_rule *rule, uint64_t capacity, uint64_t seed);
void sv_replay_close(sv_replay *replay);

/* Ask for each key in turn, and store it when it is not there. `weights` (one per key; 0 counts as 1) may be NULL; a
 * key that weighs more than the whole cache is not stored. May be called again with what follows.
 * SV_OK, or SV_NOMEM / SV_FULL: the requests up to there are counted, and the replay may be closed or continued. */
int sv_replay_run(sv_replay *replay, const uint64_t *keys, const uint32_t *weights, size_t count);

/* Ask for one key: 1 it was there, 0 it was not and is now, negative failed. */
int sv_replay_ask(sv_replay *replay, uint64_t key, uint32_t weight);

/* What one replay counted. */
typedef struct sv_replay_counts {
    uint64_t requests, hits, evictions;
    uint64_t requested_weight, hit_weight;
} sv_replay_counts;

/* A whole replay: opened, run, closed. SV_OK, or SV_NOMEM / SV_FULL and `counts` is untouched. */
int sv_replay_once(const sv_rule *rule, uint64_t capacity, uint64_t seed, const uint64_t *keys,
                   const uint32_t *weights, size_t count, sv_replay_counts *counts);

/* Validate the whole structure: 1 sound, 0 not. O(n); for tests. */
int sv_replay_check(const sv_replay *replay);

SV_INLINE double sv_replay_hit_ratio(const sv_replay *replay)
{
    return replay->requests == 0 ? 0.0 : (double)replay->hits / (double)replay->requests;
}

#endif
