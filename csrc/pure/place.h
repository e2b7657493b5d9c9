/* From a key to its place on the circle of a ring: one number of 64 bits, the same everywhere and for ever.
 *
 *   bytes     SV_RING_XXH3: XXH3-64 of them. SV_RING_KETAMA: the first four bytes of their MD5, least significant first,
 *             as the top half of the place
 *   text      as its UTF-8
 *   integers  SV_RING_XXH3: as eight bytes, two's complement, least significant first (-1 and 2^64 - 1 are one key).
 *             SV_RING_KETAMA: as decimal digits, as the clients of memcached write them
 */
#ifndef SV_PLACE_H
#define SV_PLACE_H

#include "base.h"

typedef enum sv_ring_kind { SV_RING_XXH3, SV_RING_KETAMA } sv_ring_kind;

uint64_t sv_place(sv_ring_kind kind, const void *bytes, size_t length);
uint64_t sv_place_signed(sv_ring_kind kind, int64_t number);
uint64_t sv_place_unsigned(sv_ring_kind kind, uint64_t number);

/* Many keys of one make, one behind the other. */
typedef enum sv_column_kind {
    SV_COLUMN_BYTES,    /* `width` bytes each, zeros at the end not counted (NumPy's "S") */
    SV_COLUMN_TEXT,     /* `width` bytes each, which are code points of four bytes, likewise (NumPy's "U") */
    SV_COLUMN_SIGNED,   /* int64_t */
    SV_COLUMN_UNSIGNED, /* uint64_t */
    SV_COLUMN_SPANS,    /* sv_span */
    SV_COLUMN_PLACES,   /* uint64_t: nothing to do */
} sv_column_kind;

typedef struct sv_column {
    sv_column_kind kind;
    const void *data;
    size_t width, count;
} sv_column;

/* A key that lies elsewhere, or, where `bytes` is NULL, its place. */
typedef struct sv_span {
    const void *bytes;
    uint64_t length_or_place;
} sv_span;

/* The places of `count` keys from number `first` on. How many could be told: `count`, or fewer when the next one is no
 * Unicode text. `room` is for one text: `width` bytes for SV_COLUMN_TEXT, else unused. */
size_t sv_places(sv_ring_kind kind, const sv_column *column, size_t first, size_t count, uint8_t *room, uint64_t *places);

/* The decimal digits of a number, without an end mark. How many. */
#define SV_DECIMAL_MOST 20u
size_t sv_decimal(uint64_t number, char *digits);

#endif
