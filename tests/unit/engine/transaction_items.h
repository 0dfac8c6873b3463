/* transaction_items - what the tests of transactions write: parts under names that outlive them. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_TRANSACTION_ITEMS_H
#define DUNLIN_TESTS_UNIT_ENGINE_TRANSACTION_ITEMS_H

#include "engine/hash.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <string.h>

#define TRANSACTION_TAG 42u

static inline struct shard_item item_of(uint8_t operation, const char *key, const char *value)
{
    return (struct shard_item){
        .hash = hash_key(key, strlen(key)),
        .key = key,
        .value = value,
        .value_length = value != NULL ? (uint32_t)strlen(value) : 0,
        .key_length = (uint16_t)strlen(key),
        .operation = operation,
    };
}

static inline struct shard_item put(const char *key, const char *value)
{
    return item_of(RING_PUT, key, value);
}

static inline struct shard_item erase(const char *key)
{
    return item_of(RING_DELETE, key, NULL);
}

static inline struct shard_item only_if(struct shard_item item, uint64_t expected)
{
    item.compare = true;
    item.expected_lsn = expected;
    return item;
}

static inline struct shard_item check(const char *key, uint64_t expected)
{
    return only_if(item_of(RING_NOP, key, NULL), expected);
}

static inline struct shard_transaction transaction(const struct shard_item *items, uint32_t count)
{
    return (struct shard_transaction){
        .origin = {.operation = RING_PUT, .tag = TRANSACTION_TAG},
        .items = items,
        .count = count,
        .session_slot = SESSION_NONE,
    };
}

/* A list of parts, and how many it has. */
#define ITEMS_OF(...)                                                                              \
    (const struct shard_item[]){__VA_ARGS__},                                                      \
        (uint32_t)(sizeof((const struct shard_item[]){__VA_ARGS__}) / sizeof(struct shard_item))

static inline int transaction_try(struct fixture *f, const struct shard_item *items, uint32_t count)
{
    struct shard_transaction t = transaction(items, count);
    return shard_transaction(f->shard, &t);
}

/* Carry it out, commit, and take the one answer; returns its status. */
static inline uint32_t transaction_done(struct fixture *f, struct shard_answer *answer,
                                        const struct shard_item *items, uint32_t count)
{
    CU_ASSERT_EQUAL_FATAL(transaction_try(f, items, count), 0);
    fixture_commit(f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f->shard, answer));
    CU_ASSERT_EQUAL(answer->origin.tag, TRANSACTION_TAG);
    struct shard_answer another;
    CU_ASSERT_FALSE(shard_answer_next(f->shard, &another));
    return answer->status;
}

/* LSN of the newest committed version; 0: no such key. */
static inline uint64_t version_of(struct fixture *f, const char *key)
{
    struct read_found found;
    int result = fixture_read(f, key, (uint32_t)strlen(key), &found);
    return result == 1 ? found.lsn : 0;
}

static inline bool fixture_holds(struct fixture *f, const char *key, const char *value)
{
    struct read_found found;
    char bytes[64];
    if (fixture_read(f, key, (uint32_t)strlen(key), &found) != 1)
        return false;
    read_copy(&found, bytes, sizeof bytes);
    return found.value_length == strlen(value) && memcmp(bytes, value, strlen(value)) == 0;
}

/* So many records of such values, under names that start with a number. */
static inline struct shard_item *many(uint32_t first, uint32_t count, uint32_t length)
{
    static struct shard_item items[LIMIT_TRANSACTION_RECORDS];
    static char names[LIMIT_TRANSACTION_RECORDS][32];
    static uint8_t value[1u << LIMIT_SEGMENT_SHIFT_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key_length = fixture_key(first + i, names[i]);
        items[i] = (struct shard_item){
            .hash = hash_key(names[i], key_length),
            .key = names[i],
            .key_length = (uint16_t)key_length,
            .value = value,
            .value_length = length,
            .operation = RING_PUT,
        };
    }
    return items;
}

#endif
