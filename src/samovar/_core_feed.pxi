"""Timelines of numbers: what the core has for feeds, a part of _core.pyx."""

# ------------------------------------------------------------------ feeds: timelines of numbers

cdef extern from "pure/timeline.h":
    ctypedef struct sv_moment:
        double score
        uint64_t order
    ctypedef struct sv_post:
        sv_moment when
        uint32_t author
    ctypedef struct sv_posts:
        sv_post *all
        uint32_t used, living
    ctypedef struct sv_run:
        uint32_t count
cdef extern from "pure/feed.h":
    uint32_t SV_NOBODY
    ctypedef struct sv_author:
        sv_run sent, kept
        uint32_t count, posts, views
    ctypedef struct sv_reader:
        uint32_t count
        sv_run timeline
    ctypedef struct sv_feed:
        sv_posts posts
        sv_author *authors
        sv_reader *readers
        uint32_t author_count, reader_count
        uint64_t delivered, rebuilt
    void sv_feed_open(sv_feed *feed, uint32_t length, uint32_t outbox)
    void sv_feed_close(sv_feed *feed) nogil
    int sv_feed_authors(sv_feed *feed, uint32_t count)
    int sv_feed_readers(sv_feed *feed, uint32_t count)
    int sv_feed_follow(sv_feed *feed, uint32_t reader, uint32_t author) nogil
    int sv_feed_unfollow(sv_feed *feed, uint32_t reader, uint32_t author)
    int sv_feed_follows(const sv_feed *feed, uint32_t reader, uint32_t author)
    int sv_feed_was_kept(const sv_feed *feed, uint32_t author)
    int sv_feed_reserve(sv_feed *feed, uint32_t author, int is_kept)
    uint32_t sv_feed_next(const sv_feed *feed)
    int sv_feed_post(sv_feed *feed, uint32_t author, double score, int is_kept, uint32_t old, uint32_t *number,
                     uint32_t *victim)
    uint32_t sv_feed_deliver(sv_feed *feed, uint32_t author, uint32_t number, uint32_t slot, uint32_t most) nogil
    void sv_feed_hand(sv_feed *feed, uint32_t reader, uint32_t number)
    void sv_feed_drop(sv_feed *feed, uint32_t number)
    int64_t sv_feed_page(sv_feed *feed, uint32_t reader, sv_moment below, uint32_t limit, uint32_t *numbers)
    int sv_feed_rebuild(sv_feed *feed, uint32_t reader)
    uint64_t sv_feed_bytes(const sv_feed *feed)
    int sv_feed_check(const sv_feed *feed, int is_delivering)


cdef int placed(int64_t status) except -1:
    """Turn a status of a feed into an exception."""
    if status == SV_NOMEM:
        raise MemoryError("no memory for a feed")
    if status < 0:
        raise OverflowError("more authors, readers or items than a feed can number: fewer than 2**32")
    return 0


@cython.auto_pickle(False)
cdef class FeedCore:
    """Timelines of numbered items for numbered readers who follow numbered authors. Not safe in threads by itself, and
    an item's number must be one that `post` gave and that has not left since.

    The caller's own tables go in and are changed within the call, so that an interrupt finds both or neither changed:
    numbers (of items by name), names (by number), delivering (of items: author and slot to go on from, as one int). What
    needs memory comes before anything is changed, so that an error changes nothing. Names are str or int, whose hashing
    and comparing runs no code of theirs.
    """

    cdef sv_feed feed
    cdef readonly uint64_t order  # of the last item of the last page: the order behind its score
    cdef uint32_t *found
    cdef uint32_t found_room

    def __cinit__(self, uint32_t length, uint32_t outbox):
        sv_feed_open(&self.feed, length, outbox)

    def __dealloc__(self):
        sv_feed_close(&self.feed)
        free(self.found)

    @property
    def authors(self):
        return self.feed.author_count

    @property
    def readers(self):
        return self.feed.reader_count

    @property
    def items(self):
        """Items that are there, or of which copies still are."""
        return self.feed.posts.living

    @property
    def delivered(self):
        return self.feed.delivered

    @property
    def rebuilt(self):
        return self.feed.rebuilt

    cdef int need(self, uint64_t reader, uint64_t author) except -1:
        self.need_reader(reader)
        return self.need_author(author)

    cdef int need_reader(self, uint64_t reader) except -1:
        if reader >= self.feed.reader_count:
            raise IndexError("no such reader")
        return 0

    cdef int need_author(self, uint64_t author) except -1:
        if author >= self.feed.author_count:
            raise IndexError("no such author")
        return 0

    def grow(self, uint32_t authors, uint32_t readers):
        """There are so many from now on, at least."""
        placed(sv_feed_authors(&self.feed, authors))
        placed(sv_feed_readers(&self.feed, readers))

    def follow(self, uint32_t reader, uint32_t author):
        """Whether that is new; what the author sent is in the reader's timeline at once."""
        cdef int status
        self.need(reader, author)
        status = sv_feed_follow(&self.feed, reader, author)
        placed(status)
        return status == 1

    def follow_all(self, readers, uint32_t author):
        """The same for a buffer of readers (uint32), without the GIL: how many are new."""
        cdef Py_buffer given
        cdef const uint32_t *numbers
        cdef Py_ssize_t at = 0, count
        cdef int64_t new = 0
        cdef int status = 0
        self.need_author(author)
        PyObject_GetBuffer(readers, &given, PyBUF_SIMPLE)
        try:
            if given.itemsize != <Py_ssize_t>sizeof(uint32_t):
                raise TypeError("readers must be numbers of 32 bits")
            numbers, count = <const uint32_t *>given.buf, given.len // <Py_ssize_t>sizeof(uint32_t)
            with nogil:
                while at < count and status >= 0 and numbers[at] < self.feed.reader_count:
                    status = sv_feed_follow(&self.feed, numbers[at], author)
                    new += status == 1
                    at += 1
        finally:
            PyBuffer_Release(&given)
        placed(status)
        if at < count:
            raise IndexError("no such reader")
        return new

    def unfollow(self, uint32_t reader, uint32_t author):
        """Whether it was followed."""
        self.need(reader, author)
        return sv_feed_unfollow(&self.feed, reader, author) == 1

    def follows(self, uint32_t reader, uint32_t author):
        """Whether the reader follows the author."""
        self.need(reader, author)
        return sv_feed_follows(&self.feed, reader, author) == 1

    def followed(self, uint32_t reader):
        """How many authors the reader follows."""
        self.need_reader(reader)
        return self.feed.readers[reader].count

    def followers(self, uint32_t author):
        """How many readers follow the author."""
        self.need_author(author)
        return self.feed.authors[author].count

    def lately_posted(self, uint32_t author):
        self.need_author(author)
        return self.feed.authors[author].posts

    def lately_viewed(self, uint32_t author):
        self.need_author(author)
        return self.feed.authors[author].views

    def was_kept(self, uint32_t author):
        """Whether the author's last item was kept."""
        self.need_author(author)
        return sv_feed_was_kept(&self.feed, author) == 1

    cdef int forget(self, uint32_t author, uint32_t number, dict numbers, list names, dict delivering) except -1:
        """A post has gone: so does its name. Asks for no memory."""
        name = names[number]
        self.end(author, number, numbers[name], delivering)
        names[number] = None
        del numbers[name]
        return 0

    cdef int end(self, uint32_t author, uint32_t number, known, dict delivering) except -1:
        """A post has gone: it is delivered no more. Asks for no memory."""
        if known in delivering:
            del delivering[known]
            sv_feed_deliver(&self.feed, author, number, 0, 0)
        return 0

    cdef int deliver(self, known, dict delivering, uint32_t most) except -1:
        cdef uint32_t number = known, author, slot
        cdef uint64_t at
        place = delivering.get(known)
        if place is None:
            return 0
        at = place
        author, slot = <uint32_t>(at >> 32), <uint32_t>at
        with nogil:
            slot = sv_feed_deliver(&self.feed, author, number, slot, most)
        if slot > 0:
            try:
                delivering[known] = (<uint64_t>author << 32) | slot
                return 1
            except MemoryError:
                with nogil:
                    sv_feed_deliver(&self.feed, author, number, slot, SV_NOBODY)
        del delivering[known]
        return 0

    def post(self, uint32_t author, double score, bint kept, item, dict numbers, list names, dict delivering, uint32_t most):
        """Post an item, in the place of one of the same name, and deliver it to `most` followers unless it is kept: whether
        it stays, which it does not when the author's outbox is full of newer ones."""
        cdef uint32_t number, victim, old = SV_NOBODY
        cdef int status
        cdef object known, new, place
        self.need_author(author)
        placed(sv_feed_reserve(&self.feed, author, kept))
        known, new = numbers.get(item), sv_feed_next(&self.feed)  # objects, which are made here only
        if known is not None:
            old = known
            if self.feed.posts.all[old].author != author:
                raise ValueError("an item of another author")
        place = (<uint64_t>author << 32) | self.feed.authors[author].count
        while <size_t>len(names) <= <size_t>new:
            names.append(None)
        status = SV_NOMEM
        try:
            if known is None:
                numbers[item] = new
            if not kept:
                delivering[new] = place
            status = sv_feed_post(&self.feed, author, score, kept, old, &number, &victim)
        finally:
            if status != 1:
                if known is None and item in numbers:
                    del numbers[item]
                if new in delivering:
                    del delivering[new]
        placed(status)
        if status == 0:
            return False
        if known is not None:
            self.end(author, old, known, delivering)
            numbers[item] = new
            names[old] = None
        names[number] = item
        if victim != SV_NOBODY:
            self.forget(author, victim, numbers, names, delivering)
        self.deliver(new, delivering, most)
        return True

    def step(self, known, dict delivering, uint32_t most):
        """Copy an item to `most` more of its followers, without the GIL: whether there are more. It cannot fail: where there
        is no memory to note how far it came, all get it at once."""
        return self.deliver(known, delivering, most) == 1

    def author_of(self, uint32_t number):
        """Whose item it is."""
        return self.feed.posts.all[number].author

    def score_of(self, uint32_t number):
        return self.feed.posts.all[number].when.score

    def drop(self, item, dict numbers, list names, dict delivering):
        """An item leaves; if it was being delivered, it is no more. Whether it was there."""
        cdef uint32_t number, author
        known = numbers.get(item)
        if known is None:
            return False
        number = known
        author = self.feed.posts.all[number].author
        sv_feed_drop(&self.feed, number)
        self.forget(author, number, numbers, names, delivering)
        return True

    def page(self, uint32_t reader, double score, uint64_t order, uint32_t limit, dict delivering, list names, list whose,
             list items, list authors, list scores):
        """Put the next items, at most `limit`, into the three lists, which are as long: how many. What is being delivered
        reaches this reader before. whose: the names of authors, or None, when numbers are names. Makes nothing that would
        start a collection of garbage."""
        cdef sv_moment below
        cdef int64_t count, at
        cdef sv_post *post
        self.need_reader(reader)
        if limit > self.found_room:
            free(self.found)
            self.found, self.found_room = NULL, 0
            self.found = <uint32_t *>room_for(limit, sizeof(uint32_t))
            self.found_room = limit
        for number in delivering:
            sv_feed_hand(&self.feed, reader, number)
        below.score, below.order = score, order
        count = sv_feed_page(&self.feed, reader, below, limit, self.found)
        placed(count)
        for at in range(count):
            post = &self.feed.posts.all[self.found[at]]
            items[at] = names[self.found[at]]
            authors[at] = whose[post.author] if whose is not None else post.author
            scores[at] = post.when.score
            self.order = post.when.order
        return count

    def rebuild(self, uint32_t reader):
        """Make a timeline anew from what those who are followed sent."""
        self.need_reader(reader)
        placed(sv_feed_rebuild(&self.feed, reader))

    def memory(self):
        """Bytes that all of it takes. O(authors + readers)."""
        return sv_feed_bytes(&self.feed)

    def check(self, bint delivering=False):
        """Validate the whole structure: True, or AssertionError. For tests."""
        if not sv_feed_check(&self.feed, delivering):
            raise AssertionError("the feed is not sound")
        return True
