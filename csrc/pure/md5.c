#include "md5.h"

#include "hash.h"

typedef struct state {
    uint32_t a, b, c, d;
} state;

SV_INLINE uint32_t turn(uint32_t x, unsigned by) { return x << by | x >> (32 - by); }

/* The four auxiliary functions of section 3.4. Each step waits for x, which the step before it made, so x comes last; and
 * G is a sum, for its halves share no bit, so that one half is added while x is on its way. */
#define F(x, y, z) ((((y) ^ (z)) & (x)) ^ (z))
#define G(x, y, z) (~(z) & (y)) + ((z) & (x))
#define H(x, y, z) (((y) ^ (z)) ^ (x))
#define I(x, y, z) ((~(z) | (x)) ^ (y))

#define STEP(f, a, b, c, d, k, by, t) (a = turn(a + word[k] + UINT32_C(t) + f(b, c, d), by) + b)

/* Four steps of a round: words k0 to k3, constants t0 to t3 of the sine table. */
#define FOUR(f, k0, k1, k2, k3, s0, s1, s2, s3, t0, t1, t2, t3)                                                        \
    STEP(f, a, b, c, d, k0, s0, t0), STEP(f, d, a, b, c, k1, s1, t1), STEP(f, c, d, a, b, k2, s2, t2),                 \
        STEP(f, b, c, d, a, k3, s3, t3)

/* Section 3.4 for one block. Inline: who asks for `a` alone is spared the three steps that come after its last. */
SV_INLINE state digested(state now, const uint32_t word[16])
{
    uint32_t a = now.a, b = now.b, c = now.c, d = now.d;

    FOUR(F, 0, 1, 2, 3, 7, 12, 17, 22, 0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee);
    FOUR(F, 4, 5, 6, 7, 7, 12, 17, 22, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501);
    FOUR(F, 8, 9, 10, 11, 7, 12, 17, 22, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be);
    FOUR(F, 12, 13, 14, 15, 7, 12, 17, 22, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821);

    FOUR(G, 1, 6, 11, 0, 5, 9, 14, 20, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa);
    FOUR(G, 5, 10, 15, 4, 5, 9, 14, 20, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8);
    FOUR(G, 9, 14, 3, 8, 5, 9, 14, 20, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed);
    FOUR(G, 13, 2, 7, 12, 5, 9, 14, 20, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a);

    FOUR(H, 5, 8, 11, 14, 4, 11, 16, 23, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c);
    FOUR(H, 1, 4, 7, 10, 4, 11, 16, 23, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70);
    FOUR(H, 13, 0, 3, 6, 4, 11, 16, 23, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05);
    FOUR(H, 9, 12, 15, 2, 4, 11, 16, 23, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665);

    FOUR(I, 0, 7, 14, 5, 6, 10, 15, 21, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039);
    FOUR(I, 12, 3, 10, 1, 6, 10, 15, 21, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1);
    FOUR(I, 8, 15, 6, 13, 6, 10, 15, 21, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1);
    FOUR(I, 4, 11, 2, 9, 6, 10, 15, 21, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391);

    return (state){now.a + a, now.b + b, now.c + c, now.d + d};
}

static const state begun = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

static void digest_block(state *now, const uint8_t *block)
{
    uint32_t word[16];
    for (unsigned i = 0; i < 16; i++)
        word[i] = sv_read32(block + 4 * i);
    *now = digested(*now, word);
}

static void write32(uint8_t *bytes, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
}

void sv_md5(const void *bytes, size_t length, uint8_t digest[16])
{
    const uint8_t *in = bytes;
    state now = begun;
    size_t left = length;
    for (; left >= 64; in += 64, left -= 64)
        digest_block(&now, in);
    uint8_t tail[128]; /* what is left, a single 1 bit, zeros, and the length in bits: section 3.1 and 3.2 */
    size_t blocks = left < 56 ? 64 : 128;
    memset(tail, 0, 64);
    if (SV_UNLIKELY(blocks > 64))
        memset(tail + 64, 0, 64);
    if (left > 0)
        memcpy(tail, in, left);
    tail[left] = 0x80;
    sv_write64(tail + blocks - 8, (uint64_t)length << 3);
    for (size_t at = 0; at < blocks; at += 64)
        digest_block(&now, tail + at);
    write32(digest, now.a);
    write32(digest + 4, now.b);
    write32(digest + 8, now.c);
    write32(digest + 12, now.d);
}

/* The last `count` bytes, three at most, and the single 1 bit behind them. */
SV_INLINE uint32_t last_word(const uint8_t *in, size_t count)
{
    switch (count) {
    case 0: return 0x80;
    case 1: return 0x8000 | in[0];
    case 2: return UINT32_C(0x800000) | (uint32_t)in[1] << 8 | in[0];
    default: return UINT32_C(0x80000000) | (uint32_t)in[2] << 16 | (uint32_t)in[1] << 8 | in[0];
    }
}

uint32_t sv_md5_first(const void *bytes, size_t length)
{
    if (SV_UNLIKELY(length >= 56)) {
        uint8_t digest[16];
        sv_md5(bytes, length, digest);
        return sv_read32(digest);
    }
    const uint8_t *in = bytes;
    uint32_t word[16] = {0};
    size_t whole = length / 4;
    for (size_t i = 0; i < whole; i++)
        word[i] = sv_read32(in + 4 * i);
    word[whole] = last_word(in + 4 * whole, length % 4);
    word[14] = (uint32_t)length << 3;
    return digested(begun, word).a;
}
