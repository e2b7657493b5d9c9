/* The floor of every measurement: a callable that answers at once.
 *
 * `Noop(answer)` is called through vectorcall and is a METHOD_DESCRIPTOR, as samovar's memoized callables are, and does
 * nothing but return its answer. What a cache costs beyond it is the cache's own work; no cache can be faster.
 *
 * `count(True)` and `count(False, name)` tell callgrind to begin counting instructions, and to write down what it has
 * counted under a name. They exist only where valgrind's header does, and do nothing outside of valgrind.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>
#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define COUNTS 1
#endif
#endif

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *answer;
} noop;

static PyObject *
noop_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    (void)args, (void)nargsf, (void)names;
    return Py_NewRef(((noop *)self)->answer);
}

static PyObject *
noop_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *answer;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "O:Noop", &answer))
        return NULL;
    noop *self = (noop *)type->tp_alloc(type, 0);
    if (self) {
        self->call = noop_call;
        self->answer = Py_NewRef(answer);
    }
    return (PyObject *)self;
}

static PyObject *
noop_get(PyObject *self, PyObject *instance, PyObject *owner)
{
    (void)owner;
    return instance ? PyMethod_New(self, instance) : Py_NewRef(self);
}

static int
noop_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((noop *)self)->answer);
    return 0;
}

static void
noop_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((noop *)self)->answer);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef noop_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(noop, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot noop_slots[] = {
    {Py_tp_new, noop_new},           {Py_tp_call, PyVectorcall_Call}, {Py_tp_descr_get, noop_get},
    {Py_tp_traverse, noop_traverse}, {Py_tp_dealloc, noop_dealloc},   {Py_tp_members, noop_members},
    {0, NULL},
};

static PyType_Spec noop_spec = {
    .name = "bench._noop.Noop",
    .basicsize = sizeof(noop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_IMMUTABLETYPE, /* or the interpreter would not specialize looking it up as a method */
    .slots = noop_slots,
};

#ifdef COUNTS
static PyObject *
count(PyObject *module, PyObject *args)
{
    int begin;
    const char *name = "";
    (void)module;
    if (!PyArg_ParseTuple(args, "p|s:count", &begin, &name))
        return NULL;
    CALLGRIND_TOGGLE_COLLECT;
    if (!begin)
        CALLGRIND_DUMP_STATS_AT(name);
    Py_RETURN_NONE;
}
#endif

static PyMethodDef module_methods[] = {
#ifdef COUNTS
    {"count", count, METH_VARARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&noop_spec);
    if (!type)
        return -1;
    int status = PyModule_AddObjectRef(module, "Noop", type);
    Py_DECREF(type);
    return status;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_noop",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__noop(void)
{
    return PyModuleDef_Init(&module);
}
