/* The verbs of a cache that are about all its entries. */
#include "cache.h"
#include "pure/mrc.h"

static sv_cache *cache_of(PyObject *self) { return (sv_cache *)self; }
static sv_store *store_of(PyObject *self) { return &((sv_cache *)self)->store; }

/* Everything that is past or wrong by now leaves: O(what leaves), and O(n) once after an invalidation of tags. */
static void sweep_all_locked(sv_store *store, uint64_t now)
{
    sv_store_sweep(store, now, UINT32_MAX);
}

/* The same with nothing locked. SV_OK, or SV_RAISED by a user's clock. */
static int sweep_all(PyObject *self)
{
    sv_store *store = store_of(self);
    uint64_t now = 0;
    if (SV_GLANCE(store->ledger->dated) && sv_ledger_now_precisely(store->ledger, &now) != SV_OK)
        return SV_RAISED;
    SV_LOCK(self)
    sweep_all_locked(store, now);
    SV_UNLOCK()
    sv_store_see_off(self, store);
    return SV_OK;
}

/* ------------------------------------------------------------------ counting and reading all */

/* What is there and will not be served fresh any more: O(n) where entries are kept when they are stale, else O(1). */
static uint32_t count_stale_locked(sv_store *store, uint64_t now)
{
    const sv_rule *rule = store->policy->rule;
    sv_handle after = SV_NONE;
    uint32_t stale = 0;
    if (store->ledger->stays == NULL)
        return 0;
    while ((after = rule->walk(store->policy, &store->slab, after)) != SV_NONE)
        stale += sv_ledger_state(store->ledger, after, &now) != SV_FRESH;
    return stale;
}

Py_ssize_t sv_whole_length(PyObject *self)
{
    sv_store *store = store_of(self);
    uint64_t now = 0;
    Py_ssize_t length;
    if (SV_GLANCE(store->ledger->dated) && sv_ledger_now_precisely(store->ledger, &now) != SV_OK)
        return -1;
    SV_LOCK(self)
    now = now == 0 && store->ledger->dated ? sv_ledger_late_now(store->ledger) : now;
    sweep_all_locked(store, now);
    length = (Py_ssize_t)(store->current - count_stale_locked(store, now));
    SV_UNLOCK()
    sv_store_see_off(self, store);
    return length;
}

/* A copy of entries, taken in one step without running Python code: references of our own. */
typedef struct sv_copied {
    PyObject *key, *value, **names;
    Py_ssize_t names_count;
    double left, cost, keep;
    uint32_t weight;
} sv_copied;

static double seconds_until(uint64_t deadline, uint64_t now)
{
    if (deadline == SV_NEVER)
        return Py_HUGE_VAL;
    return deadline >= now ? (double)(deadline - now) * 1e-9 : -(double)(now - deadline) * 1e-9;
}

static void drop_copy(sv_copied *one)
{
    Py_DECREF(one->key);
    Py_DECREF(one->value);
    for (Py_ssize_t name = 0; name < one->names_count; name++)
        Py_DECREF(one->names[name]);
    sv_free(one->names);
}

static void drop_copies(sv_copied *copied, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        drop_copy(&copied[i]);
    sv_free(copied);
}

/* SV_OK or SV_NOMEM: then all but the names is there. */
static int copy_one_locked(const sv_store *store, sv_handle handle, uint64_t now, int with_names, sv_copied *one)
{
    const sv_ledger *ledger = store->ledger;
    const sv_box *box = &store->slab.boxes[handle];
    *one = (sv_copied){.key = Py_NewRef((PyObject *)box->key), .value = Py_NewRef((PyObject *)box->value), .weight = 1};
    one->left = seconds_until(sv_ledger_fresh_until(ledger, handle), now);
    if (handle < ledger->stays_room) {
        one->cost = (double)ledger->stays[handle].cost;
        one->keep = seconds_until(ledger->stays[handle].keep, 0);
    }
    if (handle < ledger->weights_room)
        one->weight = ledger->weights[handle];
    if (!with_names || handle >= ledger->tagged_room)
        return SV_OK;
    Py_ssize_t count = sv_tags_copy_names(ledger->tagged[handle].tags, &one->names);
    one->names_count = count < 0 ? 0 : count;
    return count < 0 ? SV_NOMEM : SV_OK;
}

/* With `all` also those that are stale, and the tags. SV_OK, or SV_NOMEM; what was copied, `count` of them, is the
 * caller's to drop either way. */
static int copy_locked(sv_store *store, uint64_t now, int all, sv_copied **copied, Py_ssize_t *count)
{
    const sv_rule *rule = store->policy->rule;
    sv_handle after = SV_NONE;
    int status = SV_OK;
    *copied = sv_malloc(((size_t)store->current + 1) * sizeof(sv_copied));
    if (*copied == NULL)
        return SV_NOMEM;
    while (status == SV_OK && (after = rule->walk(store->policy, &store->slab, after)) != SV_NONE) {
        sv_state state = sv_ledger_state(store->ledger, after, &now);
        if (state == SV_FRESH || (all && state == SV_STALE))
            status = copy_one_locked(store, after, now, all, &(*copied)[(*count)++]);
    }
    return status;
}

enum { KEYS, VALUES, ITEMS, ENTRIES };

static PyObject *form_of(const sv_copied *one, int form)
{
    if (form == KEYS)
        return Py_NewRef(one->key);
    if (form == VALUES)
        return Py_NewRef(one->value);
    if (form == ITEMS)
        return PyTuple_Pack(2, one->key, one->value);
    PyObject *names = PyTuple_New(one->names_count);
    for (Py_ssize_t i = 0; names != NULL && i < one->names_count; i++)
        PyTuple_SET_ITEM(names, i, Py_NewRef(one->names[i]));
    return names == NULL ? NULL : Py_BuildValue("(OOdNdId)", one->key, one->value, one->left, names, one->cost,
                                                (unsigned int)one->weight, one->keep);
}

/* The fresh entries (for ENTRIES also the stale ones) as a list, the last to be evicted first. */
static PyObject *list_of(PyObject *self, int form)
{
    sv_store *store = store_of(self);
    sv_copied *copied = NULL;
    Py_ssize_t count = 0;
    uint64_t now = 0;
    int status;
    if ((SV_GLANCE(store->ledger->dated) || form == ENTRIES) && sv_ledger_now_precisely(store->ledger, &now) != SV_OK)
        return NULL;
    SV_LOCK(self)
    now = now == 0 && store->ledger->dated ? sv_ledger_late_now(store->ledger) : now;
    status = copy_locked(store, now, form == ENTRIES, &copied, &count);
    SV_UNLOCK()
    PyObject *list = status == SV_OK ? PyList_New(count) : PyErr_NoMemory();
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = form_of(&copied[i], form);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    drop_copies(copied, count);
    return list;
}

PyObject *sv_whole_iter(PyObject *self)
{
    PyObject *keys = list_of(self, KEYS);
    PyObject *iterator = keys == NULL ? NULL : PyObject_GetIter(keys);
    Py_XDECREF(keys);
    return iterator;
}

/* _snapshot(form): "keys", "values" or "items" by number 0, 1, 2 */
static PyObject *cache_snapshot(PyObject *self, PyObject *form)
{
    long which = PyLong_AsLong(form);
    if (which == -1 && PyErr_Occurred())
        return NULL;
    if (which < KEYS || which > ITEMS)
        return PyErr_Format(PyExc_ValueError, "form must be 0, 1 or 2, not %R", form);
    return list_of(self, (int)which);
}

static PyObject *cache_entries(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    return list_of(self, ENTRIES);
}

/* _entry(key): what _entries says of this one, or None. */
static PyObject *cache_entry(PyObject *self, PyObject *key)
{
    sv_store *store = store_of(self);
    sv_copied one = {NULL};
    sv_visit visit;
    sv_handle handle;
    int found, status = SV_OK;
    if (sv_visit_begin(store, &visit, &key, 1) != SV_OK)
        return NULL;
    SV_LOCK(self)
    found = sv_visit_find_locked(store, &visit, &handle);
    if (found >= 0 && handle != SV_NONE && store->slab.boxes[handle].value != NULL)
        status = copy_one_locked(store, handle, visit.now, 1, &one);
    SV_UNLOCK()
    sv_visit_end(self, store, &visit);
    if (one.key == NULL)
        return found < 0 ? NULL : Py_NewRef(Py_None);
    PyObject *entry = status == SV_OK ? form_of(&one, ENTRIES) : PyErr_NoMemory();
    drop_copy(&one);
    return entry;
}

/* ------------------------------------------------------------------ changing all */

static PyObject *cache_clear(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_spill spill = {.departed = SV_NONE};
    int status;
    SV_LOCK(self)
    status = sv_store_clear(store_of(self), &spill);
    SV_UNLOCK()
    if (status != SV_OK)
        return PyErr_NoMemory();
    sv_spill_drop(&spill);
    Py_RETURN_NONE;
}

/* _invalidate_tags(tags, soft) */
static PyObject *cache_invalidate_tags(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (sv_want("_invalidate_tags", 2, count) != SV_OK || args[0] == Py_None || sv_want_tags(args[0]) != SV_OK)
        return NULL;
    int status = sv_store_invalidate_tags(self, store_of(self), args[0], args[1] == Py_True);
    return status == SV_OK ? Py_NewRef(Py_None) : NULL;
}

/* _resize(maxsize, maxweight): None for no bound. */
static PyObject *cache_resize(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_store *store = store_of(self);
    uint64_t maxsize, maxweight;
    int status = SV_OK;
    if (sv_want("_resize", 2, count) != SV_OK || sv_cache_read_bound("maxsize", args[0], &maxsize) != SV_OK ||
        sv_cache_read_bound("maxweight", args[1], &maxweight) != SV_OK)
        return NULL;
    SV_LOCK(self)
    if ((maxweight == SV_UNBOUNDED) != (store->ledger->maxweight == SV_UNBOUNDED)) {
        PyErr_SetString(PyExc_ValueError, "maxweight can be changed where there is one, not added or taken away");
        status = SV_RAISED;
    } else {
        uint64_t capacity = maxweight == SV_UNBOUNDED ? maxsize : maxweight;
        status = store->policy->rule->resize(store->policy, &store->slab, capacity);
    }
    if (status == SV_OK) {
        store->maxsize = maxsize;
        SV_POST(store->ledger->maxweight, maxweight);
        sv_store_shrink(store);
    }
    SV_UNLOCK()
    sv_store_see_off(self, store);
    if (status == SV_NOMEM)
        return PyErr_NoMemory();
    return status == SV_OK ? Py_NewRef(Py_None) : NULL;
}

/* _popitem(): the fresh entry that would be evicted next. */
static PyObject *cache_popitem(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_store *store = store_of(self);
    PyObject *key = NULL, *value = NULL, *item;
    uint64_t now = 0;
    if (SV_GLANCE(store->ledger->dated) && sv_ledger_now_precisely(store->ledger, &now) != SV_OK)
        return NULL;
    item = PyTuple_New(2); /* memory first: what is taken out is not lost */
    if (item == NULL)
        return NULL;
    SV_LOCK(self)
    now = now == 0 && store->ledger->dated ? sv_ledger_late_now(store->ledger) : now;
    sv_store_sweep(store, now, SV_STEPS);
    while (key == NULL && store->current > 0) {
        const sv_rule *rule = store->policy->rule;
        sv_handle handle = rule->victim(store->policy, &store->slab, SV_HASH_NEVER);
        sv_state state = sv_ledger_state(store->ledger, handle, &now);
        if (state == SV_FRESH) {
            key = Py_NewRef((PyObject *)store->slab.boxes[handle].key);
            value = Py_NewRef((PyObject *)store->slab.boxes[handle].value);
            sv_fences_key(store->ledger->fences, store->slab.boxes[handle].hash);
        }
        sv_store_take_victim(store, handle, state == SV_FRESH ? SV_DELETED : state == SV_WRONG ? SV_INVALIDATED : SV_EXPIRED);
    }
    SV_UNLOCK()
    sv_store_see_off(self, store);
    if (key == NULL) {
        Py_DECREF(item);
        PyErr_SetString(PyExc_KeyError, "the cache is empty");
        return NULL;
    }
    PyTuple_SET_ITEM(item, 0, key);
    PyTuple_SET_ITEM(item, 1, value);
    return item;
}

/* Nanoseconds; SV_NEVER from 126 years on. */
static uint64_t span_of(double seconds)
{
    return !(seconds > 0) ? 0 : seconds < 4e9 ? (uint64_t)(seconds * 1e9) : SV_NEVER;
}

/* One entry of _restore: a tuple (key, value, left, tags, cost, weight, keep), as _entries gives it. Where there is a
 * weigher it is weighed anew. 1 stored, 0 not: past all use, too heavy, or a newer one is there; SV_RAISED. */
static int restore_one(PyObject *self, PyObject *entry)
{
    sv_store *store = store_of(self);
    sv_terms terms = store->ledger->terms;
    sv_visit visit;
    sv_line line = {0};
    sv_handle handle;
    PyObject *key, *value, *tags, *heavy;
    double left, cost, kept;
    uint32_t weight;
    int found, status = SV_OK, stored = 1;
    if (!PyTuple_Check(entry)) {
        PyErr_Format(PyExc_TypeError,
                     "each entry must be a tuple (key, value, left, tags, cost, weight, keep), not %R", entry);
        return SV_RAISED;
    }
    if (!PyArg_ParseTuple(entry, "OOdOdOd", &key, &value, &left, &tags, &cost, &heavy, &kept))
        return SV_RAISED;
    heavy = store->ledger->weigher == NULL ? heavy : Py_None;
    if (sv_want_tags(tags) != SV_OK || sv_weight_of(store->ledger, key, value, heavy, &weight) != SV_OK ||
        sv_visit_begin(store, &visit, &key, 1) != SV_OK)
        return SV_RAISED;
    uint64_t keep = span_of(kept), late = span_of(-left);
    if (!(left > 0) && late >= keep) /* nor what has no number of seconds left */
        return 0;
    terms.ttl = span_of(left);
    terms.swr = keep;
    terms.sie = 0;
    terms.negative = SV_NEVER;
    terms.jitter = 0;
    SV_LOCK(self)
    found = sv_line_begin_locked(store, &line, &terms, tags, visit.now, weight);
    line.cost = (float)cost;
    line.late = late;
    if (found == SV_OK)
        found = sv_visit_find_locked(store, &visit, &handle);
    if (found < 0)
        status = SV_RAISED;
    else if (found == 1 || weight > store->ledger->maxweight)
        stored = 0; /* what is in the cache is newer */
    else if (handle != SV_NONE)
        status = sv_store_set_steal(store, handle, Py_NewRef(value), &line, &visit.pouch);
    else
        status = sv_store_insert(store, Py_NewRef(key), visit.asked.hash, Py_NewRef(value), &line, &visit.pouch);
    if (status == SV_NOMEM || status == SV_FULL) {
        sv_pouch_put_steal(&visit.pouch, value);
        if (handle == SV_NONE)
            sv_pouch_put_steal(&visit.pouch, key);
    }
    sv_line_end_locked(store, &line);
    SV_UNLOCK()
    if (status != SV_OK)
        sv_store_error(status);
    sv_visit_end(self, store, &visit);
    return status == SV_OK ? stored : SV_RAISED;
}

/* _restore(entries): the coldest come last and are stored first. */
static PyObject *cache_restore(PyObject *self, PyObject *entries)
{
    PyObject *all = PySequence_Tuple(entries);
    Py_ssize_t stored = 0;
    for (Py_ssize_t i = all == NULL ? 0 : PyTuple_GET_SIZE(all); i > 0; i--) {
        int status = restore_one(self, PyTuple_GET_ITEM(all, i - 1));
        if (status < 0) {
            Py_DECREF(all);
            return NULL;
        }
        stored += status;
    }
    Py_XDECREF(all);
    return all == NULL ? NULL : PyLong_FromSsize_t(stored);
}

/* ------------------------------------------------------------------ numbers */

static PyObject *bound_object(uint64_t bound)
{
    return bound == SV_UNBOUNDED ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(bound);
}

static PyObject *cache_counts(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    sv_store *store = store_of(self);
    sv_counts counts = {0};
    uint64_t gone[SV_CAUSES], stale_hits, weight, maxsize, maxweight;
    Py_ssize_t current;
    if (sweep_all(self) != SV_OK)
        return NULL;
    SV_LOCK(self)
    current = (Py_ssize_t)store->current;
    counts = store->counts;
    memcpy(gone, store->ledger->gone, sizeof(gone));
    stale_hits = store->ledger->stale_hits;
    weight = store->ledger->maxweight == SV_UNBOUNDED ? (uint64_t)current : store->ledger->weight;
    maxsize = store->maxsize;
    maxweight = store->ledger->maxweight;
    SV_UNLOCK()
    return Py_BuildValue("{sKsKsKsKsKsK sKsKsKsKsKsK sKsKsKsKsK snsKsNsN}", "hits", counts.hits, "stale_hits", stale_hits,
                         "misses", counts.misses, "coalesced", counts.coalesced, "loads", counts.loads, "failures",
                         counts.failures, "evicted", gone[SV_EVICTED], "expired", gone[SV_EXPIRED], "replaced",
                         gone[SV_REPLACED], "deleted", gone[SV_DELETED], "invalidated", gone[SV_INVALIDATED], "cleared",
                         gone[SV_CLEARED], "early", counts.told[SV_TOLD_EARLY], "queued", counts.told[SV_TOLD_QUEUED],
                         "refused", counts.told[SV_TOLD_REFUSED], "shared", counts.told[SV_TOLD_SHARED], "rescued",
                         counts.told[SV_TOLD_RESCUED], "currsize", current,
                         "weight", weight, "maxsize", bound_object(maxsize), "maxweight",
                         bound_object(maxweight));
}

/* _latency(which, percents) -> (count, mean, percentiles): seconds. */
static PyObject *cache_latency(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    sv_ledger *ledger = store_of(self)->ledger;
    if (sv_want("_latency", 2, count) != SV_OK)
        return NULL;
    if (!PyUnicode_Check(args[0]) || !PyTuple_CheckExact(args[1]))
        return PyErr_Format(PyExc_TypeError, "_latency() takes \"hits\" or \"loads\" and a tuple of percents");
    sv_histogram *copy = sv_malloc(sizeof(*copy));
    PyObject *found = PyTuple_New(PyTuple_GET_SIZE(args[1]));
    if (copy == NULL || found == NULL) {
        sv_free(copy);
        Py_XDECREF(found);
        return PyErr_NoMemory();
    }
    sv_histogram_clear(copy);
    SV_LOCK(self)
    const sv_histogram *source = PyUnicode_CompareWithASCIIString(args[0], "hits") == 0 ? ledger->hit_times
                                                                                         : ledger->load_times;
    if (source != NULL)
        *copy = *source;
    SV_UNLOCK()
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(found) && !PyErr_Occurred(); i++) {
        double percent = PyFloat_AsDouble(PyTuple_GET_ITEM(args[1], i));
        if (percent != -1.0 || !PyErr_Occurred())
            PyTuple_SET_ITEM(found, i, PyFloat_FromDouble((double)sv_histogram_percentile(copy, percent) * 1e-9));
    }
    PyObject *answer = PyErr_Occurred() ? NULL
                                        : Py_BuildValue("(KdO)", (unsigned long long)copy->count,
                                                        sv_histogram_mean(copy) * 1e-9, found);
    sv_free(copy);
    Py_DECREF(found);
    return answer;
}

/* A copy of the record of requests, and the cache that they were asked of. */
typedef struct sv_record {
    uint64_t *lines, living, rate;
    uint32_t length;
    int whole; /* it begins with the first request */
    const sv_rule *rule;
} sv_record;

/* The record shown to miniature caches of other sizes. Where older requests are missing its first half only warms them,
 * and what the living cache reached in the other half anchors the curve. The caller has let the interpreter go: no
 * Python objects here. SV_OK or SV_NOMEM. */
static int replay_record(const sv_record *record, const uint64_t *sizes, uint32_t count, double *expected)
{
    sv_mrc mrc;
    uint32_t begin = record->whole ? 0 : record->length / 2, hits = 0;
    int status = sv_mrc_open(&mrc, record->rule, record->living, sizes, count, record->rate, 1);
    if (status != SV_OK)
        return status;
    for (uint32_t at = 0; at < record->length && status == SV_OK; at++) {
        if (at == begin)
            sv_mrc_forget(&mrc);
        hits += at >= begin && (record->lines[at] & SV_DIARY_HIT) != 0;
        status = sv_mrc_ask_slow(&mrc, record->lines[at] & ~SV_DIARY_HIT, 1);
    }
    for (uint32_t i = 0; i < count; i++)
        expected[i] = sv_mrc_expected(&mrc, i, (double)hits / (double)(record->length - begin));
    sv_mrc_close(&mrc);
    return status;
}

static int copy_record_locked(const sv_cache *cache, sv_record *record)
{
    const sv_diary *diary = &cache->diary;
    const sv_store *store = &cache->store;
    uint32_t length = sv_diary_length(diary);
    *record = (sv_record){.rate = diary->rate, .length = length, .whole = sv_diary_is_whole(diary)};
    record->rule = store->policy->rule;
    record->living = store->ledger->maxweight == SV_UNBOUNDED ? store->maxsize : store->current;
    record->lines = sv_malloc(((size_t)length + 1) * sizeof(uint64_t));
    for (uint32_t at = 0; record->lines != NULL && at < length; at++)
        record->lines[at] = sv_diary_at(diary, at);
    return record->lines == NULL ? SV_NOMEM : SV_OK;
}

/* _curve(sizes) -> expected hit ratios at these numbers of entries, or None while nothing is recorded. */
static PyObject *cache_curve(PyObject *self, PyObject *sizes)
{
    uint64_t asked[SV_MRC_MOST];
    double expected[SV_MRC_MOST];
    Py_ssize_t count = PyTuple_Check(sizes) ? PyTuple_GET_SIZE(sizes) : -1;
    if (count < 0 || count >= (Py_ssize_t)SV_MRC_MOST)
        return PyErr_Format(PyExc_ValueError, "sizes must be a tuple of at most %d", (int)SV_MRC_MOST - 1);
    for (Py_ssize_t i = 0; i < count; i++)
        asked[i] = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(sizes, i));
    if (PyErr_Occurred())
        return NULL;
    sv_record record;
    int status;
    SV_LOCK(self)
    status = copy_record_locked(cache_of(self), &record);
    SV_UNLOCK()
    if (status != SV_OK)
        return PyErr_NoMemory();
    if (record.length == 0 || record.living == SV_UNBOUNDED || record.living == 0) {
        sv_free(record.lines);
        Py_RETURN_NONE;
    }
    Py_BEGIN_ALLOW_THREADS
    status = replay_record(&record, asked, (uint32_t)count, expected);
    Py_END_ALLOW_THREADS
    sv_free(record.lines);
    if (status != SV_OK)
        return PyErr_NoMemory();
    PyObject *answer = PyTuple_New(count);
    for (Py_ssize_t i = 0; answer != NULL && i < count; i++) {
        PyObject *ratio = PyFloat_FromDouble(expected[i]);
        if (ratio == NULL)
            Py_CLEAR(answer);
        else
            PyTuple_SET_ITEM(answer, i, ratio);
    }
    return answer;
}

/* _recorded() -> (requests whose hits anchor the curve, one key in so many is recorded, all since the first one) */
static PyObject *cache_recorded(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    const sv_diary *diary = &cache_of(self)->diary;
    uint32_t length;
    uint64_t rate;
    int whole;
    SV_LOCK(self)
    rate = diary->rate;
    length = sv_diary_length(diary);
    whole = sv_diary_is_whole(diary);
    SV_UNLOCK()
    return Py_BuildValue("(IKO)", (unsigned int)(whole ? length : length - length / 2), (unsigned long long)rate,
                         whole ? Py_True : Py_False);
}

static PyObject *cache_now(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    uint64_t now;
    if (sv_ledger_now_precisely(store_of(self)->ledger, &now) != SV_OK)
        return NULL;
    return PyFloat_FromDouble(sv_ledger_seconds(now));
}

#define VERB(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef sv_whole_methods[] = {
    {"clear", cache_clear, METH_NOARGS,
     "clear($self, /)\n--\n\nForget everything. Loads that run now are not stored. O(n)."},
    {"_snapshot", cache_snapshot, METH_O, NULL},
    {"_entries", cache_entries, METH_NOARGS, NULL},
    {"_entry", cache_entry, METH_O, NULL},
    {"_restore", cache_restore, METH_O, NULL},
    {"_invalidate_tags", VERB(cache_invalidate_tags), METH_FASTCALL, NULL},
    {"_resize", VERB(cache_resize), METH_FASTCALL, NULL},
    {"_popitem", cache_popitem, METH_NOARGS, NULL},
    {"_counts", cache_counts, METH_NOARGS, NULL},
    {"_latency", VERB(cache_latency), METH_FASTCALL, NULL},
    {"_curve", cache_curve, METH_O, NULL},
    {"_recorded", cache_recorded, METH_NOARGS, NULL},
    {"_now", cache_now, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
