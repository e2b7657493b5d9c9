/* Order through handles: a doubly linked ring of boxes that begins and ends in a sentinel box.
 *
 * chain c is the ring through box c (c < SV_SENTINELS): next of the sentinel is the youngest, prev the oldest.
 * Because the ends are boxes too, linking and unlinking have no special cases and no branches.
 */
#ifndef SV_CHAIN_H
#define SV_CHAIN_H

#include "slab.h"

SV_INLINE void sv_chain_clear(sv_slab *slab, sv_handle chain)
{
    slab->boxes[chain].prev = chain;
    slab->boxes[chain].next = chain;
}

SV_INLINE void sv_chain_push(sv_slab *slab, sv_handle chain, sv_handle handle)
{
    sv_box *boxes = slab->boxes;
    sv_handle second = boxes[chain].next;
    boxes[handle].prev = chain;
    boxes[handle].next = second;
    boxes[second].prev = handle;
    boxes[chain].next = handle;
}

SV_INLINE void sv_chain_unlink(sv_slab *slab, sv_handle handle)
{
    sv_box *boxes = slab->boxes;
    sv_handle prev = boxes[handle].prev, next = boxes[handle].next;
    boxes[prev].next = next;
    boxes[next].prev = prev;
}

SV_INLINE sv_handle sv_chain_youngest(const sv_slab *slab, sv_handle chain) { return slab->boxes[chain].next; }
SV_INLINE sv_handle sv_chain_oldest(const sv_slab *slab, sv_handle chain) { return slab->boxes[chain].prev; }
SV_INLINE int sv_chain_is_empty(const sv_slab *slab, sv_handle chain) { return slab->boxes[chain].next == chain; }

#endif
