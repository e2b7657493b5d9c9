#include "wheel.h"

#include "block.h"

#define DIGIT 6u                       /* bits of time per level */
#define DRAINING 0u                    /* the list of level 0; list 64 * l + b is bucket b of level l */
#define LISTS (SV_WHEEL_LEVELS * 64 - 48) /* the highest level has 64 - 10 * DIGIT = 4 bits: 16 buckets */
#define FIRST (UINT32_MAX - 1023)      /* FIRST + list in a prev: the first of this list. Handles are below it */
#define NO_PLACE UINT32_MAX
#define FAR_PLACES 8u

_Static_assert(LISTS == 720 && LISTS <= 1024, "a list's number fits beside the handles");

/* ------------------------------------------------------------------ bits */

#if (defined(__GNUC__) || defined(__clang__)) && !defined(SV_FORCE_SCALAR)
static uint32_t lowest_bit(uint64_t bits) { return (uint32_t)__builtin_ctzll(bits); }
static uint32_t highest_bit(uint64_t bits) { return 63u - (uint32_t)__builtin_clzll(bits); }
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64)) && !defined(SV_FORCE_SCALAR)
static uint32_t lowest_bit(uint64_t bits)
{
    unsigned long place;
    _BitScanForward64(&place, bits);
    return (uint32_t)place;
}
static uint32_t highest_bit(uint64_t bits)
{
    unsigned long place;
    _BitScanReverse64(&place, bits);
    return (uint32_t)place;
}
#else
static uint32_t highest_bit(uint64_t bits)
{
    uint32_t place = 0;
    for (uint32_t half = 32; half > 0; half /= 2)
        if (bits >> half != 0) {
            bits >>= half;
            place += half;
        }
    return place;
}
static uint32_t lowest_bit(uint64_t bits) { return highest_bit(bits & (~bits + 1)); }
#endif

/* ------------------------------------------------------------------ records */

static uint8_t *record_of(const sv_wheel *wheel, sv_handle handle)
{
    return wheel->records + (size_t)handle * SV_WHEEL_RECORD;
}

static void set_field(sv_wheel *wheel, sv_handle handle, uint64_t field)
{
    uint8_t *record = record_of(wheel, handle);
    uint32_t low = (uint32_t)field;
    uint16_t middle = (uint16_t)(field >> 32);
    memcpy(record, &low, sizeof(low));
    memcpy(record + 4, &middle, sizeof(middle));
    record[6] = (uint8_t)(field >> 48);
}

static uint32_t prev_of(const sv_wheel *wheel, sv_handle handle)
{
    uint32_t prev;
    memcpy(&prev, record_of(wheel, handle) + 7, sizeof(prev));
    return prev;
}

static uint32_t next_of(const sv_wheel *wheel, sv_handle handle)
{
    uint32_t next;
    memcpy(&next, record_of(wheel, handle) + 11, sizeof(next));
    return next;
}

static void set_prev(sv_wheel *wheel, sv_handle handle, uint32_t prev)
{
    memcpy(record_of(wheel, handle) + 7, &prev, sizeof(prev));
}

static void set_next(sv_wheel *wheel, sv_handle handle, uint32_t next)
{
    memcpy(record_of(wheel, handle) + 11, &next, sizeof(next));
}

/* ------------------------------------------------------------------ deadlines that do not fit a record */

static int is_far(uint64_t field) { return field >= SV_WHEEL_FAR && field != SV_WHEEL_FIELD; }

static void give_place(sv_wheel *wheel, uint64_t field)
{
    uint32_t place = (uint32_t)(field - SV_WHEEL_FAR);
    wheel->far[place] = wheel->far_free;
    wheel->far_free = place;
}

static uint32_t take_place(sv_wheel *wheel)
{
    uint32_t place = wheel->far_free;
    if (place != NO_PLACE)
        wheel->far_free = (uint32_t)wheel->far[place];
    else if (wheel->far_used < wheel->far_room)
        place = wheel->far_used++;
    return place;
}

/* Write a deadline into a record that held `old`; answers the deadline written. */
static uint64_t write_deadline(sv_wheel *wheel, sv_handle handle, uint64_t old, uint64_t deadline)
{
    if (SV_UNLIKELY(is_far(old)))
        give_place(wheel, old);
    uint64_t field = deadline - wheel->base;
    if (SV_UNLIKELY(deadline < wheel->base || field >= SV_WHEEL_FAR)) {
        uint32_t place = take_place(wheel);
        SV_ASSERT(place != NO_PLACE);
        if (place != NO_PLACE) {
            wheel->far[place] = deadline;
            field = SV_WHEEL_FAR + place;
        } else { /* nobody reserved: some years early rather than out of bounds */
            field = deadline < wheel->base ? 0 : SV_WHEEL_FAR - 1;
            deadline = wheel->base + field;
        }
    }
    set_field(wheel, handle, field);
    return deadline;
}

static void erase_deadline(sv_wheel *wheel, sv_handle handle)
{
    uint64_t old = sv_wheel_field(wheel, handle);
    if (SV_UNLIKELY(is_far(old)))
        give_place(wheel, old);
    set_field(wheel, handle, SV_WHEEL_FIELD);
    if (--wheel->count == 0)
        wheel->due = SV_NEVER;
}

/* ------------------------------------------------------------------ lists */

static uint32_t shift_of(uint32_t level) { return DIGIT * (level - 1); }

/* When bucket `bucket` of this level begins, as the wheel stands. */
static uint64_t start_of(const sv_wheel *wheel, uint32_t level, uint32_t bucket)
{
    uint32_t shift = shift_of(level);
    uint64_t lap = (UINT64_C(64) << shift) - 1; /* on the highest level: all ones */
    return (wheel->time & ~lap) | (uint64_t)bucket << shift;
}

static void mark_empty(sv_wheel *wheel, uint32_t list)
{
    uint64_t *buckets = &wheel->buckets[list / 64];
    *buckets &= ~(UINT64_C(1) << (list % 64));
    if (*buckets == 0)
        wheel->occupied &= ~(1u << (list / 64));
}

static void mark_filled(sv_wheel *wheel, uint32_t list)
{
    wheel->buckets[list / 64] |= UINT64_C(1) << (list % 64);
    wheel->occupied |= 1u << (list / 64);
}

/* Put an entry in its place. What is overdue goes into the bucket of `time`, the earliest there can be. */
static void link_in(sv_wheel *wheel, sv_handle handle, uint64_t deadline)
{
    uint64_t at = deadline > wheel->time ? deadline : wheel->time;
    uint32_t digit = highest_bit((at ^ wheel->time) | 1) / DIGIT;
    uint32_t list = (digit + 1) * 64 + (uint32_t)(at >> (digit * DIGIT) & 63), second = wheel->heads[list];
    set_prev(wheel, handle, FIRST + list);
    set_next(wheel, handle, second);
    if (second != SV_NONE)
        set_prev(wheel, second, handle);
    wheel->heads[list] = handle;
    mark_filled(wheel, list);
}

static void link_out(sv_wheel *wheel, sv_handle handle)
{
    uint32_t prev = prev_of(wheel, handle), next = next_of(wheel, handle);
    if (next != SV_NONE)
        set_prev(wheel, next, prev);
    if (prev < FIRST) {
        set_next(wheel, prev, next);
        return;
    }
    wheel->heads[prev - FIRST] = next;
    if (next == SV_NONE)
        mark_empty(wheel, prev - FIRST);
}

/* The whole earliest bucket becomes the draining list, and time moves into it as far as `now` allows: what is not due
 * will differ from the new time in a lower digit. */
static void drain(sv_wheel *wheel, uint32_t level, uint32_t bucket, uint64_t now)
{
    uint32_t list = level * 64 + bucket;
    uint64_t end = start_of(wheel, level, bucket) + ((UINT64_C(1) << shift_of(level)) - 1);
    sv_handle first = wheel->heads[list];
    wheel->heads[list] = SV_NONE;
    mark_empty(wheel, list);
    wheel->heads[DRAINING] = first;
    set_prev(wheel, first, FIRST + DRAINING);
    mark_filled(wheel, DRAINING);
    wheel->time = end < now ? end : now;
}

/* The earliest bucket begins at `start`, which lies after `now`: until then nothing can be due. */
static void rest(sv_wheel *wheel, uint64_t now, uint32_t level, uint32_t bucket, uint64_t start)
{
    if (now < wheel->time) /* a clock that went back proves nothing */
        return;
    uint64_t end = start + ((UINT64_C(1) << shift_of(level)) - 1);
    wheel->time = now;
    sv_handle first = wheel->heads[level * 64 + bucket];
    if (next_of(wheel, first) == SV_NONE) { /* it may lie alone there for long: not to be woken for each level */
        uint64_t deadline = sv_wheel_deadline(wheel, first);
        start = deadline < end ? deadline : end; /* a deadline moved to later must not hide the next bucket's */
    }
    if (start > wheel->due)
        wheel->due = start;
}

/* ------------------------------------------------------------------ the face */

void sv_wheel_open(sv_wheel *wheel, uint64_t now)
{
    *wheel = (sv_wheel){.due = SV_NEVER, .time = now, .base = now, .far_free = NO_PLACE};
}

void sv_wheel_close(sv_wheel *wheel)
{
    sv_block_free(wheel->heads);
    sv_free(wheel->far);
    *wheel = (sv_wheel){.due = SV_NEVER, .far_free = NO_PLACE};
}

void sv_wheel_clear(sv_wheel *wheel, uint64_t now)
{
    sv_wheel_close(wheel);
    sv_wheel_open(wheel, now);
}

/* The far table alone may have grown when the records cannot: that changes nothing that can be seen. */
SV_NOINLINE int sv_wheel_reserve_slow(sv_wheel *wheel, uint32_t boxes)
{
    const size_t heads_size = LISTS * sizeof(uint32_t);
    if (boxes > FIRST || boxes > (SIZE_MAX - heads_size) / SV_WHEEL_RECORD)
        return SV_FULL;
    if (wheel->far_used == wheel->far_room && wheel->far_free == NO_PLACE) {
        uint32_t room = wheel->far_room == 0 ? FAR_PLACES : wheel->far_room + wheel->far_room / 2;
        uint64_t *far = sv_realloc(wheel->far, room * sizeof(uint64_t));
        if (far == NULL)
            return SV_NOMEM;
        wheel->far = far;
        wheel->far_room = room;
    }
    if (boxes <= wheel->room)
        return SV_OK;
    if (boxes > wheel->held) {
        uint64_t wanted = (uint64_t)boxes + boxes / 32, most = (SIZE_MAX - heads_size) / SV_WHEEL_RECORD;
        wanted = wanted < most ? wanted : most;
        wanted = wanted < FIRST ? wanted : FIRST;
        uint32_t *heads = sv_block_resize(wheel->heads, heads_size + (size_t)wanted * SV_WHEEL_RECORD);
        if (heads == NULL)
            return SV_NOMEM;
        if (wheel->heads == NULL)
            memset(heads, 0, heads_size);
        wheel->heads = heads;
        wheel->records = (uint8_t *)(heads + LISTS);
        wheel->held = (uint32_t)wanted;
    }
    memset(record_of(wheel, wheel->room), 0xFF, (size_t)(boxes - wheel->room) * SV_WHEEL_RECORD);
    wheel->room = boxes;
    return SV_OK;
}

void sv_wheel_set(sv_wheel *wheel, sv_handle handle, uint64_t deadline)
{
    if (SV_UNLIKELY(deadline == SV_NEVER)) {
        sv_wheel_cancel(wheel, handle);
        return;
    }
    SV_ASSERT(handle >= SV_SENTINELS && handle < wheel->room);
    uint64_t before = sv_wheel_deadline(wheel, handle), old = sv_wheel_field(wheel, handle);
    if (before == SV_NEVER) {
        if (wheel->count++ == 0)
            wheel->base = wheel->time; /* no record speaks of it */
    } else if (deadline >= before) {
        write_deadline(wheel, handle, old, deadline); /* its bucket drains before this: then it finds its place */
        return;
    } else
        link_out(wheel, handle);
    deadline = write_deadline(wheel, handle, old, deadline);
    link_in(wheel, handle, deadline);
    if (deadline < wheel->due)
        wheel->due = deadline;
}

void sv_wheel_cancel(sv_wheel *wheel, sv_handle handle)
{
    if (sv_wheel_deadline(wheel, handle) == SV_NEVER)
        return;
    link_out(wheel, handle);
    erase_deadline(wheel, handle);
}

sv_handle sv_wheel_next(sv_wheel *wheel, uint64_t now, uint32_t *steps)
{
    while (wheel->occupied != 0) {
        uint32_t level = lowest_bit(wheel->occupied), bucket = lowest_bit(wheel->buckets[level]);
        uint64_t start = level == DRAINING ? 0 : start_of(wheel, level, bucket);
        if (start > now) {
            rest(wheel, now, level, bucket, start);
            return SV_NONE;
        }
        if (*steps == 0)
            return SV_NONE;
        --*steps;
        if (level != DRAINING) {
            drain(wheel, level, bucket, now);
            continue;
        }
        sv_handle handle = wheel->heads[DRAINING];
        uint64_t deadline = sv_wheel_deadline(wheel, handle);
        link_out(wheel, handle);
        if (deadline <= now) {
            erase_deadline(wheel, handle);
            return handle;
        }
        link_in(wheel, handle, deadline);
    }
    if (now > wheel->time)
        wheel->time = now;
    return SV_NONE;
}

size_t sv_wheel_bytes(const sv_wheel *wheel)
{
    size_t bytes = (size_t)wheel->far_room * sizeof(uint64_t);
    if (wheel->heads != NULL)
        bytes += LISTS * sizeof(uint32_t) + (size_t)wheel->held * SV_WHEEL_RECORD;
    return bytes;
}

/* ------------------------------------------------------------------ the check */

/* Counts one list's entries into `found`, and those of them that hold a far place into `far`. */
static int list_check(const sv_wheel *wheel, uint32_t list, uint64_t start, uint32_t boxes, uint32_t *found,
                      uint32_t *far)
{
    uint32_t before = FIRST + list;
    for (sv_handle at = wheel->heads[list]; at != SV_NONE; before = at, at = next_of(wheel, at)) {
        if (at < SV_SENTINELS || at >= boxes || at >= wheel->room || prev_of(wheel, at) != before)
            return 0;
        uint64_t field = sv_wheel_field(wheel, at);
        if (is_far(field) && field - SV_WHEEL_FAR >= wheel->far_used)
            return 0;
        uint64_t deadline = sv_wheel_deadline(wheel, at);
        if (deadline == SV_NEVER || deadline < wheel->due || (deadline < start && wheel->time < start))
            return 0;
        *far += (uint32_t)is_far(field);
        if (++*found > wheel->count)
            return 0;
    }
    return 1;
}

static int far_check(const sv_wheel *wheel, uint32_t held)
{
    uint32_t unused = 0;
    for (uint32_t place = wheel->far_free; place != NO_PLACE; place = (uint32_t)wheel->far[place])
        if (place >= wheel->far_used || wheel->far[place] > NO_PLACE || ++unused > wheel->far_used)
            return 0;
    return wheel->far_used <= wheel->far_room && held + unused == wheel->far_used;
}

int sv_wheel_check(const sv_wheel *wheel, uint32_t boxes)
{
    uint32_t found = 0, far = 0, set = 0;
    if (wheel->count == 0 && (wheel->due != SV_NEVER || wheel->occupied != 0))
        return 0;
    if (wheel->base > wheel->time || wheel->room > wheel->held || (wheel->heads == NULL) != (wheel->room == 0))
        return 0;
    for (uint32_t list = 0; list < LISTS; list++) {
        uint32_t level = list / 64, bucket = list % 64;
        int filled = (int)(wheel->buckets[level] >> bucket & 1);
        if (filled != (wheel->heads != NULL && wheel->heads[list] != SV_NONE))
            return 0;
        if (!filled)
            continue;
        uint64_t start = 0;
        if (level != DRAINING) {
            uint64_t now_at = wheel->time >> shift_of(level) & 63;
            if (bucket < now_at + (level > 1)) /* buckets of the past are empty; that of `time` is on level 1 only */
                return 0;
            start = start_of(wheel, level, bucket);
        } else if (bucket != 0)
            return 0;
        if (!list_check(wheel, list, start, boxes, &found, &far))
            return 0;
    }
    for (uint32_t level = 0; level < SV_WHEEL_LEVELS; level++)
        if ((wheel->occupied >> level & 1) != (wheel->buckets[level] != 0))
            return 0;
    for (sv_handle handle = 0; handle < wheel->room; handle++)
        set += sv_wheel_field(wheel, handle) != SV_WHEEL_FIELD;
    return found == wheel->count && set == wheel->count && wheel->occupied >> SV_WHEEL_LEVELS == 0 &&
           far_check(wheel, far);
}
