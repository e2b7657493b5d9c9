/* Which keys were asked for lately: a bounded record of a sample of the requests, kept beside a living cache, from which
 * the hit ratio at other sizes is found when somebody wants to know (mrc.h).
 *
 * A request whose key is not in the sample costs a multiplication and a comparison; one that is, a store besides. The
 * sample is one of keys, not of requests: a key is always in it or never.
 */
#ifndef SV_DIARY_H
#define SV_DIARY_H

#include "base.h"

typedef struct sv_diary {
    uint64_t threshold; /* in the sample: mixed hash not above it */
    uint64_t salt;
    uint64_t rate;      /* one key in so many */
    uint64_t *hashes;   /* the last `room` of them, a ring; the highest bit says whether it was a hit */
    uint64_t noted;     /* ever */
    uint32_t room;      /* a power of two */
    uint32_t most;
} sv_diary;

#define SV_DIARY_FIRST 256u
#define SV_DIARY_MOST 32768u
#define SV_DIARY_HIT (UINT64_C(1) << 63)
#define SV_DIARY_GUESS 65536u /* entries of a cache that is bounded by weight only */

/* For a cache of so many entries: one key in `entries / 1024` is in the sample, and so many requests are recorded that
 * each of these entries may be asked for thirty-two times. Needs no memory yet. */
void sv_diary_open(sv_diary *diary, uint64_t entries, uint64_t seed);
void sv_diary_close(sv_diary *diary);

/* Record a request. Without memory the record stays as short as it is. */
void sv_diary_note_slowly(sv_diary *diary, uint64_t line);
SV_INLINE void sv_diary_note(sv_diary *diary, uint64_t hash, int hit)
{
    uint64_t line = (hash & ~SV_DIARY_HIT) | (hit ? SV_DIARY_HIT : 0);
    if (SV_LIKELY(sv_fold(hash ^ diary->salt, UINT64_C(0x9FB21C651E98DF25)) > diary->threshold))
        return;
    if (SV_UNLIKELY(diary->noted == diary->room && diary->room < diary->most)) {
        sv_diary_note_slowly(diary, line);
        return;
    }
    if (SV_LIKELY(diary->room > 0))
        diary->hashes[diary->noted++ & (diary->room - 1)] = line;
}

/* Whether the record goes back to the very first request of the sample. */
SV_INLINE int sv_diary_is_whole(const sv_diary *diary) { return diary->noted <= diary->room; }

/* How many requests of the record can be read, and the one that is `at` places after the oldest. */
SV_INLINE uint32_t sv_diary_length(const sv_diary *diary)
{
    return diary->noted < diary->room ? (uint32_t)diary->noted : diary->room;
}
SV_INLINE uint64_t sv_diary_at(const sv_diary *diary, uint32_t at)
{
    uint64_t first = diary->noted < diary->room ? 0 : diary->noted;
    return diary->hashes[(first + at) & (diary->room - 1)];
}

#endif
