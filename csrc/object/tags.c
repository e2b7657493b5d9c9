#include "tags.h"

#define FIRST_LIMIT 64
#define MOST_KEPT_FOR_LOADS 16384 /* then `floor` rises instead */

static PyTypeObject *tag_type = NULL;

static sv_tag *find(const sv_tags *tags, PyObject *name)
{
    return tags->table == NULL ? NULL : (sv_tag *)PyDict_GetItemWithError(tags->table, name);
}

static uint64_t moved_at(const sv_tag *tag) { return tag->hard > tag->soft[0].serial ? tag->hard : tag->soft[0].serial; }

static void move_softly(sv_tag *tag, uint64_t serial, uint64_t now)
{
    sv_softly *last = &tag->soft[SV_SOFT_KEPT - 1];
    if (last->serial != 0)
        last[-1].at = last->at; /* the oldest two become one */
    memmove(&tag->soft[1], &tag->soft[0], sizeof(tag->soft) - sizeof(tag->soft[0]));
    tag->soft[0] = (sv_softly){serial, now};
}

/* When the first soft invalidation after `seen` was; `at` is left alone if there was none. 1 or 0. */
static int moved_softly(const sv_tag *tag, uint64_t seen, uint64_t *at)
{
    int place = 0;
    while (place < SV_SOFT_KEPT && tag->soft[place].serial > seen)
        place++;
    if (place > 0)
        *at = tag->soft[place - 1].at;
    return place > 0;
}

/* How many tags nobody carries, but a running load may come back with. */
static Py_ssize_t count_for_loads(const sv_tags *tags, uint64_t oldest)
{
    PyObject *name, *tag;
    Py_ssize_t at = 0, count = 0;
    while (PyDict_Next(tags->table, &at, &name, &tag))
        count += ((sv_tag *)tag)->uses == 0 && moved_at((sv_tag *)tag) > oldest;
    return count;
}

/* Forget the tags that nobody carries and no running load can come back with. Without memory: later. */
static void prune(sv_tags *tags, uint64_t oldest)
{
    PyObject *name, *tag, *kept = PyDict_New();
    Py_ssize_t at = 0;
    if (kept == NULL) {
        PyErr_Clear();
        return;
    }
    if (count_for_loads(tags, oldest) > MOST_KEPT_FOR_LOADS)
        oldest = tags->floor = tags->clock; /* loads that began below it are fenced off */
    while (PyDict_Next(tags->table, &at, &name, &tag)) {
        int wanted = ((sv_tag *)tag)->uses > 0 || moved_at((sv_tag *)tag) > oldest;
        if (!wanted && moved_at((sv_tag *)tag) > tags->forgotten)
            tags->forgotten = moved_at((sv_tag *)tag);
        if (wanted && PyDict_SetItem(kept, name, tag) < 0) {
            PyErr_Clear();
            Py_DECREF(kept);
            return;
        }
    }
    tags->limit = PyDict_GET_SIZE(kept) < FIRST_LIMIT / 2 ? FIRST_LIMIT : PyDict_GET_SIZE(kept) * 2;
    Py_SETREF(tags->table, kept); /* names and tags: their end runs no Python code, but may let other threads in */
}

static sv_tag *find_or_make(sv_tags *tags, PyObject *name, uint64_t oldest)
{
    if (tags->table == NULL) {
        PyObject *table = PyDict_New(); /* may run the garbage collector, which may have made one meanwhile */
        if (table == NULL)
            return NULL;
        if (tags->table == NULL) {
            tags->table = table;
            tags->limit = FIRST_LIMIT;
        } else {
            Py_DECREF(table);
        }
    }
    sv_tag *tag = find(tags, name);
    if (tag == NULL && PyDict_GET_SIZE(tags->table) >= tags->limit) {
        prune(tags, oldest > tags->floor ? oldest : tags->floor);
        tag = find(tags, name); /* the same */
    }
    if (tag != NULL)
        return tag;
    tag = PyObject_New(sv_tag, tag_type);
    if (tag == NULL)
        return NULL;
    tag->name = Py_NewRef(name);
    tag->hard = tag->uses = 0;
    memset(tag->soft, 0, sizeof(tag->soft));
    int status = PyDict_SetItem(tags->table, name, (PyObject *)tag);
    Py_DECREF(tag); /* the table owns it now, or it is gone */
    return status < 0 ? NULL : tag;
}

static sv_gathered *gathered_new(Py_ssize_t most)
{
    size_t size = sizeof(sv_gathered) + (size_t)most * sizeof(sv_tag *);
    sv_gathered *gathered = sv_malloc(size);
    if (gathered == NULL)
        PyErr_NoMemory();
    else
        gathered->count = 0;
    return gathered;
}

sv_gathered *sv_tags_gather(sv_tags *tags, PyObject *names, uint64_t oldest)
{
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    if (oldest > tags->clock) /* a load that begins while the garbage collector runs below is no older than this */
        oldest = tags->clock;
    sv_gathered *gathered = gathered_new(count);
    for (Py_ssize_t i = 0; gathered != NULL && i < count; i++) {
        sv_tag *tag = find_or_make(tags, PyTuple_GET_ITEM(names, i), oldest);
        if (tag == NULL) {
            sv_tags_release_steal(gathered);
            return NULL;
        }
        tag->uses++;
        gathered->tags[gathered->count++] = tag;
    }
    return gathered;
}

void sv_tags_release_steal(sv_gathered *gathered)
{
    if (gathered == NULL)
        return;
    for (Py_ssize_t i = 0; i < gathered->count; i++)
        gathered->tags[i]->uses--;
    sv_free(gathered);
}

int sv_tags_invalidate(sv_tags *tags, PyObject *names, int soft, uint64_t now, uint64_t oldest)
{
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < count; i++) /* memory first: a tag that nobody carries matters to running loads only */
        if (oldest != UINT64_MAX && find_or_make(tags, PyTuple_GET_ITEM(names, i), oldest) == NULL)
            return SV_RAISED;
    tags->clock++;
    for (Py_ssize_t i = 0; i < count; i++) {
        sv_tag *tag = find(tags, PyTuple_GET_ITEM(names, i));
        if (tag == NULL) {
            if (oldest != UINT64_MAX) /* pruned while the others were made */
                tags->floor = tags->clock;
            tags->forgotten = tags->clock;
            continue;
        }
        if (soft)
            move_softly(tag, tags->clock, now);
        else
            tag->hard = tags->clock;
    }
    return SV_OK;
}

int sv_tags_moved(const sv_gathered *gathered, uint64_t seen, uint64_t *at)
{
    int moved = 0;
    for (Py_ssize_t i = 0; i < gathered->count; i++) {
        const sv_tag *tag = gathered->tags[i];
        if (tag->hard > seen)
            return 1;
        uint64_t when;
        if (moved_softly(tag, seen, &when) && (moved == 0 || when < *at)) {
            moved = 2;
            *at = when;
        }
    }
    return moved;
}

int sv_tags_fence(const sv_tags *tags, PyObject *names, uint64_t begun)
{
    if (names == Py_None || tags->clock == begun || PyTuple_GET_SIZE(names) == 0)
        return 0;
    if (begun < tags->floor)
        return 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        const sv_tag *tag = find(tags, PyTuple_GET_ITEM(names, i));
        if (tag != NULL && moved_at(tag) > begun)
            return 1;
    }
    return 0;
}

int sv_tags_recheck(const sv_tags *tags, PyObject *names, uint64_t begun, uint64_t joined)
{
    if (joined <= begun || names == Py_None || PyTuple_GET_SIZE(names) == 0)
        return 0;
    if (begun < tags->forgotten) /* the load is over, and a tag of its value may have been made anew since */
        return 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        const sv_tag *tag = find(tags, PyTuple_GET_ITEM(names, i));
        if (tag == NULL || moved_at(tag) > begun)
            return 1;
    }
    return 0;
}

Py_ssize_t sv_tags_copy_names(const sv_gathered *gathered, PyObject ***names)
{
    *names = NULL;
    if (gathered == NULL)
        return 0;
    PyObject **copied = sv_malloc((size_t)gathered->count * sizeof(PyObject *));
    if (copied == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < gathered->count; i++)
        copied[i] = Py_NewRef(gathered->tags[i]->name);
    *names = copied;
    return gathered->count;
}

const char *sv_tags_check(const sv_tags *tags, uint64_t carried)
{
    PyObject *name, *tag;
    Py_ssize_t at = 0;
    uint64_t uses = 0;
    while (tags->table != NULL && PyDict_Next(tags->table, &at, &name, &tag)) {
        if (((sv_tag *)tag)->name != name || moved_at((sv_tag *)tag) > tags->clock)
            return "a tag is not what the table says";
        uses += ((sv_tag *)tag)->uses;
    }
    return uses == carried || (tags->open > 0 && uses > carried) ? NULL : "the tags miscount those who carry them";
}

void sv_tags_close(sv_tags *tags) { Py_CLEAR(tags->table); }

/* ------------------------------------------------------------------ the type */

static void tag_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(((sv_tag *)self)->name);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyType_Slot tag_slots[] = {
    {Py_tp_doc, "A name that entries share. Internal."},
    {Py_tp_dealloc, tag_dealloc},
    {0, NULL},
};

static PyType_Spec tag_spec = {
    .name = "samovar._core.Tag",
    .basicsize = sizeof(sv_tag),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tag_slots,
};

int sv_tags_setup(void)
{
    if (tag_type == NULL)
        tag_type = (PyTypeObject *)PyType_FromSpec(&tag_spec);
    return tag_type == NULL ? SV_RAISED : SV_OK;
}
