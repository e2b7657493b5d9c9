/* Lets the replies of a Redis pass (RESP2), but for bodies that are larger than anything of ours: these are cut to their
 * first bytes on the way, so that a reader never holds one.
 *
 *   in    $5\r\nhello\r\n  $900000000\r\nVxxxxxxxxxxxxxxx...............\r\n  :1\r\n       most 1000, keep 4
 *   out   $5\r\nhello\r\n  $4\r\nVxxx\r\n                                     :1\r\n
 *
 * The line end goes out as soon as what is kept is there: whoever reads need not wait for what is dropped.
 *
 * What comes is cut anywhere; a length that is not whole yet is held back until it is. Nesting does not matter: an array's
 * parts follow each other.
 *
 * The one rule: keep is less than most, so that what goes out is never longer than what came in and what was held.
 */
#ifndef SV_BULKS_H
#define SV_BULKS_H

#include "base.h"

#define SV_BULKS_HELD 24u
#define SV_BULKS_WRONG (-4) /* no length: this is not RESP */

typedef struct sv_bulks {
    uint64_t most, keep;
    uint64_t body; /* bytes of a body that are still to pass, its line end included where nothing is cut */
    uint64_t cut;  /* and, after them, to be dropped: a line end was put in their place */
    uint32_t place;
    uint32_t held;
    unsigned char length[SV_BULKS_HELD]; /* "$123": what came of a length */
} sv_bulks;

/* Where all is zeros but for most and keep, nothing came yet. */

/* Whether a chunk passes as it is: 1, and it is accounted for; 0: `sv_bulks_sift` has something to do, and nothing was
 * changed; SV_BULKS_WRONG. */
int sv_bulks_pass(sv_bulks *bulks, const unsigned char *chunk, size_t size);

/* Write what remains of a chunk to `out`, which has room for size + SV_BULKS_HELD bytes; how many. It was looked at by
 * `sv_bulks_pass` before, and is RESP. */
size_t sv_bulks_sift(sv_bulks *bulks, const unsigned char *chunk, size_t size, unsigned char *out);

#endif
