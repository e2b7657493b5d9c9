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
    SV_POST(ledger->departed, box->next);
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

/* An on_remove that always takes somebody else out never comes to its end: after so many more than there were at the
 * beginning, the next operation goes on with it. */
#define MORE_THAN_THERE_WERE 1000u

/* 1; 0 when this thread is seeing off already, or there is no memory to remember that it is. */
static int enter_seer_locked(sv_ledger *ledger, uint64_t thread)
{
    if (ledger->seers_born != sv_fork_generation) { /* the other threads were left behind in the parent */
        ledger->seers_count = 0;
        ledger->seers_born = sv_fork_generation;
    }
    for (uint32_t place = 0; place < ledger->seers_count; place++)
        if (ledger->seers[place] == thread)
            return 0;
    if (ledger->seers_count == ledger->seers_room) {
        uint32_t room = ledger->seers_room + 4;
        uint64_t *seers = sv_realloc(ledger->seers, room * sizeof(uint64_t));
        if (seers == NULL)
            return 0;
        ledger->seers = seers;
        ledger->seers_room = room;
    }
    ledger->seers[ledger->seers_count++] = thread;
    return 1;
}

static void leave_seer_locked(sv_ledger *ledger, uint64_t thread)
{
    for (uint32_t place = 0; place < ledger->seers_count; place++)
        if (ledger->seers[place] == thread) {
            ledger->seers[place] = ledger->seers[--ledger->seers_count];
            return;
        }
}

SV_NOINLINE void sv_store_see_off_slowly(PyObject *owner, sv_store *store)
{
    PyObject *raised = PyErr_Occurred() ? sv_raised_take() : NULL;
    uint64_t thread = sv_thread_number(), most = 0;
    int inside = 0, more;
    leaver one;
    Py_INCREF(owner);
    do {
        SV_LOCK(owner)
        sv_ledger *ledger = store->ledger;
        if (!inside && ledger->departed != SV_NONE && enter_seer_locked(ledger, thread)) {
            inside = 1;
            most = (uint64_t)ledger->departed_count + MORE_THAN_THERE_WERE;
        }
        more = inside && most-- > 0 && next_leaver_locked(store, &one);
        if (inside && !more)
            leave_seer_locked(ledger, thread);
        SV_UNLOCK()
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
