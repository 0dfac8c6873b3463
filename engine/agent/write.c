#include "engine/agent/agent.h"

#include "engine/extension.h"
#include "engine/hash.h"

#include <string.h>

/* ---- a write as the caller means it, judged ---- */

uint8_t agent_write_operation(const struct dunlin_write *w)
{
    return w->operation == DUNLIN_PUT      ? RING_PUT
           : w->operation == DUNLIN_DELETE ? RING_DELETE
                                           : RING_INCREMENT;
}

int agent_write_check(const struct dunlin_write *w)
{
    if ((w->operation != DUNLIN_PUT && w->operation != DUNLIN_DELETE &&
         w->operation != DUNLIN_INCREMENT) ||
        (w->value == NULL && w->value_length != 0) ||
        (w->operation != DUNLIN_PUT && (w->value_length != 0 || w->ttl_ns != 0)) ||
        (w->ttl_ns != 0 && (w->ttl_ns < LIMIT_TTL_NS_MIN || w->ttl_ns > LIMIT_TTL_NS_MAX)))
        return -EINVAL;
    int error = get_check_key(w->key, w->key_length);
    if (error != 0)
        return error;
    return w->value_length > LIMIT_VALUE_BYTES ? -EMSGSIZE : 0;
}

static int check(const struct dunlin_space *space, const struct dunlin_write *w)
{
    return space == NULL || w == NULL ? -EINVAL : agent_write_check(w);
}

static struct ask_message message_of(const struct dunlin_space *space, const struct dunlin_write *w)
{
    uint64_t hash = hash_key(w->key, w->key_length);
    bool is_sum = w->operation == DUNLIN_INCREMENT;
    return (struct ask_message){
        .head = {.head = {.operation = agent_write_operation(w),
                          .flags = w->compare != 0 ? RING_FLAG_COMPARE : 0},
                 .space = (uint16_t)space->id,
                 .shard = hash_shard(w->key, w->key_length, hash, space->read.partition_prefix,
                                     space->read.geometry.shard_count),
                 .key_length = (uint16_t)w->key_length,
                 .extension_length = w->ttl_ns != 0 ? sizeof(struct record_ttl) : 0,
                 .expected_lsn = w->compare != 0 ? w->expected_lsn : 0,
                 .value_length = is_sum ? (uint32_t)sizeof w->delta : (uint32_t)w->value_length},
        .key = w->key,
        .value = is_sum ? (const void *)&w->delta : w->value,
        .ttl = extension_ttl_make(w->ttl_ns),
    };
}

static struct ask_message message_of_lease(const struct dunlin_space *space,
                                           const struct agent_lease *l)
{
    uint64_t hash = hash_key(l->key, l->key_length);
    return (struct ask_message){
        .head = {.head = {.operation = l->operation},
                 .space = (uint16_t)space->id,
                 .shard = hash_shard(l->key, l->key_length, hash, space->read.partition_prefix,
                                     space->read.geometry.shard_count),
                 .key_length = (uint16_t)l->key_length,
                 .extension_length = l->ttl_ns != 0 ? sizeof(struct record_ttl) : 0,
                 .expected_lsn = l->token,
                 .value_length = (uint32_t)l->owner_length},
        .key = l->key,
        .value = l->owner,
        .ttl = extension_ttl_make(l->ttl_ns),
    };
}

/* The message for the space as the present daemon has it.  Returns 0, -ENOENT, -EACCES, -EMSGSIZE or
 * -EXDEV. */
static int message_make(const struct dunlin_space *space, const struct agent_wanted *wanted,
                        struct ask_message *m)
{
    if (!space->bound)
        return -ENOENT;
    if (!space->writable || space->sessions == NULL)
        return -EACCES;
    if (wanted->write != NULL) {
        *m = message_of(space, wanted->write);
        return wanted->write->value_length > space->value_bytes_max ? -EMSGSIZE : 0;
    }
    if (wanted->lease != NULL) {
        *m = message_of_lease(space, wanted->lease);
        return wanted->lease->owner_length > space->value_bytes_max ? -EMSGSIZE : 0;
    }
    *m = (struct ask_message){
        .head = {.head = {.operation = RING_TRANSACTION},
                 .space = (uint16_t)space->id,
                 .value_length = wanted->packed_length},
        .value = wanted->packed,
    };
    return agent_transaction_shard(space, wanted->transaction, &m->head.shard);
}

/* A value that does not fit a ring message goes to the bulk buffer.
 * Returns 0, -EAGAIN no room now, -EMSGSIZE never. */
static int place_value(struct attachment *a, struct operation *o, struct ask_message *m)
{
    if (agent_ask_bytes(m) <= ring_message_max(&a->lanes[0].request))
        return 0;
    if (m->head.value_length > a->bulk_pieces.bytes)
        return -EMSGSIZE;
    int error = agent_fifo_take(&a->bulk_pieces, m->head.value_length, &m->head.bulk_offset,
                                &o->bulk_piece);
    if (error != 0)
        return error;
    memcpy(a->bulk + m->head.bulk_offset, m->value, m->head.value_length);
    m->head.head.flags |= RING_FLAG_BULK;
    return 0;
}

/* A private copy of the message: what is sent, and sent again should the daemon die. */
static int build(struct dunlin *d, struct operation *o, struct ask_message *m)
{
    uint32_t offset;
    int error = place_value(d->now, o, m);
    if (error != 0)
        return error;
    error = agent_fifo_take(&d->copy_pieces, agent_ask_bytes(m), &offset, &o->copy_piece);
    if (error != 0)
        return error;
    o->message = (void *)(d->copies + offset);
    m->head.tag = agent_operation_tag(d, o);
    o->message->head = agent_ask_build(o->message, m);
    o->kind = m->head.head.operation;
    return 0;
}

/* Attached as far as we know.  Why a look when nothing is under way: what is put into the ring of a
 * daemon that died while we were idle is of unknown fate for no need. */
static bool ready(struct dunlin *d)
{
    return agent_attached(d) && d->now->unanswered != 0 ? true : agent_attach_look(d);
}

static int submit(struct dunlin_space *space, const struct agent_wanted *w, bool synchronous,
                  struct operation **operation)
{
    struct dunlin *d = space->handle;
    if (!ready(d))
        return -ENOTCONN;
    struct ask_message m;
    int error = message_make(space, w, &m);
    if (error != 0)
        return error;
    struct agent_session *s = &space->sessions[m.head.shard];
    if (s->count == LIMIT_SESSION_WINDOW)
        return -EAGAIN;
    struct operation *o = agent_operation_take(d, synchronous);
    if (o == NULL)
        return -EAGAIN;
    error = build(d, o, &m);
    if (error != 0) {
        agent_operation_free(d, o);
        return error;
    }
    o->space = space;
    o->context = w->context;
    o->conflated = w->conflated;
    d->in_flight += !synchronous;
    agent_session_append(d, s, o);
    *operation = o;
    return 0;
}

int agent_write_enter(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    struct operation *o;
    return submit(space, wanted, false, &o);
}

int agent_write_submit(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    return UNLIKELY(space->policy != NULL) ? agent_policy_submit(space, wanted)
                                           : agent_write_enter(space, wanted);
}

int dunlin_submit(struct dunlin_space *space, const struct dunlin_write *write)
{
    int error = check(space, write);
    if (error != 0)
        return error;
    const struct agent_wanted wanted = {.write = write, .context = write->context};
    return agent_write_submit(space, &wanted);
}

/* ---- synchronous ---- */

/* Submit as soon as there is room and a daemon.  Never sent when this fails. */
static int submit_patiently(struct dunlin_space *space, const struct agent_wanted *w,
                            const struct waiter *waiter, struct operation **operation)
{
    struct dunlin *d = space->handle;
    for (;;) {
        int error = agent_policy_holds(space, w) ? -EAGAIN : submit(space, w, true, operation);
        if (error == -ENOENT)
            error = agent_space_again(space) == 0 ? -EAGAIN : -ENOENT;
        if (error != -EAGAIN && error != -ENOTCONN)
            return error;
        if (!agent_wait_pause(d, waiter, WAIT_ANY_LCORE))
            return -ENOTCONN;
        agent_complete_all(d);
    }
}

int agent_write_patiently(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    struct dunlin *d = space->handle;
    struct waiter waiter = agent_wait_begin(d, d->options.timeout_ns);
    for (;;) {
        int error = agent_write_enter(space, wanted);
        if (error == -ENOENT)
            error = agent_space_again(space) == 0 ? -EAGAIN : -ENOENT;
        if (error != -EAGAIN && error != -ENOTCONN)
            return error;
        /* Why: those that are done are taken by dunlin_poll alone. */
        bool is_full = d->operations_taken + AGENT_OPERATIONS_KEPT >= LIMIT_AGENT_OPERATIONS;
        if (is_full || !agent_wait_pause(d, &waiter, WAIT_ANY_LCORE))
            return error;
        agent_complete_all(d);
    }
}

int agent_write_now(struct dunlin_space *space, const struct agent_wanted *wanted,
                    struct agent_outcome *outcome)
{
    struct operation *o;
    struct dunlin *d = space->handle;
    struct waiter waiter = agent_wait_begin(d, d->options.timeout_ns);
    int error = submit_patiently(space, wanted, &waiter, &o);
    if (error != 0)
        return error;
    if (agent_wait_operation(d, o, &waiter) != 0) {
        if (o->sent) {
            agent_operation_abandon(d, o);
            return -EOWNERDEAD;
        }
        agent_session_withdraw(d, o);
    }
    error = o->result;
    *outcome = (struct agent_outcome){o->version, o->number, true};
    agent_operation_free(d, o);
    return error;
}

static int write_now(struct dunlin_space *space, const struct dunlin_write *w,
                     struct dunlin_version *version)
{
    int error = check(space, w);
    if (error != 0)
        return error;
    const struct agent_wanted wanted = {.write = w};
    struct agent_outcome outcome = {.is_known = false};
    error = agent_write_now(space, &wanted, &outcome);
    if (version != NULL && outcome.is_known)
        *version = outcome.version;
    return error;
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract of dunlin.h */
int dunlin_put(struct dunlin_space *space, const void *key, size_t key_length, const void *value,
               size_t value_length, struct dunlin_version *version)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = key_length,
                                   .value = value,
                                   .value_length = value_length};
    return write_now(space, &w, version);
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract of dunlin.h */
int dunlin_put_if(struct dunlin_space *space, const void *key, size_t key_length, const void *value,
                  size_t value_length, uint64_t expected_lsn, struct dunlin_version *version)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = key_length,
                                   .value = value,
                                   .value_length = value_length,
                                   .compare = 1,
                                   .expected_lsn = expected_lsn};
    return write_now(space, &w, version);
}

int dunlin_delete(struct dunlin_space *space, const void *key, size_t key_length,
                  struct dunlin_version *version)
{
    const struct dunlin_write w = {
        .operation = DUNLIN_DELETE, .key = key, .key_length = key_length};
    return write_now(space, &w, version);
}

int dunlin_delete_if(struct dunlin_space *space, const void *key, size_t key_length,
                     uint64_t expected_lsn, struct dunlin_version *version)
{
    const struct dunlin_write w = {.operation = DUNLIN_DELETE,
                                   .key = key,
                                   .key_length = key_length,
                                   .compare = 1,
                                   .expected_lsn = expected_lsn};
    return write_now(space, &w, version);
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract of dunlin.h */
int dunlin_increment(struct dunlin_space *space, const void *key, size_t key_length, int64_t delta,
                     int64_t *value, struct dunlin_version *version)
{
    const struct dunlin_write w = {
        .operation = DUNLIN_INCREMENT, .key = key, .key_length = key_length, .delta = delta};
    const struct agent_wanted wanted = {.write = &w};
    struct agent_outcome outcome = {.number = 0};
    int error = check(space, &w);
    if (error == 0)
        error = agent_write_now(space, &wanted, &outcome);
    if (value != NULL)
        *value = outcome.number;
    if (version != NULL)
        *version = outcome.version;
    return error;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are the contract of dunlin.h */
int dunlin_put_ttl(struct dunlin_space *space, const void *key, size_t key_length,
                   const void *value, size_t value_length, uint64_t ttl_ns,
                   struct dunlin_version *version)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = key_length,
                                   .value = value,
                                   .value_length = value_length,
                                   .ttl_ns = ttl_ns};
    return ttl_ns != 0 ? write_now(space, &w, version) : -EINVAL;
}

int dunlin_apply(struct dunlin_space *space, const struct dunlin_write *write,
                 struct dunlin_version *version)
{
    return write_now(space, write, version);
}

/* ---- repeating a write under its name ---- */

int dunlin_last_write(const struct dunlin *handle, struct dunlin_write_id *id)
{
    if (handle == NULL || id == NULL)
        return -EINVAL;
    *id = handle->last_id;
    return id->sequence != 0 ? 0 : -ENOENT;
}

/* Find the session; its slot and LSN go into the message of the write. */
static int find_session(struct dunlin_space *space, const struct dunlin_write_id *id,
                        struct ask_message *write, const struct waiter *w)
{
    struct dunlin *d = space->handle;
    struct ask_message m = {
        .head = {.head = {.operation = RING_SESSION_OPEN, .flags = RING_FLAG_EXISTING},
                 .space = (uint16_t)space->id,
                 .shard = id->shard,
                 .key_length = sizeof id->session},
        .key = id->session};
    struct operation *o = agent_operation_take(d, true);
    if (o == NULL)
        return -ENOTCONN;
    o->lcore = space->read.boards[id->shard].lcore;
    if (agent_ask(d, o, &m, w) != 0)
        return -ENOTCONN;
    int error = o->result;
    write->head.session = o->version.lsn;
    write->head.session_slot = o->session_slot;
    write->head.sequence = id->sequence;
    agent_operation_free(d, o);
    return error;
}

static int repeat(struct dunlin_space *space, struct ask_message *m, const struct waiter *w,
                  struct agent_outcome *outcome)
{
    struct dunlin *d = space->handle;
    int error = -EAGAIN;
    struct operation *o = agent_operation_take(d, true);
    if (o == NULL)
        return -ENOTCONN;
    o->space = space;
    o->lcore = space->read.boards[m->head.shard].lcore;
    while (agent_attached(d) && (error = place_value(d->now, o, m)) == -EAGAIN) {
        agent_complete_all(d);
        if (!agent_wait_pause(d, w, WAIT_ANY_LCORE))
            break;
    }
    if (error != 0) {
        agent_operation_free(d, o);
        return error == -EAGAIN ? -ENOTCONN : error;
    }
    if (agent_ask(d, o, m, w) != 0)
        return -ENOTCONN;
    error = o->result;
    bool is_forgotten = o->status == RING_FATE_UNKNOWN || o->status == RING_SEQUENCE;
    if (error == -EOWNERDEAD && !is_forgotten)
        error = -ENOTCONN; /* the daemon died with it */
    *outcome = (struct agent_outcome){o->version, o->number, true};
    agent_operation_free(d, o);
    return error;
}

/* Returns as dunlin_retry, or -ENOTCONN: nobody answered. */
static int find_and_repeat(struct dunlin_space *space, const struct dunlin_write_id *id,
                           const struct agent_wanted *wanted, struct agent_outcome *outcome)
{
    struct dunlin *d = space->handle;
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    while (!agent_attached(d) && !agent_attach_look(d))
        if (!agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    struct ask_message m;
    int error = message_make(space, wanted, &m);
    if (error != 0)
        return error;
    if (m.head.shard != id->shard)
        return -EINVAL;
    error = find_session(space, id, &m, &w);
    return error != 0 ? error : repeat(space, &m, &w, outcome);
}

int agent_write_repeat(struct dunlin_space *space, const struct dunlin_write_id *id,
                       const struct agent_wanted *wanted, struct agent_outcome *outcome)
{
    if (id == NULL || id->sequence == 0)
        return -EINVAL;
    struct dunlin *d = space->handle;
    int error = find_and_repeat(space, id, wanted, outcome);
    if (error != -ENOTCONN && error != -EOWNERDEAD)
        return error;
    /* Why never "not applied": the first time it may have been. */
    d->last_write = NULL;
    d->last_id = error == -ENOTCONN ? *id : (struct dunlin_write_id){.sequence = 0};
    return -EOWNERDEAD;
}

/* number may be NULL. */
static int retry(struct dunlin_space *space, const struct dunlin_write_id *id,
                 const struct dunlin_write *write, int64_t *number, struct dunlin_version *version)
{
    int error = check(space, write);
    if (error != 0)
        return error;
    const struct agent_wanted wanted = {.write = write};
    struct agent_outcome outcome = {.number = 0};
    error = agent_write_repeat(space, id, &wanted, &outcome);
    if (number != NULL)
        *number = outcome.number;
    if (version != NULL && outcome.is_known)
        *version = outcome.version;
    return error;
}

int dunlin_retry(struct dunlin_space *space, const struct dunlin_write_id *id,
                 const struct dunlin_write *write, struct dunlin_version *version)
{
    return retry(space, id, write, NULL, version);
}

int dunlin_retry_increment(struct dunlin_space *space, const struct dunlin_write_id *id,
                           const struct dunlin_write *write, int64_t *value,
                           struct dunlin_version *version)
{
    if (write != NULL && write->operation != DUNLIN_INCREMENT)
        return -EINVAL;
    return retry(space, id, write, value, version);
}
