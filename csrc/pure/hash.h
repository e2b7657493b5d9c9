/* Hashes that other programs can repeat: XXH3-64 and XXH64, written from the xxHash specification (Collet, 0.1.1).
 *
 * Where a key lives must be the same in every process, on every machine and in every release, so Python's own hash,
 * which is salted per process, cannot place it. These give the same answer whatever the byte order, the alignment and
 * the width of the machine; what is read is read as little-endian. They are fast, not secret: who chooses the keys can
 * make them meet.
 */
#ifndef SV_HASH_H
#define SV_HASH_H

#include "base.h"

/* XXH3-64 of `length` bytes with the default secret (and the secret derived from `seed` where that is not 0). */
uint64_t sv_xxh3(const void *bytes, size_t length, uint64_t seed);

/* XXH64 of `length` bytes. */
uint64_t sv_xxh64(const void *bytes, size_t length, uint64_t seed);

/* Eight and four bytes as numbers, least significant first, from any address. */
SV_INLINE uint64_t sv_read64(const uint8_t *bytes)
{
    uint64_t number;
    memcpy(&number, bytes, sizeof(number));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    number = __builtin_bswap64(number);
#endif
    return number;
}
SV_INLINE uint32_t sv_read32(const uint8_t *bytes)
{
    uint32_t number;
    memcpy(&number, bytes, sizeof(number));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    number = __builtin_bswap32(number);
#endif
    return number;
}
SV_INLINE void sv_write64(uint8_t *bytes, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
}

#endif
