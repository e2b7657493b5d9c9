#include "ghost.h"

#define END_OF_CHAIN (UINT32_C(1) << 31)
#define MOST (END_OF_CHAIN - 2)

static uint64_t mix(uint64_t hash)
{
    return sv_fold(hash ^ UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xD6E8FEB86659FD93));
}

void sv_ghost_close(sv_ghost *ghost)
{
    sv_free(ghost->spirits);
    sv_free(ghost->heads);
    *ghost = (sv_ghost){0};
}

/* What points to this spirit: its bucket's head or the `chain` of another. */
static uint32_t *pointer_to(const sv_ghost *ghost, uint32_t spirit)
{
    uint32_t end = spirit;
    while (end < END_OF_CHAIN)
        end = ghost->spirits[end].chain;
    uint32_t *pointer = &ghost->heads[end & ~END_OF_CHAIN];
    while (*pointer != spirit)
        pointer = &ghost->spirits[*pointer].chain;
    return pointer;
}

static void forget(sv_ghost *ghost, uint32_t *pointer, uint32_t spirit)
{
    sv_spirit *spirits = ghost->spirits, *gone = &spirits[spirit];
    int alone = gone->chain >= END_OF_CHAIN && pointer == &ghost->heads[gone->chain & ~END_OF_CHAIN];
    *pointer = alone ? 0 : gone->chain;
    spirits[gone->older].younger = gone->younger;
    spirits[gone->younger].older = gone->older;
    gone->chain = ghost->free;
    ghost->free = spirit;
    ghost->live--;
}

static void forget_oldest(sv_ghost *ghost)
{
    uint32_t oldest = ghost->spirits[0].younger;
    forget(ghost, pointer_to(ghost, oldest), oldest);
}

int sv_ghost_reserve(sv_ghost *ghost, uint32_t limit)
{
    if (limit > MOST)
        limit = MOST;
    if (limit > ghost->room) {
        uint32_t log2_buckets = 4;
        while ((UINT64_C(3) << log2_buckets) / 2 < limit)
            log2_buckets++;
        sv_ghost grown = {.room = limit, .shift = 64 - log2_buckets};
        grown.spirits = sv_malloc(((size_t)limit + 1) * sizeof(sv_spirit));
        grown.heads = sv_calloc((size_t)1 << log2_buckets, sizeof(uint32_t));
        if (grown.spirits == NULL || grown.heads == NULL) {
            sv_ghost_close(&grown);
            return SV_NOMEM;
        }
        sv_ghost_close(ghost);
        *ghost = grown;
        ghost->spirits[0] = (sv_spirit){0};
    }
    ghost->limit = limit;
    while (ghost->live > limit)
        forget_oldest(ghost);
    return SV_OK;
}

void sv_ghost_put(sv_ghost *ghost, uint64_t hash)
{
    if (ghost->limit == 0)
        return;
    if (ghost->live == ghost->limit)
        forget_oldest(ghost);
    uint64_t mixed = mix(hash);
    uint32_t bucket = (uint32_t)(mixed >> ghost->shift), spirit = ghost->free;
    sv_spirit *spirits = ghost->spirits;
    if (spirit != 0)
        ghost->free = spirits[spirit].chain;
    else
        spirit = ++ghost->used;
    uint32_t youngest = spirits[0].older, head = ghost->heads[bucket];
    spirits[spirit] = (sv_spirit){
        .fingerprint = (uint32_t)mixed,
        .chain = head == 0 ? END_OF_CHAIN | bucket : head,
        .older = youngest,
        .younger = 0,
    };
    spirits[youngest].younger = spirit;
    spirits[0].older = spirit;
    ghost->heads[bucket] = spirit;
    ghost->live++;
}

int sv_ghost_take(sv_ghost *ghost, uint64_t hash)
{
    if (ghost->live == 0)
        return 0;
    uint64_t mixed = mix(hash);
    uint32_t *pointer = &ghost->heads[mixed >> ghost->shift];
    if (*pointer == 0)
        return 0;
    for (; *pointer < END_OF_CHAIN; pointer = &ghost->spirits[*pointer].chain)
        if (ghost->spirits[*pointer].fingerprint == (uint32_t)mixed) {
            forget(ghost, pointer, *pointer);
            return 1;
        }
    return 0;
}

void sv_ghost_clear(sv_ghost *ghost)
{
    while (ghost->live > 0)
        forget_oldest(ghost);
}

int sv_ghost_check(const sv_ghost *ghost)
{
    if (ghost->spirits == NULL)
        return ghost->heads == NULL && ghost->live == 0 && ghost->limit == 0 && ghost->room == 0;
    if (ghost->live > ghost->limit || ghost->limit > ghost->room || ghost->used > ghost->room)
        return 0;
    uint32_t ordered = 0, chained = 0, unused = 0;
    for (uint32_t at = ghost->spirits[0].younger, before = 0; at != 0; before = at, at = ghost->spirits[at].younger)
        if (at > ghost->used || ghost->spirits[at].older != before || ++ordered > ghost->live)
            return 0;
    for (uint32_t at = ghost->free; at != 0; at = ghost->spirits[at].chain)
        if (at > ghost->used || ++unused > ghost->used)
            return 0;
    for (uint64_t bucket = 0; bucket < UINT64_C(1) << (64 - ghost->shift); bucket++) {
        uint32_t at = ghost->heads[bucket];
        for (; at != 0 && at < END_OF_CHAIN; at = ghost->spirits[at].chain)
            if (at > ghost->used || ++chained > ghost->live)
                return 0;
        if (at != 0 && at != (END_OF_CHAIN | bucket))
            return 0;
    }
    return ordered == ghost->live && chained == ghost->live && ghost->live + unused == ghost->used;
}
