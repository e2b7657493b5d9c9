/* From a full hash to a 32-bit handle: an open-addressing index that offers candidates and never compares keys.
 *
 *   one chunk, 64 bytes: one cache line (the layout of Folly's F14, Bronson and Shi 2019)
 *   +--------------+--------------+----------------------+
 *   | 12 tags      | overflow u32 | 12 handles           |   tag 0: the slot is empty
 *   +--------------+--------------+----------------------+
 *
 * A key's home chunk comes from the top bits of a multiplicative mix of its hash, so that four consecutive integers
 * share a chunk (dense integers stay local) and neighbouring groups do not. Each chunk counts the entries that
 * wanted to be in it and had to go on; a search stops at the first chunk whose count is zero, so there are no
 * tombstones. The count is as wide as a handle, so it never saturates: a flood of equal hashes leaves no trace once it
 * is gone. A preferred slot in the chunk is tried before the twelve tags are compared.
 *
 * Growth moves a few chunks per insertion from the old table to the new one: no insertion pays for all (a small table
 * moves at once). When one
 * insertion has to pass many chunks although the hashes differ (crafted keys), the index moves to another multiplier.
 *
 * The caller guarantees: `reserve` succeeded before each `insert`; the hash in a box stays the hash under which its
 * handle was inserted until `erase`. A hash is never SV_HASH_NEVER.
 */
#ifndef SV_INDEX_H
#define SV_INDEX_H

#include "slab.h"

#if defined(SV_FORCE_SCALAR) /* the tests walk the portable path everywhere */
#elif defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define SV_MATCH_SSE2
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define SV_MATCH_NEON
#endif

#define SV_CHUNK_SLOTS 12u
#define SV_GROUP_SHIFT 2u /* 2^2 consecutive hashes share a chunk */

typedef struct sv_chunk {
    uint8_t tag[SV_CHUNK_SLOTS];
    uint32_t overflow; /* entries that passed this chunk on their way to another */
    uint32_t slot[SV_CHUNK_SLOTS];
} sv_chunk;

_Static_assert(sizeof(sv_chunk) == 64, "a chunk is one cache line");

typedef struct sv_table {
    sv_chunk *chunks;    /* aligned to 64 bytes */
    void *block;         /* the allocation that holds them, or NULL */
    uint64_t multiplier; /* odd */
    uint32_t shift;      /* 64 - log2(number of chunks) */
    uint32_t mask;       /* number of chunks - 1 */
    uint32_t count;      /* handles in this table */
    uint32_t limit;      /* at this many handles, counted over both tables, the index grows */
} sv_table;

typedef struct sv_index {
    sv_table now;
    sv_table old;     /* being emptied into `now`; chunks == NULL when there is none */
    uint32_t emptied; /* chunks of `old` below this are empty */
    uint32_t calm;    /* insertions until the multiplier may change again */
    uint64_t chance;
} sv_index;

void sv_index_open(sv_index *index, uint64_t seed);
void sv_index_close(sv_index *index);

/* Make sure that the next insert needs no memory. SV_OK, SV_NOMEM or SV_FULL. */
int sv_index_reserve_slow(sv_index *index);
SV_INLINE int sv_index_reserve(sv_index *index)
{
    if (SV_LIKELY(index->now.count + index->old.count < index->now.limit))
        return SV_OK;
    return sv_index_reserve_slow(index);
}

/* Forget everything and give the memory back. */
void sv_index_clear(sv_index *index);

/* Bytes allocated. */
size_t sv_index_bytes(const sv_index *index);

/* Validate the whole structure against the slab: 1 sound, 0 not. O(n); for tests. */
int sv_index_check(const sv_index *index, const sv_slab *slab);

/* ------------------------------------------------------------------ inline searches */

SV_INLINE uint64_t sv_index_mix(const sv_table *table, uint64_t hash)
{
    return (hash >> SV_GROUP_SHIFT) * table->multiplier;
}

SV_INLINE uint8_t sv_index_tag(uint64_t mixed, uint64_t hash)
{
    uint8_t tag = (uint8_t)((mixed >> 32) + hash);
    return (uint8_t)(tag + (tag == 0));
}

/* The members of a group of consecutive hashes prefer different thirds of the chunk. */
SV_INLINE uint32_t sv_index_preferred(uint64_t mixed, uint64_t hash)
{
    uint32_t share = (uint32_t)(mixed >> 16) + ((uint32_t)hash << 30);
    return (uint32_t)((uint64_t)share * SV_CHUNK_SLOTS >> 32);
}

/* A quick guess: the handle in the preferred slot if its full hash is this one, else SV_NONE (which says nothing). */
SV_INLINE sv_handle sv_index_guess(const sv_index *index, const sv_box *boxes, uint64_t hash)
{
    uint64_t mixed = sv_index_mix(&index->now, hash);
    const sv_chunk *chunk = &index->now.chunks[mixed >> index->now.shift];
    uint32_t place = sv_index_preferred(mixed, hash);
    if (SV_LIKELY(chunk->tag[place] == sv_index_tag(mixed, hash))) {
        sv_handle handle = chunk->slot[place];
        if (SV_LIKELY(boxes[handle].hash == hash)) {
            SV_ASSUME(handle != SV_NONE);
            return handle;
        }
    }
    return SV_NONE;
}

SV_INLINE uint32_t sv_lowest_bit(uint32_t bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long place;
    _BitScanForward(&place, bits);
    return (uint32_t)place;
#else
    return (uint32_t)__builtin_ctz(bits);
#endif
}

#define SV_ALL_SLOTS 0xFFFu

/* Bit i is set where tag[i] == tag. The three compilers' ways say the same. */
SV_INLINE uint32_t sv_chunk_match(const sv_chunk *chunk, uint8_t tag)
{
#if defined(SV_MATCH_SSE2)
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)chunk);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag))) & SV_ALL_SLOTS;
#elif defined(SV_MATCH_NEON)
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t equal = vandq_u8(vceqq_u8(vld1q_u8((const uint8_t *)chunk), vdupq_n_u8(tag)), vld1q_u8(weights));
    return ((uint32_t)vaddv_u8(vget_low_u8(equal)) | (uint32_t)vaddv_u8(vget_high_u8(equal)) << 8) & SV_ALL_SLOTS;
#else
    uint32_t bits = 0;
    for (uint32_t i = 0; i < SV_CHUNK_SLOTS; i++)
        bits |= (uint32_t)(chunk->tag[i] == tag) << i;
    return bits;
#endif
}

/* One look at one cache line, the home chunk: the first handle there whose full hash is this one, else SV_NONE.
 * `absent` becomes 1 when no entry anywhere has this hash, 0 when one may. */
SV_INLINE sv_handle sv_index_home(const sv_index *index, const sv_box *boxes, uint64_t hash, int *absent)
{
    uint64_t mixed = sv_index_mix(&index->now, hash);
    const sv_chunk *chunk = &index->now.chunks[mixed >> index->now.shift];
    uint32_t bits = sv_chunk_match(chunk, sv_index_tag(mixed, hash));
    *absent = bits == 0 && chunk->overflow == 0 && index->old.chunks == NULL;
    for (; bits != 0; bits &= bits - 1) {
        sv_handle handle = chunk->slot[sv_lowest_bit(bits)];
        if (SV_LIKELY(boxes[handle].hash == hash)) {
            SV_ASSUME(handle != SV_NONE);
            return handle;
        }
    }
    return SV_NONE;
}

/* The likeliest handle of the home chunk: the one in the preferred slot if its tag matches, else the first whose tag
 * does, else SV_NONE. Its hash may be another: the caller compares keys. The twelve tags are compared only when the
 * preferred slot fails: while a processor waits for that comparison it cannot ask for the box. */
SV_INLINE sv_handle sv_index_likeliest(const sv_index *index, uint64_t hash)
{
    uint64_t mixed = sv_index_mix(&index->now, hash);
    const sv_chunk *chunk = &index->now.chunks[mixed >> index->now.shift];
    uint32_t place = sv_index_preferred(mixed, hash);
    uint8_t tag = sv_index_tag(mixed, hash);
    if (SV_UNLIKELY(chunk->tag[place] != tag)) {
        uint32_t bits = sv_chunk_match(chunk, tag);
        if (bits == 0)
            return SV_NONE;
        place = sv_lowest_bit(bits);
    }
    sv_handle handle = chunk->slot[place];
    SV_ASSUME(handle != SV_NONE);
    return handle;
}

/* The preferred slot if it is one of the empty ones, else the first of them. No branch: nobody could predict it. */
SV_INLINE uint32_t sv_index_vacancy(uint32_t empty, uint64_t mixed, uint64_t hash)
{
    uint32_t place = sv_index_preferred(mixed, hash), lowest = sv_lowest_bit(empty);
    return (empty >> place & 1u) ? place : lowest;
}

/* Put a handle in; equal hashes may stand side by side. Cannot fail after `reserve`. */
void sv_index_insert_slow(sv_index *index, const sv_box *boxes, uint64_t hash, sv_handle handle);
SV_INLINE void sv_index_insert(sv_index *index, const sv_box *boxes, uint64_t hash, sv_handle handle)
{
    sv_table *table = &index->now;
    uint64_t mixed = sv_index_mix(table, hash);
    sv_chunk *chunk = &table->chunks[mixed >> table->shift];
    uint32_t empty;
    SV_ASSERT(hash != SV_HASH_NEVER && table->block != NULL);
    if (SV_LIKELY(index->old.chunks == NULL && index->calm == 0 && (empty = sv_chunk_match(chunk, 0)) != 0)) {
        uint32_t place = sv_index_vacancy(empty, mixed, hash);
        chunk->tag[place] = sv_index_tag(mixed, hash);
        chunk->slot[place] = handle;
        table->count++;
        return;
    }
    sv_index_insert_slow(index, boxes, hash, handle);
}

/* Take a handle out. 1 if it was there, 0 if not. */
int sv_index_erase_slow(sv_index *index, uint64_t hash, sv_handle handle);
SV_INLINE int sv_index_erase(sv_index *index, uint64_t hash, sv_handle handle)
{
    sv_table *table = &index->now;
    uint64_t mixed = sv_index_mix(table, hash);
    sv_chunk *chunk = &table->chunks[mixed >> table->shift];
    uint32_t bits = sv_chunk_match(chunk, sv_index_tag(mixed, hash));
    for (; bits != 0; bits &= bits - 1) {
        uint32_t place = sv_lowest_bit(bits);
        if (SV_LIKELY(chunk->slot[place] == handle)) {
            chunk->tag[place] = 0;
            chunk->slot[place] = SV_NONE;
            table->count--;
            return 1;
        }
    }
    return sv_index_erase_slow(index, hash, handle);
}

void sv_index_rehash_slow(sv_index *index, const sv_box *boxes, uint64_t old_hash, uint64_t hash, sv_handle handle);
/* Move a handle from the hash under which it was inserted to another, as erase and insert would: nothing can fail, and
 * no memory is asked for. The box has its new hash already. */
SV_INLINE void sv_index_rehash(sv_index *index, const sv_box *boxes, uint64_t old_hash, uint64_t hash, sv_handle handle)
{
    const sv_table *table = &index->now;
    uint64_t old_mixed = sv_index_mix(table, old_hash), mixed = sv_index_mix(table, hash);
    sv_chunk *from = &table->chunks[old_mixed >> table->shift], *to = &table->chunks[mixed >> table->shift];
    uint32_t found = sv_chunk_match(from, sv_index_tag(old_mixed, old_hash)), empty = sv_chunk_match(to, 0);
    if (SV_LIKELY(found != 0 && empty != 0 && index->old.chunks == NULL && index->calm == 0)) {
        uint32_t place = sv_lowest_bit(found);
        if (SV_LIKELY(from->slot[place] == handle)) {
            from->tag[place] = 0;
            from->slot[place] = SV_NONE;
            place = sv_index_vacancy(empty, mixed, hash);
            to->tag[place] = sv_index_tag(mixed, hash);
            to->slot[place] = handle;
            return;
        }
    }
    sv_index_rehash_slow(index, boxes, old_hash, hash, handle);
}

/* Where a search stands. It is void once the index changed: start again. */
typedef struct sv_cursor {
    const sv_table *table;
    uint32_t chunk;
    uint32_t step;
    uint32_t passed;
    uint32_t matches; /* bit i: slot i of the chunk is still to be offered */
    uint8_t tag;
} sv_cursor;

/* Handles whose full hash is `hash`, one by one, SV_NONE at the end. Each handle is offered once. */
sv_handle sv_index_first(const sv_index *index, const sv_box *boxes, uint64_t hash, sv_cursor *cursor);
sv_handle sv_index_next(const sv_index *index, const sv_box *boxes, uint64_t hash, sv_cursor *cursor);

/* Ask for the home chunk's cache line ahead of a search. */
SV_INLINE void sv_index_prefetch(const sv_index *index, uint64_t hash)
{
    SV_PREFETCH(&index->now.chunks[sv_index_mix(&index->now, hash) >> index->now.shift]);
}

#endif
