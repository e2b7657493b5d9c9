/* Feeds beside a twin that sorts everything anew: posts, deletes, follows, unfollows, deliveries that are cut into pieces,
 * and memory that fails at any request. */
#include "check.h"
#include "pure/feed.h"

#define READERS 6u
#define AUTHORS 5u
#define MOST 400u

struct twin_post {
    sv_moment when;
    uint32_t author, number;
    int there;
};

struct twin {
    sv_feed feed;
    struct twin_post posts[MOST];
    uint32_t count;
    uint8_t follows[READERS][AUTHORS];
};

static void begin(struct twin *twin, uint32_t length, uint32_t outbox)
{
    memset(twin, 0, sizeof(*twin));
    sv_feed_open(&twin->feed, length, outbox);
    CHECK_EQUAL(sv_feed_authors(&twin->feed, AUTHORS), SV_OK);
    CHECK_EQUAL(sv_feed_readers(&twin->feed, READERS), SV_OK);
}

static struct twin_post *find(struct twin *twin, uint32_t number)
{
    for (uint32_t at = 0; at < twin->count; at++)
        if (twin->posts[at].there && twin->posts[at].number == number)
            return &twin->posts[at];
    check_failed(__FILE__, __LINE__, "the twin knows the post");
}

/* The next place below `when` in what a reader follows; NULL: none. */
static const struct twin_post *next_below(const struct twin *twin, uint32_t reader, sv_moment when)
{
    const struct twin_post *best = NULL;
    for (uint32_t at = 0; at < twin->count; at++) {
        const struct twin_post *post = &twin->posts[at];
        if (post->there && twin->follows[reader][post->author] && sv_is_newer(when, post->when) &&
            (best == NULL || sv_is_newer(post->when, best->when)))
            best = post;
    }
    return best;
}

static const sv_moment TOP = {(double)INFINITY, 0};

static void check_page(struct twin *twin, uint32_t reader, uint32_t limit)
{
    uint32_t numbers[MOST], at = 0;
    int64_t count = sv_feed_page(&twin->feed, reader, TOP, limit, numbers);
    if (count < 0) {
        CHECK_EQUAL(count, SV_NOMEM);
        CHECK(memory_fail_at != 0);
        return;
    }
    sv_moment when = TOP;
    const struct twin_post *post;
    for (; at < count; at++, when = post->when) {
        CHECK((post = next_below(twin, reader, when)) != NULL);
        CHECK_EQUAL(numbers[at], post->number);
    }
    CHECK(at == limit || at >= twin->feed.length || next_below(twin, reader, when) == NULL);
}

static void post_one(struct twin *twin)
{
    uint32_t author = chance_below(AUTHORS), number = 0, victim = 0;
    if (twin->count == MOST)
        return;
    struct twin_post *moved = twin->count > 0 && chance_below(4) == 0 ? &twin->posts[chance_below(twin->count)] : NULL;
    if (moved != NULL && moved->there)
        author = moved->author;
    else
        moved = NULL;
    uint32_t next = sv_feed_next(&twin->feed), old = moved != NULL ? moved->number : SV_NOBODY;
    int status = sv_feed_post(&twin->feed, author, (double)chance_below(6), chance_below(3) == 0, old, &number, &victim);
    if (status < 0) {
        CHECK(status == SV_NOMEM && memory_fail_at != 0);
        return;
    }
    CHECK(status == 0 ? moved == NULL : number == next);
    CHECK(moved == NULL || victim == SV_NOBODY);
    if (moved != NULL)
        moved->there = 0;
    if (victim != SV_NOBODY)
        find(twin, victim)->there = 0;
    if (status == 0)
        return;
    const sv_post *made = &twin->feed.posts.all[number];
    twin->posts[twin->count++] = (struct twin_post){made->when, author, number, 1};
    if (made->when.order & 1)
        return;
    uint32_t slot = twin->feed.authors[author].count;
    do { /* others come between */
        slot = sv_feed_deliver(&twin->feed, author, number, slot, 1 + chance_below(2));
        uint32_t reader = chance_below(READERS), other = chance_below(AUTHORS);
        if (slot > 0 && chance_below(3) == 0)
            sv_feed_hand(&twin->feed, reader, number);
        if (slot > 0 && chance_below(2) == 0)
            twin->follows[reader][other] &= (uint8_t)!sv_feed_unfollow(&twin->feed, reader, other);
        else if (slot > 0 && sv_feed_follow(&twin->feed, reader, other) >= 0)
            twin->follows[reader][other] = 1;
        CHECK(sv_feed_check(&twin->feed, 1));
    } while (slot > 0);
}

static void step(struct twin *twin)
{
    uint32_t reader = chance_below(READERS), author = chance_below(AUTHORS), what = chance_below(10);
    if (what < 4)
        post_one(twin);
    else if (what < 6) {
        int status = sv_feed_follow(&twin->feed, reader, author);
        CHECK(status == SV_NOMEM ? memory_fail_at != 0 : status == !twin->follows[reader][author]);
        twin->follows[reader][author] |= status >= 0;
    } else if (what == 6) {
        CHECK_EQUAL(sv_feed_unfollow(&twin->feed, reader, author), twin->follows[reader][author]);
        twin->follows[reader][author] = 0;
    } else if (what == 7 && twin->count > 0) {
        struct twin_post *post = &twin->posts[chance_below(twin->count)];
        if (post->there)
            sv_feed_drop(&twin->feed, post->number);
        post->there = 0;
    } else if (what == 8) {
        int status = sv_feed_rebuild(&twin->feed, reader);
        CHECK(status == SV_OK || memory_fail_at != 0);
    } else
        check_page(twin, reader, 1 + chance_below(12));
}

static void walk(uint64_t fail_every)
{
    struct twin twin;
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t length = 1 + chance_below(8);
        begin(&twin, length, length + chance_below(8));
        for (uint32_t at = 0; at < 600; at++) {
            if (fail_every > 0)
                memory_fail_nth(1 + chance_below((uint32_t)fail_every));
            step(&twin);
            memory_fail_nth(0);
            if (at % 16 == 0)
                CHECK(sv_feed_check(&twin.feed, 0));
        }
        for (uint32_t reader = 0; reader < READERS; reader++)
            check_page(&twin, reader, MOST);
        CHECK(sv_feed_check(&twin.feed, 0) && sv_feed_bytes(&twin.feed) > 0);
        sv_feed_close(&twin.feed);
    }
}

static void test_feed_says_what_its_twin_says(void) { walk(0); }

static void test_feed_loses_nothing_when_memory_fails(void) { walk(3); }

static void test_feed_gives_numbers_again_only_when_no_copy_is_left(void)
{
    sv_feed feed;
    uint32_t first, second, third, victim;
    sv_feed_open(&feed, 4, 4);
    CHECK_EQUAL(sv_feed_authors(&feed, 1), SV_OK);
    CHECK_EQUAL(sv_feed_readers(&feed, 1), SV_OK);
    CHECK_EQUAL(sv_feed_follow(&feed, 0, 0), 1);
    CHECK_EQUAL(sv_feed_post(&feed, 0, 1.0, 0, SV_NOBODY, &first, &victim), 1);
    CHECK_EQUAL(sv_feed_deliver(&feed, 0, first, 1, 100), 0);
    sv_feed_drop(&feed, first);
    CHECK_EQUAL(sv_feed_post(&feed, 0, 1.0, 1, SV_NOBODY, &second, &victim), 1);
    CHECK(second != first);
    CHECK_EQUAL(sv_feed_rebuild(&feed, 0), SV_OK); /* the copy goes */
    sv_feed_drop(&feed, second);
    CHECK_EQUAL(sv_feed_post(&feed, 0, 1.0, 1, SV_NOBODY, &third, &victim), 1);
    CHECK(third == first || third == second);
    CHECK(sv_feed_check(&feed, 0));
    sv_feed_close(&feed);
}

static void test_feed_post_of_many_followers_takes_no_step_for_each(void)
{
    enum { CROWD = 200000 };
    sv_feed feed;
    uint32_t number, victim;
    sv_feed_open(&feed, 10, 10);
    CHECK_EQUAL(sv_feed_authors(&feed, 1), SV_OK);
    CHECK_EQUAL(sv_feed_readers(&feed, CROWD), SV_OK);
    for (uint32_t reader = 0; reader < CROWD; reader++)
        CHECK_EQUAL(sv_feed_follow(&feed, reader, 0), 1);
    for (uint32_t reader = 0; reader < CROWD; reader += 3) /* leaving takes no step for each either */
        CHECK_EQUAL(sv_feed_unfollow(&feed, reader, 0), 1);
    CHECK_EQUAL(sv_feed_post(&feed, 0, 1.0, 1, SV_NOBODY, &number, &victim), 1);
    CHECK_EQUAL(feed.delivered, 0);
    CHECK_EQUAL(sv_feed_page(&feed, 1, TOP, 1, &victim), 1);
    CHECK_EQUAL(victim, number);
    CHECK_EQUAL(sv_feed_page(&feed, 3, TOP, 1, &victim), 0);
    sv_feed_close(&feed);
}

const check_test feed_suite[] = {
    TEST(test_feed_says_what_its_twin_says),
    TEST(test_feed_loses_nothing_when_memory_fails),
    TEST(test_feed_gives_numbers_again_only_when_no_copy_is_left),
    TEST(test_feed_post_of_many_followers_takes_no_step_for_each),
    SUITE_END,
};
