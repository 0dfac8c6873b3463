#include "tests/unit/dataplane/replica_cluster.h"

#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define CLOCK_BASE UINT64_C(1000000) /* node 0's clock at the beginning; node 1's is twice that */

#define QUOTA_BYTES (UINT64_C(2) << 20)

static const struct fixture_config small = {
    .shard_count = 1,
    .sessions_max = 4,
    .follower = true,
};

uint64_t cluster_clock(const struct cluster *c, uint32_t node)
{
    return c->time + CLOCK_BASE * (node + 1);
}

unsigned long long cluster_lsn(const struct cluster *c, uint64_t lsn)
{
    return lsn >= c->origin ? lsn - c->origin : 0;
}

/* ---- the trace ---- */

static void say(struct cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct cluster *c, const char *format, ...)
{
    va_list arguments;
    if (c->quiet)
        return;
    size_t room = CLUSTER_TRACE_BYTES - c->trace_bytes;
    va_start(arguments, format);
    int length = vsnprintf(c->trace + c->trace_bytes, room, format, arguments);
    va_end(arguments);
    CU_ASSERT_FATAL((size_t)length < room);
    c->trace_bytes += (size_t)length;
}

static void say_table(struct cluster *c, const struct message *m)
{
    say(c, " end=%llu commit=%llu table", cluster_lsn(c, m->lsn_end),
        cluster_lsn(c, m->lsn_committed));
    for (uint32_t i = 0; i < m->table_count; i++)
        say(c, " e%" PRIu64 "@%llu%s", m->table[i].epoch, cluster_lsn(c, m->table[i].lsn_start),
            m->table[i].lossy != 0 ? "!" : "");
}

static void say_message(struct cluster *c, uint32_t from, uint32_t to, const struct message *m)
{
    static const char *const names[] = {"",     "SEAL",   "SEALED",   "FETCH",  "JOIN",
                                        "CUT",  "APPEND", "ACK",      "NAK",    "PIECE",
                                        "WANT", "GRANT",  "ANNOUNCE", "RECALL", "RETURN"};
    _Static_assert(sizeof names / sizeof names[0] == MESSAGE_KIND_COUNT, "each kind has a name");
    say(c, "%u>%u %s e%" PRIu64, from, to, names[m->kind], m->epoch);
    switch (m->kind) {
    case MESSAGE_SEAL:
        say(c, " after e%" PRIu64, m->lsn);
        break;
    case MESSAGE_SEALED:
    case MESSAGE_JOIN:
        say_table(c, m);
        break;
    case MESSAGE_APPEND:
    case MESSAGE_ANNOUNCE:
        if (m->length != 0)
            say(c, " [%llu,%llu)", cluster_lsn(c, m->lsn), cluster_lsn(c, m->lsn + m->length));
        say(c, " commit=%llu", cluster_lsn(c, m->lsn_committed));
        break;
    case MESSAGE_PIECE:
    case MESSAGE_WANT:
        say(c, " piece %" PRIu64, m->lsn);
        break;
    case MESSAGE_GRANT:
        say(c, " %" PRIu64 " at %llu", m->number, cluster_lsn(c, m->lsn));
        break;
    case MESSAGE_RECALL:
    case MESSAGE_RETURN:
        say(c, " %" PRIu64, m->lsn);
        break;
    case MESSAGE_NAK:
        say(c, " [%llu,%llu)", cluster_lsn(c, m->lsn), cluster_lsn(c, m->lsn_end));
        break;
    case MESSAGE_ACK:
        say(c, " %llu commit=%llu", cluster_lsn(c, m->lsn), cluster_lsn(c, m->lsn_committed));
        break;
    default:
        say(c, " %llu", cluster_lsn(c, m->lsn));
    }
    say(c, "\n");
}

/* The time at which node read its clock so. */
static unsigned long long time_of(uint64_t clock, uint32_t node)
{
    uint64_t base = CLOCK_BASE * (node + 1);
    return clock >= base ? clock - base : UINT64_MAX;
}

static void say_items(struct cluster *c, const struct pair_frame *f)
{
    static const char *const names[PAIR_WHAT_COUNT] = {"",         "reset",  "add",    "read",
                                                       "read-off", "remove", "release"};
    for (uint32_t i = 0; i < f->count; i++) {
        const struct pair_change *item = &f->items[i];
        say(c, " %s", names[item->what]);
        if (item->what != PAIR_RESET)
            say(c, "(e%" PRIu64 "%s", item->epoch, item->what == PAIR_READ ? "" : ")");
        if (item->what == PAIR_READ)
            say(c, ",%llu)", cluster_lsn(c, item->lsn));
    }
}

static void say_frame(struct cluster *c, uint32_t from, uint32_t to, const struct pair_frame *f)
{
    if (f->kind == PAIR_PULSE) {
        say(c, "%u>%u PULSE @%llu list=%" PRIu64, from, to, time_of(f->ask, from), f->number);
        if (f->count != 0)
            say(c, " %" PRIu64 ":", f->number_from);
        say_items(c, f);
        if (f->want != 0 && f->duration != 0)
            say(c, " grant=%" PRIu64 "@%llu", f->duration, time_of(f->want, to));
        say(c, "%s\n", f->current ? "" : " behind");
        return;
    }
    say(c, "%u>%u ECHO", from, to);
    if (f->ask != 0)
        say(c, " @%llu", time_of(f->ask, to));
    say(c, " list=%" PRIu64, f->number);
    if (f->count != 0)
        say(c, " without");
    for (uint32_t i = 0; i < f->count; i++)
        say(c, " e%" PRIu64, f->items[i].epoch);
    say(c, "%s\n", f->want != 0 ? " want" : "");
}

static void say_changes(struct cluster *c, uint32_t node)
{
    static const char *const roles[] = {"follows", "seals", "fetches", "brings", "leads", "stops"};
    struct cluster_node *n = &c->nodes[node];
    struct cluster_seen *seen = &n->seen;
    const struct replica *r = &n->replica;
    if (r->role != seen->role)
        say(c, "  %u %s e%" PRIu64 "\n", node, roles[r->role], r->promised);
    if (r->shard->lsn_committed != seen->lsn_committed)
        say(c, "  %u commits %llu\n", node, cluster_lsn(c, r->shard->lsn_committed));
    if (r->may_read != seen->may_read)
        say(c, "  %u %s\n", node, r->may_read ? "may read" : "reads no more");
    if (r->commit.lease_holder_mask != seen->holder_mask) {
        say(c, "  %u waits for", node);
        for (uint32_t i = 1; i < LIMIT_PEERS; i++)
            if ((r->commit.lease_holder_mask & 1u << i) != 0)
                say(c, " %u", r->peers[i].id.node);
        say(c, "%s\n", r->commit.lease_holder_mask == 0 ? " nobody" : "");
    }
    *seen = (struct cluster_seen){
        .role = r->role,
        .may_read = r->may_read,
        .lsn_committed = r->shard->lsn_committed,
        .holder_mask = r->commit.lease_holder_mask,
    };
}

/* ---- the network ---- */

static void letter_post(struct cluster *c, uint32_t from, uint32_t to, uint8_t *bytes,
                        uint64_t length)
{
    CU_ASSERT_FATAL(to < c->node_count && c->queue_tail - c->queue_head < CLUSTER_LETTERS);
    bool lost = c->lost[from][to] != 0 && bytes[0] == c->lost[from][to];
    if (lost)
        c->lost[from][to] = 0;
    if (lost || c->cut_off[from][to]) {
        free(bytes);
        return;
    }
    if (c->damaged[from][to] && bytes[0] == MESSAGE_APPEND && length > MESSAGE_HEAD_BYTES) {
        bytes[length - 1] ^= 1;
        c->damaged[from][to] = false;
    }
    c->queue[c->queue_tail++ % CLUSTER_LETTERS] =
        (struct cluster_letter){.from = from, .to = to, .bytes = bytes, .length = length};
}

static void update_post(struct cluster *c, uint32_t node)
{
    struct replica_update *u = &c->nodes[node].update;
    for (uint32_t i = 0; i < u->out_count; i++) {
        const struct message *m = &u->out[i].message;
        uint64_t length = message_bytes(m);
        uint8_t *bytes = malloc(length);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        message_encode(m, bytes);
        if (m->kind == MESSAGE_ANNOUNCE)
            cluster_write_post(c, node, &u->out[i]);
        letter_post(c, node, u->out[i].to, bytes, length);
    }
    if (u->activate != 0)
        say(c, "  %u asks to activate e%" PRIu64 "\n", node, u->activate);
    if (u->ceiling != 0)
        say(c, "  %u asks for a ceiling of %llu\n", node, cluster_lsn(c, u->ceiling));
    if (u->promote.incarnation != 0)
        say(c, "  %u finds %u fit to vote\n", node, u->promote.node);
    if (u->disconnect)
        say(c, "  %u disconnects %u\n", node, u->disconnect_node);
    if (u->disconnect)
        group_disconnected(&c->nodes[node].group, u->disconnect_node);
    replica_update_reset(u);
}

static void frames_post(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    struct pair_frame f;
    uint32_t to;
    while (group_frame(&n->group, &f, &to, cluster_clock(c, node) + n->late)) {
        uint64_t length = pair_frame_bytes(&f);
        uint8_t *bytes = malloc(length);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        pair_frame_encode(&f, bytes);
        letter_post(c, node, to, bytes, length);
    }
}

/* ---- a pass ---- */

static void pass_begin(struct cluster *c, uint32_t node)
{
    group_begin(&c->nodes[node].group, cluster_clock(c, node));
}

static void pass_end(struct cluster *c, uint32_t node)
{
    struct cluster_node *n = &c->nodes[node];
    for (uint32_t i = 0; i < n->group.busy_count; i++) {
        do {
            if (n->update.more)
                update_post(c, node);
            replica_tick(n->group.busy[i], cluster_clock(c, node), &n->update);
        } while (n->update.more);
    }
    say_changes(c, node);
    update_post(c, node);
    fixture_answers(&n->shard);
    frames_post(c, node);
    say_changes(c, node);
    group_settle(&n->group);
}

static void letter_take(struct cluster *c, const struct cluster_letter *l)
{
    struct cluster_node *n = &c->nodes[l->to];
    uint64_t now = cluster_clock(c, l->to);
    struct message m;
    struct pair_frame f;
    int error;
    pass_begin(c, l->to);
    if (message_decode(&m, l->bytes, l->length) == 0) {
        say_message(c, l->from, l->to, &m);
        error = replica_receive(&n->replica, &m, now, &n->update);
    } else {
        CU_ASSERT_EQUAL_FATAL(pair_frame_decode(&f, l->bytes, l->length), 0);
        say_frame(c, l->from, l->to, &f);
        error = group_receive(&n->group, &f, now);
    }
    if (error != 0)
        say(c, "  %u says %s\n", l->to, error == -ESTALE ? "stale" : "wrong");
    pass_end(c, l->to);
}

static void deliver(struct cluster *c)
{
    while (c->queue_head != c->queue_tail) {
        struct cluster_letter l = c->queue[c->queue_head++ % CLUSTER_LETTERS];
        if (c->delayed[l.from][l.to]) {
            CU_ASSERT_FATAL(c->late_count < CLUSTER_LETTERS);
            c->late[c->late_count++] = l;
            continue;
        }
        letter_take(c, &l);
        free(l.bytes);
    }
}

void cluster_deliver_late(struct cluster *c)
{
    uint32_t count = c->late_count;
    c->late_count = 0;
    memset(c->delayed, 0, sizeof c->delayed);
    for (uint32_t i = 0; i < count; i++) {
        letter_take(c, &c->late[i]);
        free(c->late[i].bytes);
    }
    deliver(c);
}

void cluster_pass(struct cluster *c, uint32_t node)
{
    pass_begin(c, node);
    pass_end(c, node);
    deliver(c);
}

void cluster_wait(struct cluster *c, uint64_t ticks)
{
    c->time += ticks;
    for (uint32_t i = 0; i < c->node_count; i++)
        cluster_pass(c, i);
}

void cluster_run(struct cluster *c, uint64_t ticks)
{
    for (uint64_t done = 0; done < ticks; done += CLUSTER_HEARTBEAT)
        cluster_wait(c, CLUSTER_HEARTBEAT);
}

/* ---- nodes ---- */

static struct replica *replica_find(void *context, uint32_t log)
{
    struct cluster_node *n = context;
    return log == CLUSTER_LOG ? &n->replica : NULL;
}

static void node_open(struct cluster *c, uint32_t node, uint64_t incarnation)
{
    struct cluster_node *n = &c->nodes[node];
    struct member self = {.node = node, .incarnation = incarnation};
    struct fixture_config config = small;
    config.quota_bytes = c->quota_bytes;
    fixture_open(&n->shard, &config);
    replica_init(&n->replica, n->shard.shard, &self, &c->times);
    n->replica.reclaim = &n->shard.now;
    n->replica.group = &n->group;
    n->shard.shard->lsn_kept = 0;
    group_init(&n->group, &self, &c->times);
    n->group.find = replica_find;
    n->group.context = n;
    n->group.pairs = n->pairs;
    n->group.replicas = n->replicas;
    n->group.busy = n->busy;
    n->group.replica_count = 1;
    n->replicas[0] = &n->replica;
    for (uint32_t i = 0; i < c->node_count; i++)
        if (i != node) {
            pair_init(&n->pairs[n->group.pair_count], i, 1, n->memory[n->group.pair_count]);
            n->group.pair_count++;
        }
    replica_update_reset(&n->update);
    n->seen = (struct cluster_seen){.lsn_committed = n->shard.shard->lsn_committed};
}

void cluster_open(struct cluster *c, const struct cluster_config *config)
{
    memset(c, 0, sizeof *c);
    c->node_count = config->node_count;
    c->quota_bytes = config->quota_bytes != 0 ? config->quota_bytes : QUOTA_BYTES;
    c->times = (struct replica_times){
        .lease = CLUSTER_LEASE,
        .heartbeat = CLUSTER_HEARTBEAT,
        .retry = CLUSTER_RETRY,
        .read_leases = config->read_leases,
        .log_write = config->log_write,
        .log_write_above = config->log_write_above,
    };
    CU_ASSERT_FATAL(c->node_count <= CLUSTER_NODES_MAX);
    CU_ASSERT_EQUAL_FATAL(sizeof c->nodes[0].memory[0], pair_bytes(1));
    for (uint32_t i = 0; i < c->node_count; i++)
        node_open(c, i, i + 1);
    c->origin = c->nodes[0].shard.shard->log.lsn_end;
    c->quiet = true;
    for (uint32_t i = 0; i < c->node_count && !config->strangers; i++)
        cluster_pass(c, i);
    c->quiet = false;
}

void cluster_close(struct cluster *c)
{
    CU_ASSERT_EQUAL(c->queue_head, c->queue_tail);
    CU_ASSERT_EQUAL(c->write_count, 0);
    for (uint32_t i = 0; i < c->late_count; i++)
        free(c->late[i].bytes);
    for (uint32_t i = 0; i < c->node_count; i++)
        fixture_close(&c->nodes[i].shard);
}

void cluster_restart(struct cluster *c, uint32_t node)
{
    uint64_t incarnation = c->nodes[node].replica.self.incarnation + 10;
    say(c, "%u restarts as incarnation %" PRIu64 "\n", node, incarnation);
    fixture_close(&c->nodes[node].shard);
    node_open(c, node, incarnation);
    /* What it promised before it does not know. */
    c->nodes[node].replica.promise_end = cluster_clock(c, node) + CLUSTER_LEASE + 2;
}

/* ---- the control plane ---- */

static void configuration_tell(struct cluster *c)
{
    const struct configuration *now = &c->configuration;
    uint32_t leader = now->leader.node;
    say(c, "%s e%" PRIu64 " led by %u", now->active ? "active" : "pending", now->epoch, leader);
    if (now->lossy && !now->active)
        say(c, ", above %llu, from %u survivors", cluster_lsn(c, now->lsn_floor),
            now->voter_before_count);
    if (now->lsn_ceiling != 0)
        say(c, ", up to %llu", cluster_lsn(c, now->lsn_ceiling));
    say(c, "\n");
    pass_begin(c, leader);
    replica_configure(&c->nodes[leader].replica, now, cluster_clock(c, leader),
                      &c->nodes[leader].update);
    pass_end(c, leader);
    deliver(c);
}

static void configuration_make(struct cluster *c, uint64_t epoch, uint32_t leader,
                               uint32_t voter_mask)
{
    struct configuration before = c->configuration;
    struct configuration *next = &c->configuration;
    *next = (struct configuration){
        .epoch = epoch,
        .epoch_before = before.active ? before.epoch : before.epoch_before,
        .leader = c->nodes[leader].replica.self,
    };
    for (uint32_t i = 0; i < c->node_count; i++)
        if ((voter_mask & 1u << i) != 0)
            next->voters[next->voter_count++] = c->nodes[i].replica.self;
    /* The predecessor is the last epoch that was active. */
    next->voter_before_count = before.active ? before.voter_count : before.voter_before_count;
    memcpy(next->voters_before, before.active ? before.voters : before.voters_before,
           sizeof next->voters_before);
}

void cluster_pend(struct cluster *c, uint64_t epoch, uint32_t leader, uint32_t voter_mask)
{
    configuration_make(c, epoch, leader, voter_mask);
    CU_ASSERT_FATAL(configuration_is_valid(&c->configuration));
    configuration_tell(c);
}

void cluster_learn(struct cluster *c, uint64_t epoch, uint32_t leader, uint32_t voter_mask)
{
    struct configuration *next = &c->configuration;
    configuration_make(c, epoch, leader, voter_mask);
    for (uint32_t i = 0; i < c->node_count; i++)
        if ((voter_mask & 1u << i) == 0)
            next->learners[next->learner_count++] = c->nodes[i].replica.self;
    CU_ASSERT_FATAL(configuration_is_valid(next));
    configuration_tell(c);
}

void cluster_pend_lossy(struct cluster *c, const struct cluster_lossy *lossy)
{
    struct configuration *next = &c->configuration;
    configuration_make(c, lossy->epoch, lossy->leader, lossy->voter_mask);
    next->lossy = true;
    next->lsn_floor = c->origin + lossy->floor;
    next->lsn_ceiling = next->lsn_floor + (UINT64_C(1) << 24);
    uint32_t survivors = 0;
    for (uint32_t i = 0; i < next->voter_before_count; i++) {
        struct member m = next->voters_before[i];
        if (member_equal(&m, &c->nodes[m.node].replica.self))
            next->voters_before[survivors++] = m;
    }
    next->voter_before_count = survivors;
    CU_ASSERT_FATAL(configuration_is_valid(next));
    configuration_tell(c);
}

void cluster_grant(struct cluster *c, uint64_t ceiling)
{
    c->configuration.lsn_ceiling = c->origin + ceiling;
    configuration_tell(c);
}

void cluster_activate(struct cluster *c)
{
    c->configuration.active = true;
    configuration_tell(c);
}

/* ---- what else happens ---- */

void cluster_put(struct cluster *c, uint32_t node, uint64_t key, uint32_t length)
{
    static uint8_t value[LIMIT_VALUE_BYTES];
    struct cluster_node *n = &c->nodes[node];
    say(c, "put at %u\n", node);
    memset(value, (int)key, length);
    CU_ASSERT_FATAL(replica_leads(&n->replica));
    CU_ASSERT_EQUAL_FATAL(fixture_put(&n->shard, &key, sizeof key, value, length), 0);
    group_wake(&n->group, &n->replica);
    cluster_pass(c, node);
}

void cluster_cut_off(struct cluster *c, uint32_t node, bool off)
{
    for (uint32_t i = 0; i < c->node_count; i++)
        c->cut_off[i][node] = c->cut_off[node][i] = off;
}

void cluster_hand_over(struct cluster *c, uint32_t node)
{
    say(c, "%u hands over\n", node);
    replica_hand_over(&c->nodes[node].replica);
    cluster_pass(c, node);
}

int cluster_tell(struct cluster *c, uint32_t node, const struct message *m)
{
    struct cluster_node *n = &c->nodes[node];
    pass_begin(c, node);
    int error = replica_receive(&n->replica, m, cluster_clock(c, node), &n->update);
    replica_update_reset(&n->update);
    return error;
}

int cluster_tell_frame(struct cluster *c, uint32_t node, const struct pair_frame *f)
{
    pass_begin(c, node);
    return group_receive(&c->nodes[node].group, f, cluster_clock(c, node));
}

void cluster_lead(struct cluster *c, const struct cluster_config *config)
{
    cluster_open(c, config);
    c->quiet = true;
    cluster_pend(c, 1, 0, (1u << c->node_count) - 1);
    cluster_activate(c);
    cluster_put(c, 0, 7, 8);
    cluster_wait(c, CLUSTER_RETRY);
    for (uint32_t i = 0; i < c->node_count; i++)
        CU_ASSERT_EQUAL_FATAL(cluster_committed(c, i), 208);
    c->quiet = false;
}

/* ---- checks ---- */

void cluster_forget(struct cluster *c)
{
    c->trace_bytes = 0;
    c->trace[0] = 0;
}

void cluster_expect(struct cluster *c, const char *golden)
{
    if (strcmp(c->trace, golden) != 0)
        printf("\n--- got\n%s--- expected\n%s---\n", c->trace, golden);
    CU_ASSERT_STRING_EQUAL(c->trace, golden);
    cluster_forget(c);
}

bool cluster_may_answer(const struct cluster *c, uint32_t node)
{
    return replica_may_answer(&c->nodes[node].replica, cluster_clock(c, node));
}

unsigned long long cluster_committed(const struct cluster *c, uint32_t node)
{
    return cluster_lsn(c, c->nodes[node].shard.shard->lsn_committed);
}

unsigned long long cluster_log_end(const struct cluster *c, uint32_t node)
{
    return cluster_lsn(c, c->nodes[node].shard.shard->log.lsn_whole);
}

uint64_t cluster_count(const struct cluster *c, uint32_t node, enum replica_count which)
{
    return c->nodes[node].replica.counts[which];
}

bool cluster_same_log(const struct cluster *c, uint32_t a, uint32_t b)
{
    const struct log *la = &c->nodes[a].shard.shard->log, *lb = &c->nodes[b].shard.shard->log;
    if (la->lsn_whole != lb->lsn_whole)
        return false;
    for (uint64_t at = c->origin; at < la->lsn_whole;) {
        uint64_t na, nb;
        const uint8_t *ba = log_bytes_at(la, at, &na), *bb = log_bytes_at(lb, at, &nb);
        if (ba == NULL || bb == NULL)
            return false;
        uint64_t length = min_u64(min_u64(na, nb), la->lsn_whole - at);
        if (memcmp(ba, bb, length) != 0)
            return false;
        at += length;
    }
    return true;
}

struct pair *cluster_pair(struct cluster *c, uint32_t node, uint32_t with)
{
    return group_pair(&c->nodes[node].group, with);
}
