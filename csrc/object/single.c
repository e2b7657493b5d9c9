#include "single.h"

#include "flight.h"
#include "protocol.h"
#include "visit.h"

PyTypeObject *sv_single_type = NULL, *sv_lone_type = NULL;
PyObject *sv_inside = NULL;

enum { FLYING, ENDED };
enum { ON_WAIT, ON_REFUSE, ON_LAND, ON_FAIL, ON_ABANDON, VERBS };
static const char *const spelled[VERBS] = {"_wait", "_refuse", "land", "fail", "abandon"};
static PyObject *verbs[VERBS];

typedef struct lone {
    PyObject_HEAD
    unsigned long thread; /* threading.get_ident() of who leads */
    int state;
    PyObject *flight; /* once somebody wanted one; NULL after the end */
} lone;

static sv_store *store_of(PyObject *self) { return &((sv_single *)self)->store; }

/* ------------------------------------------------------------------ a flight that nobody waits for */

static lone *lone_new(void)
{
    lone *made = PyObject_New(lone, sv_lone_type);
    if (made == NULL)
        return NULL;
    made->thread = PyThread_get_thread_ident();
    made->state = FLYING;
    made->flight = NULL;
    return made;
}

/* It flies no more. The flight that somebody gave it (new reference), or NULL. */
static PyObject *lone_end(lone *self)
{
    PyObject *flight;
    SV_LOCK((PyObject *)self)
    self->state = ENDED;
    flight = self->flight;
    self->flight = NULL;
    SV_UNLOCK()
    return flight;
}

static PyObject *lone_become(PyObject *object, PyObject *flight)
{
    lone *self = (lone *)object;
    PyObject *whole = NULL;
    SV_LOCK(object)
    if (self->state == FLYING) {
        if (self->flight == NULL)
            self->flight = Py_NewRef(flight);
        whole = Py_NewRef(self->flight);
    }
    SV_UNLOCK()
    return whole == NULL ? Py_NewRef(Py_None) : whole;
}

static void lone_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((lone *)self)->flight);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------ leading */

/* 1: this thread leads the load of `number`; 0: somebody else does, or did in another process; negative: failed. */
static int lead_locked(sv_store *store, sv_visit *visit, PyObject *key, lone *led, uint32_t *number)
{
    sv_handle handle;
    int status = sv_visit_find_locked(store, visit, &handle);
    if (status < 0 || handle != SV_NONE)
        return status < 0 ? status : 0;
    status = sv_store_begin(store, Py_NewRef(key), visit->asked.hash, sv_thread_number(), number);
    if (status != SV_OK) {
        Py_DECREF(key); /* not the last one */
        return status;
    }
    store->loads[*number].flight = Py_NewRef((PyObject *)led);
    store->counts.loads++;
    store->counts.misses++;
    return 1;
}

static int lead(PyObject *self, PyObject *const *key, lone *led, uint32_t *number)
{
    sv_store *store = store_of(self);
    sv_visit visit;
    int status;
    if (sv_visit_begin(store, &visit, key, 0) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    status = lead_locked(store, &visit, *key, led, number);
    SV_UNLOCK()
    if (status < 0)
        sv_store_error(status);
    sv_visit_end(self, store, &visit);
    return status;
}

static PyObject *inside_and(lone *led)
{
    PyObject *before;
    if (PyContextVar_Get(sv_inside, NULL, &before) < 0)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(before);
    PyObject *inside = PyTuple_New(count + 1);
    if (inside != NULL) {
        for (Py_ssize_t i = 0; i < count; i++)
            PyTuple_SET_ITEM(inside, i, Py_NewRef(PyTuple_GET_ITEM(before, i)));
        PyTuple_SET_ITEM(inside, count, Py_NewRef((PyObject *)led));
    }
    Py_DECREF(before);
    return inside;
}

/* Call the function as the body of this flight. */
static PyObject *call_inside(lone *led, PyObject *fn)
{
    PyObject *inside = inside_and(led);
    PyObject *token = inside == NULL ? NULL : PyContextVar_Set(sv_inside, inside);
    Py_XDECREF(inside);
    if (token == NULL)
        return NULL;
    PyObject *value = PyObject_CallNoArgs(fn);
    PyObject *error = value == NULL ? sv_raised_take() : NULL;
    if (PyContextVar_Reset(sv_inside, token) < 0)
        PyErr_Clear(); /* the function left another context behind, which is not ours to mend */
    Py_DECREF(token);
    if (error != NULL)
        sv_raised_put_steal(error);
    return value;
}

/* ------------------------------------------------------------------ ends */

static void end_load(PyObject *self, uint32_t number, int failed)
{
    sv_store *store = store_of(self);
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    SV_LOCK(self)
    store->counts.failures += (uint64_t)failed;
    sv_store_settle_steal(store, number, NULL, NULL, &pouch);
    sv_pouch_put_steal(&pouch, sv_store_end(store, number));
    SV_UNLOCK()
    sv_pouch_drop(&pouch);
}

/* Tell those who wait. SV_RAISED when a signal's handler raised meanwhile; then those who were not told ask again. */
static int tell(PyObject *flight, PyObject *value, PyObject *error, int failed)
{
    PyObject *told = error == NULL ? PyObject_CallMethodOneArg(flight, verbs[ON_LAND], value)
                                   : PyObject_CallMethodOneArg(flight, verbs[failed ? ON_FAIL : ON_ABANDON], error);
    if (told != NULL) {
        Py_DECREF(told);
        return SV_OK;
    }
    PyObject *raised = sv_raised_take();
    told = PyObject_CallMethodNoArgs(flight, verbs[ON_ABANDON]);
    if (told == NULL)
        PyErr_Clear();
    Py_XDECREF(told);
    sv_raised_put_steal(raised);
    return SV_RAISED;
}

/* The function returned `value` (stolen), or NULL and an exception is set: end the flight, and return what the caller
 * gets. */
static PyObject *land_steal(PyObject *self, lone *led, uint32_t number, PyObject *value)
{
    PyObject *error = value == NULL ? sv_raised_take() : NULL;
    int failed = error != NULL && PyObject_TypeCheck(error, (PyTypeObject *)PyExc_Exception);
    end_load(self, number, failed);
    PyObject *flight = lone_end(led);
    int status = flight == NULL ? SV_OK : tell(flight, value, error, failed);
    Py_XDECREF(flight);
    if (status != SV_OK) {
        Py_XDECREF(error);
        Py_CLEAR(value);
    } else if (error != NULL) {
        sv_raised_put_steal(error);
    }
    return value;
}

/* ------------------------------------------------------------------ the verbs */

/* _do(key, fn) -> what fn returned, here or in the flight that was under way */
static PyObject *single_do(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint32_t number;
    if (sv_want("_do", 2, count) != SV_OK)
        return NULL;
    if (!PyCallable_Check(args[1])) {
        PyErr_Format(PyExc_TypeError, "do: fn must be callable, not %R", args[1]);
        return NULL;
    }
    lone *led = lone_new();
    int status = led == NULL ? SV_RAISED : lead(self, args, led, &number);
    PyObject *value = NULL;
    if (status == 1) {
        value = call_inside(led, args[1]);
        if (value != NULL && SV_UNLIKELY(PyCoro_CheckExact(value) || value == sv_missing)) {
            PyObject *refused = PyObject_CallMethodObjArgs(self, verbs[ON_REFUSE], args[1], value, NULL);
            Py_SETREF(value, refused);
        }
        value = land_steal(self, led, number, value);
    } else if (status == 0) {
        value = PyObject_CallMethodObjArgs(self, verbs[ON_WAIT], args[0], args[1], NULL);
    }
    Py_XDECREF((PyObject *)led);
    return value;
}

/* _forget(key) -> whether a flight was under way */
static PyObject *single_forget(PyObject *self, PyObject *key)
{
    sv_store *store = store_of(self);
    sv_visit visit;
    sv_handle handle;
    int status, flies = 0;
    if (sv_visit_begin(store, &visit, &key, 0) != SV_OK)
        return NULL;
    SV_LOCK(self)
    status = sv_visit_find_locked(store, &visit, &handle);
    if (status >= 0 && handle != SV_NONE) {
        flies = store->loads[store->slab.boxes[handle].prev].generation == sv_fork_generation;
        sv_store_remove(store, handle, SV_DELETED, &visit.pouch);
    }
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return status < 0 ? NULL : PyBool_FromLong(flies);
}

/* _counts() -> (flights, coalesced, failures) */
static PyObject *single_counts(PyObject *self, PyObject *unused)
{
    sv_counts counts;
    (void)unused;
    SV_LOCK(self)
    counts = store_of(self)->counts;
    SV_UNLOCK()
    return Py_BuildValue("(KKK)", (unsigned long long)counts.loads, (unsigned long long)counts.coalesced,
                         (unsigned long long)counts.failures);
}

/* Flights that may be joined. O(those that were ever under way at once). */
static Py_ssize_t single_length(PyObject *self)
{
    const sv_store *store = store_of(self);
    Py_ssize_t length = 0;
    SV_LOCK(self)
    for (uint32_t number = 0; number < store->loads_size; number++) {
        const sv_load *load = &store->loads[number];
        length += load->serial != 0 && load->handle != SV_NONE && load->generation == sv_fork_generation;
    }
    SV_UNLOCK()
    return length;
}

#define PROTOCOL(verb)                                                                       \
    static PyObject *single_##verb(PyObject *self, PyObject *const *args, Py_ssize_t count)  \
    {                                                                                        \
        return sv_protocol_##verb(self, store_of(self), args, count);                        \
    }
PROTOCOL(join)
PROTOCOL(drop)
PROTOCOL(abandon)

/* ------------------------------------------------------------------ the types */

static PyObject *single_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    sv_single *single = (sv_single *)type->tp_alloc(type, 0); /* zeroed */
    if (single == NULL)
        return NULL;
    if (sv_store_open(&single->store, SV_UNBOUNDED, NULL, SV_UNBOUNDED, 0) != SV_OK) {
        Py_DECREF(single);
        return PyErr_NoMemory();
    }
    single->store.rules = SV_ALIKE;
    return (PyObject *)single;
}

static int single_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return sv_store_traverse(store_of(self), visit, arg);
}

static int single_clear(PyObject *self)
{
    sv_store *store = store_of(self);
    sv_spill spill = {.departed = SV_NONE};
    if (store->slab.boxes == NULL)
        return 0;
    sv_store_clear(store, &spill); /* without memory: the loads stay until the end */
    sv_store_let_go(store);
    sv_spill_drop(&spill);
    return 0;
}

static void single_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (store_of(self)->slab.boxes != NULL)
        sv_store_close(store_of(self));
    type->tp_free(self);
    Py_DECREF(type);
}

const char *sv_single_check(PyObject *self)
{
    const char *wrong;
    SV_LOCK(self)
    wrong = sv_store_check(store_of(self));
    SV_UNLOCK()
    return wrong;
}

#define VERB(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef single_methods[] = {
    {"_do", VERB(single_do), METH_FASTCALL, NULL},
    {"_forget", single_forget, METH_O, NULL},
    {"_counts", single_counts, METH_NOARGS, NULL},
    {"_join", VERB(single_join), METH_FASTCALL, NULL},
    {"_drop", VERB(single_drop), METH_FASTCALL, NULL},
    {"_abandon", VERB(single_abandon), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot single_slots[] = {
    {Py_tp_doc, "The native part of samovar.SingleFlight: every method but _do is one atomic step."},
    {Py_tp_new, single_new},
    {Py_tp_traverse, single_traverse},
    {Py_tp_clear, single_clear},
    {Py_tp_dealloc, single_dealloc},
    {Py_tp_methods, single_methods},
    {Py_mp_length, single_length},
    {0, NULL},
};

static PyType_Spec single_spec = {
    .name = "samovar._core.SingleCore",
    .basicsize = sizeof(sv_single),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = single_slots,
};

static PyMethodDef lone_methods[] = {
    {"become", lone_become, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef lone_members[] = {
    {"thread", T_ULONG, offsetof(lone, thread), READONLY, NULL},
    {"state", T_INT, offsetof(lone, state), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot lone_slots[] = {
    {Py_tp_doc, "A flight that nobody waits for yet. Internal."},
    {Py_tp_dealloc, lone_dealloc},
    {Py_tp_methods, lone_methods},
    {Py_tp_members, lone_members},
    {0, NULL},
};

static PyType_Spec lone_spec = {
    .name = "samovar._core.Lone",
    .basicsize = sizeof(lone),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lone_slots,
};

int sv_single_setup(void)
{
    if (sv_single_type != NULL)
        return SV_OK;
    for (int verb = 0; verb < VERBS; verb++)
        if (verbs[verb] == NULL && (verbs[verb] = PyUnicode_InternFromString(spelled[verb])) == NULL)
            return SV_RAISED;
    if (sv_inside == NULL) {
        PyObject *nowhere = PyTuple_New(0);
        sv_inside = nowhere == NULL ? NULL : PyContextVar_New("samovar_inside", nowhere);
        Py_XDECREF(nowhere);
    }
    if (sv_lone_type == NULL)
        sv_lone_type = (PyTypeObject *)PyType_FromSpec(&lone_spec);
    if (sv_inside != NULL && sv_lone_type != NULL)
        sv_single_type = (PyTypeObject *)PyType_FromSpec(&single_spec);
    return sv_single_type == NULL ? SV_RAISED : SV_OK;
}
