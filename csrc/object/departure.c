/* The way out: who departed from a store, or was spilled by a clear, is told to on_remove and dropped here, with nothing
 * locked. Both run any Python code. */
#include "flight.h"
#include "store.h"

typedef struct leaver {
    PyObject *key, *value, *on_remove;
    sv_cause cause;
} leaver;

static int next_leaver_locked(sv_store *store, leaver *one)
{
    sv_ledger *ledger = store->ledger;
    sv_handle handle = ledger->departed;
    if (handle == SV_NONE)
        return 0;
    sv_box *box = &store->slab.boxes[handle];
    *one = (leaver){box->key, box->value, Py_XNewRef(ledger->on_remove), (sv_cause)box->prev};
    ledger->departed = box->next;
    ledger->departed_count--;
    sv_slab_give(&store->slab, handle);
    return 1;
}

static void tell_and_drop(leaver *one)
{
    if (one->on_remove != NULL && one->value != NULL) {
        PyObject *args[] = {NULL, one->key, one->value, sv_cause_names[one->cause]};
        PyObject *answer = PyObject_Vectorcall(one->on_remove, args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (answer == NULL)
            PyErr_WriteUnraisable(one->on_remove);
        Py_XDECREF(answer);
    }
    Py_XDECREF(one->on_remove);
    Py_DECREF(one->key);
    Py_XDECREF(one->value);
}

SV_NOINLINE void sv_store_see_off_slowly(PyObject *owner, sv_store *store)
{
    PyObject *raised = PyErr_Occurred() ? sv_raised_take() : NULL;
    int mine = 0, more;
    uint32_t in_this_process = sv_fork_generation + 1;
    leaver one;
    Py_INCREF(owner);
    do {
        SV_LOCK(owner)
        sv_ledger *ledger = store->ledger;
        more = (mine || ledger->seeing_off != in_this_process) && next_leaver_locked(store, &one);
        if (more)
            ledger->seeing_off = in_this_process;
        else if (mine)
            ledger->seeing_off = 0;
        SV_UNLOCK()
        mine = more;
        if (more)
            tell_and_drop(&one);
    } while (more);
    Py_DECREF(owner);
    if (raised != NULL)
        sv_raised_put_steal(raised);
}

void sv_spill_drop(sv_spill *spill)
{
    sv_spill all = *spill;
    *spill = (sv_spill){{0}, SV_NONE, NULL};
    for (sv_handle at = all.departed, next; at != SV_NONE; at = next) {
        sv_box *box = &all.slab.boxes[at];
        leaver one = {box->key, box->value, Py_XNewRef(all.on_remove), (sv_cause)box->prev};
        next = box->next;
        box->key = box->value = NULL;
        tell_and_drop(&one);
    }
    for (uint32_t handle = SV_SENTINELS; handle < all.slab.used; handle++) {
        sv_box *box = &all.slab.boxes[handle];
        leaver one = {box->key, box->value, Py_XNewRef(all.on_remove), SV_CLEARED};
        if (box->key != NULL)
            tell_and_drop(&one);
        else
            Py_XDECREF(one.on_remove);
    }
    Py_XDECREF(all.on_remove);
    sv_slab_close(&all.slab);
}
