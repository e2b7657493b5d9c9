/* The latency histogram against the sorted list of everything that was recorded. */
#include "check.h"
#include "pure/histogram.h"

#define TOP (UINT64_C(1) << SV_HISTOGRAM_TOP_LOG2)

static uint64_t any_latency(void)
{
    uint64_t value = sv_chance(&chance) >> (24 + chance_below(40));
    return value < TOP ? value : TOP - 1;
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_histogram_buckets_are_ordered_without_gaps(void)
{
    uint32_t last = 0;
    for (uint64_t value = 0; value < (1u << 16); value++) {
        uint32_t bucket = sv_histogram_bucket_of(value);
        CHECK(bucket == last || bucket == last + 1);
        last = bucket;
    }
    for (uint32_t log2 = 5; log2 < 64; log2++) {
        uint64_t power = UINT64_C(1) << log2;
        uint32_t expected = log2 < SV_HISTOGRAM_TOP_LOG2 ? 1 : 0;
        CHECK_EQUAL(sv_histogram_bucket_of(power) - sv_histogram_bucket_of(power - 1), expected);
        CHECK_EQUAL(sv_histogram_log2(power), log2);
        CHECK_EQUAL(sv_histogram_log2(power | (power - 1)), log2);
    }
    CHECK_EQUAL(sv_histogram_bucket_of(TOP - 1), SV_HISTOGRAM_BUCKETS - 1);
    CHECK_EQUAL(sv_histogram_bucket_of(UINT64_MAX), SV_HISTOGRAM_BUCKETS - 1);
}

static void test_histogram_percentile_is_within_one_thirty_second(void)
{
    static uint64_t values[4000];
    static const double percents[] = {0.001, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99};
    for (uint32_t count = 1; count <= 4000; count = count * 2 + 1) {
        sv_histogram histogram;
        uint64_t sum = 0;
        sv_histogram_clear(&histogram);
        for (uint32_t i = 0; i < count; i++) {
            values[i] = any_latency();
            sum += values[i];
            sv_histogram_record(&histogram, values[i]);
        }
        CHECK(sv_histogram_check(&histogram));
        qsort(values, count, sizeof(values[0]), by_size);
        for (size_t p = 0; p < sizeof(percents) / sizeof(percents[0]); p++) {
            double wanted = percents[p] * (double)count / 100.0;
            uint32_t rank = (uint32_t)wanted;
            rank += (double)rank < wanted || rank == 0;
            uint64_t expected = values[rank - 1], found = sv_histogram_percentile(&histogram, percents[p]);
            uint64_t distance = found > expected ? found - expected : expected - found;
            CHECK(distance * 32 <= expected);
        }
        CHECK_EQUAL(sv_histogram_percentile(&histogram, 0), values[0]);
        CHECK_EQUAL(sv_histogram_percentile(&histogram, -5), values[0]);
        CHECK_EQUAL(sv_histogram_percentile(&histogram, 100), values[count - 1]);
        CHECK_EQUAL(sv_histogram_percentile(&histogram, 1e9), values[count - 1]);
        CHECK_EQUAL(histogram.count, count);
        CHECK_EQUAL(histogram.sum, sum);
        double mean = (double)sum / (double)count, error = sv_histogram_mean(&histogram) - mean;
        CHECK((error < 0 ? -error : error) <= mean * 1e-12);
    }
}

static void test_histogram_is_exact_below_32_nanoseconds(void)
{
    for (uint64_t value = 0; value < 32; value++) {
        sv_histogram histogram;
        sv_histogram_clear(&histogram);
        sv_histogram_record(&histogram, 0);
        sv_histogram_record(&histogram, value);
        sv_histogram_record(&histogram, 1000);
        CHECK_EQUAL(sv_histogram_percentile(&histogram, 50), value);
    }
}

static void test_histogram_is_exact_when_all_are_equal(void)
{
    for (uint64_t value = 1; value < TOP; value = value * 3 + 1) {
        sv_histogram histogram;
        sv_histogram_clear(&histogram);
        for (int i = 0; i < 3; i++)
            sv_histogram_record(&histogram, value);
        CHECK_EQUAL(sv_histogram_percentile(&histogram, 50), value);
    }
}

static void test_histogram_answers_zero_when_empty(void)
{
    sv_histogram histogram;
    sv_histogram_clear(&histogram);
    CHECK(sv_histogram_check(&histogram));
    CHECK_EQUAL(sv_histogram_percentile(&histogram, 0), 0);
    CHECK_EQUAL(sv_histogram_percentile(&histogram, 50), 0);
    CHECK_EQUAL(sv_histogram_percentile(&histogram, 100), 0);
    CHECK_EQUAL((uint64_t)sv_histogram_mean(&histogram), 0);
}

static void test_histogram_merge_equals_recording_into_one(void)
{
    sv_histogram parts[3], merged, whole;
    for (int part = 0; part < 3; part++)
        sv_histogram_clear(&parts[part]);
    sv_histogram_clear(&merged);
    sv_histogram_clear(&whole);
    for (int i = 0; i < 3000; i++) {
        uint64_t value = any_latency();
        sv_histogram_record(&parts[i % 2], value); /* the third stays empty */
        sv_histogram_record(&whole, value);
    }
    for (int part = 0; part < 3; part++)
        sv_histogram_merge(&merged, &parts[part]);
    CHECK(memcmp(&merged, &whole, sizeof(whole)) == 0);
    sv_histogram_merge(&merged, &merged);
    CHECK(sv_histogram_check(&merged));
    CHECK_EQUAL(merged.count, whole.count * 2);
    CHECK_EQUAL(merged.sum, whole.sum * 2);
    sv_histogram_clear(&merged);
    sv_histogram_clear(&whole);
    CHECK(memcmp(&merged, &whole, sizeof(whole)) == 0);
}

static void test_histogram_keeps_the_true_extremes_when_beyond_its_range(void)
{
    sv_histogram histogram;
    sv_histogram_clear(&histogram);
    sv_histogram_record(&histogram, 5);
    sv_histogram_record(&histogram, UINT64_MAX - 1);
    sv_histogram_record(&histogram, TOP * 3);
    CHECK(sv_histogram_check(&histogram));
    CHECK_EQUAL(histogram.max, UINT64_MAX - 1);
    CHECK_EQUAL(histogram.sum, UINT64_MAX); /* the sum stops rather than wraps */
    CHECK_EQUAL(sv_histogram_percentile(&histogram, 99), UINT64_MAX - 1);
    CHECK_EQUAL(sv_histogram_percentile(&histogram, 1), 5);
    sv_histogram other = histogram;
    sv_histogram_merge(&histogram, &other);
    CHECK_EQUAL(histogram.sum, UINT64_MAX);
}

static void test_histogram_takes_nan_for_zero_percent(void)
{
    sv_histogram histogram;
    sv_histogram_clear(&histogram);
    sv_histogram_record(&histogram, 7);
    sv_histogram_record(&histogram, 9);
    double zero = 0.0;
    CHECK_EQUAL(sv_histogram_percentile(&histogram, zero / zero), 7);
}

const check_test histogram_suite[] = {
    TEST(test_histogram_buckets_are_ordered_without_gaps),
    TEST(test_histogram_percentile_is_within_one_thirty_second),
    TEST(test_histogram_is_exact_below_32_nanoseconds),
    TEST(test_histogram_is_exact_when_all_are_equal),
    TEST(test_histogram_answers_zero_when_empty),
    TEST(test_histogram_merge_equals_recording_into_one),
    TEST(test_histogram_keeps_the_true_extremes_when_beyond_its_range),
    TEST(test_histogram_takes_nan_for_zero_percent),
    SUITE_END,
};
