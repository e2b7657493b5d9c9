/* How often a key was asked for lately, in four bits: a count-min sketch (Cormode and Muthukrishnan 2005) with the
 * ageing of TinyLFU (Einziger, Friedman and Manes, TOS 2017).
 *
 *   block: one cache line, 128 counts; a hash has one block and four counts in it, one in each quarter
 *   +------------+------------+------------+------------+
 *   | 32 counts  | 32 counts  | 32 counts  | 32 counts  |
 *   +------------+------------+------------+------------+
 *
 * Every `period` additions all counts are halved, so that what was popular is forgotten: a few blocks at each addition
 * from then on, so that no addition pays for all. 8 bytes per entry.
 *
 * To grow is to double, in place. A block's number is the top bits of a hash, so both halves of a block inherit the
 * whole, which is never too low; they do so a few at each addition too, from the top down:
 *
 *   |0 1 2 3 . . . .|   ->   |0 1 2 . . . 3 3|   ->   |0 1 . . 2 2 3 3|   ->  ...     until then block 1 is in place 0
 */
#ifndef SV_SKETCH_H
#define SV_SKETCH_H

#include "base.h"

#define SV_SKETCH_MOST 15u

typedef struct sv_sketch {
    uint64_t *words; /* 8 per block */
    uint32_t shift;  /* 64 - log2(blocks) */
    uint32_t blocks;
    uint32_t whole;  /* blocks of before the last doubling that are not spread over their halves yet */
    uint32_t aged;   /* blocks halved in this round of ageing; == blocks: no round is on */
    uint64_t period;
    uint64_t additions; /* since the last round began */
} sv_sketch;

/* A sketch that is all zeros estimates 0 for everything and needs no opening. */
void sv_sketch_close(sv_sketch *sketch);

/* Serve so many entries; what was counted is kept. SV_OK, or SV_NOMEM and nothing changed. */
int sv_sketch_reserve(sv_sketch *sketch, uint32_t entries);

void sv_sketch_add(sv_sketch *sketch, uint64_t hash);

/* 0 to 15; until it ages never less than how often the hash was added. */
uint32_t sv_sketch_estimate(const sv_sketch *sketch, uint64_t hash);

void sv_sketch_clear(sv_sketch *sketch);

#endif
