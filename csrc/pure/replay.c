#include "replay.h"

#include "lru.h"

#define AHEAD 8u /* requests between asking for a chunk of the index and reading it */

int sv_replay_open(sv_replay *replay, const sv_rule *rule, uint64_t capacity, uint64_t seed)
{
    *replay = (sv_replay){.capacity = capacity};
    replay->policy = sv_calloc(1, rule->state_size);
    if (replay->policy == NULL)
        return SV_NOMEM;
    if (sv_slab_open(&replay->slab) != SV_OK) {
        sv_free(replay->policy);
        return SV_NOMEM;
    }
    sv_index_open(&replay->index, seed);
    replay->policy->rule = rule;
    if (rule->open(replay->policy, &replay->slab, capacity, seed) == SV_OK)
        return SV_OK;
    sv_replay_close(replay);
    return SV_NOMEM;
}

void sv_replay_close(sv_replay *replay)
{
    replay->policy->rule->close(replay->policy);
    sv_index_close(&replay->index);
    sv_slab_close(&replay->slab);
    sv_free(replay->policy);
    sv_free(replay->weights);
    *replay = (sv_replay){0};
}

/* No key hashes to SV_HASH_NEVER: the last key shares the hash of the one before, and the box tells them apart. */
static uint64_t hash_of(uint64_t key) { return key - (key == SV_HASH_NEVER); }
static void *mark_of(uint64_t key) { return (void *)(uintptr_t)(key == SV_HASH_NEVER); }

static int reserve(sv_replay *replay)
{
    const sv_rule *rule = replay->policy->rule;
    int status = sv_slab_reserve(&replay->slab);
    uint32_t boxes = replay->slab.capacity;
    if (status == SV_OK && SV_UNLIKELY(replay->reserved < boxes)) {
        status = rule->reserve == NULL ? SV_OK : rule->reserve(replay->policy, boxes);
        if (status == SV_OK)
            replay->reserved = boxes;
    }
    if (status == SV_OK && replay->weights != NULL && SV_UNLIKELY(replay->weighed < boxes)) {
        uint32_t *weights = sv_realloc(replay->weights, boxes * sizeof(uint32_t));
        if (weights == NULL)
            return SV_NOMEM;
        replay->weights = weights;
        replay->weighed = boxes;
    }
    return status == SV_OK ? sv_index_reserve(&replay->index) : status;
}

static void evict(sv_replay *replay, uint64_t newcomer)
{
    sv_handle victim = replay->policy->rule->victim(replay->policy, &replay->slab, newcomer);
    replay->weight -= replay->weights == NULL ? 1 : replay->weights[victim];
    replay->evictions++;
    sv_index_erase(&replay->index, replay->slab.boxes[victim].hash, victim);
    sv_slab_give(&replay->slab, victim);
}

/* The first entry that does not weigh 1: from now on weights are kept. */
static SV_NOINLINE int begin_to_weigh(sv_replay *replay)
{
    uint32_t boxes = replay->slab.capacity, *weights = sv_malloc(boxes * sizeof(uint32_t));
    if (weights == NULL)
        return SV_NOMEM;
    for (uint32_t handle = 0; handle < boxes; handle++)
        weights[handle] = 1;
    replay->weights = weights;
    replay->weighed = boxes;
    return SV_OK;
}

static int store(sv_replay *replay, uint64_t key, uint32_t weight)
{
    if (weight > replay->capacity)
        return SV_OK;
    if (SV_UNLIKELY(weight != 1 && replay->weights == NULL) && begin_to_weigh(replay) != SV_OK)
        return SV_NOMEM;
    uint64_t hash = hash_of(key);
    while (replay->weight + weight > replay->capacity)
        evict(replay, hash);
    int status = reserve(replay);
    if (SV_UNLIKELY(status != SV_OK))
        return status;
    sv_handle handle = sv_slab_take(&replay->slab);
    replay->slab.boxes[handle] = (sv_box){.key = mark_of(key), .hash = hash};
    sv_index_insert(&replay->index, replay->slab.boxes, hash, handle);
    if (replay->weights != NULL)
        replay->weights[handle] = weight;
    replay->weight += weight;
    replay->policy->rule->enter(replay->policy, &replay->slab, handle, weight);
    return SV_OK;
}

SV_INLINE int ask(sv_replay *replay, uint64_t key, uint32_t weight, int is_lru)
{
    uint64_t hash = hash_of(key);
    const sv_box *boxes = replay->slab.boxes;
    void *mark = mark_of(key);
    sv_cursor cursor;
    sv_handle handle = sv_index_guess(&replay->index, boxes, hash);
    if (handle == SV_NONE || SV_UNLIKELY(boxes[handle].key != mark))
        for (handle = sv_index_first(&replay->index, boxes, hash, &cursor);
             handle != SV_NONE && SV_UNLIKELY(boxes[handle].key != mark);)
            handle = sv_index_next(&replay->index, boxes, hash, &cursor);
    if (handle != SV_NONE) {
        if (is_lru)
            sv_lru_hit(&replay->slab, handle);
        else
            replay->policy->rule->hit(replay->policy, &replay->slab, handle);
        replay->hits++;
        replay->hit_weight += weight;
    } else {
        int status = store(replay, key, weight);
        if (SV_UNLIKELY(status != SV_OK))
            return status;
    }
    replay->requests++;
    replay->requested_weight += weight;
    return handle != SV_NONE;
}

int sv_replay_ask(sv_replay *replay, uint64_t key, uint32_t weight)
{
    return ask(replay, key, weight + (weight == 0), 0);
}

SV_INLINE int run(sv_replay *replay, const uint64_t *keys, const uint32_t *weights, size_t count, int is_lru)
{
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            sv_index_prefetch(&replay->index, keys[i + AHEAD]);
        uint32_t weight = weights == NULL ? 1 : weights[i] + (weights[i] == 0);
        int status = ask(replay, keys[i], weight, is_lru);
        if (SV_UNLIKELY(status < 0))
            return status;
    }
    return SV_OK;
}

int sv_replay_run(sv_replay *replay, const uint64_t *keys, const uint32_t *weights, size_t count)
{
    if (replay->policy->rule == &sv_lru_rule)
        return run(replay, keys, weights, count, 1);
    return run(replay, keys, weights, count, 0);
}

int sv_replay_once(const sv_rule *rule, uint64_t capacity, uint64_t seed, const uint64_t *keys,
                   const uint32_t *weights, size_t count, sv_replay_counts *counts)
{
    sv_replay replay;
    int status = sv_replay_open(&replay, rule, capacity, seed);
    if (status != SV_OK)
        return status;
    status = sv_replay_run(&replay, keys, weights, count);
    if (status == SV_OK)
        *counts = (sv_replay_counts){replay.requests, replay.hits, replay.evictions, replay.requested_weight,
                                     replay.hit_weight};
    sv_replay_close(&replay);
    return status;
}

int sv_replay_check(const sv_replay *replay)
{
    const sv_rule *rule = replay->policy->rule;
    uint32_t seen = 0;
    uint64_t weight = 0;
    if (!sv_slab_check(&replay->slab) || !sv_index_check(&replay->index, &replay->slab))
        return 0;
    for (sv_handle handle = SV_NONE;
         (handle = rule->walk(replay->policy, &replay->slab, handle)) != SV_NONE && seen <= replay->slab.live; seen++)
        weight += replay->weights == NULL ? 1 : replay->weights[handle];
    return seen == replay->slab.live && weight == replay->weight && weight <= replay->capacity;
}
