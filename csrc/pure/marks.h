/* One byte per entry beside the slab: what an eviction rule remembers of an entry besides its place in a chain.
 * Nothing is kept for a handle that is not in: the rule writes the byte when the entry enters. */
#ifndef SV_MARKS_H
#define SV_MARKS_H

#include "block.h"

typedef struct sv_marks {
    uint8_t *of; /* by handle */
    uint32_t room;
} sv_marks;

/* Reach every handle below `boxes`. SV_OK or SV_NOMEM. */
SV_INLINE int sv_marks_reserve(sv_marks *marks, uint32_t boxes)
{
    if (boxes <= marks->room)
        return SV_OK;
    uint8_t *of = sv_block_resize(marks->of, boxes);
    if (of == NULL)
        return SV_NOMEM;
    marks->of = of;
    marks->room = boxes;
    return SV_OK;
}

SV_INLINE void sv_marks_close(sv_marks *marks)
{
    sv_block_free(marks->of);
    *marks = (sv_marks){0};
}

#endif
