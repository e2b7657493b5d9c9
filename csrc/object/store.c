#include "store.h"

#include "flight.h"

#define MOST_PASSES 100

int sv_store_open(sv_store *store, uint64_t maxsize, const sv_rule *rule, uint64_t seed)
{
    *store = (sv_store){.maxsize = maxsize, .brim = UINT32_MAX};
    if (sv_slab_open(&store->slab) != SV_OK)
        return SV_NOMEM;
    sv_index_open(&store->index, seed);
    if (maxsize == SV_UNBOUNDED)
        return SV_OK;
    store->policy = sv_calloc(1, rule->state_size);
    if (store->policy != NULL && rule->open(store->policy, &store->slab, maxsize, seed) == SV_OK) {
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

/* ------------------------------------------------------------------ eviction */

static void enter(sv_store *store, sv_handle handle)
{
    store->current++;
    if (store->policy == NULL)
        return;
    if (SV_LIKELY(store->policy->rule == &sv_lru_rule))
        sv_chain_push(&store->slab, SV_LRU_CHAIN, handle);
    else
        store->policy->rule->enter(store->policy, &store->slab, handle, 1);
}

static void leave(sv_store *store, sv_handle handle)
{
    store->current--;
    if (store->policy != NULL)
        store->policy->rule->leave(store->policy, &store->slab, handle);
}

static void fence_off(sv_store *store, sv_handle handle);

/* The victim is out of the chains and the index; its box is still taken and holds nothing. */
static sv_handle evict(sv_store *store, uint64_t newcomer, sv_pouch *pouch)
{
    sv_handle victim;
    if (SV_LIKELY(store->policy->rule == &sv_lru_rule)) {
        victim = sv_store_pop_oldest(store);
    } else {
        victim = store->policy->rule->victim(store->policy, &store->slab, newcomer);
        sv_index_erase(&store->index, store->slab.boxes[victim].hash, victim);
        store->counts.evictions++;
        store->moves++;
    }
    if (SV_UNLIKELY(store->refreshing))
        fence_off(store, victim);
    sv_box *box = &store->slab.boxes[victim];
    sv_pouch_put_steal(pouch, box->key);
    sv_pouch_put_steal(pouch, box->value);
    store->current--;
    return victim;
}

/* Room for one more box and one more index slot, and in the rule's side arrays. */
static int reserve(sv_store *store)
{
    int status = sv_slab_reserve(&store->slab);
    if (SV_LIKELY(status == SV_OK))
        status = sv_index_reserve(&store->index);
    if (SV_UNLIKELY(status == SV_OK && store->policy != NULL && store->policy->rule->reserve != NULL))
        status = store->policy->rule->reserve(store->policy, store->slab.capacity);
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

int sv_store_insert(sv_store *store, PyObject *key, uint64_t hash, PyObject *value, sv_pouch *pouch)
{
    sv_handle handle;
    int status = reserve(store);
    if (SV_UNLIKELY(status != SV_OK))
        return status;
    if (store->current >= store->maxsize)
        handle = evict(store, hash, pouch); /* its box is used again at once */
    else
        handle = sv_slab_take(&store->slab);
    sv_box *box = &store->slab.boxes[handle];
    box->key = key;
    box->value = value;
    box->hash = hash;
    index_insert(store, hash, handle);
    enter(store, handle);
    store->epoch++;
    return SV_OK;
}

static void fill(sv_store *store, sv_handle handle, PyObject *value, sv_pouch *pouch)
{
    if (SV_LIKELY(store->current >= store->maxsize))
        sv_slab_give(&store->slab, evict(store, store->slab.boxes[handle].hash, pouch));
    store->slab.boxes[handle].value = value;
    enter(store, handle);
    store->epoch++;
}

static void put_value(sv_store *store, sv_handle handle, PyObject *value, sv_pouch *pouch)
{
    sv_box *box = &store->slab.boxes[handle];
    if (box->value == NULL) {
        fill(store, handle, value, pouch);
        return;
    }
    sv_pouch_put_steal(pouch, box->value);
    box->value = value;
    sv_store_touch(store, handle);
    store->epoch++;
}

void sv_store_set_steal(sv_store *store, sv_handle handle, PyObject *value, sv_pouch *pouch)
{
    fence_off(store, handle);
    put_value(store, handle, value, pouch);
}

void sv_store_remove(sv_store *store, sv_handle handle, sv_pouch *pouch)
{
    fence_off(store, handle);
    sv_box *box = &store->slab.boxes[handle];
    if (box->value != NULL)
        leave(store, handle);
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
    if (sv_slab_open(&fresh) != SV_OK)
        return SV_NOMEM;
    for (uint32_t number = 0; number < store->loads_size; number++)
        if (store->loads[number].serial != 0)
            store->loads[number].handle = SV_NONE;
    spill->slab = store->slab;
    store->slab = fresh;
    if (store->policy != NULL)
        store->policy->rule->clear(store->policy, &store->slab);
    sv_index_clear(&store->index);
    store->current = 0;
    store->refreshing = 0;
    store->moves++;
    store->epoch++;
    return SV_OK;
}

void sv_spill_drop(sv_spill *spill)
{
    sv_slab slab = spill->slab;
    spill->slab = (sv_slab){0};
    for (uint32_t handle = SV_SENTINELS; handle < slab.used; handle++) {
        Py_XDECREF((PyObject *)slab.boxes[handle].key);
        Py_XDECREF((PyObject *)slab.boxes[handle].value);
    }
    sv_slab_close(&slab);
}

/* ------------------------------------------------------------------ loads */

static void cut(sv_store *store, sv_load *load)
{
    if (store->slab.boxes[load->handle].value != NULL)
        store->refreshing--;
    load->handle = SV_NONE;
}

/* Cut every load that runs for this entry. */
static void fence_off(sv_store *store, sv_handle handle)
{
    sv_box *box = &store->slab.boxes[handle];
    if (box->value == NULL) {
        store->loads[box->prev].handle = SV_NONE;
        return;
    }
    for (uint32_t number = 0; store->refreshing > 0 && number < store->loads_size; number++)
        if (store->loads[number].serial != 0 && store->loads[number].handle == handle)
            cut(store, &store->loads[number]);
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
    load->flight = NULL;
    load->handle = handle;
    load->generation = sv_fork_generation;
    return number;
}

int sv_store_begin(sv_store *store, PyObject *key, uint64_t hash, uint64_t leader, uint32_t *number)
{
    int status = reserve(store);
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
    if (box->value == NULL)
        fence_off(store, handle);
    else
        store->refreshing++;
    *number = take_load(store, handle, leader);
    if (box->value == NULL)
        box->prev = *number;
    return SV_OK;
}

int sv_store_settle_steal(sv_store *store, uint32_t number, PyObject *value, sv_pouch *pouch)
{
    sv_load *load = &store->loads[number];
    sv_handle handle = load->handle;
    if (handle == SV_NONE) {
        sv_pouch_put_steal(pouch, value);
        return 0;
    }
    int refreshes = store->slab.boxes[handle].value != NULL;
    cut(store, load);
    if (value == NULL) {
        if (!refreshes) {
            store->slab.boxes[handle].prev = number; /* so that fence_off finds a load that is cut already */
            sv_store_remove(store, handle, pouch);
        }
        return 1;
    }
    if (refreshes) /* refreshes that began earlier have read something older */
        for (uint32_t other = 0; store->refreshing > 0 && other < store->loads_size; other++)
            if (store->loads[other].handle == handle && store->loads[other].serial != 0 &&
                store->loads[other].serial < load->serial)
                cut(store, &store->loads[other]);
    put_value(store, handle, value, pouch);
    return 1;
}

PyObject *sv_store_end(sv_store *store, uint32_t number)
{
    sv_load *load = &store->loads[number];
    PyObject *flight = load->flight;
    *load = (sv_load){.generation = store->loads_free};
    store->loads_free = number;
    return flight;
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
    return 0;
}

void sv_store_close(sv_store *store)
{
    sv_spill spill = {store->slab};
    sv_load *loads = store->loads;
    uint32_t size = store->loads_size;
    sv_index_close(&store->index);
    if (store->policy != NULL)
        store->policy->rule->close(store->policy);
    sv_free(store->policy);
    *store = (sv_store){0};
    sv_spill_drop(&spill);
    for (uint32_t number = 0; number < size; number++)
        Py_XDECREF(loads[number].flight);
    sv_free(loads);
}

size_t sv_store_bytes(const sv_store *store)
{
    return sv_index_bytes(&store->index) + store->slab.capacity * sizeof(sv_box) +
           store->loads_size * sizeof(sv_load) + (store->policy ? store->policy->rule->state_size : 0);
}

static const char *check_boxes(const sv_store *store)
{
    uint32_t with_value = 0, loading = 0;
    for (uint32_t handle = SV_SENTINELS; handle < store->slab.used; handle++) {
        const sv_box *box = &store->slab.boxes[handle];
        if (box->key == NULL) {
            if (box->hash != SV_HASH_NEVER || box->value != NULL)
                return "a free box is not empty";
        } else if (box->value != NULL) {
            with_value++;
        } else if (box->prev >= store->loads_size || store->loads[box->prev].handle != handle) {
            return "a loading entry has no load";
        } else {
            loading++;
        }
    }
    if (with_value != store->current)
        return "current does not count the entries";
    return with_value + loading == store->slab.live ? NULL : "live does not count the boxes";
}

static const char *check_loads(const sv_store *store)
{
    uint32_t free_numbers = 0, taken = 0, refreshing = 0;
    for (uint32_t at = store->loads_free; at != store->loads_size; at = store->loads[at].generation)
        if (at > store->loads_size || store->loads[at].serial != 0 || ++free_numbers > store->loads_size)
            return "the list of free loads is broken";
    for (uint32_t number = 0; number < store->loads_size; number++) {
        const sv_load *load = &store->loads[number];
        taken += load->serial != 0;
        if (load->handle == SV_NONE)
            continue;
        if (load->handle >= store->slab.used || store->slab.boxes[load->handle].key == NULL)
            return "a load names an entry that is not there";
        if (store->slab.boxes[load->handle].value != NULL)
            refreshing++;
        else if (store->slab.boxes[load->handle].prev != number)
            return "two loads claim one loading entry";
    }
    if (refreshing != store->refreshing)
        return "refreshing does not count the refreshes";
    return taken + free_numbers == store->loads_size ? NULL : "a load's number is lost";
}

static const char *check_order(const sv_store *store)
{
    uint32_t seen = 0;
    if (store->policy == NULL)
        return NULL;
    sv_handle after = SV_NONE;
    while ((after = store->policy->rule->walk(store->policy, &store->slab, after)) != SV_NONE)
        if (++seen > store->current || store->slab.boxes[after].value == NULL)
            return "the order holds what is no entry";
    return seen == store->current ? NULL : "the order misses entries";
}

const char *sv_store_check(const sv_store *store)
{
    if (store->maxsize != SV_UNBOUNDED && store->current > store->maxsize)
        return "more entries than maxsize";
    if (store->brim != UINT32_MAX && (store->brim != store->maxsize || store->policy->rule != &sv_lru_rule))
        return "brim is not where an exact LRU is full";
    if (!sv_index_check(&store->index, &store->slab))
        return "the index is broken";
    const char *wrong = check_boxes(store);
    if (wrong == NULL)
        wrong = check_loads(store);
    return wrong != NULL ? wrong : check_order(store);
}
