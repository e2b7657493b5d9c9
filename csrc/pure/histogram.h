/* How long things took: a log-linear histogram in fixed memory (the idea of Gil Tene's HdrHistogram).
 *
 * A latency in nanoseconds falls into one of 592 buckets: 0 to 15 ns have one each, and from there every octave is cut
 * into 16 equal parts, up to 2^40 ns (18 minutes); what is longer counts in the last bucket, with its true value in
 * `max` and `sum`.
 *
 *   0 1 2 .. 15 | 16 17 .. 31 | 32 34 .. 62 | 64 68 .. 124 | ...        lower ends; widths 1, 1, 2, 4, ...
 *
 * So a percentile read back lies within 1/32 (3.2 %) of a true one; it is exact below 32 ns and at 0 and 100.
 * Recording is a shift and an addition, merging adds bucket by bucket, and neither loses an event.
 *
 * The caller measures (no clock lives here) and guards a histogram that several threads record into.
 */
#ifndef SV_HISTOGRAM_H
#define SV_HISTOGRAM_H

#include "base.h"

#define SV_HISTOGRAM_PARTS_LOG2 4u
#define SV_HISTOGRAM_PARTS (1u << SV_HISTOGRAM_PARTS_LOG2) /* parts per octave */
#define SV_HISTOGRAM_TOP_LOG2 40u
#define SV_HISTOGRAM_BUCKETS ((SV_HISTOGRAM_TOP_LOG2 - SV_HISTOGRAM_PARTS_LOG2 + 1u) * SV_HISTOGRAM_PARTS)

_Static_assert(SV_HISTOGRAM_BUCKETS == 592, "as the head of this file says");

typedef struct sv_histogram {
    uint64_t count;
    uint64_t sum; /* stays at UINT64_MAX once it got there */
    uint64_t min; /* UINT64_MAX while nothing is recorded */
    uint64_t max;
    uint64_t bucket[SV_HISTOGRAM_BUCKETS];
} sv_histogram;

/* Forget everything; also how a histogram begins. */
void sv_histogram_clear(sv_histogram *histogram);

/* Add what another one holds. `other` is left as it was; merging with itself doubles. */
void sv_histogram_merge(sv_histogram *histogram, const sv_histogram *other);

/* The latency that `percent` of all events (0 to 100) do not exceed, within 1/32 while that is below 2^40 ns. 0 when
 * nothing is recorded; 0 and below answer the least, 100 and above the greatest latency, exactly. */
uint64_t sv_histogram_percentile(const sv_histogram *histogram, double percent);

/* The mean, exact but for the rounding of a double. 0.0 when nothing is recorded. */
double sv_histogram_mean(const sv_histogram *histogram);

/* Validate the whole structure: 1 sound, 0 not. For tests. */
int sv_histogram_check(const sv_histogram *histogram);

/* Where the highest set bit is; `value` is not 0. */
SV_INLINE uint32_t sv_histogram_log2(uint64_t value)
{
#if defined(__GNUC__) || defined(__clang__)
    return 63u - (uint32_t)__builtin_clzll(value);
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64))
    unsigned long place;
    _BitScanReverse64(&place, value);
    return (uint32_t)place;
#else
    uint32_t place = 0;
    for (uint32_t step = 32; step > 0; step >>= 1)
        if (value >> step != 0) {
            value >>= step;
            place += step;
        }
    return place;
#endif
}

SV_INLINE uint32_t sv_histogram_bucket_of(uint64_t nanoseconds)
{
    if (nanoseconds < SV_HISTOGRAM_PARTS)
        return (uint32_t)nanoseconds;
    uint32_t log2 = sv_histogram_log2(nanoseconds);
    if (SV_UNLIKELY(log2 >= SV_HISTOGRAM_TOP_LOG2))
        return SV_HISTOGRAM_BUCKETS - 1;
    uint32_t octave = log2 - SV_HISTOGRAM_PARTS_LOG2; /* also the log2 of the bucket's width */
    return octave * SV_HISTOGRAM_PARTS + (uint32_t)(nanoseconds >> octave);
}

SV_INLINE void sv_histogram_record(sv_histogram *histogram, uint64_t nanoseconds)
{
    histogram->bucket[sv_histogram_bucket_of(nanoseconds)]++;
    histogram->count++;
    uint64_t sum = histogram->sum + nanoseconds;
    histogram->sum = SV_LIKELY(sum >= nanoseconds) ? sum : UINT64_MAX;
    if (nanoseconds < histogram->min)
        histogram->min = nanoseconds;
    if (nanoseconds > histogram->max)
        histogram->max = nanoseconds;
}

#endif
