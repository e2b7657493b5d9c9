/* Exact least-recently-used order, against a twin that remembers when each entry was touched. */
#include "shelf.h"

static void test_lru_keeps_the_twins_order(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (int step = 0; step < 20000; step++) {
        uint32_t what = chance_below(10);
        if (shelf.live == 0 || (what < 3 && shelf.live < 300))
            CHECK_EQUAL(shelf_put(&shelf, chance_below(1000), NULL), SV_OK);
        else if (what < 8)
            shelf_touch(&shelf, shelf_any(&shelf));
        else if (what == 8)
            shelf_drop(&shelf, shelf_any(&shelf));
        else
            shelf_evict(&shelf);
        if (step % 100 == 0)
            shelf_check_order(&shelf);
    }
    shelf_clear(&shelf);
    shelf_check_order(&shelf);
    shelf_close(&shelf);
}

static void test_lru_evicts_in_order_of_entry_when_nothing_is_hit(void)
{
    struct shelf shelf;
    sv_handle put[100];
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQUAL(shelf_put(&shelf, i, &put[i]), SV_OK);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQUAL(shelf_evict(&shelf), put[i]);
    CHECK(sv_chain_is_empty(&shelf.slab, SV_LRU_CHAIN));
    shelf_close(&shelf);
}

static void test_lru_changes_nothing_when_the_youngest_is_hit(void)
{
    struct shelf shelf;
    sv_handle youngest = SV_NONE;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQUAL(shelf_put(&shelf, i, &youngest), SV_OK);
    sv_box before[SV_SENTINELS + 10];
    memcpy(before, shelf.slab.boxes, sizeof(before));
    sv_lru_hit(&shelf.slab, youngest);
    CHECK(memcmp(before, shelf.slab.boxes, sizeof(before)) == 0);
    shelf_close(&shelf);
}

static void test_lru_bound_changes_without_touching_the_order(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 50; i++)
        CHECK_EQUAL(shelf_put(&shelf, i, NULL), SV_OK);
    CHECK_EQUAL(sv_lru_rule.resize(&shelf.policy, &shelf.slab, 10), SV_OK);
    CHECK_EQUAL(shelf.policy.capacity, 10);
    shelf_check_order(&shelf);
    shelf_close(&shelf);
}

const check_test lru_suite[] = {
    TEST(test_lru_keeps_the_twins_order),
    TEST(test_lru_evicts_in_order_of_entry_when_nothing_is_hit),
    TEST(test_lru_changes_nothing_when_the_youngest_is_hit),
    TEST(test_lru_bound_changes_without_touching_the_order),
    SUITE_END,
};
