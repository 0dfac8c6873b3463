#include "bench/table.h"

#include "engine/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#define _LGPL_SOURCE 1
#include <urcu/rculfhash.h>
#include <urcu/urcu-qsbr.h>

#define GROUP 16u
#define HUGE_PAGE (UINT64_C(1) << 21)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

struct node {
    struct cds_lfht_node link; /* first: a link is its node */
    char key[KEYS_LENGTH];
    uint8_t value[KEYS_VALUE_BYTES];
};

static struct node *node_at(const struct table *t, uint64_t number)
{
    return (struct node *)(void *)(t->nodes.base + number * t->node_bytes);
}

static int match(struct cds_lfht_node *link, const void *key)
{
    const struct node *n = (const struct node *)link;
    return memcmp(n->key, key, KEYS_LENGTH) == 0;
}

/* liburcu allocates its bucket array itself, on small pages where huge ones must be asked for. */
static void collapse_anonymous(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    if (file == NULL)
        return;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        uint64_t from, to;
        char mode[8];
        unsigned long long inode;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %llu", &from, &to, mode, &inode) ==
                4 &&
            inode == 0 && strcmp(mode, "rw-p") == 0 && to - from >= HUGE_PAGE &&
            strchr(line, '[') == NULL) {
            from = align_up(from, HUGE_PAGE);
            to &= ~(HUGE_PAGE - 1);
            /* Why the result does not matter: without it the table stays on the pages it has. */
            if (to > from)
                (void)madvise((void *)from, to - from, MADV_COLLAPSE);
        }
    }
    (void)fclose(file);
}

int table_open(struct table *t, uint32_t key_bits, uint32_t node_bytes, double ticks_per_ns)
{
    ASSERT(node_bytes >= sizeof(struct node) && node_bytes % 16 == 0);
    *t = (struct table){.key_bits = key_bits, .node_bytes = node_bytes, .chained = true};
    uint64_t count = UINT64_C(1) << key_bits;
    t->sampler = sampler_new(GROUP, ticks_per_ns);
    if (t->sampler == NULL)
        return -ENOMEM;
    int rc = memory_create(&t->nodes, "bench-nodes", align_up(count * node_bytes, HUGE_PAGE),
                           MEMORY_SHARED, true, NULL);
    if (rc != 0)
        goto fail_sampler;
    urcu_qsbr_register_thread();
    t->hash_table = cds_lfht_new_flavor(count, count, 0, 0, &urcu_qsbr_flavor, NULL);
    if (t->hash_table == NULL) {
        rc = -ENOMEM;
        goto fail_register;
    }
    collapse_anonymous();
    for (uint64_t i = 0; i < count; i++) {
        struct node *n = node_at(t, i);
        cds_lfht_node_init(&n->link);
        keys_text((uint32_t)i, n->key);
        memset(n->value, (int)i, sizeof n->value);
        cds_lfht_add(t->hash_table, hash_key(n->key, KEYS_LENGTH), &n->link);
        if (i % 1024 == 0)
            urcu_qsbr_quiescent_state();
    }
    return 0;
fail_register:
    urcu_qsbr_unregister_thread();
    memory_destroy(&t->nodes, false);
fail_sampler:
    sampler_delete(t->sampler);
    return rc;
}

void table_close(struct table *t)
{
    for (uint64_t i = 0; i < UINT64_C(1) << t->key_bits; i++)
        (void)cds_lfht_del(t->hash_table, &node_at(t, i)->link);
    urcu_qsbr_thread_offline();
    (void)cds_lfht_destroy(t->hash_table, NULL);
    urcu_qsbr_thread_online();
    urcu_qsbr_unregister_thread();
    memory_destroy(&t->nodes, false);
    sampler_delete(t->sampler);
}

static ALWAYS_INLINE int look_up(struct table *t, uint64_t *buffer)
{
    uint64_t wait = t->chained ? keys_wait_for(buffer[0]) : 0;
    char key[KEYS_LENGTH];
    keys_text(keys_shuffle(t->position++ + wait, t->key_bits), key);
    struct cds_lfht_iter iter;
    urcu_qsbr_read_lock();
    cds_lfht_lookup(t->hash_table, hash_key(key, KEYS_LENGTH), match, key, &iter);
    struct cds_lfht_node *link = cds_lfht_iter_get_node(&iter);
    if (UNLIKELY(link == NULL))
        return -ENOENT;
    memcpy(buffer, ((const struct node *)link)->value, KEYS_VALUE_BYTES);
    urcu_qsbr_read_unlock();
    __asm__ volatile("" : : "r"(buffer) : "memory");
    return 0;
}

int table_measure(void *context, uint64_t duration_ns, double *value)
{
    struct table *t = context;
    uint64_t buffer[KEYS_VALUE_BYTES / 8] = {0};
    bool more;
    sampler_start(t->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++) {
            int rc = look_up(t, buffer);
            if (rc != 0)
                return rc;
        }
        more = sampler_add(t->sampler, from, sampler_now());
        urcu_qsbr_quiescent_state();
    } while (more);
    *value = sampler_finish(t->sampler);
    return 0;
}
