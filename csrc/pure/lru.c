#include "lru.h"

static int lru_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    policy->capacity = capacity;
    sv_chain_clear(slab, SV_LRU_CHAIN);
    return SV_OK;
}

static void lru_close(sv_policy *policy) { (void)policy; }

static void lru_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)policy;
    (void)weight;
    sv_chain_push(slab, SV_LRU_CHAIN, handle);
}

static void lru_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)policy;
    sv_lru_hit(slab, handle);
}

static void lru_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)policy;
    sv_chain_unlink(slab, handle);
}

static sv_handle lru_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    (void)policy;
    (void)newcomer;
    sv_handle oldest = sv_chain_oldest(slab, SV_LRU_CHAIN);
    sv_chain_unlink(slab, oldest);
    return oldest;
}

static int lru_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    policy->capacity = capacity;
    return SV_OK;
}

static void lru_clear(sv_policy *policy, sv_slab *slab)
{
    (void)policy;
    sv_chain_clear(slab, SV_LRU_CHAIN);
}

static sv_handle lru_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? SV_LRU_CHAIN : after].next;
    return next == SV_LRU_CHAIN ? SV_NONE : next;
}

const sv_rule sv_lru_rule = {
    .name = "lru",
    .state_size = sizeof(sv_policy),
    .open = lru_open,
    .close = lru_close,
    .reserve = NULL,
    .enter = lru_enter,
    .hit = lru_hit,
    .leave = lru_leave,
    .reweigh = NULL,
    .victim = lru_victim,
    .resize = lru_resize,
    .clear = lru_clear,
    .walk = lru_walk,
};
