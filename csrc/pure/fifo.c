/* First in, first out: what entered first leaves first, whatever was read meanwhile. A hit costs nothing. */
#include "rules.h"

#define QUEUE 0u

static int fifo_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    policy->capacity = capacity;
    sv_chain_clear(slab, QUEUE);
    return SV_OK;
}

static void fifo_close(sv_policy *policy) { (void)policy; }

static void fifo_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)policy;
    (void)weight;
    sv_chain_push(slab, QUEUE, handle);
}

static void fifo_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)policy;
    (void)slab;
    (void)handle;
}

static void fifo_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)policy;
    sv_chain_unlink(slab, handle);
}

static sv_handle fifo_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    (void)policy;
    (void)newcomer;
    sv_handle oldest = sv_chain_oldest(slab, QUEUE);
    sv_chain_unlink(slab, oldest);
    return oldest;
}

static int fifo_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    policy->capacity = capacity;
    return SV_OK;
}

static void fifo_clear(sv_policy *policy, sv_slab *slab)
{
    (void)policy;
    sv_chain_clear(slab, QUEUE);
}

static sv_handle fifo_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? QUEUE : after].next;
    return next == QUEUE ? SV_NONE : next;
}

const sv_rule sv_fifo_rule = {
    .name = "fifo",
    .state_size = sizeof(sv_policy),
    .open = fifo_open,
    .close = fifo_close,
    .reserve = NULL,
    .enter = fifo_enter,
    .hit = fifo_hit,
    .leave = fifo_leave,
    .reweigh = NULL,
    .victim = fifo_victim,
    .resize = fifo_resize,
    .clear = fifo_clear,
    .walk = fifo_walk,
};
