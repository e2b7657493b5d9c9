"""What comes over the wire from a shared tier: what the core has for its bytes, a part of _core.pyx."""

cdef extern from "pure/bulks.h":
    enum:
        SV_BULKS_HELD
    ctypedef struct sv_bulks:
        uint64_t most
        uint64_t keep
        uint64_t cut
    int sv_bulks_pass(sv_bulks *bulks, const unsigned char *chunk, size_t size)
    size_t sv_bulks_sift(sv_bulks *bulks, const unsigned char *chunk, size_t size, unsigned char *out)


@cython.final
@cython.auto_pickle(False)
cdef class Bulks:
    """Lets the replies of a Redis pass, chunk by chunk, but for bodies of more than `most` bytes: of these the first `keep`
    remain. Not safe in threads by itself."""

    cdef sv_bulks bulks

    def __cinit__(self, unsigned long long most, unsigned long long keep):
        if keep >= most:
            raise ValueError(f"keep must be less than most, not {keep}")
        self.bulks.most, self.bulks.keep = most, keep

    @property
    def is_cutting(self):
        """Whether more is to come of a body that was cut."""
        return self.bulks.cut != 0

    def sift(self, bytes chunk not None):
        """What remains of a chunk: the chunk itself, nearly always. ValueError for what is no RESP."""
        cdef size_t size = <size_t>len(chunk)
        cdef const unsigned char *begin = chunk
        cdef int told = sv_bulks_pass(&self.bulks, begin, size)
        if told == 1:
            return chunk
        if told < 0:
            raise ValueError("a length that is none")
        cdef bytearray out = bytearray(size + SV_BULKS_HELD)
        size = sv_bulks_sift(&self.bulks, begin, size, out)
        return bytes(out[:size])


from libc.string cimport memcmp

cdef extern from "pure/envelope.h":
    enum:
        SV_ENVELOPE_HEAD
        SV_ENVELOPE_START
    ctypedef struct sv_expected:
        const unsigned char *start
        const char *name
        size_t name_length
        uint64_t epoch
        uint64_t most
        double wall
    bint sv_envelope_is_plain(const unsigned char *bytes, size_t length, const sv_expected *expected)


def plain_body(bytes payload not None, bytes start not None, str name not None, uint64_t epoch, double wall, uint64_t most):
    """The body of an envelope that nothing but the clock has to say about, None for every other (csrc/pure/envelope.h).
    OverflowError for an epoch of more than 64 bits."""
    cdef sv_expected expected
    cdef Py_ssize_t size
    if len(start) != SV_ENVELOPE_START:
        return None
    expected.start, expected.epoch, expected.wall, expected.most = start, epoch, wall, most
    expected.name = PyUnicode_AsUTF8AndSize(name, &size)
    expected.name_length = <size_t>size
    if not sv_envelope_is_plain(payload, <size_t>len(payload), &expected):
        return None
    return payload[SV_ENVELOPE_HEAD:]


def plain_bodies(list payloads not None, bytes mark not None, Py_ssize_t head, bytes start not None, list names not None,
                 uint64_t epoch, double wall, uint64_t most):
    """`plain_body` of many, as a list, and the numbers of those that are None. An envelope lies behind `head` bytes of what
    begins with `mark`; what does not, or is no bytes, has none. ValueError for fewer names than payloads."""
    cdef sv_expected expected
    cdef Py_ssize_t size, at, length, count = len(payloads)
    cdef const unsigned char *begin
    if head < len(mark) or len(names) != count:
        raise ValueError("head must cover the mark, and each payload have its name")
    cdef bint is_any = len(start) == SV_ENVELOPE_START
    expected.start, expected.epoch, expected.wall, expected.most = start, epoch, wall, most
    bodies, missing = [], []
    for at in range(count):
        payload, body = payloads[at], None
        if is_any and type(payload) is bytes:
            begin, length = <const unsigned char *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload) - head
            if length > <Py_ssize_t>SV_ENVELOPE_HEAD and memcmp(begin, PyBytes_AS_STRING(mark), <size_t>len(mark)) == 0:
                expected.name = PyUnicode_AsUTF8AndSize(names[at], &size)
                expected.name_length = <size_t>size
                if sv_envelope_is_plain(begin + head, <size_t>length, &expected):
                    body = PyBytes_FromStringAndSize(<const char *>begin + head + SV_ENVELOPE_HEAD, length - SV_ENVELOPE_HEAD)
        if body is None:
            missing.append(at)
        bodies.append(body)
    return bodies, missing


cdef extern from "pure/meta.h":
    enum:
        SV_META_NOT_YET
        SV_META_VALUE
        SV_META_LONG
        SV_META_SIZELESS
        SV_META_LINE
    ctypedef struct sv_meta:
        size_t code
        size_t words
        size_t line
        size_t body
        uint64_t size
    int sv_meta_look(const unsigned char *bytes, size_t length, sv_meta *reply)

cdef bytes META_VALUE = b"VA"
cdef dict META_CODES = {code: code for code in (
    b"HD", META_VALUE, b"EN", b"NF", b"NS", b"EX", b"MN", b"VERSION", b"STAT", b"END", b"ERROR", b"CLIENT_ERROR",
    b"SERVER_ERROR")}


cdef list meta_flags(const char *begin, const sv_meta *reply):
    cdef list flags = []
    cdef size_t start, end = reply.words
    while end < reply.line:
        start = end = end + 1
        while end < reply.line and begin[end] != b" ":
            end += 1
        flags.append(PyBytes_FromStringAndSize(begin + start, <Py_ssize_t>(end - start)))
    return flags


def meta_replies(buffer, size_t at, list replies not None, Py_ssize_t count, uint64_t most):
    """Append the replies of a Memcached that lie whole in a buffer of bytes, from `at` on, until they are so many: (code,
    flags, body), without one None. Says where the next one begins, how many bytes must be in the buffer before it is worth
    a look, and how many are to be dropped of those that come: a body of more than `most` bytes reads as b"?". ValueError
    for what is no reply."""
    cdef Py_buffer view
    cdef sv_meta reply
    cdef const char *begin
    cdef size_t there, last, needed = 0
    cdef uint64_t cut = 0
    cdef int told
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        there = <size_t>view.len
        while len(replies) < count and at < there and cut == 0:
            begin = <const char *>view.buf + at
            told = sv_meta_look(<const unsigned char *>begin, there - at, &reply)
            if told == SV_META_NOT_YET:
                break
            if told == SV_META_LONG:
                raise ValueError(f"a line of more than {SV_META_LINE} bytes")
            if told == SV_META_SIZELESS:
                raise ValueError("a value without a size")
            if told != SV_META_VALUE:
                code = META_CODES.get(PyBytes_FromStringAndSize(begin, <Py_ssize_t>reply.code))
                if code is None:
                    raise ValueError(f"{begin[:reply.code if reply.code < 20 else 20]!r} begins no reply")
                at += reply.body
                replies.append((code, meta_flags(begin, &reply), None))
                continue
            last = at + reply.body + <size_t>reply.size
            if reply.size > most:
                at = min(last + 2, there)
                cut = last + 2 - at
                replies.append((META_VALUE, meta_flags(begin, &reply), b"?"))  # an empty one would be a lease
            elif there < last + 2:
                needed = last + 2
                break
            elif memcmp(<const char *>view.buf + last, b"\r\n", 2) != 0:
                raise ValueError("a body that does not end where it should")
            else:
                body = PyBytes_FromStringAndSize(begin + reply.body, <Py_ssize_t>reply.size)
                at = last + 2
                replies.append((META_VALUE, meta_flags(begin, &reply), body))
    finally:
        PyBuffer_Release(&view)
    return at, needed, cut
