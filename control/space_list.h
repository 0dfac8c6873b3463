/* space_list - the spaces that were made while the nodes run, beside those of their configurations: one value
 * that whoever decides for a cluster (or for a node alone) keeps, and its bytes.
 *
 * The value has a number that grows with every change.  A node that has carried out all changes up to a
 * number says so (made); so the one who decides knows when a space may be served, and when an id is free:
 *
 *   MAKING    nodes make it; nobody serves it
 *   SERVING   all nodes that are up have it
 *   DROPPING  nodes drop it; its name may be used again, its id not before space_list_forget
 *
 * No version of a space ever repeats: lsn_start of an entry lies at or above lsn_floor, and whoever drops one
 * raises lsn_floor above every LSN of its logs; epoch_floor likewise for those who number epochs.
 *
 * Pure.  The value belongs to its keeper; nothing here allocates.  Bytes are little-endian, the same on every
 * node, and end with a checksum: anything at all may be decoded.
 * Units: number, LSN, epoch as above; the rest as struct space_config has it. */
#ifndef DUNLIN_CONTROL_SPACE_LIST_H
#define DUNLIN_CONTROL_SPACE_LIST_H

#include "engine/space.h"

enum space_state { SPACE_MAKING = 1, SPACE_SERVING = 2, SPACE_DROPPING = 3 };

struct space_entry {
    struct space_config config;
    enum space_state state;
    uint64_t made;      /* number of the list when it was created: tells it from others of its id */
    uint64_t number;    /* of its last change */
    uint64_t lsn_start; /* where its logs begin */
};

struct space_list {
    uint64_t number; /* 0: nothing was ever made */
    uint64_t lsn_floor, epoch_floor;
    uint32_t count;
    struct space_entry entries[LIMIT_SPACES]; /* by id, ascending */
};

/* NULL if a list is one that these functions could have made, else what is wrong with it. */
const char *space_list_fault(const struct space_list *l);

/* The entry of a name, but for one that is being dropped; of an id, whatever it is.  NULL: there is none. */
const struct space_entry *space_list_find(const struct space_list *l, const char *name);
const struct space_entry *space_list_at(const struct space_list *l, uint32_t id);

/* A space of this policy; its id, or 0: the lowest that is free.  taken: bit id - 1 is set for those of the
 * configuration.  Returns the id, or with nothing changed
 *   -EEXIST  the name, or the id, is used (one that is being dropped is, too)
 *   -ENOSPC  no id is free, or the quota gives its shards too little (space_geometry)
 *   -EINVAL  a name or number that cannot be. */
MUST_USE int space_list_create(struct space_list *l, const struct space_config *config,
                               uint64_t lsn_start, uint64_t taken);
/* Another policy for the space of config->id: quota up to quota_max, history, session ttl, access.  Returns 0,
 * -ENOENT (not there, or being dropped), -EINVAL: something else differs, or is outside its limits; -ENOSPC as
 * above, -EDQUOT above quota_max. */
MUST_USE int space_list_alter(struct space_list *l, const struct space_config *config);
/* It may be served.  False: it is, or is not there. */
bool space_list_serve(struct space_list *l, uint32_t id);
/* Returns 0 or -ENOENT; its entry stays until it is forgotten. */
MUST_USE int space_list_drop(struct space_list *l, uint32_t id);
/* Every node has dropped it.  False: it is not being dropped. */
bool space_list_forget(struct space_list *l, uint32_t id);

/* ---- bytes ---- */

#define SPACE_LIST_BYTES_MAX 24576u
/* Returns how many, at most SPACE_LIST_BYTES_MAX. */
uint32_t space_list_encode(const struct space_list *l, uint8_t *bytes);
/* Returns 0 or -EBADMSG; *l is whole then, or of no use. */
MUST_USE int space_list_decode(struct space_list *l, const uint8_t *bytes, uint64_t length);

#endif
