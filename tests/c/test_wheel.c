/* The timer wheel beside an array of deadlines that is searched from end to end. */
#include "check.h"
#include "pure/wheel.h"

enum { BOXES = 48 };

struct walk {
    sv_wheel wheel;
    uint64_t deadline[BOXES]; /* by handle; SV_NEVER: none */
    uint64_t now;
    uint32_t boxes; /* reserved */
};

static uint64_t earliest(const struct walk *walk)
{
    uint64_t least = SV_NEVER;
    for (sv_handle handle = 0; handle < BOXES; handle++)
        if (walk->deadline[handle] < least)
            least = walk->deadline[handle];
    return least;
}

static void walk_check(const struct walk *walk)
{
    uint32_t count = 0;
    CHECK(sv_wheel_check(&walk->wheel, walk->boxes));
    for (sv_handle handle = 0; handle < BOXES; handle++) {
        CHECK_EQUAL(sv_wheel_deadline(&walk->wheel, handle), walk->deadline[handle]);
        count += walk->deadline[handle] != SV_NEVER;
    }
    CHECK_EQUAL(sv_wheel_count(&walk->wheel), count);
    CHECK(walk->wheel.due <= earliest(walk));
}

static void walk_open(struct walk *walk, uint64_t now)
{
    *walk = (struct walk){.now = now};
    memset(walk->deadline, 0xFF, sizeof(walk->deadline));
    sv_wheel_open(&walk->wheel, now);
    CHECK_EQUAL(sv_wheel_count(&walk->wheel), 0);
}

static void walk_reserve(struct walk *walk, uint32_t boxes)
{
    CHECK_EQUAL(sv_wheel_reserve(&walk->wheel, boxes), SV_OK);
    if (boxes > walk->boxes)
        walk->boxes = boxes;
}

static void walk_set(struct walk *walk, sv_handle handle, uint64_t deadline)
{
    walk_reserve(walk, handle + 1);
    sv_wheel_set(&walk->wheel, handle, deadline);
    walk->deadline[handle] = deadline;
    walk_check(walk);
}

static void walk_cancel(struct walk *walk, sv_handle handle)
{
    sv_wheel_cancel(&walk->wheel, handle);
    if (handle < BOXES)
        walk->deadline[handle] = SV_NEVER;
    walk_check(walk);
}

/* One call; what comes out must be due, and that nothing comes out must be true. */
static sv_handle walk_next(struct walk *walk, uint32_t steps)
{
    uint32_t left = steps;
    uint64_t due = walk->wheel.due;
    sv_handle handle = sv_wheel_next(&walk->wheel, walk->now, &left);
    CHECK(left <= steps);
    if (handle != SV_NONE) {
        CHECK(handle >= SV_SENTINELS && handle < BOXES && left < steps);
        CHECK(walk->deadline[handle] != SV_NEVER && walk->deadline[handle] <= walk->now);
        walk->deadline[handle] = SV_NEVER;
    } else if (left > 0 && walk->now >= walk->wheel.time) {
        CHECK(earliest(walk) > walk->now && walk->wheel.due > walk->now);
    } else
        CHECK(walk->wheel.due >= due);
    if (handle == SV_NONE && walk->wheel.due <= walk->now && left == 0)
        CHECK_EQUAL(walk->wheel.due, due);
    walk_check(walk);
    return handle;
}

static uint32_t walk_drain(struct walk *walk)
{
    uint32_t out = 0;
    while (walk_next(walk, 1000) != SV_NONE)
        out++;
    CHECK(walk->now < walk->wheel.time || earliest(walk) > walk->now);
    return out;
}

static uint64_t plus(uint64_t time, uint64_t pause) /* not beyond what a deadline can be */
{
    return time + pause < time || time + pause == SV_NEVER ? SV_NEVER - 1 : time + pause;
}

/* ------------------------------------------------------------------ any string of bytes is a program */

struct program {
    const uint8_t *bytes;
    size_t left;
};

static uint32_t next_byte(struct program *program)
{
    if (program->left == 0)
        return 0;
    program->left--;
    return *program->bytes++;
}

/* Deadlines where wheels go wrong: at both sides of every border of every level, past, far, and for ever. */
static uint64_t next_deadline(struct program *program, const struct walk *walk, sv_handle handle)
{
    uint32_t kind = next_byte(program), number = next_byte(program), shift = number % 63;
    uint64_t now = walk->now, lap = (UINT64_C(1) << shift) - 1, had = walk->deadline[handle];
    switch (kind % 12) {
    case 0: return plus(now, number);
    case 1: return plus(now, lap + number / 63);
    case 2: return plus(now | lap, 0);
    case 3: return plus(now | lap, 1);
    case 4: return plus(now, (uint64_t)number << 52);
    case 5: return SV_NEVER - 1 - number / 4;
    case 6: return now < number ? 0 : now - number;
    case 7: return number / 128;
    case 8: return had == SV_NEVER ? now : plus(had, number);
    case 9: return had == SV_NEVER ? now : plus(had, lap);
    case 10: return had == SV_NEVER || had < number ? now : had - number;
    default: return number % 4 == 0 ? SV_NEVER : plus(now, (uint64_t)number << (kind / 12));
    }
}

static void advance(struct program *program, struct walk *walk)
{
    uint32_t kind = next_byte(program), number = next_byte(program);
    uint64_t least = earliest(walk), lap = (UINT64_C(1) << number % 63) - 1;
    switch (kind % 8) {
    case 0: walk->now = plus(walk->now, number); break;
    case 1: walk->now = plus(walk->now, lap); break;
    case 2: walk->now = plus(walk->now | lap, number / 63); break;
    case 3: walk->now = least != SV_NEVER && least > walk->now ? least : walk->now; break;
    case 4: walk->now = least != SV_NEVER && least > walk->now ? least - 1 : walk->now; break;
    case 5: walk->now = kind == 5 ? walk->now - (walk->now < number ? walk->now : number) : walk->now; break;
    default: walk->now = plus(walk->now, (uint64_t)number << (kind / 8)); break;
    }
}

static void grow_without_memory(struct walk *walk, uint32_t boxes, uint32_t nth)
{
    memory_fail_nth(nth);
    int status = sv_wheel_reserve(&walk->wheel, boxes);
    memory_fail_nth(0);
    CHECK(status == SV_OK || status == SV_NOMEM);
    if (status == SV_OK && boxes > walk->boxes)
        walk->boxes = boxes;
    walk_check(walk);
}

void wheel_program(const uint8_t *bytes, size_t size)
{
    struct program program = {bytes, size};
    struct walk walk;
    walk_open(&walk, (uint64_t)next_byte(&program) << next_byte(&program) % 57);
    while (program.left > 0) {
        uint32_t what = next_byte(&program);
        sv_handle handle = SV_SENTINELS + next_byte(&program) % (BOXES - SV_SENTINELS);
        if (what < 110)
            walk_set(&walk, handle, next_deadline(&program, &walk, handle));
        else if (what < 130)
            walk_cancel(&walk, what == 110 ? UINT32_MAX - handle : handle);
        else if (what < 180)
            advance(&program, &walk);
        else if (what < 235)
            (void)walk_next(&walk, what % 6);
        else if (what < 245)
            (void)walk_drain(&walk);
        else if (what < 254)
            grow_without_memory(&walk, handle + 1, what % 3);
        else if (next_byte(&program) < 30) {
            sv_wheel_clear(&walk.wheel, walk.now);
            memset(walk.deadline, 0xFF, sizeof(walk.deadline));
            walk.boxes = 0;
            walk_check(&walk);
        }
    }
    walk.now = SV_NEVER - 1; /* all that is left comes out */
    uint32_t left = sv_wheel_count(&walk.wheel);
    CHECK_EQUAL(walk_drain(&walk), left);
    CHECK_EQUAL(walk.wheel.due, SV_NEVER);
    sv_wheel_close(&walk.wheel);
}

#ifndef SV_LIBFUZZER
static void test_wheel_agrees_with_the_array_over_random_programs(void)
{
    static uint8_t bytes[3000];
    for (uint32_t round = 0; round < 150; round++) {
        size_t size = 1 + chance_below(round % 4 == 0 ? sizeof(bytes) : 400);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(sv_chance(&chance) >> 56);
        wheel_program(bytes, size);
    }
}

/* ------------------------------------------------------------------ one promise at a time */

static void test_wheel_is_exact_at_every_border_of_every_level(void)
{
    static const uint64_t starts[] = {0, 1, 63, 64, UINT64_C(0x123456789ABCDEF), UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        for (uint32_t shift = 0; shift < 63; shift++)
            for (uint64_t off = 0; off < 3; off++) {
                struct walk walk;
                walk_open(&walk, starts[i]);
                uint64_t pause = (UINT64_C(1) << shift) - 1 + off, deadline = plus(starts[i], pause);
                walk_set(&walk, 5, deadline);
                walk_set(&walk, 6, plus(deadline, 1));
                if (deadline > starts[i]) {
                    walk.now = deadline - 1;
                    CHECK_EQUAL(walk_next(&walk, 100), SV_NONE);
                }
                walk.now = deadline;
                CHECK_EQUAL(walk_next(&walk, 100), 5);
                walk.now = plus(deadline, 1);
                CHECK_EQUAL(walk_next(&walk, 100), 6);
                sv_wheel_close(&walk.wheel);
            }
}

static void test_wheel_hands_out_what_was_overdue_when_it_was_set(void)
{
    struct walk walk;
    walk_open(&walk, UINT64_C(1) << 40);
    walk_set(&walk, 4, 0);
    walk_set(&walk, 5, (UINT64_C(1) << 40) - 1);
    walk_set(&walk, 6, (UINT64_C(1) << 40) + 1);
    CHECK_EQUAL(walk.wheel.due, 0);
    CHECK_EQUAL(walk_drain(&walk), 2);
    CHECK_EQUAL(walk.deadline[6], (UINT64_C(1) << 40) + 1);
    sv_wheel_close(&walk.wheel);
}

/* A deadline moved to later may leave its entry in an early bucket; the others are not forgotten over it. */
static void test_wheel_wakes_for_the_others_when_a_lonely_deadline_was_moved_away(void)
{
    struct walk walk;
    walk_open(&walk, 0);
    walk_set(&walk, 4, 100);
    walk_set(&walk, 4, 1000000);
    walk_set(&walk, 5, 5000);
    walk.now = 50;
    CHECK_EQUAL(walk_next(&walk, 100), SV_NONE);
    CHECK(walk.wheel.due <= 5000);
    walk.now = 5000;
    CHECK_EQUAL(walk_next(&walk, 100), 5);
    CHECK_EQUAL(walk_next(&walk, 100), SV_NONE);
    walk.now = 999999;
    CHECK_EQUAL(walk_next(&walk, 100), SV_NONE);
    walk.now = 1000000;
    CHECK_EQUAL(walk_next(&walk, 100), 4);
    sv_wheel_close(&walk.wheel);
}

static void test_wheel_moves_a_deadline_to_later_by_its_record_alone(void)
{
    struct walk walk;
    walk_open(&walk, 0);
    for (sv_handle handle = 4; handle < 12; handle++)
        walk_set(&walk, handle, 1000);
    static uint8_t before[BOXES * SV_WHEEL_RECORD];
    size_t bytes = walk.wheel.room * (size_t)SV_WHEEL_RECORD, record = 7 * SV_WHEEL_RECORD;
    memcpy(before, walk.wheel.records, bytes);
    walk_set(&walk, 7, 123456789);
    CHECK(memcmp(before, walk.wheel.records, record) == 0);
    CHECK(memcmp(before + record + 7, walk.wheel.records + record + 7, bytes - record - 7) == 0);
    sv_wheel_close(&walk.wheel);
}

static void test_wheel_forgets_everything_when_it_is_cleared(void)
{
    struct walk walk;
    walk_open(&walk, 9);
    for (sv_handle handle = 4; handle < 40; handle++)
        walk_set(&walk, handle, handle % 3 == 0 ? SV_NEVER - handle : handle * UINT64_C(1000));
    CHECK(sv_wheel_bytes(&walk.wheel) > 36 * SV_WHEEL_RECORD);
    sv_wheel_clear(&walk.wheel, 77);
    memset(walk.deadline, 0xFF, sizeof(walk.deadline));
    walk.boxes = 0;
    walk_check(&walk);
    CHECK_EQUAL(sv_wheel_bytes(&walk.wheel), 0);
    walk.now = SV_NEVER - 1;
    CHECK_EQUAL(walk_next(&walk, 100), SV_NONE);
    walk.now = 77;
    walk_set(&walk, 4, 78);
    walk.now = SV_NEVER - 1;
    CHECK_EQUAL(walk_next(&walk, 100), 4);
    sv_wheel_close(&walk.wheel);
}

/* Far deadlines take a place each and give it back: the table holds the most there were at once, not all that ever were. */
static void test_wheel_uses_the_places_of_far_deadlines_again(void)
{
    struct walk walk;
    walk_open(&walk, 0);
    for (uint64_t round = 0; round < 60; round++) {
        for (sv_handle handle = 4; handle < 24; handle++)
            walk_set(&walk, handle, SV_NEVER - 1 - round - handle);
        for (sv_handle handle = 4; handle < 24; handle++)
            if (handle % 2 == round % 2)
                walk_cancel(&walk, handle);
            else
                walk_set(&walk, handle, 5);
        CHECK(walk.wheel.far_used <= 22);
    }
    sv_wheel_close(&walk.wheel);
}

static void test_wheel_is_unchanged_when_growing_fails(void)
{
    struct walk walk;
    uint32_t failed = 0;
    walk_open(&walk, 3);
    for (sv_handle handle = 4; handle < BOXES; handle++)
        for (uint32_t nth = 1;; nth++) {
            uint64_t requests = memory_requests;
            memory_fail_nth(nth);
            int status = sv_wheel_reserve(&walk.wheel, handle + 1);
            memory_fail_nth(0);
            if (status == SV_OK) {
                CHECK(memory_requests < requests + nth);
                walk_set(&walk, handle, SV_NEVER - 1 - handle);
                break;
            }
            CHECK_EQUAL(status, SV_NOMEM);
            walk_check(&walk);
            failed++;
        }
    CHECK(failed > 8); /* the records grow by an eighth, the far places by half */
    CHECK_EQUAL(sv_wheel_reserve(&walk.wheel, UINT32_MAX), SV_FULL);
    walk_check(&walk);
    sv_wheel_close(&walk.wheel);
}

/* ------------------------------------------------------------------ work is bounded */

enum { CROWD = 20000 };

/* All within one second, worked off by calls of four steps each, while as many newcomers arrive: nobody waits for
 * more than his share, and the whole costs each entry no more than one step per level. */
static void test_wheel_works_off_a_crowd_in_small_steps(void)
{
    static const uint64_t spreads[] = {1, 64, 1000000, 1000000000};
    for (size_t i = 0; i < sizeof(spreads) / sizeof(spreads[0]); i++) {
        sv_wheel wheel;
        uint64_t now = UINT64_C(1700000000) * 1000000000, spent = 0, after = now + UINT64_C(3600) * 1000000000;
        uint32_t out = 0, calls = 0;
        sv_wheel_open(&wheel, now);
        CHECK_EQUAL(sv_wheel_reserve(&wheel, SV_SENTINELS + 2 * CROWD), SV_OK);
        for (sv_handle handle = SV_SENTINELS; handle < SV_SENTINELS + CROWD; handle++)
            sv_wheel_set(&wheel, handle, after + sv_chance(&chance) % spreads[i]);
        now = after + spreads[i];
        for (sv_handle newcomer = SV_SENTINELS + CROWD; out < CROWD; calls++) {
            uint32_t steps = 4;
            while (steps > 0 && sv_wheel_next(&wheel, now, &steps) != SV_NONE)
                out++;
            spent += 4 - steps;
            if (newcomer < SV_SENTINELS + 2 * CROWD)
                sv_wheel_set(&wheel, newcomer++, now + 1 + UINT64_C(1000000000) * chance_below(1000));
            if (calls % 1000 == 0)
                CHECK(sv_wheel_check(&wheel, SV_SENTINELS + 2 * CROWD));
        }
        CHECK(spent <= (uint64_t)CROWD * 2 + 64); /* each moved at most once when time has passed them all */
        CHECK_EQUAL(sv_wheel_count(&wheel), calls < CROWD ? calls : CROWD);
        CHECK(sv_wheel_check(&wheel, SV_SENTINELS + 2 * CROWD));
        sv_wheel_close(&wheel);
    }
}

/* Time passes in many small ticks: an entry goes down the levels once, whatever the number of ticks. */
static void test_wheel_spends_no_more_than_a_step_per_level_on_an_entry(void)
{
    sv_wheel wheel;
    uint64_t spent = 0, now = 12345, last = now;
    uint32_t out = 0;
    sv_wheel_open(&wheel, now);
    CHECK_EQUAL(sv_wheel_reserve(&wheel, SV_SENTINELS + CROWD), SV_OK);
    for (sv_handle handle = SV_SENTINELS; handle < SV_SENTINELS + CROWD; handle++) {
        uint64_t deadline = now + (sv_chance(&chance) >> (20 + chance_below(30)));
        sv_wheel_set(&wheel, handle, deadline);
        last = deadline > last ? deadline : last;
    }
    while (out < CROWD) {
        uint32_t steps = 50;
        now = wheel.due > now ? wheel.due : now; /* the next tick at which there may be work */
        CHECK(now <= last);
        while (steps > 0 && sv_wheel_next(&wheel, now, &steps) != SV_NONE)
            out++;
        spent += 50 - steps;
    }
    CHECK(spent <= (uint64_t)CROWD * 2 * SV_WHEEL_LEVELS);
    CHECK_EQUAL(sv_wheel_count(&wheel), 0);
    sv_wheel_close(&wheel);
}

const check_test wheel_suite[] = {
    TEST(test_wheel_agrees_with_the_array_over_random_programs),
    TEST(test_wheel_is_exact_at_every_border_of_every_level),
    TEST(test_wheel_hands_out_what_was_overdue_when_it_was_set),
    TEST(test_wheel_wakes_for_the_others_when_a_lonely_deadline_was_moved_away),
    TEST(test_wheel_moves_a_deadline_to_later_by_its_record_alone),
    TEST(test_wheel_forgets_everything_when_it_is_cleared),
    TEST(test_wheel_uses_the_places_of_far_deadlines_again),
    TEST(test_wheel_is_unchanged_when_growing_fails),
    TEST(test_wheel_works_off_a_crowd_in_small_steps),
    TEST(test_wheel_spends_no_more_than_a_step_per_level_on_an_entry),
    SUITE_END,
};
#endif
