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
    size_t sv_store_bytes(PyObject *owner, const sv_store *store)
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
        PyObject *steer
        PyObject *renew
        PyObject *tags_of
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
    int sv_cache_adopt(object type) except -3
cdef extern from "object/single.h":
    int sv_single_setup() except -3
    PyTypeObject *sv_single_type
    PyTypeObject *sv_lone_type
    PyObject *sv_inside
    ctypedef struct sv_single:
        sv_store store
    const char *sv_single_check(PyObject *single)
cdef extern from "Python.h":
    void Py_INCREF(object)

sv_callkey_setup()
sv_flight_setup()
sv_ready_setup()
sv_memo_setup()
sv_memoized_setup()
sv_method_setup()
sv_cache_setup()
sv_single_setup()

Ready = <object>sv_ready_type
Memo = <object>sv_memo_type
Memoized = <object>sv_memoized_type
MethodMemo = <object>sv_method_type
CacheCore = <object>sv_cache_type
SingleCore = <object>sv_single_type
Lone = <object>sv_lone_type
inside = <object>sv_inside  # the flights whose bodies this code is in: _base/flight.py
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


def _teach(*, info, stats, load, refresh, steer, renew, tags_of, unhashable, bound):
    """Hand the words of the floors above down to the core, once, when the package is imported."""
    sv_words.info = kept(info)
    sv_words.stats = kept(stats)
    sv_words.load = kept(load)
    sv_words.refresh = kept(refresh)
    sv_words.steer = kept(steer)
    sv_words.renew = kept(renew)
    sv_words.tags_of = kept(tags_of)
    sv_words.unhashable = kept(unhashable)
    sv_words.bound = kept(bound)
    sv_words.left_behind = kept(_left_behind)


def _forked():
    """Tell the core that this process is the child of a fork: other threads, and what they led, are gone."""
    sv_flight_forked()


def adopted(cls):
    """Give a subclass of CacheCore the hot methods as its own, which makes their calls faster. Returns the class."""
    sv_cache_adopt(cls)
    return cls


cdef sv_store *store_of(memo) except NULL:
    if isinstance(memo, CacheCore):
        return &(<sv_cache *><PyObject *>memo).store
    if isinstance(memo, SingleCore):
        return &(<sv_single *><PyObject *>memo).store
    if not isinstance(memo, Memo):
        raise TypeError(f"memo must be a memoized function or a cache, not {type(memo).__name__}")
    return &(<sv_memo *><PyObject *>memo).store


def check(memo):
    """Validate the whole native structure behind a memoized function, a cached method, a cache or a single flight.

    Returns True; raises AssertionError with what is wrong. O(n). For tests.
    """
    cdef const char *wrong
    if isinstance(memo, MethodMemo):
        wrong = sv_method_check(<PyObject *>memo)
    elif isinstance(memo, CacheCore):
        wrong = sv_cache_check(<PyObject *>memo)
    elif isinstance(memo, SingleCore):
        wrong = sv_single_check(<PyObject *>memo)
    else:
        store_of(memo)
        wrong = sv_memo_check(<PyObject *>memo)
    if wrong != NULL:
        raise AssertionError(wrong.decode())
    return True


def memory(memo):
    """Bytes that the native structure behind a memoized function takes, keys and values themselves not included."""
    return sv_store_bytes(<PyObject *>memo, store_of(memo))


# ------------------------------------------------------------------ eviction without objects: replay and its estimate

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "pure/rules.h":
    ctypedef struct sv_rule:
        const char *name
    const sv_rule *sv_rule_named(const char *name)
    const sv_rule *sv_rule_at(size_t number)
cdef extern from "pure/replay.h":
    int SV_NOMEM
    ctypedef struct sv_replay_counts:
        uint64_t requests, hits, evictions, requested_weight, hit_weight
    int sv_replay_once(const sv_rule *rule, uint64_t capacity, uint64_t seed, const uint64_t *keys,
                       const uint32_t *weights, size_t count, sv_replay_counts *counts) nogil
cdef extern from "pure/mrc.h":
    int sv_mrc_once(const sv_rule *rule, uint64_t living, const uint64_t *sizes, uint32_t count, uint64_t rate,
                    uint64_t seed, const uint64_t *keys, const uint32_t *weights, size_t requests,
                    double *expected) nogil


cdef const sv_rule *rule_called(str name) except NULL:
    cdef const sv_rule *rule = sv_rule_named(name.encode())
    if rule == NULL:
        raise ValueError(f"eviction must be one of {', '.join(map(repr, evictions()))}, not {name!r}")
    return rule


cdef int sound(int status) except -1:
    """Turn a status of the pure floor into an exception."""
    if status == SV_NOMEM:
        raise MemoryError("no memory for the entries of a replay")
    if status < 0:
        raise OverflowError("more entries than can be numbered: a replay holds fewer than 2**32")
    return 0


cdef struct requests:
    Py_buffer asked, heavy  # all zeros where nothing is weighed: to release that does nothing
    const uint64_t *keys
    const uint32_t *weights
    size_t count


cdef int hold(requests *these, keys, weights) except -1:
    """Hold the buffers of a replay, as long as each other, until they are let go."""
    memset(these, 0, sizeof(requests))
    PyObject_GetBuffer(keys, &these.asked, PyBUF_SIMPLE)
    these.keys = <const uint64_t *>these.asked.buf
    these.count = <size_t>these.asked.len // sizeof(uint64_t)
    try:
        if weights is not None:
            PyObject_GetBuffer(weights, &these.heavy, PyBUF_SIMPLE)
            these.weights = <const uint32_t *>these.heavy.buf
            if <size_t>these.heavy.len != these.count * sizeof(uint32_t):
                raise ValueError("weights must be as many as keys")
    except BaseException:
        let_go(these)
        raise
    return 0


cdef int let_go(requests *these) except -1:
    PyBuffer_Release(&these.asked)
    PyBuffer_Release(&these.heavy)
    return 0


def evictions():
    """The names of the eviction rules."""
    cdef size_t number = 0
    names = []
    while sv_rule_at(number) != NULL:
        names.append(sv_rule_at(number).name.decode())
        number += 1
    return tuple(names)


def replay(keys, weights, str eviction, uint64_t capacity, uint64_t seed):
    """Replay 64-bit keys through a cache of this capacity without the GIL.

    Returns (requests, hits, evictions, requested weight, weight of the hits).
    """
    cdef const sv_rule *rule = rule_called(eviction)
    cdef requests these
    cdef sv_replay_counts counts
    cdef int status
    hold(&these, keys, weights)
    with nogil:
        status = sv_replay_once(rule, capacity, seed, these.keys, these.weights, these.count, &counts)
    let_go(&these)
    sound(status)
    return counts.requests, counts.hits, counts.evictions, counts.requested_weight, counts.hit_weight


def estimate(keys, weights, str eviction, uint64_t living, uint64_t size, uint64_t rate, uint64_t seed):
    """What a sample of one key in `rate` (0: as a living cache samples) expects of another size, without the GIL.

    Returns the hit ratio expected at `size`, given what a cache of size `living` reaches with these requests.
    """
    cdef const sv_rule *rule = rule_called(eviction)
    cdef requests these
    cdef double expected
    cdef int status
    hold(&these, keys, weights)
    with nogil:
        status = sv_mrc_once(rule, living, &size, 1, rate, seed, these.keys, these.weights, these.count, &expected)
    let_go(&these)
    sound(status)
    return expected
