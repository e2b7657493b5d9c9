/* Finds the parts of one reply to a meta command of Memcached (cluster/wire.py has them), in bytes that came off a socket.
 *
 *   VA 5 c17 f1\r\nhello\r\n         the line, and behind it a body of `size` bytes and a line end
 *     |        |
 *     words    line
 *
 * The one rule: the bytes are anybody's, and may end anywhere. Nothing beyond `length` is read.
 */
#ifndef SV_META_H
#define SV_META_H

#include "base.h"

#define SV_META_LINE 2048u              /* bytes of a line, at most */
#define SV_META_BODY (UINT64_C(1) << 30) /* and of a body: what -I allows */

#define SV_META_NOT_YET 0
#define SV_META_BARE 1  /* a line alone */
#define SV_META_VALUE 2 /* and a body of `size` bytes, which may still be to come */
#define SV_META_LONG (-4)
#define SV_META_SIZELESS (-5)

/* Lengths and places in bytes from the begin of a reply. */
typedef struct sv_meta {
    size_t code;  /* length of the first word */
    size_t words; /* where the flags begin, with the space before each; `line` where there are none */
    size_t line;  /* length of the line, without its end */
    size_t body;  /* where the body begins, or the next reply */
    uint64_t size;
} sv_meta;

/* Look at what begins here: one of the above. `reply` is filled in for the two that are replies. */
int sv_meta_look(const unsigned char *bytes, size_t length, sv_meta *reply);

#endif
