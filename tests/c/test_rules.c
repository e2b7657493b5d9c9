/* Every eviction rule keeps the contract of policy.h; those whose order is fixed by a paper follow a brute-force twin
 * that is written from the paper's words; the adaptive one does what it promises. */
#include <stdlib.h>

#include "check.h"
#include "pure/replay.h"
#include "pure/rules.h"

/* ------------------------------------------------------------------ the contract, for all of them */

enum { BOXES = 600 };

struct stage {
    sv_slab slab;
    sv_policy *policy;
    const sv_rule *rule;
    uint8_t in[BOXES];
    uint32_t live;
};

static void stage_open(struct stage *stage, const sv_rule *rule, uint64_t capacity)
{
    memset(stage, 0, sizeof(*stage));
    stage->rule = rule;
    stage->policy = calloc(1, rule->state_size);
    CHECK(stage->policy != NULL && rule->state_size >= sizeof(sv_policy));
    stage->policy->rule = rule;
    CHECK_EQUAL(sv_slab_open(&stage->slab), SV_OK);
    CHECK_EQUAL(rule->open(stage->policy, &stage->slab, capacity, 1), SV_OK);
    CHECK_EQUAL(stage->policy->capacity, capacity);
}

static void stage_close(struct stage *stage)
{
    stage->rule->close(stage->policy);
    free(stage->policy);
    sv_slab_close(&stage->slab);
}

static sv_handle stage_enter(struct stage *stage, uint64_t hash, uint32_t weight)
{
    CHECK_EQUAL(sv_slab_reserve(&stage->slab), SV_OK);
    if (stage->rule->reserve != NULL)
        CHECK_EQUAL(stage->rule->reserve(stage->policy, stage->slab.capacity), SV_OK);
    sv_handle handle = sv_slab_take(&stage->slab);
    CHECK(handle < BOXES && !stage->in[handle]);
    stage->slab.boxes[handle] = (sv_box){.key = &stage->in[handle], .value = stage, .hash = hash};
    stage->rule->enter(stage->policy, &stage->slab, handle, weight);
    stage->in[handle] = 1;
    stage->live++;
    return handle;
}

static void stage_forget(struct stage *stage, sv_handle handle)
{
    CHECK(handle >= SV_SENTINELS && handle < stage->slab.used && stage->in[handle]);
    stage->in[handle] = 0;
    stage->live--;
    sv_slab_give(&stage->slab, handle);
}

static sv_handle stage_any(const struct stage *stage)
{
    sv_handle handle = SV_SENTINELS + chance_below(stage->slab.used - SV_SENTINELS);
    while (!stage->in[handle])
        handle = handle + 1 < stage->slab.used ? handle + 1 : SV_SENTINELS;
    return handle;
}

/* The walk names each entry once; links agree in both directions; keys, values and hashes are as they were. */
static void stage_check(const struct stage *stage)
{
    uint8_t seen[BOXES] = {0};
    uint32_t count = 0;
    for (sv_handle at = SV_NONE; (at = stage->rule->walk(stage->policy, &stage->slab, at)) != SV_NONE; count++) {
        CHECK(at >= SV_SENTINELS && at < stage->slab.used && stage->in[at] && !seen[at]);
        const sv_box *box = &stage->slab.boxes[at];
        CHECK(stage->slab.boxes[box->prev].next == at && stage->slab.boxes[box->next].prev == at);
        CHECK(box->key == &stage->in[at] && box->value == stage && box->hash != SV_HASH_NEVER);
        seen[at] = 1;
    }
    CHECK_EQUAL(count, stage->live);
    CHECK(sv_slab_check(&stage->slab));
}

static void keep_the_contract(const sv_rule *rule, uint64_t capacity, int weighed)
{
    struct stage stage;
    stage_open(&stage, rule, capacity);
    uint32_t bound = weighed ? 100 : (uint32_t)capacity;
    for (int step = 0; step < 4000; step++) {
        uint32_t what = chance_below(100);
        uint64_t hash = chance_below(40) == 0 ? UINT64_MAX - 1 - chance_below(3) : chance_below(bound * 3 + 2);
        if (stage.live == 0 || what < 45) {
            while (stage.live >= bound || (weighed && stage.live > 0 && chance_below(3) == 0))
                stage_forget(&stage, rule->victim(stage.policy, &stage.slab, hash));
            stage_enter(&stage, hash, weighed ? 1 + chance_below(1000) : 1);
        } else if (what < 90) {
            rule->hit(stage.policy, &stage.slab, stage_any(&stage));
        } else if (what < 92 && weighed) {
            if (rule->reweigh != NULL)
                rule->reweigh(stage.policy, &stage.slab, stage_any(&stage), chance_below(1000));
        } else if (what < 97) {
            sv_handle gone = stage_any(&stage);
            rule->leave(stage.policy, &stage.slab, gone);
            stage_forget(&stage, gone);
        } else if (what == 97) { /* a victim without a newcomer: the load failed after all */
            stage_forget(&stage, rule->victim(stage.policy, &stage.slab, hash));
        } else if (what == 98 && !weighed) {
            bound = 1 + chance_below((uint32_t)capacity);
            CHECK_EQUAL(rule->resize(stage.policy, &stage.slab, bound), SV_OK);
            CHECK_EQUAL(stage.policy->capacity, bound);
            while (stage.live > bound)
                stage_forget(&stage, rule->victim(stage.policy, &stage.slab, 0));
        } else if (chance_below(20) == 0) {
            rule->clear(stage.policy, &stage.slab);
            for (sv_handle handle = SV_SENTINELS; handle < stage.slab.used; handle++)
                if (stage.in[handle])
                    stage_forget(&stage, handle);
        }
        if (step % 16 == 0)
            stage_check(&stage);
    }
    while (stage.live > 0)
        stage_forget(&stage, rule->victim(stage.policy, &stage.slab, 7));
    stage_check(&stage);
    stage_close(&stage);
}

static void test_rules_keep_the_contract_at_every_size(void)
{
    static const uint64_t capacities[] = {1, 2, 3, 7, 20, 150, 500};
    for (size_t number = 0; sv_rule_at(number) != NULL; number++)
        for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++)
            keep_the_contract(sv_rule_at(number), capacities[i], 0);
}

static void test_rules_keep_the_contract_when_entries_are_weighed(void)
{
    for (size_t number = 0; sv_rule_at(number) != NULL; number++)
        keep_the_contract(sv_rule_at(number), 1000000000, 1);
}

static void test_rules_are_found_by_name(void)
{
    static const char *const names[] = {"lru", "fifo", "sieve", "s3fifo", "tinylfu", "adaptive", "gdsf"};
    size_t count = 0;
    while (sv_rule_at(count) != NULL)
        count++;
    CHECK_EQUAL(count, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < count; i++) {
        CHECK(sv_rule_named(names[i]) != NULL);
        CHECK(strcmp(sv_rule_named(names[i])->name, names[i]) == 0);
    }
    CHECK(sv_rule_named("LRU") == NULL && sv_rule_named("") == NULL);
}

/* ------------------------------------------------------------------ synthetic traces */

/* Keys of which the k-th is asked for about 1/k as often as the first. */
static uint64_t skewed(uint32_t keys)
{
    uint32_t octave = 0, octaves = 0;
    while (keys >> (octaves + 1) != 0)
        octaves++;
    octave = chance_below(octaves + 1);
    uint32_t key = (1u << octave) + chance_below(1u << octave);
    return key < keys ? key : keys;
}

enum { REQUESTS = 20000 };
static uint64_t trace[REQUESTS];

/* Skewed requests, a scan, a loop, and short-lived keys, in turn. */
static void write_mixed_trace(void)
{
    for (uint32_t i = 0; i < REQUESTS; i++)
        switch (i / 1500 % 4) {
        case 0: trace[i] = skewed(2000); break;
        case 1: trace[i] = chance_below(3) == 0 ? 100000 + i : skewed(500); break;
        case 2: trace[i] = 50000 + i % 130; break;
        default: trace[i] = 1000000 + i / 4 - chance_below(20); break;
        }
}

/* ------------------------------------------------------------------ twins: lists of keys, searched from end to end */

enum { MOST = 512 };

struct list {
    uint64_t key[MOST]; /* oldest first */
    uint32_t mark[MOST];
    uint32_t count;
};

static uint32_t list_find(const struct list *list, uint64_t key)
{
    uint32_t at = 0;
    while (at < list->count && list->key[at] != key)
        at++;
    return at;
}

static void list_remove(struct list *list, uint32_t at)
{
    for (list->count--; at < list->count; at++) {
        list->key[at] = list->key[at + 1];
        list->mark[at] = list->mark[at + 1];
    }
}

static void list_append(struct list *list, uint64_t key, uint32_t mark)
{
    CHECK(list->count < MOST);
    list->key[list->count] = key;
    list->mark[list->count++] = mark;
}

struct twin {
    struct list small, main, ghost; /* only s3fifo has more than main */
    uint32_t capacity, hand;
    int evicted;
};

static int lru_twin(struct twin *twin, uint64_t key)
{
    uint32_t at = list_find(&twin->main, key);
    int hit = at < twin->main.count;
    if (hit)
        list_remove(&twin->main, at);
    else if (twin->main.count == twin->capacity)
        list_remove(&twin->main, 0);
    list_append(&twin->main, key, 0);
    return hit;
}

static int fifo_twin(struct twin *twin, uint64_t key)
{
    if (list_find(&twin->main, key) < twin->main.count)
        return 1;
    if (twin->main.count == twin->capacity)
        list_remove(&twin->main, 0);
    list_append(&twin->main, key, 0);
    return 0;
}

static int sieve_twin(struct twin *twin, uint64_t key)
{
    struct list *queue = &twin->main;
    uint32_t at = list_find(queue, key);
    if (at < queue->count) {
        queue->mark[at] = 1;
        return 1;
    }
    if (queue->count == twin->capacity) {
        while (queue->mark[twin->hand]) {
            queue->mark[twin->hand] = 0;
            twin->hand = (twin->hand + 1) % queue->count;
        }
        list_remove(queue, twin->hand);
        if (twin->hand == queue->count)
            twin->hand = 0;
        /* The hand stands before the newcomer only if it went past the youngest: then it starts at the oldest. */
    }
    list_append(queue, key, 0);
    return 0;
}

static void s3fifo_twin_evict(struct twin *twin, uint32_t share)
{
    twin->evicted = 1;
    if (twin->main.count <= twin->capacity - share)
        while (twin->small.count > 0) {
            uint64_t key = twin->small.key[0];
            uint32_t hits = twin->small.mark[0];
            list_remove(&twin->small, 0);
            if (hits >= 2) {
                list_append(&twin->main, key, 0);
                continue;
            }
            if (twin->capacity * 9 / 10 > 0) {
                if (twin->ghost.count == twin->capacity * 9 / 10)
                    list_remove(&twin->ghost, 0);
                list_append(&twin->ghost, key, 0);
            }
            return;
        }
    for (;;) {
        uint64_t key = twin->main.key[0];
        uint32_t hits = twin->main.mark[0];
        list_remove(&twin->main, 0);
        if (hits == 0)
            return;
        list_append(&twin->main, key, hits - 1);
    }
}

static int s3fifo_twin(struct twin *twin, uint64_t key)
{
    uint32_t share = twin->capacity < 10 ? 1 : twin->capacity / 10;
    struct list *queues[] = {&twin->small, &twin->main};
    for (int i = 0; i < 2; i++) {
        uint32_t at = list_find(queues[i], key);
        if (at == queues[i]->count)
            continue;
        if (queues[i]->mark[at] < 3)
            queues[i]->mark[at]++;
        return 1;
    }
    uint32_t ghost = list_find(&twin->ghost, key);
    int returned = ghost < twin->ghost.count;
    if (returned)
        list_remove(&twin->ghost, ghost);
    if (twin->small.count + twin->main.count == twin->capacity)
        s3fifo_twin_evict(twin, share);
    list_append(returned || (!twin->evicted && twin->small.count >= share) ? &twin->main : &twin->small, key, 0);
    return 0;
}

static void follow_the_twin(const char *name, int (*ask)(struct twin *, uint64_t))
{
    static const uint32_t capacities[] = {1, 2, 3, 9, 10, 37, 120, 400};
    static struct twin twin;
    for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
        sv_replay replay;
        memset(&twin, 0, sizeof(twin));
        twin.capacity = capacities[i];
        CHECK_EQUAL(sv_replay_open(&replay, sv_rule_named(name), capacities[i], 1), SV_OK);
        write_mixed_trace();
        for (uint32_t request = 0; request < REQUESTS; request++) {
            CHECK_EQUAL(sv_replay_ask(&replay, trace[request], 1), ask(&twin, trace[request]));
            if (request % 1000 == 0)
                CHECK(sv_replay_check(&replay));
        }
        sv_replay_close(&replay);
    }
}

static void test_lru_follows_its_twin(void) { follow_the_twin("lru", lru_twin); }
static void test_fifo_follows_its_twin(void) { follow_the_twin("fifo", fifo_twin); }
static void test_sieve_follows_its_twin(void) { follow_the_twin("sieve", sieve_twin); }
static void test_s3fifo_follows_its_twin(void) { follow_the_twin("s3fifo", s3fifo_twin); }

/* ------------------------------------------------------------------ what the adaptive rule promises */

static double ratio_of(const char *name, uint64_t capacity, const uint64_t *keys, size_t count)
{
    sv_replay replay;
    CHECK_EQUAL(sv_replay_open(&replay, sv_rule_named(name), capacity, 1), SV_OK);
    CHECK_EQUAL(sv_replay_run(&replay, keys, NULL, count), SV_OK);
    CHECK(sv_replay_check(&replay));
    CHECK_EQUAL(replay.requests, count);
    double ratio = sv_replay_hit_ratio(&replay);
    sv_replay_close(&replay);
    return ratio;
}

enum { LONG = 120000 };
static uint64_t long_trace[LONG];

static void test_adaptive_serves_a_loop_that_is_longer_than_the_cache(void)
{
    for (uint32_t i = 0; i < LONG; i++)
        long_trace[i] = i % 1000;
    CHECK(ratio_of("lru", 750, long_trace, LONG) < 0.01);
    CHECK(ratio_of("s3fifo", 750, long_trace, LONG) < 0.6);
    CHECK(ratio_of("adaptive", 750, long_trace, LONG) > 0.7); /* Belady: 0.75 */
}

/* Whatever the loop's length: no size at which those who return drive out each other. Belady has about size / loop. */
static void test_adaptive_has_no_blind_spot_for_loops(void)
{
    const uint32_t size = 300;
    for (uint32_t loop = size + 6; loop < size * 3; loop += 17) {
        for (uint32_t i = 0; i < LONG; i++)
            long_trace[i] = i % loop;
        CHECK(ratio_of("adaptive", size, long_trace, LONG) * loop > 0.85 * size);
    }
}

static void test_adaptive_follows_recency_when_nothing_else_pays(void)
{
    for (uint32_t i = 0; i < LONG; i++) /* each key three times, 40 requests apart, and never again */
        long_trace[i] = 1000 + i / 3 - i % 3 * 13;
    double lru = ratio_of("lru", 100, long_trace, LONG), adaptive = ratio_of("adaptive", 100, long_trace, LONG);
    CHECK(lru > 0.5 && adaptive > lru - 0.03);
}

/* A loop longer than the cache closes the door to main; a new working set that returns late must open it again. */
static void test_adaptive_leaves_a_dead_working_set_behind(void)
{
    for (uint32_t i = 0; i < LONG; i++)
        long_trace[i] = i < LONG / 2 ? i % 1300 : 1000000 + i % 800;
    CHECK(ratio_of("adaptive", 1000, long_trace + LONG / 2, LONG / 2) > 0.95);
    double whole = ratio_of("adaptive", 1000, long_trace, LONG);
    CHECK(whole > (0.6 + 0.9) / 2);
}

static void test_adaptive_is_not_flushed_by_a_scan(void)
{
    for (uint32_t i = 0; i < LONG; i++)
        long_trace[i] = i / 3000 % 4 == 3 ? 1000000 + i : skewed(20000);
    CHECK(ratio_of("adaptive", 500, long_trace, LONG) > ratio_of("lru", 500, long_trace, LONG) + 0.03);
}

static void test_adaptive_search_takes_few_steps_when_everything_is_hot(void)
{
    enum { CAPACITY = 5000 };
    sv_replay replay;
    const sv_rule *rule = sv_rule_named("adaptive");
    CHECK_EQUAL(sv_replay_open(&replay, rule, CAPACITY, 1), SV_OK);
    for (uint32_t again = 0; again < 5; again++)
        for (uint64_t key = 0; key < CAPACITY; key++)
            CHECK_EQUAL(sv_replay_ask(&replay, key, 1), again > 0);
    for (uint64_t key = CAPACITY; key < CAPACITY * 2; key++) {
        /* Main comes first in the walk, and each step of a search puts one before it. */
        sv_handle first = rule->walk(replay.policy, &replay.slab, SV_NONE), at = SV_NONE;
        CHECK_EQUAL(sv_replay_ask(&replay, key, 1), 0);
        uint32_t steps = 0;
        while ((at = rule->walk(replay.policy, &replay.slab, at)) != first && at != SV_NONE)
            steps++;
        CHECK(at == first && steps <= 2 * 32 + 1);
        if (key % 500 == 0)
            CHECK(sv_replay_check(&replay));
    }
    sv_replay_close(&replay);
}

static void test_tinylfu_keeps_the_frequent_when_strangers_stream_by(void)
{
    for (uint32_t i = 0; i < LONG; i++)
        long_trace[i] = i % 4 == 0 ? skewed(300) : 1000000 + i;
    CHECK(ratio_of("tinylfu", 200, long_trace, LONG) > 0.2);
    CHECK(ratio_of("lru", 200, long_trace, LONG) < 0.17);
    for (uint32_t i = 0; i < LONG; i++) /* each as frequent as the others: those who are in stay */
        long_trace[i] = i % 1000;
    CHECK(ratio_of("tinylfu", 500, long_trace, LONG) > 0.3);
}

/* The victim's worth, by the formula, is never more than anybody else's. */
static void test_gdsf_evicts_who_is_worth_least(void)
{
    static uint64_t worth[BOXES], weight[BOXES], hits[BOXES];
    struct stage stage;
    uint64_t inflation = 0;
    stage_open(&stage, sv_rule_named("gdsf"), 1000000);
    for (int step = 0; step < 20000; step++) {
        uint32_t what = chance_below(11);
        if (stage.live == 0 || (what < 4 && stage.live < 150)) {
            uint32_t heavy = 1 + chance_below(50);
            sv_handle handle = stage_enter(&stage, (uint64_t)step, heavy);
            weight[handle] = heavy;
            hits[handle] = 1;
            worth[handle] = inflation + (UINT64_C(1) << 32) / heavy;
        } else if (what < 7) {
            sv_handle handle = stage_any(&stage);
            stage.rule->hit(stage.policy, &stage.slab, handle);
            worth[handle] = inflation + (++hits[handle] << 32) / weight[handle];
        } else if (what == 10) { /* heavier or lighter */
            sv_handle handle = stage_any(&stage);
            weight[handle] = 1 + chance_below(50);
            stage.rule->reweigh(stage.policy, &stage.slab, handle, (uint32_t)weight[handle]);
            worth[handle] = inflation + (hits[handle] << 32) / weight[handle];
        } else if (what == 7) {
            sv_handle gone = stage_any(&stage);
            stage.rule->leave(stage.policy, &stage.slab, gone);
            stage_forget(&stage, gone);
        } else {
            uint64_t least = UINT64_MAX;
            for (sv_handle handle = SV_SENTINELS; handle < stage.slab.used; handle++)
                if (stage.in[handle] && worth[handle] < least)
                    least = worth[handle];
            sv_handle victim = stage.rule->victim(stage.policy, &stage.slab, 0);
            CHECK_EQUAL(worth[victim], least);
            inflation = least;
            stage_forget(&stage, victim);
        }
    }
    CHECK(inflation >> 32 > 2); /* the rule's own has gone round */
    stage_close(&stage);
}

/* An entry that was read a lot and then grew loses to one that did not; one that shrank wins. */
static void test_gdsf_looks_at_the_weight_that_an_entry_has_now(void)
{
    struct stage stage;
    stage_open(&stage, sv_rule_named("gdsf"), 1000);
    sv_handle grows = stage_enter(&stage, 1, 1), shrinks = stage_enter(&stage, 2, 100), stays = stage_enter(&stage, 3, 10);
    for (int i = 0; i < 5; i++)
        stage.rule->hit(stage.policy, &stage.slab, grows);
    stage.rule->reweigh(stage.policy, &stage.slab, grows, 500);
    stage.rule->reweigh(stage.policy, &stage.slab, shrinks, 1);
    const sv_handle order[] = {grows, stays, shrinks};
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(stage.rule->victim(stage.policy, &stage.slab, 9), order[i]);
        stage_forget(&stage, order[i]);
    }
    stage_close(&stage);
}

/* What the store does with weights: a newcomer as heavy as half the cache drives out as many as it takes, and whoever
 * grows is paid for the same way, perhaps with itself. */
static void test_rules_make_room_for_the_heavy(void)
{
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        static uint32_t weights[BOXES];
        const uint64_t capacity = 400;
        struct stage stage;
        uint64_t weight = 0;
        stage_open(&stage, sv_rule_at(number), capacity);
        for (uint32_t step = 0; step < 6000; step++) {
            uint64_t hash = chance_below(500);
            uint32_t heavy = chance_below(30) == 0 ? 1 + chance_below((uint32_t)capacity) : 1 + chance_below(3);
            if (stage.live > 0 && chance_below(3) == 0) {
                sv_handle handle = stage_any(&stage);
                if (chance_below(8) == 0) {
                    weight += heavy;
                    weight -= weights[handle];
                    weights[handle] = heavy;
                    if (stage.rule->reweigh != NULL)
                        stage.rule->reweigh(stage.policy, &stage.slab, handle, heavy);
                    heavy = 0;
                } else
                    stage.rule->hit(stage.policy, &stage.slab, handle);
            }
            while (weight + heavy > capacity) {
                CHECK(stage.live > 0);
                sv_handle victim = stage.rule->victim(stage.policy, &stage.slab, hash);
                stage_forget(&stage, victim);
                weight -= weights[victim];
            }
            if (heavy > 0 && chance_below(20) > 0) { /* or it does not come after all */
                weights[stage_enter(&stage, hash, heavy)] = heavy;
                weight += heavy;
            }
            if (step % 64 == 0)
                stage_check(&stage);
        }
        stage_check(&stage);
        stage_close(&stage);
    }
}

static void test_gdsf_serves_more_requests_than_lru_when_few_entries_are_huge(void)
{
    static uint32_t weights[REQUESTS];
    double ratio[2];
    for (uint32_t i = 0; i < REQUESTS; i++) {
        trace[i] = skewed(3000);
        weights[i] = trace[i] % 10 == 0 ? 5000 : 50; /* every tenth key */
    }
    for (int i = 0; i < 2; i++) {
        sv_replay replay;
        CHECK_EQUAL(sv_replay_open(&replay, sv_rule_named(i == 0 ? "lru" : "gdsf"), 60000, 1), SV_OK);
        CHECK_EQUAL(sv_replay_run(&replay, trace, weights, REQUESTS), SV_OK);
        CHECK(sv_replay_check(&replay) && replay.weight <= 60000);
        ratio[i] = sv_replay_hit_ratio(&replay);
        sv_replay_close(&replay);
    }
    CHECK(ratio[1] > ratio[0] + 0.1);
}

static void test_rules_repeat_themselves_when_the_seed_is_the_same(void)
{
    write_mixed_trace();
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        const char *name = sv_rule_at(number)->name;
        double first = ratio_of(name, 77, trace, REQUESTS), again = ratio_of(name, 77, trace, REQUESTS);
        CHECK(memcmp(&first, &again, sizeof(first)) == 0);
    }
}

/* ------------------------------------------------------------------ real traces, where there are some */

/* SV_TRACES names a folder with anchors.csv (trace,size,policy,hit_ratio) and raw traces TRACE.u64: one 64-bit key per
 * request. Without it there is nothing to compare with. */
static void check_anchor(const char *folder, const char *name, uint64_t size, const char *rule, double anchor)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s.u64", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return;
    CHECK(fseek(file, 0, SEEK_END) == 0);
    size_t count = (size_t)ftell(file) / sizeof(uint64_t);
    rewind(file);
    uint64_t *keys = malloc(count * sizeof(uint64_t) + 1);
    CHECK(keys != NULL && fread(keys, sizeof(uint64_t), count, file) == count);
    fclose(file);
    double distance = ratio_of(rule, size, keys, count) - anchor;
    CHECK(distance < 1e-6 && distance > -1e-6);
    free(keys);
}

static void test_rules_meet_the_anchors_of_real_traces(void)
{
    static const char *const names[][2] = {
        {"LRU", "lru"}, {"FIFO", "fifo"}, {"SIEVE", "sieve"}, {"S3FIFO", "s3fifo"}};
    const char *folder = getenv("SV_TRACES");
    char line[512], name[128], policy[64];
    if (folder == NULL)
        return;
    snprintf(line, sizeof(line), "%s/anchors.csv", folder);
    FILE *file = fopen(line, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long size;
        double anchor;
        if (sscanf(line, "%127[^,],%llu,%63[^,],%lf", name, &size, policy, &anchor) != 4)
            continue;
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strcmp(policy, names[i][0]) == 0)
                check_anchor(folder, name, size, names[i][1], anchor);
    }
    fclose(file);
}

const check_test rules_suite[] = {
    TEST(test_rules_keep_the_contract_at_every_size),
    TEST(test_rules_keep_the_contract_when_entries_are_weighed),
    TEST(test_rules_are_found_by_name),
    TEST(test_lru_follows_its_twin),
    TEST(test_fifo_follows_its_twin),
    TEST(test_sieve_follows_its_twin),
    TEST(test_s3fifo_follows_its_twin),
    TEST(test_adaptive_serves_a_loop_that_is_longer_than_the_cache),
    TEST(test_adaptive_has_no_blind_spot_for_loops),
    TEST(test_adaptive_follows_recency_when_nothing_else_pays),
    TEST(test_adaptive_leaves_a_dead_working_set_behind),
    TEST(test_adaptive_is_not_flushed_by_a_scan),
    TEST(test_adaptive_search_takes_few_steps_when_everything_is_hot),
    TEST(test_tinylfu_keeps_the_frequent_when_strangers_stream_by),
    TEST(test_gdsf_evicts_who_is_worth_least),
    TEST(test_gdsf_looks_at_the_weight_that_an_entry_has_now),
    TEST(test_rules_make_room_for_the_heavy),
    TEST(test_gdsf_serves_more_requests_than_lru_when_few_entries_are_huge),
    TEST(test_rules_repeat_themselves_when_the_seed_is_the_same),
    TEST(test_rules_meet_the_anchors_of_real_traces),
    SUITE_END,
};
