#include "echo.h"

#include "block.h"

#define UNITS_LOG2 14u
#define STAMPS 0xFFFFu

void sv_echo_close(sv_echo *echo)
{
    sv_block_free(echo->slots);
    *echo = (sv_echo){0};
}

int sv_echo_reserve(sv_echo *echo, uint32_t limit)
{
    if (limit > echo->room) {
        size_t buckets = (size_t)limit / 12 + 1; /* three quarters full */
        uint32_t *slots = sv_block_zeroed(buckets * SV_ECHO_SLOTS * sizeof(uint32_t));
        if (slots == NULL)
            return SV_NOMEM;
        sv_block_free(echo->slots);
        *echo = (sv_echo){.slots = slots, .buckets = (uint32_t)buckets, .room = limit};
        while (limit >> echo->unit > 1u << UNITS_LOG2)
            echo->unit++;
    }
    echo->limit = limit;
    return SV_OK;
}

static uint32_t *bucket_of(const sv_echo *echo, uint64_t mixed)
{
    return &echo->slots[(size_t)((mixed >> 32) * echo->buckets >> 32) * SV_ECHO_SLOTS];
}

static uint64_t mix(uint64_t hash)
{
    return sv_fold(hash ^ UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xD6E8FEB86659FD93));
}

static uint32_t fingerprint_of(uint64_t mixed)
{
    uint32_t fingerprint = (uint32_t)mixed & 0xFFFFu;
    return (fingerprint + (fingerprint == 0)) << 16;
}

static uint32_t now(const sv_echo *echo) { return (uint32_t)(echo->put >> echo->unit) & STAMPS; }

/* Age in units; empty slots are the oldest. */
static int32_t units_since(uint32_t time, uint32_t slot)
{
    return slot == 0 ? (int32_t)STAMPS + 1 : (int32_t)((time - slot) & STAMPS);
}

/* Both searches look at all slots without a branch, so that a compiler can look at several at once; of equals the first
 * slot wins. */
void sv_echo_put(sv_echo *echo, uint64_t hash)
{
    if (echo->limit == 0)
        return;
    uint64_t mixed = mix(hash);
    uint32_t *slots = bucket_of(echo, mixed), time = now(echo);
    int32_t oldest = -1;
    for (int32_t i = 0; i < (int32_t)SV_ECHO_SLOTS; i++) {
        int32_t rank = units_since(time, slots[i]) * (int32_t)SV_ECHO_SLOTS + ((int32_t)SV_ECHO_SLOTS - 1 - i);
        oldest = rank > oldest ? rank : oldest;
    }
    echo->put++;
    slots[SV_ECHO_SLOTS - 1 - (uint32_t)oldest % SV_ECHO_SLOTS] = fingerprint_of(mixed) | now(echo);
}

uint64_t sv_echo_take(sv_echo *echo, uint64_t hash)
{
    if (echo->limit == 0)
        return 0;
    uint64_t mixed = mix(hash);
    uint32_t *slots = bucket_of(echo, mixed), fingerprint = fingerprint_of(mixed);
    int32_t found = 0;
    for (int32_t i = 0; i < (int32_t)SV_ECHO_SLOTS; i++) {
        int32_t rank = (slots[i] & ~STAMPS) == fingerprint ? (int32_t)SV_ECHO_SLOTS - i : 0;
        found = rank > found ? rank : found;
    }
    if (found == 0)
        return 0;
    uint32_t *slot = &slots[SV_ECHO_SLOTS - (uint32_t)found];
    uint64_t age = ((uint64_t)units_since(now(echo), *slot) << echo->unit) + 1;
    *slot = 0;
    return age <= echo->limit ? age : 0;
}

void sv_echo_clear(sv_echo *echo)
{
    if (echo->slots != NULL)
        memset(echo->slots, 0, (size_t)echo->buckets * SV_ECHO_SLOTS * sizeof(uint32_t));
}
