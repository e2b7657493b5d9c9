/* What a memo does when the quick look found nothing: look thoroughly, call the function, store what it returned.
 *
 * Three ways. Alone (functools' own): every caller calls the function; if the key is there by then, that value stays.
 * Together: the first caller leads, those who come meanwhile wait on its flight. Async: a coroutine does either in its
 * event loop (memo/coroutine.py), through the protocol verbs of memoized.c.
 */
#ifndef SV_LOAD_H
#define SV_LOAD_H

#include "memo.h"

/* Answer a call that is no hit of the quick kind. New reference or NULL. */
PyObject *sv_memo_call_asked(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames);

/* The rest of a miss alone: it is counted already; `epoch` and `fences` are the store's from before the call. */
PyObject *sv_memo_load_alone(sv_memo *memo, const sv_asked *asked, PyObject *const *args, size_t nargsf,
                             PyObject *kwnames, uint64_t epoch, uint64_t fences);

/* Store what the function returned (stolen), and return it; or remember the exception that it raised, if it is one of
 * those that the memo remembers. */
PyObject *sv_memo_keep(sv_memo *memo, const sv_asked *asked, uint64_t epoch, uint64_t fences, PyObject *value);
/* Whether the memo remembers this exception; never one that says that the origin is busy. */
int sv_memo_remembers(const sv_memo *memo, PyObject *error);
void sv_memo_keep_error(sv_memo *memo, const sv_asked *asked, uint64_t epoch, uint64_t fences);

/* Call the function and count it as a load, and nothing else. */
PyObject *sv_memo_call_counted(sv_memo *memo, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* What the caller gets for a stored value (stolen): a copy, an exception, or itself. */
PyObject *sv_memo_answer_steal(sv_memo *memo, PyObject *stored);

/* The leader of a load has its value, or NULL and an exception set: store it, tell the waiters, and return what the
 * caller gets. Steals the value. */
PyObject *sv_memo_settle_steal(sv_memo *memo, uint32_t number, PyObject *value);

/* The arguments of a call as a tuple and a dict (new references). SV_OK or SV_RAISED. */
int sv_call_parts(PyObject *const *args, Py_ssize_t positional, PyObject *kwnames, PyObject **tuple, PyObject **dict);

/* The coroutine that `maker` (sv_words.load or .refresh) makes for this call. New reference or NULL. */
PyObject *sv_memo_coroutine(sv_memo *memo, PyObject *maker, const sv_asked *asked, PyObject *const *args,
                            Py_ssize_t positional, PyObject *kwnames);

#endif
