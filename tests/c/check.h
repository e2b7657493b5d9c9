/* The smallest framework that tells what broke: a test is a function without arguments whose name is a claim, a suite
 * is a list of them, and the first CHECK that fails ends the program with the place, the claim and the seed.
 *
 * Chance comes from `chance`, which is seeded anew before each test (SV_SEED in the environment, else 1), so that a
 * test fails alone as it fails in company: `build/debug/run index_` runs the tests whose names begin so.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "pure/base.h"

typedef struct check_test {
    const char *name;
    void (*run)(void);
} check_test;

#define TEST(function) {#function, function}
#define SUITE_END {NULL, NULL}

extern const check_test slab_suite[], index_suite[], lru_suite[], histogram_suite[], memory_suite[], fuzz_suite[],
    ghost_suite[], rules_suite[], replay_suite[], wheel_suite[], block_suite[], hash_suite[], ring_suite[], bulks_suite[],
    feed_suite[], envelope_suite[], meta_suite[];

#define CHECK(claim) ((claim) ? (void)0 : check_failed(__FILE__, __LINE__, #claim))
#define CHECK_EQUAL(found, expected) check_equal(__FILE__, __LINE__, #found, (uint64_t)(found), (uint64_t)(expected))

_Noreturn void check_failed(const char *file, int line, const char *claim);
void check_equal(const char *file, int line, const char *what, uint64_t found, uint64_t expected);

extern const char *check_running;
extern uint64_t check_seed, chance;

/* A number below `limit`. */
static inline uint32_t chance_below(uint32_t limit) { return (uint32_t)((sv_chance(&chance) >> 32) * limit >> 32); }

/* Any string of bytes as a walk of the timer wheel beside its twin (test_wheel.c); for the fuzzer. */
void wheel_program(const uint8_t *bytes, size_t size);

/* Likewise of nodes that join a ring and leave it (test_ring.c). */
void ring_program(const uint8_t *bytes, size_t size);

/* ------------------------------------------------------------------ memory.c: an allocator that fails when told to */

extern uint64_t memory_requests; /* so far */
extern uint64_t memory_fail_at;  /* the request with this number fails; 0: none does */

/* Let the n-th request from now fail; 0: none. */
static inline void memory_fail_nth(uint64_t n) { memory_fail_at = n == 0 ? 0 : memory_requests + n; }

#endif
