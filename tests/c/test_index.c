/* The index against an array that says which handle is in under which hash: growth, erasure, floods and attacks. */
#include "shelf.h"

static uint64_t first_multiplier(void)
{
    sv_index index;
    sv_index_open(&index, 1);
    uint64_t multiplier = index.now.multiplier;
    sv_index_close(&index);
    return multiplier;
}

/* A hash of one of several kinds; `kinds` is how many of them to draw from. */
static uint64_t any_hash(uint32_t kinds)
{
    uint64_t number = chance_below(700);
    switch (chance_below(kinds)) {
    case 0: return number;                                  /* dense integers */
    case 1: return sv_chance(&chance) >> 1;                 /* nothing in common */
    case 2: return number << 20;                            /* strides */
    case 3: return number << 52;                            /* high bits only */
    case 4: return UINT64_MAX - 1 - number;                 /* small negative integers */
    case 5: return chance_below(3) + 5;                     /* equal */
    default: return shelf_crafted(number);                  /* one chunk, one way, one tag */
    }
}

/* Random insertions, erasures, changes of hash and searches; each phase aims at another size. */
static void walk_randomly(uint32_t kinds, uint32_t steps)
{
    static const uint32_t aims[] = {20, 1500, 5, 700, 1400, 1450, 0};
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (size_t phase = 0; phase < sizeof(aims) / sizeof(aims[0]); phase++) {
        for (uint32_t step = 0; step < steps; step++) {
            uint64_t hash = any_hash(kinds);
            if (shelf.live != 0 && chance_below(5) == 0)
                shelf_rehash(&shelf, shelf_any(&shelf), hash);
            else if (shelf.live == 0 || chance_below(10) < (shelf.live < aims[phase] ? 9u : 4u))
                CHECK_EQUAL(shelf_put(&shelf, hash, NULL), SV_OK);
            else
                shelf_drop(&shelf, shelf_any(&shelf));
            if (step % 8 == 0)
                shelf_check_hash(&shelf, any_hash(kinds));
            if (step % 256 == 0)
                shelf_check(&shelf);
        }
        while (shelf.live > aims[phase])
            shelf_drop(&shelf, shelf_any(&shelf));
        shelf_check(&shelf);
    }
    shelf_close(&shelf);
}

static void test_index_agrees_with_the_twin_over_ordinary_hashes(void) { walk_randomly(5, 3000); }
static void test_index_agrees_with_the_twin_over_hostile_hashes(void) { walk_randomly(7, 1500); }

static void test_index_answers_nothing_when_it_has_no_memory(void)
{
    sv_index index;
    sv_cursor cursor;
    sv_slab slab;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    sv_index_open(&index, 1);
    for (uint64_t hash = 0; hash < 1000; hash++) {
        CHECK_EQUAL(sv_index_first(&index, slab.boxes, hash, &cursor), SV_NONE);
        CHECK_EQUAL(sv_index_guess(&index, slab.boxes, hash), SV_NONE);
        CHECK_EQUAL(sv_index_erase(&index, hash, SV_SENTINELS), 0);
        sv_index_prefetch(&index, hash);
    }
    CHECK_EQUAL(sv_index_bytes(&index), 0);
    CHECK(sv_index_check(&index, &slab));
    sv_index_close(&index);
    sv_slab_close(&slab);
}

static void test_index_finds_everything_at_every_moment_of_its_growth(void)
{
    enum { MOST = 30000 };
    struct shelf shelf;
    uint32_t moving = 0, tables = 0;
    const void *table = NULL;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < MOST; i++) {
        CHECK_EQUAL(shelf_put(&shelf, i, NULL), SV_OK);
        moving += shelf.index.old.chunks != NULL;
        tables += shelf.index.now.block != table;
        table = shelf.index.now.block;
        for (int look = 0; look < 4; look++) { /* a dense hash is its handle but for the sentinels */
            uint32_t hash = chance_below(i + 1);
            sv_cursor cursor;
            CHECK_EQUAL(sv_index_first(&shelf.index, shelf.slab.boxes, hash, &cursor), hash + SV_SENTINELS);
            CHECK_EQUAL(sv_index_next(&shelf.index, shelf.slab.boxes, hash, &cursor), SV_NONE);
            CHECK_EQUAL(sv_index_first(&shelf.index, shelf.slab.boxes, i + 1 + hash, &cursor), SV_NONE);
        }
        if (i < 600 || (shelf.index.old.chunks != NULL && i % 500 == 0))
            shelf_check(&shelf);
    }
    CHECK(tables > 8 && moving > 500 && moving < MOST / 3);
    CHECK(sv_index_bytes(&shelf.index) < MOST * 64u / 2);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

/* Insert distinct hashes until a large table is being moved. */
static void open_moving(struct shelf *shelf, uint32_t chunks)
{
    CHECK_EQUAL(shelf_open(shelf, 1), SV_OK);
    while (shelf->index.old.chunks == NULL || shelf->index.now.mask + 1 < chunks)
        CHECK_EQUAL(shelf_put(shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
}

static void test_index_erases_from_both_tables_while_it_grows(void)
{
    struct shelf shelf;
    open_moving(&shelf, 512);
    for (int step = 0; step < 60; step++)
        CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
    uint32_t old = shelf.index.old.count, now = shelf.index.now.count;
    for (int step = 0; step < 800; step++)
        shelf_drop(&shelf, shelf_any(&shelf));
    CHECK(shelf.index.old.count < old && shelf.index.now.count < now);
    shelf_check(&shelf);
    for (int step = 0; step < 50; step++) { /* a handle given back comes in again, in the other table */
        shelf_drop(&shelf, shelf_any(&shelf));
        CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
        CHECK(shelf.index.old.chunks != NULL);
        shelf_check(&shelf);
    }
    while (shelf.live > 0)
        shelf_drop(&shelf, shelf_any(&shelf));
    CHECK(shelf.index.old.chunks != NULL && shelf.index.old.count == 0 && shelf.index.now.count == 0);
    shelf_check(&shelf);
    while (shelf.index.old.chunks != NULL)
        CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_offers_equal_hashes_from_both_tables(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_EQUAL(shelf_put(&shelf, i % 5 == 0 ? 42 : i << 8, NULL), SV_OK);
        if (shelf.index.old.chunks != NULL)
            shelf_check_hash(&shelf, 42);
    }
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_clears_in_the_middle_of_growth(void)
{
    struct shelf shelf;
    open_moving(&shelf, 128);
    for (int again = 0; again < 3; again++) {
        shelf_clear(&shelf);
        CHECK_EQUAL(sv_index_bytes(&shelf.index), 0);
        shelf_check(&shelf);
        for (uint32_t i = 0; i < 500; i++)
            CHECK_EQUAL(shelf_put(&shelf, i * 3, NULL), SV_OK);
        shelf_check(&shelf);
    }
    shelf_close(&shelf);
}

static void test_index_erase_answers_no_when_the_handle_is_not_in(void)
{
    struct shelf shelf;
    sv_handle put;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 300; i++)
        CHECK_EQUAL(shelf_put(&shelf, 7, &put), SV_OK);
    CHECK_EQUAL(sv_index_erase(&shelf.index, 7, put + 1), 0);
    CHECK_EQUAL(sv_index_erase(&shelf.index, 8, put), 0);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_keeps_its_multiplier_when_hashes_are_equal(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 3000; i++)
        CHECK_EQUAL(shelf_put(&shelf, 12345, NULL), SV_OK);
    CHECK_EQUAL(shelf.index.now.multiplier, first_multiplier());
    shelf_check(&shelf);
    shelf_check_hash(&shelf, 12345);
    shelf_check_hash(&shelf, 12346);
    shelf_close(&shelf);
}

/* Each flood makes more than 255 entries pass the same chunks; a count that saturated would stay there for good, and
 * after a few floods each search for an absent key would read the whole table. */
static void test_index_searches_stay_short_after_floods_of_equal_hashes(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint64_t flood = 0; flood < 6; flood++) {
        for (uint32_t i = 0; i < 2200; i++)
            CHECK_EQUAL(shelf_put(&shelf, flood * 777, NULL), SV_OK);
        shelf_check(&shelf);
        while (shelf.live > 0)
            shelf_evict(&shelf);
    }
    for (uint64_t hash = 0; hash < 1000; hash++)
        CHECK(shelf_probe(&shelf, hash * 13) <= 2); /* one chunk in each table */
    shelf_close(&shelf);
}

static void check_probes(const struct shelf *shelf, uint32_t crafted, uint32_t most)
{
    for (uint32_t i = 0; i < crafted; i++)
        CHECK(shelf_probe(shelf, shelf_crafted(i)) <= most);
}

static void test_index_moves_to_another_multiplier_when_hashes_are_crafted(void)
{
    struct shelf shelf;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    uint64_t passes = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        CHECK_EQUAL(shelf_put(&shelf, shelf_crafted(i), NULL), SV_OK);
        passes += shelf_probe(&shelf, shelf_crafted(chance_below(i + 1)));
    }
    CHECK(shelf.index.now.multiplier != first_multiplier());
    CHECK(passes < 5000 * 10);
    check_probes(&shelf, 5000, 16);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_ends_its_growth_early_when_attacked_in_the_middle_of_it(void)
{
    struct shelf shelf;
    open_moving(&shelf, 16384);
    uint32_t attack = 0;
    for (; shelf.index.now.multiplier == first_multiplier(); attack++)
        CHECK_EQUAL(shelf_put(&shelf, shelf_crafted(attack), NULL), SV_OK);
    CHECK(attack < 25 * SV_CHUNK_SLOTS + 8192 / 16);
    shelf_check(&shelf);
    while (shelf.index.old.chunks != NULL)
        CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
    check_probes(&shelf, attack, 16);
    shelf_close(&shelf);
}

/* A move to another multiplier keeps the size, so the bound may be reached while the old table is still there: here it
 * is brought to that point by lowering the bound. */
static void test_index_goes_on_beyond_its_bound_while_it_moves(void)
{
    struct shelf shelf;
    uint32_t beyond = 0;
    open_moving(&shelf, 4096);
    shelf.index.now.limit = shelf.live;
    for (uint32_t chunks = shelf.index.now.mask; shelf.index.old.chunks != NULL; beyond++) {
        CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
        CHECK_EQUAL(shelf.index.now.mask, chunks);
    }
    CHECK(beyond > 10);
    shelf_check(&shelf);
    CHECK_EQUAL(shelf_put(&shelf, sv_chance(&chance) >> 1, NULL), SV_OK);
    CHECK_EQUAL(shelf.index.now.mask, 8191);
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_says_full_and_wraps_nowhere_when_counts_are_huge(void)
{
    sv_slab slab;
    sv_index index;
    CHECK_EQUAL(sv_slab_open(&slab), SV_OK);
    sv_index_open(&index, 1);
    CHECK_EQUAL(sv_index_reserve(&index), SV_OK);
    sv_index before = index;
    static sv_chunk old_chunks[2];
    index.old.chunks = old_chunks; /* a move in progress, at the largest sizes */
    index.now.mask = (UINT32_C(1) << 29) - 1;
    index.now.count = index.now.limit = 4000000000u;
    CHECK_EQUAL(sv_index_reserve(&index), SV_OK);
    index.now.mask = 255;
    index.now.count = index.now.limit = 255 * 11;
    CHECK_EQUAL(sv_index_reserve(&index), SV_FULL);
    index = before;
    sv_index_close(&index);
    sv_slab_close(&slab);
}

/* Four chunks, each full at some time, each passed by an entry: no count of zero ends a search. */
static void test_index_search_ends_when_every_chunk_was_passed(void)
{
    struct shelf shelf;
    sv_handle put[40];
    uint64_t hash = 0;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    while (shelf.index.now.mask != 3 || shelf.index.old.chunks != NULL)
        CHECK_EQUAL(shelf_put(&shelf, ++hash, NULL), SV_OK);
    while (shelf.live > 0)
        shelf_drop(&shelf, shelf_any(&shelf));
    for (uint32_t home = 0; home < 4; home++) {
        uint32_t count = 0;
        while (shelf.index.now.chunks[home].overflow == 0) {
            while (sv_index_mix(&shelf.index.now, ++hash) >> 62 != home)
                ;
            CHECK_EQUAL(shelf_put(&shelf, hash, &put[count++]), SV_OK);
        }
        while (count-- > 1) /* all but the last, which passed */
            shelf_drop(&shelf, put[count - 1]);
    }
    for (uint32_t chunk = 0; chunk < 4; chunk++)
        CHECK(shelf.index.now.mask == 3 && shelf.index.now.chunks[chunk].overflow > 0);
    for (uint64_t absent = hash + 1; absent < hash + 1000; absent++) {
        shelf_check_hash(&shelf, absent);
        CHECK_EQUAL(sv_index_erase(&shelf.index, absent, 999), 0);
    }
    shelf_check(&shelf);
    shelf_close(&shelf);
}

static void test_index_checks_see_damage(void)
{
    struct shelf shelf;
    sv_handle put;
    CHECK_EQUAL(shelf_open(&shelf, 1), SV_OK);
    for (uint32_t i = 0; i < 40; i++)
        CHECK_EQUAL(shelf_put(&shelf, i, &put), SV_OK);
    shelf.slab.boxes[put].hash ^= 0x1000;
    CHECK(!sv_index_check(&shelf.index, &shelf.slab));
    shelf.slab.boxes[put].hash ^= 0x1000;
    shelf.index.now.chunks[0].overflow++;
    CHECK(!sv_index_check(&shelf.index, &shelf.slab));
    shelf.index.now.chunks[0].overflow--;
    shelf.index.now.count++;
    CHECK(!sv_index_check(&shelf.index, &shelf.slab));
    shelf.index.now.count--;
    shelf.slab.live++;
    CHECK(!sv_index_check(&shelf.index, &shelf.slab) && !sv_slab_check(&shelf.slab));
    shelf.slab.live--;
    shelf_check(&shelf);
    shelf_close(&shelf);
}

const check_test index_suite[] = {
    TEST(test_index_agrees_with_the_twin_over_ordinary_hashes),
    TEST(test_index_agrees_with_the_twin_over_hostile_hashes),
    TEST(test_index_answers_nothing_when_it_has_no_memory),
    TEST(test_index_finds_everything_at_every_moment_of_its_growth),
    TEST(test_index_erases_from_both_tables_while_it_grows),
    TEST(test_index_offers_equal_hashes_from_both_tables),
    TEST(test_index_clears_in_the_middle_of_growth),
    TEST(test_index_erase_answers_no_when_the_handle_is_not_in),
    TEST(test_index_keeps_its_multiplier_when_hashes_are_equal),
    TEST(test_index_searches_stay_short_after_floods_of_equal_hashes),
    TEST(test_index_moves_to_another_multiplier_when_hashes_are_crafted),
    TEST(test_index_ends_its_growth_early_when_attacked_in_the_middle_of_it),
    TEST(test_index_goes_on_beyond_its_bound_while_it_moves),
    TEST(test_index_says_full_and_wraps_nowhere_when_counts_are_huge),
    TEST(test_index_search_ends_when_every_chunk_was_passed),
    TEST(test_index_checks_see_damage),
    SUITE_END,
};
