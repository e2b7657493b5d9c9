/* The whole structure of a store, validated. O(n); for tests. */
#include "store.h"

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
    uint32_t departed = store->ledger == NULL ? 0 : store->ledger->departed_count;
    if (with_value != store->current + departed)
        return "current does not count the entries";
    return with_value + loading == store->slab.live ? NULL : "live does not count the boxes";
}

static const char *check_loads(const sv_store *store)
{
    uint32_t free_numbers = 0, taken = 0, refreshing = 0, named = 0;
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
        if (store->slab.boxes[load->handle].value != NULL) {
            refreshing++;
            named += store->ledger != NULL && load->handle < store->ledger->stays_room &&
                     store->ledger->stays[load->handle].load == number + 1;
        } else if (store->slab.boxes[load->handle].prev != number) {
            return "two loads claim one loading entry";
        }
    }
    if (refreshing != store->refreshing || refreshing - named != store->unnamed)
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
    sv_slab in = store->slab; /* who departs is in the slab only */
    if (store->ledger != NULL)
        in.live -= store->ledger->departed_count;
    if (!sv_index_check(&store->index, &in))
        return "the index is broken";
    const char *wrong = store->ledger == NULL ? NULL : sv_ledger_check(store->ledger, &store->slab);
    if (wrong == NULL)
        wrong = check_boxes(store);
    if (wrong == NULL)
        wrong = check_loads(store);
    return wrong != NULL ? wrong : check_order(store);
}
