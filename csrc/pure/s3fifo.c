/* S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023): three queues, first in first out.
 *
 *   newcomer --> small (a tenth) --two hits or more--> main (the rest) <--> spared once per hit, at most three times
 *                   | fewer                               | no hit
 *                   v                                     v
 *                 ghosts (nine tenths of c) --asked for again: the newcomer goes to main
 *
 * Until the first eviction the overflow of the small queue goes to main as well. A hit counts to three and moves
 * nothing. Entries, not weights, are counted; where entries are weighed the share is taken of the entries there are.
 *
 * Every step of a search for a victim but the last uses up hits, so a victim costs O(1) amortised.
 */
#include "ghost.h"
#include "marks.h"
#include "rules.h"

#define SMALL 0u
#define MAIN 1u
#define IN_MAIN 4u /* mark: which queue; the two lower bits count hits */
#define HITS 3u
#define PROMOTED 2u

typedef struct s3fifo {
    sv_policy policy;
    sv_marks marks;
    sv_ghost ghost;
    uint32_t small, main; /* entries in each queue */
    int evicted;          /* something left by eviction */
    int weighed;          /* an entry of weight other than 1 came */
    int known;            /* `asked` was looked up in the ghosts by the search for a victim */
    int returned;         /* and this is what they said */
    uint64_t asked;
} s3fifo;

/* How many entries the cache holds when it is full. */
static uint64_t entries_when_full(const s3fifo *self)
{
    return self->weighed ? (uint64_t)self->small + self->main : self->policy.capacity;
}

static uint64_t small_share(uint64_t entries) { return entries < 10 ? 1 : entries / 10; }

static int s3fifo_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    const sv_rule *rule = policy->rule;
    *(s3fifo *)policy = (s3fifo){.policy = {.rule = rule, .capacity = capacity}};
    sv_chain_clear(slab, SMALL);
    sv_chain_clear(slab, MAIN);
    return SV_OK;
}

static void s3fifo_close(sv_policy *policy)
{
    s3fifo *self = (s3fifo *)policy;
    sv_marks_close(&self->marks);
    sv_ghost_close(&self->ghost);
}

static uint32_t ghost_limit(uint64_t capacity, uint32_t boxes)
{
    uint64_t entries = capacity < boxes ? capacity : boxes;
    return (uint32_t)(entries * 9 / 10);
}

static int s3fifo_reserve(sv_policy *policy, uint32_t boxes)
{
    s3fifo *self = (s3fifo *)policy;
    uint32_t limit = ghost_limit(policy->capacity, boxes);
    if (limit > self->ghost.limit && sv_ghost_reserve(&self->ghost, limit) != SV_OK)
        return SV_NOMEM;
    return sv_marks_reserve(&self->marks, boxes);
}

static void s3fifo_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    s3fifo *self = (s3fifo *)policy;
    uint64_t hash = slab->boxes[handle].hash;
    int returned = self->known && self->asked == hash ? self->returned : sv_ghost_take(&self->ghost, hash);
    self->known = 0;
    self->weighed |= weight != 1;
    if (returned || (!self->evicted && self->small >= small_share(entries_when_full(self)))) {
        self->marks.of[handle] = IN_MAIN;
        sv_chain_push(slab, MAIN, handle);
        self->main++;
    } else {
        self->marks.of[handle] = 0;
        sv_chain_push(slab, SMALL, handle);
        self->small++;
    }
}

static void s3fifo_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)slab;
    uint8_t *mark = &((s3fifo *)policy)->marks.of[handle];
    *mark = (uint8_t)(*mark + ((*mark & HITS) < HITS));
}

static void s3fifo_reweigh(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)slab;
    (void)handle;
    ((s3fifo *)policy)->weighed |= weight != 1;
}

static void s3fifo_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    s3fifo *self = (s3fifo *)policy;
    sv_chain_unlink(slab, handle);
    if (self->marks.of[handle] & IN_MAIN)
        self->main--;
    else
        self->small--;
}

static sv_handle s3fifo_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    s3fifo *self = (s3fifo *)policy;
    uint8_t *marks = self->marks.of;
    if (!self->known || self->asked != newcomer) {
        self->asked = newcomer;
        self->returned = sv_ghost_take(&self->ghost, newcomer);
        self->known = 1;
    }
    self->evicted = 1;
    uint64_t entries = entries_when_full(self), share = small_share(entries), rest = entries - share;
    int from_main = self->main > rest;
    for (;;) {
        from_main |= self->small == 0;
        sv_handle oldest = sv_chain_oldest(slab, from_main ? MAIN : SMALL);
        sv_chain_unlink(slab, oldest);
        if (from_main) {
            if ((marks[oldest] & HITS) == 0) {
                self->main--;
                return oldest;
            }
            marks[oldest]--;
            sv_chain_push(slab, MAIN, oldest);
        } else {
            self->small--;
            if (marks[oldest] < PROMOTED) {
                sv_ghost_put(&self->ghost, slab->boxes[oldest].hash);
                return oldest;
            }
            marks[oldest] = IN_MAIN;
            sv_chain_push(slab, MAIN, oldest);
            self->main++;
        }
    }
}

static int s3fifo_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    s3fifo *self = (s3fifo *)policy;
    if (sv_ghost_reserve(&self->ghost, ghost_limit(capacity, self->marks.room)) != SV_OK)
        return SV_NOMEM;
    policy->capacity = capacity;
    return SV_OK;
}

static void s3fifo_clear(sv_policy *policy, sv_slab *slab)
{
    s3fifo *self = (s3fifo *)policy;
    sv_chain_clear(slab, SMALL);
    sv_chain_clear(slab, MAIN);
    sv_ghost_clear(&self->ghost);
    self->small = self->main = 0;
    self->evicted = self->known = 0;
}

static sv_handle s3fifo_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? MAIN : after].next;
    if (next == MAIN)
        next = slab->boxes[SMALL].next;
    return next == SMALL ? SV_NONE : next;
}

const sv_rule sv_s3fifo_rule = {
    .name = "s3fifo",
    .state_size = sizeof(s3fifo),
    .open = s3fifo_open,
    .close = s3fifo_close,
    .reserve = s3fifo_reserve,
    .enter = s3fifo_enter,
    .hit = s3fifo_hit,
    .leave = s3fifo_leave,
    .reweigh = s3fifo_reweigh,
    .victim = s3fifo_victim,
    .resize = s3fifo_resize,
    .clear = s3fifo_clear,
    .walk = s3fifo_walk,
};
