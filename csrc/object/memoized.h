/* Memoized: a Memo with coalescing, options, and the verbs cache_invalidate, cache_contains, cache_set,
 * cache_refresh, cache_key and cache_stats. The verbs with an underscore carry the protocol of a load for the
 * coroutines that load a memoized `async def` (memo/coroutine.py): join, then settle, fail or abandon. */
#ifndef SV_MEMOIZED_H
#define SV_MEMOIZED_H

#include "memo.h"

extern PyTypeObject *sv_memoized_type;
int sv_memoized_setup(void);

/* Read (fn, maxsize, typed, key, coalesce, exceptions, copy, is_async), None where there is none. What comes out is
 * borrowed from `args`. SV_OK or SV_RAISED. */
int sv_memo_read_options(PyObject *args, PyObject **fn, sv_memo_options *options);

#endif
