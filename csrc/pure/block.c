#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* mremap */
#endif
#include "block.h"

#if defined(__linux__)
#include <sys/mman.h>
#define SV_CAN_REMAP
#endif

#define HEAD ((size_t)64) /* keeps a mapping's block on a cache line */

typedef struct sv_block_head {
    size_t size;   /* of the memory, the head included */
    size_t mapped; /* 1: it is a mapping */
} sv_block_head;

_Static_assert(sizeof(sv_block_head) <= 64, "the head fits before the block");

static sv_block_head *head_of(void *block) { return (sv_block_head *)(void *)((char *)block - HEAD); }
static void *block_of(sv_block_head *head) { return (char *)head + HEAD; }

#ifdef SV_CAN_REMAP
/* The tests of failing memory count mappings as requests, too. */
static int may_map(void)
{
    void *permit = sv_malloc(1);
    sv_free(permit);
    return permit != NULL;
}

static sv_block_head *map(size_t size)
{
    void *memory = may_map() ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (memory == MAP_FAILED)
        return NULL;
    sv_block_head *head = memory;
    *head = (sv_block_head){.size = size, .mapped = 1};
    return head;
}

static sv_block_head *remap(sv_block_head *head, size_t size)
{
    void *memory = may_map() ? mremap(head, head->size, size, MREMAP_MAYMOVE) : MAP_FAILED;
    if (memory == MAP_FAILED)
        return NULL;
    head = memory;
    head->size = size;
    return head;
}

static void unmap(sv_block_head *head) { munmap(head, head->size); }
static int is_large(size_t size) { return size >= SV_BLOCK_LARGE; }
#else
static sv_block_head *map(size_t size) { return (void)size, NULL; }
static sv_block_head *remap(sv_block_head *head, size_t size) { return (void)head, (void)size, NULL; }
static void unmap(sv_block_head *head) { (void)head; }
static int is_large(size_t size) { return (void)size, 0; }
#endif

/* From one kind of memory to the other. */
static void *move(void *block, size_t size)
{
    sv_block_head *before = head_of(block), *head = is_large(size) ? map(size) : sv_malloc(size);
    if (head == NULL)
        return NULL;
    memcpy(block_of(head), block, (before->size < size ? before->size : size) - HEAD);
    *head = (sv_block_head){.size = size, .mapped = (size_t)is_large(size)};
    sv_block_free(block);
    return block_of(head);
}

void *sv_block_resize(void *block, size_t size)
{
    if (size > SIZE_MAX - HEAD)
        return NULL;
    size += HEAD;
    sv_block_head *head = block == NULL ? NULL : head_of(block);
    if (head != NULL && head->mapped != (size_t)is_large(size))
        return move(block, size);
    if (is_large(size))
        head = head == NULL ? map(size) : remap(head, size);
    else
        head = sv_realloc(head, size);
    if (head == NULL)
        return NULL;
    *head = (sv_block_head){.size = size, .mapped = (size_t)is_large(size)};
    return block_of(head);
}

void *sv_block_zeroed(size_t size)
{
    if (size > SIZE_MAX - HEAD)
        return NULL;
    size += HEAD;
    sv_block_head *head = is_large(size) ? map(size) : sv_calloc(1, size); /* a new mapping is all zeros */
    if (head == NULL)
        return NULL;
    *head = (sv_block_head){.size = size, .mapped = (size_t)is_large(size)};
    return block_of(head);
}

void sv_block_free(void *block)
{
    if (block == NULL)
        return;
    sv_block_head *head = head_of(block);
    if (head->mapped)
        unmap(head);
    else
        sv_free(head);
}
