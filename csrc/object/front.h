/* The face of a cluster: what is asked most is looked for in its near cache here, before any Python code runs, and what
 * is not there is handed to the method that Python code gives for it.
 *
 *   verb                 on a miss, or without a near cache
 *   front.get            self._get
 *   front.get_or_set     self._get_or_set
 *   front[key]           self._item
 *
 * Where the face awaits, a hit is handed out as an awaitable that is done (object/ready.h), and front[key] is refused.
 *
 * The one rule: nothing is decided here. A miss is not counted either: the load that follows does that.
 */
#ifndef SV_FRONT_H
#define SV_FRONT_H

#include "cache.h"

extern PyTypeObject *sv_front_type;
int sv_front_setup(void);

/* Give a subclass the methods as its own: see sv_cache_adopt. SV_OK or SV_RAISED. */
int sv_front_adopt(PyObject *type);

#endif
