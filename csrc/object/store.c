#include "store.h"

#include "flight.h"
#include "ready.h"

#define MOST_PASSES 100

/* All entries of a full store, and a few that load or depart. */
static uint32_t enough_boxes(uint64_t maxsize)
{
    return maxsize < UINT32_MAX - 64 ? (uint32_t)maxsize + SV_SENTINELS + 16 : 0;
}

int sv_store_open(sv_store *store, uint64_t maxsize, const sv_rule *rule, uint64_t capacity, uint64_t seed)
{
    *store = (sv_store){.maxsize = maxsize, .brim = UINT32_MAX};
    if (sv_slab_open(&store->slab) != SV_OK)
        return SV_NOMEM;
    sv_index_open(&store->index, seed);
    store->slab.enough = enough_boxes(maxsize);
    if (rule == NULL)
        return SV_OK;
    store->policy = sv_calloc(1, rule->state_size);
    if (store->policy != NULL && rule->open(store->policy, &store->slab, capacity, seed) == SV_OK) {
        store->policy->rule = rule;
        if (rule == &sv_lru_rule && maxsize > 0 && maxsize < UINT32_MAX)
            store->brim = (uint32_t)maxsize;
        return SV_OK;
    }
    sv_free(store->policy);
    sv_index_close(&store->index);
    sv_slab_close(&store->slab);
    *store = (sv_store){0};
    return SV_NOMEM;
}

int sv_store_keep_ledger(sv_store *store, uint64_t maxweight, uint64_t seed)
{
    sv_ledger *ledger = sv_malloc(sizeof(*ledger));
    if (ledger == NULL)
        return SV_NOMEM;
    sv_ledger_open(ledger, 0, seed);
    ledger->maxweight = maxweight;
    store->ledger = ledger;
    store->brim = UINT32_MAX; /* no short ways: every entry has a line */
    return SV_OK;
}

int sv_store_error(int status)
{
    if (status == SV_NOMEM)
        PyErr_NoMemory();
    else if (status == SV_FULL)
        PyErr_SetString(PyExc_OverflowError, "a samovar store holds at most 2**32 - 6 entries");
    return SV_RAISED;
}

/* ------------------------------------------------------------------ finding */

int sv_store_find(sv_store *store, const sv_asked *asked, sv_handle *found)
{
    sv_cursor cursor;
    int passes = 0;
again:;
    uint64_t moves = store->moves, epoch = store->epoch;
    sv_handle handle = sv_index_first(&store->index, store->slab.boxes, asked->hash, &cursor);
    while (handle != SV_NONE) {
        int equal = sv_asked_equals(asked, store->slab.boxes[handle].key);
        if (SV_UNLIKELY(equal < 0))
            return SV_RAISED;
        if (SV_UNLIKELY(store->moves != moves)) { /* comparing ran Python code, and that changed the store */
            if (++passes < MOST_PASSES)
                goto again;
            return 0;
        }
        if (SV_LIKELY(equal)) {
            *found = handle;
            return 1;
        }
        handle = sv_index_next(&store->index, store->slab.boxes, asked->hash, &cursor);
    }
    /* A comparison may have added this very key behind the search. Not without end: comparisons that change the store
     * every time find nothing, get a second entry for their key, and nothing worse. */
    if (SV_UNLIKELY(store->epoch != epoch && ++passes < MOST_PASSES))
        goto again;
    return 0;
}

/* ------------------------------------------------------------------ order */

static void enter(sv_store *store, sv_handle handle, uint32_t weight)
{
    store->current++;
    if (store->ledger != NULL && handle < store->ledger->weights_room) {
        store->ledger->weights[handle] = weight;
        store->ledger->weight += weight;
    }
    if (store->policy == NULL)
        return;
    if (SV_LIKELY(store->policy->rule == &sv_lru_rule))
        sv_chain_push(&store->slab, SV_LRU_CHAIN, handle);
    else
        store->policy->rule->enter(store->policy, &store->slab, handle, weight);
}

static void leave(sv_store *store, sv_handle handle)
{
    store->current--;
    if (store->policy != NULL)
        store->policy->rule->leave(store->policy, &store->slab, handle);
}

static void fence_off(sv_store *store, sv_handle handle);
static void depart(sv_store *store, sv_handle handle, sv_cause cause);

/* Whether one victim makes the room, and nobody wants to hear of it. */
static int may_evict_quietly(const sv_store *store)
{
    const sv_ledger *ledger = store->ledger;
    return ledger == NULL ||
           (ledger->on_remove == NULL && ledger->maxweight == SV_UNBOUNDED && store->refreshing == 0 &&
            store->current == store->maxsize);
}

/* The victim is out of the chains and the index; its box is still taken and holds nothing. */
static sv_handle evict(sv_store *store, uint64_t newcomer, sv_pouch *pouch)
{
    sv_handle victim;
    if (SV_LIKELY(store->policy->rule == &sv_lru_rule)) {
        victim = sv_store_unlink_oldest(store);
        sv_index_erase(&store->index, store->slab.boxes[victim].hash, victim);
    } else {
        victim = store->policy->rule->victim(store->policy, &store->slab, newcomer);
        sv_index_erase(&store->index, store->slab.boxes[victim].hash, victim);
        store->counts.evictions++;
        store->moves++;
    }
    if (SV_UNLIKELY(store->refreshing))
        fence_off(store, victim);
    if (store->ledger != NULL) {
        store->ledger->gone[SV_EVICTED]++;
        if (store->ledger->dated)
            sv_ledger_erase(store->ledger, victim);
    }
    sv_box *box = &store->slab.boxes[victim];
    sv_pouch_put_steal(pouch, box->key);
    sv_pouch_put_steal(pouch, box->value);
    store->current--;
    return victim;
}

/* With a ledger: evict until so many more entries, of this weight together, have room. */
static void make_room(sv_store *store, uint64_t newcomer, uint32_t more, uint32_t weight)
{
    const sv_ledger *ledger = store->ledger;
    while (store->current > 0 && ((uint64_t)store->current + more > store->maxsize ||
                                  (ledger->maxweight != SV_UNBOUNDED && ledger->weight + weight > ledger->maxweight))) {
        sv_handle victim = store->policy->rule->victim(store->policy, &store->slab, newcomer);
        store->counts.evictions++;
        sv_store_take_victim(store, victim, SV_EVICTED);
    }
}

/* Boxes that can be taken without memory. */
static uint32_t spare_boxes(const sv_store *store)
{
    return store->slab.capacity - SV_SENTINELS - store->slab.live;
}

/* Room for one more box, and for each load that renews an entry one in which that entry can depart. Without memory for
 * these such a load is fenced off when its entry leaves. */
static SV_NOINLINE int reserve_boxes(sv_store *store)
{
    while (spare_boxes(store) < store->refreshing + 2u) {
        int status = sv_slab_reserve_slow(&store->slab);
        if (status != SV_OK)
            return spare_boxes(store) > 0 ? SV_OK : status;
    }
    return SV_OK;
}

/* Room for one more box and one more index slot, and in the side arrays of rule and ledger. */
static int reserve(sv_store *store, const sv_line *line)
{
    int status = SV_LIKELY(store->refreshing == 0 || store->ledger == NULL) ? sv_slab_reserve(&store->slab)
                                                                            : reserve_boxes(store);
    if (SV_LIKELY(status == SV_OK))
        status = sv_index_reserve(&store->index);
    if (SV_UNLIKELY(status == SV_OK && store->policy != NULL && store->policy->rule->reserve != NULL))
        status = store->policy->rule->reserve(store->policy, store->slab.capacity);
    if (line != NULL && status == SV_OK)
        status = sv_ledger_reserve(store->ledger, sv_store_reach(store), line->terms, line->tags);
    return status;
}

/* While the index grows, an insertion moves other entries too. */
static void index_insert(sv_store *store, uint64_t hash, sv_handle handle)
{
    int moving = store->index.old.chunks != NULL;
    sv_index_insert(&store->index, store->slab.boxes, hash, handle);
    store->moves += moving || store->index.old.chunks != NULL;
}

/* ------------------------------------------------------------------ entries */

/* Whether a value says "there is nothing", which may be good for a time of its own. */
static int is_none(const sv_store *store, PyObject *value)
{
    if (!store->awaited || !sv_is_ready(value))
        return value == Py_None;
    const sv_ready *ready = (sv_ready *)value;
    return !ready->raises && ready->outcome == Py_None;
}

static void write_line(sv_store *store, sv_handle handle, sv_line *line)
{
    if (line == NULL)
        return;
    int nothing = is_none(store, store->slab.boxes[handle].value);
    sv_tags_release_steal(sv_ledger_write(store->ledger, handle, line, nothing));
}

int sv_store_insert(sv_store *store, PyObject *key, uint64_t hash, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    sv_handle handle;
    int status = reserve(store, line);
    if (SV_UNLIKELY(status != SV_OK))
        return status;
    if (store->current >= store->maxsize && may_evict_quietly(store)) {
        handle = evict(store, hash, pouch); /* its box is used again at once */
    } else {
        if (line != NULL)
            make_room(store, hash, 1, line->weight);
        handle = sv_slab_take(&store->slab);
    }
    sv_box *box = &store->slab.boxes[handle];
    box->key = key;
    box->value = value;
    box->hash = hash;
    index_insert(store, hash, handle);
    enter(store, handle, line == NULL ? 1 : line->weight);
    write_line(store, handle, line);
    store->epoch++;
    return SV_OK;
}

static void fill(sv_store *store, sv_handle handle, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    uint64_t hash = store->slab.boxes[handle].hash;
    if (line != NULL)
        make_room(store, hash, 1, line->weight);
    else if (SV_LIKELY(store->current >= store->maxsize))
        sv_slab_give(&store->slab, evict(store, hash, pouch));
    store->slab.boxes[handle].value = value;
    enter(store, handle, line == NULL ? 1 : line->weight);
    write_line(store, handle, line);
    store->epoch++;
}

/* The value that another one takes the place of; a spare box lets it depart where somebody wants to know. */
static void put_aside(sv_store *store, sv_handle handle, const PyObject *value, sv_pouch *pouch)
{
    sv_ledger *ledger = store->ledger;
    PyObject *before = store->slab.boxes[handle].value;
    if (ledger == NULL || before == value || ledger->on_remove == NULL) {
        if (ledger != NULL && before != value)
            ledger->gone[SV_REPLACED]++;
        sv_pouch_put_steal(pouch, before);
        return;
    }
    sv_handle aside = sv_slab_take(&store->slab);
    sv_box *box = &store->slab.boxes[handle];
    store->slab.boxes[aside] = (sv_box){.key = Py_NewRef(box->key), .value = before, .hash = box->hash};
    sv_ledger_depart(ledger, &store->slab, aside, SV_REPLACED);
}

/* The value was replaced by one of this weight. */
static void weigh_again(sv_store *store, sv_handle handle, uint32_t weight)
{
    sv_ledger *ledger = store->ledger;
    if (handle >= ledger->weights_room || ledger->weights[handle] == weight)
        return;
    ledger->weight = ledger->weight - ledger->weights[handle] + weight;
    ledger->weights[handle] = weight;
    if (store->policy->rule->reweigh != NULL)
        store->policy->rule->reweigh(store->policy, &store->slab, handle, weight);
}

static int put_value(sv_store *store, sv_handle handle, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    if (line != NULL) {
        int status = reserve(store, line);
        if (SV_UNLIKELY(status != SV_OK))
            return status;
    }
    if (store->slab.boxes[handle].value == NULL) {
        fill(store, handle, value, line, pouch);
        return SV_OK;
    }
    put_aside(store, handle, value, pouch);
    store->slab.boxes[handle].value = value;
    sv_store_touch(store, handle);
    store->epoch++;
    if (line != NULL) {
        weigh_again(store, handle, line->weight);
        write_line(store, handle, line);
        make_room(store, store->slab.boxes[handle].hash, 0, 0); /* it may be the one that has to go */
    }
    return SV_OK;
}

int sv_store_set_steal(sv_store *store, sv_handle handle, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    if (line != NULL) { /* all that can fail, before anything is fenced off */
        int status = reserve(store, line);
        if (SV_UNLIKELY(status != SV_OK))
            return status;
    }
    fence_off(store, handle);
    return put_value(store, handle, value, line, pouch);
}

void sv_store_remove(sv_store *store, sv_handle handle, sv_cause cause, sv_pouch *pouch)
{
    fence_off(store, handle);
    sv_box *box = &store->slab.boxes[handle];
    if (box->value != NULL) {
        leave(store, handle);
        if (store->ledger != NULL) {
            depart(store, handle, cause);
            return;
        }
    }
    sv_index_erase(&store->index, box->hash, handle);
    sv_pouch_put_steal(pouch, box->key);
    sv_pouch_put_steal(pouch, box->value);
    sv_slab_give(&store->slab, handle);
    store->moves++;
    store->epoch++;
}

int sv_store_clear(sv_store *store, sv_spill *spill)
{
    sv_slab fresh;
    sv_ledger *ledger = store->ledger;
    if (sv_slab_open(&fresh) != SV_OK)
        return SV_NOMEM;
    for (uint32_t number = 0; number < store->loads_size; number++)
        if (store->loads[number].serial != 0)
            store->loads[number].handle = SV_NONE;
    *spill = (sv_spill){.slab = store->slab};
    fresh.enough = store->slab.enough;
    store->slab = fresh;
    if (store->policy != NULL)
        store->policy->rule->clear(store->policy, &store->slab);
    sv_index_clear(&store->index);
    if (ledger != NULL) {
        spill->departed = ledger->departed;
        spill->on_remove = Py_XNewRef(ledger->on_remove);
        ledger->gone[SV_CLEARED] += store->current;
        sv_fences_all(ledger->fences);
        sv_ledger_forget(ledger);
    }
    store->current = 0;
    store->refreshing = 0;
    store->unnamed = 0;
    store->moves++;
    store->epoch++;
    return SV_OK;
}

/* ------------------------------------------------------------------ loads */

static sv_stay *stay_of(const sv_store *store, sv_handle handle)
{
    return store->ledger != NULL && handle < store->ledger->stays_room ? &store->ledger->stays[handle] : NULL;
}

/* The load and its entry part: it is fenced off, or about to be settled. */
static void cut(sv_store *store, uint32_t number)
{
    sv_load *load = &store->loads[number];
    if (store->slab.boxes[load->handle].value != NULL) {
        sv_stay *stay = stay_of(store, load->handle);
        store->refreshing--;
        if (stay != NULL && stay->load == number + 1)
            stay->load = 0;
        else
            store->unnamed--;
    }
    load->handle = SV_NONE;
}

/* Cut the loads that began before `serial` to renew this entry. */
static void cut_renewals(sv_store *store, sv_handle handle, uint64_t serial)
{
    sv_stay *stay = stay_of(store, handle);
    if (stay != NULL && stay->load != 0 && store->loads[stay->load - 1].serial < serial)
        cut(store, stay->load - 1);
    for (uint32_t number = 0; store->unnamed > 0 && number < store->loads_size; number++)
        if (store->loads[number].serial != 0 && store->loads[number].serial < serial &&
            store->loads[number].handle == handle)
            cut(store, number);
}

/* Cut every load that runs for this entry. */
static void fence_off(sv_store *store, sv_handle handle)
{
    sv_box *box = &store->slab.boxes[handle];
    if (box->value == NULL)
        store->loads[box->prev].handle = SV_NONE;
    else if (store->refreshing > 0)
        cut_renewals(store, handle, UINT64_MAX);
}

void sv_store_fence_off(sv_store *store, sv_handle handle, sv_pouch *pouch)
{
    if (store->slab.boxes[handle].value == NULL)
        sv_store_remove(store, handle, SV_DELETED, pouch);
    else
        fence_off(store, handle);
}

uint32_t sv_store_renewal(const sv_store *store, sv_handle handle)
{
    const sv_stay *stay = stay_of(store, handle);
    uint32_t latest = stay == NULL ? SV_NO_LOAD : stay->load - 1;
    if (SV_LIKELY(latest != SV_NO_LOAD || store->unnamed == 0))
        return latest;
    for (uint32_t number = 0; number < store->loads_size; number++)
        if (store->loads[number].serial != 0 && store->loads[number].handle == handle &&
            (latest == SV_NO_LOAD || store->loads[number].serial > store->loads[latest].serial))
            latest = number;
    return latest;
}

uint64_t sv_store_oldest_load(const sv_store *store)
{
    uint64_t oldest = UINT64_MAX;
    for (uint32_t number = 0; number < store->loads_size; number++)
        if (store->loads[number].serial != 0 && store->loads[number].begun < oldest)
            oldest = store->loads[number].begun;
    return oldest;
}

static int reserve_load(sv_store *store)
{
    if (SV_LIKELY(store->loads_free < store->loads_size))
        return SV_OK;
    uint32_t size = store->loads_size == 0 ? 4 : store->loads_size * 2;
    sv_load *loads = size < store->loads_size ? NULL : sv_realloc(store->loads, size * sizeof(sv_load));
    if (loads == NULL)
        return SV_NOMEM;
    for (uint32_t number = store->loads_size; number < size; number++)
        loads[number] = (sv_load){.generation = number + 1};
    store->loads = loads;
    store->loads_size = size;
    return SV_OK;
}

static uint32_t take_load(sv_store *store, sv_handle handle, uint64_t leader)
{
    uint32_t number = store->loads_free;
    sv_load *load = &store->loads[number];
    store->loads_free = load->generation;
    load->leader = leader;
    load->serial = ++store->last_serial;
    load->begun = store->ledger == NULL ? 0 : store->ledger->tags.clock;
    load->flight = NULL;
    load->handle = handle;
    load->generation = sv_fork_generation;
    return number;
}

int sv_store_begin(sv_store *store, PyObject *key, uint64_t hash, uint64_t leader, uint32_t *number)
{
    int status = reserve(store, NULL);
    if (status == SV_OK)
        status = reserve_load(store);
    if (SV_UNLIKELY(status != SV_OK))
        return status;
    sv_handle handle = sv_slab_take(&store->slab);
    *number = take_load(store, handle, leader);
    store->slab.boxes[handle] = (sv_box){.key = key, .hash = hash, .prev = *number};
    index_insert(store, hash, handle);
    store->epoch++;
    return SV_OK;
}

int sv_store_begin_again(sv_store *store, sv_handle handle, uint64_t leader, uint32_t *number)
{
    if (reserve_load(store) != SV_OK)
        return SV_NOMEM;
    sv_box *box = &store->slab.boxes[handle];
    sv_stay *stay = stay_of(store, handle);
    if (box->value == NULL || store->ledger != NULL) /* one load at a time, the latest */
        fence_off(store, handle);
    *number = take_load(store, handle, leader);
    if (box->value == NULL) {
        box->prev = *number;
        return SV_OK;
    }
    store->refreshing++;
    if (stay != NULL)
        stay->load = *number + 1;
    else
        store->unnamed++;
    if (store->ledger != NULL)
        reserve_boxes(store);
    return SV_OK;
}

int sv_store_settle_steal(sv_store *store, uint32_t number, PyObject *value, sv_line *line, sv_pouch *pouch)
{
    sv_load *load = &store->loads[number];
    sv_handle handle = load->handle;
    if (handle == SV_NONE) {
        sv_pouch_put_steal(pouch, value);
        return 0;
    }
    int renews = store->slab.boxes[handle].value != NULL;
    uint64_t serial = load->serial;
    cut(store, number);
    if (!renews)
        store->slab.boxes[handle].prev = number; /* so that fence_off finds a load that is cut already */
    if (renews && value != NULL)
        cut_renewals(store, handle, serial); /* what began earlier has read something older */
    if (value != NULL && SV_LIKELY(put_value(store, handle, value, line, pouch) == SV_OK))
        return 1;
    sv_pouch_put_steal(pouch, value);
    if (!renews)
        sv_store_remove(store, handle, SV_DELETED, pouch);
    return value == NULL;
}

PyObject *sv_store_end(sv_store *store, uint32_t number)
{
    sv_load *load = &store->loads[number];
    PyObject *flight = load->flight;
    *load = (sv_load){.generation = store->loads_free};
    store->loads_free = number;
    return flight;
}

/* ------------------------------------------------------------------ leaving */

/* A load renews the entry that expires, is evicted or turns out to be wrong now: the value leaves, the entry goes on as
 * one that is loading. */
static int leave_the_load(sv_store *store, sv_handle handle, uint32_t number, sv_cause cause)
{
    if (spare_boxes(store) < 2) /* the other one may be promised to a newcomer */
        return 0;
    sv_handle aside = sv_slab_take(&store->slab);
    sv_box *box = &store->slab.boxes[handle];
    cut(store, number);
    cut_renewals(store, handle, UINT64_MAX);
    sv_ledger_erase(store->ledger, handle);
    store->slab.boxes[aside] = (sv_box){.key = Py_NewRef(box->key), .value = box->value, .hash = box->hash};
    sv_ledger_depart(store->ledger, &store->slab, aside, cause);
    box->value = NULL;
    box->prev = number;
    store->loads[number].handle = handle;
    store->moves++;
    store->epoch++;
    return 1;
}

/* The entry is out of the order, not yet out of the index. */
static void depart(sv_store *store, sv_handle handle, sv_cause cause)
{
    if (SV_UNLIKELY(store->refreshing > 0)) {
        uint32_t number = sv_store_renewal(store, handle);
        /* whether a tag fences it off is decided when it is settled, by its own tags */
        int goes_on = cause == SV_EVICTED || cause == SV_EXPIRED || cause == SV_INVALIDATED;
        if (number != SV_NO_LOAD && goes_on && leave_the_load(store, handle, number, cause))
            return;
        fence_off(store, handle);
    }
    sv_index_erase(&store->index, store->slab.boxes[handle].hash, handle);
    sv_ledger_depart(store->ledger, &store->slab, handle, cause);
    store->moves++;
    store->epoch++;
}

void sv_store_expire(sv_store *store, sv_handle handle, sv_state state)
{
    leave(store, handle);
    depart(store, handle, state == SV_WRONG ? SV_INVALIDATED : SV_EXPIRED);
}

SV_NOINLINE void sv_store_sweep_slowly(sv_store *store, uint64_t now, uint32_t steps)
{
    sv_ledger *ledger = store->ledger;
    uint32_t left = steps;
    sv_handle due;
    while ((due = sv_wheel_next(&ledger->wheel, now, &left)) != SV_NONE)
        sv_store_expire(store, due, SV_PAST);
    for (left = steps; ledger->unswept > 0 && left > 0; left--) {
        sv_handle handle = --ledger->unswept;
        if (handle >= ledger->tagged_room)
            ledger->unswept = ledger->tagged_room;
        else if (sv_ledger_is_wrong(ledger, handle))
            sv_store_expire(store, handle, SV_WRONG);
    }
}

void sv_store_take_victim(sv_store *store, sv_handle victim, sv_cause cause)
{
    store->current--;
    depart(store, victim, cause);
}

void sv_store_shrink(sv_store *store)
{
    store->slab.enough = enough_boxes(store->maxsize);
    make_room(store, 0, 0, 0);
}

/* ------------------------------------------------------------------ for the owner's type */

int sv_store_traverse(sv_store *store, visitproc visit, void *arg)
{
    for (uint32_t handle = SV_SENTINELS; handle < store->slab.used; handle++) {
        Py_VISIT((PyObject *)store->slab.boxes[handle].key);
        Py_VISIT((PyObject *)store->slab.boxes[handle].value);
    }
    for (uint32_t number = 0; number < store->loads_size; number++)
        Py_VISIT(store->loads[number].flight);
    return store->ledger == NULL ? 0 : sv_ledger_traverse(store->ledger, visit, arg);
}

void sv_store_let_go(sv_store *store)
{
    for (uint32_t number = 0; number < store->loads_size; number++)
        Py_CLEAR(store->loads[number].flight); /* may run Python code, and that may begin another load */
    if (store->ledger == NULL)
        return;
    Py_CLEAR(store->ledger->on_remove);
    Py_CLEAR(store->ledger->weigher);
    Py_CLEAR(store->ledger->clock);
}

/* Nobody is told: whoever owned the store is gone. */
void sv_store_close(sv_store *store)
{
    sv_spill spill = {.slab = store->slab};
    sv_load *loads = store->loads;
    sv_ledger *ledger = store->ledger;
    uint32_t size = store->loads_size;
    sv_index_close(&store->index);
    if (store->policy != NULL)
        store->policy->rule->close(store->policy);
    sv_free(store->policy);
    *store = (sv_store){0};
    if (ledger != NULL) {
        spill.departed = ledger->departed;
        sv_ledger_close(ledger);
        sv_free(ledger);
    }
    sv_spill_drop(&spill);
    for (uint32_t number = 0; number < size; number++)
        Py_XDECREF(loads[number].flight);
    sv_free(loads);
}

size_t sv_store_bytes(PyObject *owner, const sv_store *store)
{
    size_t bytes;
    SV_LOCK(owner)
    bytes = sv_index_bytes(&store->index) + store->slab.capacity * sizeof(sv_box) +
            store->loads_size * sizeof(sv_load) + (store->policy ? store->policy->rule->state_size : 0) +
            (store->ledger ? sv_ledger_bytes(store->ledger) : 0);
    SV_UNLOCK()
    return bytes;
}
