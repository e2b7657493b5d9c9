/* Numbered boxes: taken once, given back, moved in memory, never lost. */
#include "check.h"
#include "pure/chain.h"

static void test_slab_is_sound_and_empty_when_opened(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    CHECK(sv_slab_check(&slab));
    CHECK_EQUAL(slab.live, 0);
    for (sv_handle chain = 0; chain < SV_SENTINELS; chain++)
        CHECK(sv_chain_is_empty(&slab, chain));
    sv_slab_close(&slab);
}

static void test_slab_hands_out_each_box_once_and_takes_it_back(void)
{
    enum { MOST = 3000 };
    static uint64_t twin[MOST * 2]; /* what was written into the box; 0: not taken */
    static sv_handle taken[MOST];
    uint32_t count = 0;
    uint64_t written = 0;
    sv_slab slab;
    memset(twin, 0, sizeof(twin));
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    for (int step = 0; step < 60000; step++) {
        int fill = step / 10000 % 2 == 0;
        if (count < MOST && chance_below(10) < (fill ? 7u : 3u)) {
            CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
            sv_handle handle = sv_slab_take(&slab);
            CHECK(handle >= SV_SENTINELS && handle < slab.used && handle < MOST * 2 && twin[handle] == 0);
            twin[handle] = ++written;
            slab.boxes[handle] = (sv_box){.hash = written, .prev = SV_NONE, .next = SV_NONE};
            taken[count++] = handle;
        } else if (count > 0) {
            uint32_t which = chance_below(count);
            sv_handle handle = taken[which];
            CHECK_EQUAL(slab.boxes[handle].hash, twin[handle]);
            sv_slab_give(&slab, handle);
            CHECK_EQUAL(slab.boxes[handle].hash, SV_HASH_NEVER);
            twin[handle] = 0;
            taken[which] = taken[--count];
        }
        CHECK_EQUAL(slab.live, count);
        if (step % 500 == 0)
            CHECK(sv_slab_check(&slab));
    }
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQUAL(slab.boxes[taken[i]].hash, twin[taken[i]]);
    sv_slab_close(&slab);
}

static void test_slab_reuses_a_given_box_before_it_grows(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
        slab.boxes[sv_slab_take(&slab)].hash = 1;
    }
    uint32_t used = slab.used;
    uint64_t requests = memory_requests;
    for (int i = 0; i < 1000; i++) {
        sv_handle given = SV_SENTINELS + chance_below(100);
        sv_slab_give(&slab, given);
        CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
        CHECK_EQUAL(sv_slab_take(&slab), given);
        slab.boxes[given].hash = 1;
    }
    CHECK_EQUAL(slab.used, used);
    CHECK_EQUAL(memory_requests, requests);
    sv_slab_close(&slab);
}

static void test_slab_lets_its_memory_go_when_reset(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    uint32_t first = slab.capacity;
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 5000; i++) {
            CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
            sv_handle handle = sv_slab_take(&slab);
            slab.boxes[handle].hash = 1;
            sv_chain_push(&slab, 1, handle);
        }
        CHECK(sv_slab_check(&slab));
        sv_slab_reset(&slab);
        CHECK(sv_slab_check(&slab) && sv_chain_is_empty(&slab, 1));
        CHECK_EQUAL(slab.live, 0);
        CHECK_EQUAL(slab.capacity, first);
    }
    sv_slab_close(&slab);
}

static void test_slab_is_full_and_unchanged_when_handles_run_out(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    sv_slab before = slab;
    slab.capacity = slab.used = UINT32_MAX - 1;
    uint64_t requests = memory_requests;
    CHECK_EQUAL(sv_slab_reserve(&slab), SV_FULL);
    CHECK_EQUAL(memory_requests, requests);
    CHECK(slab.boxes == before.boxes && slab.capacity == UINT32_MAX - 1);
    slab = before;
    sv_slab_close(&slab);
}

static void test_slab_grows_by_little_when_large(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t before = slab.capacity;
        CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
        CHECK(slab.capacity == before || before < (1u << 16) || slab.capacity - before <= before / 8);
        slab.boxes[sv_slab_take(&slab)].hash = i;
    }
    CHECK(sv_slab_check(&slab));
    CHECK(slab.capacity < 200000 + 200000 / 7);
    sv_slab_close(&slab);
}

const check_test slab_suite[] = {
    TEST(test_slab_is_sound_and_empty_when_opened),
    TEST(test_slab_hands_out_each_box_once_and_takes_it_back),
    TEST(test_slab_reuses_a_given_box_before_it_grows),
    TEST(test_slab_lets_its_memory_go_when_reset),
    TEST(test_slab_is_full_and_unchanged_when_handles_run_out),
    TEST(test_slab_grows_by_little_when_large),
    SUITE_END,
};
