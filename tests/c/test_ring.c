/* The ring beside a search through all points, built at once and step by step; and any string of bytes as a program of
 * such steps, for the fuzzer. */
#include "check.h"
#include "pure/hash.h"
#include "pure/ring.h"

#define NODES 40u

struct crowd {
    char names[NODES][8];
    sv_ring_node nodes[NODES];
    uint32_t count;
};

static void join(struct crowd *crowd, uint32_t name, uint32_t points)
{
    int length = snprintf(crowd->names[crowd->count], sizeof(crowd->names[0]), "n%u", (unsigned)name);
    crowd->nodes[crowd->count] = (sv_ring_node){crowd->names[crowd->count], (size_t)length, points};
    crowd->count++;
}

static void leave(struct crowd *crowd, uint32_t number)
{
    for (crowd->count--; number < crowd->count; number++) {
        memcpy(crowd->names[number], crowd->names[number + 1], sizeof(crowd->names[0]));
        crowd->nodes[number] = crowd->nodes[number + 1];
        crowd->nodes[number].name = crowd->names[number];
    }
}

/* The obviously right search: the least point that is not below the place, else the least of all. */
static uint32_t found_by_looking(const sv_ring *ring, uint64_t place)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < ring->count; i++)
        if (ring->points[i] >= place && (best == UINT32_MAX || ring->points[i] < ring->points[best]))
            best = i;
    return ring->owners[best == UINT32_MAX ? 0 : best];
}

static void check_search(const sv_ring *ring)
{
    uint64_t places[67];
    uint32_t found[67];
    for (uint32_t i = 0; i < 67; i++) {
        uint64_t near = ring->points[chance_below(ring->count)];
        places[i] = i == 0 ? 0 : i == 1 ? UINT64_MAX : i % 2 == 0 ? sv_chance(&chance) : near + chance_below(3) - 1;
    }
    sv_ring_find_many(ring, places, 67, found);
    for (uint32_t i = 0; i < 67; i++) {
        CHECK_EQUAL(found[i], found_by_looking(ring, places[i]));
        CHECK_EQUAL(sv_ring_find(ring, places[i]), found[i]);
    }
}

static void check_same(const sv_ring *ring, const sv_ring *other)
{
    CHECK_EQUAL(ring->count, other->count);
    CHECK_EQUAL(ring->nodes, other->nodes);
    if (ring->count == 0)
        return;
    CHECK(memcmp(ring->points, other->points, ring->count * sizeof(uint64_t)) == 0);
    CHECK(memcmp(ring->owners, other->owners, (ring->count + 1) * sizeof(uint32_t)) == 0);
}

/* What differs by walking every place at which one of both rings has a point. */
static uint64_t moved_by_looking(const sv_ring *ring, const sv_ring *other, const uint32_t *same, uint32_t from, uint32_t to)
{
    uint64_t moved = 0;
    for (uint32_t i = 0; i < ring->count + other->count; i++) {
        uint64_t place = i < ring->count ? ring->points[i] : other->points[i - ring->count], before = 0, highest = 0;
        int any = 0;
        for (uint32_t j = 0; j < ring->count + other->count; j++) {
            uint64_t point = j < ring->count ? ring->points[j] : other->points[j - ring->count];
            highest = point > highest ? point : highest;
            if (point < place && (!any || point > before))
                before = point, any = 1;
            if (point == place && j < i)
                goto seen;
        }
        if (found_by_looking(ring, place) == from && same[found_by_looking(other, place)] == to)
            moved += place - (any ? before : highest);
    seen:;
    }
    return moved;
}

static void check_moves(const sv_ring *ring, const sv_ring *other, const uint32_t *same)
{
    sv_ring_move *moves;
    int64_t count = sv_ring_moves(ring, other, same, &moves);
    CHECK(count >= 0);
    for (int64_t i = 0; i < count; i++)
        CHECK_EQUAL(moves[i].places, moved_by_looking(ring, other, same, moves[i].from, moves[i].to));
    sv_free(moves);
}

/* One step: the ring that comes of it equals one that is built at once, and only the keys of that node moved. */
static void step(sv_ring *ring, struct crowd *crowd, int more, uint32_t number)
{
    sv_ring next, whole;
    uint32_t same[NODES];
    if (more)
        CHECK_EQUAL(sv_ring_with(&next, ring, &crowd->nodes[crowd->count - 1]), SV_OK);
    else
        CHECK_EQUAL(sv_ring_without(&next, ring, number), SV_OK);
    CHECK_EQUAL(sv_ring_open(&whole, ring->kind, crowd->nodes, crowd->count), SV_OK);
    CHECK(sv_ring_check(&next) && sv_ring_check(&whole));
    check_same(&next, &whole);
    if (next.count > 0 && ring->count > 0) {
        sv_ring_move *moves;
        for (uint32_t node = 0; node < next.nodes; node++)
            same[node] = node + (!more && node >= number);
        int64_t count = sv_ring_moves(ring, &next, same, &moves);
        for (int64_t i = 0; i < count; i++)
            CHECK(more ? moves[i].to == next.nodes - 1 : moves[i].from == number);
        sv_free(moves);
        if (next.count + ring->count < 120)
            check_moves(ring, &next, same);
        check_search(&next);
    }
    sv_ring_close(&whole);
    sv_ring_close(ring);
    *ring = next;
}

void ring_program(const uint8_t *bytes, size_t size)
{
    struct crowd crowd = {.count = 0};
    sv_ring ring;
    sv_ring_kind kind = size > 0 && bytes[0] % 4 == 1 ? SV_RING_KETAMA : SV_RING_XXH3;
    CHECK_EQUAL(sv_ring_open(&ring, kind, crowd.nodes, 0), SV_OK);
    for (size_t i = 1; i + 1 < size; i += 2) {
        uint32_t what = bytes[i], points = kind == SV_RING_KETAMA ? 4 + what % 8 * 4 : 1 + what % 32;
        if (crowd.count == 0 || (what < 160 && crowd.count < NODES)) {
            join(&crowd, (uint32_t)(i * 256 + bytes[i + 1]), points);
            step(&ring, &crowd, 1, 0);
        } else {
            uint32_t number = bytes[i + 1] % crowd.count;
            leave(&crowd, number);
            step(&ring, &crowd, 0, number);
        }
    }
    sv_ring_close(&ring);
}

static void test_ring_step_by_step_equals_ring_built_at_once(void)
{
    uint8_t bytes[120];
    for (uint32_t round = 0; round < 40; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)(sv_chance(&chance) >> 56);
        ring_program(bytes, 1 + chance_below(sizeof(bytes)));
    }
}

static void test_ring_does_not_depend_on_the_order_of_adding(void)
{
    struct crowd crowd = {.count = 0}, turned = {.count = 0};
    sv_ring ring, other;
    for (uint32_t i = 0; i < 20; i++) {
        join(&crowd, i, 30);
        join(&turned, 19 - i, 30);
    }
    CHECK_EQUAL(sv_ring_open(&ring, SV_RING_XXH3, crowd.nodes, 20), SV_OK);
    CHECK_EQUAL(sv_ring_open(&other, SV_RING_XXH3, turned.nodes, 20), SV_OK);
    for (uint32_t i = 0; i < ring.count; i++)
        CHECK_EQUAL(ring.owners[i], 19 - other.owners[i]);
    sv_ring_close(&ring);
    sv_ring_close(&other);
}

static void test_ring_walks_a_crowded_bucket_to_its_end(void)
{
    struct crowd crowd = {.count = 0};
    sv_ring ring;
    join(&crowd, 1, 50);
    CHECK_EQUAL(sv_ring_open(&ring, SV_RING_XXH3, crowd.nodes, 1), SV_OK);
    for (uint32_t i = 0; i < 50; i++) { /* all in one bucket */
        ring.points[i] = UINT64_C(5) << ring.shift | i * 10;
        ring.owners[i] = 0;
    }
    for (uint32_t bucket = 0; bucket <= 1u << (64 - ring.shift); bucket++)
        ring.jump[bucket] = bucket <= 5 ? 0 : 50;
    CHECK(sv_ring_check(&ring));
    for (uint64_t below = 0; below < 520; below++)
        CHECK_EQUAL(sv_ring_search(&ring, UINT64_C(5) << ring.shift | below), below > 490 ? 50 : (below + 9) / 10);
    sv_ring_close(&ring);
}

static void test_ring_walk_gives_different_nodes_in_the_order_of_points(void)
{
    struct crowd crowd = {.count = 0};
    sv_ring ring;
    uint32_t found[NODES], all[NODES];
    for (uint32_t i = 0; i < NODES; i++)
        join(&crowd, i, 1 + i % 7);
    CHECK_EQUAL(sv_ring_open(&ring, SV_RING_XXH3, crowd.nodes, NODES), SV_OK);
    for (uint32_t round = 0; round < 200; round++) {
        uint64_t place = sv_chance(&chance);
        CHECK_EQUAL(sv_ring_walk(&ring, place, NODES + 5, all), NODES);
        uint64_t seen = 0;
        for (uint32_t i = 0; i < NODES; i++)
            seen |= UINT64_C(1) << all[i];
        CHECK_EQUAL(seen, (UINT64_C(1) << NODES) - 1);
        CHECK_EQUAL(all[0], sv_ring_find(&ring, place));
        uint32_t wanted = 1 + chance_below(NODES);
        CHECK_EQUAL(sv_ring_walk(&ring, place, wanted, found), wanted);
        CHECK(memcmp(found, all, wanted * sizeof(uint32_t)) == 0);
    }
    sv_ring_close(&ring);
}

static void test_ring_shares_add_up_to_the_circle(void)
{
    struct crowd crowd = {.count = 0};
    sv_ring ring;
    uint64_t shares[NODES], sum = 0;
    for (uint32_t i = 0; i < 10; i++)
        join(&crowd, i, 160);
    CHECK_EQUAL(sv_ring_open(&ring, SV_RING_XXH3, crowd.nodes, 10), SV_OK);
    sv_ring_shares(&ring, shares);
    for (uint32_t i = 0; i < 10; i++) {
        CHECK(shares[i] > UINT64_MAX / 20 && shares[i] < UINT64_MAX / 20 * 3);
        sum += shares[i];
    }
    CHECK_EQUAL(sum, 0); /* 2^64 */
    sv_ring_close(&ring);
}

static void test_ketama_points_follow_the_floats_of_libketama(void)
{
    double equal[61], weights[] = {600, 300, 200, 350, 1000, 800, 950, 100};
    static const uint32_t expected[] = {176, 88, 56, 104, 296, 236, 280, 28}; /* as libketama itself says */
    uint32_t points[61];
    for (uint32_t i = 0; i < 61; i++)
        equal[i] = 100;
    sv_ring_ketama_points(weights, 8, 40, points);
    CHECK(memcmp(points, expected, sizeof(expected)) == 0);
    sv_ring_ketama_points(equal, 60, 40, points);
    CHECK_EQUAL(points[59], 160);
    sv_ring_ketama_points(equal, 61, 40, points); /* a sixty-first is a little less than it is */
    CHECK_EQUAL(points[0], 156);
}

static void test_ring_is_untouched_whichever_request_for_memory_fails(void)
{
    struct crowd crowd = {.count = 0};
    char name[300];
    memset(name, 'x', sizeof(name));
    for (uint32_t i = 0; i < 30; i++)
        join(&crowd, i, 8);
    sv_ring_node last = {name, sizeof(name), 8};
    for (sv_ring_kind kind = SV_RING_XXH3; kind <= SV_RING_KETAMA; kind++) {
        sv_ring ring, made, before;
        CHECK_EQUAL(sv_ring_open(&ring, kind, crowd.nodes, 30), SV_OK);
        memset(&made, 0xAB, sizeof(made));
        before = made;
        uint32_t failed = 0, found[NODES], same[NODES] = {0};
        sv_ring_move *moves = NULL;
        for (uint64_t n = 1; n <= 4; n++) {
            int statuses[5];
            memory_fail_nth(n), statuses[0] = sv_ring_open(&made, kind, crowd.nodes, 30);
            if (statuses[0] == SV_OK)
                sv_ring_close(&made), made = before;
            memory_fail_nth(n), statuses[1] = sv_ring_with(&made, &ring, &last);
            if (statuses[1] == SV_OK)
                sv_ring_close(&made), made = before;
            memory_fail_nth(n), statuses[2] = sv_ring_without(&made, &ring, 3);
            if (statuses[2] == SV_OK)
                sv_ring_close(&made), made = before;
            memory_fail_nth(n), statuses[3] = sv_ring_walk(&ring, 5, 20, found) < 0 ? SV_NOMEM : SV_OK;
            memory_fail_nth(n), statuses[4] = sv_ring_moves(&ring, &ring, same, &moves) < 0 ? SV_NOMEM : SV_OK;
            memory_fail_nth(0);
            sv_free(moves), moves = NULL;
            CHECK(memcmp(&made, &before, sizeof(made)) == 0 && sv_ring_check(&ring));
            for (unsigned i = 0; i < 5; i++) {
                CHECK(statuses[i] == SV_OK || statuses[i] == SV_NOMEM);
                failed += statuses[i] == SV_NOMEM;
            }
        }
        CHECK(failed >= 8);
        sv_ring_close(&ring);
    }
}

static void test_ring_refuses_more_points_than_it_can_hold(void)
{
    sv_ring_node nodes[2] = {{"a", 1, SV_RING_MOST}, {"b", 1, 1}};
    sv_ring ring;
    CHECK_EQUAL(sv_ring_open(&ring, SV_RING_XXH3, nodes, 2), SV_FULL);
}

const check_test ring_suite[] = {
    TEST(test_ring_step_by_step_equals_ring_built_at_once),
    TEST(test_ring_does_not_depend_on_the_order_of_adding),
    TEST(test_ring_walks_a_crowded_bucket_to_its_end),
    TEST(test_ring_walk_gives_different_nodes_in_the_order_of_points),
    TEST(test_ring_shares_add_up_to_the_circle),
    TEST(test_ketama_points_follow_the_floats_of_libketama),
    TEST(test_ring_is_untouched_whichever_request_for_memory_fails),
    TEST(test_ring_refuses_more_points_than_it_can_hold),
    SUITE_END,
};
