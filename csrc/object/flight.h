/* One works, the crowd waits: the part of a load that exists only when somebody waits for it.
 *
 * A load that nobody else asks for has no flight. The first waiter makes one; the leader ends it with a value, with
 * its exception, or abandons it (then the waiters ask again from the start). Waiting lets other threads run, and can
 * be interrupted by a signal whose handler raises.
 *
 * No deadlock between threads: every waiting thread is on one list together with the flight it waits for. Before a
 * thread joins the list it walks from that flight's leader to what the leader itself waits for, and so on; if the
 * walk comes back to the thread, waiting would close a circle, and the thread must compute instead.
 */
#ifndef SV_FLIGHT_H
#define SV_FLIGHT_H

#include "refs.h"

typedef struct sv_flight sv_flight;

int sv_flight_setup(void);

/* A flight led by this thread (sv_thread_number). New reference; NULL with MemoryError. Runs no Python code. */
PyObject *sv_flight_new(uint64_t leader);

#define SV_FLIGHT_ASK_AGAIN 0
#define SV_FLIGHT_CIRCLE (-4)

/* Wait for the end. 1: `value` is the result (new reference); SV_FLIGHT_ASK_AGAIN: abandoned; SV_RAISED: the leader's
 * exception, or that of a signal handler, is set; SV_FLIGHT_CIRCLE: waiting would never end, nothing is set.
 * Call with nothing locked, and own a reference to the flight. */
int sv_flight_wait(PyObject *flight, PyObject **value);

/* End it; only the first end counts. The outcome is kept. None of them runs Python code. */
void sv_flight_land(PyObject *flight, PyObject *value);
void sv_flight_fail(PyObject *flight, PyObject *error);
void sv_flight_abandon(PyObject *flight);

/* In the child of a fork the other threads are gone, and with them whoever waited or led. */
void sv_flight_forked(void);

/* How many forks lie between this process and the one that loaded the module. */
extern uint32_t sv_fork_generation;

/* A number that each child of a fork has for itself; 0 before the first. */
extern uint64_t sv_fork_seed;

#endif
