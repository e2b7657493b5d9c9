#include "visit.h"

int sv_visit_begin(sv_store *store, sv_visit *visit, PyObject *const *key, int precisely)
{
    SV_POUCH_EMPTY(&visit->pouch);
    visit->now = 0;
    if (sv_asked_reread(&visit->asked, (PyObject **)key, store->rules) != SV_OK)
        return SV_RAISED;
    const sv_ledger *ledger = store->ledger;
    if (ledger == NULL || (!precisely && !SV_GLANCE(ledger->dated)))
        return SV_OK;
    return precisely ? sv_ledger_now_precisely(ledger, &visit->now) : sv_ledger_now(ledger, &visit->now);
}

void sv_visit_end(PyObject *owner, sv_store *store, sv_visit *visit)
{
    sv_pouch_drop(&visit->pouch);
    if (store->ledger != NULL)
        sv_store_see_off(owner, store);
}

int sv_visit_find_locked(sv_store *store, sv_visit *visit, sv_handle *found)
{
    *found = SV_NONE;
    if (store->ledger != NULL)
        sv_store_sweep(store, visit->now, SV_STEPS);
    int status = sv_store_find(store, &visit->asked, found);
    if (status != 1) {
        *found = SV_NONE;
        return status;
    }
    if (SV_UNLIKELY(visit->now == 0 && store->ledger != NULL && store->ledger->dated))
        visit->now = sv_ledger_late_now(store->ledger);
    if (store->slab.boxes[*found].value == NULL)
        return 0;
    sv_state state = store->ledger == NULL ? SV_FRESH : sv_ledger_state(store->ledger, *found, &visit->now);
    if (SV_LIKELY(state == SV_FRESH))
        return 1;
    if (state == SV_STALE)
        return 0;
    sv_store_expire(store, *found, state);
    if (store->slab.boxes[*found].value != NULL) /* it departed; else a load that renews it goes on */
        *found = SV_NONE;
    return 0;
}

int sv_line_begin_locked(sv_store *store, sv_line *line, const sv_terms *terms, PyObject *tags, uint64_t now,
                         uint32_t weight)
{
    sv_tags *all = &store->ledger->tags;
    *line = (sv_line){.terms = terms, .now = now, .weight = weight};
    if (tags != Py_None && PyTuple_GET_SIZE(tags) > 0) {
        line->tags = sv_tags_gather(all, tags, sv_store_oldest_load(store));
        if (line->tags == NULL)
            return SV_RAISED;
        line->gathered = 1;
        all->open++;
    }
    line->seen = all->clock;
    return SV_OK;
}

void sv_line_end_locked(sv_store *store, sv_line *line)
{
    sv_tags_release_steal(line->tags);
    line->tags = NULL;
    store->ledger->tags.open -= (uint32_t)line->gathered;
    line->gathered = 0;
}

int sv_weight_of(sv_ledger *ledger, PyObject *key, PyObject *value, PyObject *given, uint32_t *weight)
{
    *weight = 1;
    if (SV_GLANCE(ledger->maxweight) == SV_UNBOUNDED || (given == Py_None && ledger->weigher == NULL))
        return SV_OK;
    const char *who = given == Py_None ? "weigher: it returned" : "weight is";
    PyObject *number = Py_NewRef(given);
    if (given == Py_None) {
        PyObject *weigher = Py_NewRef(ledger->weigher), *args[] = {NULL, key, value};
        Py_DECREF(number);
        number = PyObject_Vectorcall(weigher, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(weigher);
        if (number == NULL)
            return SV_RAISED;
    }
    if (!PyLong_Check(number) || PyBool_Check(number)) {
        PyErr_Format(PyExc_TypeError, "%s %R; a weight must be an int", who, number);
        Py_DECREF(number);
        return SV_RAISED;
    }
    int overflow;
    long long units = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0 || units < 1 || units > (long long)UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%s %R; a weight must be from 1 to 2**32 - 1", who, number);
        Py_DECREF(number);
        return SV_RAISED;
    }
    Py_DECREF(number);
    *weight = (uint32_t)units;
    return SV_OK;
}

int sv_terms_of(sv_ledger *ledger, PyObject *fresh, sv_terms *terms)
{
    if (fresh == Py_None) {
        *terms = ledger->terms;
        return SV_OK;
    }
#ifdef Py_GIL_DISABLED /* no lock is held here */
    return sv_terms_read(fresh, terms);
#else
    if (ledger->read_fresh != fresh) {
        sv_terms read;
        if (sv_terms_read(fresh, &read) != SV_OK)
            return SV_RAISED;
        ledger->read_terms = read;
        Py_XSETREF(ledger->read_fresh, Py_NewRef(fresh));
        *terms = read;
        return SV_OK;
    }
    *terms = ledger->read_terms;
    return SV_OK;
#endif
}

int sv_store_invalidate_tags(PyObject *owner, sv_store *store, PyObject *tags, int soft)
{
    sv_ledger *ledger = store->ledger;
    uint64_t now;
    int status;
    if (ledger == NULL)
        return SV_OK;
    if (sv_ledger_now_precisely(ledger, &now) != SV_OK)
        return SV_RAISED;
    SV_LOCK(owner)
    status = sv_tags_invalidate(&ledger->tags, tags, soft, now, sv_store_oldest_load(store));
    if (status == SV_OK)
        sv_fences_tags(ledger->fences, tags);
    if (status == SV_OK && ledger->tagged != NULL)
        ledger->unswept = store->slab.used;
    if (status == SV_OK)
        sv_store_sweep(store, now, SV_STEPS);
    SV_UNLOCK()
    sv_store_see_off(owner, store);
    return status;
}

int sv_want(const char *verb, Py_ssize_t wanted, Py_ssize_t given)
{
    if (wanted == given)
        return SV_OK;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", verb, wanted, given);
    return SV_RAISED;
}

int sv_want_tags(PyObject *tags)
{
    if (tags == Py_None)
        return SV_OK;
    if (!PyTuple_CheckExact(tags)) {
        PyErr_Format(PyExc_TypeError, "tags must be a tuple of str, not %R", tags);
        return SV_RAISED;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tags); i++)
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(tags, i))) {
            PyErr_Format(PyExc_TypeError, "tags must be str, not %R", PyTuple_GET_ITEM(tags, i));
            return SV_RAISED;
        }
    return SV_OK;
}
