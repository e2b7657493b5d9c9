/* Any string of bytes is a program over slab, index and order, walked beside the twin. Seeded strings in `check`; a
 * libFuzzer target where clang is at hand (`make fuzz`), in which the first byte may choose the timer wheel or the ring
 * instead. */
#include "shelf.h"

#define MOST 900u

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

static uint64_t next_hash(struct program *program)
{
    uint32_t kind = next_byte(program), number = next_byte(program) | (kind & 3) << 8;
    switch (kind >> 5) {
    case 0: return number;
    case 1: return number & 3;
    case 2: return (uint64_t)number << 40;
    case 3: return (uint64_t)number << 54;
    case 4: return UINT64_MAX - 1 - number;
    case 5: return number * UINT64_C(0x9E3779B97F4A7C15) >> 1;
    default: return shelf_crafted(number);
    }
}

/* The entry that the next byte names, SV_NONE when there is none. */
static sv_handle next_entry(struct program *program, const struct shelf *shelf)
{
    if (shelf->live == 0)
        return SV_NONE;
    uint32_t entries = shelf->slab.used - SV_SENTINELS;
    sv_handle handle = SV_SENTINELS + next_byte(program) * entries / 256;
    while (shelf->twin[handle].hash == SV_HASH_NEVER)
        handle = handle + 1 < shelf->slab.used ? handle + 1 : SV_SENTINELS;
    return handle;
}

static void put(struct program *program, struct shelf *shelf)
{
    uint64_t hash = next_hash(program);
    uint32_t before = shelf->live;
    if (shelf->live >= MOST)
        shelf_evict(shelf);
    else if (shelf_put(shelf, hash, NULL) != SV_OK) {
        CHECK(memory_fail_at != 0 && shelf->live == before);
        shelf_check(shelf);
    }
    memory_fail_nth(0);
}

static void run(const uint8_t *bytes, size_t size)
{
    struct program program = {bytes, size};
    struct shelf shelf;
    memory_fail_nth(0);
    CHECK_EQUAL(shelf_open(&shelf, size), SV_OK);
    for (uint32_t step = 1; program.left > 0; step++) {
        uint32_t what = next_byte(&program);
        sv_handle entry = what >= 160 && what < 240 ? next_entry(&program, &shelf) : SV_NONE;
        if (what < 160)
            for (uint32_t times = what < 140 ? 1 : what - 138; times > 0; times--)
                put(&program, &shelf);
        else if (entry != SV_NONE && what < 210)
            shelf_drop(&shelf, entry);
        else if (entry != SV_NONE)
            shelf_touch(&shelf, entry);
        else if (what < 250)
            shelf_check_hash(&shelf, next_hash(&program));
        else if (what < 254)
            memory_fail_nth(1);
        else if (next_byte(&program) < 40)
            shelf_clear(&shelf);
        else
            for (uint32_t times = next_byte(&program); times > 0 && shelf.live > 0; times--)
                shelf_evict(&shelf);
        if (step % 128 == 0)
            shelf_check(&shelf);
    }
    memory_fail_nth(0);
    shelf_check(&shelf);
    shelf_check_order(&shelf);
    shelf_close(&shelf);
}

#ifdef SV_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 0 && bytes[0] % 4 == 3)
        ring_program(bytes + 1, size - 1);
    else if (size > 0 && bytes[0] % 2 == 1)
        wheel_program(bytes + 1, size - 1);
    else
        run(bytes, size);
    return 0;
}
#else
static void test_structures_agree_with_the_twin_over_random_programs(void)
{
    static uint8_t bytes[6000];
    for (uint32_t round = 0; round < 120; round++) {
        size_t size = 1 + chance_below(round % 4 == 0 ? sizeof(bytes) : 600);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(sv_chance(&chance) >> 56);
        run(bytes, size);
    }
}

const check_test fuzz_suite[] = {
    TEST(test_structures_agree_with_the_twin_over_random_programs),
    SUITE_END,
};
#endif
