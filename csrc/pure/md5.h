/* MD5 (RFC 1321), for one purpose: the points of a ketama ring, which other clients compute with it. Not for secrets. */
#ifndef SV_MD5_H
#define SV_MD5_H

#include "base.h"

void sv_md5(const void *bytes, size_t length, uint8_t digest[16]);

#endif
