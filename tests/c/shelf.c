#include "shelf.h"

int shelf_open(struct shelf *shelf, uint64_t seed)
{
    memset(shelf, 0, sizeof(*shelf));
    if (sv_slab_open(&shelf->slab) != SV_OK)
        return SV_NOMEM;
    sv_index_open(&shelf->index, seed);
    shelf->policy.rule = &sv_lru_rule;
    sv_lru_rule.open(&shelf->policy, &shelf->slab, 1000, seed);
    return SV_OK;
}

void shelf_close(struct shelf *shelf)
{
    sv_lru_rule.close(&shelf->policy);
    sv_index_close(&shelf->index);
    sv_slab_close(&shelf->slab);
    free(shelf->twin);
}

static void twin_reach(struct shelf *shelf, uint32_t boxes)
{
    if (boxes <= shelf->room)
        return;
    shelf_twin *twin = realloc(shelf->twin, boxes * sizeof(shelf_twin));
    if (twin == NULL)
        check_failed(__FILE__, __LINE__, "there is memory for the twin");
    for (uint32_t handle = shelf->room; handle < boxes; handle++)
        twin[handle] = (shelf_twin){.hash = SV_HASH_NEVER};
    shelf->twin = twin;
    shelf->room = boxes;
}

int shelf_put(struct shelf *shelf, uint64_t hash, sv_handle *put)
{
    int status = sv_slab_reserve(&shelf->slab);
    if (status == SV_OK)
        status = sv_index_reserve(&shelf->index);
    if (status != SV_OK)
        return status;
    sv_handle handle = sv_slab_take(&shelf->slab);
    shelf->slab.boxes[handle] = (sv_box){.hash = hash};
    sv_index_insert(&shelf->index, shelf->slab.boxes, hash, handle);
    sv_lru_rule.enter(&shelf->policy, &shelf->slab, handle, 1);

    twin_reach(shelf, shelf->slab.capacity);
    CHECK(handle >= SV_SENTINELS && shelf->twin[handle].hash == SV_HASH_NEVER);
    shelf->twin[handle] = (shelf_twin){.hash = hash, .touch = ++shelf->clock};
    shelf->live++;
    if (put != NULL)
        *put = handle;
    return SV_OK;
}

static void forget(struct shelf *shelf, sv_handle handle)
{
    CHECK_EQUAL(sv_index_erase(&shelf->index, shelf->twin[handle].hash, handle), 1);
    sv_slab_give(&shelf->slab, handle);
    shelf->twin[handle].hash = SV_HASH_NEVER;
    shelf->live--;
}

void shelf_drop(struct shelf *shelf, sv_handle handle)
{
    sv_lru_rule.leave(&shelf->policy, &shelf->slab, handle);
    forget(shelf, handle);
}

void shelf_touch(struct shelf *shelf, sv_handle handle)
{
    sv_lru_rule.hit(&shelf->policy, &shelf->slab, handle);
    shelf->twin[handle].touch = ++shelf->clock;
}

sv_handle shelf_evict(struct shelf *shelf)
{
    sv_handle victim = sv_lru_rule.victim(&shelf->policy, &shelf->slab, 0), oldest = SV_NONE;
    for (sv_handle handle = SV_SENTINELS; handle < shelf->slab.used; handle++)
        if (shelf->twin[handle].hash != SV_HASH_NEVER &&
            (oldest == SV_NONE || shelf->twin[handle].touch < shelf->twin[oldest].touch))
            oldest = handle;
    CHECK_EQUAL(victim, oldest);
    forget(shelf, victim);
    return victim;
}

void shelf_rehash(struct shelf *shelf, sv_handle handle, uint64_t hash)
{
    uint32_t count = shelf->index.now.count + shelf->index.old.count;
    shelf->slab.boxes[handle].hash = hash;
    sv_index_rehash(&shelf->index, shelf->slab.boxes, shelf->twin[handle].hash, hash, handle);
    CHECK_EQUAL(shelf->index.now.count + shelf->index.old.count, count);
    shelf->twin[handle].hash = hash;
}

void shelf_clear(struct shelf *shelf)
{
    sv_index_clear(&shelf->index);
    sv_slab_reset(&shelf->slab);
    sv_lru_rule.clear(&shelf->policy, &shelf->slab);
    for (uint32_t handle = 0; handle < shelf->room; handle++)
        shelf->twin[handle].hash = SV_HASH_NEVER;
    shelf->live = 0;
}

sv_handle shelf_any(const struct shelf *shelf)
{
    sv_handle handle = SV_SENTINELS + chance_below(shelf->slab.used - SV_SENTINELS);
    while (shelf->twin[handle].hash == SV_HASH_NEVER)
        handle = handle + 1 < shelf->slab.used ? handle + 1 : SV_SENTINELS;
    return handle;
}

/* Marks what was offered already: offered[handle] == round. */
static uint32_t offered[1u << 18], round_number;

void shelf_check_hash(const struct shelf *shelf, uint64_t hash)
{
    sv_cursor cursor;
    uint32_t found = 0, expected = 0;
    const sv_box *boxes = shelf->slab.boxes;
    round_number++;
    for (sv_handle handle = sv_index_first(&shelf->index, boxes, hash, &cursor); handle != SV_NONE;
         handle = sv_index_next(&shelf->index, boxes, hash, &cursor)) {
        CHECK(handle < shelf->slab.used && handle < sizeof(offered) / sizeof(offered[0]));
        CHECK(shelf->twin[handle].hash == hash);
        CHECK(offered[handle] != round_number);
        offered[handle] = round_number;
        found++;
    }
    for (sv_handle handle = SV_SENTINELS; handle < shelf->slab.used; handle++)
        expected += shelf->twin[handle].hash == hash;
    CHECK_EQUAL(found, expected);
    sv_handle guess = sv_index_guess(&shelf->index, boxes, hash);
    CHECK(guess == SV_NONE || offered[guess] == round_number);
    sv_handle likeliest = sv_index_likeliest(&shelf->index, hash);
    CHECK(guess == SV_NONE || likeliest == guess);
    CHECK(likeliest == SV_NONE || shelf->twin[likeliest].hash != SV_HASH_NEVER);
}

void shelf_check(const struct shelf *shelf)
{
    CHECK(sv_slab_check(&shelf->slab));
    CHECK(sv_index_check(&shelf->index, &shelf->slab));
    CHECK_EQUAL(shelf->slab.live, shelf->live);
    for (sv_handle handle = SV_SENTINELS; handle < shelf->slab.used; handle++) {
        uint64_t hash = shelf->twin[handle].hash;
        CHECK_EQUAL(shelf->slab.boxes[handle].hash, hash);
        if (hash == SV_HASH_NEVER)
            continue;
        sv_cursor cursor;
        sv_handle found = sv_index_first(&shelf->index, shelf->slab.boxes, hash, &cursor);
        while (found != handle && found != SV_NONE)
            found = sv_index_next(&shelf->index, shelf->slab.boxes, hash, &cursor);
        CHECK_EQUAL(found, handle);
    }
}

void shelf_check_order(const struct shelf *shelf)
{
    uint64_t younger = UINT64_MAX;
    uint32_t seen = 0;
    for (sv_handle handle = sv_lru_rule.walk(&shelf->policy, &shelf->slab, SV_NONE); handle != SV_NONE;
         handle = sv_lru_rule.walk(&shelf->policy, &shelf->slab, handle)) {
        CHECK(shelf->twin[handle].hash != SV_HASH_NEVER && shelf->twin[handle].touch < younger);
        younger = shelf->twin[handle].touch;
        sv_handle prev = shelf->slab.boxes[handle].prev;
        CHECK_EQUAL(shelf->slab.boxes[prev].next, handle);
        seen++;
    }
    CHECK_EQUAL(seen, shelf->live);
}

uint32_t shelf_probe(const struct shelf *shelf, uint64_t hash)
{
    sv_cursor cursor;
    uint32_t passed = 0;
    const sv_table *table = NULL;
    sv_handle handle = sv_index_first(&shelf->index, shelf->slab.boxes, hash, &cursor);
    for (;;) {
        if (cursor.table != table)
            passed++; /* the home chunk */
        table = cursor.table;
        if (handle == SV_NONE)
            return passed + cursor.passed;
        handle = sv_index_next(&shelf->index, shelf->slab.boxes, hash, &cursor);
    }
}

uint64_t shelf_crafted(uint64_t number)
{
    const uint64_t golden = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t inverse = golden; /* Newton: each step doubles the number of right bits, 3 at first */
    for (int step = 0; step < 5; step++)
        inverse *= 2 - golden * inverse;
    for (uint64_t state = number;;) {
        uint64_t mixed = UINT64_C(0xABCDE) << 44 | sv_chance(&state) >> 20, group = mixed * inverse;
        if (group >> 62 != 0)
            continue;
        uint64_t hash = group << 2;
        if ((uint8_t)((mixed >> 32) + hash) == 77)
            return hash;
    }
}
