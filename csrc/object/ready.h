/* An awaitable that is already done: what a call of a memoized `async def` returns on a hit.
 *
 * It is the stored value itself, so a hit makes no object: no task, no future, no event loop. It can be awaited by
 * anybody, any number of times, and walks like a coroutine (send, throw, close), so that create_task, gather and
 * wait_for take it. It keeps either a value or an exception, which is raised at every await.
 *
 * Memos that remember exceptions (`cache_exceptions`) store the latter form for plain functions too.
 */
#ifndef SV_READY_H
#define SV_READY_H

#include "refs.h"

typedef struct sv_ready {
    PyObject_HEAD
    PyObject *outcome;
    int raises;
} sv_ready;

#define SV_REMEMBERED_ERROR 2 /* `raises` of an exception that a memo of a plain function remembers */

extern PyTypeObject *sv_ready_type;
int sv_ready_setup(void);

/* New reference; the outcome is kept. May run the garbage collector. */
PyObject *sv_ready_new(PyObject *outcome, int raises);

SV_INLINE int sv_is_ready(PyObject *object) { return Py_TYPE(object) == sv_ready_type; }

/* The outcome: a new reference, or NULL with the exception set (its traceback begins anew). */
PyObject *sv_ready_outcome(PyObject *ready);

#endif
