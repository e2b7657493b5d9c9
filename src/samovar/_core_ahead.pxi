"""What every read of a result that was built ahead goes through, a part of _core.pyx."""

# ------------------------------------------------------------------ precompute: reading what is there

@cython.auto_pickle(False)
cdef class AheadJob:
    """What a reader touches of a job. place: where its result lies in the store; reads: how many there were, lately."""

    cdef public object place
    cdef public int64_t reads

    def __init__(self, place):
        self.place, self.reads = place, 0


@cython.auto_pickle(False)
cdef class Ahead:
    """Reads results where they lie, and counts that. _jobs: by key; _get: the store's, which gives None where it has nothing;
    _name: what places in the store begin with, None: nothing. Subclasses have `_load(key)`, for what is not there."""

    cdef public dict _jobs
    cdef public object _get, _name

    cdef place(self, key):
        return key if self._name is None else (self._name, key)

    def _place(self, key, /):
        """Where the result of a key lies in the store."""
        return self.place(key)

    cdef look(self, key):
        cdef dict jobs = self._jobs  # what runs meanwhile may put others in its place: a key's __eq__, the store
        cdef AheadJob job = jobs.get(key)
        if job is None:
            return self._get(self.place(key))
        job.reads += 1
        place = job.place
        return self._get(place)

    def _look(self, key, /):
        """What the store's `get` gives for a key."""
        return self.look(key)

    @cython.boundscheck(True)  # of a cell: whoever shares the store may have put anything there
    def __call__(self, key, /):
        """The stored result of a key. Where there is none yet it is loaded, once for all who ask.

        Raises NotBuilt when building it fails and the last good result is too old, and OriginBusy.
        """
        cell = self.look(key)
        return cell[1] if cell is not None else self._load(key)
