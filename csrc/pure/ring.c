#include "ring.h"

#include "hash.h"
#include "md5.h"
#include "place.h"

#include <math.h>

#define GROUP 32u        /* places that are looked for side by side */
#define FEW 16u          /* nodes that are told apart by looking at each */
#define LABEL_MOST 256u  /* "name-i" up to here needs no memory */

/* ------------------------------------------------------------------ the points of a node */

SV_INLINE uint64_t xxh3_point(uint64_t identity, uint32_t number)
{
    uint8_t bytes[8];
    sv_write64(bytes, number);
    return sv_xxh3(bytes, sizeof(bytes), identity);
}

static int ketama_points(const sv_ring_node *node, uint64_t *points)
{
    size_t dash = node->length + 1;
    char few[LABEL_MOST], *label = few;
    if (dash + SV_DECIMAL_MOST > sizeof(few) && (label = sv_malloc(dash + SV_DECIMAL_MOST)) == NULL)
        return SV_NOMEM;
    memcpy(label, node->name, node->length);
    label[node->length] = '-';
    for (uint32_t i = 0; i < node->points / 4; i++) {
        uint8_t digest[16];
        sv_md5(label, dash + sv_decimal(i, label + dash), digest);
        for (unsigned part = 0; part < 4; part++)
            points[4 * i + part] = (uint64_t)sv_read32(digest + 4 * part) << 32;
    }
    if (label != few)
        sv_free(label);
    return SV_OK;
}

static int points_of(sv_ring_kind kind, const sv_ring_node *node, uint64_t identity, uint64_t *points)
{
    if (kind == SV_RING_KETAMA)
        return ketama_points(node, points);
    for (uint32_t i = 0; i < node->points; i++)
        points[i] = xxh3_point(identity, i);
    return SV_OK;
}

SV_INLINE uint64_t identity_of(const sv_ring_node *node) { return sv_xxh3(node->name, node->length, 0); }

void sv_ring_ketama_points(const double *weights, uint32_t count, uint32_t hashes, uint32_t *points)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i];
    for (uint32_t i = 0; i < count; i++) {
        float share = (float)weights[i] / (float)sum;
        float here = floorf((float)((double)share * (double)hashes * (double)(float)count));
        points[i] = 4 * (uint32_t)here;
    }
}

/* ------------------------------------------------------------------ memory */

/* Buckets for so many points: as many or up to twice as many, two at least. */
static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 1;
    while (bits < 31 && (UINT64_C(1) << bits) < count)
        bits++;
    return bits;
}

SV_INLINE uint32_t buckets_of(const sv_ring *ring) { return (uint32_t)(UINT64_C(1) << (64 - ring->shift)); }

/* Room for a ring, with nothing in it but what stands behind the last point. */
static int make_room(sv_ring *ring, sv_ring_kind kind, uint64_t count, uint32_t nodes)
{
    if (count > SV_RING_MOST)
        return SV_FULL;
    sv_ring made = {.count = (uint32_t)count, .nodes = nodes, .shift = 64 - bits_for((uint32_t)count), .kind = kind};
    size_t buckets = buckets_of(&made);
    size_t wide = (size_t)count + SV_RING_PAST + nodes, narrow = (size_t)count + 1 + buckets + 1 + nodes;
    made.points = sv_malloc(wide * sizeof(uint64_t) + narrow * sizeof(uint32_t));
    if (made.points == NULL)
        return SV_NOMEM;
    made.identities = made.points + count + SV_RING_PAST;
    made.owners = (uint32_t *)(made.identities + nodes);
    made.jump = made.owners + count + 1;
    made.tallies = made.jump + buckets + 1;
    for (uint32_t i = 0; i < SV_RING_PAST; i++)
        made.points[count + i] = UINT64_MAX;
    *ring = made;
    return SV_OK;
}

void sv_ring_close(sv_ring *ring)
{
    sv_free(ring->points);
    *ring = (sv_ring){.kind = ring->kind};
}

/* ------------------------------------------------------------------ building: one sort, by bucket */

/* Of two points, does the first come first? */
SV_INLINE int comes_first(const sv_ring *ring, uint64_t point, uint32_t owner, uint64_t other_point, uint32_t other)
{
    if (SV_LIKELY(point != other_point))
        return point < other_point;
    return ring->identities[owner] < ring->identities[other];
}

/* Turn counts per bucket, in jump[bucket + 1], into where each bucket begins. */
static void sum_up(sv_ring *ring)
{
    uint32_t buckets = buckets_of(ring), sum = 0;
    ring->jump[0] = 0;
    for (uint32_t bucket = 1; bucket <= buckets; bucket++)
        ring->jump[bucket] = sum += ring->jump[bucket];
}

/* Make the jump table from points that are sorted. */
static void index_points(sv_ring *ring)
{
    memset(ring->jump, 0, ((size_t)buckets_of(ring) + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < ring->count; i++)
        ring->jump[(ring->points[i] >> ring->shift) + 1]++;
    sum_up(ring);
}

/* Lay each point down in its bucket; jump[b] ends as the end of bucket b, which is where b + 1 begins. */
static void scatter(sv_ring *ring, const uint64_t *drawn)
{
    for (uint32_t node = 0; node < ring->nodes; node++)
        for (uint32_t i = 0; i < ring->tallies[node]; i++, drawn++) {
            uint32_t at = ring->jump[*drawn >> ring->shift]++;
            ring->points[at] = *drawn;
            ring->owners[at] = node;
        }
    memmove(ring->jump + 1, ring->jump, (size_t)buckets_of(ring) * sizeof(uint32_t));
    ring->jump[0] = 0;
}

/* Points lie in the right bucket, so that each goes down by a few steps at the most. */
static void sort_within_buckets(sv_ring *ring)
{
    for (uint32_t i = 1; i < ring->count; i++) {
        uint64_t point = ring->points[i];
        uint32_t owner = ring->owners[i], to = i;
        for (; to > 0 && comes_first(ring, point, owner, ring->points[to - 1], ring->owners[to - 1]); to--) {
            ring->points[to] = ring->points[to - 1];
            ring->owners[to] = ring->owners[to - 1];
        }
        ring->points[to] = point;
        ring->owners[to] = owner;
    }
}

static int draw(sv_ring *ring, const sv_ring_node *nodes, uint64_t *drawn)
{
    memset(ring->jump, 0, ((size_t)buckets_of(ring) + 1) * sizeof(uint32_t));
    for (uint32_t node = 0; node < ring->nodes; node++) {
        ring->identities[node] = identity_of(&nodes[node]);
        ring->tallies[node] = nodes[node].points;
        if (points_of(ring->kind, &nodes[node], ring->identities[node], drawn) != SV_OK)
            return SV_NOMEM;
        for (uint32_t i = 0; i < nodes[node].points; i++)
            ring->jump[(drawn[i] >> ring->shift) + 1]++;
        drawn += nodes[node].points;
    }
    return SV_OK;
}

int sv_ring_open(sv_ring *ring, sv_ring_kind kind, const sv_ring_node *nodes, uint32_t count)
{
    uint64_t points = 0;
    for (uint32_t node = 0; node < count; node++)
        points += nodes[node].points;
    sv_ring made = {.kind = kind};
    if (points > 0) {
        int status = make_room(&made, kind, points, count);
        if (status != SV_OK)
            return status;
        uint64_t *drawn = sv_malloc((size_t)points * sizeof(uint64_t));
        if (drawn == NULL || draw(&made, nodes, drawn) != SV_OK) {
            sv_free(drawn);
            sv_ring_close(&made);
            return SV_NOMEM;
        }
        sum_up(&made);
        scatter(&made, drawn);
        sv_free(drawn);
        sort_within_buckets(&made);
        made.owners[made.count] = made.owners[0];
    }
    *ring = made;
    return SV_OK;
}

/* ------------------------------------------------------------------ one node more, one node less */

static int by_place(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

/* The jump table of a ring that has `changed` (sorted) more points than `old`, or fewer. */
static void index_changed(sv_ring *ring, const sv_ring *old, const uint64_t *changed, uint32_t count, uint32_t more)
{
    if (ring->shift != old->shift) {
        index_points(ring);
        return;
    }
    uint32_t bucket = 0, buckets = buckets_of(ring), by = 0;
    for (uint32_t i = 0; i <= count; i++, by += more) { /* buckets that begin behind the i-th changed point */
        uint32_t end = i < count ? (uint32_t)(changed[i] >> ring->shift) : buckets;
        for (; bucket <= end; bucket++)
            ring->jump[bucket] = old->jump[bucket] + by;
    }
}

/* Copy the old points, and put each new one (sorted) before the first that it comes before. */
static void merge(sv_ring *ring, const sv_ring *old, const uint64_t *fresh, uint32_t count)
{
    uint32_t from = 0, node = old->nodes;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t until = sv_ring_search(old, fresh[i]);
        until = until < from ? from : until;
        while (until < old->count && comes_first(ring, old->points[until], old->owners[until], fresh[i], node))
            until++;
        memcpy(ring->points + from + i, old->points + from, (until - from) * sizeof(uint64_t));
        memcpy(ring->owners + from + i, old->owners + from, (until - from) * sizeof(uint32_t));
        ring->points[until + i] = fresh[i];
        ring->owners[until + i] = node;
        from = until;
    }
    memcpy(ring->points + from + count, old->points + from, (old->count - from) * sizeof(uint64_t));
    memcpy(ring->owners + from + count, old->owners + from, (old->count - from) * sizeof(uint32_t));
}

int sv_ring_with(sv_ring *ring, const sv_ring *old, const sv_ring_node *node)
{
    if (old->count == 0)
        return sv_ring_open(ring, old->kind, node, 1);
    sv_ring made;
    uint64_t *fresh = sv_malloc(node->points * sizeof(uint64_t)), identity = identity_of(node);
    if (fresh == NULL || points_of(old->kind, node, identity, fresh) != SV_OK) {
        sv_free(fresh);
        return SV_NOMEM;
    }
    int status = make_room(&made, old->kind, (uint64_t)old->count + node->points, old->nodes + 1);
    if (status == SV_OK) {
        qsort(fresh, node->points, sizeof(uint64_t), by_place);
        memcpy(made.identities, old->identities, old->nodes * sizeof(uint64_t));
        memcpy(made.tallies, old->tallies, old->nodes * sizeof(uint32_t));
        made.identities[old->nodes] = identity;
        made.tallies[old->nodes] = node->points;
        merge(&made, old, fresh, node->points);
        made.owners[made.count] = made.owners[0];
        index_changed(&made, old, fresh, node->points, 1);
        *ring = made;
    }
    sv_free(fresh);
    return status;
}

/* Copy the old points but those of `node`, which go to `gone`. */
static void filter(sv_ring *ring, const sv_ring *old, uint32_t node, uint64_t *gone)
{
    uint32_t to = 0, left = 0;
    for (uint32_t i = 0; i < old->count; i++) {
        uint64_t point = old->points[i];
        uint32_t owner = old->owners[i], stays = owner != node;
        if (SV_LIKELY(stays)) {
            ring->points[to] = point;
            ring->owners[to++] = owner - (owner > node);
        } else
            gone[left++] = point;
    }
}

int sv_ring_without(sv_ring *ring, const sv_ring *old, uint32_t node)
{
    sv_ring made = {.kind = old->kind};
    uint32_t fewer = old->tallies[node], after = old->nodes - node - 1;
    if (old->nodes > 1) {
        uint64_t *gone = sv_malloc(((size_t)fewer + 1) * sizeof(uint64_t));
        if (gone == NULL || make_room(&made, old->kind, old->count - fewer, old->nodes - 1) != SV_OK) {
            sv_free(gone);
            return SV_NOMEM;
        }
        memcpy(made.identities, old->identities, node * sizeof(uint64_t));
        memcpy(made.identities + node, old->identities + node + 1, after * sizeof(uint64_t));
        memcpy(made.tallies, old->tallies, node * sizeof(uint32_t));
        memcpy(made.tallies + node, old->tallies + node + 1, after * sizeof(uint32_t));
        filter(&made, old, node, gone);
        made.owners[made.count] = made.owners[0];
        index_changed(&made, old, gone, fewer, UINT32_MAX);
        sv_free(gone);
    }
    *ring = made;
    return SV_OK;
}

/* ------------------------------------------------------------------ finding */

void sv_ring_find_many(const sv_ring *ring, const uint64_t *places, size_t count, uint32_t *nodes)
{
    uint32_t at[GROUP];
    for (; count >= GROUP; count -= GROUP, places += GROUP, nodes += GROUP) {
        for (unsigned i = 0; i < GROUP; i++)
            SV_PREFETCH(&ring->jump[places[i] >> ring->shift]);
        for (unsigned i = 0; i < GROUP; i++) {
            at[i] = ring->jump[places[i] >> ring->shift];
            SV_PREFETCH(&ring->points[at[i]]);
            SV_PREFETCH(&ring->owners[at[i]]);
        }
        for (unsigned i = 0; i < GROUP; i++)
            nodes[i] = sv_ring_find(ring, places[i]);
    }
    for (size_t i = 0; i < count; i++)
        nodes[i] = sv_ring_find(ring, places[i]);
}

int64_t sv_ring_find_keys(const sv_ring *ring, const sv_column *keys, uint32_t *nodes)
{
    uint64_t places[16 * GROUP];
    uint8_t *room = NULL;
    size_t done = 0, told = 0;
    if (keys->kind == SV_COLUMN_TEXT && (room = sv_malloc(keys->width + 1)) == NULL)
        return SV_NOMEM;
    for (; done < keys->count; done += told) {
        size_t asked = keys->count - done < 16 * GROUP ? keys->count - done : 16 * GROUP;
        told = sv_places(ring->kind, keys, done, asked, room, places);
        sv_ring_find_many(ring, places, told, nodes + done);
        if (told < asked) {
            done += told;
            break;
        }
    }
    sv_free(room);
    return (int64_t)done;
}

/* Whether `node` is among those found: by looking at them, or in a table of bits where they are many. */
SV_INLINE int is_new(uint32_t node, const uint32_t *found, uint32_t count, uint64_t *bits)
{
    if (bits != NULL) {
        uint64_t bit = UINT64_C(1) << (node & 63), word = bits[node >> 6];
        bits[node >> 6] = word | bit;
        return (word & bit) == 0;
    }
    for (uint32_t i = 0; i < count; i++)
        if (found[i] == node)
            return 0;
    return 1;
}

int64_t sv_ring_walk(const sv_ring *ring, uint64_t place, uint32_t wanted, uint32_t *nodes)
{
    uint64_t *bits = NULL;
    wanted = wanted < ring->nodes ? wanted : ring->nodes;
    if (wanted > FEW && (bits = sv_calloc(ring->nodes / 64 + 1, sizeof(uint64_t))) == NULL)
        return SV_NOMEM;
    uint32_t found = 0, at = sv_ring_search(ring, place);
    for (uint32_t steps = 0; found < wanted && steps < ring->count; steps++, at++) {
        at = at < ring->count ? at : 0;
        if (is_new(ring->owners[at], nodes, found, bits))
            nodes[found++] = ring->owners[at];
    }
    sv_free(bits);
    return found;
}

/* ------------------------------------------------------------------ measuring the circle */

void sv_ring_shares(const sv_ring *ring, uint64_t *shares)
{
    memset(shares, 0, ring->nodes * sizeof(uint64_t));
    for (uint32_t i = 0; i < ring->count; i++)
        shares[ring->owners[i]] += ring->points[i] - ring->points[i > 0 ? i - 1 : ring->count - 1];
}

static int by_nodes(const void *a, const void *b)
{
    const sv_ring_move *first = a, *second = b;
    if (first->from != second->from)
        return first->from < second->from ? -1 : 1;
    return (first->to > second->to) - (first->to < second->to);
}

/* One move for each pair of nodes. */
static size_t fold_moves(sv_ring_move *moves, size_t count)
{
    size_t kept = 0;
    qsort(moves, count, sizeof(*moves), by_nodes);
    for (size_t i = 0; i < count; i++)
        if (kept > 0 && by_nodes(&moves[kept - 1], &moves[i]) == 0)
            moves[kept - 1].places += moves[i].places;
        else
            moves[kept++] = moves[i];
    return kept;
}

/* Sweep the places at which either ring has a point; between two of them neither ring changes its mind. */
static size_t sweep(const sv_ring *ring, const sv_ring *other, const uint32_t *same, sv_ring_move *moves)
{
    size_t count = 0;
    uint32_t i = 0, j = 0;
    uint64_t last = ring->points[ring->count - 1], last_other = other->points[other->count - 1];
    uint64_t before = last > last_other ? last : last_other;
    while (i < ring->count || j < other->count) {
        uint64_t a = ring->points[i], b = other->points[j]; /* behind the last one: the greatest there is */
        uint64_t place = j == other->count || (i < ring->count && a < b) ? a : b;
        uint32_t from = ring->owners[i], to = same[other->owners[j]];
        if (from != to) {
            if (count > 0 && moves[count - 1].from == from && moves[count - 1].to == to)
                moves[count - 1].places += place - before;
            else
                moves[count++] = (sv_ring_move){from, to, place - before};
        }
        before = place;
        while (i < ring->count && ring->points[i] == place)
            i++;
        while (j < other->count && other->points[j] == place)
            j++;
    }
    return count;
}

int64_t sv_ring_moves(const sv_ring *ring, const sv_ring *other, const uint32_t *same, sv_ring_move **moves)
{
    sv_ring_move *made = sv_malloc(((size_t)ring->count + other->count) * sizeof(*made));
    if (made == NULL)
        return SV_NOMEM;
    size_t count = fold_moves(made, sweep(ring, other, same, made));
    *moves = made;
    return (int64_t)count;
}

/* ------------------------------------------------------------------ the whole structure, for tests */

static int nodes_are_sound(const sv_ring *ring)
{
    uint64_t sum = 0;
    for (uint32_t node = 0; node < ring->nodes; node++) {
        uint32_t seen = 0;
        for (uint32_t i = 0; i < ring->count; i++)
            seen += ring->owners[i] == node;
        if (seen != ring->tallies[node])
            return 0;
        sum += seen;
    }
    return sum == ring->count;
}

int sv_ring_check(const sv_ring *ring)
{
    if (ring->points == NULL)
        return ring->count == 0 && ring->nodes == 0;
    for (uint32_t i = 0; i < ring->count; i++)
        if (ring->owners[i] >= ring->nodes ||
            (i > 0 && comes_first(ring, ring->points[i], ring->owners[i], ring->points[i - 1], ring->owners[i - 1])))
            return 0;
    for (uint32_t i = 0; i < SV_RING_PAST; i++)
        if (ring->points[ring->count + i] != UINT64_MAX)
            return 0;
    uint32_t bucket = 0, buckets = buckets_of(ring);
    for (uint32_t i = 0; i < ring->count; i++)
        for (; bucket <= ring->points[i] >> ring->shift; bucket++)
            if (ring->jump[bucket] != i)
                return 0;
    for (; bucket <= buckets; bucket++)
        if (ring->jump[bucket] != ring->count)
            return 0;
    return ring->owners[ring->count] == ring->owners[0] && nodes_are_sound(ring);
}
