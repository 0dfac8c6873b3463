/* ttl_writes - what the tests of keys that expire, and of leases, write; time is a plain variable. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_TTL_WRITES_H
#define DUNLIN_TESTS_UNIT_ENGINE_TTL_WRITES_H

#include "engine/extension.h"
#include "engine/hash.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <string.h>

#define MS NS_PER_MS
#define TTL_TAG 7u

static const struct fixture_config ttl_small = {.quota_bytes = UINT64_C(4) << 20, .shard_count = 1};

/* The lcore's clock; the time of day is fixture.clock_ns. */
static uint64_t steady_ns;

static inline struct shard_write ttl_write(const struct fixture *f, uint8_t operation,
                                           const char *key, struct record_ttl *ttl)
{
    struct shard_write w = fixture_write_of(f, operation, key, (uint32_t)strlen(key));
    w.origin.tag = TTL_TAG;
    if (ttl->ttl_ns != 0) {
        w.extension = ttl;
        w.extension_length = sizeof *ttl;
        w.steady_ns = steady_ns;
    }
    return w;
}

static inline int ttl_put(struct fixture *f, const char *key, uint64_t ttl_ns)
{
    struct record_ttl ttl = extension_ttl_make(ttl_ns);
    struct shard_write w = ttl_write(f, RING_PUT, key, &ttl);
    w.value = "value";
    w.value_length = 5;
    return shard_write(f->shard, &w);
}

/* Commit all, and see what the key is in place. */
static inline bool ttl_is_there(struct fixture *f, const char *key)
{
    struct read_found found;
    fixture_commit(f);
    fixture_answers(f);
    return fixture_read(f, key, (uint32_t)strlen(key), &found) == 1;
}

/* One look of the leader. */
static inline uint64_t ttl_look(struct fixture *f)
{
    uint64_t due = shard_expire(f->shard, steady_ns, f->clock_ns);
    fixture_commit(f);
    fixture_answers(f);
    return due;
}

/* Looks until nothing more is due now. */
static inline void ttl_look_all(struct fixture *f)
{
    for (uint32_t i = 0; ttl_look(f) <= steady_ns; i++) {
        CU_ASSERT_FATAL(i < 10000);
        (void)fixture_maintain(f);
    }
}

/* All of the leader's log, as far as the follower lacks it. */
static inline void ttl_land(struct fixture *leader, struct fixture *follower)
{
    struct shard *to = follower->shard;
    shard_grant(to, UINT64_C(1) << 40);
    for (uint32_t i = 0; to->log.lsn_end != leader->shard->log.lsn_end; i++) {
        uint64_t available = 0;
        CU_ASSERT_FATAL(i < 100000);
        const uint8_t *bytes = log_bytes_at(&leader->shard->log, to->log.lsn_end, &available);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        int result = land_bytes(to, to->log.lsn_end, bytes, available);
        CU_ASSERT_FATAL(result >= 0 || result == -EAGAIN);
        result = land_check(to);
        CU_ASSERT_FATAL(result >= 0 || result == -EAGAIN);
        if (result == -EAGAIN)
            fixture_commit(follower);
        (void)fixture_maintain(follower);
    }
    fixture_commit(follower);
    fixture_answers(follower);
}

/* The follower leads from here on, in a new epoch. */
static inline void ttl_lead(struct fixture *f, uint64_t epoch)
{
    CU_ASSERT_EQUAL_FATAL(shard_epoch_begin(f->shard, epoch, f->clock_ns), 0);
    fixture_commit(f);
}

#endif
