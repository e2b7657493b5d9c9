#include "protocol.h"

#include "flight.h"

PyObject *sv_missing = NULL;

/* What join found out, in C; becomes its tuple once nothing is locked. */
typedef struct sv_joined {
    int role;
    long long number;
    PyObject *flight, *value; /* new references, or NULL */
    double age;               /* seconds since the value stopped being fresh */
    uint64_t stamp;
} sv_joined;

/* ------------------------------------------------------------------ joining */

static double age_of(const sv_store *store, sv_handle handle, uint64_t now)
{
    uint64_t fresh_until = store->ledger == NULL ? SV_NEVER : sv_ledger_fresh_until(store->ledger, handle);
    if (fresh_until == SV_NEVER)
        return -Py_HUGE_VAL;
    return now >= fresh_until ? (double)(now - fresh_until) * 1e-9 : -(double)(fresh_until - now) * 1e-9;
}

static void hand_value(const sv_store *store, sv_handle handle, uint64_t now, sv_joined *joined)
{
    joined->value = Py_NewRef((PyObject *)store->slab.boxes[handle].value);
    joined->age = age_of(store, handle, now);
}

static void lead(sv_store *store, uint32_t number, PyObject *flight, sv_joined *joined)
{
    sv_load *load = &store->loads[number];
    load->flight = Py_NewRef(flight);
    joined->role = SV_ROLE_LEAD;
    joined->number = number;
    joined->flight = Py_NewRef(flight);
    joined->stamp = load->begun;
    store->counts.loads++;
}

static int begin_again(sv_store *store, sv_handle handle, PyObject *flight, uint64_t leader, sv_joined *joined)
{
    uint32_t number;
    int status = sv_store_begin_again(store, handle, leader, &number);
    if (status == SV_OK)
        lead(store, number, flight, joined);
    return status;
}

/* Somebody loads this entry already. 1 when that somebody can be waited for. */
static int follow(sv_store *store, uint32_t number, uint64_t leader, sv_joined *joined)
{
    const sv_load *load = &store->loads[number];
    if (load->generation != sv_fork_generation || load->flight == NULL) /* its leader is gone, with its process */
        return 0;
    joined->role = load->leader == leader ? SV_ROLE_REENTER : SV_ROLE_FOLLOW;
    joined->number = number;
    joined->flight = Py_NewRef(load->flight);
    joined->stamp = store->ledger == NULL ? 0 : store->ledger->tags.clock;
    return 1;
}

/* XFetch: is_due of _base/early.py, but for a load that runs already. */
static int is_early(const sv_store *store, sv_handle handle, uint64_t now, double gap)
{
    const sv_ledger *ledger = store->ledger;
    if (gap <= 0 || ledger == NULL || handle >= ledger->stays_room || ledger->stays[handle].fresh_until == SV_NEVER)
        return 0;
    const sv_stay *stay = &ledger->stays[handle];
    return (double)(stay->fresh_until - now) * 1e-9 <= (double)stay->cost * gap &&
           sv_store_renewal(store, handle) == SV_NO_LOAD;
}

static int join_fresh(sv_store *store, sv_handle handle, const sv_visit *visit, PyObject *const *args, uint64_t leader,
                      double gap, sv_joined *joined)
{
    int status = SV_OK;
    if (SV_UNLIKELY(is_early(store, handle, visit->now, gap)))
        status = begin_again(store, handle, args[1], leader, joined);
    if (status != SV_OK)
        return status;
    hand_value(store, handle, visit->now, joined);
    store->counts.hits++;
    sv_store_touch(store, handle);
    if (store->ledger != NULL)
        sv_ledger_asked_for(store->ledger, handle, visit->now);
    return SV_OK;
}

static int join_stale(sv_store *store, sv_handle handle, const sv_visit *visit, PyObject *const *args, uint64_t leader,
                      const sv_terms *terms, sv_joined *joined)
{
    uint32_t number = sv_store_renewal(store, handle);
    int status = SV_OK;
    if (number == SV_NO_LOAD || !follow(store, number, leader, joined))
        status = begin_again(store, handle, args[1], leader, joined);
    if (status != SV_OK)
        return status;
    hand_value(store, handle, visit->now, joined);
    if (joined->age < (double)terms->swr * 1e-9) {
        store->ledger->stale_hits++;
        sv_store_touch(store, handle);
        return SV_OK;
    }
    store->counts.misses++;
    store->counts.coalesced += joined->role == SV_ROLE_FOLLOW;
    store->counts.loads += joined->role == SV_ROLE_REENTER;
    return SV_OK;
}

static int join_loading(sv_store *store, sv_handle handle, PyObject *const *args, uint64_t leader, sv_joined *joined)
{
    if (!follow(store, store->slab.boxes[handle].prev, leader, joined)) {
        int status = begin_again(store, handle, args[1], leader, joined);
        if (status != SV_OK)
            return status;
    }
    store->counts.misses++;
    store->counts.coalesced += joined->role == SV_ROLE_FOLLOW;
    store->counts.loads += joined->role == SV_ROLE_REENTER;
    return SV_OK;
}

static int join_absent(sv_store *store, const sv_visit *visit, PyObject *const *args, uint64_t leader, sv_joined *joined)
{
    uint32_t number;
    int status = sv_store_begin(store, Py_NewRef(args[0]), visit->asked.hash, leader, &number);
    if (status != SV_OK) {
        Py_DECREF(args[0]); /* not the last one */
        return status;
    }
    lead(store, number, args[1], joined);
    store->counts.misses++;
    return SV_OK;
}

static int join_locked(sv_store *store, sv_visit *visit, PyObject *const *args, uint64_t leader, const sv_terms *terms,
                       double gap, sv_joined *joined)
{
    sv_handle handle;
    int found = sv_visit_find_locked(store, visit, &handle);
    if (found < 0)
        return found;
    if (found == 1)
        return join_fresh(store, handle, visit, args, leader, gap, joined);
    if (handle == SV_NONE)
        return join_absent(store, visit, args, leader, joined);
    if (store->slab.boxes[handle].value == NULL)
        return join_loading(store, handle, args, leader, joined);
    return join_stale(store, handle, visit, args, leader, terms, joined);
}

/* None where there is no ledger: then no word counts. */
static int terms_of(const sv_store *store, PyObject *fresh, sv_terms *terms)
{
    if (store->ledger != NULL)
        return sv_terms_of(store->ledger, fresh, terms);
    *terms = (sv_terms){.ttl = SV_NEVER, .tti = SV_NEVER, .negative = SV_NEVER};
    return SV_OK;
}

static int is_dated(const sv_store *store) { return store->ledger != NULL && SV_GLANCE(store->ledger->dated); }

PyObject *sv_protocol_join(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    sv_visit visit;
    sv_terms terms;
    sv_joined joined = {.number = -1};
    int status;
    if (sv_want("_join", 5, count) != SV_OK || terms_of(store, args[3], &terms) != SV_OK)
        return NULL;
    uint64_t leader = PyLong_AsUnsignedLongLongMask(args[2]);
    double gap = PyFloat_AsDouble(args[4]);
    if (PyErr_Occurred() || sv_visit_begin(store, &visit, args, is_dated(store)) != SV_OK)
        return NULL;
    SV_LOCK(owner)
    status = join_locked(store, &visit, args, leader, &terms, gap, &joined);
    SV_UNLOCK()
    if (status != SV_OK)
        sv_store_error(status);
    sv_visit_end(owner, store, &visit);
    if (status != SV_OK)
        return NULL;
    return Py_BuildValue("(iLNNdK)", joined.role, joined.number, joined.flight ? joined.flight : Py_NewRef(Py_None),
                         joined.value ? joined.value : Py_NewRef(sv_missing), joined.age,
                         (unsigned long long)joined.stamp);
}

PyObject *sv_protocol_refresh_begin(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    sv_visit visit;
    sv_handle handle;
    sv_joined joined = {.number = -1};
    int status;
    if (sv_want("_refresh_begin", 3, count) != SV_OK)
        return NULL;
    uint64_t leader = PyLong_AsUnsignedLongLongMask(args[2]);
    if (PyErr_Occurred() || sv_visit_begin(store, &visit, args, is_dated(store)) != SV_OK)
        return NULL;
    SV_LOCK(owner)
    status = sv_visit_find_locked(store, &visit, &handle);
    if (status >= 0 && handle == SV_NONE) {
        status = join_absent(store, &visit, args, leader, &joined);
        store->counts.misses -= status == SV_OK; /* nobody asked for a value */
    } else if (status >= 0) {
        status = begin_again(store, handle, args[1], leader, &joined);
        if (status == SV_OK && store->slab.boxes[handle].value != NULL)
            hand_value(store, handle, visit.now, &joined);
    }
    SV_UNLOCK()
    if (status < 0)
        sv_store_error(status);
    sv_visit_end(owner, store, &visit);
    Py_XDECREF(joined.flight);
    if (status < 0)
        return NULL;
    return Py_BuildValue("(LNdK)", joined.number, joined.value ? joined.value : Py_NewRef(sv_missing), joined.age,
                         (unsigned long long)joined.stamp);
}

/* ------------------------------------------------------------------ ends */

/* The load of this number if this flight leads it, else NULL. */
static sv_load *led_by(sv_store *store, PyObject *number_object, PyObject *flight, uint32_t *number)
{
    unsigned long read = PyLong_AsUnsignedLong(number_object);
    if (read == (unsigned long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    if (read >= store->loads_size || store->loads[read].serial == 0 || store->loads[read].flight != flight)
        return NULL;
    *number = (uint32_t)read;
    return &store->loads[read];
}

static void record_cost(sv_ledger *ledger, double cost)
{
    if (ledger->load_times == NULL) {
        ledger->load_times = sv_malloc(sizeof(sv_histogram));
        if (ledger->load_times == NULL)
            return;
        sv_histogram_clear(ledger->load_times);
    }
    sv_histogram_record(ledger->load_times, cost <= 0 ? 0 : cost < 1e9 ? (uint64_t)(cost * 1e9) : UINT64_MAX);
}

/* The weight of what a load found. The entry's key is asked for under the lock, the weigher without it. */
static int weigh(PyObject *owner, sv_store *store, PyObject *const *args, uint32_t *weight)
{
    PyObject *key = NULL;
    uint32_t number;
    *weight = 1;
    if (store->ledger == NULL || SV_GLANCE(store->ledger->maxweight) == SV_UNBOUNDED)
        return SV_OK;
    SV_LOCK(owner)
    const sv_load *load = led_by(store, args[0], args[1], &number);
    if (load != NULL && load->handle != SV_NONE)
        key = Py_NewRef((PyObject *)store->slab.boxes[load->handle].key);
    SV_UNLOCK()
    if (key == NULL)
        return SV_OK;
    int status = sv_weight_of(store->ledger, key, args[2], args[5], weight);
    Py_DECREF(key);
    return status;
}

/* End the load of this number without storing anything. */
static void drop_locked(sv_store *store, PyObject *number_object, PyObject *flight, int failed, int ended,
                        sv_pouch *pouch)
{
    uint32_t number;
    if (led_by(store, number_object, flight, &number) == NULL)
        return;
    store->counts.failures += (uint64_t)failed;
    sv_store_settle_steal(store, number, NULL, NULL, pouch);
    if (ended)
        sv_pouch_put_steal(pouch, sv_store_end(store, number));
}

static int drop(PyObject *owner, sv_store *store, PyObject *const *args, int failed, int ended)
{
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    SV_LOCK(owner)
    drop_locked(store, args[0], args[1], failed, ended, &pouch);
    SV_UNLOCK()
    sv_pouch_drop(&pouch);
    return SV_OK;
}

static int settle_locked(sv_store *store, PyObject *const *args, const sv_terms *terms, sv_visit *visit, uint32_t weight,
                         double cost)
{
    uint32_t number;
    sv_line line = {0};
    int stored = 0, ledger = store->ledger != NULL;
    if (ledger && sv_line_begin_locked(store, &line, terms, args[4], visit->now, weight) != SV_OK) {
        drop_locked(store, args[0], args[1], 0, 1, &visit->pouch);
        return SV_RAISED;
    }
    if (ledger) /* what is past makes room before what is not */
        sv_store_sweep(store, visit->now, SV_STEPS);
    const sv_load *load = led_by(store, args[0], args[1], &number);
    if (load != NULL) {
        int keep = !ledger || !sv_tags_fence(&store->ledger->tags, args[4], load->begun);
        if (keep && ledger && weight > store->ledger->maxweight) {
            keep = 0;
            if (load->handle != SV_NONE) /* as for a value that is set: the old one is wrong, and goes all the same */
                sv_store_remove(store, load->handle, SV_REPLACED, &visit->pouch);
        }
        line.seen = load->begun;
        line.cost = (float)cost;
        if (ledger)
            record_cost(store->ledger, cost);
        stored = sv_store_settle_steal(store, number, keep ? Py_NewRef(args[2]) : NULL, ledger ? &line : NULL,
                                       &visit->pouch);
        stored = stored && keep;
        sv_pouch_put_steal(&visit->pouch, sv_store_end(store, number));
    }
    if (ledger)
        sv_line_end_locked(store, &line);
    return stored;
}

PyObject *sv_protocol_settle(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    sv_visit visit = {.now = 0};
    sv_terms terms;
    uint32_t weight;
    int stored;
    if (sv_want("_settle", 7, count) != SV_OK)
        return NULL;
    double cost = PyFloat_AsDouble(args[6]);
    SV_POUCH_EMPTY(&visit.pouch);
    if (PyErr_Occurred() || sv_want_tags(args[4]) != SV_OK || terms_of(store, args[3], &terms) != SV_OK ||
        weigh(owner, store, args, &weight) != SV_OK ||
        (store->ledger != NULL &&
         (SV_GLANCE(store->ledger->dated) || sv_terms_have_an_end(&terms) || args[4] != Py_None) &&
         sv_ledger_now_precisely(store->ledger, &visit.now) != SV_OK)) {
        PyObject *raised = sv_raised_take();
        drop(owner, store, args, 1, 1); /* the leader has nothing else to say: nobody may wait for it any more */
        sv_raised_put_steal(raised);
        return NULL;
    }
    SV_LOCK(owner)
    stored = settle_locked(store, args, &terms, &visit, weight, cost);
    SV_UNLOCK()
    sv_visit_end(owner, store, &visit);
    return stored < 0 ? NULL : PyBool_FromLong(stored);
}

PyObject *sv_protocol_drop(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    if (sv_want("_drop", 3, count) != SV_OK)
        return NULL;
    drop(owner, store, args, args[2] == Py_True, 1);
    Py_RETURN_NONE;
}

PyObject *sv_protocol_abandon(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    if (sv_want("_abandon", 2, count) != SV_OK)
        return NULL;
    drop(owner, store, args, 0, 0);
    Py_RETURN_NONE;
}

PyObject *sv_protocol_recheck(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    int again = 0;
    if (sv_want("_recheck", 3, count) != SV_OK || sv_want_tags(args[0]) != SV_OK)
        return NULL;
    uint64_t begun = PyLong_AsUnsignedLongLong(args[1]), joined = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    SV_LOCK(owner)
    if (store->ledger != NULL)
        again = sv_tags_recheck(&store->ledger->tags, args[0], begun, joined);
    SV_UNLOCK()
    return PyBool_FromLong(again);
}

/* ------------------------------------------------------------------ what the floors above decide */

PyObject *sv_protocol_tally(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    static const char *const names[SV_TOLD_KINDS] = {"early", "queued", "refused", "shared", "rescued"};
    if (sv_want("_tally", 2, count) != SV_OK)
        return NULL;
    uint64_t times = PyLong_AsUnsignedLongLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    for (int which = 0; PyUnicode_Check(args[0]) && which < SV_TOLD_KINDS; which++)
        if (PyUnicode_CompareWithASCIIString(args[0], names[which]) == 0) {
            SV_LOCK(owner)
            store->counts.told[which] += times;
            SV_UNLOCK()
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "_tally() knows early, queued, refused, shared and rescued, not %R", args[0]);
}

PyObject *sv_protocol_watch_fences(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    if (sv_want("_watch_fences", 0, count) != SV_OK)
        return NULL;
    sv_fences *fences = sv_calloc(1, sizeof(sv_fences));
    if (fences == NULL || store->ledger == NULL) {
        sv_free(fences);
        return fences == NULL ? PyErr_NoMemory() : PyErr_Format(PyExc_RuntimeError, "a store without a ledger has no fences");
    }
    SV_LOCK(owner)
    if (store->ledger->fences == NULL) {
        store->ledger->fences = fences;
        fences = NULL;
    }
    SV_UNLOCK()
    sv_free(fences);
    Py_RETURN_NONE;
}

PyObject *sv_protocol_fenced_at(PyObject *owner, sv_store *store, PyObject *const *args, Py_ssize_t count)
{
    sv_visit visit;
    uint64_t last = 0;
    if (sv_want("_fenced_at", 2, count) != SV_OK || sv_want_tags(args[1]) != SV_OK ||
        sv_visit_begin(store, &visit, args, 0) != SV_OK)
        return NULL;
    SV_LOCK(owner)
    if (store->ledger != NULL && store->ledger->fences != NULL)
        last = sv_fences_last(store->ledger->fences, visit.asked.hash, args[1]);
    SV_UNLOCK()
    sv_visit_end(owner, store, &visit);
    return PyFloat_FromDouble(last == 0 ? -Py_HUGE_VAL : (double)(last - SV_CLOCK_START) * 1e-9);
}
