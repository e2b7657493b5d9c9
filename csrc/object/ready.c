#include "ready.h"

PyTypeObject *sv_ready_type = NULL;
static PyObject *no_args = NULL;

PyObject *sv_ready_new(PyObject *outcome, int raises)
{
    sv_ready *ready = PyObject_GC_New(sv_ready, sv_ready_type);
    if (ready == NULL)
        return NULL;
    ready->outcome = Py_NewRef(outcome);
    ready->raises = raises;
    PyObject_GC_Track(ready);
    return (PyObject *)ready;
}

PyObject *sv_ready_outcome(PyObject *self)
{
    sv_ready *ready = (sv_ready *)self;
    if (ready->outcome == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this result was destroyed by the garbage collector");
        return NULL;
    }
    if (!ready->raises)
        return Py_NewRef(ready->outcome);
    PyException_SetTraceback(ready->outcome, Py_None);
    PyErr_SetObject((PyObject *)Py_TYPE(ready->outcome), ready->outcome);
    return NULL;
}

static PySendResult ready_am_send(PyObject *self, PyObject *sent, PyObject **result)
{
    (void)sent;
    *result = sv_ready_outcome(self);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* What `send` raises: StopIteration(value), made explicitly, for a tuple or an exception would be unpacked otherwise. */
static PyObject *stop_with_steal(PyObject *outcome)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, outcome);
    Py_DECREF(outcome);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

/* What `await` goes through, and so the price of a hit: the interpreter takes the value out of the StopIteration at
 * once. Where it normalises exceptions late it gets the bare value, else an exception without `args`. */
static PyObject *ready_iternext(PyObject *self)
{
    PyObject *outcome = sv_ready_outcome(self);
    if (outcome == NULL)
        return NULL;
#ifdef SV_EXCEPTIONS_NORMALISED_LATE
    if (PyTuple_Check(outcome) || PyExceptionInstance_Check(outcome))
        return stop_with_steal(outcome);
    PyErr_SetObject(PyExc_StopIteration, outcome);
    Py_DECREF(outcome);
    return NULL;
#else
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *stop = type->tp_new(type, no_args, NULL);
    if (stop == NULL) {
        Py_DECREF(outcome);
        return NULL;
    }
    Py_XSETREF(((PyStopIterationObject *)stop)->value, outcome);
    PyErr_SetRaisedException(stop);
    return NULL;
#endif
}

static PyObject *ready_send(PyObject *self, PyObject *sent)
{
    (void)sent;
    PyObject *outcome = sv_ready_outcome(self);
    return outcome == NULL ? NULL : stop_with_steal(outcome);
}

static PyObject *ready_throw(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (count < 1 || count > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments (%zd given)", count);
        return NULL;
    }
    PyObject *error = args[0];
    if (PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else if (PyExceptionClass_Check(error))
        PyErr_SetObject(error, count > 1 ? args[1] : NULL);
    else
        PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(error)->tp_name);
    return NULL;
}

static PyObject *ready_close(PyObject *self, PyObject *nothing)
{
    (void)self;
    (void)nothing;
    Py_RETURN_NONE;
}

static PyObject *ready_self(PyObject *self) { return Py_NewRef(self); }

static PyObject *ready_repr(PyObject *self)
{
    sv_ready *ready = (sv_ready *)self;
    return PyUnicode_FromFormat("<samovar awaitable, already done: %s %R>", ready->raises ? "raises" : "result",
                                ready->outcome == NULL ? Py_None : ready->outcome);
}

static int ready_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((sv_ready *)self)->outcome);
    return 0;
}

static int ready_clear(PyObject *self)
{
    Py_CLEAR(((sv_ready *)self)->outcome);
    return 0;
}

static void ready_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, ready_dealloc)
    ready_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMethodDef ready_methods[] = {
    {"send", ready_send, METH_O, "Raise StopIteration with the result, or the stored exception."},
    {"throw", (PyCFunction)(void (*)(void))ready_throw, METH_FASTCALL, "Raise the given exception."},
    {"close", ready_close, METH_NOARGS, "Do nothing: there is nothing left to run."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ready_slots[] = {
    {Py_tp_doc, "An awaitable that is already done; may be awaited any number of times."},
    {Py_am_await, ready_self},
    {Py_am_send, ready_am_send},
    {Py_tp_iter, ready_self},
    {Py_tp_iternext, ready_iternext},
    {Py_tp_repr, ready_repr},
    {Py_tp_methods, ready_methods},
    {Py_tp_traverse, ready_traverse},
    {Py_tp_clear, ready_clear},
    {Py_tp_dealloc, ready_dealloc},
    {0, NULL},
};

static PyType_Spec ready_spec = {
    .name = "samovar._core.Ready",
    .basicsize = sizeof(sv_ready),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ready_slots,
};

int sv_ready_setup(void)
{
    if (no_args == NULL && (no_args = PyTuple_New(0)) == NULL)
        return SV_RAISED;
    if (sv_ready_type == NULL)
        sv_ready_type = (PyTypeObject *)PyType_FromSpec(&ready_spec);
    return sv_ready_type == NULL ? SV_RAISED : SV_OK;
}
