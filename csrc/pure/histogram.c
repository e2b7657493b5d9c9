#include "histogram.h"

/* The middle of a bucket: no event in it is further away than half its width, 1/32 of its lower end. */
static uint64_t middle_of(uint32_t bucket)
{
    if (bucket < 2 * SV_HISTOGRAM_PARTS)
        return bucket;
    uint32_t octave = bucket / SV_HISTOGRAM_PARTS - 1;
    uint64_t part = SV_HISTOGRAM_PARTS + bucket % SV_HISTOGRAM_PARTS;
    return (part << octave) + (UINT64_C(1) << (octave - 1));
}

void sv_histogram_clear(sv_histogram *histogram) { *histogram = (sv_histogram){.min = UINT64_MAX}; }

void sv_histogram_merge(sv_histogram *histogram, const sv_histogram *other)
{
    for (uint32_t i = 0; i < SV_HISTOGRAM_BUCKETS; i++)
        histogram->bucket[i] += other->bucket[i];
    histogram->count += other->count;
    histogram->sum = histogram->sum > UINT64_MAX - other->sum ? UINT64_MAX : histogram->sum + other->sum;
    if (other->min < histogram->min)
        histogram->min = other->min;
    if (other->max > histogram->max)
        histogram->max = other->max;
}

uint64_t sv_histogram_percentile(const sv_histogram *histogram, double percent)
{
    if (histogram->count == 0)
        return 0;
    if (!(percent > 0.0)) /* NaN too */
        return histogram->min;
    if (percent >= 100.0)
        return histogram->max;
    /* The rank-th event in order, 1 <= rank <= count: the least rank that covers `percent` of them. */
    double wanted = percent * (double)histogram->count / 100.0;
    uint64_t rank = (uint64_t)wanted, seen = 0;
    rank += (double)rank < wanted || rank == 0;
    uint32_t i = 0;
    while (i < SV_HISTOGRAM_BUCKETS - 1 && (seen += histogram->bucket[i]) < rank)
        i++;
    if (i == SV_HISTOGRAM_BUCKETS - 1 && histogram->max >> SV_HISTOGRAM_TOP_LOG2 != 0)
        return histogram->max; /* the last bucket has no upper end; its greatest is all that is known */
    uint64_t middle = middle_of(i);
    if (middle < histogram->min)
        return histogram->min;
    return middle > histogram->max ? histogram->max : middle;
}

double sv_histogram_mean(const sv_histogram *histogram)
{
    return histogram->count == 0 ? 0.0 : (double)histogram->sum / (double)histogram->count;
}

int sv_histogram_check(const sv_histogram *histogram)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < SV_HISTOGRAM_BUCKETS; i++)
        count += histogram->bucket[i];
    if (count != histogram->count)
        return 0;
    if (count == 0)
        return histogram->sum == 0 && histogram->min == UINT64_MAX && histogram->max == 0;
    return histogram->min <= histogram->max && histogram->sum >= histogram->max &&
           histogram->bucket[sv_histogram_bucket_of(histogram->min)] > 0 &&
           histogram->bucket[sv_histogram_bucket_of(histogram->max)] > 0;
}
