/* Numbered boxes: where entries live. A handle stays good, and its box's contents stay put relative to the slab,
 * from take to give; the slab as a whole may move in memory when it grows, so nobody keeps a pointer to a box
 * across a call that may take one.
 *
 *   one box, 32 bytes                      boxes[0 .. SV_SENTINELS)   ends of chains; hash is never a key's hash
 *   +-------+-------+-------+------+------+
 *   | key   | value | hash  | prev | next |  boxes[SV_SENTINELS .. used)  entries, or free boxes chained by next
 *   +-------+-------+-------+------+------+
 *
 * What is needed by some stores only (deadlines, weights, marks) lives in side arrays indexed by the same handle,
 * and exists only when it is used.
 */
#ifndef SV_SLAB_H
#define SV_SLAB_H

#include "base.h"

typedef struct sv_box {
    void *key;
    void *value;   /* NULL while the entry's value is being loaded */
    uint64_t hash; /* never SV_HASH_NEVER for an entry */
    uint32_t prev; /* chain links; a loading entry is in no chain and keeps its load's number here */
    uint32_t next;
} sv_box;

#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(sv_box) == 32, "a box is half a cache line");
#endif

/* The hash of no key (Python never makes it): what a free box and a sentinel answer when they are asked. */
#define SV_HASH_NEVER UINT64_MAX

typedef struct sv_slab {
    sv_box *boxes;      /* aligned to 64 bytes: no box lies across two cache lines */
    void *block;        /* the allocation that holds them */
    uint32_t capacity;  /* boxes allocated */
    uint32_t used;      /* boxes ever taken since the last reset, sentinels included */
    uint32_t first_free;
    uint32_t live;      /* boxes taken and not given back */
    uint32_t enough;    /* as many boxes as the owner mostly needs: growing stops there once, 0: no such number */
} sv_slab;

/* Start without memory for entries. SV_OK or SV_NOMEM. */
int sv_slab_open(sv_slab *slab);
void sv_slab_close(sv_slab *slab);

/* Make sure that the next take needs no memory. SV_OK, SV_NOMEM or SV_FULL; amortised O(1). */
int sv_slab_reserve_slow(sv_slab *slab);
SV_INLINE int sv_slab_reserve(sv_slab *slab)
{
    if (SV_LIKELY(slab->first_free != SV_NONE || slab->used < slab->capacity))
        return SV_OK;
    return sv_slab_reserve_slow(slab);
}

/* Take a box; the caller has reserved it, and fills every field. */
SV_INLINE sv_handle sv_slab_take(sv_slab *slab)
{
    sv_handle handle = slab->first_free;
    slab->live++;
    if (handle != SV_NONE) {
        slab->first_free = slab->boxes[handle].next;
        return handle;
    }
    SV_ASSERT(slab->used < slab->capacity);
    return slab->used++;
}

/* Give a box back; what its key and value owned is the caller's business. */
SV_INLINE void sv_slab_give(sv_slab *slab, sv_handle handle)
{
    sv_box *box = &slab->boxes[handle];
    box->key = NULL;
    box->value = NULL;
    box->hash = SV_HASH_NEVER;
    box->prev = SV_NONE;
    box->next = slab->first_free;
    slab->first_free = handle;
    slab->live--;
}

/* Forget every box at once and let the memory go; the chains' ends are reset to empty. */
void sv_slab_reset(sv_slab *slab);

/* Validate the whole structure: 1 sound, 0 not. O(n); for tests. */
int sv_slab_check(const sv_slab *slab);

#endif
