/* Agents that scan a node's keys in order, a page at a time (engine/scan.h), and the checker of what they
 * find: each page is the shard as it was at one commit LSN, and where a lease covers it, the newest. */
#include "tests/sim/sim.h"

#include "engine/scan.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define PAGE_COUNT_MAX 5u

/* First key that comes at or behind a position.  A key's order is that of its first byte: the others are
 * 0. */
static uint32_t key_from(const struct order_key *from)
{
    if (from->length == 0)
        return 0;
    return from->bytes[0] + (from->length > sizeof(uint64_t) ? 1u : 0u);
}

static bool begins_with(uint64_t key, const struct order_key *prefix)
{
    return memcmp(&key, prefix->bytes, prefix->length) == 0;
}

/* What of a page was not looked at yet. */
struct entries {
    const struct scan_page *page;
    const struct scan_entry *next;
    uint32_t left;
};

/* LSN of a key in the page, 0: it is not there.  In order. */
static uint64_t entry_take(struct entries *e, uint64_t key, uint64_t *value)
{
    if (e->left == 0 || e->next->key_length != sizeof key ||
        memcmp(scan_entry_key(e->next), &key, sizeof key) != 0)
        return 0;
    uint64_t lsn = e->next->lsn;
    *value = 0;
    memcpy(value, scan_entry_value(e->next), min_u64(e->next->value_length, sizeof *value));
    e->next = --e->left != 0 ? scan_entry_next(e->next, false) : e->next;
    return lsn;
}

/* S22: what a page says of a key. */
static void check_key(struct sim *s, const struct sim_scan *scan, const struct read_point *p,
                      uint32_t key, struct entries *entries)
{
    const struct sim_shard *shard = &s->shards[scan->page.shard];
    const struct sim_record *stands = sim_version_at(shard, key, p->lsn != 0 ? p->lsn - 1 : 0);
    uint64_t value = 0, lsn = stands != NULL && stands->kind == RECORD_DATA ? stands->lsn : 0;
    uint64_t seen = entry_take(entries, key, &value);
    if (seen != lsn || (seen != 0 && value != stands->value))
        sim_broken(s, "S22", "a page at node %u says of key %u %llu, at %llu stood %llu",
                   scan->node, key, (unsigned long long)seen, (unsigned long long)p->lsn,
                   (unsigned long long)lsn);
}

/* A lease covers it: no newer version of a key was known to anybody before. */
static void check_newest(struct sim *s, const struct sim_scan *scan, const struct read_point *p,
                         uint32_t key)
{
    const struct sim_shard *shard = &s->shards[scan->page.shard];
    const struct sim_record *newest = sim_version_at(shard, key, shard->lsn_told);
    if (newest != NULL && newest->lsn >= p->lsn)
        sim_broken(s, "S10", "a page at node %u is the newest, at %llu, key %u was at %llu before",
                   scan->node, (unsigned long long)p->lsn, key, (unsigned long long)newest->lsn);
}

static void check_page(struct sim *s, const struct sim_scan *scan, uint32_t from,
                       const struct read_point *p)
{
    const struct scan_page *page = &scan->page;
    struct entries e = {.page = page, .next = (const void *)page->buffer, .left = page->count};
    uint32_t to = page->done ? SIM_KEYS : (uint32_t)min_u64(SIM_KEYS, key_from(&page->from));
    const struct sim_node *n = &s->nodes[scan->node];
    bool is_newest = sim_clock(s, n) < read_lease_deadline(p, &n->read);
    if (p->lsn < s->shards[page->shard].lsn_lossy)
        return; /* what it shows may have been given up, and it does not know */
    for (uint32_t key = from; key < to; key++) {
        if (sim_shard_of(key) != page->shard || !begins_with(key, &page->prefix))
            continue;
        check_key(s, scan, p, key, &e);
        if (is_newest)
            check_newest(s, scan, p, key);
    }
    s->scans_newest += is_newest;
    while (e.left != 0 && scan_entry_key(e.next)[0] == SIM_KEY_ONCE)
        e.next = --e.left != 0 ? scan_entry_next(e.next, false) : e.next;
    if (e.left != 0)
        sim_broken(s, "S22", "a page at node %u has %u entries of other keys or in another order",
                   scan->node, e.left);
}

static struct order_meta root_meta(const struct shard *shard)
{
    const struct order *o = &shard->order;
    if (o->root == 0)
        return (struct order_meta){.count = 0};
    uint64_t offset = (uint64_t)(o->root - 1) << ORDER_NODE_SHIFT;
    return order_meta_of(order_word((const void *)(o->arena + offset), 1));
}

static void scan_start(struct sim *s, struct sim_scan *scan, uint32_t node)
{
    uint8_t prefix = (uint8_t)sim_below(s, SIM_KEYS);
    *scan = (struct sim_scan){.node = node, .incarnation = s->nodes[node].incarnation};
    scan_begin(&scan->page, &prefix, sim_chance(s, 20), NULL, 0);
    scan->page.shard = sim_below(s, SIM_SHARDS);
    scan->page.count_max = 1 + sim_below(s, PAGE_COUNT_MAX);
    scan->begun = true;
}

void sim_scan_step(struct sim *s, uint32_t node)
{
    static alignas(8) uint8_t buffer[PAGE_BYTES];
    struct sim_scan *scan = &s->scans[node];
    const struct sim_node *n = &s->nodes[node];
    if (!n->up)
        return;
    sim_check_shown(s, node);
    if (!scan->begun || scan->page.done || scan->incarnation != n->incarnation)
        scan_start(s, scan, node);
    scan->page.buffer = buffer;
    scan->page.capacity = sizeof buffer;
    uint32_t from = key_from(&scan->page.from);
    struct read_point p;
    if (scan_read(&scan->page, &n->read, &p) != 0)
        return; /* again, another time */
    s->pages++;
    check_page(s, scan, from, &p);
}

/* ---- the writer's side: while all keys are in one leaf ---- */

void sim_check_order(struct sim *s, uint32_t node, uint32_t k)
{
    const struct shard *shard = s->nodes[node].shards[k].shard;
    struct order_meta m = root_meta(shard);
    if (m.level == 0 && m.count != shard->index.key_count)
        sim_broken(s, "S22", "node %u: shard %u has %llu keys, and %u in order", node, k,
                   (unsigned long long)shard->index.key_count, m.count);
}
