#include "feed.h"

#include "block.h"

#define LAST_KEPT 2 /* a bit of `pulls` */
#define AHEAD 8u /* followers that are fetched ahead of the one who is served */

void sv_feed_open(sv_feed *feed, uint32_t length, uint32_t outbox)
{
    *feed = (sv_feed){.posts = SV_NO_POSTS, .length = length, .slack = length / 8 + 1, .outbox = outbox};
}

void sv_feed_close(sv_feed *feed)
{
    for (uint32_t author = 0; author < feed->author_count; author++) {
        sv_run_close(&feed->authors[author].sent);
        sv_run_close(&feed->authors[author].kept);
        sv_block_free(feed->authors[author].followers);
    }
    for (uint32_t reader = 0; reader < feed->reader_count; reader++) {
        sv_free(feed->readers[reader].follows);
        sv_run_close(&feed->readers[reader].timeline);
    }
    sv_block_free(feed->authors);
    sv_block_free(feed->pulls);
    sv_block_free(feed->readers);
    sv_posts_close(&feed->posts);
    sv_merge_close(&feed->merge);
    sv_feed_open(feed, feed->length, feed->outbox);
}

/* ------------------------------------------------------------------ people */

static uint64_t room_for(uint32_t count, uint32_t room)
{
    uint64_t grown = (uint64_t)room + room / 4 + 16;
    return grown > count ? grown : count;
}

int sv_feed_authors(sv_feed *feed, uint32_t count)
{
    if (count > feed->author_room) {
        uint64_t room = room_for(count, feed->author_room);
        if (room >= SV_NOBODY || room > SIZE_MAX / sizeof(sv_author))
            return SV_FULL;
        sv_author *authors = sv_block_resize(feed->authors, (size_t)room * sizeof(sv_author));
        if (authors == NULL)
            return SV_NOMEM;
        feed->authors = authors;
        uint8_t *pulls = sv_block_resize(feed->pulls, (size_t)room);
        if (pulls == NULL)
            return SV_NOMEM;
        feed->pulls = pulls;
        feed->author_room = (uint32_t)room;
    }
    for (; feed->author_count < count; feed->author_count++) {
        feed->authors[feed->author_count] = (sv_author){0};
        feed->pulls[feed->author_count] = 0;
    }
    return SV_OK;
}

int sv_feed_readers(sv_feed *feed, uint32_t count)
{
    if (count > feed->reader_room) {
        uint64_t room = room_for(count, feed->reader_room);
        if (room >= SV_NOBODY || room > SIZE_MAX / sizeof(sv_reader))
            return SV_FULL;
        sv_reader *readers = sv_block_resize(feed->readers, (size_t)room * sizeof(sv_reader));
        if (readers == NULL)
            return SV_NOMEM;
        feed->readers = readers;
        feed->reader_room = (uint32_t)room;
    }
    for (; feed->reader_count < count; feed->reader_count++)
        feed->readers[feed->reader_count] = (sv_reader){.floor = sv_long_ago()};
    return SV_OK;
}

/* ------------------------------------------------------------------ timelines and their floors */

static void raise_floor(sv_reader *reader, sv_moment when)
{
    if (sv_is_newer(when, reader->floor))
        reader->floor = when;
}

/* The oldest leave, so that `length` are left; the floor is the newest of them. */
static void trim(sv_feed *feed, sv_reader *reader)
{
    sv_run *run = &reader->timeline;
    uint32_t oldest = run->count - feed->length;
    raise_floor(reader, feed->posts.all[run->posts[oldest - 1]].when);
    for (uint32_t at = 0; at < oldest; at++)
        sv_posts_uncopy(&feed->posts, run->posts[at]);
    sv_run_cut(run, oldest);
}

/* One post into one timeline. Without memory the floor says what is missing. */
static void put(sv_feed *feed, sv_reader *reader, uint32_t number)
{
    sv_run *run = &reader->timeline;
    sv_moment when = feed->posts.all[number].when;
    if (run->count == feed->length + feed->slack)
        trim(feed, reader);
    if (!sv_is_newer(when, reader->floor))
        return;
    if (sv_run_reserve(run, feed->length + feed->slack) != SV_OK) {
        raise_floor(reader, when);
        return;
    }
    if (sv_run_insert(&feed->posts, run, number)) {
        feed->posts.all[number].copies++;
        feed->delivered++;
    }
}

/* What an author sent, the newest first, until the timeline has no more room for it. */
static void backfill(sv_feed *feed, sv_reader *reader, const sv_author *author)
{
    uint32_t put_in = 0;
    for (uint32_t at = author->sent.count; at > 0; at--, put_in++) {
        sv_moment when = feed->posts.all[author->sent.posts[at - 1]].when;
        if (!sv_is_newer(when, reader->floor))
            return;
        if (put_in == feed->length) {
            raise_floor(reader, when);
            return;
        }
        put(feed, reader, author->sent.posts[at - 1]);
    }
}

int sv_feed_rebuild(sv_feed *feed, uint32_t number)
{
    sv_reader *reader = &feed->readers[number];
    sv_run made = {0};
    uint32_t post = SV_NOBODY, count = 0, most = feed->length + feed->slack / 2; /* the next deletions cost nothing */
    if (sv_merge_reserve(&feed->merge, reader->count) != SV_OK)
        return SV_NOMEM;
    if ((made.posts = sv_malloc(((size_t)feed->length + feed->slack) * sizeof(uint32_t))) == NULL)
        return SV_NOMEM;
    made.room = feed->length + feed->slack;
    sv_merge_begin(&feed->merge);
    for (uint32_t at = 0; at < reader->count; at++) {
        const sv_run *sent = &feed->authors[reader->follows[at].author].sent;
        sv_merge_add(&feed->merge, &feed->posts, sent->posts, sent->count);
    }
    while ((post = sv_merge_next(&feed->merge, &feed->posts)) != SV_NOBODY && count < most) {
        feed->posts.all[post].copies++;
        made.posts[made.room - ++count] = post; /* they come newest first */
    }
    memmove(made.posts, made.posts + made.room - count, count * sizeof(uint32_t));
    made.count = count;
    reader->floor = post == SV_NOBODY ? sv_long_ago() : feed->posts.all[post].when;
    for (uint32_t at = 0; at < reader->timeline.count; at++)
        sv_posts_uncopy(&feed->posts, reader->timeline.posts[at]);
    sv_run_close(&reader->timeline);
    reader->timeline = made;
    feed->rebuilt++;
    return SV_OK;
}

/* ------------------------------------------------------------------ following */

/* Where the author stands, or would stand, among those whom the reader follows. */
static uint32_t place_of(const sv_reader *reader, uint32_t author)
{
    uint32_t low = 0, high = reader->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (reader->follows[middle].author < author)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int sv_feed_follows(const sv_feed *feed, uint32_t reader, uint32_t author)
{
    uint32_t at = place_of(&feed->readers[reader], author);
    return at < feed->readers[reader].count && feed->readers[reader].follows[at].author == author;
}

static int room_to_follow(sv_reader *reader, sv_author *author)
{
    if (reader->count == reader->room) {
        uint64_t room = reader->room < 2 ? reader->room + 1u : (uint64_t)reader->room + reader->room / 2 + 1;
        if (room >= SV_NOBODY)
            return SV_FULL;
        sv_follow *follows = sv_realloc(reader->follows, (size_t)room * sizeof(sv_follow));
        if (follows == NULL)
            return SV_NOMEM;
        reader->follows = follows;
        reader->room = (uint32_t)room;
    }
    if (author->count == author->room) {
        uint64_t room = author->room < 64 ? (uint64_t)author->room * 2 + 2 : (uint64_t)author->room + author->room / 4;
        if (room >= SV_NOBODY)
            return SV_FULL;
        uint32_t *followers = sv_block_resize(author->followers, (size_t)room * sizeof(uint32_t));
        if (followers == NULL)
            return SV_NOMEM;
        author->followers = followers;
        author->room = (uint32_t)room;
    }
    return SV_OK;
}

int sv_feed_follow(sv_feed *feed, uint32_t reader_number, uint32_t author_number)
{
    sv_reader *reader = &feed->readers[reader_number];
    sv_author *author = &feed->authors[author_number];
    uint32_t at = place_of(reader, author_number);
    if (at < reader->count && reader->follows[at].author == author_number)
        return 0;
    int status = room_to_follow(reader, author);
    if (status != SV_OK)
        return status;
    memmove(reader->follows + at + 1, reader->follows + at, (reader->count - at) * sizeof(sv_follow));
    reader->follows[at] = (sv_follow){author_number, author->count};
    reader->count++;
    author->followers[author->count++] = reader_number;
    backfill(feed, reader, author);
    return 1;
}

/* The last follower takes the slot that became free. */
static void leave_slot(sv_feed *feed, uint32_t author_number, uint32_t slot)
{
    sv_author *author = &feed->authors[author_number];
    uint32_t last = author->followers[--author->count];
    if (slot == author->count)
        return;
    author->followers[slot] = last;
    sv_reader *moved = &feed->readers[last];
    moved->follows[place_of(moved, author_number)].slot = slot;
}

int sv_feed_unfollow(sv_feed *feed, uint32_t reader_number, uint32_t author)
{
    sv_reader *reader = &feed->readers[reader_number];
    uint32_t at = place_of(reader, author), left = 0;
    if (at == reader->count || reader->follows[at].author != author)
        return 0;
    leave_slot(feed, author, reader->follows[at].slot);
    reader->count--;
    memmove(reader->follows + at, reader->follows + at + 1, (reader->count - at) * sizeof(sv_follow));
    for (uint32_t i = 0; i < reader->timeline.count; i++) {
        uint32_t number = reader->timeline.posts[i], whose = feed->posts.all[number].author;
        if (whose == author || whose == SV_NOBODY)
            sv_posts_uncopy(&feed->posts, number);
        else
            reader->timeline.posts[left++] = number;
    }
    reader->timeline.count = left;
    return 1;
}

/* ------------------------------------------------------------------ posting */

SV_INLINE int is_kept(const sv_feed *feed, uint32_t number) { return (int)(feed->posts.all[number].when.order & 1); }

SV_INLINE sv_run *home_of(sv_feed *feed, uint32_t number)
{
    sv_author *author = &feed->authors[feed->posts.all[number].author];
    return is_kept(feed, number) ? &author->kept : &author->sent;
}

static void note_pulls(sv_feed *feed, uint32_t author, int was_kept)
{
    feed->pulls[author] = (uint8_t)((feed->authors[author].kept.count > 0) | (was_kept ? LAST_KEPT : 0));
}

int sv_feed_was_kept(const sv_feed *feed, uint32_t author) { return (feed->pulls[author] & LAST_KEPT) != 0; }

void sv_feed_drop(sv_feed *feed, uint32_t number)
{
    uint32_t author = feed->posts.all[number].author;
    (void)sv_run_remove(&feed->posts, home_of(feed, number), number);
    note_pulls(feed, author, sv_feed_was_kept(feed, author));
    sv_posts_go(&feed->posts, number);
}

/* An author's oldest post. There is one. */
static uint32_t oldest_of(const sv_feed *feed, const sv_author *author)
{
    if (author->sent.count == 0)
        return author->kept.posts[0];
    if (author->kept.count == 0)
        return author->sent.posts[0];
    uint32_t sent = author->sent.posts[0], kept = author->kept.posts[0];
    return sv_is_newer(feed->posts.all[sent].when, feed->posts.all[kept].when) ? kept : sent;
}

int sv_feed_reserve(sv_feed *feed, uint32_t number, int kept)
{
    sv_author *author = &feed->authors[number];
    int status = sv_posts_reserve(&feed->posts);
    return status == SV_OK ? sv_run_reserve(kept ? &author->kept : &author->sent, feed->outbox + 1) : status;
}

int sv_feed_post(sv_feed *feed, uint32_t number, double score, int kept, uint32_t old, uint32_t *post, uint32_t *victim)
{
    sv_author *author = &feed->authors[number];
    sv_run *run = kept ? &author->kept : &author->sent;
    if (old == SV_NOBODY && author->sent.count + author->kept.count >= feed->outbox &&
        feed->posts.all[oldest_of(feed, author)].when.score > score) {
        *victim = SV_NOBODY;
        return 0;
    }
    int status = sv_feed_reserve(feed, number, kept);
    if (status != SV_OK)
        return status;
    SV_ASSERT(old == SV_NOBODY || feed->posts.all[old].author == number);
    *victim = SV_NOBODY;
    uint32_t made = sv_posts_take(&feed->posts, number, score, kept);
    (void)sv_run_insert(&feed->posts, run, made);
    note_pulls(feed, number, kept);
    if (old != SV_NOBODY)
        sv_feed_drop(feed, old);
    if (!kept)
        feed->posts.all[made].copies = 1; /* until it is delivered */
    if (author->sent.count + author->kept.count > feed->outbox) {
        *victim = oldest_of(feed, author);
        sv_feed_drop(feed, *victim);
    }
    if (++author->posts >= SV_FEED_LATELY) {
        author->posts /= 2;
        author->views /= 2;
    }
    *post = made;
    return 1;
}

uint32_t sv_feed_deliver(sv_feed *feed, uint32_t author_number, uint32_t number, uint32_t slot, uint32_t most)
{
    const sv_author *author = &feed->authors[author_number];
    uint32_t from = slot < author->count ? slot : author->count, to = from > most ? from - most : 0;
    if (feed->posts.all[number].author == SV_NOBODY)
        to = from = 0; /* deleted meanwhile */
    for (uint32_t at = from; at > to; at--) {
        if (at > to + AHEAD)
            SV_PREFETCH(&feed->readers[author->followers[at - 1 - AHEAD]]);
        put(feed, &feed->readers[author->followers[at - 1]], number);
    }
    if (to == 0)
        sv_posts_uncopy(&feed->posts, number);
    return to;
}

void sv_feed_hand(sv_feed *feed, uint32_t reader, uint32_t number)
{
    uint32_t author = feed->posts.all[number].author;
    SV_ASSERT(feed->posts.all[number].copies > 0);
    if (author != SV_NOBODY && sv_feed_follows(feed, reader, author))
        put(feed, &feed->readers[reader], number);
}

/* ------------------------------------------------------------------ reading */

/* What the reader follows and has to fetch, above the floor and older than `below`, and the timeline's own. */
static int gather(sv_feed *feed, const sv_reader *reader, sv_moment below)
{
    const uint8_t *pulls = feed->pulls;
    uint32_t sources = 1;
    for (uint32_t at = 0; at < reader->count; at++)
        sources += pulls[reader->follows[at].author] & 1u;
    if (sv_merge_reserve(&feed->merge, sources) != SV_OK)
        return SV_NOMEM;
    sv_merge_begin(&feed->merge);
    sv_merge_add(&feed->merge, &feed->posts, reader->timeline.posts, sv_run_older(&feed->posts, &reader->timeline, below));
    for (uint32_t at = 0; at < reader->count; at++)
        if (pulls[reader->follows[at].author] & 1u) {
            const sv_run *kept = &feed->authors[reader->follows[at].author].kept;
            sv_merge_add(&feed->merge, &feed->posts, kept->posts, sv_run_older(&feed->posts, kept, below));
        }
    return SV_OK;
}

/* The next `limit` above the floor: how many there were. numbers: NULL counts them. */
static uint32_t take(sv_feed *feed, const sv_reader *reader, uint32_t limit, uint32_t *numbers)
{
    uint32_t count = 0, number = SV_NOBODY;
    while (count < limit && (number = sv_merge_next(&feed->merge, &feed->posts)) != SV_NOBODY &&
           sv_is_newer(feed->posts.all[number].when, reader->floor)) {
        if (numbers != NULL)
            numbers[count] = number;
        count++;
    }
    return count;
}

/* Whether fewer than `length` posts are above a floor: 1, 0 or SV_NOMEM. */
static int is_short(sv_feed *feed, const sv_reader *reader)
{
    if (reader->floor.order == 0)
        return 0;
    if (gather(feed, reader, (sv_moment){(double)INFINITY, 0}) != SV_OK)
        return SV_NOMEM;
    return take(feed, reader, feed->length, NULL) < feed->length;
}

int64_t sv_feed_page(sv_feed *feed, uint32_t number, sv_moment below, uint32_t limit, uint32_t *numbers)
{
    sv_reader *reader = &feed->readers[number];
    if (gather(feed, reader, below) != SV_OK)
        return SV_NOMEM;
    uint32_t count = take(feed, reader, limit, numbers);
    if (count < limit) {
        int status = is_short(feed, reader);
        if (status == 1 && (status = sv_feed_rebuild(feed, number)) == SV_OK &&
            (status = gather(feed, reader, below)) == SV_OK)
            count = take(feed, reader, limit, numbers);
        if (status < 0)
            return status;
    }
    for (uint32_t at = 0; at < count; at++) {
        sv_author *author = &feed->authors[feed->posts.all[numbers[at]].author];
        author->views += author->views < UINT32_MAX;
    }
    return count;
}

/* ------------------------------------------------------------------ the whole structure */

uint64_t sv_feed_bytes(const sv_feed *feed)
{
    uint64_t bytes = (uint64_t)feed->posts.room * sizeof(sv_post) + (uint64_t)feed->author_room * (sizeof(sv_author) + 1) +
                     (uint64_t)feed->reader_room * sizeof(sv_reader) + (uint64_t)feed->merge.room * sizeof(sv_source);
    for (uint32_t number = 0; number < feed->author_count; number++) {
        const sv_author *author = &feed->authors[number];
        bytes += ((uint64_t)author->sent.room + author->kept.room + author->room) * sizeof(uint32_t);
    }
    for (uint32_t number = 0; number < feed->reader_count; number++)
        bytes += feed->readers[number].room * sizeof(sv_follow) +
                 feed->readers[number].timeline.room * sizeof(uint32_t);
    return bytes;
}

/* Each post of an author's runs is its own, of the right kind, and the newest are where the one rule wants them. */
static int author_is_sound(const sv_feed *feed, uint32_t number, int is_delivering)
{
    const sv_author *author = &feed->authors[number];
    const sv_run *runs[] = {&author->sent, &author->kept};
    for (int kind = 0; kind < 2; kind++) {
        if (!sv_run_check(&feed->posts, runs[kind]))
            return 0;
        for (uint32_t at = 0; at < runs[kind]->count; at++)
            if (feed->posts.all[runs[kind]->posts[at]].author != number || is_kept(feed, runs[kind]->posts[at]) != kind)
                return 0;
    }
    for (uint32_t slot = 0; slot < author->count; slot++) {
        const sv_reader *reader = &feed->readers[author->followers[slot]];
        uint32_t at = place_of(reader, number);
        if (at == reader->count || reader->follows[at].author != number || reader->follows[at].slot != slot)
            return 0;
        for (uint32_t i = 0; i < author->sent.count && !is_delivering; i++) {
            sv_moment when = feed->posts.all[author->sent.posts[i]].when;
            uint32_t place = sv_run_older(&feed->posts, &reader->timeline, when);
            if (sv_is_newer(when, reader->floor) &&
                (place == reader->timeline.count || reader->timeline.posts[place] != author->sent.posts[i]))
                return 0;
        }
    }
    return author->sent.count + author->kept.count <= feed->outbox && (feed->pulls[number] & 1) == (author->kept.count > 0);
}

/* The copies of each post are as many as it says, and nobody's post is in a timeline without being followed. */
static int copies_are_sound(const sv_feed *feed, uint32_t *copies, int is_delivering)
{
    for (uint32_t number = 0; number < feed->reader_count; number++) {
        const sv_reader *reader = &feed->readers[number];
        if (!sv_run_check(&feed->posts, &reader->timeline) || reader->timeline.count > feed->length + feed->slack)
            return 0;
        for (uint32_t at = 1; at < reader->count; at++)
            if (reader->follows[at].author <= reader->follows[at - 1].author)
                return 0;
        for (uint32_t at = 0; at < reader->timeline.count; at++) {
            uint32_t post = reader->timeline.posts[at], author = feed->posts.all[post].author;
            copies[post]++;
            if (author != SV_NOBODY && (is_kept(feed, post) || !sv_feed_follows(feed, number, author)))
                return 0;
        }
    }
    uint32_t living = 0;
    for (uint32_t post = 0; post < feed->posts.used; post++) {
        const sv_post *one = &feed->posts.all[post];
        if (copies[post] > one->copies || (!is_delivering && copies[post] != one->copies))
            return 0;
        living += one->author != SV_NOBODY || one->copies > 0;
    }
    return living == feed->posts.living;
}

int sv_feed_check(const sv_feed *feed, int is_delivering)
{
    uint32_t *copies = calloc((size_t)feed->posts.used + 1, sizeof(uint32_t));
    if (copies == NULL)
        return 0;
    int sound = copies_are_sound(feed, copies, is_delivering);
    free(copies);
    uint64_t posts = 0, homes = 0, free_ones = 0;
    for (uint32_t author = 0; author < feed->author_count && sound; author++) {
        sound = author_is_sound(feed, author, is_delivering);
        homes += feed->authors[author].sent.count + feed->authors[author].kept.count;
    }
    for (uint32_t post = 0; post < feed->posts.used; post++)
        posts += feed->posts.all[post].author != SV_NOBODY;
    for (uint32_t post = feed->posts.first_free; post != SV_NOBODY && free_ones <= feed->posts.used;
         post = (uint32_t)feed->posts.all[post].when.order)
        free_ones++;
    return sound && posts == homes && free_ones == feed->posts.used - feed->posts.living;
}
