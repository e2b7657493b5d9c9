/* Consistent hashing (Karger et al., STOC 1997): a circle of 2^64 places, on which each node has many points. A key
 * belongs to the node of the first point at or after the key's own place, going up and around.
 *
 *     points   | 3 .. | 40 .. | 41 .. | 96 .. | max max max max      ascending; four more that nothing exceeds
 *     owners   |  2   |   0   |   2   |   1   | 2                    node numbers; the first again: around the end
 *     jump     | 0 | 0 | 1 | 3 | 3 | .. | 4                          first point at or above bucket << shift
 *
 * The top bits of a place choose a bucket, which holds about one point, so a search is one jump and four comparisons
 * without a branch; the rest of a crowded bucket is walked. Building sorts once, by the same buckets. A ring never
 * changes: adding a node merges its points into a copy, removing filters them out, so whoever holds a ring may read it
 * without a lock.
 *
 * Two kinds place nodes and keys, for ever in the same way:
 *   SV_RING_XXH3    key: XXH3-64. Node: XXH3-64 of its name is its identity, and point i is XXH3-64 of i (eight bytes,
 *                   least significant first) with the identity as seed.
 *   SV_RING_KETAMA  libketama's (Jones 2007), in 32 bits, which are the top ones here. Key: the first four bytes of its
 *                   MD5, least significant first. Node: the MD5 of "name-i" gives four points.
 * Where points of several nodes meet, the one with the least identity has the place: the order of adding never matters.
 */
#ifndef SV_RING_H
#define SV_RING_H

#include "place.h"

#define SV_RING_PAST 4u                  /* comparisons that need no branch; as many points stand behind the last */
#define SV_RING_MOST (UINT32_C(1) << 28) /* points */

typedef struct sv_ring_node {
    const char *name;
    size_t length;
    uint32_t points; /* for SV_RING_KETAMA a multiple of 4, which is 0 for a node of almost no weight; else not 0 */
} sv_ring_node;

typedef struct sv_ring {
    uint64_t *points;     /* the block that holds all five arrays; NULL: closed, or no nodes */
    uint64_t *identities; /* of each node */
    uint32_t *owners, *jump;
    uint32_t *tallies; /* points of each node */
    uint32_t count, nodes, shift;
    sv_ring_kind kind;
} sv_ring;

/* A ring of these nodes, numbered in their order; names differ. SV_OK, SV_NOMEM, or SV_FULL (too many points): then
 * nothing is to close. */
int sv_ring_open(sv_ring *ring, sv_ring_kind kind, const sv_ring_node *nodes, uint32_t count);
void sv_ring_close(sv_ring *ring);

/* A new ring: `old` and one node more, which gets the next number; `old` without a node, whose followers step down by
 * one. `old` is left as it was. */
int sv_ring_with(sv_ring *ring, const sv_ring *old, const sv_ring_node *node);
int sv_ring_without(sv_ring *ring, const sv_ring *old, uint32_t node);

/* Points for each node of a ketama ring by libketama's rule, floor(share x hashes x nodes) x 4, with its floats. */
void sv_ring_ketama_points(const double *weights, uint32_t count, uint32_t hashes, uint32_t *points);

/* The place of the first point at or after `place`; `count` when there is none before the circle ends. */
SV_INLINE uint32_t sv_ring_search(const sv_ring *ring, uint64_t place)
{
    const uint64_t *points = ring->points;
    uint32_t at = ring->jump[place >> ring->shift];
    uint32_t next = at + (points[at] < place) + (points[at + 1] < place) + (points[at + 2] < place) +
                    (points[at + 3] < place);
    if (SV_UNLIKELY(next == at + SV_RING_PAST))
        while (points[next] < place)
            next++;
    return next;
}

/* The number of the node that has this place. The ring has a node. */
SV_INLINE uint32_t sv_ring_find(const sv_ring *ring, uint64_t place)
{
    return ring->owners[sv_ring_search(ring, place)];
}

/* The same for many places at once, several times as fast in a large ring. */
void sv_ring_find_many(const sv_ring *ring, const uint64_t *places, size_t count, uint32_t *nodes);

/* The node of each key of a column. How many could be told: all, or fewer when the next key is no Unicode text; or
 * SV_NOMEM. */
int64_t sv_ring_find_keys(const sv_ring *ring, const sv_column *keys, uint32_t *nodes);

/* The first `wanted` different nodes from this place on, or all when there are fewer. How many, or SV_NOMEM. */
int64_t sv_ring_walk(const sv_ring *ring, uint64_t place, uint32_t wanted, uint32_t *nodes);

/* How many of the 2^64 places each node has; a node that has all of them shows 0, as then all nodes do. */
void sv_ring_shares(const sv_ring *ring, uint64_t *shares);

/* Places that a node of one ring loses to a node of another. 0 stands for all 2^64. */
typedef struct sv_ring_move {
    uint32_t from, to;
    uint64_t places;
} sv_ring_move;

/* What differs between two rings of one kind, neither without nodes, exactly. `same` gives for each node of `other` its
 * number in `ring`, or a number that `ring` does not have. How many moves, sorted, in a new array for the caller to
 * free; or SV_NOMEM. */
int64_t sv_ring_moves(const sv_ring *ring, const sv_ring *other, const uint32_t *same, sv_ring_move **moves);

/* Validate the whole structure: 1 sound, 0 not. For tests. */
int sv_ring_check(const sv_ring *ring);

#endif
