/* What all parts share: counters, handles, and writes whose fate becomes known. */
#include "tests/soak/soak.h"

#include <string.h>

#define RETRIES 20u /* each as long as a call may take */

/* relaxed: counted by all, and read when they have ended, or for people */
static _Atomic uint64_t counts[SOAK_COUNTS];

void soak_count(enum soak_count what)
{
    (void)atomic_fetch_add_explicit(&counts[what], 1, memory_order_relaxed); /* as said there */
}

uint64_t soak_counted(enum soak_count what)
{
    return atomic_load_explicit(&counts[what], memory_order_relaxed); /* as said there */
}

void soak_start(struct soak_thread *t, uint32_t node, void *(*run)(void *))
{
    t->handle = e2e_open(soak_socket(node), SOAK_TIMEOUT_MS);
    t->space = e2e_space(t->handle, SOAK_SPACE);
    t->node = node;
    t->random = soak_seed();
    if (pthread_create(&t->thread, NULL, run, t) != 0)
        e2e_die("no thread");
}

void soak_join(struct soak_thread *t)
{
    (void)pthread_join(t->thread, NULL);
    dunlin_close(t->handle);
}

bool soak_unavailable(int error)
{
    if (error == -ENOTCONN)
        soak_count(SOAK_UNAVAILABLE);
    return error == -ENOTCONN;
}

/* Why -ENOTCONN, too: it says that this time it was not sent, and nothing of the time before. */
static bool is_unknown(int error)
{
    return error == -EOWNERDEAD || error == -ENOTCONN;
}

static int known(const struct soak_thread *t, int error, const char *what)
{
    if (is_unknown(error))
        e2e_fail("a %s at node %u has no known fate: %s", what, t->node + 1, strerror(-error));
    return is_unknown(error) ? -ENOTCONN : error;
}

int soak_retry(struct soak_thread *t, const struct dunlin_write_id *id,
               const struct dunlin_write *write, struct dunlin_version *version)
{
    int error = -EOWNERDEAD;
    soak_count(SOAK_UNKNOWN);
    for (uint32_t i = 0; i < RETRIES && is_unknown(error); i++)
        error = dunlin_retry(t->space, id, write, version);
    return known(t, error, "write");
}

static int retry_increment(struct soak_thread *t, const struct dunlin_write_id *id,
                           const struct dunlin_write *write, int64_t *value)
{
    int error = -EOWNERDEAD;
    soak_count(SOAK_UNKNOWN);
    for (uint32_t i = 0; i < RETRIES && is_unknown(error); i++)
        error = dunlin_retry_increment(t->space, id, write, value, NULL);
    return known(t, error, "increment");
}

int soak_write(struct soak_thread *t, const struct dunlin_write *write, int64_t *number,
               struct dunlin_version *version)
{
    struct dunlin_write_id id;
    bool adds = write->operation == DUNLIN_INCREMENT;
    int error = adds ? dunlin_increment(t->space, write->key, write->key_length, write->delta,
                                        number, version)
                     : dunlin_apply(t->space, write, version);
    if (error != -EOWNERDEAD)
        return error;
    if (dunlin_last_write(t->handle, &id) != 0) {
        e2e_fail("a write of unknown fate at node %u has no name", t->node + 1);
        return -ENOTCONN;
    }
    return adds ? retry_increment(t, &id, write, number) : soak_retry(t, &id, write, version);
}

int soak_transaction(struct soak_thread *t, const struct dunlin_transaction *transaction,
                     struct dunlin_transaction_result *result)
{
    struct dunlin_write_id id;
    int error = dunlin_transaction(t->space, transaction, result);
    if (error != -EOWNERDEAD)
        return error;
    soak_count(SOAK_UNKNOWN);
    if (dunlin_last_write(t->handle, &id) != 0)
        e2e_fail("a transaction of unknown fate at node %u has no name", t->node + 1);
    for (uint32_t i = 0; i < RETRIES && is_unknown(error); i++)
        error = dunlin_retry_transaction(t->space, &id, transaction, result);
    return known(t, error, "transaction");
}
