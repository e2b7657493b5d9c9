#include "diary.h"

#define IN_A_MINI 1024u /* keys of a full cache that are in the sample */
#define TIMES 32u

void sv_diary_open(sv_diary *diary, uint64_t entries, uint64_t seed)
{
    uint64_t rate = entries <= IN_A_MINI ? 1 : entries / IN_A_MINI, sampled = entries / rate;
    uint32_t most = SV_DIARY_FIRST;
    *diary = (sv_diary){.threshold = UINT64_MAX / rate, .salt = sv_chance(&seed), .rate = rate};
    while (most < SV_DIARY_MOST && most < sampled * TIMES)
        most *= 2;
    diary->most = most;
}

void sv_diary_close(sv_diary *diary)
{
    sv_free(diary->hashes);
    diary->hashes = NULL;
    diary->room = diary->most = 0;
    diary->noted = 0;
}

SV_NOINLINE void sv_diary_note_slowly(sv_diary *diary, uint64_t line)
{
    uint32_t room = diary->room == 0 ? SV_DIARY_FIRST : diary->room * 2;
    uint64_t *hashes = sv_realloc(diary->hashes, room * sizeof(uint64_t));
    if (hashes == NULL) {
        diary->most = diary->room;
        return;
    }
    diary->hashes = hashes;
    diary->room = room;
    diary->hashes[diary->noted++] = line;
}
