/* The replay counts what a cache would have served; the sampled curve says what it would have served at another
 * size. */
#include "check.h"
#include "pure/mrc.h"
#include "pure/rules.h"

enum { REQUESTS = 60000 };
static uint64_t keys[REQUESTS];

/* Skewed over 2^13 keys, drifting. */
static void write_keys(void)
{
    for (uint64_t i = 0; i < REQUESTS; i++) {
        uint32_t octave = chance_below(14);
        keys[i] = (1u << octave) + chance_below(1u << octave) + i / 40;
    }
}

static void test_replay_tells_all_keys_apart(void)
{
    static const uint64_t edge[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2, INT64_MAX, UINT64_C(1) << 63};
    enum { COUNT = sizeof(edge) / sizeof(edge[0]) };
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        sv_replay replay;
        CHECK_EQUAL(sv_replay_open(&replay, sv_rule_at(number), 100, 1), SV_OK);
        for (int again = 0; again < 3; again++)
            for (size_t i = 0; i < COUNT; i++)
                CHECK_EQUAL(sv_replay_ask(&replay, edge[i], 1), again > 0);
        CHECK_EQUAL(replay.slab.live, COUNT);
        CHECK(sv_replay_check(&replay));
        sv_replay_close(&replay);
    }
}

static void test_replay_may_be_fed_in_pieces(void)
{
    write_keys();
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        sv_replay whole, pieces;
        CHECK_EQUAL(sv_replay_open(&whole, sv_rule_at(number), 500, 1), SV_OK);
        CHECK_EQUAL(sv_replay_open(&pieces, sv_rule_at(number), 500, 1), SV_OK);
        CHECK_EQUAL(sv_replay_run(&whole, keys, NULL, REQUESTS), SV_OK);
        for (size_t at = 0; at < REQUESTS; at += 7500)
            CHECK_EQUAL(sv_replay_run(&pieces, keys + at, NULL, 7500), SV_OK);
        CHECK_EQUAL(pieces.hits, whole.hits);
        CHECK_EQUAL(pieces.evictions, whole.evictions);
        CHECK(sv_replay_check(&whole) && sv_replay_check(&pieces));
        sv_replay_close(&whole);
        sv_replay_close(&pieces);
    }
}

static void test_replay_keeps_the_weight_within_the_bound(void)
{
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        sv_replay replay;
        CHECK_EQUAL(sv_replay_open(&replay, sv_rule_at(number), 1000, 1), SV_OK);
        for (int step = 0; step < 8000; step++) {
            uint64_t key = chance_below(200);
            uint32_t weight = step < 50 ? 1 : key % 17 == 0 ? 1500 : (uint32_t)key % 60; /* some too heavy, some 0 */
            uint32_t before = replay.slab.live;
            int answer = sv_replay_ask(&replay, key, weight);
            CHECK(answer == 0 || answer == 1);
            CHECK(replay.weight <= 1000);
            CHECK(weight <= 1000 || answer == 1 || replay.slab.live == before);
            if (step % 200 == 0)
                CHECK(sv_replay_check(&replay));
        }
        sv_replay_close(&replay);
    }
}

/* The n-th request for memory fails while a rule opens, fills, evicts and weighs. Answers whether one did. */
static int replay_meets_failure(const sv_rule *rule, uint64_t n)
{
    sv_replay replay;
    memory_fail_nth(n);
    uint64_t fails = memory_fail_at;
    if (sv_replay_open(&replay, rule, 300, 1) != SV_OK) {
        memory_fail_nth(0);
        return 1;
    }
    for (uint32_t step = 0; step < 2000; step++) {
        uint64_t key = chance_below(900);
        int answer = sv_replay_ask(&replay, key, step > 1500 ? 1 + step % 3 : 1);
        if (answer < 0) {
            CHECK_EQUAL(answer, SV_NOMEM);
            CHECK(sv_replay_check(&replay));
            CHECK_EQUAL(sv_replay_ask(&replay, key, 1), 0);
            CHECK(sv_replay_check(&replay));
        }
    }
    CHECK(sv_replay_check(&replay));
    sv_replay_close(&replay);
    int met = memory_requests >= fails;
    memory_fail_nth(0);
    return met;
}

static void test_replay_stays_sound_whichever_request_for_memory_fails(void)
{
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        uint64_t n = 1;
        while (replay_meets_failure(sv_rule_at(number), n))
            n++;
        CHECK(n > 10);
    }
}

static void test_rules_resize_says_nomem_and_keeps_the_bound(void)
{
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        const sv_rule *rule = sv_rule_at(number);
        sv_replay replay;
        CHECK_EQUAL(sv_replay_open(&replay, rule, 10, 1), SV_OK);
        for (uint64_t key = 0; key < 500; key++)
            CHECK_EQUAL(sv_replay_ask(&replay, key, 1), 0);
        for (uint64_t n = 1; n < 5; n++) {
            memory_fail_nth(n);
            int status = rule->resize(replay.policy, &replay.slab, 10000);
            memory_fail_nth(0);
            if (status == SV_OK)
                break;
            CHECK_EQUAL(status, SV_NOMEM);
            CHECK_EQUAL(replay.policy->capacity, 10);
            CHECK(sv_replay_check(&replay));
        }
        CHECK_EQUAL(rule->resize(replay.policy, &replay.slab, 10000), SV_OK);
        replay.capacity = 10000;
        for (uint64_t key = 1000; key < 9000; key++)
            CHECK_EQUAL(sv_replay_ask(&replay, key, 1), 0);
        CHECK_EQUAL(replay.slab.live, 8010);
        CHECK(sv_replay_check(&replay));
        sv_replay_close(&replay);
    }
}

static double ratio_at(const sv_rule *rule, uint64_t size)
{
    sv_replay replay;
    CHECK_EQUAL(sv_replay_open(&replay, rule, size, 1), SV_OK);
    CHECK_EQUAL(sv_replay_run(&replay, keys, NULL, REQUESTS), SV_OK);
    double ratio = sv_replay_hit_ratio(&replay);
    sv_replay_close(&replay);
    return ratio;
}

static double distance(double a, double b) { return a < b ? b - a : a - b; }

static void test_mrc_is_exact_when_every_key_is_sampled(void)
{
    static const uint64_t sizes[] = {50, 200, 400};
    write_keys();
    for (size_t number = 0; sv_rule_at(number) != NULL; number++) {
        const sv_rule *rule = sv_rule_at(number);
        sv_mrc mrc;
        CHECK_EQUAL(sv_mrc_open(&mrc, rule, 100, sizes, 3, 1, 1), SV_OK);
        for (size_t i = 0; i < REQUESTS; i++)
            CHECK_EQUAL(sv_mrc_ask(&mrc, keys[i], 1), SV_OK);
        double living = ratio_at(rule, 100);
        for (uint32_t i = 0; i < 3; i++)
            CHECK(distance(sv_mrc_expected(&mrc, i, living), ratio_at(rule, sizes[i])) < 0.002);
        sv_mrc_close(&mrc);
    }
}

static void test_mrc_is_within_two_points_when_one_key_in_eight_is_sampled(void)
{
    static const uint64_t sizes[] = {1024, 4096};
    static const char *const names[] = {"lru", "s3fifo", "adaptive"};
    write_keys();
    for (size_t name = 0; name < sizeof(names) / sizeof(names[0]); name++) {
        const sv_rule *rule = sv_rule_named(names[name]);
        sv_mrc mrc;
        uint32_t sampled = 0;
        CHECK_EQUAL(sv_mrc_open(&mrc, rule, 2048, sizes, 2, 0, 1), SV_OK);
        CHECK_EQUAL(mrc.rate, 8);
        for (size_t i = 0; i < REQUESTS; i++) {
            sampled += (uint32_t)sv_mrc_samples(&mrc, keys[i]);
            CHECK_EQUAL(sv_mrc_ask(&mrc, keys[i], 1), SV_OK);
        }
        CHECK(sampled > REQUESTS / 12 && sampled < REQUESTS / 5);
        double living = ratio_at(rule, 2048);
        for (uint32_t i = 0; i < 2; i++)
            CHECK(distance(sv_mrc_expected(&mrc, i, living), ratio_at(rule, sizes[i])) < 0.02);
        sv_mrc_forget(&mrc);
        CHECK(sv_mrc_expected(&mrc, 0, 0.5) >= 0.0 && sv_mrc_expected(&mrc, 0, 0.5) <= 1.0);
        sv_mrc_close(&mrc);
    }
}

static void test_mrc_open_leaves_nothing_behind_when_memory_fails(void)
{
    static const uint64_t sizes[] = {50, 200};
    for (uint64_t n = 1; n <= 6; n++) {
        sv_mrc mrc;
        memory_fail_nth(n);
        CHECK_EQUAL(sv_mrc_open(&mrc, sv_rule_named("adaptive"), 100, sizes, 2, 0, 1), SV_NOMEM);
        memory_fail_nth(0);
    }
}

const check_test replay_suite[] = {
    TEST(test_replay_tells_all_keys_apart),
    TEST(test_replay_may_be_fed_in_pieces),
    TEST(test_replay_keeps_the_weight_within_the_bound),
    TEST(test_replay_stays_sound_whichever_request_for_memory_fails),
    TEST(test_rules_resize_says_nomem_and_keeps_the_bound),
    TEST(test_mrc_is_exact_when_every_key_is_sampled),
    TEST(test_mrc_is_within_two_points_when_one_key_in_eight_is_sampled),
    TEST(test_mrc_open_leaves_nothing_behind_when_memory_fails),
    SUITE_END,
};
