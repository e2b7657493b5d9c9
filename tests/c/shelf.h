/* A slab, its index and an LRU order used together as a store uses them, beside a twin that is obviously right: an
 * array that says for every handle under which hash it is in, and a stamp that says when it was last touched.
 */
#ifndef SHELF_H
#define SHELF_H

#include "check.h"
#include "pure/index.h"
#include "pure/lru.h"

typedef struct shelf_twin {
    uint64_t hash;  /* SV_HASH_NEVER: not in */
    uint64_t touch; /* a larger one is younger */
} shelf_twin;

struct shelf {
    sv_slab slab;
    sv_index index;
    sv_policy policy;
    shelf_twin *twin; /* by handle */
    uint32_t room;
    uint32_t live;
    uint64_t clock;
};

int shelf_open(struct shelf *shelf, uint64_t seed); /* SV_OK or SV_NOMEM */
void shelf_close(struct shelf *shelf);

/* Put an entry in, whether or not its hash is there already. SV_OK or what the reservation said. */
int shelf_put(struct shelf *shelf, uint64_t hash, sv_handle *put);
void shelf_drop(struct shelf *shelf, sv_handle handle);
void shelf_touch(struct shelf *shelf, sv_handle handle);
sv_handle shelf_evict(struct shelf *shelf);

/* Give the place of an entry to another hash. */
void shelf_rehash(struct shelf *shelf, sv_handle handle, uint64_t hash);
void shelf_clear(struct shelf *shelf);

/* Any handle that is in; there is one. */
sv_handle shelf_any(const struct shelf *shelf);

/* CHECKs that the index offers exactly the twin's handles under this hash, each once. */
void shelf_check_hash(const struct shelf *shelf, uint64_t hash);

/* CHECKs all structures and that each entry is found; the order too where it is asked for. */
void shelf_check(const struct shelf *shelf);
void shelf_check_order(const struct shelf *shelf);

/* How many chunks a search for this hash reads, in both tables. */
uint32_t shelf_probe(const struct shelf *shelf, uint64_t hash);

/* Hashes that share chunk, way and tag under the first multiplier in every table of at most 2^20 chunks: what an
 * attacker who reads the source sends. */
uint64_t shelf_crafted(uint64_t number);

#endif
