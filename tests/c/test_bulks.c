/* Replies in chunks of any size, beside whole ones; the twin in Python, and hypothesis, are in tests/models/test_bulks.py. */
#include "check.h"
#include "pure/bulks.h"

static const char replies[] = "*3\r\n$2\r\nab\r\n$-1\r\n$12\r\n0123456789xy\r\n:7\r\n$0\r\n\r\n+OK\r\n"
                              "$11\r\nV0123456789\r\n";
static const char cut[] = "*3\r\n$2\r\nab\r\n$-1\r\n$4\r\n0123\r\n:7\r\n$0\r\n\r\n+OK\r\n$4\r\nV012\r\n";

/* Pass a chunk, from memory of its own size so that a look beyond it is seen; how much comes out. */
static size_t pass(sv_bulks *bulks, const char *chunk, size_t size, unsigned char *out)
{
    unsigned char *copy = malloc(size + 1), *room = malloc(size + SV_BULKS_HELD);
    size_t filled = size;
    CHECK(copy != NULL && room != NULL);
    memcpy(copy, chunk, size);
    int told = sv_bulks_pass(bulks, copy, size);
    CHECK(told >= 0);
    if (told == 0)
        filled = sv_bulks_sift(bulks, copy, size, room);
    CHECK(filled <= size + SV_BULKS_HELD);
    memcpy(out, told ? copy : room, filled);
    free(copy);
    free(room);
    return filled;
}

static void test_bulks_cuts_what_is_too_large_however_it_comes(void)
{
    for (uint32_t round = 0; round < 2000; round++) {
        sv_bulks bulks = {.most = 10, .keep = 4};
        unsigned char out[sizeof replies + SV_BULKS_HELD];
        size_t at = 0, filled = 0, size = sizeof replies - 1;
        while (at < size) {
            size_t step = 1 + chance_below(round % 2 ? 3 : 40);
            if (step > size - at)
                step = size - at;
            filled += pass(&bulks, replies + at, step, out + filled);
            at += step;
        }
        CHECK_EQUAL(filled, sizeof cut - 1);
        CHECK(memcmp(out, cut, filled) == 0);
        CHECK_EQUAL(bulks.cut, 0);
    }
}

static void test_bulks_takes_any_bytes(void)
{
    for (uint32_t round = 0; round < 20000; round++) {
        static const char letters[] = "$$$0123456789-*:+\r\n\n\r\nVx";
        sv_bulks bulks = {.most = 10, .keep = 4};
        unsigned char chunk[64], out[64 + SV_BULKS_HELD];
        for (int times = 0; times < 4; times++) {
            size_t size = chance_below(sizeof chunk);
            for (size_t at = 0; at < size; at++)
                chunk[at] = (unsigned char)letters[chance_below(sizeof letters - 1)];
            int told = sv_bulks_pass(&bulks, chunk, size);
            if (told < 0) {
                CHECK_EQUAL(told, SV_BULKS_WRONG);
                break;
            }
            if (told == 0)
                CHECK(sv_bulks_sift(&bulks, chunk, size, out) <= size + SV_BULKS_HELD);
        }
    }
}

const check_test bulks_suite[] = {
    TEST(test_bulks_cuts_what_is_too_large_however_it_comes),
    TEST(test_bulks_takes_any_bytes),
    SUITE_END,
};
