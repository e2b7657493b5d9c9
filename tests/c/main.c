/* Runs the suites: all of them, or the tests whose names begin with the first argument. */
#include "check.h"

static const check_test *const suites[] = {
    slab_suite, index_suite, lru_suite, histogram_suite, memory_suite, fuzz_suite,
    ghost_suite, rules_suite, replay_suite, block_suite, wheel_suite,
    hash_suite, ring_suite, bulks_suite, feed_suite, envelope_suite, meta_suite,
};

int main(int count, char **arguments)
{
    const char *start = count > 1 ? arguments[1] : "", *given = getenv("SV_SEED");
    uint32_t ran = 0;
    if (given != NULL)
        check_seed = strtoull(given, NULL, 10);
    for (size_t suite = 0; suite < sizeof(suites) / sizeof(suites[0]); suite++)
        for (const check_test *test = suites[suite]; test->name != NULL; test++) {
            if (strncmp(test->name, start, strlen(start)) != 0 &&
                (strncmp(test->name, "test_", 5) != 0 || strncmp(test->name + 5, start, strlen(start)) != 0))
                continue;
            check_running = test->name;
            chance = check_seed;
            memory_fail_nth(0);
            test->run();
            ran++;
        }
    printf("%s: %u tests, SV_SEED=%llu\n", arguments[0], ran, (unsigned long long)check_seed);
    return ran == 0;
}
