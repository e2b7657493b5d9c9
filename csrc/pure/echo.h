/* A faint memory of who left, and how long ago: four bytes for each of the last `limit` that were put.
 *
 *   bucket: 16 slots, one cache line, wherever a hash falls
 *   +-------------+-------+
 *   | fingerprint | stamp |  x 16      both 16 bits; all zeros: empty
 *   +-------------+-------+
 *
 * A stamp is the number of the put in units coarse enough that the limit is at most 2^14 of them. What is older than
 * the limit counts as forgotten, whether its slot was taken again or not. A full bucket forgets its oldest a little
 * early, and a stranger is taken for an acquaintance about once in 5,000 questions: good enough to steer by, at a
 * quarter of the memory of an exact list (ghost.h).
 */
#ifndef SV_ECHO_H
#define SV_ECHO_H

#include "base.h"

#define SV_ECHO_SLOTS 16u

typedef struct sv_echo {
    uint32_t *slots;
    uint32_t buckets;
    uint32_t room;  /* the limit that there is memory for */
    uint32_t limit; /* ages above this are forgotten */
    uint32_t unit;  /* log2 of a stamp's unit */
    uint64_t put;   /* how many were put */
} sv_echo;

/* An echo that is all zeros has no room, remembers nothing and needs no opening. */
void sv_echo_close(sv_echo *echo);

/* Remember the last `limit` from now on. Growing beyond what there is memory for forgets what there is (a cache that
 * is still filling has nothing to remember). SV_OK, or SV_NOMEM and nothing changed. */
int sv_echo_reserve(sv_echo *echo, uint32_t limit);

void sv_echo_put(sv_echo *echo, uint64_t hash);

/* Forget this hash and say how many puts ago it was put: 1 the last one. 0 when it is not remembered. */
uint64_t sv_echo_take(sv_echo *echo, uint64_t hash);

void sv_echo_clear(sv_echo *echo);

#endif
