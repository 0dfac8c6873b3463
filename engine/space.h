/* space - the policy of a named set of keys, and the geometry that follows from it. */
#ifndef DUNLIN_ENGINE_SPACE_H
#define DUNLIN_ENGINE_SPACE_H

#include "engine/base.h"
#include "engine/layout.h"

enum space_consistency {
    SPACE_STRONG = 1,
    SPACE_CAUSAL = 2,
    SPACE_EVENTUAL = 3,
    SPACE_AGGREGATE = 4,
};

enum space_durability {
    SPACE_DURABILITY_NONE = 0,
    SPACE_DURABILITY_ASYNC = 1,
    SPACE_DURABILITY_SYNC = 2
};

/* Who may do a thing: root and the daemon's own uid always; else everyone, or the uids named. */
struct space_access {
    bool everyone;
    uint32_t uid_count;
    uint32_t uids[LIMIT_ACCESS_RULES];
};

struct space_config {
    char name[LIMIT_NAME_BYTES];
    uint32_t id;               /* 1 .. LIMIT_SPACES; unique in the cluster */
    uint32_t consistency;      /* enum space_consistency */
    uint32_t durability;       /* enum space_durability */
    uint32_t shard_count;      /* 1 .. LIMIT_SHARDS */
    uint64_t quota_bytes;      /* all memory of the space on one node: log, links, index */
    uint64_t quota_max_bytes;  /* the quota may be raised up to here while it runs; 0: not at all */
    uint32_t partition_prefix; /* bytes of the key that name the shard; 0: {part} or all of it */
    uint32_t value_bytes_max;  /* 0: as much as fits */
    uint32_t sessions_max;     /* per shard, 1 .. LIMIT_SESSIONS */
    uint64_t session_ttl_ns;   /* a session without traffic for so long is forgotten */
    uint32_t history;          /* versions of a key that are kept, 1 .. LIMIT_VERSION_WALK */
    uint64_t history_ns;       /* and those that were replaced since so long; 0: by count alone */
    bool ordered;              /* keys are kept in order too, so that they can be scanned */
    struct space_access read, write;
};

/* Defaults of everything but name and id: strong, durability none, 16 shards, 256 MiB, ordered. */
void space_config_default(struct space_config *c);

/* Segment, chunk and frame counts for a policy.  Returns 0 or
 *   -EINVAL  a number is outside its limits (shards, sessions, value, history)
 *   -ENOSPC  the quota does not give every shard LIMIT_SHARD_FRAMES_MIN segments: raise it or use
 *            fewer shards; space_quota_min() says how much is enough. */
MUST_USE int space_geometry(const struct space_config *c, struct layout_geometry *g);
uint64_t space_quota_min(uint32_t shard_count);

/* Largest value that fits a record with the largest key in one segment of this geometry. */
uint32_t space_value_max(const struct space_config *c, const struct layout_geometry *g);

bool space_access_allows(const struct space_access *a, uint32_t uid, uint32_t own_uid);

#endif
