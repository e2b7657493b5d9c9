/* The mapping: a Python object around a store with a ledger. What is atomic is here; who works and who waits when a
 * value has to be loaded is decided above, with the verbs of protocol.h.
 *
 * Where Python code can run, and what is checked afterwards (nothing is locked or half changed there, but for the
 * comparison of keys):
 *   hashing the key, the clock, the weigher    before the lock is taken     nothing was looked at yet
 *   reading a Freshness                        the same
 *   gathering tags (the garbage collector)     under the lock, before the key is looked for
 *   comparing keys                             sv_store_find                it answers for the store as it is then
 *   on_remove, dropping references             sv_store_see_off, the pouch  at the end, nothing is used after it
 */
#ifndef SV_CACHE_H
#define SV_CACHE_H

#include "protocol.h"

#include "pure/diary.h"

enum { SV_NOT_PLAIN, SV_JUST_A_VALUE, SV_WITH_AN_END };

typedef struct sv_cache {
    PyObject_HEAD
    sv_store store;  /* always with a ledger and a policy */
    sv_diary diary;
    int opened;      /* __init__ came to its end */
    int timed_hits;
    int plain;       /* by its options entries have no more than this, and nobody is told when they leave */
    PyObject *weakrefs;
} sv_cache;

extern PyTypeObject *sv_cache_type;

/* One of the bounds: None, or an int from 1 up. SV_OK or SV_RAISED. */
int sv_cache_read_bound(const char *name, PyObject *word, uint64_t *bound);
int sv_cache_setup(void);

/* Give a subclass the methods of mapping.c as its own: the interpreter calls a method faster on an instance of the very
 * type that it was defined for. SV_OK or SV_RAISED. */
int sv_cache_adopt(PyObject *type);

/* Validate everything: NULL or what is wrong. For tests. */
const char *sv_cache_check(PyObject *cache);

/* The methods of mapping.c (one key, or many), whole.c (all of them) and protocol.c (loads), for the type's table. */
extern PyMethodDef sv_mapping_methods[], sv_whole_methods[];

/* Only a hit, counted: 1 and `value` a new reference, else 0 or SV_RAISED. A miss is not counted. */
int sv_mapping_hit(PyObject *self, PyObject *const *key, PyObject **value);
PyObject *sv_mapping_subscript(PyObject *self, PyObject *key);
int sv_mapping_assign(PyObject *self, PyObject *key, PyObject *value);
int sv_mapping_contains(PyObject *self, PyObject *key);
Py_ssize_t sv_whole_length(PyObject *self);
PyObject *sv_whole_iter(PyObject *self);

#endif
