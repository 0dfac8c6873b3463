#include "engine/agent/agent.h"

#include "engine/extension.h"
#include "engine/hash.h"

#include <stdlib.h>
#include <string.h>

/* ---- judging ---- */

static int check_condition(const struct dunlin_condition *c)
{
    if (c->compare < DUNLIN_COMPARE_VERSION || c->compare > DUNLIN_COMPARE_TOKEN)
        return -EINVAL;
    return get_check_key(c->key, c->key_length);
}

/* The nth of the writes has the key of one before it. */
static bool is_twice(const struct dunlin_write *writes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (writes[i].key_length == writes[n].key_length &&
            memcmp(writes[i].key, writes[n].key, writes[n].key_length) == 0)
            return true;
    return false;
}

static int check_branch(const struct dunlin_write *writes, size_t count)
{
    if (writes == NULL && count != 0)
        return -EINVAL;
    if (count > LIMIT_TRANSACTION_RECORDS)
        return -EMSGSIZE;
    for (size_t i = 0; i < count; i++) {
        int error = agent_write_check(&writes[i]);
        if (error != 0)
            return error;
        if (writes[i].compare != 0 || is_twice(writes, i))
            return -EINVAL;
    }
    return 0;
}

static int check(const struct dunlin_space *space, const struct dunlin_transaction *t)
{
    if (space == NULL || t == NULL || (t->conditions == NULL && t->condition_count != 0))
        return -EINVAL;
    int error = check_branch(t->then_writes, t->then_count);
    if (error == 0)
        error = check_branch(t->else_writes, t->else_count);
    if (error == 0 && t->condition_count > LIMIT_TRANSACTION_RECORDS)
        error = -EMSGSIZE;
    for (size_t i = 0; i < t->condition_count && error == 0; i++)
        error = check_condition(&t->conditions[i]);
    if (error != 0)
        return error;
    size_t count = t->condition_count + t->then_count + t->else_count;
    return count == 0 ? -EINVAL : count > LIMIT_TRANSACTION_RECORDS ? -EMSGSIZE : 0;
}

/* ---- packing ---- */

/* What the item of a write carries behind its key. */
static uint32_t payload_of(const struct dunlin_write *w, const void **bytes)
{
    *bytes = w->operation == DUNLIN_INCREMENT ? (const void *)&w->delta : w->value;
    return w->operation == DUNLIN_INCREMENT ? (uint32_t)sizeof w->delta : (uint32_t)w->value_length;
}

/* What it carries in front of its key. */
static uint16_t ttl_bytes(const struct dunlin_write *w)
{
    return w->ttl_ns != 0 ? (uint16_t)sizeof(struct record_ttl) : 0;
}

static uint8_t *put_condition(uint8_t *at, const struct dunlin_condition *c)
{
    const struct ring_item item = {
        .section = RING_SECTION_COMPARE,
        .operation = RING_NOP,
        .compare = (uint8_t)c->compare,
        .key_length = (uint16_t)c->key_length,
        .expected = c->expected,
    };
    memcpy(at, &item, sizeof item);
    return ring_put_padded(at + sizeof item, c->key, c->key_length);
}

static uint8_t *put_write(uint8_t *at, enum ring_section section, const struct dunlin_write *w)
{
    const void *bytes;
    const struct record_ttl ttl = extension_ttl_make(w->ttl_ns);
    const struct ring_item item = {
        .section = (uint8_t)section,
        .operation = agent_write_operation(w),
        .key_length = (uint16_t)w->key_length,
        .extension_length = ttl_bytes(w),
        .value_length = payload_of(w, &bytes),
    };
    memcpy(at, &item, sizeof item);
    at = ring_put_padded(at + sizeof item, &ttl, item.extension_length);
    at = ring_put_padded(at, w->key, w->key_length);
    return ring_put_padded(at, bytes, item.value_length);
}

static uint64_t branch_bytes(const struct dunlin_write *writes, size_t count)
{
    uint64_t bytes = 0;
    const void *ignored;
    for (size_t i = 0; i < count; i++)
        bytes += ring_item_bytes(writes[i].key_length, payload_of(&writes[i], &ignored)) +
                 ttl_bytes(&writes[i]);
    return bytes;
}

/* Make what travels; it is freed by the caller.  Returns 0, -EINVAL (there is nothing in it),
 * -EMSGSIZE or -ENOMEM. */
static int pack(const struct dunlin_transaction *t, struct agent_wanted *wanted)
{
    uint64_t bytes =
        branch_bytes(t->then_writes, t->then_count) + branch_bytes(t->else_writes, t->else_count);
    for (size_t i = 0; i < t->condition_count; i++)
        bytes += ring_item_bytes(t->conditions[i].key_length, 0);
    if (bytes == 0 || bytes > LIMIT_TRANSACTION_BYTES)
        return bytes == 0 ? -EINVAL : -EMSGSIZE;
    uint8_t *at = malloc(bytes);
    if (at == NULL)
        return -ENOMEM;
    wanted->transaction = t;
    wanted->packed = at;
    wanted->packed_length = (uint32_t)bytes;
    for (size_t i = 0; i < t->condition_count; i++)
        at = put_condition(at, &t->conditions[i]);
    for (size_t i = 0; i < t->then_count; i++)
        at = put_write(at, RING_SECTION_THEN, &t->then_writes[i]);
    for (size_t i = 0; i < t->else_count; i++)
        at = put_write(at, RING_SECTION_ELSE, &t->else_writes[i]);
    return 0;
}

/* ---- the shard of all keys ---- */

/* Adds a key: 0, or -EXDEV: it belongs to another shard than those before it. */
static int shard_of(const struct dunlin_space *space, const void *key, size_t length,
                    uint32_t *shard)
{
    uint32_t one = hash_shard(key, length, hash_key(key, length), space->read.partition_prefix,
                              space->read.geometry.shard_count);
    if (*shard != UINT32_MAX && *shard != one)
        return -EXDEV;
    *shard = one;
    return 0;
}

static int shard_of_branch(const struct dunlin_space *space, const struct dunlin_write *writes,
                           size_t count, uint32_t *shard)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        error = shard_of(space, writes[i].key, writes[i].key_length, shard);
        if (error == 0 && writes[i].value_length > space->value_bytes_max)
            error = -EMSGSIZE;
    }
    return error;
}

int agent_transaction_shard(const struct dunlin_space *space, const struct dunlin_transaction *t,
                            uint32_t *shard)
{
    *shard = UINT32_MAX;
    int error = shard_of_branch(space, t->then_writes, t->then_count, shard);
    if (error == 0)
        error = shard_of_branch(space, t->else_writes, t->else_count, shard);
    for (size_t i = 0; i < t->condition_count && error == 0; i++)
        error = shard_of(space, t->conditions[i].key, t->conditions[i].key_length, shard);
    return error;
}

/* ---- the calls ---- */

static int begin(const struct dunlin_space *space, const struct dunlin_transaction *t,
                 struct agent_wanted *wanted)
{
    *wanted = (struct agent_wanted){.packed = NULL};
    int error = check(space, t);
    return error != 0 ? error : pack(t, wanted);
}

static int end(const struct agent_wanted *wanted, int error, const struct agent_outcome *outcome,
               struct dunlin_transaction_result *result)
{
    free(wanted->packed);
    if (result != NULL)
        *result = (struct dunlin_transaction_result){
            .branch = (int)outcome->number,
            .version = outcome->version,
        };
    return error;
}

int dunlin_transaction(struct dunlin_space *space, const struct dunlin_transaction *transaction,
                       struct dunlin_transaction_result *result)
{
    struct agent_wanted wanted;
    struct agent_outcome outcome = {.number = 0};
    int error = begin(space, transaction, &wanted);
    if (error == 0)
        error = agent_write_now(space, &wanted, &outcome);
    return end(&wanted, error, &outcome, result);
}

int dunlin_submit_transaction(struct dunlin_space *space,
                              const struct dunlin_transaction *transaction, uint64_t context)
{
    struct agent_wanted wanted;
    const struct agent_outcome none = {.number = 0};
    int error = begin(space, transaction, &wanted);
    wanted.context = context;
    if (error == 0)
        error = agent_write_submit(space, &wanted);
    return end(&wanted, error, &none, NULL);
}

int dunlin_retry_transaction(struct dunlin_space *space, const struct dunlin_write_id *id,
                             const struct dunlin_transaction *transaction,
                             struct dunlin_transaction_result *result)
{
    struct agent_wanted wanted;
    struct agent_outcome outcome = {.number = 0};
    int error = begin(space, transaction, &wanted);
    if (error == 0)
        error = agent_write_repeat(space, id, &wanted, &outcome);
    return end(&wanted, error, &outcome, result);
}
