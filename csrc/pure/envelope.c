#include "envelope.h"

#include <math.h>

#include "hash.h"

#define SUM_END (SV_ENVELOPE_START + 4u)

static uint64_t read_number(const unsigned char *bytes, unsigned size)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < size; i++)
        number = number << 8 | bytes[i];
    return number;
}

static double read_seconds(const unsigned char *bytes)
{
    uint64_t bits = read_number(bytes, 8);
    double seconds;
    memcpy(&seconds, &bits, sizeof seconds);
    return seconds;
}

/* Written so that what is no number is refused. Clocks differ, but nothing is younger than new. */
static int is_fresh(const unsigned char *times, double wall)
{
    double since = wall - read_seconds(times), soft = read_seconds(times + 8), hard = read_seconds(times + 16);
    double age = since < 0.0 ? 0.0 : since;
    return since > (double)-INFINITY && age < soft && age < hard && read_seconds(times + 24) >= 0.0;
}

/* The checksum over all that follows it. */
static uint64_t sum_of(const unsigned char *bytes, size_t length, const sv_expected *expected)
{
    unsigned char seed[SV_ENVELOPE_NAME + SV_ENVELOPE_START];
    memcpy(seed, expected->name, expected->name_length);
    memcpy(seed + expected->name_length, expected->start, SV_ENVELOPE_START);
    uint64_t seeded = sv_xxh3(seed, expected->name_length + SV_ENVELOPE_START, 0);
    return sv_xxh3(bytes + SUM_END, length - SUM_END, seeded) & UINT32_MAX;
}

int sv_envelope_is_plain(const unsigned char *bytes, size_t length, const sv_expected *expected)
{
    if (length < SV_ENVELOPE_HEAD || expected->name_length > SV_ENVELOPE_NAME)
        return 0;
    const unsigned char *times = bytes + SUM_END, *epoch = times + 32, *size = epoch + 8, *tags = size + 4;
    uint64_t body = length - SV_ENVELOPE_HEAD;
    return memcmp(bytes, expected->start, SV_ENVELOPE_START) == 0 && read_number(tags, 2) == 0 &&
           read_number(epoch, 8) == expected->epoch && read_number(size, 4) == body && body <= expected->most &&
           is_fresh(times, expected->wall) &&
           sum_of(bytes, length, expected) == read_number(bytes + SV_ENVELOPE_START, 4);
}
