/* Log writes: what a NIC does with the memory of two nodes while neither of them runs.  A write lands
 * at a moment of its own, before or after the message that announces it, in two parts now and then,
 * and reads the sender's memory then; it is lost with its connection. */
#include "tests/sim/sim.h"

#include "dataplane/replica_grant.h"

#include <stdlib.h>
#include <string.h>

#define CONNECTION_BITS 20u /* of a token's key: group_connection_key */

/* Mostly at once; now and then a NIC stands still for up to fifty leases. */
static uint64_t write_delay(struct sim *s)
{
    uint32_t dice = sim_below(s, 1000);
    if (dice < 3)
        return sim_below(s, 2500000000);
    return dice < 60 ? sim_below(s, 3000000) : 3000 + sim_below(s, 40000);
}

static void schedule(struct sim *s, struct sim_event e, const uint8_t *bytes, uint64_t delay)
{
    e.bytes = malloc(e.length);
    ASSERT(e.bytes != NULL);
    memcpy(e.bytes, bytes, e.length);
    sim_schedule(s, delay, e);
}

void sim_write(struct sim *s, uint32_t from, const struct replica_out *out)
{
    struct sim_node *n = &s->nodes[from];
    const struct message *m = &out->message;
    struct sim_event e = {
        .kind = EVENT_WRITE,
        .node = out->to,
        .a = m->number,
        .b = m->token.address,
        .c = m->token.key,
        .length = m->length,
        .log_bytes = m->length,
        .offset = (uint64_t)(m->bytes - n->arena),
        .from_incarnation = n->incarnation,
        .from = from,
        .log = m->log,
        .lsn = m->lsn,
    };
    hold_add(&n->holds, (uint32_t)(e.offset >> n->header->geometry.segment_shift));
    schedule(s, e, m->bytes, write_delay(s));
}

/* The sender has not restarted since it posted the write. */
static bool sender_lives(const struct sim *s, const struct sim_event *e)
{
    const struct sim_node *n = &s->nodes[e->from];
    return n->up && n->incarnation == e->from_incarnation;
}

static bool is_connected(const struct sim *s, const struct sim_event *e)
{
    const struct sim_node *n = &s->nodes[e->node];
    return n->up && group_connection_key(&n->group, e->from) == e->c;
}

/* S12: the frame is still that of the grant, in the log or in quarantine. */
static void check_place(struct sim *s, const struct sim_event *e)
{
    const struct sim_node *n = &s->nodes[e->node];
    const struct shard *shard = sim_node_replica(n, e->log)->shard;
    uint64_t segment = UINT64_C(1) << n->header->geometry.segment_shift;
    uint32_t frame = (uint32_t)(e->b >> n->header->geometry.segment_shift);
    const struct layout_frame *entry = &n->directory[frame];
    uint32_t kind = atomic_load_explicit(&entry->kind, memory_order_relaxed);
    uint64_t lsn_start = atomic_load_explicit(&entry->lsn_start, memory_order_relaxed);
    const struct grant *g = NULL;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (shard->grants.out[i].number == e->a && shard->grants.out[i].frame == frame)
            g = &shard->grants.out[i];
    if (g == NULL || (kind & ~FRAME_RETIRING) != FRAME_TAIL ||
        lsn_start != (e->lsn & ~(segment - 1)))
        sim_broken(s, "S12", "node %u writes its log from %llu on into memory of node %u that %s",
                   e->from, (unsigned long long)e->lsn, e->node,
                   g == NULL ? "it has no grant for" : "was reused");
    else
        s->writes_late += !land_grant_is_open(shard, g);
}

/* S3, S11: no byte of a checked log changes. */
static void check_bytes(struct sim *s, const struct sim_event *e, const uint8_t *source,
                        uint64_t end)
{
    const struct sim_node *n = &s->nodes[e->node];
    const struct log *l = &sim_node_replica(n, e->log)->shard->log;
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(l, e->lsn + e->written, &available);
    if (bytes != n->arena + e->b + e->written)
        return;
    available = min_u64(available, end - e->written);
    if (memcmp(bytes, source + e->written, available) != 0)
        sim_broken(s, "S11",
                   "node %u writes other bytes from %llu on into node %u's log, checked to %llu",
                   e->from, (unsigned long long)e->lsn, e->node, (unsigned long long)l->lsn_end);
}

/* The bytes up to end are placed; from the sender's memory, or what of it was on its way. */
static void land(struct sim *s, const struct sim_event *e, uint64_t end)
{
    const struct sim_node *from = &s->nodes[e->from];
    const uint8_t *source = sender_lives(s, e) ? from->arena + e->offset : e->bytes;
    check_place(s, e);
    check_bytes(s, e, source, end);
    memcpy(s->nodes[e->node].arena + e->b + e->written, source + e->written, end - e->written);
}

static void complete(struct sim *s, const struct sim_event *e)
{
    const struct member peer = {.node = e->node, .incarnation = e->c >> CONNECTION_BITS};
    struct sim_node *n = &s->nodes[e->from];
    sim_let_go(s, e);
    if (sender_lives(s, e))
        replica_written(sim_node_replica(n, e->log), &peer, e->a);
}

void sim_write_step(struct sim *s, const struct sim_event *e)
{
    struct sim_event later = *e;
    uint64_t words = e->length / 8;
    bool lives = sender_lives(s, e);
    /* What was not on the wire yet goes with its sender. */
    if (!is_connected(s, e) || (!lives && sim_chance(s, 30))) {
        complete(s, e);
        return;
    }
    if (s->link_cut[e->from][e->node] && lives) {
        schedule(s, later, e->bytes, NS_PER_MS + sim_below(s, 20000000)); /* the NIC repeats it */
        return;
    }
    if (e->written == 0 && words > 1 && sim_chance(s, 20)) {
        later.written = 8 * (uint64_t)(1 + sim_below(s, (uint32_t)words - 1));
        land(s, e, later.written);
        schedule(s, later, e->bytes, write_delay(s));
        return;
    }
    land(s, e, e->length);
    complete(s, e);
}
