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
