#include "flight.h"

#include "clock.h"
#include "pure/base.h"

uint32_t sv_fork_generation = 0;
uint64_t sv_fork_seed = 0;

enum { FLYING, LANDED, FAILED, ABANDONED };

/* Lives on the stack of the thread that waits. Both lists are guarded by `tower`. */
typedef struct waiter {
    PyThread_type_lock wake; /* held; released once, at the flight's end */
    uint64_t thread;
    sv_flight *flight;
    struct waiter *next_here;       /* of this flight */
    struct waiter *prev, *next;     /* of all flights */
} waiter;

struct sv_flight {
    PyObject_HEAD
    uint64_t leader;
    int state;
    PyObject *outcome;
    waiter *waiters;
    uint32_t generation; /* of forks: waiters of an earlier one are gone, and so are the stacks that they lay on */
};

static PyTypeObject *flight_type = NULL;
static sv_mutex tower; /* guards every flight's state, outcome and waiters, and the list of all waiters */
static waiter *everybody = NULL;

PyObject *sv_flight_new(uint64_t leader)
{
    sv_flight *flight = PyObject_New(sv_flight, flight_type);
    if (flight == NULL)
        return NULL;
    flight->leader = leader;
    flight->state = FLYING;
    flight->outcome = NULL;
    flight->waiters = NULL;
    flight->generation = sv_fork_generation;
    return (PyObject *)flight;
}

/* ------------------------------------------------------------------ waiting */

/* Every edge was checked when it was drawn, so the walk ends. A thread waits for more than one flight when a signal
 * handler that interrupted its wait waits for another. */
static int closes_circle_locked(const sv_flight *flight, uint64_t me)
{
    if (flight->state != FLYING)
        return 0;
    if (flight->leader == me)
        return 1;
    for (waiter *one = everybody; one != NULL; one = one->next)
        if (one->thread == flight->leader && closes_circle_locked(one->flight, me))
            return 1;
    return 0;
}

static void drop_the_lost_locked(sv_flight *flight)
{
    if (flight->generation != sv_fork_generation) {
        flight->generation = sv_fork_generation;
        flight->waiters = NULL;
    }
}

static void enlist_locked(waiter *me)
{
    drop_the_lost_locked(me->flight);
    me->next_here = me->flight->waiters;
    me->flight->waiters = me;
    me->prev = NULL;
    me->next = everybody;
    if (everybody != NULL)
        everybody->prev = me;
    everybody = me;
}

static void delist_locked(waiter *me)
{
    for (waiter **at = &me->flight->waiters; *at != NULL; at = &(*at)->next_here)
        if (*at == me) {
            *at = me->next_here;
            break;
        }
    if (me->prev != NULL)
        me->prev->next = me->next;
    else
        everybody = me->next;
    if (me->next != NULL)
        me->next->prev = me->prev;
}

/* SV_OK when woken, SV_RAISED when a signal's handler raised. */
static int sleep_until_woken(waiter *me)
{
    for (;;) {
        PyLockStatus status;
        Py_BEGIN_ALLOW_THREADS
        status = PyThread_acquire_lock_timed(me->wake, -1, 1);
        Py_END_ALLOW_THREADS
        if (status == PY_LOCK_ACQUIRED)
            return SV_OK;
        if (PyErr_CheckSignals() < 0)
            return SV_RAISED;
    }
}

int sv_flight_wait(PyObject *object, PyObject **value)
{
    sv_flight *flight = (sv_flight *)object;
    waiter me = {.wake = PyThread_allocate_lock(), .thread = sv_thread_number(), .flight = flight};
    if (me.wake == NULL) {
        PyErr_NoMemory();
        return SV_RAISED;
    }
    PyThread_acquire_lock(me.wake, WAIT_LOCK);

    sv_mutex_lock(&tower);
    int waits = flight->state == FLYING, circle = waits && closes_circle_locked(flight, me.thread);
    if (waits && !circle)
        enlist_locked(&me);
    sv_mutex_unlock(&tower);

    int status = SV_OK;
    if (waits && !circle) {
        status = sleep_until_woken(&me);
        sv_mutex_lock(&tower); /* also: whoever woke us has let go of the lock that we free below */
        delist_locked(&me);
        sv_mutex_unlock(&tower);
    }
    PyThread_free_lock(me.wake);
    if (circle)
        return SV_FLIGHT_CIRCLE;
    if (status != SV_OK)
        return status;
    if (flight->state == LANDED) {
        *value = Py_NewRef(flight->outcome);
        return 1;
    }
    if (flight->state == ABANDONED)
        return SV_FLIGHT_ASK_AGAIN;
    sv_raised_put_steal(Py_NewRef(flight->outcome));
    return SV_RAISED;
}

/* ------------------------------------------------------------------ ends */

static void end(PyObject *object, int state, PyObject *outcome)
{
    sv_flight *flight = (sv_flight *)object;
    sv_mutex_lock(&tower);
    if (flight->state == FLYING) {
        drop_the_lost_locked(flight);
        flight->outcome = Py_XNewRef(outcome);
        flight->state = state;
        for (waiter *one = flight->waiters; one != NULL; one = one->next_here)
            PyThread_release_lock(one->wake);
        flight->waiters = NULL;
    }
    sv_mutex_unlock(&tower);
}

void sv_flight_land(PyObject *flight, PyObject *value) { end(flight, LANDED, value); }
void sv_flight_fail(PyObject *flight, PyObject *error) { end(flight, FAILED, error); }
void sv_flight_abandon(PyObject *flight) { end(flight, ABANDONED, NULL); }

void sv_flight_forked(void)
{
    memset(&tower, 0, sizeof(tower));
    everybody = NULL;
    sv_fork_generation++;
    sv_fork_seed = sv_clock_precise(); /* siblings are forked one after the other */
    sv_fork_seed = sv_chance(&sv_fork_seed);
}

/* ------------------------------------------------------------------ the type */

static void flight_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((sv_flight *)self)->outcome);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot flight_slots[] = {
    {Py_tp_doc, "A load that somebody waits for. Internal."},
    {Py_tp_dealloc, flight_dealloc},
    {0, NULL},
};

static PyType_Spec flight_spec = {
    .name = "samovar._core.Flight",
    .basicsize = sizeof(sv_flight),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = flight_slots,
};

int sv_flight_setup(void)
{
    if (flight_type == NULL)
        flight_type = (PyTypeObject *)PyType_FromSpec(&flight_spec);
    return flight_type == NULL ? SV_RAISED : SV_OK;
}
