/* The n-th allocation fails, for n = 1, 2, 3, ...: the operation says so, nothing changed, and the next try works. */
#include "shelf.h"

static void test_slab_open_says_nomem_when_memory_fails(void)
{
    sv_slab slab, before;
    memset(&slab, 0xAB, sizeof(slab));
    before = slab;
    memory_fail_nth(1);
    CHECK_EQUAL(sv_slab_open(&slab), SV_NOMEM);
    CHECK(memcmp(&slab, &before, sizeof(slab)) == 0);
}

static void test_slab_is_unchanged_when_growing_fails(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    for (uint64_t i = 0; i < 3000; i++) {
        sv_slab before = slab;
        memory_fail_nth(1);
        int status = sv_slab_reserve(&slab);
        memory_fail_nth(0);
        if (status != SV_OK) {
            CHECK_EQUAL(status, SV_NOMEM);
            CHECK(memcmp(&slab, &before, sizeof(slab)) == 0 && sv_slab_check(&slab));
            CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
        }
        slab.boxes[sv_slab_take(&slab)].hash = i;
    }
    for (uint64_t i = 0; i < 3000; i++)
        CHECK_EQUAL(slab.boxes[i + SV_SENTINELS].hash, i);
    sv_slab_close(&slab);
}

static void test_slab_resets_even_when_shrinking_fails(void)
{
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
        slab.boxes[sv_slab_take(&slab)].hash = i;
    }
    memory_fail_nth(1);
    sv_slab_reset(&slab);
    CHECK(sv_slab_check(&slab) && slab.live == 0);
    CHECK_EQUAL(sv_slab_reserve(&slab), SV_OK);
    CHECK_EQUAL(sv_slab_take(&slab), SV_SENTINELS);
    sv_slab_close(&slab);
}

static void test_index_is_unchanged_when_growing_fails(void)
{
    struct shelf shelf;
    uint32_t failed = 0;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint64_t i = 0; i < 3000; i++) {
        sv_index before = shelf.index;
        memory_fail_nth(1);
        int status = sv_index_reserve(&shelf.index);
        memory_fail_nth(0);
        if (status != SV_OK) {
            CHECK_EQUAL(status, SV_NOMEM);
            CHECK(memcmp(&shelf.index, &before, sizeof(before)) == 0);
            shelf_check(&shelf);
            failed++;
        }
        CHECK_EQUAL(shelf_put(&shelf, i * 7, NULL), SV_OK);
    }
    CHECK(failed > 6);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_insert_cannot_fail_when_another_multiplier_has_no_memory(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 1500; i++) {
        CHECK_EQUAL(sv_slab_reserve(&shelf.slab), SV_OK);
        CHECK_EQUAL(sv_index_reserve(&shelf.index), SV_OK);
        uint64_t requests = memory_requests;
        memory_fail_nth(1); /* only the insertion itself can meet this */
        CHECK_EQUAL(shelf_put(&shelf, shelf_crafted(i), NULL), SV_OK);
        memory_fail_nth(0);
        refused += memory_requests != requests;
    }
    CHECK(refused > 0 && refused < 10); /* it does not ask at every insertion */
    shelf_check(&shelf);
    shelf_close(&shelf);
}

/* A script over every structure, in which the n-th request fails. Answers whether one did. */
static int script_meets_failure(uint64_t n)
{
    struct shelf shelf;
    int met = 0;
    memory_fail_nth(n);
    uint64_t fails = memory_fail_at;
    if (shelf_open(&shelf, n) != SV_OK) {
        CHECK_EQUAL(n, 1);
        CHECK_EQUAL(shelf_open(&shelf, n), SV_OK);
        met = 1;
    }
    for (uint32_t step = 0; step < 1500; step++) {
        uint32_t before = shelf.live;
        uint64_t hash = step < 500 ? step : step < 1000 ? shelf_crafted(step) : step % 3;
        int status = shelf_put(&shelf, hash, NULL);
        if (status != SV_OK) {
            CHECK_EQUAL(status, SV_NOMEM);
            CHECK_EQUAL(shelf.live, before);
            shelf_check(&shelf);
            shelf_check_order(&shelf);
            CHECK_EQUAL(shelf_put(&shelf, hash, NULL), SV_OK);
        }
        if (step % 4 == 0)
            shelf_touch(&shelf, shelf_any(&shelf));
        if (step % 5 == 0)
            shelf_drop(&shelf, shelf_any(&shelf));
        if (step == 1200)
            shelf_clear(&shelf);
    }
    met |= memory_requests >= fails;
    memory_fail_nth(0);
    shelf_check(&shelf);
    shelf_check_order(&shelf);
    shelf_close(&shelf);
    return met;
}

static void test_everything_stays_sound_whichever_request_for_memory_fails(void)
{
    uint64_t n = 1;
    while (script_meets_failure(n))
        n++;
    CHECK(n > 15);
}

const check_test memory_suite[] = {
    TEST(test_slab_open_says_nomem_when_memory_fails),
    TEST(test_slab_is_unchanged_when_growing_fails),
    TEST(test_slab_resets_even_when_shrinking_fails),
    TEST(test_index_is_unchanged_when_growing_fails),
    TEST(test_index_insert_cannot_fail_when_another_multiplier_has_no_memory),
    TEST(test_everything_stays_sound_whichever_request_for_memory_fails),
    SUITE_END,
};
