/* The only file that asks which Python this is. */
#ifndef SV_COMPAT_H
#define SV_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "pure/base.h"

#if PY_VERSION_HEX < 0x030B0000
#error "samovar needs CPython 3.11 or newer"
#endif

/* Before 3.12 an exception may travel as its type and a bare value; it becomes an object where somebody looks. */
#if PY_VERSION_HEX < 0x030C0000
#define SV_EXCEPTIONS_NORMALISED_LATE 1
#endif

/* A lock per object: nothing where a global lock serialises anyway. Code between the two may call Python; the
 * interpreter may then let other threads in, so whoever calls out re-checks the store's epoch on either build. */
#ifdef Py_GIL_DISABLED
#define SV_LOCK(object) Py_BEGIN_CRITICAL_SECTION(object);
#define SV_UNLOCK() Py_END_CRITICAL_SECTION();
#else
#define SV_LOCK(object) { (void)(object);
#define SV_UNLOCK() }
#endif

/* A number that others may write at this moment, read without the lock: as it was or as it is. Whoever writes such a
 * number holds the lock, and posts it. */
#if defined(Py_GIL_DISABLED) && (defined(__GNUC__) || defined(__clang__))
#define SV_GLANCE(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define SV_POST(place, number) __atomic_store_n(&(place), (number), __ATOMIC_RELAXED)
#else
#define SV_GLANCE(place) (place)
#define SV_POST(place, number) ((place) = (number))
#endif

/* A reference in an object's own memory that others may replace at this moment: a new reference to what it was or is.
 * Nobody locks; whoever replaces it steals a reference and drops the old one. It is never NULL. */
#ifdef Py_GIL_DISABLED
SV_INLINE PyObject *sv_slot_read(PyObject *owner, size_t offset)
{
    PyMemberDef member = {.name = "slot", .type = Py_T_OBJECT_EX, .offset = (Py_ssize_t)offset};
    return PyMember_GetOne((const char *)owner, &member);
}
SV_INLINE void sv_slot_write_steal(PyObject *owner, size_t offset, PyObject *value)
{
    PyMemberDef member = {.name = "slot", .type = Py_T_OBJECT_EX, .offset = (Py_ssize_t)offset};
    (void)PyMember_SetOne((char *)owner, &member, value);
    Py_DECREF(value);
}
#else
SV_INLINE PyObject *sv_slot_read(PyObject *owner, size_t offset)
{
    return Py_NewRef(*(PyObject **)((char *)owner + offset));
}
SV_INLINE void sv_slot_write_steal(PyObject *owner, size_t offset, PyObject *value)
{
    PyObject **slot = (PyObject **)((char *)owner + offset), *old = *slot;
    *slot = value;
    Py_DECREF(old);
}
#endif

/* A mutex for what is shared by all flights of the process. Nothing that can block or run Python happens inside. */
#ifdef Py_GIL_DISABLED
typedef PyMutex sv_mutex;
#define sv_mutex_lock(mutex) PyMutex_Lock(mutex)
#define sv_mutex_unlock(mutex) PyMutex_Unlock(mutex)
#else
typedef char sv_mutex;
#define sv_mutex_lock(mutex) ((void)(mutex))
#define sv_mutex_unlock(mutex) ((void)(mutex))
#endif

/* The value of an exact int that fits one digit: its hash is the value itself, but for -1. */
#if PY_VERSION_HEX >= 0x030C0000
SV_INLINE int sv_int_is_compact(PyObject *number) { return PyUnstable_Long_IsCompact((PyLongObject *)number); }
SV_INLINE Py_ssize_t sv_int_value(PyObject *number) { return PyUnstable_Long_CompactValue((PyLongObject *)number); }
#else
SV_INLINE int sv_int_is_compact(PyObject *number)
{
    Py_ssize_t size = Py_SIZE(number);
    return (size_t)(size + 1) <= 2;
}
SV_INLINE Py_ssize_t sv_int_value(PyObject *number)
{
    return Py_SIZE(number) * (Py_ssize_t)((PyLongObject *)number)->ob_digit[0];
}
#endif

/* The hash of an exact int if it is short. 1 or 0. */
SV_INLINE int sv_int_short_hash(PyObject *number, uint64_t *hash)
{
    /* One digit or none, not negative: zero has a digit too. */
#if PY_VERSION_HEX < 0x030C0000
    if (SV_LIKELY((size_t)Py_SIZE(number) <= 1)) {
        *hash = ((PyLongObject *)number)->ob_digit[0];
        return 1;
    }
#elif PY_VERSION_HEX < 0x030F0000
    const struct _PyLongValue *parts = &((PyLongObject *)number)->long_value;
    if (SV_LIKELY((parts->lv_tag & ~(uintptr_t)0xD) == 0)) { /* above three flags the number of digits; 2: negative */
        *hash = parts->ob_digit[0];
        return 1;
    }
#endif
    if (SV_UNLIKELY(!sv_int_is_compact(number)))
        return 0;
    Py_ssize_t value = sv_int_value(number);
    *hash = (uint64_t)(value - (value == -1));
    return 1;
}

/* Whether an exact int that is short equals another exact int. */
SV_INLINE int sv_int_equals_short(PyObject *number, PyObject *other)
{
#if PY_VERSION_HEX < 0x030C0000
    return Py_SIZE(number) == Py_SIZE(other) &&
           ((PyLongObject *)number)->ob_digit[0] == ((PyLongObject *)other)->ob_digit[0];
#else
    return sv_int_is_compact(other) && sv_int_value(number) == sv_int_value(other);
#endif
}

/* A string's hash if it was computed already, else -1. */
SV_INLINE Py_hash_t sv_str_known_hash(PyObject *text)
{
#ifdef Py_GIL_DISABLED
    return __atomic_load_n(&((PyASCIIObject *)text)->hash, __ATOMIC_RELAXED);
#else
    return ((PyASCIIObject *)text)->hash;
#endif
}

/* object.__hash__ of this object. */
SV_INLINE Py_hash_t sv_identity_hash(PyObject *object)
{
#if PY_VERSION_HEX < 0x030F0000 && SIZEOF_VOID_P == 8
    uintptr_t address = (uintptr_t)object;
    Py_hash_t hash = (Py_hash_t)(address >> 4 | address << 60);
    return hash - (hash == -1);
#else
    return PyBaseObject_Type.tp_hash(object);
#endif
}

/* Whether a string's characters can be compared as bytes (before 3.12 a string could still be in a legacy form). */
SV_INLINE int sv_str_is_ready(PyObject *text)
{
#if PY_VERSION_HEX >= 0x030C0000
    (void)text;
    return 1;
#else
    return PyUnicode_IS_READY(text) != 0;
#endif
}

/* A number that no other living thread has. */
SV_INLINE uint64_t sv_thread_number(void) { return (uint64_t)(uintptr_t)PyThreadState_Get(); }

/* The exception that is set, as one normalised object: taken (new reference, nothing is set afterwards), and put back. */
SV_INLINE PyObject *sv_raised_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (error != NULL && traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}
SV_INLINE void sv_raised_put_steal(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

/* What a weak reference points at, as a new reference; NULL (no error) when it is dead. */
SV_INLINE PyObject *sv_weakref_target(PyObject *ref)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *target;
    if (PyWeakref_GetRef(ref, &target) < 0)
        PyErr_Clear();
    return target;
#else
    PyObject *target = PyWeakref_GET_OBJECT(ref);
    return target == Py_None ? NULL : Py_NewRef(target);
#endif
}

#endif
