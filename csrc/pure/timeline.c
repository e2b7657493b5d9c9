#include "timeline.h"

#include "block.h"

#define FIRST_ROOM 4u
#define FIRST_POSTS 64u

/* ------------------------------------------------------------------ posts */

int sv_posts_reserve(sv_posts *posts)
{
    if (SV_LIKELY(posts->used < posts->room || posts->first_free != SV_NOBODY))
        return SV_OK;
    uint64_t room = posts->room < FIRST_POSTS ? FIRST_POSTS : (uint64_t)posts->room + posts->room / 4;
    if (room > SV_NOBODY)
        room = SV_NOBODY;
    if (room <= posts->room || room > SIZE_MAX / sizeof(sv_post))
        return SV_FULL;
    sv_post *all = sv_block_resize(posts->all, (size_t)room * sizeof(sv_post));
    if (all == NULL)
        return SV_NOMEM;
    posts->all = all;
    posts->room = (uint32_t)room;
    return SV_OK;
}

uint32_t sv_posts_take(sv_posts *posts, uint32_t author, double score, int is_kept)
{
    uint32_t number = posts->first_free;
    if (number != SV_NOBODY)
        posts->first_free = (uint32_t)posts->all[number].when.order;
    else
        number = posts->used++;
    SV_ASSERT(number < posts->room);
    posts->living++;
    posts->all[number] = (sv_post){{score, ++posts->came * 2 + (uint64_t)(is_kept != 0)}, author, 0};
    return number;
}

static void give(sv_posts *posts, uint32_t number)
{
    posts->all[number].when.order = posts->first_free;
    posts->first_free = number;
    posts->living--;
}

void sv_posts_uncopy(sv_posts *posts, uint32_t number)
{
    sv_post *post = &posts->all[number];
    SV_ASSERT(post->copies > 0);
    if (--post->copies == 0 && post->author == SV_NOBODY)
        give(posts, number);
}

void sv_posts_go(sv_posts *posts, uint32_t number)
{
    sv_post *post = &posts->all[number];
    SV_ASSERT(post->author != SV_NOBODY);
    post->author = SV_NOBODY;
    if (post->copies == 0)
        give(posts, number);
}

void sv_posts_close(sv_posts *posts)
{
    sv_block_free(posts->all);
    *posts = SV_NO_POSTS;
}

/* ------------------------------------------------------------------ runs */

int sv_run_reserve(sv_run *run, uint32_t most)
{
    if (SV_LIKELY(run->count < run->room))
        return SV_OK;
    uint64_t room = run->room < FIRST_ROOM ? FIRST_ROOM : (uint64_t)run->room + run->room / 2;
    if (room > most)
        room = most;
    uint32_t *posts = sv_realloc(run->posts, (size_t)room * sizeof(*posts));
    if (posts == NULL)
        return SV_NOMEM;
    run->posts = posts;
    run->room = (uint32_t)room;
    return SV_OK;
}

void sv_run_close(sv_run *run)
{
    sv_free(run->posts);
    *run = (sv_run){0};
}

uint32_t sv_run_older(const sv_posts *posts, const sv_run *run, sv_moment when)
{
    uint32_t low = 0, high = run->count;
    if (high > 0 && sv_is_newer(when, posts->all[run->posts[high - 1]].when))
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sv_is_newer(when, posts->all[run->posts[middle]].when))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int sv_run_insert(const sv_posts *posts, sv_run *run, uint32_t number)
{
    uint32_t at = sv_run_older(posts, run, posts->all[number].when);
    if (at < run->count && run->posts[at] == number)
        return 0;
    SV_ASSERT(run->count < run->room);
    memmove(run->posts + at + 1, run->posts + at, (run->count - at) * sizeof(*run->posts));
    run->posts[at] = number;
    run->count++;
    return 1;
}

int sv_run_remove(const sv_posts *posts, sv_run *run, uint32_t number)
{
    uint32_t at = sv_run_older(posts, run, posts->all[number].when);
    if (at >= run->count || run->posts[at] != number)
        return 0;
    run->count--;
    memmove(run->posts + at, run->posts + at + 1, (run->count - at) * sizeof(*run->posts));
    return 1;
}

void sv_run_cut(sv_run *run, uint32_t oldest)
{
    run->count -= oldest;
    memmove(run->posts, run->posts + oldest, run->count * sizeof(*run->posts));
}

int sv_run_check(const sv_posts *posts, const sv_run *run)
{
    if (run->count > run->room)
        return 0;
    for (uint32_t at = 0; at < run->count; at++)
        if (run->posts[at] >= posts->used ||
            (at > 0 && !sv_is_newer(posts->all[run->posts[at]].when, posts->all[run->posts[at - 1]].when)))
            return 0;
    return 1;
}

/* ------------------------------------------------------------------ merging */

int sv_merge_reserve(sv_merge *merge, uint32_t sources)
{
    if (SV_LIKELY(sources <= merge->room))
        return SV_OK;
    uint64_t room = (uint64_t)sources + sources / 4 + FIRST_ROOM;
    sv_source *heap = sv_realloc(merge->heap, (size_t)room * sizeof(*heap));
    if (heap == NULL)
        return SV_NOMEM;
    merge->heap = heap;
    merge->room = (uint32_t)(room < UINT32_MAX ? room : UINT32_MAX);
    return SV_OK;
}

void sv_merge_close(sv_merge *merge)
{
    sv_free(merge->heap);
    *merge = (sv_merge){0};
}

/* Step over what has gone; whether anything is left. */
SV_INLINE int settle(sv_source *source, const sv_posts *posts)
{
    for (; source->left > 0; source->left--) {
        const sv_post *post = &posts->all[source->posts[source->left - 1]];
        if (SV_LIKELY(post->author != SV_NOBODY)) {
            source->when = post->when;
            return 1;
        }
    }
    return 0;
}

/* Let what stands at `at` sink to its place. */
static void sink(sv_merge *merge, uint32_t at)
{
    sv_source moved = merge->heap[at];
    for (uint32_t child; (child = 2 * at + 1) < merge->count; at = child) {
        child += child + 1 < merge->count && sv_is_newer(merge->heap[child + 1].when, merge->heap[child].when);
        if (!sv_is_newer(merge->heap[child].when, moved.when))
            break;
        merge->heap[at] = merge->heap[child];
    }
    merge->heap[at] = moved;
}

void sv_merge_add(sv_merge *merge, const sv_posts *posts, const uint32_t *run, uint32_t count)
{
    sv_source source = {.posts = run, .left = count};
    SV_ASSERT(merge->count < merge->room);
    if (!settle(&source, posts))
        return;
    uint32_t at = merge->count++;
    for (; at > 0 && sv_is_newer(source.when, merge->heap[(at - 1) / 2].when); at = (at - 1) / 2)
        merge->heap[at] = merge->heap[(at - 1) / 2];
    merge->heap[at] = source;
}

uint32_t sv_merge_next(sv_merge *merge, const sv_posts *posts)
{
    if (merge->count == 0)
        return SV_NOBODY;
    sv_source *top = merge->heap;
    uint32_t number = top->posts[--top->left];
    if (!settle(top, posts)) {
        *top = merge->heap[--merge->count];
        if (merge->count == 0)
            return number;
    }
    sink(merge, 0);
    return number;
}
