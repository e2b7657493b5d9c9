/* What would the hit ratio be at another size? A sampled curve, kept beside a living cache or taken from a trace.
 *
 * A fixed share of all keys, chosen by their hash (SHARDS, Waldspurger, Park, Garthwaite and Ahmad, FAST 2015), is
 * shown to a few miniature caches (Waldspurger, Saemundsson, Ahmad and Park, USENIX ATC 2017): the same eviction rule,
 * sizes scaled down by that share. They see the same sample, so that what is peculiar to the sample cancels out when
 * two of them are compared; what the living cache really reached anchors the curve:
 *
 *     miss ratio at size s  =  miss ratio of the living cache  x  misses of mini(s) / misses of mini(the living size)
 *
 * A request whose key is not in the sample costs a multiplication and a comparison.
 */
#ifndef SV_MRC_H
#define SV_MRC_H

#include "replay.h"

#define SV_MRC_MOST 16u     /* sizes */
#define SV_MRC_ENTRIES 256u /* a mini cache of the living size holds about as many, or all of them */

typedef struct sv_mrc {
    uint64_t threshold; /* sampled: mixed hash below it; UINT64_MAX: every key */
    uint64_t salt;
    uint64_t rate;      /* one key in so many */
    uint32_t count;     /* mini caches; the first has the living size */
    uint64_t sizes[SV_MRC_MOST];
    sv_replay minis[SV_MRC_MOST];
} sv_mrc;

/* Mini caches of the living cache's size and of `count` others (fewer than SV_MRC_MOST), in entries or units of
 * weight. One key in `rate` is sampled; 0: as many as make the mini of the living size hold SV_MRC_ENTRIES.
 * SV_OK or SV_NOMEM, and then nothing is to close. */
int sv_mrc_open(sv_mrc *mrc, const sv_rule *rule, uint64_t living, const uint64_t *sizes, uint32_t count,
                uint64_t rate, uint64_t seed);
void sv_mrc_close(sv_mrc *mrc);

/* Is this key in the sample? Inline, so that a request outside of it costs no call. */
SV_INLINE int sv_mrc_samples(const sv_mrc *mrc, uint64_t hash)
{
    return sv_fold(hash ^ mrc->salt, UINT64_C(0x9FB21C651E98DF25)) <= mrc->threshold;
}

/* Show a sampled request to the minis. SV_OK or SV_NOMEM: then it was not seen by all of them. */
int sv_mrc_ask_slow(sv_mrc *mrc, uint64_t hash, uint32_t weight);
SV_INLINE int sv_mrc_ask(sv_mrc *mrc, uint64_t hash, uint32_t weight)
{
    return SV_LIKELY(!sv_mrc_samples(mrc, hash)) ? SV_OK : sv_mrc_ask_slow(mrc, hash, weight);
}

/* Forget what was counted, not what the minis hold: the curve of what comes now. */
void sv_mrc_forget(sv_mrc *mrc);

/* The hit ratio expected at the `number`-th of the other sizes, given what the living cache reached since the counts
 * began. Between 0 and 1. */
double sv_mrc_expected(const sv_mrc *mrc, uint32_t number, double living_hit_ratio);

/* A whole trace: a living cache replayed, the minis beside it, and what they expect at each of the other sizes, of
 * which `expected` has `count`. SV_OK, or SV_NOMEM / SV_FULL and `expected` is untouched. */
int sv_mrc_once(const sv_rule *rule, uint64_t living, const uint64_t *sizes, uint32_t count, uint64_t rate,
                uint64_t seed, const uint64_t *keys, const uint32_t *weights, size_t requests, double *expected);

/* The same without a living cache: what the minis say of themselves. */
double sv_mrc_alone(const sv_mrc *mrc, uint32_t number);

#endif
