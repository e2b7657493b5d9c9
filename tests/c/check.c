#include "check.h"

const char *check_running = "before the first test";
uint64_t check_seed = 1;
uint64_t chance;

_Noreturn void check_failed(const char *file, int line, const char *claim)
{
    printf("%s:%d: %s: not true: %s (SV_SEED=%llu)\n", file, line, check_running, claim,
           (unsigned long long)check_seed);
    fflush(stdout);
    _Exit(1);
}

void check_equal(const char *file, int line, const char *what, uint64_t found, uint64_t expected)
{
    if (found == expected)
        return;
    printf("%s is %llu, not %llu\n", what, (unsigned long long)found, (unsigned long long)expected);
    check_failed(file, line, what);
}
