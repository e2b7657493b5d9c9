#include "index.h"

#include "block.h"

#define FIRST_CHUNKS 2u
#define PER_CHUNK 9u     /* three quarters full: then the index grows */
#define PER_CHUNK_SMALL 6u /* half full where memory is no matter: few entries have to leave their home chunk */
#define SMALL_CHUNKS 4096u
#define MOVES 8u         /* chunks emptied per insertion while growing; one would be enough */
#define AT_ONCE 1024u    /* a table of so many chunks is emptied by one insertion: that takes microseconds */
#define LONG_PROBE 24u   /* chunks passed by one insertion: time to doubt the multiplier */
#define HURRY 64u        /* chunks emptied instead while insertions pass many: the doubt has to wait for the move */
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

static _Alignas(64) sv_chunk no_chunks[FIRST_CHUNKS]; /* what an index without memory looks at; never written */

/* ------------------------------------------------------------------ tables */

static void table_empty(sv_table *table, uint64_t multiplier)
{
    *table = (sv_table){.chunks = no_chunks, .multiplier = multiplier, .shift = 63, .mask = FIRST_CHUNKS - 1};
}

static int table_open(sv_table *table, uint32_t log2_chunks, uint64_t multiplier)
{
    size_t count = (size_t)1 << log2_chunks;
    void *block = count >= SIZE_MAX / sizeof(sv_chunk) ? NULL : sv_block_zeroed((count + 1) * sizeof(sv_chunk));
    if (block == NULL)
        return SV_NOMEM;
    uintptr_t aligned = ((uintptr_t)block + 63) & ~(uintptr_t)63;
    uint64_t limit = (uint64_t)count * (count <= SMALL_CHUNKS ? PER_CHUNK_SMALL : PER_CHUNK);
    *table = (sv_table){
        .chunks = (sv_chunk *)aligned,
        .block = block,
        .multiplier = multiplier,
        .shift = 64 - log2_chunks,
        .mask = (uint32_t)(count - 1),
        .limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit,
    };
    return SV_OK;
}

static uint32_t table_log2(const sv_table *table) { return 64 - table->shift; }

/* An odd step visits every chunk of a power-of-two table. */
static uint32_t step_of(uint8_t tag) { return 2u * tag + 1u; }

/* Returns the number of chunks passed. */
static uint32_t table_insert(sv_table *table, uint64_t hash, sv_handle handle)
{
    uint64_t mixed = sv_index_mix(table, hash);
    uint8_t tag = sv_index_tag(mixed, hash);
    uint32_t at = (uint32_t)(mixed >> table->shift), passed = 0;
    sv_chunk *chunk = &table->chunks[at];
    uint32_t empty = sv_chunk_match(chunk, 0);
    while (empty == 0) {
        chunk->overflow++;
        passed++;
        at = (at + step_of(tag)) & table->mask;
        chunk = &table->chunks[at];
        empty = sv_chunk_match(chunk, 0);
    }
    uint32_t place = sv_index_preferred(mixed, hash);
    if (chunk->tag[place] != 0)
        place = sv_lowest_bit(empty);
    chunk->tag[place] = tag;
    chunk->slot[place] = handle;
    table->count++;
    return passed;
}

static int table_erase(sv_table *table, uint64_t hash, sv_handle handle)
{
    uint64_t mixed = sv_index_mix(table, hash);
    uint8_t tag = sv_index_tag(mixed, hash);
    uint32_t home = (uint32_t)(mixed >> table->shift), at = home;
    for (uint32_t passed = 0; passed <= table->mask; passed++) {
        sv_chunk *chunk = &table->chunks[at];
        for (uint32_t bits = sv_chunk_match(chunk, tag); bits != 0; bits &= bits - 1) {
            uint32_t place = sv_lowest_bit(bits);
            if (chunk->slot[place] != handle)
                continue;
            chunk->tag[place] = 0;
            chunk->slot[place] = SV_NONE;
            table->count--;
            for (; passed > 0; passed--) {
                table->chunks[home].overflow--;
                home = (home + step_of(tag)) & table->mask;
            }
            return 1;
        }
        if (chunk->overflow == 0)
            return 0;
        at = (at + step_of(tag)) & table->mask;
    }
    return 0;
}

/* ------------------------------------------------------------------ growth */

static void drop_old(sv_index *index)
{
    sv_block_free(index->old.block);
    index->old = (sv_table){0};
    index->emptied = 0;
}

/* Move what is left in the next chunks of the old table. Their overflow counts are not lowered: a count that is too
 * high makes a search longer, never wrong, and the table is going away. */
static void move_some(sv_index *index, const sv_box *boxes, uint32_t chunks)
{
    sv_table *old = &index->old;
    uint32_t end = old->mask + 1 - index->emptied < chunks ? old->mask + 1 : index->emptied + chunks;
    for (; index->emptied < end; index->emptied++) {
        sv_chunk *chunk = &old->chunks[index->emptied];
        for (uint32_t bits = SV_ALL_SLOTS & ~sv_chunk_match(chunk, 0); bits != 0; bits &= bits - 1) {
            uint32_t place = sv_lowest_bit(bits);
            sv_handle handle = chunk->slot[place];
            table_insert(&index->now, boxes[handle].hash, handle);
            chunk->tag[place] = 0;
            chunk->slot[place] = SV_NONE;
            old->count--;
        }
    }
    if (index->emptied > old->mask) {
        SV_ASSERT(old->count == 0);
        drop_old(index);
    }
}

/* Open a table and begin to move into it. On failure nothing changed. */
static int begin_move(sv_index *index, uint32_t log2_chunks, uint64_t multiplier)
{
    SV_ASSERT(index->old.chunks == NULL);
    sv_table fresh;
    if (log2_chunks > 31 || table_open(&fresh, log2_chunks, multiplier) != SV_OK)
        return SV_NOMEM;
    if (index->now.block != NULL)
        index->old = index->now;
    index->now = fresh;
    index->emptied = 0;
    return SV_OK;
}

int sv_index_reserve_slow(sv_index *index)
{
    if (index->old.chunks != NULL) /* the move of a table ends long before the next one is full */
        return (uint64_t)index->now.count + index->old.count < (uint64_t)index->now.mask * 11 ? SV_OK : SV_FULL;
    uint32_t log2_chunks = index->now.block == NULL ? 1 : table_log2(&index->now) + 1;
    return begin_move(index, log2_chunks, index->now.multiplier);
}

/* Many chunks were passed. Equal hashes cannot be told apart by any multiplier; others can. */
static SV_NOINLINE void doubt_multiplier(sv_index *index, const sv_box *boxes, uint64_t hash)
{
    const sv_table *now = &index->now;
    const sv_chunk *home = &now->chunks[sv_index_mix(now, hash) >> now->shift];
    uint32_t equal = 0;
    for (uint32_t place = 0; place < SV_CHUNK_SLOTS; place++)
        equal += home->tag[place] != 0 && boxes[home->slot[place]].hash == hash;
    if (equal * 2 > SV_CHUNK_SLOTS)
        return;
    index->calm = now->count + 64;
    begin_move(index, table_log2(now), sv_chance(&index->chance) | 1); /* without memory: later */
}

/* ------------------------------------------------------------------ the face */

void sv_index_open(sv_index *index, uint64_t seed)
{
    *index = (sv_index){.chance = seed};
    table_empty(&index->now, GOLDEN);
}

void sv_index_close(sv_index *index)
{
    sv_block_free(index->old.block);
    sv_block_free(index->now.block);
    *index = (sv_index){0};
}

void sv_index_clear(sv_index *index)
{
    drop_old(index);
    sv_block_free(index->now.block);
    table_empty(&index->now, index->now.multiplier);
    index->calm = 0;
}

void sv_index_insert_slow(sv_index *index, const sv_box *boxes, uint64_t hash, sv_handle handle)
{
    SV_ASSERT(hash != SV_HASH_NEVER && index->now.block != NULL);
    uint32_t passed = table_insert(&index->now, hash, handle);
    if (index->calm > 0)
        index->calm--;
    if (SV_UNLIKELY(index->old.chunks != NULL))
        move_some(index, boxes, index->old.mask < AT_ONCE ? AT_ONCE : passed > LONG_PROBE ? HURRY : MOVES);
    else if (SV_UNLIKELY(passed > LONG_PROBE && index->calm == 0))
        doubt_multiplier(index, boxes, hash);
}

int sv_index_erase_slow(sv_index *index, uint64_t hash, sv_handle handle)
{
    if (table_erase(&index->now, hash, handle))
        return 1;
    return index->old.chunks != NULL && table_erase(&index->old, hash, handle);
}

SV_NEVER_INLINE void sv_index_rehash_slow(sv_index *index, const sv_box *boxes, uint64_t old_hash, uint64_t hash,
                                          sv_handle handle)
{
    sv_index_erase(index, old_hash, handle);
    sv_index_insert(index, boxes, hash, handle);
}

static void cursor_start(sv_cursor *cursor, const sv_table *table, uint64_t hash)
{
    uint64_t mixed = sv_index_mix(table, hash);
    cursor->table = table;
    cursor->tag = sv_index_tag(mixed, hash);
    cursor->chunk = (uint32_t)(mixed >> table->shift);
    cursor->step = step_of(cursor->tag);
    cursor->passed = 0;
    cursor->matches = sv_chunk_match(&table->chunks[cursor->chunk], cursor->tag);
}

sv_handle sv_index_next(const sv_index *index, const sv_box *boxes, uint64_t hash, sv_cursor *cursor)
{
    for (;;) {
        const sv_table *table = cursor->table;
        const sv_chunk *chunk = &table->chunks[cursor->chunk];
        while (cursor->matches != 0) {
            sv_handle handle = chunk->slot[sv_lowest_bit(cursor->matches)];
            cursor->matches &= cursor->matches - 1;
            if (SV_LIKELY(boxes[handle].hash == hash))
                return handle;
        }
        if (SV_LIKELY(chunk->overflow == 0) || ++cursor->passed > table->mask) {
            if (SV_LIKELY(table == &index->old || index->old.chunks == NULL))
                return SV_NONE;
            cursor_start(cursor, &index->old, hash);
            continue;
        }
        cursor->chunk = (cursor->chunk + cursor->step) & table->mask;
        cursor->matches = sv_chunk_match(&table->chunks[cursor->chunk], cursor->tag);
    }
}

sv_handle sv_index_first(const sv_index *index, const sv_box *boxes, uint64_t hash, sv_cursor *cursor)
{
    cursor_start(cursor, &index->now, hash);
    return sv_index_next(index, boxes, hash, cursor);
}

size_t sv_index_bytes(const sv_index *index)
{
    size_t bytes = 0;
    if (index->now.block != NULL)
        bytes += ((size_t)index->now.mask + 2) * sizeof(sv_chunk);
    if (index->old.block != NULL)
        bytes += ((size_t)index->old.mask + 2) * sizeof(sv_chunk);
    return bytes;
}

/* ------------------------------------------------------------------ the check */

/* Counts `handle`'s places on the way of `hash`. */
static uint32_t places_of(const sv_table *table, uint64_t hash, sv_handle handle)
{
    uint64_t mixed = sv_index_mix(table, hash);
    uint8_t tag = sv_index_tag(mixed, hash);
    uint32_t at = (uint32_t)(mixed >> table->shift), places = 0;
    for (uint32_t passed = 0; passed <= table->mask; passed++) {
        const sv_chunk *chunk = &table->chunks[at];
        for (uint32_t place = 0; place < SV_CHUNK_SLOTS; place++)
            places += chunk->tag[place] == tag && chunk->slot[place] == handle;
        if (chunk->overflow == 0)
            break;
        at = (at + step_of(tag)) & table->mask;
    }
    return places;
}

/* `passages` counts what the overflow counts should add up to: exactly so in `now`, at least so in `old`. */
static int table_check(const sv_table *table, const sv_table *other, const sv_slab *slab, int exact)
{
    uint32_t count = 0;
    uint64_t passages = 0, overflow = 0;
    if (table->chunks == NULL)
        return 1;
    for (size_t at = 0; at <= table->mask; at++) {
        const sv_chunk *chunk = &table->chunks[at];
        overflow += chunk->overflow;
        for (uint32_t place = 0; place < SV_CHUNK_SLOTS; place++) {
            sv_handle handle = chunk->slot[place];
            if ((handle == SV_NONE) != (chunk->tag[place] == 0))
                return 0;
            if (handle == SV_NONE)
                continue;
            if (handle < SV_SENTINELS || handle >= slab->used || slab->boxes[handle].hash == SV_HASH_NEVER)
                return 0;
            uint64_t hash = slab->boxes[handle].hash, mixed = sv_index_mix(table, hash);
            if (sv_index_tag(mixed, hash) != chunk->tag[place])
                return 0;
            uint32_t walk = (uint32_t)(mixed >> table->shift), step = step_of(chunk->tag[place]);
            for (uint32_t passed = 0; walk != at; passed++, passages++) {
                if (passed > table->mask || table->chunks[walk].overflow == 0)
                    return 0;
                walk = (walk + step) & table->mask;
            }
            if (places_of(table, hash, handle) != 1 || (other->chunks != NULL && places_of(other, hash, handle) != 0))
                return 0;
            count++;
        }
    }
    return count == table->count && (exact ? overflow == passages : overflow >= passages);
}

int sv_index_check(const sv_index *index, const sv_slab *slab)
{
    if (index->old.chunks != NULL) {
        if (index->emptied > index->old.mask)
            return 0;
        for (uint32_t at = 0; at < index->emptied; at++)
            if (sv_chunk_match(&index->old.chunks[at], 0) != SV_ALL_SLOTS)
                return 0;
    }
    return table_check(&index->now, &index->old, slab, 1) && table_check(&index->old, &index->now, slab, 0) &&
           (uint64_t)index->now.count + index->old.count == slab->live;
}
