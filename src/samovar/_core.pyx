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
        PyObject *busy
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
cdef extern from "object/front.h":
    int sv_front_setup() except -3
    PyTypeObject *sv_front_type
    int sv_front_adopt(object type) except -3
cdef extern from "pure/sketch.h":
    ctypedef struct sv_sketch:
        pass
    int sv_sketch_reserve(sv_sketch *sketch, unsigned int entries)
    void sv_sketch_close(sv_sketch *sketch)
    void sv_sketch_add(sv_sketch *sketch, unsigned long long hash)
    unsigned int sv_sketch_estimate(const sv_sketch *sketch, unsigned long long hash)
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
sv_front_setup()
sv_single_setup()

Ready = <object>sv_ready_type
Memo = <object>sv_memo_type
Memoized = <object>sv_memoized_type
MethodMemo = <object>sv_method_type
CacheCore = <object>sv_cache_type
FrontCore = <object>sv_front_type
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


def _teach(*, info, stats, load, refresh, steer, renew, tags_of, unhashable, bound, busy):
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
    sv_words.busy = kept(busy)
    sv_words.left_behind = kept(_left_behind)


def _forked():
    """Tell the core that this process is the child of a fork: other threads, and what they led, are gone."""
    sv_flight_forked()


def adopted(cls):
    """Give a subclass of CacheCore or FrontCore the hot methods as its own, which makes their calls faster. Returns the
    class."""
    if isinstance(cls, type) and issubclass(cls, FrontCore):
        sv_front_adopt(cls)
    else:
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


# ------------------------------------------------------------------ the ring: which node has which key

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_WRITABLE
from cpython.number cimport PyNumber_Index
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? 0xFFFFFFFFFFFFFFFF
    void Py_DECREF(PyObject *)
cdef extern from "object/compat.h":
    PyObject *sv_slot_read(PyObject *owner, size_t offset)
    void sv_slot_write_steal(PyObject *owner, size_t offset, PyObject *value)
cdef extern from "pure/hash.h":
    uint64_t sv_xxh3(const void *bytes, size_t length, uint64_t seed)
    uint64_t sv_xxh64(const void *bytes, size_t length, uint64_t seed)
cdef extern from "pure/place.h":
    ctypedef enum sv_ring_kind:
        SV_RING_XXH3
        SV_RING_KETAMA
    ctypedef enum sv_column_kind:
        SV_COLUMN_SPANS
    ctypedef struct sv_column:
        sv_column_kind kind
        const void *data
        size_t width, count
    ctypedef struct sv_span:
        const void *bytes
        uint64_t length_or_place
    uint64_t sv_place(sv_ring_kind kind, const void *bytes, size_t length)
    uint64_t sv_place_signed(sv_ring_kind kind, int64_t number)
    uint64_t sv_place_unsigned(sv_ring_kind kind, uint64_t number)
cdef extern from "pure/ring.h":
    ctypedef struct sv_ring_node:
        const char *name
        size_t length
        uint32_t points
    ctypedef struct sv_ring:
        uint64_t *points
        uint32_t *owners
        uint32_t count, nodes
        sv_ring_kind kind
    ctypedef struct sv_ring_move:
        uint32_t from_number "from"
        uint32_t to
        uint64_t places
    int sv_ring_open(sv_ring *ring, sv_ring_kind kind, const sv_ring_node *nodes, uint32_t count) nogil
    void sv_ring_close(sv_ring *ring)
    int sv_ring_with(sv_ring *ring, const sv_ring *old, const sv_ring_node *node) nogil
    int sv_ring_without(sv_ring *ring, const sv_ring *old, uint32_t node) nogil
    void sv_ring_ketama_points(const double *weights, uint32_t count, uint32_t hashes, uint32_t *points)
    uint32_t sv_ring_find(const sv_ring *ring, uint64_t place)
    int64_t sv_ring_find_keys(const sv_ring *ring, const sv_column *keys, uint32_t *nodes) nogil
    int64_t sv_ring_walk(const sv_ring *ring, uint64_t place, uint32_t wanted, uint32_t *nodes)
    void sv_ring_shares(const sv_ring *ring, uint64_t *shares) nogil
    int64_t sv_ring_moves(const sv_ring *ring, const sv_ring *other, const uint32_t *same, sv_ring_move **moves) nogil
    int sv_ring_check(const sv_ring *ring)


def xxh3(bytes data not None, uint64_t seed=0):
    """XXH3-64 of some bytes."""
    return sv_xxh3(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data), seed)


def xxh64(bytes data not None, uint64_t seed=0):
    """XXH64 of some bytes."""
    return sv_xxh64(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data), seed)


cdef uint64_t place_of(sv_ring_kind kind, key) except? 0xA5A5A5A5A5A5A5A5:
    """Where a key lies on the circle."""
    cdef Py_ssize_t size
    cdef const char *text
    if isinstance(key, str):
        text = PyUnicode_AsUTF8AndSize(key, &size)
        return sv_place(kind, text, <size_t>size)
    if isinstance(key, bytes):
        return sv_place(kind, PyBytes_AS_STRING(key), <size_t>PyBytes_GET_SIZE(key))
    return place_of_number(kind, key)


cdef uint64_t place_of_number(sv_ring_kind kind, key) except? 0xA5A5A5A5A5A5A5A5:
    cdef int overflow = 0
    cdef long long number
    try:
        key = PyNumber_Index(key)
    except TypeError:
        raise TypeError(f"key must be a str, bytes or int, not {type(key).__name__}") from None
    number = PyLong_AsLongLongAndOverflow(key, &overflow)
    if overflow == 0:
        return sv_place_signed(kind, number)
    if overflow < 0 or key >= 1 << 64:
        raise ValueError(f"key must be an int from -2**63 to 2**64 - 1, not {key}")
    return sv_place_unsigned(kind, PyLong_AsUnsignedLongLong(key))


cdef void *room_for(size_t count, size_t width) except NULL:
    cdef void *room = malloc(count * width + 1)
    if room == NULL:
        raise MemoryError("no memory for a ring")
    return room


cdef int told(int64_t status) except -1:
    """Turn a status of a ring into an exception."""
    if status == SV_NOMEM:
        raise MemoryError("no memory for a ring")
    if status < 0:
        raise OverflowError("vnodes and weights must give fewer than 2**28 points in all")
    return 0


cdef int describe(sv_ring_node *node, str name, uint32_t points) except -1:
    cdef Py_ssize_t size
    node.name = PyUnicode_AsUTF8AndSize(name, &size)
    node.length = <size_t>size
    node.points = points
    return 0


def ketama_points(weights, uint32_t hashes):
    """How many points each node of a ketama ring has, by libketama's rule and its floats."""
    cdef size_t count = len(weights), number
    cdef double *given = <double *>room_for(count, sizeof(double) + sizeof(uint32_t))
    cdef uint32_t *points = <uint32_t *>(given + count)
    try:
        for number in range(count):
            given[number] = weights[number]
        sv_ring_ketama_points(given, <uint32_t>count, hashes, points)
        return [points[number] for number in range(count)]
    finally:
        free(given)


@cython.final
@cython.auto_pickle(False)
cdef class RingTable:
    """One state of a ring: its points, names and weights. It never changes, so whoever holds it needs no lock."""

    cdef sv_ring ring
    cdef readonly tuple names, weights
    cdef readonly dict numbers

    def __dealloc__(self):
        sv_ring_close(&self.ring)

    cdef name(self, tuple names, tuple weights):
        self.names, self.weights = names, weights
        self.numbers = {name: number for number, name in enumerate(names)}
        return self

    @staticmethod
    def build(tuple names, tuple weights, points, bint ketama):
        """A ring of these nodes, with as many points for each as `points` says."""
        cdef RingTable made = RingTable.__new__(RingTable)
        cdef size_t count = len(names), number
        cdef sv_ring_node *nodes = <sv_ring_node *>room_for(count, sizeof(sv_ring_node))
        cdef sv_ring_kind kind = SV_RING_KETAMA if ketama else SV_RING_XXH3
        cdef int status
        try:
            for number in range(count):
                describe(&nodes[number], names[number], points[number])
            with nogil:
                status = sv_ring_open(&made.ring, kind, nodes, <uint32_t>count)
            told(status)
        finally:
            free(nodes)
        return made.name(names, weights)

    def added(self, str name, weight, uint32_t points):
        """A ring with one node more, the last."""
        cdef RingTable made = RingTable.__new__(RingTable)
        cdef sv_ring_node node
        cdef int status
        describe(&node, name, points)
        with nogil:
            status = sv_ring_with(&made.ring, &self.ring, &node)
        told(status)
        return made.name((*self.names, name), (*self.weights, weight))

    def removed(self, uint32_t number):
        """A ring without a node; those behind it step down by one."""
        cdef RingTable made = RingTable.__new__(RingTable)
        cdef int status
        if number >= self.ring.nodes:
            raise IndexError(f"number must be below {self.ring.nodes}, not {number}")
        with nogil:
            status = sv_ring_without(&made.ring, &self.ring, number)
        told(status)
        names, weights = list(self.names), list(self.weights)
        del names[number], weights[number]
        return made.name(tuple(names), tuple(weights))

    cdef int need_nodes(self) except -1:
        if self.ring.count == 0:
            raise LookupError("the ring is empty: it has no node to choose from; add_node adds one")
        return 0

    def walk(self, key, uint32_t wanted):
        """The names of the first different nodes from the key on, as many as wanted or as there are."""
        cdef uint64_t place = place_of(self.ring.kind, key)
        cdef uint32_t *found
        cdef int64_t count, at
        self.need_nodes()
        wanted = min(wanted, self.ring.nodes)
        found = <uint32_t *>room_for(wanted, sizeof(uint32_t))
        try:
            count = sv_ring_walk(&self.ring, place, wanted, found)
            told(count)
            return [self.names[found[at]] for at in range(count)]
        finally:
            free(found)

    def find_column(self, int kind, keys, size_t width, out):
        """The numbers of the nodes of keys in a buffer (sv_column_kind, bytes for each), without the GIL."""
        cdef Py_buffer asked, answer
        cdef sv_column column
        cdef int64_t count
        self.need_nodes()
        PyObject_GetBuffer(keys, &asked, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(out, &answer, PyBUF_WRITABLE)
            column.kind, column.data, column.width = <sv_column_kind>kind, asked.buf, width
            column.count = <size_t>answer.len // sizeof(uint32_t)
            try:
                if <size_t>asked.len != column.count * width:
                    raise ValueError("out must be as long as keys")
                with nogil:
                    count = sv_ring_find_keys(&self.ring, &column, <uint32_t *>answer.buf)
            finally:
                PyBuffer_Release(&answer)
        finally:
            PyBuffer_Release(&asked)
        told(count)
        if <size_t>count < column.count:
            raise ValueError(f"keys must be Unicode text: keys[{count}] is none")

    def find_each(self, tuple keys, out):
        """The numbers of the nodes of these keys; they are read under the GIL, hashed and looked up without it."""
        cdef Py_buffer answer
        cdef sv_column column
        cdef int64_t count
        cdef size_t many = len(keys), at
        cdef sv_span *spans
        cdef Py_ssize_t size
        self.need_nodes()
        spans = <sv_span *>room_for(many, sizeof(sv_span))
        try:
            for at in range(many):
                key = <object>PyTuple_GET_ITEM(keys, <Py_ssize_t>at)
                if isinstance(key, str):
                    spans[at].bytes = PyUnicode_AsUTF8AndSize(key, &size)
                    spans[at].length_or_place = <uint64_t>size
                elif isinstance(key, bytes):
                    spans[at].bytes = PyBytes_AS_STRING(key)
                    spans[at].length_or_place = <uint64_t>PyBytes_GET_SIZE(key)
                else:
                    spans[at].bytes = NULL
                    spans[at].length_or_place = place_of_number(self.ring.kind, key)
            column.kind, column.data, column.width, column.count = SV_COLUMN_SPANS, spans, sizeof(sv_span), many
            PyObject_GetBuffer(out, &answer, PyBUF_WRITABLE)
            try:
                if <size_t>answer.len != many * sizeof(uint32_t):
                    raise ValueError("out must be as long as keys")
                with nogil:
                    count = sv_ring_find_keys(&self.ring, &column, <uint32_t *>answer.buf)
            finally:
                PyBuffer_Release(&answer)
            told(count)
        finally:
            free(spans)

    def shares(self):
        """How many of the 2**64 places each node has, by number."""
        cdef uint32_t number, count = self.ring.nodes
        cdef uint64_t *places = <uint64_t *>room_for(count, sizeof(uint64_t))
        try:
            with nogil:
                sv_ring_shares(&self.ring, places)
            shares = [places[number] for number in range(count)]
        finally:
            free(places)
        if count > 0 and not any(shares):
            shares[self.ring.owners[0]] = 1 << 64
        return shares

    def moves(self, RingTable other):
        """What moves on the way to another ring of the same kind: (from, to, places), by name, sorted by number."""
        cdef uint32_t number
        cdef uint32_t *same
        cdef sv_ring_move *moves = NULL
        cdef int64_t count, at
        if self.ring.kind != other.ring.kind:
            raise ValueError("rings must place keys by the same hash to be compared")
        self.need_nodes()
        other.need_nodes()
        strangers = [name for name in other.names if name not in self.numbers]
        known = {**self.numbers, **{name: len(self.names) + at for at, name in enumerate(strangers)}}
        called = [*self.names, *strangers]
        same = <uint32_t *>room_for(other.ring.nodes, sizeof(uint32_t))
        try:
            for number in range(other.ring.nodes):
                same[number] = known[other.names[number]]
            with nogil:
                count = sv_ring_moves(&self.ring, &other.ring, same, &moves)
            told(count)
            return [(called[moves[at].from_number], called[moves[at].to], moves[at].places or 1 << 64)
                    for at in range(count)]
        finally:
            free(same)
            free(moves)

    def points(self):
        """Every (point, name), in order. For tests."""
        return [(self.ring.points[at], self.names[self.ring.owners[at]]) for at in range(self.ring.count)]

    def check(self):
        """Validate the whole structure: True, or AssertionError. O(points x nodes). For tests."""
        if not sv_ring_check(&self.ring) or self.ring.nodes != <uint32_t>len(self.names):
            raise AssertionError("the ring is not sound")
        return True


@cython.auto_pickle(False)
cdef class RingCore:
    """What HashRing is made of: the current state, replaced as a whole, and the one call that must be fast."""

    cdef PyObject *table
    cdef bint bounded

    def __cinit__(self, *args, **kwargs):
        self.table = kept(RingTable.build((), (), (), False))

    def __dealloc__(self):
        Py_DECREF(self.table)

    cdef inline RingTable held(self):
        cdef PyObject *table = sv_slot_read(<PyObject *>self, <size_t>(<char *>&self.table - <char *><PyObject *>self))
        held = <RingTable><object>table
        Py_DECREF(table)  # `held` has its own
        return held

    @property
    def _table(self):
        return self.held()

    @_table.setter
    def _table(self, RingTable table not None):
        cdef size_t offset = <size_t>(<char *>&self.table - <char *><PyObject *>self)
        sv_slot_write_steal(<PyObject *>self, offset, kept(table))

    @property
    def _is_bounded(self):
        return self.bounded

    @_is_bounded.setter
    def _is_bounded(self, bint bounded):
        self.bounded = bounded

    @cython.binding(False)
    def get_node(self, key):
        """get_node($self, key, /)
--

The node that has this key: the first at or after the key's place, going around.

key: a str (as its UTF-8), bytes, or an int from -2**63 to 2**64 - 1. In a ring with a `load_factor` it is the node that
    `acquire` would choose at this moment; nothing is counted.
Raises LookupError when the ring has no node. O(1), from any number of threads, without a lock.
"""
        cdef RingTable table
        if self.bounded:
            return self._roomy(key)
        table = self.held()
        if table.ring.count == 0:
            table.need_nodes()
        return <object>PyTuple_GET_ITEM(table.names, <Py_ssize_t>sv_ring_find(&table.ring, place_of(table.ring.kind, key)))


@cython.auto_pickle(False)
cdef class Sketch:
    """How often something was asked for lately, from 0 to 15, in 8 bytes for each of so many entries: a count-min sketch
    that ages. Not safe in threads by itself."""

    cdef sv_sketch sketch

    def __cinit__(self, unsigned int entries):
        if sv_sketch_reserve(&self.sketch, entries) != 0:
            raise MemoryError

    def __dealloc__(self):
        sv_sketch_close(&self.sketch)

    def add(self, key):
        """Count a key, by its hash; how often it was counted lately, at most 15."""
        cdef unsigned long long hashed = <unsigned long long><long long>hash(key)
        sv_sketch_add(&self.sketch, hashed)
        return sv_sketch_estimate(&self.sketch, hashed)


include "_core_wire.pxi"
include "_core_feed.pxi"


include "_core_ahead.pxi"
