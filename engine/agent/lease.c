#include "engine/agent/agent.h"

#include "engine/extension.h"

#include <string.h>

/* The granter's clock may be slower than ours by so much: 1,000 ppm, DESIGN section 5, clocks. */
#define RATE_SHARE 1000u

static int check_ttl(uint64_t ttl_ns)
{
    return ttl_ns >= LIMIT_TTL_NS_MIN && ttl_ns <= LIMIT_TTL_NS_MAX ? 0 : -EINVAL;
}

static int check(const struct dunlin_space *space, const void *key, size_t key_length)
{
    return space == NULL ? -EINVAL : get_check_key(key, key_length);
}

/* Carry it out.  Returns as dunlin_put. */
static int ask(struct dunlin_space *space, const struct agent_lease *wanted,
               struct agent_outcome *outcome)
{
    const struct agent_wanted what = {.lease = wanted};
    *outcome = (struct agent_outcome){.number = 0};
    return agent_write_now(space, &what, outcome);
}

/* Until when a lease that was asked for then is certainly held, by our clock. */
static uint64_t deadline_of(uint64_t asked_ns, uint64_t ttl_ns)
{
    return asked_ns + ttl_ns - ttl_ns / RATE_SHARE;
}

static void hold(struct dunlin_lease *lease, const struct agent_outcome *outcome, uint64_t asked_ns,
                 uint64_t ttl_ns)
{
    lease->token = (uint64_t)outcome->number;
    lease->version = outcome->version;
    lease->ttl_ns = ttl_ns;
    lease->deadline_ns = deadline_of(asked_ns, ttl_ns);
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract of dunlin.h */
int dunlin_lease_acquire(struct dunlin_space *space, const void *key, size_t key_length,
                         const char *owner, uint64_t ttl_ns, struct dunlin_lease *lease)
{
    int error = check(space, key, key_length);
    size_t length = owner != NULL ? strnlen(owner, DUNLIN_OWNER_MAX + 1) : 0;
    if (error == 0 && (lease == NULL || length == 0 || length > DUNLIN_OWNER_MAX))
        error = -EINVAL;
    if (error == 0)
        error = check_ttl(ttl_ns);
    if (error != 0)
        return error;
    const struct agent_lease wanted = {
        .operation = RING_LEASE_ACQUIRE,
        .key = key,
        .key_length = key_length,
        .owner = owner,
        .owner_length = length,
        .ttl_ns = ttl_ns,
    };
    struct agent_outcome outcome;
    uint64_t asked_ns = clock_boottime_ns();
    error = ask(space, &wanted, &outcome);
    *lease = (struct dunlin_lease){.version = outcome.version};
    if (error != 0)
        return error;
    hold(lease, &outcome, asked_ns, ttl_ns);
    memcpy(lease->owner, owner, length);
    return 0;
}

int dunlin_lease_renew(struct dunlin_space *space, const void *key, size_t key_length,
                       uint64_t ttl_ns, struct dunlin_lease *lease)
{
    int error = check(space, key, key_length);
    if (error == 0 && (lease == NULL || lease->token == 0))
        error = -EINVAL;
    if (error == 0)
        error = check_ttl(ttl_ns);
    if (error != 0)
        return error;
    const struct agent_lease wanted = {
        .operation = RING_LEASE_RENEW,
        .key = key,
        .key_length = key_length,
        .token = lease->token,
        .ttl_ns = ttl_ns,
    };
    struct agent_outcome outcome;
    uint64_t asked_ns = clock_boottime_ns();
    error = ask(space, &wanted, &outcome);
    if (error == 0)
        hold(lease, &outcome, asked_ns, ttl_ns);
    /* Why: it may count already, and end before the one that we know of. */
    if (error == -EOWNERDEAD)
        lease->deadline_ns = min_u64(lease->deadline_ns, deadline_of(asked_ns, ttl_ns));
    return error;
}

int dunlin_lease_release(struct dunlin_space *space, const void *key, size_t key_length,
                         uint64_t token, struct dunlin_version *version)
{
    int error = check(space, key, key_length);
    if (error == 0 && token == 0)
        error = -EINVAL;
    if (error != 0)
        return error;
    const struct agent_lease wanted = {
        .operation = RING_LEASE_RELEASE,
        .key = key,
        .key_length = key_length,
        .token = token,
    };
    struct agent_outcome outcome;
    error = ask(space, &wanted, &outcome);
    if (version != NULL)
        *version = outcome.version;
    return error;
}

/* ---- show ---- */

#define SHOW_AGAIN 1

/* One look in place, at a state that holds all up to lsn.  Returns 0, -ENOENT, -EFAULT or SHOW_AGAIN. */
static int look(const struct dunlin_space *space, const struct read_key *k, uint64_t lsn,
                struct dunlin_lease *lease)
{
    const struct read_space *s = &space->read;
    struct read_point p;
    struct read_found found;
    uint8_t extensions[2 * sizeof(struct record_ttl)] = {0};
    read_begin(&p, s, k->shard);
    int result = read_find(&p, s, k, &found);
    if (result < 0)
        return result == -EFAULT ? -EFAULT : SHOW_AGAIN;
    *lease = (struct dunlin_lease){.token = 0};
    uint64_t length = 0;
    if (result == 1) {
        /* Why from where the value lies: that was checked against the segment's end. */
        length =
            (uint64_t)(found.value - found.record) - RECORD_HEADER_BYTES - align_up(k->length, 8);
        const struct read_found part = {
            .value = found.record + RECORD_HEADER_BYTES,
            .value_length = (uint32_t)min_u64(length, sizeof extensions),
        };
        read_copy(&part, extensions, sizeof extensions);
        read_copy(&found, lease->owner, DUNLIN_OWNER_MAX);
    }
    lease->version = (struct dunlin_version){.log = p.board->log, .lsn = found.lsn};
    if (!read_validate(&p, s, result == 0) || p.lsn <= lsn)
        return SHOW_AGAIN;
    struct record_ttl ttl;
    struct record_token token;
    if (length != sizeof extensions ||
        !extension_find(extensions, sizeof extensions, RECORD_EXTENSION_TTL, &ttl, sizeof ttl) ||
        !extension_find(extensions, sizeof extensions, RECORD_EXTENSION_TOKEN, &token,
                        sizeof token))
        return -ENOENT;
    lease->ttl_ns = ttl.ttl_ns;
    lease->token = token.token != 0 ? token.token : found.lsn;
    return 0;
}

/* Why not by the answer to a read alone: that tells nothing of what stands beside the value.  So this
 * machine has to get as far as what was read, and then knows as much or more. */
int dunlin_lease_show(struct dunlin_space *space, const void *key, size_t key_length,
                      struct dunlin_lease *lease)
{
    int error = check(space, key, key_length);
    if (error != 0 || lease == NULL)
        return error != 0 ? error : -EINVAL;
    struct dunlin *d = space->handle;
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    error = dunlin_get(space, key, key_length, NULL, 0, &read);
    if (error != 0 && error != -ENOBUFS)
        return error;
    for (;;) {
        struct read_key k;
        if (!space->bound)
            return -ENOTCONN;
        read_key_init(&k, &space->read, key, key_length);
        error = look(space, &k, read.version.lsn, lease);
        if (error == -EFAULT)
            error = agent_space_map_more(space) == 0 ? SHOW_AGAIN : -ENOTCONN;
        if (error <= 0)
            return error;
        agent_complete_all(d);
        if (!agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    }
}
