/* Timelines with hybrid fan-out: who follows whom, what each author posted, and for each reader a run of what came.
 *
 *     author                                             reader
 *     sent   posts that were copied to each follower --> timeline   the newest of what was sent, down to the floor
 *     kept   posts that readers fetch themselves  <----- page       merges the timeline with `kept` of those followed
 *
 * The authors' runs are the truth: together at most `outbox` posts of an author, the oldest leave. A timeline is a cache of
 * what was sent, at most `length` and a little of it; what it had no room for is below its *floor*. Each post is either
 * sent or kept, for good, so an author may change from one to the other at any post and nothing is lost or seen twice.
 *
 * The one rule: what is newer than the floor, was sent by somebody whom the reader follows and still is there, is in the
 * timeline (or is being delivered). So a page that stays above the floor has no gap; one that has to go below it while
 * fewer than `length` posts are above has the timeline made anew.
 *
 * Authors, readers and posts are numbers; the caller knows their names. Nothing here is safe in threads by itself.
 */
#ifndef SV_FEED_H
#define SV_FEED_H

#include "timeline.h"

typedef struct sv_follow {
    uint32_t author, slot; /* slot: where in the author's followers this reader stands */
} sv_follow;

typedef struct sv_author {
    sv_run sent, kept;
    uint32_t *followers;
    uint32_t count, room; /* of followers */
    uint32_t posts, views; /* lately: both are halved every SV_FEED_LATELY posts */
} sv_author;

typedef struct sv_reader {
    sv_follow *follows; /* by author */
    uint32_t count, room;
    sv_run timeline;
    sv_moment floor; /* order 0: none */
} sv_reader;
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(sv_author) == 56 && sizeof(sv_reader) == 48, "what a person costs");
#endif

typedef struct sv_feed {
    sv_posts posts;
    sv_author *authors;
    uint8_t *pulls; /* of each author: 1 where `kept` holds anything, and 2 where the last post was kept */
    sv_reader *readers;
    uint32_t author_count, author_room, reader_count, reader_room;
    uint32_t length, slack, outbox;
    uint64_t delivered, rebuilt; /* copies made, timelines made anew */
    sv_merge merge;
} sv_feed;

#define SV_FEED_LATELY 32u

/* outbox is at least length: then no post among the newest `length` of a reader was pushed out by its author's own. */
void sv_feed_open(sv_feed *feed, uint32_t length, uint32_t outbox);
void sv_feed_close(sv_feed *feed);

/* There are so many authors and readers from now on. SV_OK, SV_NOMEM or SV_FULL. */
int sv_feed_authors(sv_feed *feed, uint32_t count);
int sv_feed_readers(sv_feed *feed, uint32_t count);

/* 1 from now on, 0 it was so already, or SV_NOMEM. What the author sent is in the timeline at once.
 * O(log follows + length). */
int sv_feed_follow(sv_feed *feed, uint32_t reader, uint32_t author);
/* 1 no longer, 0 it was not so. O(log follows + length). */
int sv_feed_unfollow(sv_feed *feed, uint32_t reader, uint32_t author);
/* Whether the reader follows the author. */
int sv_feed_follows(const sv_feed *feed, uint32_t reader, uint32_t author);

/* Whether the author's last post was one to keep; 0 before the first. */
int sv_feed_was_kept(const sv_feed *feed, uint32_t author);

/* Make sure that the author's next post needs no memory. SV_OK, SV_NOMEM or SV_FULL. */
int sv_feed_reserve(sv_feed *feed, uint32_t author, int is_kept);

/* The number that the next post will have, if none goes before. */
SV_INLINE uint32_t sv_feed_next(const sv_feed *feed)
{
    return feed->posts.first_free != SV_NOBODY ? feed->posts.first_free : feed->posts.used;
}

/* An author posts, in the place of `old`: a living post of the same author's, which goes, or SV_NOBODY.
 * 1: *number is the post; 0: it is older than all of a full outbox and is forgotten; SV_NOMEM, SV_FULL and nothing changed.
 * *victim is the author's post that had to go for lack of room, or SV_NOBODY. What is not kept is to be delivered next. */
int sv_feed_post(sv_feed *feed, uint32_t author, double score, int is_kept, uint32_t old, uint32_t *number,
                 uint32_t *victim);

/* Copy a post to the followers in slots below `slot`, `most` of them; the slot to go on from, 0 when that was all. Other
 * calls may come between: who leaves, follows or is moved to another slot meanwhile misses nothing and gets nothing twice.
 * Called until it says 0, and not after. It cannot fail: a timeline that has no memory raises its floor instead. */
uint32_t sv_feed_deliver(sv_feed *feed, uint32_t author, uint32_t number, uint32_t slot, uint32_t most);

/* Copy a post that is being delivered to one reader at once, where he follows its author. It cannot fail, as above. */
void sv_feed_hand(sv_feed *feed, uint32_t reader, uint32_t number);

/* A living post goes, for every reader at once. O(log outbox + outbox moved). */
void sv_feed_drop(sv_feed *feed, uint32_t number);

/* The newest posts older than `below`, newest first. How many, or SV_NOMEM. O(follows + page x log kept authors). */
int64_t sv_feed_page(sv_feed *feed, uint32_t reader, sv_moment below, uint32_t limit, uint32_t *numbers);

/* Make the timeline anew of what those who are followed sent. SV_OK or SV_NOMEM and nothing changed.
 * O((follows + length) x log follows). */
int sv_feed_rebuild(sv_feed *feed, uint32_t reader);

/* Bytes of memory, as asked of the system. O(authors + readers). */
uint64_t sv_feed_bytes(const sv_feed *feed);

/* Validate the whole structure, and the one rule when nothing is being delivered: 1 sound, 0 not. For tests. */
int sv_feed_check(const sv_feed *feed, int is_delivering);

#endif
