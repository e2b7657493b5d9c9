/* Single flight by itself: loads whose results nobody keeps, led by a thread that calls a function.
 *
 * The commonest flight is one that nobody else asks for. It is a `lone`: a thread's number and a state, in the place
 * where the load's flight is kept. The first who wants to wait for it, or to draw an edge from it, makes a whole flight
 * (_base/flight.py) and gives it to the lone, which accepts one as long as it flies, and hands it to all who come later.
 *
 *   leader                                      waiter
 *   1. the load leaves the store                1. finds the lone in the store
 *   2. the lone ends, and gives up its flight   2. gives it a flight: accepted before 2 of the leader, else asks again
 *   3. that flight, if there is one, ends       3. waits for it
 *
 * Where Python code can run: while a key is hashed and compared, in the function itself, in the floors above (a flight's
 * ends, `_wait`, `_refuse`), and when references are dropped. Nothing is locked then but for the comparing, after which
 * sv_store_find looks again if the store moved; the load's number is the leader's until it ends it.
 *
 * A lone refers to its flight only while it flies, and then the leader's stack holds both: the collector need not know.
 */
#ifndef SV_SINGLE_H
#define SV_SINGLE_H

#include "store.h"

typedef struct sv_single {
    PyObject_HEAD
    sv_store store; /* of loads alone: no entry ever has a value */
} sv_single;

extern PyTypeObject *sv_single_type, *sv_lone_type;
extern PyObject *sv_inside; /* a contextvars.ContextVar: the flights whose bodies this code is in, as a tuple */

const char *sv_single_check(PyObject *single);
int sv_single_setup(void);

#endif
