/* MD5 (RFC 1321), for one purpose: the points of a ketama ring, which other clients compute with it. Not for secrets. */
#ifndef SV_MD5_H
#define SV_MD5_H

#include "base.h"

void sv_md5(const void *bytes, size_t length, uint8_t digest[16]);

/* The first four bytes of the digest as a number, least significant first. What fits one block, up to 55 bytes, is taken
 * from where it lies into the words of the block: no copy, and no byte that is read back as part of a word. */
uint32_t sv_md5_first(const void *bytes, size_t length);

#endif
