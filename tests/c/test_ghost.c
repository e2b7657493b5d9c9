/* What is remembered of those who left: the exact list, the faint echo and the sketch, each against plain arrays. */
#include "check.h"
#include "pure/echo.h"
#include "pure/ghost.h"
#include "pure/sketch.h"

enum { MOST = 300 };

/* Oldest first; searched from end to end. */
struct twin {
    uint64_t hash[MOST + 1];
    uint32_t count;
};

static int twin_take(struct twin *twin, uint64_t hash)
{
    for (uint32_t at = 0; at < twin->count; at++)
        if (twin->hash[at] == hash) {
            memmove(&twin->hash[at], &twin->hash[at + 1], (twin->count - at - 1) * sizeof(uint64_t));
            twin->count--;
            return 1;
        }
    return 0;
}

static void test_ghost_remembers_exactly_the_last_that_were_put(void)
{
    static const uint32_t limits[] = {1, 2, 3, 10, 50, MOST};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct twin twin = {.count = 0};
        sv_ghost ghost = {0};
        uint32_t limit = limits[i];
        CHECK(sv_ghost_check(&ghost));
        CHECK_EQUAL(sv_ghost_take(&ghost, 5), 0);
        sv_ghost_put(&ghost, 5); /* no room: nothing happens */
        CHECK_EQUAL(sv_ghost_reserve(&ghost, limit), SV_OK);
        for (int step = 0; step < 6000; step++) {
            uint64_t hash = chance_below(limit * 2 + 1) * UINT64_C(0x100000001);
            CHECK_EQUAL(sv_ghost_take(&ghost, hash), twin_take(&twin, hash));
            if (chance_below(3) > 0) {
                sv_ghost_put(&ghost, hash);
                if (twin.count == limit)
                    memmove(&twin.hash[0], &twin.hash[1], --twin.count * sizeof(uint64_t));
                twin.hash[twin.count++] = hash;
            }
            if (chance_below(500) == 0) {
                limit = 1 + chance_below(limits[i]);
                CHECK_EQUAL(sv_ghost_reserve(&ghost, limit), SV_OK);
                while (twin.count > limit)
                    memmove(&twin.hash[0], &twin.hash[1], --twin.count * sizeof(uint64_t));
            }
            CHECK_EQUAL(ghost.live, twin.count);
            if (step % 50 == 0)
                CHECK(sv_ghost_check(&ghost));
        }
        sv_ghost_clear(&ghost);
        CHECK(sv_ghost_check(&ghost) && ghost.live == 0);
        sv_ghost_close(&ghost);
    }
}

static void test_ghost_is_unchanged_when_growing_fails(void)
{
    for (uint64_t n = 1; n <= 2; n++) {
        sv_ghost ghost = {0};
        CHECK_EQUAL(sv_ghost_reserve(&ghost, 10), SV_OK);
        sv_ghost_put(&ghost, 1);
        memory_fail_nth(n);
        CHECK_EQUAL(sv_ghost_reserve(&ghost, 100), SV_NOMEM);
        memory_fail_nth(0);
        CHECK(sv_ghost_check(&ghost) && ghost.limit == 10);
        CHECK_EQUAL(sv_ghost_take(&ghost, 1), 1);
        sv_ghost_close(&ghost);
    }
}

static void test_echo_tells_exact_ages_when_it_is_small(void)
{
    sv_echo echo = {0};
    CHECK_EQUAL(sv_echo_take(&echo, 1), 0);
    CHECK_EQUAL(sv_echo_reserve(&echo, 10), SV_OK);
    for (uint64_t hash = 0; hash < 10; hash++)
        sv_echo_put(&echo, hash);
    for (uint64_t hash = 0; hash < 10; hash++) {
        CHECK_EQUAL(sv_echo_take(&echo, hash), 10 - hash);
        CHECK_EQUAL(sv_echo_take(&echo, hash), 0);
    }
    sv_echo_put(&echo, 77);
    for (uint64_t hash = 100; hash < 110; hash++)
        sv_echo_put(&echo, hash);
    CHECK_EQUAL(sv_echo_take(&echo, 77), 0); /* eleven ago */
    CHECK_EQUAL(sv_echo_take(&echo, 109), 1);
    sv_echo_clear(&echo);
    CHECK_EQUAL(sv_echo_take(&echo, 105), 0);
    sv_echo_close(&echo);
}

/* Nine in ten of those it should know, their ages within a unit, and hardly a stranger. */
static void test_echo_is_nearly_right_at_every_size(void)
{
    static const uint32_t limits[] = {1, 5, 100, 3000, 60000};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        sv_echo echo = {0};
        uint32_t limit = limits[i], known = 0, asked = 0, strangers = 0;
        CHECK_EQUAL(sv_echo_reserve(&echo, limit), SV_OK);
        uint64_t put = 0, unit = UINT64_C(1) << echo.unit;
        for (; put < limit * UINT64_C(5); put++)
            sv_echo_put(&echo, put);
        for (uint64_t back = 1; back <= limit + unit; back += 1 + limit / 997) {
            uint64_t age = sv_echo_take(&echo, put - back);
            CHECK(age == 0 || (age + unit > back && age < back + unit));
            known += age != 0;
            asked += back <= limit;
        }
        CHECK(known * 10 >= asked * 9);
        for (uint64_t stranger = 1; stranger <= 2000; stranger++)
            strangers += sv_echo_take(&echo, put + stranger) != 0;
        CHECK(strangers < 8);
        sv_echo_close(&echo);
    }
}

static void test_echo_is_unchanged_when_growing_fails(void)
{
    sv_echo echo = {0};
    CHECK_EQUAL(sv_echo_reserve(&echo, 10), SV_OK);
    sv_echo_put(&echo, 1);
    memory_fail_nth(1);
    CHECK_EQUAL(sv_echo_reserve(&echo, 100), SV_NOMEM);
    memory_fail_nth(0);
    CHECK_EQUAL(sv_echo_take(&echo, 1), 1);
    sv_echo_close(&echo);
}

static void test_sketch_never_counts_too_little(void)
{
    static uint32_t count[400];
    sv_sketch sketch = {0};
    memset(count, 0, sizeof(count));
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 3), 0);
    sv_sketch_add(&sketch, 3);
    CHECK_EQUAL(sv_sketch_reserve(&sketch, 400), SV_OK);
    uint32_t over = 0;
    for (int i = 0; i < 1500; i++) { /* fewer than make it age */
        uint32_t key = chance_below(20) * chance_below(20);
        sv_sketch_add(&sketch, key);
        count[key]++;
    }
    for (uint32_t key = 0; key < 400; key++) {
        uint32_t estimate = sv_sketch_estimate(&sketch, key), truth = count[key] < 15 ? count[key] : 15;
        CHECK(estimate >= truth);
        over += estimate > truth + 1;
    }
    CHECK(over < 40);
    CHECK_EQUAL(sv_sketch_reserve(&sketch, 3000), SV_OK); /* growing forgets nothing */
    for (uint32_t key = 0; key < 400; key++)
        CHECK(sv_sketch_estimate(&sketch, key) >= (count[key] < 15 ? count[key] : 15));
    sv_sketch_clear(&sketch);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 0), 0);
    sv_sketch_close(&sketch);
}

static void test_sketch_forgets_what_was_popular(void)
{
    sv_sketch sketch = {0};
    CHECK_EQUAL(sv_sketch_reserve(&sketch, 100), SV_OK);
    for (int i = 0; i < 15; i++)
        sv_sketch_add(&sketch, 7);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 7), 15);
    while (sketch.additions < sketch.period - 6) /* one other key: it shares no more than a count or two with key 7 */
        sv_sketch_add(&sketch, 4);
    for (int i = 0; i < 5; i++)
        sv_sketch_add(&sketch, 9);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 9), 5);
    for (uint64_t i = 0; i < 10; i++) /* now all are halved, a few blocks at a time */
        sv_sketch_add(&sketch, 4);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 7), 7);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 9), 2);
    for (uint64_t other = 0; other < 1001 * 4; other++)
        sv_sketch_add(&sketch, 8);
    CHECK(sv_sketch_estimate(&sketch, 7) <= 2 && sv_sketch_estimate(&sketch, 8) >= 7);
    sv_sketch_close(&sketch);
}

static void test_sketch_is_unchanged_when_growing_fails(void)
{
    sv_sketch sketch = {0};
    CHECK_EQUAL(sv_sketch_reserve(&sketch, 10), SV_OK);
    sv_sketch_add(&sketch, 7);
    memory_fail_nth(1);
    CHECK_EQUAL(sv_sketch_reserve(&sketch, 1000), SV_NOMEM);
    memory_fail_nth(0);
    CHECK_EQUAL(sv_sketch_estimate(&sketch, 7), 1);
    sv_sketch_close(&sketch);
}

const check_test ghost_suite[] = {
    TEST(test_ghost_remembers_exactly_the_last_that_were_put),
    TEST(test_ghost_is_unchanged_when_growing_fails),
    TEST(test_echo_tells_exact_ages_when_it_is_small),
    TEST(test_echo_is_nearly_right_at_every_size),
    TEST(test_echo_is_unchanged_when_growing_fails),
    TEST(test_sketch_never_counts_too_little),
    TEST(test_sketch_forgets_what_was_popular),
    TEST(test_sketch_is_unchanged_when_growing_fails),
    SUITE_END,
};
