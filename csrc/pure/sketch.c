#include "sketch.h"

#define WORDS 8u   /* per block */
#define ROWS 4u
#define AGED_AT_ONCE 4u
#define SPREAD_AT_ONCE 4u
#define PERIODS 10u /* additions per entry between two halvings */

void sv_sketch_close(sv_sketch *sketch)
{
    sv_free(sketch->words);
    *sketch = (sv_sketch){0};
}

/* Spread some of the blocks that are still whole: the upper places first, so that none is written over. */
static void spread_some(sv_sketch *sketch, uint32_t most)
{
    for (; most > 0 && sketch->whole > 0; most--) {
        const uint64_t *from = sketch->words + (size_t)--sketch->whole * WORDS;
        uint64_t *halves = sketch->words + (size_t)sketch->whole * 2 * WORDS, block[WORDS];
        memcpy(block, from, sizeof(block));
        memcpy(halves, block, sizeof(block));
        memcpy(halves + WORDS, block, sizeof(block));
    }
}

static int open_blocks(sv_sketch *sketch, uint32_t blocks)
{
    uint64_t *words = sv_calloc(blocks, WORDS * sizeof(uint64_t));
    if (words == NULL)
        return SV_NOMEM;
    sketch->words = words;
    return SV_OK;
}

/* The new upper part is written before it is read: a block that is whole stands in for both halves. */
static int more_blocks(sv_sketch *sketch, uint32_t blocks)
{
    uint64_t *words = sv_realloc(sketch->words, (size_t)blocks * WORDS * sizeof(uint64_t));
    if (words == NULL)
        return SV_NOMEM;
    sketch->words = words;
    for (uint32_t had = sketch->blocks; had < blocks; had *= 2) {
        spread_some(sketch, UINT32_MAX);
        sketch->whole = had;
    }
    return SV_OK;
}

int sv_sketch_reserve(sv_sketch *sketch, uint32_t entries)
{
    uint32_t log2_blocks = 1;
    while (log2_blocks < 31 && (UINT64_C(1) << log2_blocks) * WORDS < entries)
        log2_blocks++;
    uint32_t blocks = UINT32_C(1) << log2_blocks;
    if (blocks > sketch->blocks) {
        if ((sketch->blocks == 0 ? open_blocks(sketch, blocks) : more_blocks(sketch, blocks)) != SV_OK)
            return SV_NOMEM;
        sketch->blocks = sketch->aged = blocks;
        sketch->shift = 64 - log2_blocks;
    }
    sketch->period = (uint64_t)entries * PERIODS + 1;
    return SV_OK;
}

static uint64_t mix(uint64_t hash)
{
    return sv_fold(hash ^ UINT64_C(0x2545F4914F6CDD1D), UINT64_C(0x9FB21C651E98DF25));
}

/* Where row `row` counts this hash: a word of the block and a shift in it. */
static uint32_t word_of(uint64_t mixed, uint32_t row) { return 2 * row + (uint32_t)(mixed >> (8 * row) & 1); }
static uint32_t shift_of(uint64_t mixed, uint32_t row) { return (uint32_t)(mixed >> (8 * row + 1) & 15) * 4; }

/* The block that counts this hash, where it is now. */
static uint64_t *block_of(const sv_sketch *sketch, uint64_t mixed)
{
    uint32_t block = (uint32_t)(mixed >> sketch->shift);
    return sketch->words + (size_t)(block / 2 < sketch->whole ? block / 2 : block) * WORDS;
}

/* Halve the counts of a few blocks. */
static void age_some(sv_sketch *sketch)
{
    for (uint32_t i = 0; i < AGED_AT_ONCE && sketch->aged < sketch->blocks; i++, sketch->aged++) {
        uint64_t *words = sketch->words + (size_t)sketch->aged * WORDS;
        for (uint32_t word = 0; word < WORDS; word++)
            words[word] = words[word] >> 1 & UINT64_C(0x7777777777777777);
    }
}

void sv_sketch_add(sv_sketch *sketch, uint64_t hash)
{
    if (sketch->words == NULL)
        return;
    if (SV_UNLIKELY(sketch->whole > 0))
        spread_some(sketch, SPREAD_AT_ONCE);
    uint64_t mixed = mix(hash), *words = block_of(sketch, mixed);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint64_t *word = &words[word_of(mixed, row)];
        uint32_t shift = shift_of(mixed, row);
        if ((*word >> shift & SV_SKETCH_MOST) < SV_SKETCH_MOST)
            *word += UINT64_C(1) << shift;
    }
    if (SV_UNLIKELY(++sketch->additions >= sketch->period)) {
        spread_some(sketch, UINT32_MAX); /* long over, but where a sketch serves a handful */
        sketch->additions = 0;
        sketch->aged = 0;
    }
    if (SV_UNLIKELY(sketch->aged < sketch->blocks))
        age_some(sketch);
}

uint32_t sv_sketch_estimate(const sv_sketch *sketch, uint64_t hash)
{
    if (sketch->words == NULL)
        return 0;
    uint64_t mixed = mix(hash);
    const uint64_t *words = block_of(sketch, mixed);
    uint32_t least = SV_SKETCH_MOST;
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t count = (uint32_t)(words[word_of(mixed, row)] >> shift_of(mixed, row)) & SV_SKETCH_MOST;
        if (count < least)
            least = count;
    }
    return least;
}

void sv_sketch_clear(sv_sketch *sketch)
{
    if (sketch->words != NULL)
        memset(sketch->words, 0, (size_t)sketch->blocks * WORDS * sizeof(uint64_t));
    sketch->aged = sketch->blocks;
    sketch->whole = 0;
    sketch->additions = 0;
}
