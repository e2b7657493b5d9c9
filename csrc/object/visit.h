/* One operation on one key of a store: what every verb does before it takes the lock, under it, and after it.
 *
 *   sv_visit_begin        hash the key, read the clock            runs Python code
 *   SV_LOCK
 *   sv_line_begin_locked  gather tags, if something is stored     may run the garbage collector
 *   sv_visit_find_locked  find the entry                          compares keys
 *   ... change the store ...                                      runs nothing
 *   SV_UNLOCK
 *   sv_visit_end          tell on_remove, drop references         runs Python code
 */
#ifndef SV_VISIT_H
#define SV_VISIT_H

#include "store.h"

/* One operation on one key: its question, its time, and who goes. */
typedef struct sv_visit {
    sv_asked asked;
    uint64_t now;
    sv_pouch pouch;
} sv_visit;

/* Hash the key and read the clock. `key` lives as long as the visit. SV_OK or SV_RAISED. */
int sv_visit_begin(sv_store *store, sv_visit *visit, PyObject *const *key, int precisely);
/* With nothing locked: what the operation took out goes. */
void sv_visit_end(PyObject *owner, sv_store *store, sv_visit *visit);

/* Find the entry: 1 fresh; 0 stale or being loaded (`found` names it) or absent (SV_NONE); SV_RAISED. One that is past
 * or wrong leaves. */
int sv_visit_find_locked(sv_store *store, sv_visit *visit, sv_handle *found);

/* What is to be stored with a value: see sv_line. `tags` is a tuple of exact str or None; gathers it, so the key must
 * not have been looked for yet. SV_OK or SV_RAISED. The line's tags that were not taken over are given back by
 * sv_line_end. */
int sv_line_begin_locked(sv_store *store, sv_line *line, const sv_terms *terms, PyObject *tags, uint64_t now,
                         uint32_t weight);
void sv_line_end_locked(sv_store *store, sv_line *line);

/* The weight of an entry: `given` (an int, or None), or what the weigher says, or 1. SV_OK or SV_RAISED. */
int sv_weight_of(sv_ledger *ledger, PyObject *key, PyObject *value, PyObject *given, uint32_t *weight);

/* Declare the entries with these tags (a tuple of exact str) wrong, or stale if `soft`: a whole operation by itself, to
 * be called with nothing locked. Nothing happens where there is no ledger. SV_OK or SV_RAISED. */
int sv_store_invalidate_tags(PyObject *owner, sv_store *store, PyObject *tags, int soft);

/* Exactly so many arguments; and tags that are None or a tuple of exact str. SV_OK or SV_RAISED. */
int sv_want(const char *verb, Py_ssize_t wanted, Py_ssize_t given);
int sv_want_tags(PyObject *tags);

/* A Freshness in ledger terms; None: the ledger's own. SV_OK or SV_RAISED. */
int sv_terms_of(sv_ledger *ledger, PyObject *fresh, sv_terms *terms);

#endif
