/* Who loads and who waits: the atomic steps, shared by all that own a store. Threads and tasks are the business of the
 * floors above (app/loading.py, memo/coroutine.py); here a load is begun, joined, settled or given up in one step each.
 *
 *   join     HIT     a fresh value
 *            LEAD    you load; an old value that may still be served comes with it, if there is one
 *            FOLLOW  somebody else loads: wait on that flight
 *            REENTER you are inside this load yourself
 *   settle   the load is over; its value is stored unless it was fenced off
 *   drop     the load is over; nothing is stored
 *   abandon  the load goes on, but nobody may join it
 *
 * A load is fenced off when its key was deleted, set, made stale or cleared meanwhile, or one of the tags that its
 * value turned out to have was invalidated.
 */
#ifndef SV_PROTOCOL_H
#define SV_PROTOCOL_H

#include "visit.h"

extern PyObject *sv_missing; /* what stands where there is no value; a constant of the module */

enum { SV_ROLE_HIT, SV_ROLE_LEAD, SV_ROLE_FOLLOW, SV_ROLE_REENTER };

/* (key, flight, leader, fresh, gap) -> (role, number, flight, value, age, stamp) */
PyObject *sv_protocol_join(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (key, flight, leader) -> (number, value, age, stamp): lead a load whatever is stored */
PyObject *sv_protocol_refresh_begin(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (number, flight, value, fresh, tags, weight, cost) -> whether it was stored */
PyObject *sv_protocol_settle(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (number, flight, failed) */
PyObject *sv_protocol_drop(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (number, flight) */
PyObject *sv_protocol_abandon(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (tags, begun, joined) -> whether who joined then must ask again */
PyObject *sv_protocol_recheck(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (which, times): count what the floors above decided: "early", "queued", "refused", "shared" or
 * "rescued" */
PyObject *sv_protocol_tally(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (): from now on note when values are declared wrong (fences.h); of a store that has a ledger */
PyObject *sv_protocol_watch_fences(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);
/* (key, tags) -> seconds, as time.perf_counter() shows them, when that last happened to this key or one of these tags;
 * -inf: not since it is noted */
PyObject *sv_protocol_fenced_at(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count);

#endif
