#include "callkey.h"

#include <stddef.h>

PyTypeObject *sv_callkey_type = NULL, *sv_flatkey_type = NULL;

/* ------------------------------------------------------------------ reading a call */

int sv_hash_slowly(PyObject *key, uint64_t *hash)
{
    if (Py_EnterRecursiveCall(" while hashing an argument"))
        return SV_RAISED;
    Py_hash_t found = PyObject_Hash(key);
    Py_LeaveRecursiveCall();
    if (found == -1)
        return SV_RAISED;
    *hash = (uint64_t)found;
    return SV_OK;
}

static int fold_values(uint64_t *state, PyObject *const *values, Py_ssize_t count, int rules, Py_ssize_t *failed)
{
    uint64_t acc = *state, first = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t hash;
        if (SV_UNLIKELY(sv_hash_of(values[i], &hash) != SV_OK)) {
            if (failed != NULL)
                *failed = i;
            return SV_RAISED;
        }
        if (rules & SV_TYPED)
            acc = sv_fold_pair(acc, hash, (uint64_t)((uintptr_t)Py_TYPE(values[i]) >> 4));
        else if (i % 2)
            acc = sv_fold_pair(acc, first, hash);
        else
            first = hash;
    }
    if (!(rules & SV_TYPED) && count % 2)
        acc = sv_fold(acc ^ first, SV_SALT_VALUE);
    *state = acc;
    return SV_OK;
}

static int fold_names(uint64_t *state, PyObject *kwnames)
{
    uint64_t acc = *state;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        uint64_t hash;
        if (SV_UNLIKELY(sv_hash_of(PyTuple_GET_ITEM(kwnames, i), &hash) != SV_OK))
            return SV_RAISED;
        acc = sv_fold(acc ^ hash, SV_SALT_NAME);
    }
    *state = acc;
    return SV_OK;
}

int sv_asked_read(sv_asked *asked, PyObject *const *values, Py_ssize_t positional, PyObject *kwnames, int rules,
                  Py_ssize_t *failed)
{
    if (failed != NULL)
        *failed = -1;
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 0)
        kwnames = NULL;
    asked->values = values;
    asked->kwnames = kwnames;
    asked->rules = rules;
    asked->count = positional;
    asked->bare = positional == 1 && kwnames == NULL && !(rules & SV_TYPED);
    if (asked->bare) {
        if (failed != NULL)
            *failed = 0;
        return sv_hash_of(values[0], &asked->hash);
    }
    uint64_t state = SV_SALT_START + (uint64_t)positional;
    if (kwnames != NULL) {
        asked->count += PyTuple_GET_SIZE(kwnames);
        if (fold_names(&state, kwnames) != SV_OK)
            return SV_RAISED;
    }
    if (fold_values(&state, values, asked->count, rules, failed) != SV_OK)
        return SV_RAISED;
    asked->hash = state >> 1;
    return SV_OK;
}

/* ------------------------------------------------------------------ comparing */

int sv_equal_slowly(PyObject *stored, PyObject *asked)
{
    if (stored == asked)
        return 1;
    Py_INCREF(stored);
    int equal = PyObject_RichCompareBool(stored, asked, Py_EQ);
    Py_DECREF(stored);
    return equal < 0 ? SV_RAISED : equal;
}

static int is_plain(PyObject *value) { return PyUnicode_CheckExact(value) || PyLong_CheckExact(value); }

static int names_equal(PyObject *a, PyObject *b)
{
    if (a == b)
        return 1;
    if (a == NULL || b == NULL || PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); i++) {
        PyObject *name_a = PyTuple_GET_ITEM(a, i), *name_b = PyTuple_GET_ITEM(b, i);
        int equal = sv_equal_quickly(name_a, name_b);
        if (equal < 0)
            equal = sv_equal_slowly(name_a, name_b);
        if (equal != 1)
            return equal;
    }
    return 1;
}

/* The general comparison of a CallKey; the caller keeps `key` alive. */
static int values_equal(const sv_asked *asked, sv_callkey *key, Py_ssize_t from)
{
    for (Py_ssize_t i = from; i < asked->count; i++) {
        PyObject *stored = key->values[i], *value = asked->values[i];
        if ((asked->rules & SV_TYPED) && Py_TYPE(stored) != Py_TYPE(value))
            return 0;
        int equal = sv_equal_quickly(stored, value);
        if (equal < 0)
            equal = sv_equal_slowly(stored, value);
        if (equal != 1)
            return equal;
    }
    return 1;
}

static SV_NOINLINE int call_equals_slowly(const sv_asked *asked, sv_callkey *key)
{
    Py_INCREF(key); /* comparing runs Python code, which may drop the entry that owns the key */
    int equal = names_equal(key->kwnames, asked->kwnames);
    if (equal == 1)
        equal = values_equal(asked, key, 0);
    Py_DECREF(key);
    return equal;
}

static int call_equals(const sv_asked *asked, sv_callkey *key)
{
    if (Py_SIZE(key) != asked->count)
        return 0;
    if (SV_UNLIKELY(key->kwnames != asked->kwnames))
        return call_equals_slowly(asked, key);
    for (Py_ssize_t i = 0; i < asked->count; i++) {
        int equal = sv_equal_quickly(key->values[i], asked->values[i]);
        if (SV_UNLIKELY(equal < 0))
            return call_equals_slowly(asked, key);
        if (equal == 0)
            return 0;
    }
    return 1;
}

int sv_asked_equals(const sv_asked *asked, PyObject *stored)
{
    int stored_is_call = sv_is_callkey(stored);
    if (!asked->bare)
        return stored_is_call ? call_equals(asked, (sv_callkey *)stored) : 0;
    PyObject *value = asked->values[0];
    if (stored == value)
        return 1;
    if (stored_is_call)
        return 0;
    int equal = sv_equal_quickly(stored, value);
    if (equal >= 0)
        return equal;
    if (!(asked->rules & SV_ALIKE) && is_plain(stored) != is_plain(value))
        return 0;
    return sv_equal_slowly(stored, value);
}

/* ------------------------------------------------------------------ the key object */

/* Keys of two values that died, kept for the next: a miss that evicts makes one and drops one. */
#define MOST_SPARE 16
typedef struct spares {
    int count;
    sv_callkey *keys[MOST_SPARE];
} spares;
#if defined(Py_GIL_DISABLED) || defined(SV_DEBUG) /* an allocator with lists for each thread; a sanitizer sees the ends */
static int take_spare(spares *some, PyTypeObject *type, sv_callkey **key) { return (void)some, (void)type, (void)key, 0; }
static int keep_spare(spares *some, sv_callkey *key) { return (void)some, (void)key, 0; }
#else
static int take_spare(spares *some, PyTypeObject *type, sv_callkey **key)
{
    if (some->count == 0)
        return 0;
    *key = some->keys[--some->count];
    PyObject_InitVar((PyVarObject *)*key, type, 2);
    return 1;
}
static int keep_spare(spares *some, sv_callkey *key)
{
    if (Py_SIZE(key) != 2 || some->count == MOST_SPARE)
        return 0;
    some->keys[some->count++] = key;
    return 1;
}
#endif
static spares spare_flat, spare_traced;

static int is_traced(const sv_asked *asked) /* kwnames holds strings only: no cycle goes through it */
{
    for (Py_ssize_t i = 0; i < asked->count; i++)
        if (PyType_IS_GC(Py_TYPE(asked->values[i])))
            return 1;
    return 0;
}

PyObject *sv_asked_key(const sv_asked *asked)
{
    if (asked->bare)
        return Py_NewRef(asked->values[0]);
    sv_callkey *key;
    int traced = is_traced(asked), two = asked->count == 2;
    if (!traced) {
        if (!two || !take_spare(&spare_flat, sv_flatkey_type, &key))
            key = PyObject_NewVar(sv_callkey, sv_flatkey_type, asked->count);
    } else if (!two || !take_spare(&spare_traced, sv_callkey_type, &key)) {
        key = PyObject_GC_NewVar(sv_callkey, sv_callkey_type, asked->count);
    }
    if (key == NULL)
        return NULL;
    key->kwnames = Py_XNewRef(asked->kwnames);
    for (Py_ssize_t i = 0; i < asked->count; i++)
        key->values[i] = Py_NewRef(asked->values[i]);
    if (traced)
        PyObject_GC_Track(key);
    return (PyObject *)key;
}

void sv_asked_from_key(sv_asked *asked, PyObject **key, uint64_t hash, int rules)
{
    if (sv_is_callkey(*key)) {
        sv_callkey *call = (sv_callkey *)*key;
        *asked = (sv_asked){.values = call->values, .count = Py_SIZE(call), .kwnames = call->kwnames, .rules = rules,
                            .hash = hash};
        return;
    }
    *asked = (sv_asked){.values = key, .count = 1, .bare = 1, .rules = rules, .hash = hash};
}

int sv_asked_reread(sv_asked *asked, PyObject **key, int rules)
{
    sv_asked_from_key(asked, key, 0, rules);
    if (asked->bare)
        return sv_hash_of(*key, &asked->hash);
    Py_ssize_t named = asked->kwnames == NULL ? 0 : PyTuple_GET_SIZE(asked->kwnames);
    return sv_asked_read(asked, asked->values, asked->count - named, asked->kwnames, rules, NULL);
}

static PyObject *tuple_from(PyObject *const *values, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(values[i]));
    return tuple;
}

PyObject *sv_asked_public(const sv_asked *asked)
{
    Py_ssize_t named = asked->kwnames == NULL ? 0 : PyTuple_GET_SIZE(asked->kwnames);
    Py_ssize_t positional = asked->count - named;
    PyObject *args = tuple_from(asked->values, positional);
    PyObject *names = asked->kwnames == NULL ? PyTuple_New(0) : Py_NewRef(asked->kwnames);
    PyObject *values = tuple_from(asked->values + positional, named);
    PyObject *types = PyTuple_New((asked->rules & SV_TYPED) ? asked->count : 0);
    PyObject *face = NULL;
    if (args != NULL && names != NULL && values != NULL && types != NULL) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types); i++)
            PyTuple_SET_ITEM(types, i, Py_NewRef((PyObject *)Py_TYPE(asked->values[i])));
        face = PyTuple_Pack(4, args, names, values, types);
    }
    Py_XDECREF(args);
    Py_XDECREF(names);
    Py_XDECREF(values);
    Py_XDECREF(types);
    return face;
}

/* ------------------------------------------------------------------ the type */

static int callkey_traverse(PyObject *self, visitproc visit, void *arg)
{
    sv_callkey *key = (sv_callkey *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(key->kwnames);
    for (Py_ssize_t i = 0; i < Py_SIZE(key); i++)
        Py_VISIT(key->values[i]);
    return 0;
}

/* No tp_clear: a key is immutable, and its owner's tp_clear breaks every cycle that it can be part of. */

static void callkey_dealloc(PyObject *self)
{
    sv_callkey *key = (sv_callkey *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, callkey_dealloc)
    Py_XDECREF(key->kwnames);
    for (Py_ssize_t i = 0; i < Py_SIZE(key); i++)
        Py_DECREF(key->values[i]);
    if (!keep_spare(&spare_traced, key))
        type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* Values are not of GC types: nothing nests, and nothing has to be untracked. */
static void flatkey_dealloc(PyObject *self)
{
    sv_callkey *key = (sv_callkey *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(key->kwnames);
    for (Py_ssize_t i = 0; i < Py_SIZE(key); i++)
        Py_DECREF(key->values[i]);
    if (!keep_spare(&spare_flat, key))
        PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot callkey_slots[] = {
    {Py_tp_doc, "The key under which a call with several arguments is stored. Internal."},
    {Py_tp_traverse, callkey_traverse},
    {Py_tp_dealloc, callkey_dealloc},
    {0, NULL},
};

static PyType_Spec callkey_spec = {
    .name = "samovar._core.CallKey",
    .basicsize = offsetof(sv_callkey, values),
    .itemsize = sizeof(PyObject *),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = callkey_slots,
};

static PyType_Slot flatkey_slots[] = {
    {Py_tp_doc, "A CallKey of numbers and strings. Internal."},
    {Py_tp_dealloc, flatkey_dealloc},
    {0, NULL},
};

static PyType_Spec flatkey_spec = {
    .name = "samovar._core.FlatKey",
    .basicsize = offsetof(sv_callkey, values),
    .itemsize = sizeof(PyObject *),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = flatkey_slots,
};

int sv_callkey_setup(void)
{
    if (sv_callkey_type == NULL)
        sv_callkey_type = (PyTypeObject *)PyType_FromSpec(&callkey_spec);
    if (sv_flatkey_type == NULL && sv_callkey_type != NULL)
        sv_flatkey_type = (PyTypeObject *)PyType_FromSpec(&flatkey_spec);
    return sv_flatkey_type == NULL ? SV_RAISED : SV_OK;
}
