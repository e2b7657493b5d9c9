#include "front.h"

#include "ready.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject *near; /* a CacheCore, or NULL */
    int awaits;
} front;

PyTypeObject *sv_front_type;

enum { GET, GET_OR_SET, ITEM, VERBS };
static const char *const spelled[VERBS] = {"_get", "_get_or_set", "_item"};
static PyObject *verbs[VERBS];

/* Where the key's fresh value is near: 1 and `answer` a new reference; 0; SV_RAISED. */
SV_INLINE int answer_near(const front *self, PyObject *const *key, PyObject **answer)
{
    PyObject *near = self->near, *value;
    if (near == NULL)
        return 0;
    int found = sv_mapping_hit(near, key, &value);
    if (found != 1 || SV_LIKELY(!self->awaits)) {
        if (found == 1)
            *answer = value;
        return found;
    }
    *answer = sv_ready_new(value, 0);
    Py_DECREF(value);
    return *answer == NULL ? SV_RAISED : 1;
}

static SV_NEVER_INLINE PyObject *call_below(PyObject *self, int verb, PyObject *const *args, Py_ssize_t count,
                                            PyObject *kwnames)
{
    PyObject *method = PyObject_GetAttr(self, verbs[verb]);
    if (method == NULL)
        return NULL;
    PyObject *answer = PyObject_Vectorcall(method, args, (size_t)count, kwnames);
    Py_DECREF(method);
    return answer;
}

static PyObject *front_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *answer;
    int found = count < 1 ? 0 : answer_near((front *)self, args, &answer);
    return SV_LIKELY(found == 1) ? answer : found < 0 ? NULL : call_below(self, GET, args, count, kwnames);
}

static PyObject *front_get_or_set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *answer;
    int found = count < 2 ? 0 : answer_near((front *)self, args, &answer);
    return SV_LIKELY(found == 1) ? answer : found < 0 ? NULL : call_below(self, GET_OR_SET, args, count, kwnames);
}

static PyObject *front_subscript(PyObject *self, PyObject *key)
{
    PyObject *answer;
    if (((front *)self)->awaits) {
        PyErr_Format(PyExc_TypeError, "%s is not subscriptable: a value has to be awaited, as in await cluster.get(key)",
                     Py_TYPE(self)->tp_name);
        return NULL;
    }
    int found = answer_near((front *)self, &key, &answer);
    return SV_LIKELY(found == 1) ? answer : found < 0 ? NULL : call_below(self, ITEM, &key, 1, NULL);
}

static PyObject *front_place(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyObject_TypeCheck(args[0], sv_cache_type) || ((front *)self)->near != NULL) {
        PyErr_SetString(PyExc_TypeError, "_place_near takes a CacheCore and whether hits are awaited, once");
        return NULL;
    }
    int awaits = PyObject_IsTrue(args[1]);
    if (awaits < 0)
        return NULL;
    ((front *)self)->awaits = awaits;
    ((front *)self)->near = Py_NewRef(args[0]);
    Py_RETURN_NONE;
}

static int front_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((front *)self)->near);
    return 0;
}

/* `near` stays until the end: another thread may be looking into it. What makes a cycle of it is the cache's own to
 * clear. */
static void front_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((front *)self)->near);
    type->tp_free(self);
    Py_DECREF(type);
}

#define VERB(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef front_methods[] = {
    {"get", VERB(front_get), METH_FASTCALL | METH_KEYWORDS,
     "get($self, key, default=None)\n--\n\n"
     "The value of a key, fresh or stale as the rules let it be; `default` when there is none."},
    {"get_or_set", VERB(front_get_or_set), METH_FASTCALL | METH_KEYWORDS,
     "get_or_set($self, key, factory, *, ttl=None, fresh=None, tags=None, soft_timeout=None, hard_timeout=None)\n--\n\n"
     "The value of a key, or what the factory returns: called by one of all tasks, threads and processes that ask now.\n\n"
     "factory: called without arguments, or with a LoadContext if it requires one argument. What it raises is raised,\n"
     "unless an old value is kept within stale_if_error; with a budget, OriginBusy when there was no place.\n"
     "ttl, fresh, tags: how the result is kept; the factory's own word counts more. Raises TypeError for a value that\n"
     "the codec cannot carry.\n"
     "soft_timeout: when the load takes longer and an old value is kept, that is served, and the load goes on.\n"
     "hard_timeout: the caller gets LoadTimeout, and the load goes on for the others. Both are durations."},
    {"_place_near", VERB(front_place), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot front_slots[] = {
    {Py_tp_doc, "The native part of samovar.Cluster: hits of its near cache."},
    {Py_tp_traverse, front_traverse},
    {Py_tp_dealloc, front_dealloc},
    {Py_tp_methods, front_methods},
    {Py_mp_subscript, front_subscript},
    {0, NULL},
};

static PyType_Spec front_spec = {
    .name = "samovar._core.FrontCore",
    .basicsize = sizeof(front),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = front_slots,
};

int sv_front_adopt(PyObject *type)
{
    for (PyMethodDef *one = front_methods; one->ml_name[0] != '_'; one++) {
        PyObject *method = PyDescr_NewMethod((PyTypeObject *)type, one);
        int status = method == NULL ? -1 : PyObject_SetAttrString(type, one->ml_name, method);
        Py_XDECREF(method);
        if (status < 0)
            return SV_RAISED;
    }
    return SV_OK;
}

int sv_front_setup(void)
{
    if (sv_front_type != NULL)
        return SV_OK;
    for (int verb = 0; verb < VERBS; verb++)
        if (verbs[verb] == NULL && (verbs[verb] = PyUnicode_InternFromString(spelled[verb])) == NULL)
            return SV_RAISED;
    sv_front_type = (PyTypeObject *)PyType_FromSpec(&front_spec);
    return sv_front_type == NULL ? SV_RAISED : SV_OK;
}
