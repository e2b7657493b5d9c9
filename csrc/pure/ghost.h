/* Who left not long ago: the hashes of the last `limit` entries that were evicted, in order, without the entries.
 *
 *   spirits, numbered from 1                            heads
 *   +-------------+-------+-------+---------+           +-------+
 *   | fingerprint | chain | older | younger |  x room   | first |  x buckets (a power of two)
 *   +-------------+-------+-------+---------+           +-------+
 *
 * Half of a hash is kept; the bucket it hangs in tells most of the rest, so that a hash which was never put is taken
 * for a ghost about once in 2^32 questions. The last of a bucket's chain names the bucket: so the oldest ghost can be
 * unchained from what is known of it alone.
 *
 * Exact, first in first out, O(1); memory comes in `reserve` only.
 */
#ifndef SV_GHOST_H
#define SV_GHOST_H

#include "base.h"

typedef struct sv_spirit {
    uint32_t fingerprint;
    uint32_t chain; /* the next spirit of this bucket, or END_OF_CHAIN | bucket; of a free one: the next free one */
    uint32_t older; /* spirit 0 is both ends of the order */
    uint32_t younger;
} sv_spirit;

_Static_assert(sizeof(sv_spirit) == 16, "four to a cache line");

typedef struct sv_ghost {
    sv_spirit *spirits;
    uint32_t *heads;
    uint32_t room;  /* spirits there is memory for */
    uint32_t used;  /* spirits ever used */
    uint32_t free;  /* chain of free ones; 0: none */
    uint32_t live;  /* ghosts */
    uint32_t limit; /* most ghosts to remember; <= room */
    uint32_t shift; /* 64 - log2(buckets) */
} sv_ghost;

/* A ghost that is all zeros has no room, remembers nothing and needs no opening. */
void sv_ghost_close(sv_ghost *ghost);

/* Remember up to `limit` from now on. Growing beyond what there is memory for forgets the ghosts there are (a cache
 * that is still filling has none); shrinking forgets the oldest. SV_OK, or SV_NOMEM and nothing changed. */
int sv_ghost_reserve(sv_ghost *ghost, uint32_t limit);

/* Remember; the oldest is forgotten when there are too many. */
void sv_ghost_put(sv_ghost *ghost, uint64_t hash);

/* Forget this hash. 1 if it was there, 0 if not. */
int sv_ghost_take(sv_ghost *ghost, uint64_t hash);

void sv_ghost_clear(sv_ghost *ghost);

/* Validate the whole structure: 1 sound, 0 not. O(n); for tests. */
int sv_ghost_check(const sv_ghost *ghost);

#endif
