/* Names that many entries share, so that all of them are declared wrong at once.
 *
 * An invalidation costs O(1) whatever the number of entries: a tag remembers when it was last invalidated, as a number
 * of the store's own tag clock, and an entry remembers when it was last known to be right. The entry is wrong when one
 * of its tags moved since:
 *
 *   entry: {tags: (Tag, Tag), seen: 17}        Tag "user:7": {hard: 19}      19 > 17: the entry is wrong
 *
 * After a soft one it is stale, since the first of those that it has not seen. A tag remembers its last few; of the
 * oldest two it then keeps the serial of the later with the time of the earlier, so that what was not looked at for long
 * may count as stale for longer than it is, never for shorter.
 *
 * Memory is bounded by what lives: a tag that no entry carries is forgotten when the table has doubled, unless a load
 * that may still come back with it began before its last invalidation. When such tags grow too many all the same,
 * `floor` rises instead: every load with tags that began below it counts as fenced off.
 *
 * Names are exact strings, so nothing here runs Python code, except that making the table may run the garbage
 * collector, and on free-threaded Python dropping the old one may let other threads in: `gather` and `invalidate` are
 * called before anything is looked up. An entry holds its tags by their `uses`, which keep them in the table, and not
 * by references: an entry that leaves lets go of them in the middle of a change, where no reference may be dropped. The
 * caller holds the lock of the store.
 */
#ifndef SV_TAGS_H
#define SV_TAGS_H

#include "refs.h"

#define SV_SOFT_KEPT 4

typedef struct sv_softly {
    uint64_t serial; /* tag clock; 0: none */
    uint64_t at;     /* in the store's nanoseconds */
} sv_softly;

typedef struct sv_tag {
    PyObject_HEAD
    PyObject *name;
    uint64_t hard; /* tag clock of the last invalidation; 0: never */
    sv_softly soft[SV_SOFT_KEPT]; /* the last soft ones, the latest first */
    uint64_t uses; /* times that it is gathered: by entries, and by what is not yet stored */
} sv_tag;

/* The tags of one entry, or of one that is about to be stored; a block of memory with one owner. */
typedef struct sv_gathered {
    Py_ssize_t count;
    sv_tag *tags[];
} sv_gathered;

typedef struct sv_tags {
    PyObject *table; /* dict: name -> Tag; NULL until the first */
    uint64_t clock;  /* advanced by each invalidation */
    uint64_t floor;
    uint64_t forgotten; /* no tag that was forgotten was invalidated after it */
    Py_ssize_t limit; /* at this many names the unused ones are looked for */
    uint32_t open;    /* operations that have gathered tags and not yet stored them or given them back */
} sv_tags;

int sv_tags_setup(void);
void sv_tags_close(sv_tags *tags);

/* The tags of these names (a tuple of exact str), each counted as used once: the caller's, or NULL with MemoryError.
 * `oldest` is the begin of the oldest load that runs (UINT64_MAX: none). May run the garbage collector, and let other
 * threads in. */
sv_gathered *sv_tags_gather(sv_tags *tags, PyObject *names, uint64_t oldest);

/* NULL when every tag counts those who carry it: `carried` of all together, but for what is gathered at this moment. Else
 * what is wrong. For tests. */
const char *sv_tags_check(const sv_tags *tags, uint64_t carried);

/* Give back what `gather` counted (NULL: nothing), in the middle of a change too: no reference is dropped. */
void sv_tags_release_steal(sv_gathered *gathered);

/* Declare everything wrong that carries one of these names. SV_OK, or SV_RAISED and nothing changed. */
int sv_tags_invalidate(sv_tags *tags, PyObject *names, int soft, uint64_t now, uint64_t oldest);

/* Whether one of these gathered tags moved after `seen`: 1 hard, 2 only softly (`at`: when), 0 none. */
int sv_tags_moved(const sv_gathered *gathered, uint64_t seen, uint64_t *at);

/* Whether a load that began at `begun` and has these names (a tuple of str, or None) is fenced off by a tag. */
int sv_tags_fence(const sv_tags *tags, PyObject *names, uint64_t begun);

/* Whether somebody who joined such a load at `joined` must ask again: 1, also when that cannot be told any more; 0. */
int sv_tags_recheck(const sv_tags *tags, PyObject *names, uint64_t begun, uint64_t joined);

/* Write the names of gathered tags (NULL: none) into a new block, with references of its own that the caller drops when
 * nothing is locked; `names` is NULL where there are none. How many, or -1 without memory. */
Py_ssize_t sv_tags_copy_names(const sv_gathered *gathered, PyObject ***names);

#endif
