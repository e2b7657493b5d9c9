/* When stored values were last declared wrong, for who is offered a value that was loaded elsewhere: by another process
 * of this machine, say, whose load this store knows nothing of.
 *
 * A value is as good as one's own only when its load began after the last time that its key was set, deleted or made to
 * expire, one of its tags invalidated, or all cleared, whether or not anything was stored under them. Times are kept for
 * groups of keys and of tags, by their hashes: a neighbour in the group makes a value look too old, never too new. Only
 * of stores that are asked: to all others this costs one comparison.
 */
#ifndef SV_FENCES_H
#define SV_FENCES_H

#include "clock.h"

#define SV_FENCE_GROUPS 4096u /* 64 kB */

typedef struct sv_fences {
    uint64_t all; /* by sv_clock_stopwatch, as all times here; 0: never */
    uint64_t keys[SV_FENCE_GROUPS];
    uint64_t tags[SV_FENCE_GROUPS];
} sv_fences;

/* NULL: nobody asks. */
SV_INLINE void sv_fences_key(sv_fences *fences, uint64_t hash)
{
    if (SV_UNLIKELY(fences != NULL))
        fences->keys[hash % SV_FENCE_GROUPS] = sv_clock_stopwatch();
}

SV_INLINE void sv_fences_all(sv_fences *fences)
{
    if (SV_UNLIKELY(fences != NULL))
        fences->all = sv_clock_stopwatch();
}

/* `tags`: a tuple of exact str. */
SV_INLINE void sv_fences_tags(sv_fences *fences, PyObject *tags)
{
    for (Py_ssize_t i = 0; fences != NULL && i < PyTuple_GET_SIZE(tags); i++)
        fences->tags[(uint64_t)PyObject_Hash(PyTuple_GET_ITEM(tags, i)) % SV_FENCE_GROUPS] = sv_clock_stopwatch();
}

/* The last time that concerns this key or one of these tags (a tuple of exact str, or None). */
SV_INLINE uint64_t sv_fences_last(const sv_fences *fences, uint64_t hash, PyObject *tags)
{
    uint64_t last = fences->all;
    if (fences->keys[hash % SV_FENCE_GROUPS] > last)
        last = fences->keys[hash % SV_FENCE_GROUPS];
    for (Py_ssize_t i = 0; tags != Py_None && i < PyTuple_GET_SIZE(tags); i++) {
        uint64_t at = fences->tags[(uint64_t)PyObject_Hash(PyTuple_GET_ITEM(tags, i)) % SV_FENCE_GROUPS];
        last = at > last ? at : last;
    }
    return last;
}

#endif
