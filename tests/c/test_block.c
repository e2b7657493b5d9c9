/* Blocks beside plain memory: what they held stays through every change of size, from one kind of memory to the other. */
#include "check.h"
#include "pure/block.h"

static const size_t SIZES[] = {1, 100, 4000, SV_BLOCK_LARGE - 65, SV_BLOCK_LARGE - 64, SV_BLOCK_LARGE, 3 * SV_BLOCK_LARGE + 5,
                               40 * SV_BLOCK_LARGE};
#define SIZES_COUNT (sizeof(SIZES) / sizeof(SIZES[0]))

static void write_pattern(unsigned char *block, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += 509)
        block[at] = (unsigned char)(at * 31 + at / 509);
}

static int has_pattern(const unsigned char *block, size_t size)
{
    for (size_t at = 0; at < size; at += 509)
        if (block[at] != (unsigned char)(at * 31 + at / 509))
            return 0;
    return 1;
}

static void block_keeps_what_it_held_when_it_is_resized(void)
{
    for (size_t a = 0; a < SIZES_COUNT; a++)
        for (size_t b = 0; b < SIZES_COUNT; b++) {
            unsigned char *block = sv_block_resize(NULL, SIZES[a]);
            CHECK(block != NULL);
            write_pattern(block, 0, SIZES[a]);
            block = sv_block_resize(block, SIZES[b]);
            CHECK(block != NULL && has_pattern(block, SIZES[a] < SIZES[b] ? SIZES[a] : SIZES[b]));
            sv_block_free(block);
        }
}

static void block_grows_step_by_step(void)
{
    size_t size = 1000;
    unsigned char *block = sv_block_resize(NULL, size);
    write_pattern(block, 0, size);
    while (size < 10 * SV_BLOCK_LARGE) {
        size_t more = size + size / 8;
        block = sv_block_resize(block, more);
        CHECK(block != NULL && has_pattern(block, size));
        write_pattern(block, 0, more);
        size = more;
    }
    sv_block_free(block);
}

static void block_of_zeros_is_zero(void)
{
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        unsigned char *block = sv_block_zeroed(SIZES[i]);
        CHECK(block != NULL);
        for (size_t at = 0; at < SIZES[i]; at += 127)
            CHECK(block[at] == 0);
        CHECK(block[SIZES[i] - 1] == 0);
        sv_block_free(block);
    }
    sv_block_free(NULL);
}

static void block_stays_as_it_was_without_memory(void)
{
    for (size_t a = 0; a < SIZES_COUNT; a++)
        for (size_t b = 0; b < SIZES_COUNT; b++) {
            unsigned char *block = sv_block_resize(NULL, SIZES[a]);
            write_pattern(block, 0, SIZES[a]);
            memory_fail_at = memory_requests + 1;
            CHECK(sv_block_resize(block, SIZES[b]) == NULL && has_pattern(block, SIZES[a]));
            memory_fail_at = memory_requests + 1;
            CHECK(sv_block_zeroed(SIZES[b]) == NULL);
            memory_fail_at = 0;
            sv_block_free(block);
        }
    CHECK(sv_block_resize(NULL, SIZE_MAX - 10) == NULL && sv_block_zeroed(SIZE_MAX - 10) == NULL);
}

const check_test block_suite[] = {
    TEST(block_keeps_what_it_held_when_it_is_resized),
    TEST(block_grows_step_by_step),
    TEST(block_of_zeros_is_zero),
    TEST(block_stays_as_it_was_without_memory),
    SUITE_END,
};
