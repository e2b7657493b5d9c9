/* SIEVE (Zhang, Yang, Yue, Vigfusson and Rashmi, NSDI 2024): one queue in order of entry and a hand that goes from
 * the oldest to the youngest and round again. An entry that was hit since the hand passed is spared once, where it
 * stands; the first that was not is the victim. A hit sets a mark and moves nothing.
 *
 * Each step of the hand but the last takes a mark away that a hit had to set, so a victim costs O(1) amortised.
 */
#include "marks.h"
#include "rules.h"

#define QUEUE 0u

typedef struct sieve {
    sv_policy policy;
    sv_marks visited;
    sv_handle hand; /* where the search goes on; QUEUE: from the oldest */
} sieve;

static int sieve_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    sieve *self = (sieve *)policy;
    self->visited = (sv_marks){0};
    self->hand = QUEUE;
    policy->capacity = capacity;
    sv_chain_clear(slab, QUEUE);
    return SV_OK;
}

static void sieve_close(sv_policy *policy) { sv_marks_close(&((sieve *)policy)->visited); }

static int sieve_reserve(sv_policy *policy, uint32_t boxes)
{
    return sv_marks_reserve(&((sieve *)policy)->visited, boxes);
}

static void sieve_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)weight;
    ((sieve *)policy)->visited.of[handle] = 0;
    sv_chain_push(slab, QUEUE, handle);
}

static void sieve_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)slab;
    ((sieve *)policy)->visited.of[handle] = 1;
}

static void sieve_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    sieve *self = (sieve *)policy;
    if (self->hand == handle)
        self->hand = slab->boxes[handle].prev; /* the next younger one, or the end */
    sv_chain_unlink(slab, handle);
}

static sv_handle sieve_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    (void)newcomer;
    sieve *self = (sieve *)policy;
    uint8_t *visited = self->visited.of;
    for (;;) {
        if (self->hand == QUEUE)
            self->hand = sv_chain_oldest(slab, QUEUE);
        sv_handle here = self->hand;
        self->hand = slab->boxes[here].prev;
        if (!visited[here]) {
            sv_chain_unlink(slab, here);
            return here;
        }
        visited[here] = 0;
    }
}

static int sieve_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    policy->capacity = capacity;
    return SV_OK;
}

static void sieve_clear(sv_policy *policy, sv_slab *slab)
{
    ((sieve *)policy)->hand = QUEUE;
    sv_chain_clear(slab, QUEUE);
}

static sv_handle sieve_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? QUEUE : after].next;
    return next == QUEUE ? SV_NONE : next;
}

const sv_rule sv_sieve_rule = {
    .name = "sieve",
    .state_size = sizeof(sieve),
    .open = sieve_open,
    .close = sieve_close,
    .reserve = sieve_reserve,
    .enter = sieve_enter,
    .hit = sieve_hit,
    .leave = sieve_leave,
    .reweigh = NULL,
    .victim = sieve_victim,
    .resize = sieve_resize,
    .clear = sieve_clear,
    .walk = sieve_walk,
};
