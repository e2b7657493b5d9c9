/* Hashes beside published vectors; every length beside the `xxhash` package is in tests/unit/test_ring_hashes.py. */
#include "check.h"
#include "pure/hash.h"
#include "pure/md5.h"
#include "pure/place.h"

/* The bytes that the sanity tests of xxHash hash. */
static void fill(uint8_t *bytes, size_t length)
{
    uint64_t state = UINT64_C(2654435761);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(state >> 56);
        state *= UINT64_C(11400714785074694797);
    }
}

static void test_xxh64_agrees_with_published_vectors(void)
{
    uint8_t bytes[222];
    fill(bytes, sizeof(bytes));
    CHECK_EQUAL(sv_xxh64("", 0, 0), UINT64_C(0xEF46DB3751D8E999));
    CHECK_EQUAL(sv_xxh64(bytes, 1, 0), UINT64_C(0xE934A84ADB052768));
    CHECK_EQUAL(sv_xxh64(bytes, 4, 0), UINT64_C(0x9136A0DCA57457EE));
    CHECK_EQUAL(sv_xxh64(bytes, 14, 0), UINT64_C(0x8282DCC4994E35C8));
    CHECK_EQUAL(sv_xxh64(bytes, 222, 0), UINT64_C(0xB641AE8CB691C174));
    CHECK_EQUAL(sv_xxh64(bytes, 222, 2654435761u), UINT64_C(0x20CB8AB7AE10C14A));
}

static void test_xxh3_agrees_with_published_vectors(void)
{
    uint8_t bytes[2243];
    fill(bytes, sizeof(bytes));
    CHECK_EQUAL(sv_xxh3("", 0, 0), UINT64_C(0x2D06800538D394C2));
    CHECK_EQUAL(sv_xxh3(bytes, 1, 0), UINT64_C(0xC44BDFF4074EECDB));
    CHECK_EQUAL(sv_xxh3(bytes, 6, 0), UINT64_C(0x27B56A84CD2D7325));
    CHECK_EQUAL(sv_xxh3(bytes, 12, 0), UINT64_C(0xA713DAF0DFBB77E7));
    CHECK_EQUAL(sv_xxh3(bytes, 24, 0), UINT64_C(0xA3FE70BF9D3510EB));
    CHECK_EQUAL(sv_xxh3(bytes, 48, 0), UINT64_C(0x397DA259ECBA1F11));
    CHECK_EQUAL(sv_xxh3(bytes, 80, 0), UINT64_C(0xBCDEFBBB2C47C90A));
    CHECK_EQUAL(sv_xxh3(bytes, 195, 0), UINT64_C(0xCD94217EE362EC3A));
    CHECK_EQUAL(sv_xxh3(bytes, 403, 0), UINT64_C(0xCDEB804D65C6DEA4));
    CHECK_EQUAL(sv_xxh3(bytes, 2240, 0), UINT64_C(0x6E73A90539CF2948));
}

/* Blocks of memory that end where the input ends: a sanitizer sees a byte too many. */
static void test_hashes_read_their_input_alone_wherever_it_lies(void)
{
    for (size_t length = 0; length < 700; length++) {
        uint8_t *exact = malloc(length + 1), *shifted = malloc(length + 3), digest[2][16];
        CHECK(exact != NULL && shifted != NULL);
        fill(exact, length);
        memcpy(shifted + 3, exact, length);
        uint8_t *tight = malloc(length == 0 ? 1 : length);
        CHECK(tight != NULL);
        memcpy(tight, exact, length);
        CHECK_EQUAL(sv_xxh3(shifted + 3, length, 7), sv_xxh3(tight, length, 7));
        CHECK_EQUAL(sv_xxh64(shifted + 3, length, 7), sv_xxh64(tight, length, 7));
        sv_md5(shifted + 3, length, digest[0]);
        sv_md5(tight, length, digest[1]);
        CHECK(memcmp(digest[0], digest[1], 16) == 0);
        CHECK_EQUAL(sv_md5_first(shifted + 3, length), sv_read32(digest[0]));
        CHECK_EQUAL(sv_md5_first(tight, length), sv_read32(digest[0]));
        free(exact), free(shifted), free(tight);
    }
}

static void check_md5(const char *text, const char *expected)
{
    uint8_t digest[16];
    char shown[33];
    sv_md5(text, strlen(text), digest);
    CHECK_EQUAL(sv_md5_first(text, strlen(text)), sv_read32(digest));
    for (unsigned i = 0; i < 16; i++)
        snprintf(shown + 2 * i, 3, "%02x", digest[i]);
    CHECK(strcmp(shown, expected) == 0);
}

static void test_md5_agrees_with_the_vectors_of_the_rfc(void)
{
    check_md5("", "d41d8cd98f00b204e9800998ecf8427e");
    check_md5("a", "0cc175b9c0f1b6a831c399e269772661");
    check_md5("abc", "900150983cd24fb0d6963f7d28e17f72");
    check_md5("message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    check_md5("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
    check_md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f");
    check_md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890",
              "57edf4a22be3c955ac49da2e2107b67a");
}

static void test_numbers_have_the_places_of_their_bytes_or_digits(void)
{
    static const uint64_t numbers[] = {0, 1, 9, 10, 99, 4294967296, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char digits[32];
        uint8_t bytes[8];
        int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)numbers[i]);
        sv_write64(bytes, numbers[i]);
        CHECK_EQUAL(sv_place_unsigned(SV_RING_KETAMA, numbers[i]), sv_place(SV_RING_KETAMA, digits, (size_t)length));
        CHECK_EQUAL(sv_place_unsigned(SV_RING_XXH3, numbers[i]), sv_xxh3(bytes, 8, 0));
    }
    CHECK_EQUAL(sv_place_signed(SV_RING_KETAMA, INT64_MIN), sv_place(SV_RING_KETAMA, "-9223372036854775808", 20));
    CHECK_EQUAL(sv_place_signed(SV_RING_KETAMA, -5), sv_place(SV_RING_KETAMA, "-5", 2));
    CHECK_EQUAL(sv_place_signed(SV_RING_XXH3, -1), sv_place_unsigned(SV_RING_XXH3, UINT64_MAX));
}

static void test_text_has_the_places_of_its_utf8(void)
{
    static const uint32_t text[4][4] = {{'a', 0x7F, 0, 0}, {0x80, 0x7FF, 0x800, 0}, {0xFFFF, 0x10000, 0x10FFFF, 'z'}};
    static const char *const utf8[4] = {"a\x7F", "\xC2\x80\xDF\xBF\xE0\xA0\x80",
                                        "\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBFz", ""};
    sv_column column = {SV_COLUMN_TEXT, text, sizeof(text[0]), 4};
    uint64_t places[4];
    uint8_t *room = malloc(sizeof(text[0]));
    CHECK(room != NULL);
    CHECK_EQUAL(sv_places(SV_RING_XXH3, &column, 0, 4, room, places), 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQUAL(places[i], sv_xxh3(utf8[i], strlen(utf8[i]), 0));
    static const uint32_t wrong[3] = {0xD800, 0xDFFF, 0x110000};
    for (unsigned i = 0; i < 3; i++) {
        uint32_t bad[2][1] = {{'a'}, {wrong[i]}};
        column = (sv_column){SV_COLUMN_TEXT, bad, sizeof(bad[0]), 2};
        CHECK_EQUAL(sv_places(SV_RING_XXH3, &column, 0, 2, room, places), 1);
    }
    free(room);
}

const check_test hash_suite[] = {
    TEST(test_xxh64_agrees_with_published_vectors),
    TEST(test_xxh3_agrees_with_published_vectors),
    TEST(test_hashes_read_their_input_alone_wherever_it_lies),
    TEST(test_md5_agrees_with_the_vectors_of_the_rfc),
    TEST(test_numbers_have_the_places_of_their_bytes_or_digits),
    TEST(test_text_has_the_places_of_its_utf8),
    SUITE_END,
};
