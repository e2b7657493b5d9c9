/* The words every room of the pure floor speaks: widths, results, branch hints, memory.
 *
 * This floor knows the C standard library and nothing else: no Python, no clock, no global randomness, no output,
 * no abort. Time and chance are handed in by the caller.
 *
 * Results: 1 yes, 0 no, negative failed. Absent is never failed. Out-parameters are untouched on failure.
 */
#ifndef SV_BASE_H
#define SV_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SV_OK 0
#define SV_NOMEM (-1)   /* an allocation failed; nothing was changed */
#define SV_FULL (-2)    /* more entries than 32-bit handles can number */
#define SV_RAISED (-3)  /* object floor: a Python exception is set */

/* A handle numbers a box in a slab. Handles below SV_SENTINELS are the ends of chains and never name an entry;
 * SV_NONE is therefore never an entry either. */
typedef uint32_t sv_handle;
#define SV_NONE 0u
#define SV_SENTINELS 4u

#if defined(__GNUC__) || defined(__clang__)
#define SV_LIKELY(x) __builtin_expect(!!(x), 1)
#define SV_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SV_NOINLINE __attribute__((noinline, cold))
#define SV_NEVER_INLINE __attribute__((noinline))
#define SV_INLINE static inline __attribute__((always_inline))
#define SV_PREFETCH(p) __builtin_prefetch(p)
#elif defined(_MSC_VER)
#include <intrin.h>
#define SV_LIKELY(x) (x)
#define SV_UNLIKELY(x) (x)
#define SV_NOINLINE __declspec(noinline)
#define SV_NEVER_INLINE __declspec(noinline)
#define SV_INLINE static __forceinline
#define SV_PREFETCH(p) ((void)(p))
#else
#define SV_LIKELY(x) (x)
#define SV_UNLIKELY(x) (x)
#define SV_NOINLINE
#define SV_NEVER_INLINE
#define SV_INLINE static inline
#define SV_PREFETCH(p) ((void)(p))
#endif

#ifdef SV_DEBUG
#include <assert.h>
#define SV_ASSERT(x) assert(x)
#else
#define SV_ASSERT(x) ((void)0)
#endif

/* What the compiler may take for granted. */
#if defined(SV_DEBUG)
#define SV_ASSUME(x) assert(x)
#elif defined(__GNUC__) || defined(__clang__)
#define SV_ASSUME(x) ((x) ? (void)0 : __builtin_unreachable())
#elif defined(_MSC_VER)
#define SV_ASSUME(x) __assume(x)
#else
#define SV_ASSUME(x) ((void)0)
#endif

/* Memory comes through these three names, so that the tests of the pure core can make the n-th request fail. */
#ifdef SV_TEST_MEMORY
void *sv_test_malloc(size_t size);
void *sv_test_calloc(size_t count, size_t size);
void *sv_test_realloc(void *block, size_t size);
#define sv_malloc sv_test_malloc
#define sv_calloc sv_test_calloc
#define sv_realloc sv_test_realloc
#else
#define sv_malloc malloc
#define sv_calloc calloc
#define sv_realloc realloc
#endif
#define sv_free free

/* The high half of a 64 x 64 bit product folded onto the low half (the mixer of Wang Yi's wyhash). */
SV_INLINE uint64_t sv_fold(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    uint64_t high;
    uint64_t low = _umul128(a, b, &high);
    return low ^ high;
#else
    uint64_t a_high = a >> 32, a_low = (uint32_t)a, b_high = b >> 32, b_low = (uint32_t)b;
    uint64_t high = a_high * b_high, mid_1 = a_high * b_low, mid_2 = a_low * b_high, low = a_low * b_low;
    uint64_t sum = low + (mid_1 << 32);
    high += (mid_1 >> 32) + (mid_2 >> 32) + (sum < low);
    low = sum + (mid_2 << 32);
    high += (low < sum);
    return low ^ high;
#endif
}

/* One step of splitmix64 (Steele, Lea and Flood 2014): the chance of this floor, seeded by the caller. */
SV_INLINE uint64_t sv_chance(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#endif
