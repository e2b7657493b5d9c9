/* Four words for who owns a reference, and the pouch.
 *
 *   new       the caller receives a reference and must drop it
 *   borrowed  `_peek`: the caller receives none; it is good until Python code can run
 *   stolen    `_steal`: the callee takes the caller's reference over, on success and on failure
 *   kept      the callee takes a reference of its own
 *
 * Dropping a reference can run any Python code (`__del__`, weakref callbacks), which may call back into the very
 * structure that is being changed. So nothing is dropped in the middle of a change: it goes into the pouch, and the
 * pouch is emptied when the structure is whole and unlocked.
 */
#ifndef SV_REFS_H
#define SV_REFS_H

#include "compat.h"

/* One operation takes out an entry, a value and a flight at most; the pouch lies on the stack of every miss. */
#define SV_POUCH_ROOM 8

typedef struct sv_pouch {
    int count;
    PyObject *held[SV_POUCH_ROOM];
} sv_pouch;

#define SV_POUCH_EMPTY(pouch) ((pouch)->count = 0)

SV_INLINE void sv_pouch_put_steal(sv_pouch *pouch, PyObject *object)
{
    if (object == NULL)
        return;
    SV_ASSERT(pouch->count < SV_POUCH_ROOM);
    pouch->held[pouch->count++] = object;
}

/* Whether `more` further references fit. */
SV_INLINE int sv_pouch_has_room(const sv_pouch *pouch, int more) { return pouch->count + more <= SV_POUCH_ROOM; }

/* Call with nothing locked. An exception that is set survives. */
SV_INLINE void sv_pouch_drop(sv_pouch *pouch)
{
    while (pouch->count > 0)
        Py_DECREF(pouch->held[--pouch->count]);
}

#endif
