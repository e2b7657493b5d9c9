/* W-TinyLFU (Einziger, Friedman and Manes, TOS 2017), its window sized by hill climbing (Einziger, Eytan, Friedman and
 * Manes, Middleware 2018).
 *
 *   newcomer --> window (LRU, a tenth at first)
 *                   | the oldest is the candidate: asked for more often than probation's oldest?
 *                   | yes: that one leaves        | no: the candidate leaves
 *                   v
 *                probation <--a hit / overflow--> protected (four fifths of what is not window)
 *
 * How often is what the sketch says. Ties are lost, but for one in 128 among the frequent, by chance, so that nobody
 * who knows the sketch can keep a newcomer out for ever.
 *
 * The climber compares the hit ratios of two samples of 10 c requests: it walks on in the direction that helped and
 * turns round in the one that hurt, in steps that shrink, and in long ones again when the workload has changed.
 * Entries, not weights, are counted; where entries are weighed the shares are taken of the entries there are.
 */
#include "marks.h"
#include "rules.h"
#include "sketch.h"

#define WINDOW 0u
#define PROBATION 1u
#define PROTECTED 2u /* also the mark of an entry: the chain it is in */
#define FREQUENT 6u
#define FIRST_WINDOW 0.10
#define FIRST_STEP 0.03
#define STEP_DECAY 0.98
#define RESTART 0.05 /* a change of the hit ratio that says: another workload */
#define SAMPLE 10u   /* requests per entry */

typedef struct tinylfu {
    sv_policy policy;
    sv_marks marks;
    sv_sketch sketch;
    uint32_t count[3]; /* entries in each chain */
    int weighed;
    double window; /* share of all */
    double step;
    double hit_ratio; /* of the sample before */
    uint64_t hits, requests;
    uint64_t chance;
} tinylfu;

static uint64_t entries_when_full(const tinylfu *self)
{
    return self->weighed ? (uint64_t)self->count[WINDOW] + self->count[PROBATION] + self->count[PROTECTED]
                         : self->policy.capacity;
}

static uint64_t window_limit(const tinylfu *self)
{
    uint64_t limit = (uint64_t)(self->window * (double)entries_when_full(self));
    return limit == 0 ? 1 : limit;
}

static uint64_t protected_limit(const tinylfu *self)
{
    uint64_t entries = entries_when_full(self), window = window_limit(self);
    return entries > window ? (entries - window) * 4 / 5 : 0;
}

static void start(tinylfu *self)
{
    self->count[WINDOW] = self->count[PROBATION] = self->count[PROTECTED] = 0;
    self->window = FIRST_WINDOW;
    self->step = FIRST_STEP;
    self->hit_ratio = 0.0;
    self->hits = self->requests = 0;
}

static void clear_chains(sv_slab *slab)
{
    for (sv_handle chain = WINDOW; chain <= PROTECTED; chain++)
        sv_chain_clear(slab, chain);
}

static int tinylfu_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    const sv_rule *rule = policy->rule;
    *(tinylfu *)policy = (tinylfu){.policy = {.rule = rule, .capacity = capacity}, .chance = seed};
    start((tinylfu *)policy);
    clear_chains(slab);
    return SV_OK;
}

static void tinylfu_close(sv_policy *policy)
{
    tinylfu *self = (tinylfu *)policy;
    sv_marks_close(&self->marks);
    sv_sketch_close(&self->sketch);
}

static int tinylfu_reserve(sv_policy *policy, uint32_t boxes)
{
    tinylfu *self = (tinylfu *)policy;
    if (sv_sketch_reserve(&self->sketch, policy->capacity < boxes ? (uint32_t)policy->capacity : boxes) != SV_OK)
        return SV_NOMEM;
    return sv_marks_reserve(&self->marks, boxes);
}

static void push(tinylfu *self, sv_slab *slab, sv_handle chain, sv_handle handle)
{
    self->marks.of[handle] = (uint8_t)chain;
    self->count[chain]++;
    sv_chain_push(slab, chain, handle);
}

static void take_out(tinylfu *self, sv_slab *slab, sv_handle handle)
{
    self->count[self->marks.of[handle]]--;
    sv_chain_unlink(slab, handle);
}

static void move(tinylfu *self, sv_slab *slab, sv_handle chain, sv_handle handle)
{
    take_out(self, slab, handle);
    push(self, slab, chain, handle);
}

/* A sample is complete: walk on, or turn round. */
static void climb(tinylfu *self)
{
    double ratio = (double)self->hits / (double)self->requests, change = ratio - self->hit_ratio;
    if (change < 0)
        self->step = -self->step;
    self->window += self->step;
    if (self->window < 0.005)
        self->window = 0.005;
    if (self->window > 0.8)
        self->window = 0.8;
    if (change >= RESTART || change <= -RESTART)
        self->step = self->step < 0 ? -FIRST_STEP : FIRST_STEP;
    else
        self->step *= STEP_DECAY;
    self->hit_ratio = ratio;
    self->hits = self->requests = 0;
}

static void count_request(tinylfu *self, uint64_t hash)
{
    sv_sketch_add(&self->sketch, hash);
    if (SV_UNLIKELY(++self->requests >= entries_when_full(self) * SAMPLE))
        climb(self);
}

static void tinylfu_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    tinylfu *self = (tinylfu *)policy;
    self->weighed |= weight != 1;
    count_request(self, slab->boxes[handle].hash);
    push(self, slab, WINDOW, handle);
    if (self->count[WINDOW] > window_limit(self))
        move(self, slab, PROBATION, sv_chain_oldest(slab, WINDOW));
}

static void tinylfu_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    tinylfu *self = (tinylfu *)policy;
    self->hits++;
    count_request(self, slab->boxes[handle].hash);
    uint32_t chain = self->marks.of[handle];
    move(self, slab, chain == WINDOW ? WINDOW : PROTECTED, handle);
    if (chain == PROBATION && self->count[PROTECTED] > protected_limit(self))
        move(self, slab, PROBATION, sv_chain_oldest(slab, PROTECTED));
}

static void tinylfu_reweigh(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)slab;
    (void)handle;
    ((tinylfu *)policy)->weighed |= weight != 1;
}

static void tinylfu_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    take_out((tinylfu *)policy, slab, handle);
}

static int may_enter(tinylfu *self, uint64_t candidate, uint64_t victim)
{
    uint32_t wanted = sv_sketch_estimate(&self->sketch, candidate), kept = sv_sketch_estimate(&self->sketch, victim);
    return wanted > kept || (wanted >= FREQUENT && sv_chance(&self->chance) >> 57 == 0);
}

static sv_handle tinylfu_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    (void)newcomer;
    tinylfu *self = (tinylfu *)policy;
    uint32_t chain = self->count[PROBATION] > 0 ? PROBATION : self->count[PROTECTED] > 0 ? PROTECTED : WINDOW;
    sv_handle victim = sv_chain_oldest(slab, chain);
    if (chain != WINDOW && self->count[WINDOW] >= window_limit(self)) {
        sv_handle candidate = sv_chain_oldest(slab, WINDOW);
        if (may_enter(self, slab->boxes[candidate].hash, slab->boxes[victim].hash))
            move(self, slab, PROBATION, candidate);
        else
            victim = candidate;
    }
    take_out(self, slab, victim);
    return victim;
}

static int tinylfu_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    tinylfu *self = (tinylfu *)policy;
    uint32_t boxes = self->marks.room;
    if (sv_sketch_reserve(&self->sketch, capacity < boxes ? (uint32_t)capacity : boxes) != SV_OK)
        return SV_NOMEM;
    policy->capacity = capacity;
    return SV_OK;
}

static void tinylfu_clear(sv_policy *policy, sv_slab *slab)
{
    tinylfu *self = (tinylfu *)policy;
    clear_chains(slab);
    sv_sketch_clear(&self->sketch);
    start(self);
}

/* Protected, then window, then probation. */
static sv_handle tinylfu_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? PROTECTED : after].next;
    if (next == PROTECTED)
        next = slab->boxes[WINDOW].next;
    if (next == WINDOW)
        next = slab->boxes[PROBATION].next;
    return next == PROBATION ? SV_NONE : next;
}

const sv_rule sv_tinylfu_rule = {
    .name = "tinylfu",
    .state_size = sizeof(tinylfu),
    .open = tinylfu_open,
    .close = tinylfu_close,
    .reserve = tinylfu_reserve,
    .enter = tinylfu_enter,
    .hit = tinylfu_hit,
    .leave = tinylfu_leave,
    .reweigh = tinylfu_reweigh,
    .victim = tinylfu_victim,
    .resize = tinylfu_resize,
    .clear = tinylfu_clear,
    .walk = tinylfu_walk,
};
