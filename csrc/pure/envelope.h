/* Opens the envelopes that nothing but the clock has to say about: fresh, of the node's epoch, without tags, neither signed
 * nor compressed. Most are. All others, and what is damaged, are for samovar/cluster/envelope.py, which draws the format
 * and says what is wrong with them.
 *
 *   start 5 | sum 4 | created 8, soft 8, hard 8, cost 8 | epoch 8 | size 4 | tags 2 | body         big-endian
 *
 * The one rule: the bytes are anybody's. Nothing of them is believed before the sum, and nothing beyond `length` is read.
 */
#ifndef SV_ENVELOPE_H
#define SV_ENVELOPE_H

#include "base.h"

#define SV_ENVELOPE_START 5u
#define SV_ENVELOPE_HEAD 55u
#define SV_ENVELOPE_NAME 250u /* bytes of a name, at most: a longer one is for the others */

/* What is known about an envelope that is to be opened. */
typedef struct sv_expected {
    const unsigned char *start; /* SV_ENVELOPE_START bytes: magic, version, codec, flags */
    const char *name;           /* the key's, which the sum is seeded by */
    size_t name_length;
    uint64_t epoch, most; /* most: bytes of a body */
    double wall;          /* seconds of the wall clock */
} sv_expected;

/* Whether an envelope is such a one. Its body lies behind SV_ENVELOPE_HEAD and fills the rest. */
int sv_envelope_is_plain(const unsigned char *bytes, size_t length, const sv_expected *expected);

#endif
