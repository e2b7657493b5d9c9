"""The native core of samovar: assembles the module from the C floors below. No algorithm lives here."""

from cpython.object cimport PyObject, PyTypeObject

cdef extern from "object/callkey.h":
    int sv_callkey_setup() except -3
cdef extern from "object/flight.h":
    int sv_flight_setup() except -3
    void sv_flight_forked()
cdef extern from "object/ready.h":
    int sv_ready_setup() except -3
    PyTypeObject *sv_ready_type
cdef extern from "object/store.h":
    ctypedef struct sv_store:
        pass
    size_t sv_store_bytes(const sv_store *store)
cdef extern from "object/memo.h":
    int sv_memo_setup() except -3
    PyTypeObject *sv_memo_type
    ctypedef struct sv_memo:
        sv_store store
    ctypedef struct sv_memo_words:
        PyObject *info
        PyObject *stats
        PyObject *load
        PyObject *refresh
        PyObject *unhashable
        PyObject *bound
        PyObject *left_behind
    sv_memo_words sv_words
    const char *sv_memo_check(PyObject *memo)
cdef extern from "object/memoized.h":
    int sv_memoized_setup() except -3
    PyTypeObject *sv_memoized_type
cdef extern from "object/method.h":
    int sv_method_setup() except -3
    PyTypeObject *sv_method_type
    const char *sv_method_check(PyObject *method)
cdef extern from "object/protocol.h":
    PyObject *sv_missing
cdef extern from "object/cache.h":
    int sv_cache_setup() except -3
    PyTypeObject *sv_cache_type
    ctypedef struct sv_cache:
        sv_store store
    const char *sv_cache_check(PyObject *cache)
cdef extern from "Python.h":
    void Py_INCREF(object)

sv_callkey_setup()
sv_flight_setup()
sv_ready_setup()
sv_memo_setup()
sv_memoized_setup()
sv_method_setup()
sv_cache_setup()

Ready = <object>sv_ready_type
Memo = <object>sv_memo_type
Memoized = <object>sv_memoized_type
MethodMemo = <object>sv_method_type
CacheCore = <object>sv_cache_type
HIT, LEAD, FOLLOW, REENTER = range(4)  # what a caller that joins a load is to do: object/protocol.h


cdef PyObject *kept(object word):
    Py_INCREF(word)
    return <PyObject *>word


class _Missing:
    """The type of MISSING, which stands where there is no value: None is one."""

    __slots__ = ()

    def __repr__(self):
        return "MISSING"

    def __reduce__(self):
        return "MISSING"


MISSING = _Missing()
sv_missing = kept(MISSING)


def _left_behind():
    """What takes the place of an instance's memo where the instance is pickled: nothing."""
    return None


def _teach(*, info, stats, load, refresh, unhashable, bound):
    """Hand the words of the floors above down to the core, once, when the package is imported."""
    sv_words.info = kept(info)
    sv_words.stats = kept(stats)
    sv_words.load = kept(load)
    sv_words.refresh = kept(refresh)
    sv_words.unhashable = kept(unhashable)
    sv_words.bound = kept(bound)
    sv_words.left_behind = kept(_left_behind)


def _forked():
    """Tell the core that this process is the child of a fork: other threads, and what they led, are gone."""
    sv_flight_forked()


cdef sv_store *store_of(memo) except NULL:
    if isinstance(memo, CacheCore):
        return &(<sv_cache *><PyObject *>memo).store
    if not isinstance(memo, Memo):
        raise TypeError(f"memo must be a memoized function or a cache, not {type(memo).__name__}")
    return &(<sv_memo *><PyObject *>memo).store


def check(memo):
    """Validate the whole native structure behind a memoized function or a cached method.

    Returns True; raises AssertionError with what is wrong. O(n). For tests.
    """
    cdef const char *wrong
    if isinstance(memo, MethodMemo):
        wrong = sv_method_check(<PyObject *>memo)
    elif isinstance(memo, CacheCore):
        wrong = sv_cache_check(<PyObject *>memo)
    else:
        store_of(memo)
        wrong = sv_memo_check(<PyObject *>memo)
    if wrong != NULL:
        raise AssertionError(wrong.decode())
    return True


def memory(memo):
    """Bytes that the native structure behind a memoized function takes, keys and values themselves not included."""
    return sv_store_bytes(store_of(memo))
