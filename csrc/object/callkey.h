/* From the arguments of a call to a hash and an equality, without building anything on a hit.
 *
 * A call with one positional argument is keyed by that argument itself ("bare"). Every other call, and every call of
 * a `typed` memo, is keyed by a CallKey, which is built on a miss: positional values, then keyword values, with the
 * tuple of keyword names beside them. Keyword order counts, as in functools.
 *
 * Which calls are alike: values are compared with == after identity, names with ==. Two ways to treat one bare
 * argument exist. SV_ALIKE: 1, 1.0 and True are one entry. Without it, functools' own habit: an exact int or str is
 * never alike to a value of another type when it is the only argument.
 */
#ifndef SV_CALLKEY_H
#define SV_CALLKEY_H

#include "refs.h" /* before all others: Python.h wants to be first */

#include "pure/slab.h"

/* Two types share the struct: keys of values that the garbage collector need not see (numbers, strings) are flat. */
typedef struct sv_callkey {
    PyObject_VAR_HEAD     /* ob_size: number of values */
    PyObject *kwnames;    /* tuple of str, or NULL */
    PyObject *values[1];  /* positional, then keyword values */
} sv_callkey;

extern PyTypeObject *sv_callkey_type, *sv_flatkey_type;
SV_INLINE int sv_is_callkey(PyObject *key) { return Py_TYPE(key) == sv_flatkey_type || Py_TYPE(key) == sv_callkey_type; }
int sv_callkey_setup(void);

enum { SV_TYPED = 1, SV_ALIKE = 2 };

/* The arguments of a call in vectorcall's form, and how to compare them. */
typedef struct sv_asked {
    PyObject *const *values;
    Py_ssize_t count;  /* positional and keyword values */
    PyObject *kwnames; /* borrowed; NULL rather than empty */
    int bare;          /* keyed by values[0] itself */
    int rules;         /* SV_TYPED, SV_ALIKE */
    uint64_t hash;
    uint64_t now;      /* when it was asked: only read where answers have an end */
} sv_asked;

/* Describe a call and hash its arguments; runs Python code for values that are not exact str or int.
 * SV_OK, or SV_RAISED with the exception of the hash that failed (`failed` tells which value; may be NULL). */
int sv_asked_read(sv_asked *asked, PyObject *const *values, Py_ssize_t positional, PyObject *kwnames, int rules,
                  Py_ssize_t *failed);

/* Does the stored key (bare or CallKey) answer this call? 1, 0, or SV_RAISED. May run Python code. */
int sv_asked_equals(const sv_asked *asked, PyObject *stored);

/* The key object to store: new reference, or NULL with MemoryError. May run the garbage collector. */
PyObject *sv_asked_key(const sv_asked *asked);

/* Describe a stored key again, as the call that it came from; its hash is known. Borrowed from the key. */
void sv_asked_from_key(sv_asked *asked, PyObject **key, uint64_t hash, int rules);

/* The same, but hash it anew. SV_OK or SV_RAISED. */
int sv_asked_reread(sv_asked *asked, PyObject **key, int rules);

/* The public face of a key, for users: a hashable, new reference. */
PyObject *sv_asked_public(const sv_asked *asked);

/* Hash of one key object that is not a call's: mapping keys, bare keys. SV_OK or SV_RAISED. Python code that a hash runs
 * may ask the same memo for the same hash, without end: the depth is counted. */
int sv_hash_slowly(PyObject *key, uint64_t *hash);
SV_INLINE int sv_hash_of(PyObject *key, uint64_t *hash)
{
    Py_hash_t found;
    if (PyUnicode_CheckExact(key) && (found = sv_str_known_hash(key)) != -1) {
        *hash = (uint64_t)found;
        return SV_OK;
    }
    if (PyLong_CheckExact(key) && sv_int_is_compact(key)) {
        found = (Py_hash_t)sv_int_value(key);
        *hash = (uint64_t)(found - (found == -1));
        return SV_OK;
    }
    return sv_hash_slowly(key, hash);
}

/* Equal for sure, without running Python code: 1 yes, 0 no, -1 not known. The hashes are equal. */
SV_INLINE int sv_equal_quickly(PyObject *a, PyObject *b)
{
    if (a == b)
        return 1;
    if (Py_TYPE(a) != Py_TYPE(b))
        return -1;
    if (PyUnicode_CheckExact(a)) {
        if (!sv_str_is_ready(a) || !sv_str_is_ready(b))
            return -1;
        return PyUnicode_GET_LENGTH(a) == PyUnicode_GET_LENGTH(b) && PyUnicode_KIND(a) == PyUnicode_KIND(b) &&
               memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b),
                      (size_t)PyUnicode_GET_LENGTH(a) * (size_t)PyUnicode_KIND(a)) == 0;
    }
    if (PyLong_CheckExact(a) && sv_int_is_compact(a))
        return sv_int_equals_short(a, b);
    return -1;
}

/* The hash of a value without running Python code: exact str and int, and whatever hashes by identity. 1 or 0. */
SV_INLINE int sv_hash_quickly(PyObject *value, uint64_t *hash)
{
    if (PyLong_CheckExact(value))
        return sv_int_short_hash(value, hash);
    if (PyUnicode_CheckExact(value)) {
        Py_hash_t known = sv_str_known_hash(value);
        *hash = (uint64_t)known;
        return known != -1;
    }
    if (Py_TYPE(value)->tp_hash == PyBaseObject_Type.tp_hash) {
        *hash = (uint64_t)sv_identity_hash(value);
        return 1;
    }
    return 0;
}

/* Odd constants of wyhash's kind: bits half set, far apart. */
#define SV_SALT_START UINT64_C(0xA0761D6478BD642F)
#define SV_SALT_VALUE UINT64_C(0xE7037ED1A0B428DB)
#define SV_SALT_NAME UINT64_C(0x8EBC6AF09C88C6E3)
#define SV_SALT_SECOND UINT64_C(0x589965CC75374CC3)

/* Untyped values go into the state by twos, one multiplication each. A factor of zero would swallow the other value;
 * the hash of a number is shorter than 61 bits, and no such hash makes the first pair's factors zero: SV_SALT_START and
 * SV_SALT_SECOND begin with bits that differ. The last state is halved: then it is never SV_HASH_NEVER. */
SV_INLINE uint64_t sv_fold_pair(uint64_t state, uint64_t first, uint64_t second)
{
    return sv_fold(state ^ first, SV_SALT_SECOND ^ second);
}

/* sv_asked_read without running Python code, for calls with other than one bare argument of an untyped memo. 1 done,
 * 0 do it the slow way. */
SV_INLINE int sv_asked_read_quickly(sv_asked *asked, PyObject *const *values, Py_ssize_t positional,
                                    PyObject *kwnames, int rules)
{
    uint64_t hash, state = SV_SALT_START + (uint64_t)positional;
    Py_ssize_t count = positional;
    if (kwnames != NULL) {
        Py_ssize_t named = PyTuple_GET_SIZE(kwnames);
        if (named == 0)
            return 0;
        count += named;
        for (Py_ssize_t i = 0; i < named; i++) {
            Py_hash_t known = sv_str_known_hash(PyTuple_GET_ITEM(kwnames, i));
            if (known == -1)
                return 0;
            state = sv_fold(state ^ (uint64_t)known, SV_SALT_NAME);
        }
    }
    Py_ssize_t at = 0;
    for (uint64_t second; at + 1 < count; at += 2) {
        if (!sv_hash_quickly(values[at], &hash) || !sv_hash_quickly(values[at + 1], &second))
            return 0;
        state = sv_fold_pair(state, hash, second);
    }
    if (at < count) {
        if (!sv_hash_quickly(values[at], &hash))
            return 0;
        state = sv_fold(state ^ hash, SV_SALT_VALUE);
    }
    asked->values = values;
    asked->count = count;
    asked->kwnames = kwnames;
    asked->bare = 0;
    asked->rules = rules;
    asked->hash = state >> 1;
    return 1;
}

/* Whether the stored key answers this call for sure, without running Python code; `asked` is not bare. 1 or 0. */
SV_INLINE int sv_asked_equals_quickly(const sv_asked *asked, PyObject *stored)
{
    sv_callkey *key = (sv_callkey *)stored;
    if (!sv_is_callkey(stored) || Py_SIZE(key) != asked->count || key->kwnames != asked->kwnames)
        return 0;
    for (Py_ssize_t i = 0; i < asked->count; i++)
        if (key->values[i] != asked->values[i] && sv_equal_quickly(key->values[i], asked->values[i]) != 1)
            return 0;
    return 1;
}

/* The same two for the commonest such call, two positional arguments: nothing but registers. */
SV_INLINE int sv_pair_hash_quickly(PyObject *const *values, uint64_t *hash)
{
    uint64_t first, second;
    if (SV_UNLIKELY(!sv_hash_quickly(values[0], &first)) || SV_UNLIKELY(!sv_hash_quickly(values[1], &second)))
        return 0;
    *hash = sv_fold_pair(SV_SALT_START + 2, first, second) >> 1;
    return 1;
}
SV_INLINE int sv_same_or_equal_int(PyObject *stored, PyObject *value)
{
    return stored == value || (PyLong_CheckExact(stored) && PyLong_CheckExact(value) && sv_int_is_compact(value) &&
                               sv_int_equals_short(value, stored));
}
SV_INLINE int sv_pair_equals_quickly(PyObject *const *values, PyObject *stored)
{
    sv_callkey *key = (sv_callkey *)stored;
    return sv_is_callkey(stored) && Py_SIZE(key) == 2 && key->kwnames == NULL &&
           sv_same_or_equal_int(key->values[0], values[0]) && sv_same_or_equal_int(key->values[1], values[1]);
}

/* Equality of two keys as a dict sees it: identity, then ==. 1, 0 or SV_RAISED; keeps `stored` alive meanwhile. */
int sv_equal_slowly(PyObject *stored, PyObject *asked);

#endif
