#include "bench/stores.h"

#include "bench/keys.h"
#include "engine/checksum.h"
#include "engine/hash.h"
#include "engine/record.h"

#include <stdlib.h>

#define _LGPL_SOURCE 1
#include <urcu/rculfhash.h>
#include <urcu/urcu-qsbr.h>

#define GROUP 64u

static ALWAYS_INLINE uint32_t number_of(uint64_t nth, uint32_t key_count)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)((x >> 32) * key_count >> 32);
}

/* ---- log ---- */

int store_log_open(struct store_log *s, uint64_t bytes, double ticks_per_ns)
{
    *s = (struct store_log){.sampler = sampler_new(GROUP, ticks_per_ns)};
    if (s->sampler == NULL)
        return -ENOMEM;
    int rc = memory_create(&s->memory, "bench-log", bytes, MEMORY_SHARED, true, NULL);
    if (rc != 0)
        sampler_delete(s->sampler);
    return rc;
}

void store_log_close(struct store_log *s)
{
    memory_destroy(&s->memory, false);
    sampler_delete(s->sampler);
}

static ALWAYS_INLINE void log_one(struct store_log *s)
{
    uint64_t bytes[(RECORD_HEADER_BYTES + KEYS_LENGTH + KEYS_VALUE_BYTES) / 8] = {s->position};
    keys_text((uint32_t)s->position, (char *)bytes + RECORD_HEADER_BYTES);
    if (s->position + sizeof bytes > s->memory.bytes)
        s->position = 0;
    uint8_t *at = s->memory.base + s->position;
    memcpy(at, bytes, sizeof bytes);
    uint32_t crc = checksum(0, at, sizeof bytes);
    memcpy(at, &crc, sizeof crc);
    s->position += sizeof bytes;
}

int store_log_measure(void *context, uint64_t duration_ns, double *value)
{
    struct store_log *s = context;
    bool more;
    sampler_start(s->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++)
            log_one(s);
        more = sampler_add(s->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish_mean(s->sampler);
    return 0;
}

/* ---- table ---- */

struct store_table_node {
    struct cds_lfht_node link; /* first: a link is its node */
    char key[KEYS_LENGTH];
    uint8_t value[KEYS_VALUE_BYTES];
};

static int match(struct cds_lfht_node *link, const void *key)
{
    const struct store_table_node *n = (const struct store_table_node *)link;
    return memcmp(n->key, key, KEYS_LENGTH) == 0;
}

static void free_retired(struct store_table *s)
{
    urcu_qsbr_synchronize_rcu();
    for (uint32_t i = 0; i < s->retired_count; i++)
        free(s->retired[i]);
    s->retired_count = 0;
}

static ALWAYS_INLINE int table_one(struct store_table *s, uint32_t number)
{
    struct store_table_node *n = malloc(sizeof *n);
    if (n == NULL)
        return -ENOMEM;
    cds_lfht_node_init(&n->link);
    keys_text(number, n->key);
    memset(n->value, (int)number, sizeof n->value);
    urcu_qsbr_read_lock();
    struct cds_lfht_node *old =
        cds_lfht_add_replace(s->hash_table, hash_key(n->key, KEYS_LENGTH), match, n->key, &n->link);
    urcu_qsbr_read_unlock();
    if (old == NULL)
        return 0;
    s->retired[s->retired_count++] = (struct store_table_node *)old;
    if (s->retired_count == STORE_TABLE_RETIRED)
        free_retired(s);
    return 0;
}

int store_table_open(struct store_table *s, uint32_t key_count, double ticks_per_ns)
{
    *s = (struct store_table){.key_count = key_count, .sampler = sampler_new(GROUP, ticks_per_ns)};
    if (s->sampler == NULL)
        return -ENOMEM;
    uint64_t buckets = 64;
    while (buckets < key_count)
        buckets *= 2;
    urcu_qsbr_register_thread();
    s->hash_table = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_qsbr_flavor, NULL);
    int rc = s->hash_table != NULL ? 0 : -ENOMEM;
    for (uint32_t number = 0; number < key_count && rc == 0; number++)
        rc = table_one(s, number);
    if (rc != 0)
        store_table_close(s);
    return rc;
}

void store_table_close(struct store_table *s)
{
    free_retired(s);
    if (s->hash_table != NULL) {
        struct cds_lfht_iter iter;
        struct store_table_node *n;
        cds_lfht_first(s->hash_table, &iter);
        while (cds_lfht_iter_get_node(&iter) != NULL) {
            n = (struct store_table_node *)cds_lfht_iter_get_node(&iter);
            cds_lfht_next(s->hash_table, &iter);
            if (cds_lfht_del(s->hash_table, &n->link) == 0)
                s->retired[s->retired_count++] = n;
            if (s->retired_count == STORE_TABLE_RETIRED)
                free_retired(s);
        }
        free_retired(s);
        urcu_qsbr_thread_offline();
        (void)cds_lfht_destroy(s->hash_table, NULL);
        urcu_qsbr_thread_online();
    }
    urcu_qsbr_unregister_thread();
    sampler_delete(s->sampler);
}

int store_table_measure(void *context, uint64_t duration_ns, double *value)
{
    struct store_table *s = context;
    bool more;
    sampler_start(s->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++) {
            int rc = table_one(s, number_of(s->position++, s->key_count));
            if (rc != 0)
                return rc;
        }
        more = sampler_add(s->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish_mean(s->sampler);
    return 0;
}
