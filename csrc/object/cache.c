#include "cache.h"

#include <stddef.h>

PyTypeObject *sv_cache_type = NULL;

static sv_store *store_of(PyObject *self) { return &((sv_cache *)self)->store; }

/* ------------------------------------------------------------------ birth and death */

static int open_store(sv_store *store, uint64_t maxsize, uint64_t maxweight, const sv_rule *rule)
{
    uint64_t seed = (uint64_t)(uintptr_t)store ^ sv_clock_precise();
    if (sv_store_open(store, maxsize, rule, maxweight == SV_UNBOUNDED ? maxsize : maxweight, seed) != SV_OK)
        return SV_NOMEM;
    store->rules = SV_ALIKE;
    if (sv_store_keep_ledger(store, maxweight, seed) != SV_OK) {
        sv_store_close(store);
        return SV_NOMEM;
    }
    return SV_OK;
}

/* Put a store in the place of one that nothing was stored in yet. The ledger stays where it is: whoever began to use the
 * cache before may look at it. */
static void replace_store(sv_cache *cache, sv_store *fresh)
{
    sv_ledger *ledger = cache->store.ledger, shell = *ledger;
    *ledger = *fresh->ledger;
    *fresh->ledger = shell;
    sv_store before = cache->store;
    before.ledger = fresh->ledger;
    fresh->ledger = ledger;
    cache->store = *fresh;
    *fresh = before;
}

/* Usable before __init__ ran: unbounded, first in first out. */
static PyObject *cache_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    sv_cache *cache = (sv_cache *)type->tp_alloc(type, 0); /* zeroed */
    if (cache == NULL)
        return NULL;
    if (open_store(&cache->store, SV_UNBOUNDED, SV_UNBOUNDED, &sv_fifo_rule) != SV_OK) {
        Py_DECREF(cache);
        return PyErr_NoMemory();
    }
    return (PyObject *)cache;
}

int sv_cache_read_bound(const char *name, PyObject *word, uint64_t *bound)
{
    *bound = SV_UNBOUNDED;
    if (word == Py_None)
        return SV_OK;
    *bound = PyLong_AsUnsignedLongLong(word);
    if (*bound == UINT64_MAX && PyErr_Occurred())
        return SV_RAISED;
    if (*bound == 0 || *bound == SV_UNBOUNDED) {
        PyErr_Format(PyExc_ValueError, "%s must be 1 or more, or None for no bound, not %R", name, word);
        return SV_RAISED;
    }
    return SV_OK;
}

static int want_callable(const char *name, PyObject *word)
{
    if (word == Py_None || PyCallable_Check(word))
        return SV_OK;
    PyErr_Format(PyExc_TypeError, "%s must be callable or None, not %R", name, word);
    return SV_RAISED;
}

static PyObject *kept(PyObject *word) { return word == Py_None ? NULL : Py_NewRef(word); }

/* CacheCore(maxsize, maxweight, weigher, eviction, fresh, clock, on_remove, timed_hits) */
static int cache_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    sv_cache *cache = (sv_cache *)self;
    PyObject *maxsize, *maxweight, *weigher, *fresh, *clock, *on_remove;
    const char *eviction;
    int timed_hits;
    uint64_t most, heaviest;
    sv_terms terms;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "CacheCore() takes no keyword arguments");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "OOOsOOOp:CacheCore", &maxsize, &maxweight, &weigher, &eviction, &fresh, &clock,
                          &on_remove, &timed_hits))
        return -1;
    const sv_rule *rule = sv_rule_named(eviction);
    if (rule == NULL)
        PyErr_Format(PyExc_ValueError, "eviction is %s, which is no rule's name", eviction);
    if (rule == NULL || sv_cache_read_bound("maxsize", maxsize, &most) != SV_OK ||
        sv_cache_read_bound("maxweight", maxweight, &heaviest) != SV_OK || want_callable("weigher", weigher) != SV_OK ||
        want_callable("clock", clock) != SV_OK || want_callable("on_remove", on_remove) != SV_OK ||
        sv_terms_read(fresh, &terms) != SV_OK)
        return -1;
    if (most == SV_UNBOUNDED && heaviest == SV_UNBOUNDED)
        rule = &sv_fifo_rule; /* nothing is evicted: the order is that of coming in */
    sv_store store;
    int used;
    sv_histogram *hit_times = timed_hits ? sv_malloc(sizeof(sv_histogram)) : NULL;
    if ((timed_hits && hit_times == NULL) || open_store(&store, most, heaviest, rule) != SV_OK) {
        sv_free(hit_times);
        PyErr_NoMemory();
        return -1;
    }
    sv_ledger *ledger = store.ledger;
    ledger->terms = terms;
    ledger->clock = kept(clock);
    ledger->on_remove = kept(on_remove);
    ledger->weigher = kept(weigher);
    ledger->hit_times = hit_times;
    if (timed_hits)
        sv_histogram_clear(hit_times);
    int plain = on_remove == Py_None && heaviest == SV_UNBOUNDED && clock == Py_None && !sv_terms_need_a_stay(&terms);
    SV_LOCK(self)
    used = cache->opened || cache->store.epoch != 0 || cache->store.ledger->tags.table != NULL;
    if (!used) {
        replace_store(cache, &store);
        SV_POST(cache->timed_hits, timed_hits);
        if (plain)
            SV_POST(cache->plain, sv_terms_have_an_end(&terms) ? SV_WITH_AN_END : SV_JUST_A_VALUE);
        if (most != SV_UNBOUNDED || heaviest != SV_UNBOUNDED)
            sv_diary_open(&cache->diary, most == SV_UNBOUNDED ? SV_DIARY_GUESS : most, (uint64_t)(uintptr_t)cache);
        cache->opened = 1;
    }
    SV_UNLOCK()
    sv_store_close(&store); /* the one that is not needed */
    if (used)
        PyErr_SetString(PyExc_RuntimeError, "this cache is initialised already");
    return used ? -1 : 0;
}

static int cache_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return sv_store_traverse(store_of(self), visit, arg);
}

static int cache_clear_references(PyObject *self)
{
    sv_store *store = store_of(self);
    sv_spill spill = {.departed = SV_NONE};
    if (store->slab.boxes == NULL)
        return 0;
    sv_store_clear(store, &spill); /* without memory: the entries stay until the end */
    Py_CLEAR(spill.on_remove);     /* garbage is not told */
    sv_store_let_go(store);
    sv_spill_drop(&spill);
    return 0;
}

static void cache_dealloc(PyObject *self)
{
    sv_cache *cache = (sv_cache *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, cache_dealloc) /* caches may hold caches, without end */
    if (cache->weakrefs != NULL)
        PyObject_ClearWeakRefs(self);
    sv_diary_close(&cache->diary);
    if (cache->store.slab.boxes != NULL)
        sv_store_close(&cache->store);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

const char *sv_cache_check(PyObject *self)
{
    const char *wrong;
    SV_LOCK(self)
    wrong = sv_store_check(store_of(self));
    SV_UNLOCK()
    return wrong;
}

/* ------------------------------------------------------------------ the verbs of a load */

static PyObject *cache_join(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint64_t hash;
    PyObject *joined = sv_protocol_join(self, store_of(self), args, count);
    if (joined == NULL || sv_hash_of(args[0], &hash) != SV_OK) {
        Py_XDECREF(joined);
        return NULL;
    }
    SV_LOCK(self)
    sv_diary_note(&((sv_cache *)self)->diary, hash, PyLong_AsLong(PyTuple_GET_ITEM(joined, 0)) == SV_ROLE_HIT);
    SV_UNLOCK()
    return joined;
}

#define PROTOCOL(verb)                                                                       \
    static PyObject *cache_##verb(PyObject *self, PyObject *const *args, Py_ssize_t count)   \
    {                                                                                        \
        return sv_protocol_##verb(self, store_of(self), args, count);                        \
    }
PROTOCOL(refresh_begin)
PROTOCOL(settle)
PROTOCOL(drop)
PROTOCOL(abandon)
PROTOCOL(recheck)
PROTOCOL(tally)
PROTOCOL(watch_fences)
PROTOCOL(fenced_at)

/* ------------------------------------------------------------------ the type */

#define VERB(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef protocol_methods[] = {
    {"_join", VERB(cache_join), METH_FASTCALL, NULL},
    {"_refresh_begin", VERB(cache_refresh_begin), METH_FASTCALL, NULL},
    {"_settle", VERB(cache_settle), METH_FASTCALL, NULL},
    {"_drop", VERB(cache_drop), METH_FASTCALL, NULL},
    {"_abandon", VERB(cache_abandon), METH_FASTCALL, NULL},
    {"_recheck", VERB(cache_recheck), METH_FASTCALL, NULL},
    {"_tally", VERB(cache_tally), METH_FASTCALL, NULL},
    {"_watch_fences", VERB(cache_watch_fences), METH_FASTCALL, NULL},
    {"_fenced_at", VERB(cache_fenced_at), METH_FASTCALL, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef all_methods[64];

static void join_tables(void)
{
    PyMethodDef *tables[] = {sv_mapping_methods, sv_whole_methods, protocol_methods};
    size_t at = 0;
    for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
        for (PyMethodDef *one = tables[table]; one->ml_name != NULL; one++)
            all_methods[at++] = *one;
    SV_ASSERT(at < sizeof(all_methods) / sizeof(all_methods[0]));
}

static PyMemberDef cache_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(sv_cache, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot cache_slots[] = {
    {Py_tp_doc, "The native part of samovar.Cache: every method is one atomic step."},
    {Py_tp_new, cache_new},
    {Py_tp_init, cache_init},
    {Py_tp_traverse, cache_traverse},
    {Py_tp_clear, cache_clear_references},
    {Py_tp_dealloc, cache_dealloc},
    {Py_tp_iter, sv_whole_iter},
    {Py_tp_methods, all_methods},
    {Py_tp_members, cache_members},
    {Py_mp_length, sv_whole_length},
    {Py_mp_subscript, sv_mapping_subscript},
    {Py_mp_ass_subscript, sv_mapping_assign},
    {Py_sq_contains, sv_mapping_contains},
    {0, NULL},
};

static PyType_Spec cache_spec = {
    .name = "samovar._core.CacheCore",
    .basicsize = sizeof(sv_cache),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = cache_slots,
};

int sv_cache_adopt(PyObject *type)
{
    if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, sv_cache_type)) {
        PyErr_SetString(PyExc_TypeError, "only a subclass of CacheCore can adopt its methods");
        return SV_RAISED;
    }
    for (PyMethodDef *one = sv_mapping_methods; one->ml_name != NULL; one++) {
        PyObject *method = one->ml_name[0] == '_' ? NULL : PyDescr_NewMethod((PyTypeObject *)type, one);
        int status = method == NULL ? 0 : PyObject_SetAttrString(type, one->ml_name, method);
        Py_XDECREF(method);
        if (status < 0 || PyErr_Occurred())
            return SV_RAISED;
    }
    return SV_OK;
}

int sv_cache_setup(void)
{
    if (sv_cache_type != NULL)
        return SV_OK;
    if (sv_ledger_setup() != SV_OK || sv_tags_setup() != SV_OK)
        return SV_RAISED;
    join_tables();
    sv_cache_type = (PyTypeObject *)PyType_FromSpec(&cache_spec);
    return sv_cache_type == NULL ? SV_RAISED : SV_OK;
}
