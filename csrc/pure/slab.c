#include "slab.h"

#include "block.h"

#define FIRST_CAPACITY 16u

/* Up to this size a slab doubles; beyond it it grows by an eighth, so that a million entries waste little: on the
 * platforms where realloc remaps large blocks instead of copying them this costs microseconds. */
#define DOUBLE_BELOW (1u << 16)

static void clear_sentinels(sv_slab *slab)
{
    for (uint32_t chain = 0; chain < SV_SENTINELS; chain++)
        slab->boxes[chain] = (sv_box){.hash = SV_HASH_NEVER, .prev = chain, .next = chain};
}

static sv_box *first_aligned(void *block) { return (sv_box *)(((uintptr_t)block + 63) & ~(uintptr_t)63); }

static size_t block_size(uint64_t capacity) { return (size_t)capacity * sizeof(sv_box) + 63; }

/* Change the number of boxes. SV_NOMEM changes nothing. */
static int set_capacity(sv_slab *slab, uint64_t capacity)
{
    size_t offset = (size_t)((char *)slab->boxes - (char *)slab->block);
    uint64_t kept = slab->used < capacity ? slab->used : capacity;
    void *block = sv_block_resize(slab->block, block_size(capacity));
    if (block == NULL)
        return SV_NOMEM;
    sv_box *boxes = first_aligned(block);
    if ((size_t)((char *)boxes - (char *)block) != offset) /* large blocks keep their place in a page: a rare copy */
        memmove(boxes, (char *)block + offset, (size_t)kept * sizeof(sv_box));
    slab->block = block;
    slab->boxes = boxes;
    slab->capacity = (uint32_t)capacity;
    return SV_OK;
}

int sv_slab_open(sv_slab *slab)
{
    void *block = sv_block_resize(NULL, block_size(FIRST_CAPACITY));
    if (block == NULL)
        return SV_NOMEM;
    *slab = (sv_slab){
        .boxes = first_aligned(block), .block = block, .capacity = FIRST_CAPACITY, .used = SV_SENTINELS};
    clear_sentinels(slab);
    return SV_OK;
}

void sv_slab_close(sv_slab *slab)
{
    sv_block_free(slab->block);
    *slab = (sv_slab){0};
}

SV_NOINLINE int sv_slab_reserve_slow(sv_slab *slab)
{
    uint64_t capacity = slab->capacity < DOUBLE_BELOW ? (uint64_t)slab->capacity * 2
                                                      : (uint64_t)slab->capacity + slab->capacity / 8;
    if (slab->capacity < slab->enough && capacity > slab->enough)
        capacity = slab->enough;
    if (capacity > UINT32_MAX - 1)
        capacity = UINT32_MAX - 1;
    if (capacity <= slab->capacity || capacity > (SIZE_MAX - 63) / sizeof(sv_box))
        return SV_FULL;
    return set_capacity(slab, capacity);
}

void sv_slab_reset(sv_slab *slab)
{
    if (slab->capacity > FIRST_CAPACITY)
        (void)set_capacity(slab, FIRST_CAPACITY); /* without memory: it stays large */
    slab->used = SV_SENTINELS;
    slab->first_free = SV_NONE;
    slab->live = 0;
    clear_sentinels(slab);
}

int sv_slab_check(const sv_slab *slab)
{
    if (slab->boxes == NULL || slab->used < SV_SENTINELS || slab->used > slab->capacity)
        return 0;
    uint32_t never = 0, free_boxes = 0;
    for (uint32_t handle = 0; handle < slab->used; handle++)
        never += slab->boxes[handle].hash == SV_HASH_NEVER;
    for (sv_handle free = slab->first_free; free != SV_NONE; free = slab->boxes[free].next) {
        if (free < SV_SENTINELS || free >= slab->used || slab->boxes[free].hash != SV_HASH_NEVER)
            return 0;
        if (++free_boxes > slab->used)
            return 0; /* the list bites its tail */
    }
    return never == SV_SENTINELS + free_boxes && slab->live == slab->used - never;
}
