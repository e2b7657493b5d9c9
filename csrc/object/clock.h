/* The only file of this floor that reads a clock: nanoseconds that never go back.
 *
 * The coarse clock costs a fifth of the precise one and lies behind it by a tick of the kernel at most. So a deadline
 * is compared with the coarse clock first, and with the precise one only when it is nearer than SV_CLOCK_TICK: exact,
 * and mostly cheap. Where there is no coarse clock the precise one is read at once.
 *
 * Both count from SV_CLOCK_START: what was stale before the machine came up, or by a user's clock below zero, has a time.
 */
#ifndef SV_CLOCK_H
#define SV_CLOCK_H

#include "compat.h"

#define SV_CLOCK_START (UINT64_C(1) << 62)

#if defined(_WIN32)
#include <windows.h>
SV_INLINE uint64_t sv_clock_precise(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    uint64_t count = (uint64_t)ticks.QuadPart, rate = (uint64_t)per_second.QuadPart;
    return SV_CLOCK_START + count / rate * UINT64_C(1000000000) + count % rate * UINT64_C(1000000000) / rate;
}
#else
#include <time.h>
SV_INLINE uint64_t sv_clock_read(clockid_t which)
{
    struct timespec at;
    clock_gettime(which, &at);
    return SV_CLOCK_START + (uint64_t)at.tv_sec * UINT64_C(1000000000) + (uint64_t)at.tv_nsec;
}
SV_INLINE uint64_t sv_clock_precise(void) { return sv_clock_read(CLOCK_MONOTONIC); }
#endif

/* The clock of Python's time.perf_counter(): the precise one, but that Apple's stands still while the machine sleeps. */
#if defined(__APPLE__)
SV_INLINE uint64_t sv_clock_stopwatch(void) { return sv_clock_read(CLOCK_UPTIME_RAW); }
#else
SV_INLINE uint64_t sv_clock_stopwatch(void) { return sv_clock_precise(); }
#endif

#if defined(CLOCK_MONOTONIC_COARSE)
#define SV_CLOCK_TICK UINT64_C(20000000) /* the slowest kernels tick a hundred times a second */
SV_INLINE uint64_t sv_clock_coarse(void) { return sv_clock_read(CLOCK_MONOTONIC_COARSE); }
#else
#define SV_CLOCK_TICK UINT64_C(0)
SV_INLINE uint64_t sv_clock_coarse(void) { return sv_clock_precise(); }
#endif

#endif
