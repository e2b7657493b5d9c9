/* The default of a Cache: S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023) that finds its own shares.
 *
 *   newcomer --> small --two hits or more--> main <--> spared once per hit
 *     |            | fewer                      | no hit
 *     |            v                            v
 *     |        remembered: 1.5 c            remembered: 0.05 c
 *     +--asked for again, and welcome--> main
 *
 * Two dials, turned only by misses, by one question: would a few more places in this queue have made it a hit?
 *   share    how many entries the small queue may hold (1 to 95 % of c, at first 5 %). A newcomer that left small a
 *            moment ago (within 0.05 c evictions) asks for more; one that left main a moment ago for less. (Marginal
 *            ghost hits, as in ARC, Megiddo and Modha, FAST 2003.)
 *   welcome  how long ago a newcomer may have left small to enter main at once (0 to 1.5 c, at first all). It carries
 *            on where the share ends: when the small queue is at its least and main still loses what is asked for
 *            again, then those who return push out their betters (a loop longer than the cache), and fewer are let in.
 *
 * Three ways to be caught at the wrong place, and what leads out:
 *   A main queue that nobody reads any more must not be guarded for ever: each one who is turned away costs main's
 *   oldest one of its hits, and one in DOOR of those who find it cold takes its place.
 *   A loop of twice the cache and more returns too late for the dials to see that all these guests drive out each
 *   other. So who returns after more than 1.1 c evictions is on trial: let in without ever being hit, it makes the
 *   welcome shorter by one; hit, it makes it longer. And a cold main is replaced slowly (DOOR), so that some part of
 *   the loop stays long enough to be hit.
 *   Where every key returns after the same pause, nobody returns within a moment, and the share would never grow. So
 *   those who return within 2, 4, 8 and 16 moments are counted too, if LRU would have kept them (not more than c
 *   requests ago); if there they are twice as dense per place as within the first moment, the share goes there.
 *
 * A hit counts to three and moves nothing. One search for a victim takes at most 2 x SCAN steps: who is still hot
 * after that has had its chance. Entries, not weights, are counted; where entries are weighed the shares are taken of
 * the entries there are.
 */
#include "echo.h"
#include "marks.h"
#include "rules.h"

#define SMALL 0u
#define MAIN 1u
#define IN_MAIN 4u /* mark: which queue; the two lower bits count hits */
#define HITS 3u
#define PROMOTED 2u
#define ON_TRIAL 8u /* mark: in main after a late return, not hit yet */
#define SCAN 32u
#define SHARE_STEP 2u
#define WELCOME_STEP 4u
#define DOOR 8u
#define REACHES 5u     /* within 1, 2, 4, 8, 16 moments */
#define LEAST_LOOK 64u /* misses between two looks at the far returns: c, but not fewer than this */
#define CHECKPOINTS 64u

typedef struct adaptive {
    sv_policy policy;
    sv_marks marks;
    sv_echo left_small, left_main;
    uint32_t small, main; /* entries in each queue */
    uint32_t share;
    uint32_t welcome;
    int evicted; /* something left by eviction */
    int weighed; /* an entry of weight other than 1 came */
    int known;   /* `asked` was looked up by the search for a victim */
    int to_main; /* and this is where it goes */
    int late;    /* after how long an absence */
    uint64_t asked;
    uint64_t requests;
    uint32_t knocks;                 /* of late returns that found main's oldest cold */
    uint32_t misses;                 /* since the last look at the far returns */
    uint32_t returned[REACHES];      /* of them, within so many moments */
    uint64_t when_left[CHECKPOINTS]; /* requests at the time of every so many-th eviction from small */
} adaptive;

/* How many entries the cache holds when it is full. */
static uint32_t entries_when_full(const adaptive *self)
{
    uint64_t entries = self->weighed ? (uint64_t)self->small + self->main : self->policy.capacity;
    return entries > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)entries;
}

static uint32_t at_least_one(uint64_t number) { return number == 0 ? 1 : (uint32_t)number; }
static uint32_t least_share(uint32_t entries) { return at_least_one(entries / 100); }
static uint32_t most_share(uint32_t entries) { return at_least_one((uint64_t)entries * 95 / 100); }
static uint32_t first_share(uint32_t entries) { return at_least_one(entries / 20); }
static uint32_t moment(uint32_t entries) { return at_least_one(entries / 20); }
static uint32_t latest_without_trial(uint32_t entries) { return (uint32_t)((uint64_t)entries * 11 / 10); }

static uint32_t share_now(const adaptive *self, uint32_t entries)
{
    uint32_t most = most_share(entries);
    if (!self->evicted)
        return first_share(entries);
    return self->share < most ? at_least_one(self->share) : most;
}

static int remember(adaptive *self, uint64_t capacity)
{
    uint64_t entries = capacity < self->marks.room ? capacity : self->marks.room;
    if (entries > UINT32_MAX / 2)
        entries = UINT32_MAX / 2;
    if (sv_echo_reserve(&self->left_main, moment((uint32_t)entries)) != SV_OK)
        return SV_NOMEM;
    return sv_echo_reserve(&self->left_small, at_least_one(entries * 3 / 2));
}

static void start(adaptive *self)
{
    self->small = self->main = 0;
    self->share = 0; /* until the first eviction: first_share */
    self->welcome = UINT32_MAX;
    self->evicted = self->known = self->late = 0;
    self->knocks = self->misses = 0;
    self->requests = 0;
    memset(self->returned, 0, sizeof(self->returned));
    memset(self->when_left, 0, sizeof(self->when_left));
}

static int adaptive_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    const sv_rule *rule = policy->rule;
    *(adaptive *)policy = (adaptive){.policy = {.rule = rule, .capacity = capacity}};
    start((adaptive *)policy);
    sv_chain_clear(slab, SMALL);
    sv_chain_clear(slab, MAIN);
    return SV_OK;
}

static void adaptive_close(sv_policy *policy)
{
    adaptive *self = (adaptive *)policy;
    sv_marks_close(&self->marks);
    sv_echo_close(&self->left_small);
    sv_echo_close(&self->left_main);
}

static int adaptive_reserve(sv_policy *policy, uint32_t boxes)
{
    adaptive *self = (adaptive *)policy;
    if (sv_marks_reserve(&self->marks, boxes) != SV_OK)
        return SV_NOMEM;
    return remember(self, policy->capacity);
}

/* Small asks for more room: first those who return are welcome again, then the share grows. */
static void turn_to_small(adaptive *self, uint32_t entries)
{
    uint32_t most = most_share(entries);
    if (self->welcome < self->left_small.limit)
        self->welcome += WELCOME_STEP;
    else
        self->share = self->share + SHARE_STEP < most ? self->share + SHARE_STEP : most;
}

/* Main asks: first the share shrinks, then fewer of those who return are welcome. */
static void turn_to_main(adaptive *self, uint32_t entries)
{
    uint32_t least = least_share(entries);
    if (self->share > least) {
        self->share = self->share > least + SHARE_STEP ? self->share - SHARE_STEP : least;
        return;
    }
    if (self->welcome > self->left_small.limit)
        self->welcome = self->left_small.limit;
    self->welcome = self->welcome > WELCOME_STEP ? self->welcome - WELCOME_STEP : 0;
}

/* Who was on trial was hit, or leaves without. */
static void judge(adaptive *self, int was_hit)
{
    uint32_t least = latest_without_trial(entries_when_full(self));
    if (was_hit)
        self->welcome = self->welcome < UINT32_MAX - WELCOME_STEP ? self->welcome + WELCOME_STEP : UINT32_MAX;
    else if (self->welcome > least)
        self->welcome = (self->welcome < self->left_small.limit ? self->welcome : self->left_small.limit) - 1;
}

/* Evictions from small between two checkpoints: all of them together reach back c evictions. */
static uint32_t checkpoint_unit(const adaptive *self) { return self->left_small.limit / (CHECKPOINTS * 3 / 2) + 1; }

static void note_eviction(adaptive *self, uint64_t hash)
{
    sv_echo_put(&self->left_small, hash);
    uint64_t put = self->left_small.put;
    uint32_t unit = checkpoint_unit(self);
    if (put % unit == 0)
        self->when_left[put / unit % CHECKPOINTS] = self->requests;
}

/* How many requests ago the `age`-th last eviction from small was: never too few. */
static uint64_t requests_since(const adaptive *self, uint64_t age)
{
    return self->requests - self->when_left[(self->left_small.put - age) / checkpoint_unit(self) % CHECKPOINTS];
}

static void count_return(adaptive *self, uint32_t entries, uint64_t age)
{
    uint64_t reach = moment(entries);
    self->returned[0] += age <= reach;
    if (age > reach << (REACHES - 1) || age + share_now(self, entries) > most_share(entries) ||
        requests_since(self, age) > entries)
        return;
    for (uint32_t i = 1; i < REACHES; i++)
        self->returned[i] += age <= reach << i;
}

/* Once in c misses: is it denser further off? */
static void look_far(adaptive *self, uint32_t entries)
{
    uint64_t best = 0, near = self->returned[0];
    for (uint32_t i = 1; i < REACHES; i++)
        if (self->returned[i] >> (i + 1) > best)
            best = self->returned[i] >> (i + 1);
    if (best > near) {
        uint64_t share = self->share + (best - near) * SHARE_STEP, most = most_share(entries);
        uint64_t welcome = self->welcome + (best - near) * WELCOME_STEP;
        self->share = (uint32_t)(share < most ? share : most);
        self->welcome = welcome < UINT32_MAX ? (uint32_t)welcome : UINT32_MAX;
    }
    self->misses = 0;
    memset(self->returned, 0, sizeof(self->returned));
}

/* Who returns too late is let in only if main's oldest is cold, and then one in DOOR; asking costs that one a hit. */
static int knock(adaptive *self, sv_slab *slab)
{
    if (self->main == 0)
        return 0;
    sv_handle oldest = sv_chain_oldest(slab, MAIN);
    uint8_t *mark = &self->marks.of[oldest];
    if ((*mark & HITS) == 0)
        return ++self->knocks % DOOR == 0;
    --*mark;
    sv_chain_unlink(slab, oldest);
    sv_chain_push(slab, MAIN, oldest);
    return 0;
}

/* A miss: turn the dials by what is remembered of it, and answer whether it goes to main. */
static int receive(adaptive *self, sv_slab *slab, uint64_t hash)
{
    uint32_t entries = entries_when_full(self);
    int to_main = 0;
    self->requests++;
    if (++self->misses >= (entries < LEAST_LOOK ? LEAST_LOOK : entries))
        look_far(self, entries);
    uint64_t age = sv_echo_take(&self->left_small, hash);
    if (age > 0) {
        to_main = age <= (uint64_t)self->welcome + 1;
        self->late = age > latest_without_trial(entries);
        count_return(self, entries, age);
        if (age <= moment(entries))
            turn_to_small(self, entries);
    }
    int turned_away = age > 0 && !to_main;
    age = sv_echo_take(&self->left_main, hash);
    if (age > 0 && age <= moment(entries))
        turn_to_main(self, entries);
    return turned_away ? knock(self, slab) : to_main;
}

static void adaptive_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    adaptive *self = (adaptive *)policy;
    uint64_t hash = slab->boxes[handle].hash;
    int to_main = self->known && self->asked == hash ? self->to_main : receive(self, slab, hash);
    self->known = 0;
    self->weighed |= weight != 1;
    if (to_main || (!self->evicted && self->small >= share_now(self, entries_when_full(self)))) {
        self->marks.of[handle] = to_main && self->late ? IN_MAIN | ON_TRIAL : IN_MAIN;
        sv_chain_push(slab, MAIN, handle);
        self->main++;
    } else {
        self->marks.of[handle] = 0;
        sv_chain_push(slab, SMALL, handle);
        self->small++;
    }
}

static void adaptive_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)slab;
    adaptive *self = (adaptive *)policy;
    uint8_t *mark = &self->marks.of[handle];
    self->requests++;
    if (SV_UNLIKELY(*mark & ON_TRIAL)) {
        *mark &= (uint8_t)~ON_TRIAL;
        judge(self, 1);
    }
    *mark = (uint8_t)(*mark + ((*mark & HITS) < HITS));
}

static void adaptive_reweigh(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)slab;
    (void)handle;
    ((adaptive *)policy)->weighed |= weight != 1;
}

static void adaptive_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    adaptive *self = (adaptive *)policy;
    sv_chain_unlink(slab, handle);
    if (self->marks.of[handle] & IN_MAIN)
        self->main--;
    else
        self->small--;
}

static sv_handle evict_from_main(adaptive *self, sv_slab *slab, sv_handle oldest)
{
    SV_ASSERT(oldest >= SV_SENTINELS);
    sv_chain_unlink(slab, oldest);
    self->main--;
    if (self->marks.of[oldest] & ON_TRIAL)
        judge(self, 0);
    sv_echo_put(&self->left_main, slab->boxes[oldest].hash);
    return oldest;
}

/* Main's oldest without a hit; SV_NONE when the first SCAN are all hot and small has something to offer instead. */
static sv_handle search_main(adaptive *self, sv_slab *slab)
{
    for (uint32_t step = 0;; step++) {
        sv_handle oldest = sv_chain_oldest(slab, MAIN);
        uint8_t *mark = &self->marks.of[oldest];
        if ((*mark & HITS) == 0 || (step == SCAN && self->small == 0))
            return evict_from_main(self, slab, oldest);
        if (step == SCAN)
            return SV_NONE;
        --*mark;
        sv_chain_unlink(slab, oldest);
        sv_chain_push(slab, MAIN, oldest);
    }
}

/* Small's oldest that was hit less than twice; the others move on. SV_NONE when all moved on. */
static sv_handle search_small(adaptive *self, sv_slab *slab)
{
    for (uint32_t step = 0; self->small > 0; step++) {
        sv_handle oldest = sv_chain_oldest(slab, SMALL);
        sv_chain_unlink(slab, oldest);
        self->small--;
        if (self->marks.of[oldest] < PROMOTED || step == SCAN) {
            note_eviction(self, slab->boxes[oldest].hash);
            return oldest;
        }
        self->marks.of[oldest] = IN_MAIN;
        sv_chain_push(slab, MAIN, oldest);
        self->main++;
    }
    return SV_NONE;
}

static sv_handle adaptive_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    adaptive *self = (adaptive *)policy;
    if (!self->known || self->asked != newcomer) {
        self->to_main = receive(self, slab, newcomer);
        self->asked = newcomer;
        self->known = 1;
    }
    uint32_t entries = entries_when_full(self);
    if (!self->evicted)
        self->share = first_share(entries);
    self->evicted = 1;
    sv_handle victim = SV_NONE;
    if (self->small == 0 || (uint64_t)self->main + share_now(self, entries) > entries)
        victim = search_main(self, slab);
    if (victim == SV_NONE)
        victim = search_small(self, slab);
    return victim != SV_NONE ? victim : search_main(self, slab);
}

static int adaptive_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    adaptive *self = (adaptive *)policy;
    uint32_t before = entries_when_full(self);
    if (remember(self, capacity) != SV_OK)
        return SV_NOMEM;
    policy->capacity = capacity;
    uint32_t after = entries_when_full(self);
    self->share = at_least_one((uint64_t)self->share * after / at_least_one(before));
    self->welcome = UINT32_MAX;
    return SV_OK;
}

static void adaptive_clear(sv_policy *policy, sv_slab *slab)
{
    adaptive *self = (adaptive *)policy;
    sv_chain_clear(slab, SMALL);
    sv_chain_clear(slab, MAIN);
    sv_echo_clear(&self->left_small);
    sv_echo_clear(&self->left_main);
    start(self);
}

static sv_handle adaptive_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? MAIN : after].next;
    if (next == MAIN)
        next = slab->boxes[SMALL].next;
    return next == SMALL ? SV_NONE : next;
}

const sv_rule sv_adaptive_rule = {
    .name = "adaptive",
    .state_size = sizeof(adaptive),
    .open = adaptive_open,
    .close = adaptive_close,
    .reserve = adaptive_reserve,
    .enter = adaptive_enter,
    .hit = adaptive_hit,
    .leave = adaptive_leave,
    .reweigh = adaptive_reweigh,
    .victim = adaptive_victim,
    .resize = adaptive_resize,
    .clear = adaptive_clear,
    .walk = adaptive_walk,
};
