/* Posts and runs of them: what timelines are made of.
 *
 *   posts (24 bytes each)          a run: numbers of posts, oldest first                 merging runs, newest first
 *   +-------+-------+------+---+   +---+---+---+---+- - -+                               heap: the newest of each on top
 *   | score | order | who  | n |   | 7 | 2 | 9 | 4 |     |  a newer post is appended
 *   +-------+-------+------+---+   +---+---+---+---+- - -+
 *
 * A post's place is its score, and of equal scores the order in which they came; no two have the same place, and it never
 * changes. A post lives in one run of its author's; other runs hold copies of its number. `copies` counts those: when a post
 * has gone its number is given to another only after the last copy went, so a run always knows where each of its own stands.
 */
#ifndef SV_TIMELINE_H
#define SV_TIMELINE_H

#include "base.h"

#include <math.h>

#define SV_NOBODY UINT32_MAX /* no author, no post */

typedef struct sv_moment {
    double score;
    uint64_t order; /* 2 x how many came before + what `is_kept` asks; of a free post the next free one */
} sv_moment;

typedef struct sv_post {
    sv_moment when;
    uint32_t author; /* SV_NOBODY: it has gone, or is free */
    uint32_t copies; /* in runs other than its author's, and one while it is being delivered */
} sv_post;
_Static_assert(sizeof(sv_post) == 24, "a post is three words");

typedef struct sv_posts {
    sv_post *all;
    uint32_t used, room, first_free, living;
    uint64_t came;
} sv_posts;

SV_INLINE int sv_is_newer(sv_moment a, sv_moment b)
{
    return a.score > b.score || (a.score == b.score && a.order > b.order);
}

SV_INLINE sv_moment sv_long_ago(void) { return (sv_moment){-(double)INFINITY, 0}; }

/* No posts yet: what an empty one begins with. */
#define SV_NO_POSTS ((sv_posts){.first_free = SV_NOBODY})

/* Make sure that the next post needs no memory. SV_OK, SV_NOMEM or SV_FULL. */
int sv_posts_reserve(sv_posts *posts);
/* Take a reserved post. score: finite. */
uint32_t sv_posts_take(sv_posts *posts, uint32_t author, double score, int is_kept);
/* A copy went; the post itself goes. */
void sv_posts_uncopy(sv_posts *posts, uint32_t number);
void sv_posts_go(sv_posts *posts, uint32_t number);
void sv_posts_close(sv_posts *posts);

/* A run that is all zeros is empty and needs no opening. */
typedef struct sv_run {
    uint32_t *posts;
    uint32_t count, room;
} sv_run;

/* Make room for one more, `most` at the most, who has fewer now. SV_OK or SV_NOMEM. */
int sv_run_reserve(sv_run *run, uint32_t most);
void sv_run_close(sv_run *run);

/* How many of the run are older than this. O(log n), and O(1) for what is newer than all. */
uint32_t sv_run_older(const sv_posts *posts, const sv_run *run, sv_moment when);

/* 1 put in, 0 it is in already. There is room. */
int sv_run_insert(const sv_posts *posts, sv_run *run, uint32_t number);
/* 1 taken out, 0 it was not in. */
int sv_run_remove(const sv_posts *posts, sv_run *run, uint32_t number);
/* Take the oldest out. */
void sv_run_cut(sv_run *run, uint32_t oldest);
/* Sorted, no number twice, within its room. For tests. */
int sv_run_check(const sv_posts *posts, const sv_run *run);

typedef struct sv_source {
    sv_moment when; /* of the newest that is left */
    const uint32_t *posts;
    uint32_t left;
} sv_source;

typedef struct sv_merge {
    sv_source *heap;
    uint32_t count, room;
} sv_merge;

int sv_merge_reserve(sv_merge *merge, uint32_t sources);
void sv_merge_close(sv_merge *merge);

SV_INLINE void sv_merge_begin(sv_merge *merge) { merge->count = 0; }
/* Add the oldest `count` of a run, gone ones left out. There is room. */
void sv_merge_add(sv_merge *merge, const sv_posts *posts, const uint32_t *run, uint32_t count);
/* The newest that is left, and on to the next; SV_NOBODY at the end. O(log sources). */
uint32_t sv_merge_next(sv_merge *merge, const sv_posts *posts);

#endif
