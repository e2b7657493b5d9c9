#include "mrc.h"

int sv_mrc_open(sv_mrc *mrc, const sv_rule *rule, uint64_t living, const uint64_t *sizes, uint32_t count,
                uint64_t rate, uint64_t seed)
{
    if (rate == 0)
        rate = living > SV_MRC_ENTRIES ? living / SV_MRC_ENTRIES : 1;
    uint64_t chance = seed;
    *mrc = (sv_mrc){.threshold = UINT64_MAX / rate, .salt = sv_chance(&chance), .rate = rate};
    for (uint32_t i = 0; i <= count && i < SV_MRC_MOST; i++) {
        uint64_t size = i == 0 ? living : sizes[i - 1], mini = (size + rate / 2) / rate;
        if (sv_replay_open(&mrc->minis[i], rule, mini == 0 ? 1 : mini, seed) != SV_OK) {
            sv_mrc_close(mrc);
            return SV_NOMEM;
        }
        mrc->sizes[i] = size;
        mrc->count++;
    }
    return SV_OK;
}

void sv_mrc_close(sv_mrc *mrc)
{
    for (uint32_t i = 0; i < mrc->count; i++)
        sv_replay_close(&mrc->minis[i]);
    mrc->count = 0;
}

int sv_mrc_ask_slow(sv_mrc *mrc, uint64_t hash, uint32_t weight)
{
    int status = SV_OK;
    for (uint32_t i = 0; i < mrc->count; i++) {
        int answer = sv_replay_ask(&mrc->minis[i], hash, weight);
        if (answer < 0)
            status = answer;
    }
    return status;
}

void sv_mrc_forget(sv_mrc *mrc)
{
    for (uint32_t i = 0; i < mrc->count; i++) {
        sv_replay *mini = &mrc->minis[i];
        mini->requests = mini->hits = mini->requested_weight = mini->hit_weight = mini->evictions = 0;
    }
}

static double within_0_and_1(double ratio) { return ratio < 0.0 ? 0.0 : ratio > 1.0 ? 1.0 : ratio; }

double sv_mrc_expected(const sv_mrc *mrc, uint32_t number, double living_hit_ratio)
{
    double here = 1.0 - sv_replay_hit_ratio(&mrc->minis[0]), there = 1.0 - sv_mrc_alone(mrc, number);
    if (here <= 0.0)
        return within_0_and_1(living_hit_ratio);
    return within_0_and_1(1.0 - (1.0 - living_hit_ratio) * there / here);
}

double sv_mrc_alone(const sv_mrc *mrc, uint32_t number) { return sv_replay_hit_ratio(&mrc->minis[number + 1]); }

int sv_mrc_once(const sv_rule *rule, uint64_t living, const uint64_t *sizes, uint32_t count, uint64_t rate,
                uint64_t seed, const uint64_t *keys, const uint32_t *weights, size_t requests, double *expected)
{
    sv_replay_counts counts;
    sv_mrc mrc;
    int status = sv_replay_once(rule, living, seed, keys, weights, requests, &counts);
    if (status == SV_OK)
        status = sv_mrc_open(&mrc, rule, living, sizes, count, rate, seed);
    if (status != SV_OK)
        return status;
    for (size_t i = 0; i < requests && status == SV_OK; i++)
        status = sv_mrc_ask(&mrc, keys[i], weights == NULL ? 1 : weights[i]);
    for (uint32_t i = 0; i < count && status == SV_OK; i++)
        expected[i] = sv_mrc_expected(&mrc, i, counts.requests == 0 ? 0.0 : (double)counts.hits / (double)counts.requests);
    sv_mrc_close(&mrc);
    return status;
}
