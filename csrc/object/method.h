/* A memoized method: one memo per instance, and no instance kept alive.
 *
 * The method lies in the class and is called with the instance as its first argument (METHOD_DESCRIPTOR: `obj.f(x)`
 * makes no bound object). Where the memo of an instance is kept decides who can be collected:
 *
 *   instances with a __dict__   in that __dict__, under a name that no source code can write; so a result that refers
 *                               to its own instance is an ordinary cycle, which the garbage collector sees
 *   instances without one       in a table of the method, by identity, beside a weak reference whose callback takes
 *                               the row out; here a result that refers to its instance keeps it alive
 *
 * Either way a weak reference tells that the memo belongs to this very instance, not to one whose __dict__ was copied
 * or whose address is used again. Equality and hash of instances are never asked.
 */
#ifndef SV_METHOD_H
#define SV_METHOD_H

#include "memo.h"

extern PyTypeObject *sv_method_type;
int sv_method_setup(void);

/* NULL when the method's table is sound, else what is wrong. O(n); for tests. */
const char *sv_method_check(PyObject *method);

#endif
