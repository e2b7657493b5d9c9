#include "hash.h"

#define P32_1 UINT64_C(0x9E3779B1)
#define P32_2 UINT64_C(0x85EBCA77)
#define P32_3 UINT64_C(0xC2B2AE3D)
#define P64_1 UINT64_C(0x9E3779B185EBCA87)
#define P64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P64_3 UINT64_C(0x165667B19E3779F9)
#define P64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define P64_5 UINT64_C(0x27D4EB2F165667C5)
#define MIX_1 UINT64_C(0x165667919E3779F9)
#define MIX_2 UINT64_C(0x9FB21C651E98DF25)

#define SECRET_LENGTH 192u
#define STRIPE 64u
#define STRIPES_PER_BLOCK ((SECRET_LENGTH - STRIPE) / 8)
#define BLOCK (STRIPE * STRIPES_PER_BLOCK)

_Static_assert(BLOCK == 1024, "the default secret makes blocks of a kilobyte");

/* The default secret of the specification. */
static const uint8_t secret_bytes[SECRET_LENGTH] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d,
    0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0,
    0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0,
    0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b,
    0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac,
    0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51,
    0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34,
    0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49,
    0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8,
    0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b,
    0x40, 0x7e,
};

SV_INLINE uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

SV_INLINE uint32_t swap32(uint32_t x)
{
    return x << 24 | (x & 0xFF00) << 8 | (x >> 8 & 0xFF00) | x >> 24;
}

SV_INLINE uint64_t swap64(uint64_t x)
{
    return (uint64_t)swap32((uint32_t)x) << 32 | swap32((uint32_t)(x >> 32));
}

/* Two neighbouring words of the default secret, folded. */
SV_INLINE uint64_t secret_pair(unsigned at) { return sv_read64(secret_bytes + at) ^ sv_read64(secret_bytes + at + 8); }

SV_INLINE uint64_t avalanche(uint64_t x)
{
    x = (x ^ x >> 37) * MIX_1;
    return x ^ x >> 32;
}

SV_INLINE uint64_t avalanche_64(uint64_t x)
{
    x = (x ^ x >> 33) * P64_2;
    x = (x ^ x >> 29) * P64_3;
    return x ^ x >> 32;
}

/* ------------------------------------------------------------------ XXH3: 0 to 16 bytes */

SV_INLINE uint64_t of_1_to_3(const uint8_t *in, size_t length, uint64_t seed)
{
    uint32_t combined = (uint32_t)in[length - 1] | (uint32_t)length << 8 | (uint32_t)in[0] << 16 |
                        (uint32_t)in[length >> 1] << 24;
    uint64_t key = sv_read32(secret_bytes) ^ sv_read32(secret_bytes + 4);
    return avalanche_64((key + seed) ^ combined);
}

SV_INLINE uint64_t of_4_to_8(const uint8_t *in, size_t length, uint64_t seed)
{
    uint64_t combined = sv_read32(in + length - 4) | (uint64_t)sv_read32(in) << 32;
    seed ^= (uint64_t)swap32((uint32_t)seed) << 32;
    uint64_t value = (secret_pair(8) - seed) ^ combined;
    value ^= rotate(value, 49) ^ rotate(value, 24);
    value *= MIX_2;
    value ^= (value >> 35) + length;
    value *= MIX_2;
    return value ^ value >> 28;
}

SV_INLINE uint64_t of_9_to_16(const uint8_t *in, size_t length, uint64_t seed)
{
    uint64_t low = (secret_pair(24) + seed) ^ sv_read64(in);
    uint64_t high = (secret_pair(40) - seed) ^ sv_read64(in + length - 8);
    return avalanche(length + swap64(low) + high + sv_fold(low, high));
}

SV_INLINE uint64_t of_few(const uint8_t *in, size_t length, uint64_t seed)
{
    if (SV_LIKELY(length > 8))
        return of_9_to_16(in, length, seed);
    if (SV_LIKELY(length >= 4))
        return of_4_to_8(in, length, seed);
    return length > 0 ? of_1_to_3(in, length, seed) : avalanche_64(seed ^ secret_pair(56));
}

/* ------------------------------------------------------------------ XXH3: 17 to 240 bytes */

SV_INLINE uint64_t mix(const uint8_t *in, size_t at, uint64_t seed)
{
    return sv_fold(sv_read64(in) ^ (sv_read64(secret_bytes + at) + seed),
                   sv_read64(in + 8) ^ (sv_read64(secret_bytes + at + 8) - seed));
}

static uint64_t of_17_to_128(const uint8_t *in, size_t length, uint64_t seed)
{
    uint64_t sum = length * P64_1;
    for (size_t i = (length - 1) / 32 + 1; i-- > 0;) /* pairs from both ends towards the middle */
        sum += mix(in + 16 * i, 32 * i, seed) + mix(in + length - 16 * i - 16, 32 * i + 16, seed);
    return avalanche(sum);
}

static uint64_t of_129_to_240(const uint8_t *in, size_t length, uint64_t seed)
{
    uint64_t sum = length * P64_1;
    for (size_t i = 0; i < 8; i++)
        sum += mix(in + 16 * i, 16 * i, seed);
    sum = avalanche(sum);
    for (size_t i = 8; i < length / 16; i++)
        sum += mix(in + 16 * i, 16 * (i - 8) + 3, seed);
    return avalanche(sum + mix(in + length - 16, 119, seed));
}

/* ------------------------------------------------------------------ XXH3: 241 bytes and more */

SV_INLINE void accumulate(uint64_t sums[8], const uint8_t *stripe, const uint8_t *secret)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t lane = sv_read64(stripe + 8 * i), keyed = lane ^ sv_read64(secret + 8 * i);
        sums[i ^ 1] += lane;
        sums[i] += (keyed & UINT32_MAX) * (keyed >> 32);
    }
}

SV_INLINE void scramble(uint64_t sums[8], const uint8_t *secret)
{
    for (unsigned i = 0; i < 8; i++)
        sums[i] = (sums[i] ^ sums[i] >> 47 ^ sv_read64(secret + 8 * i)) * P32_1;
}

SV_INLINE uint64_t merged(const uint64_t sums[8], uint64_t start, const uint8_t *secret)
{
    for (unsigned i = 0; i < 4; i++)
        start += sv_fold(sums[2 * i] ^ sv_read64(secret + 16 * i), sums[2 * i + 1] ^ sv_read64(secret + 16 * i + 8));
    return avalanche(start);
}

static uint64_t of_many(const uint8_t *in, size_t length, uint64_t seed)
{
    uint8_t derived[SECRET_LENGTH];
    const uint8_t *secret = secret_bytes;
    if (seed != 0) {
        for (unsigned at = 0; at < SECRET_LENGTH; at += 16) {
            sv_write64(derived + at, sv_read64(secret_bytes + at) + seed);
            sv_write64(derived + at + 8, sv_read64(secret_bytes + at + 8) - seed);
        }
        secret = derived;
    }
    uint64_t sums[8] = {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1};
    const uint8_t *block = in, *last = in + (length - 1) / BLOCK * BLOCK, *end = in + length;
    for (; block < last; block += BLOCK) {
        for (size_t stripe = 0; stripe < STRIPES_PER_BLOCK; stripe++)
            accumulate(sums, block + STRIPE * stripe, secret + 8 * stripe);
        scramble(sums, secret + SECRET_LENGTH - STRIPE);
    }
    for (size_t stripe = 0; stripe < (size_t)(end - last - 1) / STRIPE; stripe++)
        accumulate(sums, last + STRIPE * stripe, secret + 8 * stripe);
    accumulate(sums, end - STRIPE, secret + SECRET_LENGTH - 71);
    return merged(sums, length * P64_1, secret + 11);
}

uint64_t sv_xxh3(const void *bytes, size_t length, uint64_t seed)
{
    const uint8_t *in = bytes;
    if (SV_LIKELY(length <= 16))
        return of_few(in, length, seed);
    if (SV_LIKELY(length <= 128))
        return of_17_to_128(in, length, seed);
    return length <= 240 ? of_129_to_240(in, length, seed) : of_many(in, length, seed);
}

/* ------------------------------------------------------------------ XXH64 */

SV_INLINE uint64_t round_64(uint64_t sum, uint64_t lane) { return rotate(sum + lane * P64_2, 31) * P64_1; }

SV_INLINE uint64_t merge_64(uint64_t sum, uint64_t part) { return (sum ^ round_64(0, part)) * P64_1 + P64_4; }

static uint64_t tail_64(uint64_t sum, const uint8_t *in, size_t left)
{
    for (; left >= 8; in += 8, left -= 8)
        sum = rotate(sum ^ round_64(0, sv_read64(in)), 27) * P64_1 + P64_4;
    if (left >= 4) {
        sum = rotate(sum ^ sv_read32(in) * P64_1, 23) * P64_2 + P64_3;
        in += 4, left -= 4;
    }
    for (; left > 0; in++, left--)
        sum = rotate(sum ^ *in * P64_5, 11) * P64_1;
    return avalanche_64(sum);
}

uint64_t sv_xxh64(const void *bytes, size_t length, uint64_t seed)
{
    const uint8_t *in = bytes;
    size_t left = length;
    uint64_t sum = seed + P64_5;
    if (length >= 32) {
        uint64_t a = seed + P64_1 + P64_2, b = seed + P64_2, c = seed, d = seed - P64_1;
        for (; left >= 32; in += 32, left -= 32) {
            a = round_64(a, sv_read64(in));
            b = round_64(b, sv_read64(in + 8));
            c = round_64(c, sv_read64(in + 16));
            d = round_64(d, sv_read64(in + 24));
        }
        sum = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        sum = merge_64(merge_64(merge_64(merge_64(sum, a), b), c), d);
    }
    return tail_64(sum + length, in, left);
}
