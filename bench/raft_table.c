#include "bench/raft_table.h"

#include <stdlib.h>

#define _LGPL_SOURCE 1
#include <urcu/rculfhash.h>
#include <urcu/urcu-qsbr.h>

#define SLOTS_MIN 1024u

/* ---- plain ---- */

struct slot {
    char key[KEYS_LENGTH];
    uint8_t value[KEYS_VALUE_BYTES];
};

static uint64_t slots_for(uint32_t key_count)
{
    uint64_t slots = SLOTS_MIN;
    while (slots < 2 * (uint64_t)key_count)
        slots *= 2;
    return slots;
}

/* Where the key is, or would be: an empty key marks an empty slot. */
static struct slot *slot_of(const struct raft_table *t, const struct raft_command *c)
{
    struct slot *slots = (struct slot *)(void *)t->slots.base;
    uint64_t at = c->hash & t->mask;
    while (slots[at].key[0] != 0 && memcmp(slots[at].key, c->key, KEYS_LENGTH) != 0)
        at = (at + 1) & t->mask;
    return &slots[at];
}

/* ---- shared ---- */

struct raft_table_node {
    struct cds_lfht_node link; /* first: a link is its node */
    char key[KEYS_LENGTH];
    uint8_t value[KEYS_VALUE_BYTES];
};

static int match(struct cds_lfht_node *link, const void *key)
{
    return memcmp(((const struct raft_table_node *)link)->key, key, KEYS_LENGTH) == 0;
}

static void free_retired(struct raft_table *t)
{
    urcu_qsbr_synchronize_rcu();
    for (uint32_t i = 0; i < t->retired_count; i++)
        free(t->retired[i]);
    t->retired_count = 0;
}

static void retire(struct raft_table *t, struct cds_lfht_node *link)
{
    t->retired[t->retired_count++] = (struct raft_table_node *)link;
    if (t->retired_count == RAFT_TABLE_RETIRED)
        free_retired(t);
}

static int shared_put(struct raft_table *t, const struct raft_command *c)
{
    struct raft_table_node *n = malloc(sizeof *n);
    if (n == NULL)
        return -ENOMEM;
    cds_lfht_node_init(&n->link);
    memcpy(n->key, c->key, sizeof n->key);
    memcpy(n->value, c->value, sizeof n->value);
    urcu_qsbr_read_lock();
    struct cds_lfht_node *old = cds_lfht_add_replace(t->shared, c->hash, match, n->key, &n->link);
    urcu_qsbr_read_unlock();
    if (old != NULL)
        retire(t, old);
    return 0;
}

static void shared_close(struct raft_table *t)
{
    struct cds_lfht_iter iter;
    cds_lfht_first(t->shared, &iter);
    for (struct cds_lfht_node *link; (link = cds_lfht_iter_get_node(&iter)) != NULL;) {
        cds_lfht_next(t->shared, &iter);
        if (cds_lfht_del(t->shared, link) == 0)
            retire(t, link);
    }
    free_retired(t);
    urcu_qsbr_thread_offline();
    (void)cds_lfht_destroy(t->shared, NULL);
    urcu_qsbr_thread_online();
}

/* ---- both ---- */

int raft_table_open(struct raft_table *t, enum raft_table_kind kind, uint32_t key_count)
{
    *t = (struct raft_table){.kind = kind, .slots.fd = -1};
    if (kind == RAFT_TABLE_PLAIN) {
        uint64_t slots = slots_for(key_count);
        t->mask = slots - 1;
        return memory_create(&t->slots, "bench-raft", align_up(slots * sizeof(struct slot), PAGE),
                             MEMORY_SHARED, true, NULL);
    }
    uint64_t buckets = slots_for(key_count) / 2; /* as many as keys: short chains */
    t->shared = cds_lfht_new_flavor(buckets, buckets, 0, 0, &urcu_qsbr_flavor, NULL);
    return t->shared != NULL ? 0 : -ENOMEM;
}

void raft_table_close(struct raft_table *t)
{
    if (t->shared != NULL)
        shared_close(t);
    memory_destroy(&t->slots, false);
}

int raft_table_put(struct raft_table *t, const struct raft_command *c)
{
    if (t->kind == RAFT_TABLE_SHARED)
        return shared_put(t, c);
    struct slot *slot = slot_of(t, c);
    memcpy(slot->key, c->key, sizeof slot->key);
    memcpy(slot->value, c->value, sizeof slot->value);
    return 0;
}

bool raft_table_get(const struct raft_table *t, const struct raft_command *key,
                    uint8_t value[KEYS_VALUE_BYTES])
{
    if (t->kind == RAFT_TABLE_PLAIN) {
        const struct slot *slot = slot_of(t, key);
        memcpy(value, slot->value, KEYS_VALUE_BYTES);
        return slot->key[0] != 0;
    }
    struct cds_lfht_iter iter;
    urcu_qsbr_read_lock();
    cds_lfht_lookup(t->shared, key->hash, match, key->key, &iter);
    const struct cds_lfht_node *link = cds_lfht_iter_get_node(&iter);
    if (link != NULL)
        memcpy(value, ((const struct raft_table_node *)link)->value, KEYS_VALUE_BYTES);
    urcu_qsbr_read_unlock();
    return link != NULL;
}
