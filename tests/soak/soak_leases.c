/* Leases that all want: never two holders, tokens only grow, and nothing is done under an old one.
 *
 * A holder is one from when its acquire or renewal was answered until its deadline, or until it began to
 * give it up; two such times of different tokens never meet. */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEASES 2u
#define NAME_BYTES 24u

struct lease {
    pthread_mutex_t lock;
    uint64_t token;   /* the newest that was given */
    uint64_t from_ns; /* its holder's, from then */
    uint64_t until_ns;
    uint64_t fenced; /* the newest token under which something was done */
};

static struct soak_thread tenants[SOAK_NODES];
static struct lease leases[LEASES];

/* token was answered just now, and is good until until_ns. */
static void held(struct lease *l, uint32_t number, uint64_t token, uint64_t until_ns)
{
    uint64_t now = clock_boottime_ns();
    (void)pthread_mutex_lock(&l->lock);
    if (token > l->token) {
        if (l->until_ns > now)
            e2e_fail("lease %u was given as %" PRIu64 " while %" PRIu64 " had %" PRIu64 " us left",
                     number, token, l->token, (l->until_ns - now) / 1000);
        l->token = token;
        l->from_ns = now;
        l->until_ns = until_ns;
    } else if (token == l->token) {
        l->until_ns = max_u64(l->until_ns, until_ns);
    } else if (until_ns > l->from_ns) {
        e2e_fail("lease %u: %" PRIu64 " is good after %" PRIu64 " was given", number, token,
                 l->token);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

static void given_up(struct lease *l, uint64_t token)
{
    (void)pthread_mutex_lock(&l->lock);
    if (l->token == token)
        l->until_ns = 0;
    (void)pthread_mutex_unlock(&l->lock);
}

/* Something was done under token, after what was done before the call. */
static uint64_t fenced_before(struct lease *l)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t fenced = l->fenced;
    (void)pthread_mutex_unlock(&l->lock);
    return fenced;
}

static void fenced(struct lease *l, uint64_t token)
{
    (void)pthread_mutex_lock(&l->lock);
    l->fenced = max_u64(l->fenced, token);
    (void)pthread_mutex_unlock(&l->lock);
}

/* Write under the lease's token. */
static void work(struct soak_thread *t, uint32_t number, const char *name, uint64_t token)
{
    char data[NAME_BYTES], text[NAME_BYTES];
    (void)snprintf(data, sizeof data, "l{%u}/data", number);
    (void)snprintf(text, sizeof text, "%" PRIu64, token);
    const struct dunlin_condition condition = {.compare = DUNLIN_COMPARE_TOKEN,
                                               .key = name,
                                               .key_length = strlen(name),
                                               .expected = token};
    const struct dunlin_write write = {.operation = DUNLIN_PUT,
                                       .key = data,
                                       .key_length = strlen(data),
                                       .value = text,
                                       .value_length = strlen(text)};
    const struct dunlin_transaction transaction = {
        .conditions = &condition, .condition_count = 1, .then_writes = &write, .then_count = 1};
    uint64_t before = fenced_before(&leases[number]);
    int error = soak_transaction(t, &transaction, NULL);
    if (error == -ECANCELED || soak_unavailable(error))
        return;
    if (error != 0)
        e2e_fail("under lease %u at node %u: %s", number, t->node + 1, strerror(-error));
    else if (before > token)
        e2e_fail("under lease %u at node %u something was done as %" PRIu64 ", after %" PRIu64,
                 number, t->node + 1, token, before);
    fenced(&leases[number], token);
    soak_count(SOAK_FENCED);
}

/* Why the same ttl: so that the deadline we had is not too late while this is under way. */
static bool renew(struct soak_thread *t, uint32_t number, const char *name,
                  struct dunlin_lease *lease)
{
    int error = dunlin_lease_renew(t->space, name, strlen(name), lease->ttl_ns, lease);
    if (error == 0) {
        held(&leases[number], number, lease->token, lease->deadline_ns);
        soak_count(SOAK_RENEWED);
        return true;
    }
    if (error == -EOWNERDEAD) /* either way: we hold it until the deadline we had */
        soak_count(SOAK_UNKNOWN);
    else if (error != -ECANCELED && !soak_unavailable(error))
        e2e_fail("renewal of lease %u at node %u: %s", number, t->node + 1, strerror(-error));
    return false;
}

static void release(struct soak_thread *t, uint32_t number, const char *name,
                    const struct dunlin_lease *lease)
{
    given_up(&leases[number], lease->token);
    int error = dunlin_lease_release(t->space, name, strlen(name), lease->token, NULL);
    if (error == 0)
        soak_count(SOAK_RELEASED);
    else if (error == -EOWNERDEAD)
        soak_count(SOAK_UNKNOWN);
    else if (error != -ECANCELED && !soak_unavailable(error))
        e2e_fail("release of lease %u at node %u: %s", number, t->node + 1, strerror(-error));
}

/* As its holder, to the end. */
static void hold(struct soak_thread *t, uint32_t number, const char *name,
                 struct dunlin_lease *lease)
{
    bool kept = true;
    do {
        work(t, number, name, lease->token);
        e2e_sleep_ms(soak_below(t, 60));
    } while (soak_below(t, 3) != 0 && (kept = renew(t, number, name, lease)));
    if (kept && soak_below(t, 2) == 0)
        release(t, number, name, lease);
    else
        soak_count(SOAK_LAPSED);
}

static void take(struct soak_thread *t)
{
    char name[NAME_BYTES], owner[NAME_BYTES];
    struct dunlin_lease lease = {0};
    uint32_t number = (uint32_t)soak_below(t, LEASES);
    uint64_t ttl_ns = (50 + soak_below(t, 500)) * NS_PER_MS;
    (void)snprintf(name, sizeof name, "l{%u}/lease", number);
    (void)snprintf(owner, sizeof owner, "at node %u", t->node + 1);
    int error = dunlin_lease_acquire(t->space, name, strlen(name), owner, ttl_ns, &lease);
    if (error == 0) {
        held(&leases[number], number, lease.token, lease.deadline_ns);
        soak_count(SOAK_ACQUIRED);
        hold(t, number, name, &lease);
    } else if (error == -ECANCELED) {
        soak_count(SOAK_HELD);
        e2e_sleep_ms(5);
    } else if (error == -EOWNERDEAD) { /* perhaps ours: nobody acts on it, and its ttl ends it */
        soak_count(SOAK_UNKNOWN);
    } else if (!soak_unavailable(error)) {
        e2e_fail("lease %u at node %u: %s", number, t->node + 1, strerror(-error));
    }
}

static void *tenant_run(void *context)
{
    while (!soak_over())
        take(context);
    return NULL;
}

void soak_leases_begin(void)
{
    for (uint32_t i = 0; i < LEASES; i++)
        if (pthread_mutex_init(&leases[i].lock, NULL) != 0)
            e2e_die("no mutex");
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        soak_start(&tenants[n], n, tenant_run);
}

void soak_leases_end(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        soak_join(&tenants[n]);
    for (uint32_t i = 0; i < LEASES; i++)
        (void)pthread_mutex_destroy(&leases[i].lock);
}
