/* Replies whole, cut anywhere, and of any bytes; what Python makes of them is in tests/models/test_meta.py. */
#include "check.h"
#include "pure/meta.h"

/* Look at bytes in memory of their own size, so that a look beyond them is seen. */
static int look(const char *bytes, size_t length, sv_meta *reply)
{
    unsigned char *copy = malloc(length + 1);
    CHECK(copy != NULL);
    unsigned char *begin = copy + 1; /* the end of the block is the end of the bytes */
    memcpy(begin, bytes, length);
    int told = sv_meta_look(begin, length, reply);
    free(copy);
    return told;
}

static void test_meta_finds_the_parts_of_a_reply(void)
{
    static const char value[] = "VA 5 c17 f1\r\nhello\r\nHD\r\n";
    sv_meta reply = {0};
    CHECK_EQUAL(look(value, sizeof value - 1, &reply), SV_META_VALUE);
    CHECK(reply.code == 2 && reply.words == 4 && reply.line == 11 && reply.body == 13 && reply.size == 5);
    CHECK_EQUAL(look("HD\r\n", 4, &reply), SV_META_BARE);
    CHECK(reply.code == 2 && reply.words == 2 && reply.line == 2 && reply.body == 4 && reply.size == 0);
    CHECK_EQUAL(look("VA 0\r\n", 6, &reply), SV_META_VALUE);
    CHECK(reply.words == 4 && reply.line == 4 && reply.size == 0);
    CHECK_EQUAL(look("\r\n", 2, &reply), SV_META_BARE);
    CHECK(reply.code == 0 && reply.words == 0 && reply.line == 0);
    for (size_t length = 0; length < 13; length++)
        CHECK_EQUAL(look(value, length, &reply), SV_META_NOT_YET);
}

static void test_meta_says_what_is_no_reply(void)
{
    static const char *const sizeless[] = {"VA\r\n",    "VA \r\n",           "VA x\r\n",
                                           "VA -1\r\n", "VA 1073741825\r\n", "VA 12345678901\r\n"};
    sv_meta reply = {.line = 77};
    for (size_t at = 0; at < sizeof sizeless / sizeof *sizeless; at++)
        CHECK_EQUAL(look(sizeless[at], strlen(sizeless[at]), &reply), SV_META_SIZELESS);
    char line[SV_META_LINE + 3];
    memset(line, 'x', sizeof line);
    CHECK_EQUAL(look(line, SV_META_LINE + 1, &reply), SV_META_NOT_YET);
    CHECK_EQUAL(look(line, SV_META_LINE + 2, &reply), SV_META_LONG);
    CHECK_EQUAL(reply.line, 77);
    memcpy(line + SV_META_LINE, "\r\n", 2);
    CHECK_EQUAL(look(line, SV_META_LINE + 2, &reply), SV_META_BARE);
    CHECK_EQUAL(reply.line, SV_META_LINE);
}

static void test_meta_takes_any_bytes(void)
{
    for (uint32_t round = 0; round < 50000; round++) {
        static const char letters[] = "VVVAAHDEN 0123456789\r\r\n\n  c";
        char bytes[48];
        sv_meta reply;
        size_t length = chance_below(sizeof bytes);
        for (size_t at = 0; at < length; at++)
            bytes[at] = letters[chance_below(sizeof letters - 1)];
        int told = look(bytes, length, &reply);
        if (told > 0) {
            CHECK(reply.code <= reply.words && reply.words <= reply.line && reply.body == reply.line + 2);
            CHECK(reply.body <= length && reply.size <= SV_META_BODY);
            CHECK(memcmp(bytes + reply.line, "\r\n", 2) == 0);
        }
    }
}

const check_test meta_suite[] = {
    TEST(test_meta_finds_the_parts_of_a_reply),
    TEST(test_meta_says_what_is_no_reply),
    TEST(test_meta_takes_any_bytes),
    SUITE_END,
};
