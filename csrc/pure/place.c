#include "place.h"

#include "hash.h"
#include "md5.h"

size_t sv_decimal(uint64_t number, char *digits)
{
    char backwards[SV_DECIMAL_MOST];
    size_t count = 0;
    do
        backwards[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    for (size_t i = 0; i < count; i++)
        digits[i] = backwards[count - 1 - i];
    return count;
}

uint64_t sv_place(sv_ring_kind kind, const void *bytes, size_t length)
{
    if (SV_LIKELY(kind == SV_RING_XXH3))
        return sv_xxh3(bytes, length, 0);
    return (uint64_t)sv_md5_first(bytes, length) << 32;
}

uint64_t sv_place_unsigned(sv_ring_kind kind, uint64_t number)
{
    uint8_t bytes[8];
    char digits[SV_DECIMAL_MOST];
    if (kind == SV_RING_KETAMA)
        return sv_place(kind, digits, sv_decimal(number, digits));
    sv_write64(bytes, number);
    return sv_place(kind, bytes, sizeof(bytes));
}

uint64_t sv_place_signed(sv_ring_kind kind, int64_t number)
{
    char digits[1 + SV_DECIMAL_MOST] = "-";
    if (kind == SV_RING_XXH3 || number >= 0)
        return sv_place_unsigned(kind, (uint64_t)number);
    return sv_place(kind, digits, 1 + sv_decimal(0 - (uint64_t)number, digits + 1));
}

/* UTF-8 of some code points (RFC 3629, section 3): how many bytes, which are at most four for each; SIZE_MAX when one
 * is no character. */
static size_t encoded(const uint8_t *text, size_t length, uint8_t *out)
{
    uint8_t *to = out;
    for (size_t i = 0; i < length; i++) {
        uint32_t point;
        memcpy(&point, text + 4 * i, sizeof(point));
        if (SV_LIKELY(point < 0x80))
            *to++ = (uint8_t)point;
        else if (point < 0x800) {
            *to++ = (uint8_t)(0xC0 | point >> 6);
            *to++ = (uint8_t)(0x80 | (point & 0x3F));
        } else if (point < 0x10000) {
            if (point >= 0xD800 && point < 0xE000)
                return SIZE_MAX;
            *to++ = (uint8_t)(0xE0 | point >> 12);
            *to++ = (uint8_t)(0x80 | (point >> 6 & 0x3F));
            *to++ = (uint8_t)(0x80 | (point & 0x3F));
        } else {
            if (point > 0x10FFFF)
                return SIZE_MAX;
            *to++ = (uint8_t)(0xF0 | point >> 18);
            *to++ = (uint8_t)(0x80 | (point >> 12 & 0x3F));
            *to++ = (uint8_t)(0x80 | (point >> 6 & 0x3F));
            *to++ = (uint8_t)(0x80 | (point & 0x3F));
        }
    }
    return (size_t)(to - out);
}

static size_t places_of_bytes(sv_ring_kind kind, const uint8_t *key, size_t width, size_t count, uint64_t *places)
{
    for (size_t i = 0; i < count; i++, key += width) {
        size_t length = width;
        while (length > 0 && key[length - 1] == 0)
            length--;
        places[i] = sv_place(kind, key, length);
    }
    return count;
}

static size_t places_of_text(sv_ring_kind kind, const uint8_t *key, size_t width, size_t count, uint8_t *room,
                             uint64_t *places)
{
    static const uint8_t end[4] = {0};
    for (size_t i = 0; i < count; i++, key += width) {
        size_t points = width / 4;
        while (points > 0 && memcmp(key + 4 * points - 4, end, 4) == 0)
            points--;
        size_t length = encoded(key, points, room);
        if (length == SIZE_MAX)
            return i;
        places[i] = sv_place(kind, room, length);
    }
    return count;
}

size_t sv_places(sv_ring_kind kind, const sv_column *column, size_t first, size_t count, uint8_t *room, uint64_t *places)
{
    const uint8_t *wide = column->data;
    const uint64_t *numbers = column->data;
    const sv_span *spans = column->data;
    switch (column->kind) {
    case SV_COLUMN_BYTES: return places_of_bytes(kind, wide + first * column->width, column->width, count, places);
    case SV_COLUMN_TEXT: return places_of_text(kind, wide + first * column->width, column->width, count, room, places);
    case SV_COLUMN_SIGNED:
        for (size_t i = 0; i < count; i++)
            places[i] = sv_place_signed(kind, (int64_t)numbers[first + i]);
        return count;
    case SV_COLUMN_UNSIGNED:
        for (size_t i = 0; i < count; i++)
            places[i] = sv_place_unsigned(kind, numbers[first + i]);
        return count;
    case SV_COLUMN_SPANS:
        for (size_t i = 0; i < count; i++) {
            sv_span span = spans[first + i];
            places[i] = span.bytes == NULL ? span.length_or_place : sv_place(kind, span.bytes, (size_t)span.length_or_place);
        }
        return count;
    case SV_COLUMN_PLACES: break;
    }
    memcpy(places, numbers + first, count * sizeof(*places));
    return count;
}
