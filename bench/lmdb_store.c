#include "bench/lmdb_store.h"

#include "bench/keys.h"

#include <lmdb.h>

#define GROUP 16u
#define MAP_BYTES ((size_t)1 << 30)
#define KEYS_PER_COMMIT 65536u

/* LMDB returns errno values, and negative codes of its own. */
static int error_of(int rc)
{
    return rc > 0 ? -rc : rc == 0 ? 0 : -EIO;
}

static int fill(struct lmdb_store *l)
{
    MDB_txn *writer = NULL;
    int rc = 0;
    uint8_t bytes[KEYS_VALUE_BYTES];
    char text[KEYS_LENGTH];
    for (uint64_t i = 0; i < UINT64_C(1) << l->key_bits && rc == 0; i++) {
        if (writer == NULL) {
            rc = mdb_txn_begin(l->environment, NULL, 0, &writer);
            if (rc == 0 && i == 0)
                rc = mdb_dbi_open(writer, NULL, MDB_CREATE, &l->database);
            if (rc != 0)
                break;
        }
        keys_text((uint32_t)i, text);
        memset(bytes, (int)i, sizeof bytes);
        MDB_val key = {.mv_size = sizeof text, .mv_data = text};
        MDB_val value = {.mv_size = sizeof bytes, .mv_data = bytes};
        rc = mdb_put(writer, l->database, &key, &value, MDB_APPEND);
        if (rc == 0 && (i + 1) % KEYS_PER_COMMIT == 0) {
            rc = mdb_txn_commit(writer);
            writer = NULL;
        }
    }
    if (writer == NULL)
        return rc;
    if (rc == 0)
        return mdb_txn_commit(writer);
    mdb_txn_abort(writer);
    return rc;
}

int lmdb_store_open(struct lmdb_store *l, const char *directory, uint32_t key_bits,
                    double ticks_per_ns)
{
    *l = (struct lmdb_store){.key_bits = key_bits};
    l->sampler = sampler_new(GROUP, ticks_per_ns);
    if (l->sampler == NULL)
        return -ENOMEM;
    int rc = mdb_env_create(&l->environment);
    if (rc != 0)
        goto fail_sampler;
    rc = mdb_env_set_mapsize(l->environment, MAP_BYTES);
    /* NORDAHEAD: the order is random.  WRITEMAP, NOSYNC: durability is not what is measured. */
    if (rc == 0)
        rc = mdb_env_open(l->environment, directory, MDB_NOSYNC | MDB_WRITEMAP | MDB_NORDAHEAD,
                          0600);
    if (rc == 0)
        rc = fill(l);
    if (rc == 0)
        rc = mdb_txn_begin(l->environment, NULL, MDB_RDONLY, &l->reader);
    if (rc != 0)
        goto fail_environment;
    mdb_txn_reset(l->reader);
    return 0;
fail_environment:
    mdb_env_close(l->environment);
fail_sampler:
    sampler_delete(l->sampler);
    return error_of(rc);
}

void lmdb_store_close(struct lmdb_store *l)
{
    mdb_txn_abort(l->reader);
    mdb_env_close(l->environment);
    sampler_delete(l->sampler);
}

static int look_up(struct lmdb_store *l, uint64_t *buffer)
{
    char text[KEYS_LENGTH];
    keys_text(keys_shuffle(l->position++ + keys_wait_for(buffer[0]), l->key_bits), text);
    MDB_val key = {.mv_size = sizeof text, .mv_data = text};
    MDB_val value;
    int rc = mdb_txn_renew(l->reader);
    if (rc == 0)
        rc = mdb_get(l->reader, l->database, &key, &value);
    if (rc != 0)
        return error_of(rc);
    memcpy(buffer, value.mv_data, KEYS_VALUE_BYTES);
    mdb_txn_reset(l->reader);
    return 0;
}

int lmdb_store_measure(void *context, uint64_t duration_ns, double *value)
{
    struct lmdb_store *l = context;
    uint64_t buffer[KEYS_VALUE_BYTES / 8] = {0};
    bool more;
    sampler_start(l->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++) {
            int rc = look_up(l, buffer);
            if (rc != 0)
                return rc;
        }
        more = sampler_add(l->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish(l->sampler);
    return 0;
}
