/* When entries leave: a hierarchical timer wheel over handles (Varghese and Lauck, SOSP 1987, scheme 7).
 *
 * Level l, from 1 to 11, has 64 buckets of 64^(l-1) nanoseconds: together they span every 64-bit time, so that nothing
 * overflows, and the lowest is exact. A deadline's place is on the level of the highest six-bit digit in which it
 * differs from the wheel's own time, in the bucket that this digit names:
 *
 *   time      .. 00 2A 13 07 3F     Lower levels are always earlier; within a level, lower buckets are. The earliest
 *   deadline  .. 00 2A 15 30 01     bucket is therefore two lowest-bit instructions away, however far time has jumped:
 *                      ^^ level 3   an empty bucket is never visited.
 *
 * When time reaches the earliest bucket, its whole list becomes level 0, the draining one, and is worked off as the
 * caller has steps to spend: what is due comes out, the rest goes to its place on a lower level. No call pays for a
 * crowd. A deadline that is moved to later leaves its entry where it lies, to find its place when that bucket drains:
 * the one rule is that no entry lies in a bucket that begins after its deadline (or after `time`, if that is later).
 *
 *   one record, 15 bytes                      a deadline is kept as nanoseconds from `base` (2.2 years of them fit),
 *   +--------------+---------+---------+     or, beyond these, as the number of a place in the `far` table; all ones
 *   | deadline (7) | prev(4) | next(4) |     says that there is none. The list's head is named in the first one's prev.
 *   +--------------+---------+---------+
 *
 * Time is handed in, as unsigned nanoseconds of any clock that does not go back (should it do so, entries leave late,
 * never early). Memory comes in `reserve` only.
 */
#ifndef SV_WHEEL_H
#define SV_WHEEL_H

#include "base.h"

#define SV_NEVER UINT64_MAX

#define SV_WHEEL_RECORD 15u
#define SV_WHEEL_LEVELS 12u /* the draining one included */

#define SV_WHEEL_FIELD ((UINT64_C(1) << 56) - 1) /* a record's deadline; all ones: none */
#define SV_WHEEL_FAR (SV_WHEEL_FIELD - UINT32_MAX) /* from here on: SV_WHEEL_FAR + place in the far table */

typedef struct sv_wheel {
    uint8_t *records;    /* by handle; links and fields lie unaligned in them */
    uint32_t *heads;     /* first entry of each bucket, or SV_NONE; the allocation that holds the records too */
    uint64_t *far;       /* deadlines that do not fit a record; of a free place: the next free one */
    uint64_t due;        /* no entry's deadline is below it; SV_NEVER when empty */
    uint64_t time;       /* what the places of the entries are relative to; not below any `now` that found no work */
    uint64_t base;       /* what the records are relative to; <= time */
    uint32_t room;       /* records */
    uint32_t held;       /* records that there is memory for: they are made ready as they are reserved, a few at a time */
    uint32_t count;      /* entries with a deadline */
    uint32_t far_room;
    uint32_t far_used;   /* places ever used */
    uint32_t far_free;   /* first of the free ones among them; UINT32_MAX: none */
    uint32_t occupied;   /* bit l: a bucket of level l is not empty */
    uint64_t buckets[SV_WHEEL_LEVELS]; /* [l] bit b: that bucket is not empty */
} sv_wheel;

/* Start without memory. */
void sv_wheel_open(sv_wheel *wheel, uint64_t now);
void sv_wheel_close(sv_wheel *wheel);

/* Reach every handle below `boxes`, and make sure that the next `set` needs no memory. SV_OK, or SV_NOMEM or SV_FULL
 * and nothing changed. To be asked before each `set`: that costs nothing when there is room. */
int sv_wheel_reserve_slow(sv_wheel *wheel, uint32_t boxes);
SV_INLINE int sv_wheel_reserve(sv_wheel *wheel, uint32_t boxes)
{
    if (SV_LIKELY(boxes <= wheel->room && (wheel->far_used < wheel->far_room || wheel->far_free != UINT32_MAX)))
        return SV_OK;
    return sv_wheel_reserve_slow(wheel, boxes);
}

/* The record's seven bytes as they are. */
SV_INLINE uint64_t sv_wheel_field(const sv_wheel *wheel, sv_handle handle)
{
    const uint8_t *record = wheel->records + (size_t)handle * SV_WHEEL_RECORD;
#if defined(_MSC_VER) || (defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    uint64_t field;
    memcpy(&field, record, sizeof(field));
    return field & SV_WHEEL_FIELD;
#else
    uint32_t low;
    uint16_t middle;
    memcpy(&low, record, sizeof(low));
    memcpy(&middle, record + 4, sizeof(middle));
    return low | (uint64_t)middle << 32 | (uint64_t)record[6] << 48;
#endif
}

/* The deadline that was set, to the nanosecond; SV_NEVER when there is none, or no room was reserved. */
SV_INLINE uint64_t sv_wheel_deadline(const sv_wheel *wheel, sv_handle handle)
{
    if (SV_UNLIKELY(handle >= wheel->room))
        return SV_NEVER;
    uint64_t field = sv_wheel_field(wheel, handle);
    if (SV_LIKELY(field < SV_WHEEL_FAR))
        return wheel->base + field;
    return field == SV_WHEEL_FIELD ? SV_NEVER : wheel->far[field - SV_WHEEL_FAR];
}

/* Give a deadline, or move it; SV_NEVER takes it away. O(1); to move one to later touches its record only. The caller
 * has reserved. */
void sv_wheel_set(sv_wheel *wheel, sv_handle handle, uint64_t deadline);

/* Take the deadline away, if there is one. O(1); never needs memory, and may be asked of any handle. */
void sv_wheel_cancel(sv_wheel *wheel, sv_handle handle);

/* The next entry that is due (deadline <= now), its deadline taken away; among those due, in no promised order.
 * SV_NONE: nothing more is due, and `due` has moved beyond `now`; or `steps` ran out, and `due` has not moved. One step
 * is spent for each bucket opened, each entry that is put into another and each that comes out. */
sv_handle sv_wheel_next(sv_wheel *wheel, uint64_t now, uint32_t *steps);

/* Forget every deadline at once and let the memory go: O(1). To be reserved anew before the next `set`. */
void sv_wheel_clear(sv_wheel *wheel, uint64_t now);

SV_INLINE uint32_t sv_wheel_count(const sv_wheel *wheel) { return wheel->count; }
size_t sv_wheel_bytes(const sv_wheel *wheel);

/* Validate the whole structure, of which only handles from SV_SENTINELS to `boxes` may have deadlines: 1 sound, 0 not.
 * O(n); for tests. */
int sv_wheel_check(const sv_wheel *wheel, uint32_t boxes);

#endif
