/* Agents that scan a node's keys in order, a page at a time (engine/scan.h), as libdunlin does
 * (engine/agent/scan.c), and the checker of what they find: each page is the shard as it was at one commit
 * LSN, and the newest where a lease covers it or where it is at or above what the leader said. */
#include "tests/sim/sim_model.h"

#include "engine/scan.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define PAGE_COUNT_MAX 5u
#define ASK_NS (5 * NS_PER_MS) /* then it asks again */

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
    *value = sim_model_value(scan_entry_value(e->next), e->next->value_length);
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

/* It is said to be the newest: no newer version of a key was known to anybody when so much was told of. */
static void check_newest(struct sim *s, const struct sim_scan *scan, uint32_t key, uint64_t told)
{
    const struct sim_record *newest = sim_version_at(&s->shards[scan->page.shard], key, told);
    if (newest != NULL && newest->lsn >= scan->point.lsn)
        sim_broken(s, "S10", "a page at node %u is the newest, at %llu, key %u was at %llu before",
                   scan->node, (unsigned long long)scan->point.lsn, key,
                   (unsigned long long)newest->lsn);
}

/* What a page says; told not 0: it is the newest there was when so much was told of. */
static void check_page(struct sim *s, const struct sim_scan *scan, uint64_t told)
{
    const struct scan_page *page = &scan->page;
    struct entries e = {.page = page, .next = (const void *)page->buffer, .left = page->count};
    uint32_t to = page->done ? SIM_KEYS : (uint32_t)min_u64(SIM_KEYS, key_from(&page->from));
    for (uint32_t key = key_from(&scan->from); key < to; key++) {
        if (sim_shard_of(key) != page->shard || !begins_with(key, &page->prefix))
            continue;
        check_key(s, scan, &scan->point, key, &e);
        if (told != 0)
            check_newest(s, scan, key, told);
    }
    while (e.left != 0 && scan_entry_key(e.next)[0] == SIM_KEY_ONCE)
        e.next = --e.left != 0 ? scan_entry_next(e.next, false) : e.next;
    if (e.left != 0)
        sim_broken(s, "S22", "a page at node %u has %u entries of other keys or in another order",
                   scan->node, e.left);
}

/* ---- is it the newest? ---- */

static bool is_leased(const struct sim *s, const struct sim_scan *scan, const struct read_point *p)
{
    return sim_clock(s, &s->nodes[scan->node]) < read_lease_deadline(p, scan->space);
}

/* Of this node's daemon, and through it of the leader. */
static void ask(struct sim *s, struct sim_scan *scan)
{
    scan->asking = ++s->read_turns;
    scan->asked = s->time;
    scan->told_floor = s->shards[scan->page.shard].lsn_told;
    sim_schedule(s, 1000 + sim_below(s, 20000),
                 (struct sim_event){.kind = EVENT_REQUEST,
                                    .node = scan->node,
                                    .client = SIM_CLIENTS + SIM_READS + scan->node,
                                    .a = scan->asking});
}

void sim_scan_reply(struct sim *s, const struct sim_event *e)
{
    struct sim_scan *scan = &s->scans[e->client - SIM_CLIENTS - SIM_READS];
    if (scan->asking == 0 || scan->asking != (uint32_t)e->a)
        return;
    scan->asking = 0;
    scan->lsn_floor = e->a >> 32 == RING_OK ? e->b : 0;
}

/* No lease covers it: what there is to wait for, or to ask. */
static void floor_find(struct sim *s, struct sim_scan *scan)
{
    struct read_point above = scan->point;
    above.pending = 0;
    if (scan->point.pending == 0 || !is_leased(s, scan, &above)) {
        ask(s, scan);
        return;
    }
    scan->lsn_wait = scan->point.pending;
    scan->told_floor = scan->told;
}

/* As page_judge of engine/agent/scan.c.  Returns whether it is given out; *told as of check_page. */
static bool page_judge(struct sim *s, struct sim_scan *scan, uint64_t *told)
{
    uint64_t lsn = max_u64(scan->lsn_floor, scan->lsn_wait);
    bool leased = is_leased(s, scan, &scan->point);
    *told = leased ? scan->told : 0;
    if (!scan->linearizable || lsn == 0) {
        s->scans_newest += leased;
        if (scan->linearizable && !leased)
            floor_find(s, scan);
        return !scan->linearizable || leased;
    }
    *told = scan->told_floor;
    bool is_above = scan->point.lsn >= lsn;
    s->scans_position += is_above && scan->lsn_floor != 0;
    s->scans_waited += !is_above;
    return is_above;
}

/* Somebody was told of what is in a page. */
static void told_learn(struct sim *s, const struct sim_scan *scan)
{
    struct sim_shard *shard = &s->shards[scan->page.shard];
    const struct scan_entry *e = (const void *)scan->page.buffer;
    for (uint32_t i = 0; i < scan->page.count; i++) {
        shard->lsn_told = max_u64(shard->lsn_told, e->lsn);
        e = scan_entry_next(e, false);
    }
}

static void page_end(struct sim *s, struct sim_scan *scan)
{
    uint64_t told;
    if (scan->result != 0)
        return; /* again, another time */
    s->pages++;
    bool is_good = page_judge(s, scan, &told);
    /* Why not: what it shows may have been given up, and it does not know. */
    if (scan->point.lsn >= s->shards[scan->page.shard].lsn_lossy) {
        check_page(s, scan, is_good ? told : 0);
        if (is_good && told != 0)
            told_learn(s, scan);
    }
    scan->lsn_wait = is_good ? 0 : scan->lsn_wait;
    scan->page.done = is_good && scan->page.done;
    if (!is_good)
        scan->page.from = scan->from;
}

/* ---- its steps ---- */

static alignas(8) uint8_t buffers[SIM_NODES][PAGE_BYTES];

static void scan_start(struct sim *s, struct sim_scan *scan, uint32_t node)
{
    uint8_t prefix = (uint8_t)sim_below(s, SIM_KEYS);
    *scan = (struct sim_scan){
        .node = node,
        .incarnation = s->nodes[node].incarnation,
        .space = &s->nodes[node].read,
        .begun = true,
        .linearizable = sim_chance(s, 60),
    };
    scan_begin(&scan->page, &prefix, sim_chance(s, 20), NULL, 0);
    scan->page.shard = sim_below(s, SIM_SHARDS);
    scan->page.count_max = 1 + sim_below(s, PAGE_COUNT_MAX);
    scan->page.buffer = buffers[node];
    scan->page.capacity = sizeof buffers[node];
}

static void page_read(void *argument)
{
    struct sim_scan *scan = argument;
    scan->result = scan_read(&scan->page, scan->space, &scan->point);
}

static void page_begin(struct sim *s, struct sim_scan *scan)
{
    const struct layout_board *board = &scan->space->boards[scan->page.shard];
    /* As epoch_look of engine/agent/scan.c.  relaxed: in one thread */
    uint64_t epoch = atomic_load_explicit(&board->epoch, memory_order_relaxed);
    scan->lsn_wait = epoch == scan->epoch_wait ? scan->lsn_wait : 0;
    scan->epoch_wait = epoch;
    scan->from = scan->page.from;
    scan->told = s->shards[scan->page.shard].lsn_told;
    sim_call_begin(&s->scan_calls[scan->node], page_read, scan);
}

void sim_scan_step(struct sim *s, uint32_t node)
{
    struct sim_scan *scan = &s->scans[node];
    struct sim_call *call = &s->scan_calls[node];
    const struct sim_node *n = &s->nodes[node];
    if (call->is_amid && (!n->up || scan->incarnation != n->incarnation))
        sim_call_drop(call); /* that memory is gone */
    if (!n->up || (call->is_amid && s->time < call->wakes))
        return;
    sim_check_shown(s, node);
    bool is_over = scan->page.done || key_from(&scan->page.from) > SIM_KEYS;
    if (!scan->begun || (is_over && !call->is_amid) || scan->incarnation != n->incarnation)
        scan_start(s, scan, node);
    if (scan->asking != 0) {
        if (s->time > scan->asked + ASK_NS)
            ask(s, scan);
        return;
    }
    if (!call->is_amid)
        page_begin(s, scan);
    if (!sim_call_go_on(s, call))
        return;
    s->pages_split += call->split;
    s->pages_again += call->split && scan->result == -EAGAIN;
    page_end(s, scan);
}

/* ---- the writer's side: while all keys are in one leaf ---- */

static struct order_meta root_meta(const struct shard *shard)
{
    const struct order *o = &shard->order;
    if (o->root == 0)
        return (struct order_meta){.count = 0};
    uint64_t offset = (uint64_t)(o->root - 1) << ORDER_NODE_SHIFT;
    return order_meta_of(order_word((const void *)(o->arena + offset), 1));
}

void sim_check_order(struct sim *s, uint32_t node, uint32_t k)
{
    const struct shard *shard = s->nodes[node].shards[k].shard;
    struct order_meta m = root_meta(shard);
    if (m.level == 0 && m.count != shard->index.key_count)
        sim_broken(s, "S22", "node %u: shard %u has %llu keys, and %u in order", node, k,
                   (unsigned long long)shard->index.key_count, m.count);
}
