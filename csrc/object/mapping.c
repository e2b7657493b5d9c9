/* The verbs of a cache that are about one key, or about many keys one after another. */
#include "cache.h"
#include "ready.h"

static sv_cache *cache_of(PyObject *self) { return (sv_cache *)self; }

/* ------------------------------------------------------------------ reading */

enum { PEEK, COUNTED, HITS }; /* HITS: only a hit counts */

/* Under the lock: the value of a fresh entry (new reference), counted and its use told to the rule if it is asked for. */
SV_INLINE PyObject *take_locked(sv_cache *cache, sv_handle handle, uint64_t now, int counted)
{
    sv_store *store = &cache->store;
    if (counted) {
        store->counts.hits++;
        sv_store_touch(store, handle);
        if (SV_UNLIKELY(store->ledger->stays != NULL))
            sv_ledger_asked_for(store->ledger, handle, now);
    }
    return Py_NewRef((PyObject *)store->slab.boxes[handle].value);
}

/* Any key. 1: `value` is a new reference; 0; SV_RAISED. */
static SV_NEVER_INLINE int look_thoroughly(PyObject *self, PyObject *const *key, PyObject **value, int counted)
{
    sv_cache *cache = cache_of(self);
    sv_store *store = &cache->store;
    sv_visit visit;
    sv_handle handle;
    int found;
    if (sv_visit_begin(store, &visit, key, 0) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    if ((found == 1 && counted != PEEK) || (found == 0 && counted == COUNTED))
        sv_diary_note(&cache->diary, visit.asked.hash, found);
    if (found == 1)
        *value = take_locked(cache, handle, visit.now, counted);
    else if (found == 0 && counted == COUNTED)
        store->counts.misses++;
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return found;
}

/* Whether nothing is due that a reader would have to let go, by the coarse clock; a user's clock has to be asked. Under
 * the lock. */
SV_INLINE int is_quiet(const sv_ledger *ledger, uint64_t *now)
{
    if (SV_LIKELY(!ledger->dated))
        return 1;
    if (ledger->clock != NULL)
        return 0;
    *now = sv_clock_coarse();
    return *now < ledger->wheel.due;
}

/* A key that is an exact str or int, or hashes by identity: found, or found absent, with one look at its home chunk and
 * without running Python code. 1: `value` is a new reference; 0: absent (not when only hits are wanted); -1: look
 * thoroughly, nothing is counted. */
SV_INLINE int look_quickly(PyObject *self, PyObject *key, PyObject **value, int only_hits)
{
    sv_cache *cache = cache_of(self);
    sv_store *store = &cache->store;
    uint64_t hash, now = 0;
    int found = -1;
    if (SV_UNLIKELY(!sv_hash_quickly(key, &hash)))
        return -1;
    SV_LOCK(self)
    int absent = 0;
    sv_handle handle = SV_NONE;
    if (SV_LIKELY(is_quiet(store->ledger, &now))) {
        handle = sv_index_guess(&store->index, store->slab.boxes, hash);
        if (SV_UNLIKELY(handle == SV_NONE))
            handle = sv_index_home(&store->index, store->slab.boxes, hash, &absent);
    }
    if (handle != SV_NONE) {
        const sv_box *box = &store->slab.boxes[handle];
        if ((box->key == key || sv_equal_quickly(box->key, key) == 1) && SV_LIKELY(box->value != NULL) &&
            sv_ledger_state(store->ledger, handle, &now) == SV_FRESH) {
            *value = take_locked(cache, handle, now, COUNTED);
            found = 1;
        }
    } else if (absent && !only_hits) {
        store->counts.misses++;
        found = 0;
    }
    if (found >= 0)
        sv_diary_note(&cache->diary, hash, found);
    SV_UNLOCK()
    return found;
}

SV_INLINE int look(PyObject *self, PyObject *const *key, PyObject **value)
{
    int found = look_quickly(self, *key, value, 0);
    return SV_LIKELY(found >= 0) ? found : look_thoroughly(self, key, value, COUNTED);
}

static void record_hit_time(PyObject *self, uint64_t start)
{
    SV_LOCK(self)
    sv_histogram_record(cache_of(self)->store.ledger->hit_times, sv_clock_precise() - start);
    SV_UNLOCK()
}

/* The same, with the time that a hit takes recorded. */
static SV_NOINLINE int look_with_stopwatch(PyObject *self, PyObject *const *key, PyObject **value)
{
    uint64_t start = sv_clock_precise();
    int found = look(self, key, value);
    if (found == 1)
        record_hit_time(self, start);
    return found;
}

SV_INLINE int ask(PyObject *self, PyObject *const *key, PyObject **value)
{
    if (SV_UNLIKELY(SV_GLANCE(cache_of(self)->timed_hits)))
        return look_with_stopwatch(self, key, value);
    return look(self, key, value);
}

PyObject *sv_mapping_subscript(PyObject *self, PyObject *key)
{
    PyObject *value;
    int found = ask(self, &key, &value);
    if (SV_LIKELY(found == 1))
        return value;
    if (found == 0) {
        PyObject *wrapped = PyTuple_Pack(1, key); /* a tuple would be taken for the arguments of the error */
        if (wrapped != NULL)
            PyErr_SetObject(PyExc_KeyError, wrapped);
        Py_XDECREF(wrapped);
    }
    return NULL;
}

int sv_mapping_contains(PyObject *self, PyObject *key)
{
    PyObject *value;
    int found = look_thoroughly(self, &key, &value, PEEK);
    if (found == 1)
        Py_DECREF(value);
    return found < 0 ? -1 : found;
}

/* key, default=None: positional, or the second by name. SV_OK or SV_RAISED. */
static int read_default(const char *verb, PyObject *const *args, Py_ssize_t count, PyObject *kwnames, PyObject **missing)
{
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    *missing = Py_None;
    if (count < 1 || count + named > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes a key and maybe a default (%zd arguments given)", verb, count + named);
        return SV_RAISED;
    }
    if (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "default") != 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", verb, PyTuple_GET_ITEM(kwnames, 0));
        return SV_RAISED;
    }
    if (count + named == 2)
        *missing = args[1];
    return SV_OK;
}

static PyObject *cache_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *value, *missing = Py_None;
    if (SV_UNLIKELY(count != 1 || kwnames != NULL) && read_default("get", args, count, kwnames, &missing) != SV_OK)
        return NULL;
    int found = ask(self, args, &value);
    if (SV_LIKELY(found == 1))
        return value;
    return found < 0 ? NULL : Py_NewRef(missing);
}

static PyObject *cache_peek(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *value, *missing;
    if (read_default("peek", args, count, kwnames, &missing) != SV_OK)
        return NULL;
    int found = look_thoroughly(self, args, &value, PEEK);
    return found == 1 ? value : found < 0 ? NULL : Py_NewRef(missing);
}

/* Ask for the cache lines of a few keys ahead: their home chunks, then their boxes. */
#define AHEAD 16
static void fetch_ahead(const sv_store *store, PyObject *const *keys, Py_ssize_t count)
{
    uint64_t hashes[AHEAD];
    Py_ssize_t known = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if (sv_hash_quickly(keys[i], &hashes[known]))
            sv_index_prefetch(&store->index, hashes[known++]);
    for (Py_ssize_t i = 0; i < known; i++) {
        const sv_table *table = &store->index.now;
        uint64_t mixed = sv_index_mix(table, hashes[i]);
        const sv_chunk *chunk = &table->chunks[mixed >> table->shift];
        SV_PREFETCH(&store->slab.boxes[chunk->slot[sv_index_preferred(mixed, hashes[i])]]);
    }
}

static PyObject *cache_get_many(PyObject *self, PyObject *keys)
{
    PyObject *asked = PySequence_Tuple(keys), *found = PyDict_New(); /* a tuple of our own: nobody shortens it */
    for (Py_ssize_t i = 0; asked != NULL && found != NULL && i < PyTuple_GET_SIZE(asked); i++) {
        PyObject *value, **key = &((PyTupleObject *)asked)->ob_item[i];
        if (i % AHEAD == 0) {
            Py_ssize_t left = PyTuple_GET_SIZE(asked) - i;
            SV_LOCK(self)
            if (cache_of(self)->store.slab.used > SV_FAR_BOXES)
                fetch_ahead(&cache_of(self)->store, key, left < AHEAD ? left : AHEAD);
            SV_UNLOCK()
        }
        int there = ask(self, key, &value);
        if (there == 1) {
            there = PyDict_SetItem(found, *key, value);
            Py_DECREF(value);
        }
        if (there < 0)
            Py_CLEAR(found);
    }
    if (asked == NULL)
        Py_CLEAR(found);
    Py_XDECREF(asked);
    return found;
}

/* ------------------------------------------------------------------ loading: the part that needs no loading */

static int has_word(PyObject *kwnames, const char *word)
{
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), word) == 0)
            return 1;
    return 0;
}

/* Whether somebody above must decide if this fresh entry is renewed early. */
static int may_be_early(PyObject *self, PyObject *const *key)
{
    sv_cache *cache = cache_of(self);
    sv_store *store = &cache->store;
    sv_visit visit;
    sv_handle handle;
    int early;
    if (sv_visit_begin(store, &visit, key, 0) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    early = sv_visit_find_locked(store, &visit, &handle);
    if (early == 1)
        early = sv_ledger_may_be_early(store->ledger, handle, visit.now);
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return early;
}

/* Only a hit: 1, else 0 or SV_RAISED. A miss is not counted here but where the load is joined. */
SV_INLINE int hit(PyObject *self, PyObject *const *key, PyObject **value)
{
    uint64_t start = SV_UNLIKELY(SV_GLANCE(cache_of(self)->timed_hits)) ? sv_clock_precise() : 0;
    int found = look_quickly(self, *key, value, 1);
    if (SV_UNLIKELY(found != 1))
        found = look_thoroughly(self, key, value, HITS);
    if (SV_UNLIKELY(start != 0) && found == 1)
        record_hit_time(self, start);
    return found;
}

int sv_mapping_hit(PyObject *self, PyObject *const *key, PyObject **value) { return hit(self, key, value); }

static PyObject *answer_or_call(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                                const char *verb, PyObject **value)
{
    *value = NULL;
    if (count < 1) {
        PyErr_Format(PyExc_TypeError, "%s() needs a key and a factory", verb + 1);
        return NULL;
    }
    int slowly = count < 2 || has_word(kwnames, "fresh");
    if (!slowly && SV_UNLIKELY(cache_of(self)->store.ledger->terms.early > 0)) {
        slowly = may_be_early(self, args);
        if (slowly < 0)
            return NULL;
    }
    if (!slowly && hit(self, args, value) != 0)
        return NULL; /* or the key raised */
    PyObject *method = PyObject_GetAttrString(self, verb);
    if (method == NULL)
        return NULL;
    PyObject *answer = PyObject_Vectorcall(method, args, (size_t)count, kwnames);
    Py_DECREF(method);
    return answer;
}

static PyObject *cache_get_or_set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *value, *answer = answer_or_call(self, args, count, kwnames, "_get_or_set", &value);
    return value != NULL ? value : answer;
}

static PyObject *cache_aget_or_set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    PyObject *value, *answer = answer_or_call(self, args, count, kwnames, "_aget_or_set", &value);
    if (value == NULL)
        return answer;
    PyObject *ready = sv_ready_new(value, 0);
    Py_DECREF(value);
    return ready;
}

/* ------------------------------------------------------------------ writing */

/* 1 stored, 0 not (`only_absent` and there, or too heavy), SV_RAISED. */
static int put(PyObject *self, PyObject *const *key, PyObject *value, const sv_terms *terms, PyObject *tags,
               PyObject *given_weight, int only_absent)
{
    sv_store *store = &cache_of(self)->store;
    sv_visit visit;
    sv_line line = {0};
    sv_handle handle;
    uint32_t weight;
    int found, status = SV_OK, stored = 1;
    int with_time = sv_terms_have_an_end(terms) || tags != Py_None || SV_GLANCE(store->ledger->dated);
    if (sv_visit_begin(store, &visit, key, with_time) != SV_OK ||
        sv_weight_of(store->ledger, *key, value, given_weight, &weight) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    found = sv_line_begin_locked(store, &line, terms, tags, visit.now, weight);
    if (found == SV_OK)
        found = sv_visit_find_locked(store, &visit, &handle);
    if (found >= 0 && !(found == 1 && only_absent))
        sv_fences_key(store->ledger->fences, visit.asked.hash);
    if (found < 0) {
        status = SV_RAISED;
    } else if (found == 1 && only_absent) {
        stored = 0;
    } else if (weight > store->ledger->maxweight) {
        stored = 0;
        if (handle != SV_NONE)
            sv_store_remove(store, handle, SV_REPLACED, &visit.pouch);
    } else if (handle != SV_NONE) {
        status = sv_store_set_steal(store, handle, Py_NewRef(value), &line, &visit.pouch);
    } else {
        status = sv_store_insert(store, Py_NewRef(*key), visit.asked.hash, Py_NewRef(value), &line, &visit.pouch);
        if (status != SV_OK)
            sv_pouch_put_steal(&visit.pouch, *key);
    }
    if (status == SV_NOMEM || status == SV_FULL)
        sv_pouch_put_steal(&visit.pouch, value);
    sv_line_end_locked(store, &line);
    SV_UNLOCK()
    if (status != SV_OK)
        sv_store_error(status);
    sv_visit_end(self, store, &visit);
    return status == SV_OK ? stored : SV_RAISED;
}

/* 1 or negative. */
static int insert_quickly(sv_store *store, PyObject *key, uint64_t hash, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    int status = sv_store_insert(store, Py_NewRef(key), hash, Py_NewRef(value), line, pouch);
    if (SV_LIKELY(status == SV_OK))
        return 1;
    sv_pouch_put_steal(pouch, key);
    sv_pouch_put_steal(pouch, value);
    return status;
}

/* 1, 0 when the key is not surely that of this entry or it has no value, or negative. */
SV_INLINE int replace_quickly(sv_store *store, sv_handle handle, PyObject *key, PyObject *value, sv_line *line,
                              sv_pouch *pouch)
{
    sv_box *box = &store->slab.boxes[handle];
    PyObject *before = box->value;
    if ((box->key != key && sv_equal_quickly(box->key, key) != 1) || before == NULL)
        return 0;
    if (line != NULL) {
        int status = sv_ledger_reserve(store->ledger, sv_store_reach(store), line->terms, NULL);
        if (status != SV_OK)
            return status;
        sv_ledger_date(store->ledger, handle, line->terms, line->now, value == Py_None);
    }
    sv_pouch_put_steal(pouch, before);
    store->ledger->gone[SV_REPLACED] += before != value;
    box->value = Py_NewRef(value);
    sv_store_touch(store, handle);
    store->epoch++;
    return 1;
}

/* A key as in look_quickly, of a cache whose entries have at most a lifetime: no stale terms, no weight, no tags, and nobody
 * wants to know when they leave. 1 stored; SV_RAISED; 0 put it thoroughly. */
static SV_NEVER_INLINE int put_quickly(PyObject *self, PyObject *key, PyObject *value)
{
    sv_store *store = &cache_of(self)->store;
    sv_ledger *ledger = store->ledger;
    sv_line lines = {.terms = &ledger->terms, .weight = 1}, *line = NULL;
    sv_pouch pouch;
    uint64_t hash;
    int status = 0, absent = 0;
    if (!SV_GLANCE(cache_of(self)->plain) || !sv_hash_quickly(key, &hash))
        return 0;
    SV_POUCH_EMPTY(&pouch);
    SV_LOCK(self)
    if (cache_of(self)->plain == SV_WITH_AN_END || ledger->dated) {
        lines.now = sv_clock_precise();
        line = &lines;
    }
    if (SV_LIKELY(store->refreshing == 0 && ledger->tagged == NULL && ledger->stays == NULL &&
                  ledger->wheel.due > lines.now)) {
        sv_handle handle = sv_index_guess(&store->index, store->slab.boxes, hash);
        if (SV_UNLIKELY(handle == SV_NONE))
            handle = sv_index_home(&store->index, store->slab.boxes, hash, &absent);
        if (absent)
            status = insert_quickly(store, key, hash, value, line, &pouch);
        else if (handle != SV_NONE)
            status = replace_quickly(store, handle, key, value, line, &pouch);
        sv_fences_key(ledger->fences, hash);
    }
    SV_UNLOCK()
    sv_pouch_drop(&pouch);
    return status >= 0 ? status : sv_store_error(status);
}

static int put_plainly(PyObject *self, PyObject *const *key, PyObject *value)
{
    int status = put_quickly(self, *key, value);
    if (SV_LIKELY(status != 0))
        return status;
    return put(self, key, value, &cache_of(self)->store.ledger->terms, Py_None, Py_None, 0);
}

static int delete(PyObject *self, PyObject *const *key)
{
    sv_store *store = &cache_of(self)->store;
    sv_visit visit;
    sv_handle handle;
    int found;
    if (sv_visit_begin(store, &visit, key, 0) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    sv_fences_key(store->ledger->fences, visit.asked.hash);
    if (found >= 0 && handle != SV_NONE)
        sv_store_remove(store, handle, SV_DELETED, &visit.pouch);
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return found;
}

int sv_mapping_assign(PyObject *self, PyObject *key, PyObject *value)
{
    if (value != NULL)
        return put_plainly(self, &key, value) < 0 ? -1 : 0;
    int found = delete(self, &key);
    if (found == 0) {
        PyObject *wrapped = PyTuple_Pack(1, key);
        if (wrapped != NULL)
            PyErr_SetObject(PyExc_KeyError, wrapped);
        Py_XDECREF(wrapped);
    }
    return found == 1 ? 0 : -1;
}

static PyObject *cache_delete(PyObject *self, PyObject *key)
{
    int found = delete(self, &key);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* set(key, value, **options): with options the Python method _set decides. */
static PyObject *cache_set(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    if (SV_UNLIKELY(count != 2 || kwnames != NULL)) {
        PyObject *method = PyObject_GetAttrString(self, "_set");
        PyObject *answer = method == NULL ? NULL : PyObject_Vectorcall(method, args, (size_t)count, kwnames);
        Py_XDECREF(method);
        return answer;
    }
    if (put_plainly(self, args, args[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* _put(key, value, fresh, tags, weight, only_absent) -> bool */
static PyObject *cache_put(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_terms terms;
    if (sv_want("_put", 6, count) != SV_OK || sv_want_tags(args[3]) != SV_OK ||
        sv_terms_of(cache_of(self)->store.ledger, args[2], &terms) != SV_OK)
        return NULL;
    int stored = put(self, args, args[1], &terms, args[3], args[4], args[5] == Py_True);
    return stored < 0 ? NULL : PyBool_FromLong(stored);
}

/* _put_many(pairs, fresh, tags): each pair is (key, value); those before an error are stored. */
static PyObject *cache_put_many(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_terms terms;
    if (sv_want("_put_many", 3, count) != SV_OK || sv_want_tags(args[2]) != SV_OK ||
        sv_terms_of(cache_of(self)->store.ledger, args[1], &terms) != SV_OK)
        return NULL;
    PyObject *pairs = PyObject_GetIter(args[0]), *pair;
    while (pairs != NULL && (pair = PyIter_Next(pairs)) != NULL) {
        PyObject *two = PySequence_Tuple(pair);
        int stored = SV_RAISED;
        if (two != NULL && PyTuple_GET_SIZE(two) != 2)
            PyErr_Format(PyExc_ValueError, "each item must be a pair of key and value, not %R", pair);
        else if (two != NULL)
            stored = put(self, ((PyTupleObject *)two)->ob_item, PyTuple_GET_ITEM(two, 1), &terms, args[2], Py_None, 0);
        Py_XDECREF(two);
        Py_DECREF(pair);
        if (stored < 0)
            break;
    }
    Py_XDECREF(pairs);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* _delete_many(keys) -> how many were there */
static PyObject *cache_delete_many(PyObject *self, PyObject *keys)
{
    PyObject *each = PyObject_GetIter(keys), *key;
    Py_ssize_t deleted = 0;
    while (each != NULL && (key = PyIter_Next(each)) != NULL) {
        int found = delete(self, &key);
        Py_DECREF(key);
        if (found < 0)
            break;
        deleted += found;
    }
    Py_XDECREF(each);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(deleted);
}

/* expire(key) -> bool: stale from now on, or gone where nothing may be served stale. */
static PyObject *cache_expire(PyObject *self, PyObject *key)
{
    sv_store *store = &cache_of(self)->store;
    sv_visit visit;
    sv_handle handle;
    int found;
    if (sv_visit_begin(store, &visit, &key, 1) != SV_OK)
        return NULL;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    sv_fences_key(store->ledger->fences, visit.asked.hash);
    if (handle != SV_NONE && found >= 0) {
        sv_store_fence_off(store, handle, &visit.pouch);
        if (found == 1 && !sv_ledger_spoil(store->ledger, handle, visit.now))
            sv_store_expire(store, handle, SV_PAST);
    }
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* _touch(key, fresh) -> bool: new deadlines from now on. */
static PyObject *cache_touch(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_store *store = &cache_of(self)->store;
    sv_visit visit;
    sv_terms terms;
    sv_handle handle;
    int found;
    if (sv_want("_touch", 2, count) != SV_OK || sv_terms_of(store->ledger, args[1], &terms) != SV_OK ||
        sv_visit_begin(store, &visit, args, 1) != SV_OK)
        return NULL;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    if (found == 1) {
        int status = sv_ledger_reserve(store->ledger, sv_store_reach(store), &terms, NULL);
        if (status == SV_OK)
            sv_ledger_date(store->ledger, handle, &terms, visit.now, store->slab.boxes[handle].value == Py_None);
        else
            found = sv_store_error(status);
    }
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* _pop(key) -> value or MISSING */
static PyObject *cache_pop(PyObject *self, PyObject *key)
{
    sv_store *store = &cache_of(self)->store;
    PyObject *value = NULL;
    sv_visit visit;
    sv_handle handle;
    int found;
    if (sv_visit_begin(store, &visit, &key, 0) != SV_OK)
        return NULL;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    if (found == 1)
        value = Py_NewRef((PyObject *)store->slab.boxes[handle].value);
    sv_fences_key(store->ledger->fences, visit.asked.hash);
    if (found >= 0 && handle != SV_NONE)
        sv_store_remove(store, handle, SV_DELETED, &visit.pouch);
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    return found < 0 ? NULL : value != NULL ? value : Py_NewRef(sv_missing);
}

#define VERB(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef sv_mapping_methods[] = {
    {"get", VERB(cache_get), METH_FASTCALL | METH_KEYWORDS,
     "get($self, key, /, default=None)\n--\n\nThe value of a fresh entry, else `default`. Counts as a hit or a miss. O(1)."},
    {"peek", VERB(cache_peek), METH_FASTCALL | METH_KEYWORDS,
     "peek($self, key, /, default=None)\n--\n\nThe same, but it counts nothing and is no use of the entry."},
    {"get_many", cache_get_many, METH_O,
     "get_many($self, keys, /)\n--\n\nA dict of those of these keys that have a fresh entry; each counts as `get` does."},
    {"get_or_set", VERB(cache_get_or_set), METH_FASTCALL | METH_KEYWORDS,
     "get_or_set($self, key, factory, /, **options)\n--\n\n"
     "The value of a fresh entry; else one caller makes it with the factory and stores it, while the others wait.\n\n"
     "When the factory raises, those who waited get the exception, nothing is stored and the next caller tries anew; within\n"
     "stale_if_error of a Freshness they get the old value. A key that is changed while the factory runs, or a tag of it\n"
     "that is invalidated: its value is returned and not stored.\n\n"
     "factory: called with nothing, or with a LoadContext if it must be given an argument.\n"
     "ttl, fresh, tags, weight: as for set.\n"
     "soft_timeout: a load that takes longer goes on, and the old value is served if one is kept.\n"
     "hard_timeout: a load that takes longer goes on, and this caller gets LoadTimeout. Both are seconds, a timedelta or\n"
     "text such as \"250ms\"."},
    {"aget_or_set", VERB(cache_aget_or_set), METH_FASTCALL | METH_KEYWORDS,
     "aget_or_set($self, key, factory, /, **options)\n--\n\n"
     "An awaitable of what get_or_set gives, for a factory that is `def` or `async def`; on a hit it is done already.\n\n"
     "A caller that is cancelled fails no other. The options are those of get_or_set."},
    {"set", VERB(cache_set), METH_FASTCALL | METH_KEYWORDS,
     "set($self, key, value, /, **options)\n--\n\n"
     "Store a value. A load of the key that runs now is not stored. What alone is heavier than maxweight is not stored.\n\n"
     "ttl: how long it is fresh: seconds, a timedelta or text such as \"5m\"; beats the cache's.\n"
     "fresh: a Freshness in place of the cache's.\n"
     "tags: a text or several, for invalidate_tags.\n"
     "weight: what the entry weighs, an int from 1; in place of the weigher's answer.\n"
     "Raises TypeError or ValueError that names the option; nothing is stored then."},
    {"delete", cache_delete, METH_O,
     "delete($self, key, /)\n--\n\nForget a key; True if it had a fresh entry. A load of it that runs now is not stored."},
    {"expire", cache_expire, METH_O,
     "expire($self, key, /)\n--\n\nMake an entry stale now: it may still be served under its stale terms, and is gone "
     "where there are none. True if it was fresh. A load of the key that runs now is not stored."},
    {"_put", VERB(cache_put), METH_FASTCALL, NULL},
    {"_put_many", VERB(cache_put_many), METH_FASTCALL, NULL},
    {"_delete_many", cache_delete_many, METH_O, NULL},
    {"_touch", VERB(cache_touch), METH_FASTCALL, NULL},
    {"_pop", cache_pop, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
