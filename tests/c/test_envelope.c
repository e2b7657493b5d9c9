/* Envelopes, opened and spoilt; those of the Python twin, and strangers', are in tests/unit/test_envelope.py. */
#include "check.h"
#include "pure/envelope.h"
#include "pure/hash.h"

#include <math.h>

#define BODY 40u
#define LENGTH (SV_ENVELOPE_HEAD + BODY)

static const unsigned char start[] = {0xC5, 0xA7, 1, 1, 0};
static const sv_expected known = {
    .start = start, .name = "shop:1:stea", .name_length = 11, .epoch = 7, .most = BODY, .wall = 100.0};

static void write_number(unsigned char *bytes, uint64_t number, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (unsigned char)(number >> 8 * (size - 1 - i));
}

static void write_seconds(unsigned char *bytes, double seconds)
{
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    write_number(bytes, bits, 8);
}

/* Set the sum right: who knows the format can. */
static void sum(unsigned char *bytes, size_t length)
{
    unsigned char seed[32];
    memcpy(seed, known.name, known.name_length);
    memcpy(seed + known.name_length, bytes, SV_ENVELOPE_START);
    uint64_t seeded = sv_xxh3(seed, known.name_length + SV_ENVELOPE_START, 0);
    write_number(bytes + SV_ENVELOPE_START, sv_xxh3(bytes + 9, length - 9, seeded) & UINT32_MAX, 4);
}

/* An envelope of 2 seconds, written 1 second ago, in memory of its own size so that a look beyond it is seen. */
static unsigned char *made(void)
{
    unsigned char *bytes = malloc(LENGTH);
    CHECK(bytes != NULL);
    memcpy(bytes, start, sizeof start);
    write_seconds(bytes + 9, 99.0);
    write_seconds(bytes + 17, 2.0);
    write_seconds(bytes + 25, 3.0);
    write_seconds(bytes + 33, 0.5);
    write_number(bytes + 41, 7, 8);
    write_number(bytes + 49, BODY, 4);
    write_number(bytes + 53, 0, 2);
    for (unsigned i = 0; i < BODY; i++)
        bytes[SV_ENVELOPE_HEAD + i] = (unsigned char)sv_chance(&chance);
    sum(bytes, LENGTH);
    return bytes;
}

static void test_envelope_is_plain_while_it_is_fresh_and_of_its_epoch(void)
{
    unsigned char *bytes = made();
    sv_expected other = known;
    CHECK(sv_envelope_is_plain(bytes, LENGTH, &known));
    other.wall = 98.0; /* the writer's clock may go before ours */
    CHECK(sv_envelope_is_plain(bytes, LENGTH, &other));
    other.wall = 101.0;
    CHECK(!sv_envelope_is_plain(bytes, LENGTH, &other));
    other = known, other.epoch = 8;
    CHECK(!sv_envelope_is_plain(bytes, LENGTH, &other));
    other = known, other.most = BODY - 1;
    CHECK(!sv_envelope_is_plain(bytes, LENGTH, &other));
    other = known, other.name = "shop:1:ste4";
    CHECK(!sv_envelope_is_plain(bytes, LENGTH, &other));
    other = known, other.name_length = SV_ENVELOPE_NAME + 1;
    CHECK(!sv_envelope_is_plain(bytes, LENGTH, &other));
    free(bytes);
}

static void test_envelope_with_any_bit_or_byte_less_is_not_plain(void)
{
    unsigned char *bytes = made();
    for (uint32_t bit = 0; bit < 8 * LENGTH; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        CHECK(!sv_envelope_is_plain(bytes, LENGTH, &known));
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t length = 0; length < LENGTH; length++) {
        unsigned char *cut = malloc(length + 1);
        CHECK(cut != NULL);
        memcpy(cut, bytes, length);
        CHECK(!sv_envelope_is_plain(cut, length, &known));
        free(cut);
    }
    CHECK(sv_envelope_is_plain(bytes, LENGTH, &known));
    free(bytes);
}

static void test_envelope_whose_head_says_more_is_not_plain_whoever_wrote_it(void)
{
    const double wrong[] = {(double)NAN, (double)INFINITY, (double)-INFINITY, -1.0};
    for (unsigned field = 0; field < 4; field++)
        for (unsigned i = 0; i < 4; i++) {
            unsigned char *bytes = made();
            write_seconds(bytes + 9 + 8 * field, wrong[i]);
            sum(bytes, LENGTH);
            int ever = field > 0 && i == 1; /* kept for ever, or a load that took for ever */
            CHECK_EQUAL(sv_envelope_is_plain(bytes, LENGTH, &known), ever);
            free(bytes);
        }
    const struct {
        unsigned at, size;
        uint64_t number;
    } heads[] = {{41, 8, 8}, {49, 4, BODY - 1}, {49, 4, UINT32_MAX}, {53, 2, 1}};
    for (unsigned i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        unsigned char *bytes = made();
        write_number(bytes + heads[i].at, heads[i].number, heads[i].size);
        sum(bytes, LENGTH);
        CHECK(!sv_envelope_is_plain(bytes, LENGTH, &known));
        free(bytes);
    }
}

const check_test envelope_suite[] = {
    TEST(test_envelope_is_plain_while_it_is_fresh_and_of_its_epoch),
    TEST(test_envelope_with_any_bit_or_byte_less_is_not_plain),
    TEST(test_envelope_whose_head_says_more_is_not_plain_whoever_wrote_it),
    SUITE_END,
};
