#include "ledger.h"

#include <math.h>

#include "flight.h"
#include "pure/block.h"

PyObject *sv_cause_names[SV_CAUSES];
static const char *const causes[SV_CAUSES] = {"evicted", "expired", "replaced", "deleted", "invalidated", "cleared"};

#define LONGEST (UINT64_C(1) << 61)      /* 73 years are for ever */

int sv_ledger_setup(void)
{
    for (int cause = 0; cause < SV_CAUSES; cause++)
        if (sv_cause_names[cause] == NULL && (sv_cause_names[cause] = PyUnicode_InternFromString(causes[cause])) == NULL)
            return SV_RAISED;
    return SV_OK;
}

/* ------------------------------------------------------------------ birth and death */

void sv_ledger_open(sv_ledger *ledger, uint64_t now, uint64_t seed)
{
    *ledger = (sv_ledger){.maxweight = SV_UNBOUNDED, .chance = seed, .chance_born = sv_fork_generation};
    ledger->terms = (sv_terms){.ttl = SV_NEVER, .tti = SV_NEVER, .negative = SV_NEVER};
    sv_wheel_open(&ledger->wheel, now);
}

static void close_arrays(sv_ledger *ledger)
{
    sv_block_free(ledger->stays);
    sv_block_free(ledger->tagged);
    sv_block_free(ledger->weights);
    ledger->stays = NULL;
    ledger->tagged = NULL;
    ledger->weights = NULL;
    ledger->stays_room = ledger->tagged_room = ledger->weights_room = 0;
    ledger->stays_held = ledger->tagged_held = ledger->weights_held = 0;
}

void sv_ledger_close(sv_ledger *ledger)
{
    sv_ledger_forget(ledger);
    sv_wheel_close(&ledger->wheel);
    sv_tags_close(&ledger->tags);
    sv_free(ledger->seers);
    ledger->seers = NULL;
    ledger->seers_count = ledger->seers_room = 0;
    sv_free(ledger->load_times);
    sv_free(ledger->hit_times);
    ledger->load_times = ledger->hit_times = NULL;
    sv_free(ledger->fences);
    ledger->fences = NULL;
    Py_CLEAR(ledger->clock);
    Py_CLEAR(ledger->on_remove);
    Py_CLEAR(ledger->weigher);
    Py_CLEAR(ledger->read_fresh);
}

int sv_ledger_traverse(sv_ledger *ledger, visitproc visit, void *arg)
{
    Py_VISIT(ledger->clock);
    Py_VISIT(ledger->on_remove);
    Py_VISIT(ledger->weigher);
    Py_VISIT(ledger->read_fresh);
    return 0; /* tags refer to strings only */
}

size_t sv_ledger_bytes(const sv_ledger *ledger)
{
    return sizeof(sv_ledger) + sv_wheel_bytes(&ledger->wheel) + ledger->stays_held * sizeof(sv_stay) +
           ledger->tagged_held * sizeof(sv_tagged) + ledger->weights_held * sizeof(uint32_t) +
           ((ledger->load_times != NULL) + (size_t)(ledger->hit_times != NULL)) * sizeof(sv_histogram);
}

/* ------------------------------------------------------------------ a Freshness, in nanoseconds */

static uint64_t nanoseconds(double seconds)
{
    double exact = seconds * 1e9;
    return exact < (double)LONGEST ? (uint64_t)(exact + 0.5) : SV_NEVER;
}

/* A duration's attribute: None is `missing`. */
static int read_duration(PyObject *fresh, const char *name, uint64_t missing, uint64_t *into)
{
    PyObject *word = PyObject_GetAttrString(fresh, name);
    if (word == NULL)
        return SV_RAISED;
    double seconds = word == Py_None ? -1.0 : PyFloat_AsDouble(word);
    Py_DECREF(word);
    if (seconds == -1.0 && PyErr_Occurred())
        return SV_RAISED;
    *into = seconds < 0 ? missing : nanoseconds(seconds);
    return SV_OK;
}

static int read_share(PyObject *fresh, const char *name, double *into)
{
    PyObject *word = PyObject_GetAttrString(fresh, name);
    if (word == NULL)
        return SV_RAISED;
    *into = PyFloat_AsDouble(word);
    Py_DECREF(word);
    return *into == -1.0 && PyErr_Occurred() ? SV_RAISED : SV_OK;
}

int sv_terms_read(PyObject *fresh, sv_terms *terms)
{
    sv_terms read = {.ttl = SV_NEVER, .tti = SV_NEVER, .negative = SV_NEVER};
    if (fresh != Py_None &&
        (read_duration(fresh, "ttl", SV_NEVER, &read.ttl) != SV_OK ||
         read_duration(fresh, "tti", SV_NEVER, &read.tti) != SV_OK ||
         read_duration(fresh, "stale_while_revalidate", 0, &read.swr) != SV_OK ||
         read_duration(fresh, "stale_if_error", 0, &read.sie) != SV_OK ||
         read_duration(fresh, "negative_ttl", SV_NEVER, &read.negative) != SV_OK ||
         read_share(fresh, "jitter", &read.jitter) != SV_OK || read_share(fresh, "early", &read.early) != SV_OK))
        return SV_RAISED;
    *terms = read;
    return SV_OK;
}

/* ------------------------------------------------------------------ time */

SV_NOINLINE int sv_ledger_ask_clock(const sv_ledger *ledger, uint64_t *now)
{
    PyObject *clock = Py_NewRef(ledger->clock), *answer = PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    if (answer == NULL)
        return SV_RAISED;
    double seconds = PyFloat_AsDouble(answer);
    if (seconds == -1.0 && PyErr_Occurred()) {
        Py_DECREF(answer);
        return SV_RAISED;
    }
    if (!(fabs(seconds) < 4e9)) {
        PyErr_Format(PyExc_ValueError, "clock returned %R; it must return seconds, within 4e9 of zero", answer);
        Py_DECREF(answer);
        return SV_RAISED;
    }
    Py_DECREF(answer);
    *now = SV_CLOCK_START + (uint64_t)(int64_t)llround(seconds * 1e9);
    return SV_OK;
}

int sv_ledger_now_precisely(const sv_ledger *ledger, uint64_t *now)
{
    if (ledger->clock != NULL)
        return sv_ledger_ask_clock(ledger, now);
    *now = sv_clock_precise();
    return SV_OK;
}

double sv_ledger_seconds(uint64_t now) { return (double)((int64_t)now - (int64_t)SV_CLOCK_START) * 1e-9; }

/* ------------------------------------------------------------------ arrays by handle */

static int grow(void *array, uint32_t *room, uint32_t *held, uint32_t boxes, size_t size)
{
    void **place = array;
    if (SV_LIKELY(boxes <= *room))
        return SV_OK;
    if (boxes > *held) {
        uint64_t wanted = (uint64_t)boxes + boxes / 32;
        wanted = wanted < UINT32_MAX ? wanted : UINT32_MAX;
        void *grown = sv_block_resize(*place, (size_t)wanted * size);
        if (grown == NULL)
            return SV_NOMEM;
        *place = grown;
        *held = (uint32_t)wanted;
    }
    memset((char *)*place + (size_t)*room * size, 0, (size_t)(boxes - *room) * size);
    *room = boxes;
    return SV_OK;
}

/* Entries from before the first stay: what the wheel knows of them becomes their stay. */
static int grow_stays(sv_ledger *ledger, uint32_t boxes)
{
    uint32_t before = ledger->stays_room;
    if (boxes <= before)
        return SV_OK;
    if (grow(&ledger->stays, &ledger->stays_room, &ledger->stays_held, boxes, sizeof(sv_stay)) != SV_OK)
        return SV_NOMEM;
    for (uint32_t handle = before; handle < boxes; handle++)
        ledger->stays[handle] =
            (sv_stay){.fresh_until = sv_wheel_deadline(&ledger->wheel, handle), .tti = SV_NEVER};
    return SV_OK;
}

int sv_ledger_reserve(sv_ledger *ledger, uint32_t boxes, const sv_terms *terms, const sv_gathered *tags)
{
    int status = SV_OK;
    if (sv_terms_have_an_end(terms) || ledger->wheel.room > 0)
        status = sv_wheel_reserve(&ledger->wheel, boxes);
    if (status == SV_OK && (ledger->stays != NULL || sv_terms_need_a_stay(terms)))
        status = grow_stays(ledger, boxes);
    if (status == SV_OK && (ledger->tagged != NULL || tags != NULL))
        status = grow(&ledger->tagged, &ledger->tagged_room, &ledger->tagged_held, boxes, sizeof(sv_tagged));
    if (status == SV_OK && ledger->maxweight != SV_UNBOUNDED)
        status = grow(&ledger->weights, &ledger->weights_room, &ledger->weights_held, boxes, sizeof(uint32_t));
    return status;
}

/* ------------------------------------------------------------------ entries */

static uint64_t later(uint64_t time, uint64_t by) { return by >= LONGEST || time >= SV_NEVER - by ? SV_NEVER : time + by; }

/* Children of a process that stored the same would draw the same, and expire together. */
static void seed_anew_after_fork(sv_ledger *ledger)
{
    if (SV_LIKELY(ledger->chance_born == sv_fork_generation))
        return;
    ledger->chance_born = sv_fork_generation;
    ledger->chance ^= sv_fork_seed;
}

static uint64_t lifetime(sv_ledger *ledger, const sv_terms *terms, int is_none)
{
    uint64_t ttl = is_none && terms->negative != SV_NEVER ? terms->negative : terms->ttl;
    if (ttl == SV_NEVER || terms->jitter <= 0)
        return ttl;
    seed_anew_after_fork(ledger);
    double share = (double)(sv_chance(&ledger->chance) >> 11) * 0x1p-53 * terms->jitter;
    return ttl - (uint64_t)((double)ttl * share);
}

static void set_deadline(sv_ledger *ledger, sv_handle handle, uint64_t deadline, uint64_t now)
{
    uint32_t none = 0;
    if (ledger->wheel.count == 0) /* an empty wheel is turned to the present: deadlines are short from there */
        sv_wheel_next(&ledger->wheel, now, &none);
    sv_wheel_set(&ledger->wheel, handle, deadline);
}

static void keep_dates(sv_ledger *ledger, uint64_t now)
{
    if (!ledger->dated)
        ledger->dated_at = now;
    SV_POST(ledger->dated, 1);
}

void sv_ledger_date(sv_ledger *ledger, sv_handle handle, const sv_terms *terms, uint64_t now, int is_none)
{
    uint64_t fresh_until = later(now, lifetime(ledger, terms, is_none)), leaves = fresh_until;
    if (handle < ledger->stays_room) {
        sv_stay *stay = &ledger->stays[handle];
        stay->fresh_until = fresh_until;
        stay->keep = terms->swr > terms->sie ? terms->swr : terms->sie;
        stay->tti = terms->tti;
        leaves = later(fresh_until, stay->keep);
        uint64_t idle = later(now, terms->tti);
        leaves = idle < leaves ? idle : leaves;
    }
    if (handle < ledger->wheel.room)
        set_deadline(ledger, handle, leaves, now);
    if (leaves != SV_NEVER || ledger->stays != NULL)
        keep_dates(ledger, now);
}

sv_gathered *sv_ledger_write(sv_ledger *ledger, sv_handle handle, sv_line *line, int is_none)
{
    sv_ledger_date(ledger, handle, line->terms, line->now, is_none);
    if (handle < ledger->stays_room)
        ledger->stays[handle].cost = line->cost;
    if (SV_UNLIKELY(line->late > 0))
        sv_ledger_spoil(ledger, handle, line->late < line->now ? line->now - line->late : 0);
    if (handle >= ledger->tagged_room)
        return NULL;
    sv_gathered *before = ledger->tagged[handle].tags;
    ledger->tagged[handle] = (sv_tagged){.tags = line->tags, .seen = line->seen};
    if (line->tags != NULL)
        keep_dates(ledger, line->now);
    line->tags = NULL;
    return before;
}

int sv_ledger_spoil(sv_ledger *ledger, sv_handle handle, uint64_t at)
{
    if (handle >= ledger->stays_room)
        return 0;
    sv_stay *stay = &ledger->stays[handle];
    if (at < stay->fresh_until)
        stay->fresh_until = at;
    if (stay->keep == 0)
        return 0;
    uint64_t leaves = later(stay->fresh_until, stay->keep);
    if (leaves >= sv_wheel_deadline(&ledger->wheel, handle))
        return 1;
    if (sv_wheel_reserve(&ledger->wheel, ledger->stays_room) != SV_OK)
        return 0;
    set_deadline(ledger, handle, leaves, at);
    keep_dates(ledger, at);
    return 1;
}

int sv_ledger_is_wrong(sv_ledger *ledger, sv_handle handle)
{
    if (handle >= ledger->tagged_room || ledger->tagged[handle].tags == NULL)
        return 0;
    sv_tagged *tagged = &ledger->tagged[handle];
    uint64_t at = 0;
    int moved = tagged->seen == ledger->tags.clock ? 0 : sv_tags_moved(tagged->tags, tagged->seen, &at);
    if (moved == 1 || (moved == 2 && !sv_ledger_spoil(ledger, handle, at)))
        return 1;
    tagged->seen = ledger->tags.clock;
    return 0;
}

SV_NEVER_INLINE sv_state sv_ledger_state_slowly(sv_ledger *ledger, sv_handle handle, uint64_t *now)
{
    if (sv_ledger_is_wrong(ledger, handle))
        return SV_WRONG;
    if (sv_ledger_is_past(ledger, sv_wheel_deadline(&ledger->wheel, handle), now))
        return SV_PAST;
    if (handle < ledger->stays_room && sv_ledger_is_past(ledger, ledger->stays[handle].fresh_until, now))
        return ledger->stays[handle].keep > 0 ? SV_STALE : SV_PAST;
    return SV_FRESH;
}

SV_NOINLINE void sv_ledger_idle_anew(sv_ledger *ledger, sv_handle handle, uint64_t now)
{
    const sv_stay *stay = &ledger->stays[handle];
    if (ledger->clock == NULL)
        now = sv_clock_precise();
    uint64_t leaves = later(stay->fresh_until, stay->keep), idle = later(now, stay->tti);
    if (sv_wheel_reserve(&ledger->wheel, ledger->stays_room) == SV_OK)
        sv_wheel_set(&ledger->wheel, handle, idle < leaves ? idle : leaves);
}

void sv_ledger_erase(sv_ledger *ledger, sv_handle handle)
{
    sv_wheel_cancel(&ledger->wheel, handle);
    if (handle < ledger->weights_room) {
        ledger->weight -= ledger->weights[handle];
        ledger->weights[handle] = 0;
    }
    if (handle < ledger->stays_room)
        ledger->stays[handle] = (sv_stay){.fresh_until = SV_NEVER, .tti = SV_NEVER};
    if (handle < ledger->tagged_room) {
        sv_tags_release_steal(ledger->tagged[handle].tags);
        ledger->tagged[handle].tags = NULL;
    }
}

void sv_ledger_forget(sv_ledger *ledger)
{
    for (uint32_t handle = 0; handle < ledger->tagged_room; handle++)
        sv_tags_release_steal(ledger->tagged[handle].tags);
    close_arrays(ledger);
    sv_wheel_clear(&ledger->wheel, ledger->wheel.time);
    ledger->weight = 0;
    SV_POST(ledger->departed, SV_NONE);
    ledger->departed_count = 0;
    ledger->unswept = 0;
    SV_POST(ledger->dated, 0);
}

void sv_ledger_depart(sv_ledger *ledger, sv_slab *slab, sv_handle handle, sv_cause cause)
{
    sv_ledger_erase(ledger, handle);
    slab->boxes[handle].prev = (uint32_t)cause;
    slab->boxes[handle].next = SV_NONE;
    if (ledger->departed == SV_NONE)
        SV_POST(ledger->departed, handle);
    else
        slab->boxes[ledger->departed_last].next = handle;
    ledger->departed_last = handle;
    ledger->departed_count++;
    ledger->gone[cause]++;
}

const char *sv_ledger_check(const sv_ledger *ledger, const sv_slab *slab)
{
    uint64_t weight = 0, carried = 0;
    uint32_t departed = 0;
    for (uint32_t handle = SV_SENTINELS; handle < ledger->weights_room; handle++)
        weight += ledger->weights[handle];
    if (weight != ledger->weight || (ledger->maxweight != SV_UNBOUNDED && weight > ledger->maxweight))
        return "the weights do not add up";
    for (sv_handle at = ledger->departed; at != SV_NONE; at = slab->boxes[at].next)
        if (at >= slab->used || slab->boxes[at].key == NULL || ++departed > ledger->departed_count)
            return "the chain of those who leave is broken";
    if (departed != ledger->departed_count)
        return "the chain of those who leave is miscounted";
    if (!sv_wheel_check(&ledger->wheel, slab->used))
        return "the wheel is broken";
    for (uint32_t handle = slab->used; handle < ledger->tagged_room; handle++)
        if (ledger->tagged[handle].tags != NULL)
            return "a box that was never used has tags";
    for (sv_handle handle = SV_SENTINELS; handle < slab->used; handle++) {
        if (handle < ledger->tagged_room && ledger->tagged[handle].tags != NULL)
            carried += (uint64_t)ledger->tagged[handle].tags->count;
        int has_line = sv_wheel_deadline(&ledger->wheel, handle) != SV_NEVER ||
                       (handle < ledger->tagged_room && ledger->tagged[handle].tags != NULL) ||
                       (handle < ledger->weights_room && ledger->weights[handle] != 0);
        if (has_line && slab->boxes[handle].value == NULL)
            return "what has no value has a line";
        if (!ledger->dated && sv_ledger_fresh_until(ledger, handle) != SV_NEVER)
            return "an entry has an end, and readers do not look";
    }
    return sv_tags_check(&ledger->tags, carried);
}
