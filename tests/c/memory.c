/* The memory behind SV_TEST_MEMORY: counts the requests and refuses the one it was told to refuse. */
#include "check.h"

uint64_t memory_requests, memory_fail_at;

void *sv_test_malloc(size_t size);
void *sv_test_calloc(size_t count, size_t size);
void *sv_test_realloc(void *block, size_t size);

static int refuse(void)
{
    return ++memory_requests == memory_fail_at;
}

void *sv_test_malloc(size_t size) { return refuse() ? NULL : malloc(size); }
void *sv_test_calloc(size_t count, size_t size) { return refuse() ? NULL : calloc(count, size); }
void *sv_test_realloc(void *block, size_t size) { return refuse() ? NULL : realloc(block, size); }
