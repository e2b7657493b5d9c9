/* GreedyDual-Size-Frequency (Cherkasova, HP Labs 1998; Arlitt et al. 2000): for entries of different weights.
 *
 * An entry is worth H = L + hits / weight, where L is the cache's inflation: the worth of the last victim. The entry
 * of the least worth leaves, L rises to its worth, and so what is not asked for any more is overtaken with time. Many
 * small entries are kept for one large one: the hit ratio is high, the ratio of bytes served somewhat lower.
 *
 * The entries stand in a heap by worth. A hit raises an entry's worth but moves nothing; who is on top of the heap has
 * its standing renewed before it may leave, and since worth only rises, the top that is up to date is the true least:
 * O(log n) per such step, and at most SCAN steps in one search. (Worth falls only where an entry becomes heavier: then
 * it is moved at once.)
 *
 * Worth goes round, as the numbers of a clock do: nobody is worth less than L, nor L + MOST_HITS or more, and two that
 * lie so near each other are told apart on either side of the wrap. L begins a little before it, so that going round is
 * no event of far-off years.
 */
#include "block.h"
#include "rules.h"

#define RECENT 0u /* chain of all entries in order of entry, for the walk */
#define SCAN 64u
#define ONE (UINT64_C(1) << 32) /* worth has 32 binary places */
#define MOST_HITS (UINT32_C(1) << 24)
#define FIRST_INFLATION (UINT64_MAX - ONE)

typedef struct standing {
    uint64_t worth; /* now */
    uint64_t rank;  /* when the heap was told last; not above worth */
    uint32_t weight;
    uint32_t hits;
    uint32_t place; /* in the heap */
} standing;

typedef struct gdsf {
    sv_policy policy;
    standing *of; /* by handle */
    sv_handle *heap;
    uint32_t room;
    uint32_t count;
    uint64_t inflation;
} gdsf;

static int gdsf_open(sv_policy *policy, sv_slab *slab, uint64_t capacity, uint64_t seed)
{
    (void)seed;
    const sv_rule *rule = policy->rule;
    *(gdsf *)policy = (gdsf){.policy = {.rule = rule, .capacity = capacity}, .inflation = FIRST_INFLATION};
    sv_chain_clear(slab, RECENT);
    return SV_OK;
}

static void gdsf_close(sv_policy *policy)
{
    gdsf *self = (gdsf *)policy;
    sv_block_free(self->of);
    sv_block_free(self->heap);
    self->of = NULL;
    self->heap = NULL;
}

static int gdsf_reserve(sv_policy *policy, uint32_t boxes)
{
    gdsf *self = (gdsf *)policy;
    if (boxes <= self->room)
        return SV_OK;
    standing *of = sv_block_resize(self->of, boxes * sizeof(standing));
    if (of == NULL)
        return SV_NOMEM;
    self->of = of;
    sv_handle *heap = sv_block_resize(self->heap, boxes * sizeof(sv_handle));
    if (heap == NULL)
        return SV_NOMEM;
    self->heap = heap;
    self->room = boxes;
    return SV_OK;
}

/* a < b, on the clock face. */
static int is_below(uint64_t a, uint64_t b) { return (a - b) >> 63 != 0; }

static int ranks_below(const gdsf *self, sv_handle a, sv_handle b)
{
    return is_below(self->of[a].rank, self->of[b].rank);
}

static void place(gdsf *self, uint32_t at, sv_handle handle)
{
    self->heap[at] = handle;
    self->of[handle].place = at;
}

static void rise(gdsf *self, uint32_t at)
{
    sv_handle handle = self->heap[at];
    for (; at > 0; at = (at - 1) / 2) {
        sv_handle above = self->heap[(at - 1) / 2];
        if (!ranks_below(self, handle, above))
            break;
        place(self, at, above);
    }
    place(self, at, handle);
}

static void sink(gdsf *self, uint32_t at)
{
    sv_handle handle = self->heap[at];
    for (;;) {
        uint64_t below = (uint64_t)at * 2 + 1;
        if (below >= self->count)
            break;
        if (below + 1 < self->count && ranks_below(self, self->heap[below + 1], self->heap[below]))
            below++;
        if (!ranks_below(self, self->heap[below], handle))
            break;
        place(self, at, self->heap[below]);
        at = (uint32_t)below;
    }
    place(self, at, handle);
}

static void take_out(gdsf *self, sv_handle handle)
{
    uint32_t at = self->of[handle].place;
    sv_handle last = self->heap[--self->count];
    if (last == handle)
        return;
    place(self, at, last);
    rise(self, at);
    sink(self, self->of[last].place);
}

static uint64_t worth_of(const gdsf *self, const standing *entry)
{
    return self->inflation + (uint64_t)entry->hits * ONE / entry->weight;
}

static void gdsf_enter(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    gdsf *self = (gdsf *)policy;
    standing *entry = &self->of[handle];
    *entry = (standing){.weight = weight + (weight == 0), .hits = 1};
    entry->worth = entry->rank = worth_of(self, entry);
    place(self, self->count++, handle);
    rise(self, self->count - 1);
    sv_chain_push(slab, RECENT, handle);
}

static void gdsf_hit(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    (void)slab;
    gdsf *self = (gdsf *)policy;
    standing *entry = &self->of[handle];
    entry->hits += entry->hits < MOST_HITS;
    entry->worth = worth_of(self, entry);
}

static void gdsf_reweigh(sv_policy *policy, sv_slab *slab, sv_handle handle, uint32_t weight)
{
    (void)slab;
    gdsf *self = (gdsf *)policy;
    standing *entry = &self->of[handle];
    entry->weight = weight + (weight == 0);
    entry->worth = worth_of(self, entry);
    if (is_below(entry->worth, entry->rank)) {
        entry->rank = entry->worth;
        rise(self, entry->place);
    }
}

static void gdsf_leave(sv_policy *policy, sv_slab *slab, sv_handle handle)
{
    take_out((gdsf *)policy, handle);
    sv_chain_unlink(slab, handle);
}

static sv_handle gdsf_victim(sv_policy *policy, sv_slab *slab, uint64_t newcomer)
{
    (void)newcomer;
    gdsf *self = (gdsf *)policy;
    for (uint32_t step = 0; step < SCAN; step++) {
        standing *top = &self->of[self->heap[0]];
        if (top->rank == top->worth)
            break;
        top->rank = top->worth;
        sink(self, 0);
    }
    sv_handle victim = self->heap[0];
    if (is_below(self->inflation, self->of[victim].rank))
        self->inflation = self->of[victim].rank;
    gdsf_leave(policy, slab, victim);
    return victim;
}

static int gdsf_resize(sv_policy *policy, sv_slab *slab, uint64_t capacity)
{
    (void)slab;
    policy->capacity = capacity;
    return SV_OK;
}

static void gdsf_clear(sv_policy *policy, sv_slab *slab)
{
    gdsf *self = (gdsf *)policy;
    self->count = 0;
    self->inflation = FIRST_INFLATION;
    sv_chain_clear(slab, RECENT);
}

/* The youngest first: the heap knows who is worth least, not who is worth most. */
static sv_handle gdsf_walk(const sv_policy *policy, const sv_slab *slab, sv_handle after)
{
    (void)policy;
    sv_handle next = slab->boxes[after == SV_NONE ? RECENT : after].next;
    return next == RECENT ? SV_NONE : next;
}

const sv_rule sv_gdsf_rule = {
    .name = "gdsf",
    .state_size = sizeof(gdsf),
    .open = gdsf_open,
    .close = gdsf_close,
    .reserve = gdsf_reserve,
    .enter = gdsf_enter,
    .hit = gdsf_hit,
    .leave = gdsf_leave,
    .reweigh = gdsf_reweigh,
    .victim = gdsf_victim,
    .resize = gdsf_resize,
    .clear = gdsf_clear,
    .walk = gdsf_walk,
};
