#include "method.h"

#include <stddef.h>

#include "memoized.h"

PyTypeObject *sv_method_type = NULL;
static PyTypeObject *instance_memo_type = NULL;

typedef struct sv_method {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *fn;
    PyObject *name;          /* of the attribute that keeps the memo; interned */
    sv_memo_options options; /* owns its references */
    uint64_t clears;         /* how often the memos of all instances were cleared */
    sv_index index;          /* instances without a __dict__: address -> row {weak reference, memo} */
    sv_slab slab;
    PyObject *dict;
    PyObject *weakrefs;
} sv_method;

/* The memo of one instance. It knows the method and the instance that it is for. */
typedef struct instance_memo {
    sv_memo memo;
    PyObject *method;   /* owned */
    PyObject *instance; /* weak reference; NULL in the table, where the row has it */
    uint64_t clears;
} instance_memo;

static uint64_t hash_of_address(PyObject *instance) { return (uint64_t)(uintptr_t)instance >> 4; }

static int points_at(PyObject *ref, PyObject *instance)
{
    PyObject *target = sv_weakref_target(ref);
    Py_XDECREF(target); /* the caller holds the instance: if it is the target, this is not the last reference */
    return target == instance;
}

static PyObject *new_memo(sv_method *method)
{
    instance_memo *memo = (instance_memo *)sv_memo_new(instance_memo_type, method->fn, &method->options);
    if (memo == NULL)
        return NULL;
    memo->method = Py_NewRef((PyObject *)method);
    memo->clears = SV_GLANCE(method->clears);
    return (PyObject *)memo;
}

static PyObject *new_weakref(sv_method *method, PyObject *instance, PyObject *callback)
{
    PyObject *ref = PyWeakref_NewRef(instance, callback);
    if (ref == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyObject *cause = sv_raised_take();
        PyErr_Format(PyExc_TypeError,
                     "cached_method: %S cannot be remembered for an instance of %s, which cannot be weakly "
                     "referenced: add '__weakref__' to its __slots__",
                     method->fn, Py_TYPE(instance)->tp_name);
        PyObject *error = sv_raised_take();
        PyException_SetCause(error, cause);
        sv_raised_put_steal(error);
    }
    return ref;
}

/* ------------------------------------------------------------------ instances with a __dict__ */

/* The memo in the instance's __dict__, if it is this method's and this instance's. New reference, or NULL. */
static PyObject *kept_memo(sv_method *method, PyObject *instance)
{
    PyObject *kept = PyObject_GenericGetAttr(instance, method->name);
    if (kept == NULL) {
        PyErr_Clear();
        return NULL;
    }
    instance_memo *memo = (instance_memo *)kept;
    if (SV_LIKELY(Py_TYPE(kept) == instance_memo_type && memo->method == (PyObject *)method &&
                  memo->instance != NULL && points_at(memo->instance, instance)))
        return kept;
    Py_DECREF(kept);
    return NULL;
}

static PyObject *keep_memo(sv_method *method, PyObject *instance)
{
    PyObject *memo = new_memo(method);
    PyObject *ref = memo == NULL ? NULL : new_weakref(method, instance, NULL);
    if (ref == NULL) {
        Py_XDECREF(memo);
        return NULL;
    }
    ((instance_memo *)memo)->instance = ref;
    PyObject *other, *loser = NULL;
    int failed = 0;
    SV_LOCK(instance)
    other = kept_memo(method, instance); /* making ours may have let another thread make one */
    if (other != NULL) {
        loser = memo;
        memo = other;
    } else {
        failed = PyObject_GenericSetAttr(instance, method->name, memo) < 0;
    }
    SV_UNLOCK()
    Py_XDECREF(loser);
    if (failed)
        Py_CLEAR(memo);
    return memo;
}

/* ------------------------------------------------------------------ instances without one */

static sv_handle row_of_locked(sv_method *method, PyObject *instance, uint64_t hash)
{
    sv_cursor cursor;
    const sv_box *boxes = method->slab.boxes;
    sv_handle handle = sv_index_first(&method->index, boxes, hash, &cursor);
    while (handle != SV_NONE && !points_at(boxes[handle].key, instance))
        handle = sv_index_next(&method->index, boxes, hash, &cursor);
    return handle;
}

static PyObject *table_memo(sv_method *method, PyObject *instance)
{
    PyObject *memo = NULL;
    SV_LOCK(method)
    sv_handle handle = row_of_locked(method, instance, hash_of_address(instance));
    if (handle != SV_NONE)
        memo = Py_NewRef((PyObject *)method->slab.boxes[handle].value);
    SV_UNLOCK()
    return memo;
}

/* Callback of a row's weak reference; self is (weak reference to the method, address of the instance that died). */
static PyObject *forget_row(PyObject *self, PyObject *ref)
{
    PyObject *object = sv_weakref_target(PyTuple_GET_ITEM(self, 0));
    void *address = PyLong_AsVoidPtr(PyTuple_GET_ITEM(self, 1));
    if (object == NULL || (address == NULL && PyErr_Occurred())) {
        Py_XDECREF(object);
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    sv_method *method = (sv_method *)object;
    uint64_t hash = hash_of_address(address);
    sv_pouch pouch;
    SV_POUCH_EMPTY(&pouch);
    SV_LOCK(object)
    sv_cursor cursor;
    sv_handle handle = sv_index_first(&method->index, method->slab.boxes, hash, &cursor);
    while (handle != SV_NONE && method->slab.boxes[handle].key != (void *)ref)
        handle = sv_index_next(&method->index, method->slab.boxes, hash, &cursor);
    if (handle != SV_NONE) {
        sv_box *box = &method->slab.boxes[handle];
        sv_pouch_put_steal(&pouch, box->key);
        sv_pouch_put_steal(&pouch, box->value);
        sv_index_erase(&method->index, hash, handle);
        sv_slab_give(&method->slab, handle);
    }
    SV_UNLOCK()
    sv_pouch_drop(&pouch);
    Py_DECREF(object);
    Py_RETURN_NONE;
}

static PyMethodDef forget_row_def = {"forget_row", forget_row, METH_O, NULL};

static PyObject *new_callback(sv_method *method, PyObject *instance)
{
    PyObject *ref = PyWeakref_NewRef((PyObject *)method, NULL), *address = PyLong_FromVoidPtr(instance);
    PyObject *self = ref == NULL || address == NULL ? NULL : PyTuple_Pack(2, ref, address);
    PyObject *callback = self == NULL ? NULL : PyCFunction_New(&forget_row_def, self);
    Py_XDECREF(ref);
    Py_XDECREF(address);
    Py_XDECREF(self);
    return callback;
}

/* Steals key and value on success. */
static int insert_row_locked(sv_method *method, uint64_t hash, PyObject *key, PyObject *value)
{
    int status = sv_slab_reserve(&method->slab);
    if (status == SV_OK)
        status = sv_index_reserve(&method->index);
    if (status != SV_OK)
        return sv_store_error(status);
    sv_handle handle = sv_slab_take(&method->slab);
    method->slab.boxes[handle] = (sv_box){.key = key, .value = value, .hash = hash};
    sv_index_insert(&method->index, method->slab.boxes, hash, handle);
    return SV_OK;
}

static PyObject *add_to_table(sv_method *method, PyObject *instance)
{
    PyObject *callback = new_callback(method, instance);
    PyObject *ref = callback == NULL ? NULL : new_weakref(method, instance, callback);
    PyObject *memo = ref == NULL ? NULL : new_memo(method), *loser = NULL;
    Py_XDECREF(callback);
    if (memo == NULL) {
        Py_XDECREF(ref);
        return NULL;
    }
    uint64_t hash = hash_of_address(instance);
    SV_LOCK(method)
    sv_handle handle = row_of_locked(method, instance, hash);
    if (handle != SV_NONE) { /* making ours let another thread make one */
        loser = memo;
        memo = Py_NewRef((PyObject *)method->slab.boxes[handle].value);
    } else if (insert_row_locked(method, hash, ref, memo) == SV_OK) {
        ref = NULL;
        Py_INCREF(memo);
    } else {
        loser = memo;
        memo = NULL;
    }
    SV_UNLOCK()
    Py_XDECREF(ref);
    Py_XDECREF(loser);
    return memo;
}

/* ------------------------------------------------------------------ calls */

/* The memo of this instance, made when there is none. New reference. */
static PyObject *memo_of(sv_method *method, PyObject *instance)
{
    PyObject *memo;
    if (Py_TYPE(instance)->tp_dictoffset != 0 && !PyType_Check(instance)) {
        memo = kept_memo(method, instance);
        if (SV_UNLIKELY(memo == NULL))
            memo = keep_memo(method, instance);
    } else {
        memo = table_memo(method, instance);
        if (SV_UNLIKELY(memo == NULL))
            memo = add_to_table(method, instance);
    }
    uint64_t clears = SV_GLANCE(method->clears); /* a clear that comes after this is for the next call */
    if (memo != NULL && SV_UNLIKELY(SV_GLANCE(((instance_memo *)memo)->clears) != clears)) {
        PyObject *done = PyObject_CallMethod(memo, "cache_clear", NULL);
        if (done == NULL)
            Py_CLEAR(memo);
        else
            SV_POST(((instance_memo *)memo)->clears, clears);
        Py_XDECREF(done);
    }
    return memo;
}

static PyObject *method_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (SV_UNLIKELY(PyVectorcall_NARGS(nargsf) < 1)) {
        PyErr_Format(PyExc_TypeError, "cached_method: %S needs its instance as the first argument",
                     ((sv_method *)self)->fn);
        return NULL;
    }
    PyObject *memo = memo_of((sv_method *)self, args[0]);
    if (memo == NULL)
        return NULL;
    PyObject *answer = ((sv_memo *)memo)->vectorcall(memo, args, nargsf, kwnames);
    Py_DECREF(memo);
    return answer;
}

static PyObject *method_memo_of(PyObject *self, PyObject *instance) { return memo_of((sv_method *)self, instance); }

static PyObject *method_get(PyObject *self, PyObject *instance, PyObject *type)
{
    (void)type;
    if (instance == NULL || instance == Py_None)
        return Py_NewRef(self);
    return PyObject_CallFunctionObjArgs(sv_words.bound, self, instance, NULL);
}

/* Memos see by `clears` that they must forget before they are asked again. */
static PyObject *method_cache_clear(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_method *method = (sv_method *)self;
    SV_LOCK(self)
    SV_POST(method->clears, method->clears + 1);
    SV_UNLOCK()
    Py_RETURN_NONE;
}

static const char *check_locked(sv_method *method)
{
    if (!sv_index_check(&method->index, &method->slab))
        return "the table of instances is broken";
    for (uint32_t handle = SV_SENTINELS; handle < method->slab.used; handle++) {
        const sv_box *box = &method->slab.boxes[handle];
        if ((box->key == NULL) != (box->value == NULL))
            return "an instance without a memo, or a memo without an instance";
        const char *wrong = box->value == NULL ? NULL : sv_memo_check(box->value);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

const char *sv_method_check(PyObject *self)
{
    const char *wrong;
    SV_LOCK(self)
    wrong = check_locked((sv_method *)self);
    SV_UNLOCK()
    return wrong;
}

/* ------------------------------------------------------------------ birth and death */

static PyObject *method_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *fn, *name;
    sv_memo_options options;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "MethodMemo() takes no keyword arguments");
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count < 1 || !PyUnicode_CheckExact(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "MethodMemo() needs the attribute's name as its first argument");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 1, count);
    if (rest == NULL)
        return NULL;
    sv_method *method = NULL;
    if (sv_memo_read_options(rest, &fn, &options) == SV_OK)
        method = (sv_method *)type->tp_alloc(type, 0);
    if (method != NULL && sv_slab_open(&method->slab) != SV_OK) {
        Py_CLEAR(method);
        PyErr_NoMemory();
    }
    if (method != NULL) {
        sv_index_open(&method->index, (uint64_t)(uintptr_t)method);
        name = Py_NewRef(PyTuple_GET_ITEM(args, 0));
        PyUnicode_InternInPlace(&name);
        method->vectorcall = method_call;
        method->fn = Py_NewRef(fn);
        method->name = name;
        method->options = options;
        method->options.skip = 1;
        Py_XINCREF(options.key_of);
        Py_XINCREF(options.exceptions);
        Py_XINCREF(options.copy);
        Py_XINCREF(options.clock);
    }
    Py_DECREF(rest);
    return (PyObject *)method;
}

static int method_traverse(PyObject *self, visitproc visit, void *arg)
{
    sv_method *method = (sv_method *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(method->fn);
    Py_VISIT(method->options.key_of);
    Py_VISIT(method->options.exceptions);
    Py_VISIT(method->options.copy);
    Py_VISIT(method->options.clock);
    Py_VISIT(method->dict);
    for (uint32_t handle = SV_SENTINELS; handle < method->slab.used; handle++) {
        Py_VISIT((PyObject *)method->slab.boxes[handle].key);
        Py_VISIT((PyObject *)method->slab.boxes[handle].value);
    }
    return 0;
}

/* Without a function it cannot be called: fn stays, for a function holds no reference to what calls it but through
 * its globals, its closure and this __dict__, which go. */
static int method_clear(PyObject *self)
{
    sv_method *method = (sv_method *)self;
    sv_spill spill = {.departed = SV_NONE};
    sv_slab fresh;
    if (method->slab.boxes != NULL && sv_slab_open(&fresh) == SV_OK) {
        spill.slab = method->slab;
        method->slab = fresh;
        sv_index_clear(&method->index);
    }
    Py_CLEAR(method->dict);
    sv_spill_drop(&spill);
    return 0;
}

static void method_dealloc(PyObject *self)
{
    sv_method *method = (sv_method *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (method->weakrefs != NULL)
        PyObject_ClearWeakRefs(self);
    Py_CLEAR(method->dict);
    sv_spill spill = {.slab = method->slab};
    method->slab = (sv_slab){0};
    sv_index_close(&method->index);
    sv_spill_drop(&spill);
    Py_CLEAR(method->fn);
    Py_CLEAR(method->name);
    Py_CLEAR(method->options.key_of);
    Py_CLEAR(method->options.exceptions);
    Py_CLEAR(method->options.copy);
    Py_CLEAR(method->options.clock);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *method_reduce(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    return PyObject_GetAttrString(self, "__qualname__");
}

static PyObject *method_copy(PyObject *self, PyObject *anything)
{
    (void)anything;
    return Py_NewRef(self);
}

static PyMethodDef method_methods[] = {
    {"__reduce__", method_reduce, METH_NOARGS, NULL},
    {"__copy__", method_copy, METH_NOARGS, NULL},
    {"__deepcopy__", method_copy, METH_O, NULL},
    {"cache_clear", method_cache_clear, METH_NOARGS,
     "cache_clear($self, /)\n--\n\nForget the results of every instance."},
    {"_memo_of", method_memo_of, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef method_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef method_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(sv_method, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(sv_method, weakrefs), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(sv_method, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_doc, "A method that remembers its results, for each instance apart."},
    {Py_tp_new, method_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, method_get},
    {Py_tp_methods, method_methods},
    {Py_tp_getset, method_getset},
    {Py_tp_members, method_members},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    {Py_tp_dealloc, method_dealloc},
    {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "samovar._core.MethodMemo",
    .basicsize = sizeof(sv_method),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = method_slots,
};

/* ------------------------------------------------------------------ the memo of an instance */

static int instance_memo_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((instance_memo *)self)->method);
    Py_VISIT(((instance_memo *)self)->instance);
    return sv_memo_traverse(self, visit, arg);
}

static int instance_memo_clear(PyObject *self)
{
    Py_CLEAR(((instance_memo *)self)->instance);
    Py_CLEAR(((instance_memo *)self)->method);
    return sv_memo_clear(self);
}

static void instance_memo_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((instance_memo *)self)->instance);
    Py_CLEAR(((instance_memo *)self)->method);
    sv_memo_dealloc(self);
}

/* Where an instance is pickled or deeply copied, what it remembers stays behind. */
static PyObject *stay_behind(PyObject *self, PyObject *anything)
{
    (void)self;
    (void)anything;
    Py_RETURN_NONE;
}

static PyObject *instance_memo_reduce(PyObject *self, PyObject *nothing)
{
    (void)self;
    (void)nothing;
    return Py_BuildValue("O()", sv_words.left_behind);
}

static PyMethodDef instance_memo_methods[] = {
    {"__reduce__", instance_memo_reduce, METH_NOARGS, NULL},
    {"__deepcopy__", stay_behind, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot instance_memo_slots[] = {
    {Py_tp_doc, "What one instance remembers of one method. Internal."},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, sv_memo_members},
    {Py_tp_methods, instance_memo_methods},
    {Py_tp_traverse, instance_memo_traverse},
    {Py_tp_clear, instance_memo_clear},
    {Py_tp_dealloc, instance_memo_dealloc},
    {0, NULL},
};

static PyType_Spec instance_memo_spec = {
    .name = "samovar._core.InstanceMemo",
    .basicsize = sizeof(instance_memo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, /* METHOD_DESCRIPTOR is inherited */
    .slots = instance_memo_slots,
};

int sv_method_setup(void)
{
    if (instance_memo_type == NULL) {
        PyObject *bases = PyTuple_Pack(1, sv_memoized_type);
        if (bases != NULL)
            instance_memo_type = (PyTypeObject *)PyType_FromSpecWithBases(&instance_memo_spec, bases);
        Py_XDECREF(bases);
    }
    if (sv_method_type == NULL && instance_memo_type != NULL)
        sv_method_type = (PyTypeObject *)PyType_FromSpec(&method_spec);
    return sv_method_type == NULL ? SV_RAISED : SV_OK;
}
