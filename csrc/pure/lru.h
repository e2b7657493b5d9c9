/* Exact least-recently-used order: one chain, youngest first. O(1) everything, no state beyond the links. */
#ifndef SV_LRU_H
#define SV_LRU_H

#include "policy.h"

#define SV_LRU_CHAIN 0u

extern const sv_rule sv_lru_rule;

/* Move to the young end, unless it is there already. */
SV_INLINE void sv_lru_hit(sv_slab *slab, sv_handle handle)
{
    sv_box *boxes = slab->boxes;
    sv_handle youngest = boxes[SV_LRU_CHAIN].next;
    if (youngest == handle)
        return;
    sv_handle prev = boxes[handle].prev, next = boxes[handle].next;
    boxes[prev].next = next;
    boxes[next].prev = prev;
    boxes[handle].prev = SV_LRU_CHAIN;
    boxes[handle].next = youngest;
    boxes[youngest].prev = handle;
    boxes[SV_LRU_CHAIN].next = handle;
}

#endif
