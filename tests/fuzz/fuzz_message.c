/* Any bytes as messages and pair frames to replicas: what decodes is encoded to the same bytes again,
 * and whatever a peer says, in any order, a follower, a leader and one that recovers stay whole. */
#include "dataplane/group.h"
#include "dataplane/replica_grant.h"
#include "tests/unit/engine/fixture.h"

#include <stdlib.h>
#include <string.h>

#define NODES 3u /* node 2 is the fuzzer's alone */
#define HERE 2u
#define LOG 7u
#define STEP 40u /* bytes of an event, at least */

static const struct replica_times times = {
    .lease = 1000, .heartbeat = 100, .retry = 40, .read_leases = true, .log_write = true};

static const struct fixture_config small = {
    .quota_bytes = UINT64_C(2) << 20,
    .shard_count = 1,
    .sessions_max = 4,
    .follower = true,
};

struct node {
    struct replica replica;
    struct group group;
    struct pair pairs[NODES - 1];
    uint64_t memory[NODES - 1][(PAIR_CHANGES_PER_SHARD + 1) * 3];
    struct replica *replicas[1], *busy[1];
    struct replica_update update;
};

static struct fixture shards[HERE];
static struct node nodes[HERE], nodes_saved[HERE];
static uint8_t *shards_saved[HERE];
static struct configuration configuration;
static uint64_t now, origin;

/* ---- a leader, a follower ---- */

static struct replica *find(void *context, uint32_t log)
{
    struct node *n = context;
    return log == LOG ? &n->replica : NULL;
}

static void node_open(uint32_t id)
{
    struct node *n = &nodes[id];
    const struct member self = {.node = id, .incarnation = id + 1};
    fixture_open(&shards[id], &small);
    shards[id].shard->lsn_kept = 0;
    replica_init(&n->replica, shards[id].shard, &self, &times);
    n->replica.reclaim = &shards[id].now;
    n->replica.group = &n->group;
    group_init(&n->group, &self, &times);
    n->group.find = find;
    n->group.context = n;
    n->group.pairs = n->pairs;
    n->group.replicas = n->replicas;
    n->group.busy = n->busy;
    n->group.replica_count = 1;
    n->replicas[0] = &n->replica;
    for (uint32_t i = 0; i < NODES; i++)
        if (i != id) {
            uint32_t at = n->group.pair_count++;
            pair_init(&n->pairs[at], i, 1, n->memory[at]);
        }
}

static void receive(uint32_t to, const uint8_t *bytes, uint64_t length);

/* What a node has to say: read in full, so that what it points to is there; told on if asked for. */
static bool send_all(uint32_t id, bool tell)
{
    static struct replica_update out;
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    struct node *n = &nodes[id];
    struct pair_frame f;
    uint32_t to;
    bool any = false;
    ASSERT(n->update.out_count <= REPLICA_OUT_MAX);
    out = n->update;
    replica_update_reset(&n->update);
    for (uint32_t i = 0; i < out.out_count; i++) {
        ASSERT(message_bytes(&out.out[i].message) <= sizeof bytes);
        message_encode(&out.out[i].message, bytes);
        /* Nothing is written where a peer may have said anything: the write is lost. */
        if (out.out[i].message.kind == MESSAGE_ANNOUNCE)
            replica_written(
                &n->replica,
                &(struct member){.node = out.out[i].to, .incarnation = out.out[i].to + 1},
                out.out[i].message.number);
        any = true;
        if (tell && out.out[i].to < HERE)
            receive(out.out[i].to, bytes, message_bytes(&out.out[i].message));
    }
    while (group_frame(&n->group, &f, &to, now)) {
        pair_frame_encode(&f, bytes);
        any = true;
        if (tell && to < HERE)
            receive(to, bytes, pair_frame_bytes(&f));
    }
    return any;
}

static void require_whole(uint32_t id)
{
    const struct shard *s = shards[id].shard;
    ASSERT(s->lsn_committed <= s->log.lsn_whole && s->log.lsn_whole <= s->log.lsn_end);
    ASSERT(s->log.lsn_end >= origin && s->log.epoch_count <= LIMIT_EPOCHS);
    const struct replica *r = &nodes[id].replica;
    ASSERT(r->role <= REPLICA_STOPPED && r->configuration.epoch <= r->promised + 1);
    for (uint32_t i = 0; i < NODES - 1; i++) {
        const struct pair *p = &nodes[id].pairs[i];
        ASSERT(p->excluded_count <= p->excluded_capacity && p->listed <= 1 && p->behind <= 1);
        ASSERT(p->reader_count <= p->listed && p->number + 1 - p->number_first <= p->capacity);
    }
}

/* What follows an event in a pass. */
static void pass(uint32_t id)
{
    struct node *n = &nodes[id];
    replica_tick(&n->replica, now, &n->update);
    fixture_answers(&shards[id]);
    require_whole(id);
}

static void receive(uint32_t to, const uint8_t *bytes, uint64_t length)
{
    static struct message m;
    struct pair_frame f;
    struct node *n = &nodes[to];
    group_begin(&n->group, now);
    if (message_decode(&m, bytes, length) == 0)
        (void)!replica_receive(&n->replica, &m, now, &n->update);
    else if (pair_frame_decode(&f, bytes, length) == 0)
        (void)!group_receive(&n->group, &f, now);
    pass(to);
}

static void configure(uint32_t leader, uint64_t epoch, bool active)
{
    struct configuration before = configuration;
    struct node *n = &nodes[leader];
    configuration = (struct configuration){
        .epoch = epoch,
        .epoch_before = active ? before.epoch_before : before.epoch,
        .active = active,
        .voter_count = NODES,
        .voter_before_count =
            before.epoch != 0 && (!active || before.epoch_before != 0) ? NODES : 0,
        .leader = {.node = leader, .incarnation = leader + 1},
    };
    for (uint32_t i = 0; i < NODES; i++)
        configuration.voters[i] = configuration.voters_before[i] =
            (struct member){.node = i, .incarnation = i + 1};
    ASSERT(configuration_is_valid(&configuration));
    group_begin(&n->group, now);
    replica_configure(&n->replica, &configuration, now, &n->update);
    pass(leader);
}

static void talk(void)
{
    bool any = true;
    for (uint32_t round = 0; any && round < 64; round++) {
        any = send_all(0, true);
        any = send_all(1, true) || any;
    }
}

static void put(uint32_t id, uint64_t key)
{
    uint64_t value[20] = {key};
    if (replica_leads(&nodes[id].replica))
        (void)!fixture_put(&shards[id], &key, sizeof key, value, sizeof value);
}

static void open_all(void)
{
    now = 10000;
    for (uint32_t i = 0; i < HERE; i++)
        node_open(i);
    origin = shards[0].shard->log.lsn_end;
    talk();
    configure(0, 1, false);
    talk();
    configure(0, 1, true);
    for (uint64_t i = 0; i < 6; i++) {
        put(0, i);
        pass(0);
        talk();
        now += 50;
        pass(0);
    }
    put(0, 9); /* not committed: nobody was told */
    ASSERT(nodes[0].replica.role == REPLICA_LEADING && nodes[1].replica.joined);
    ASSERT(shards[1].shard->lsn_committed > origin + 500);
    for (uint32_t i = 0; i < HERE; i++) {
        nodes_saved[i] = nodes[i];
        shards_saved[i] = fixture_save(&shards[i]);
    }
}

static void restore_all(void)
{
    static struct configuration saved;
    static uint64_t now_saved;
    if (shards_saved[0] == NULL) {
        open_all();
        saved = configuration;
        now_saved = now;
        return;
    }
    for (uint32_t i = 0; i < HERE; i++) {
        nodes[i] = nodes_saved[i];
        fixture_restore(&shards[i], shards_saved[i]);
    }
    configuration = saved;
    now = now_saved;
}

/* ---- events ---- */

struct event {
    uint8_t what, to, kind, from, count, epoch, number, flags;
    uint16_t lsn[4], time[2];
    uint16_t length, item;
    uint8_t data[16];
};
_Static_assert(sizeof(struct event) == STEP, "no holes in what the fuzzer writes");

/* Positions that mean something at this node, and others near them. */
static uint64_t lsn_of(uint32_t node, uint16_t v)
{
    const struct shard *s = shards[node].shard;
    uint64_t more = (uint64_t)(v & 0x1fff) * 8;
    switch (v >> 13) {
    case 0:
        return s->log.lsn_whole;
    case 1:
        return s->lsn_committed;
    case 2:
        return shards[0].shard->log.lsn_whole;
    case 3:
        return s->log.lsn_end + more;
    case 4:
        return s->log.lsn_whole - more % 1024;
    case 5:
        return more;
    case 6:
        return UINT64_MAX - more;
    default:
        return origin + more;
    }
}

static void message_make(const struct event *e, struct message *m)
{
    static uint64_t filler[MESSAGE_PAYLOAD_MAX / 8];
    *m = (struct message){
        .kind = e->kind % (MESSAGE_KIND_COUNT + 1),
        .log = e->flags & 1 ? e->item : LOG,
        .epoch = nodes[e->to % HERE].replica.promised + e->epoch % 4 - 1,
        .from = {.node = e->from % 4, .incarnation = e->from % 4 + 1 + (e->flags >> 1 & 1)},
        .lsn = lsn_of(e->to % HERE, e->lsn[0]),
        .lsn_end = lsn_of(e->to % HERE, e->lsn[1]),
        .lsn_committed = lsn_of(e->to % HERE, e->lsn[2]),
        .lsn_kept = lsn_of(e->to % HERE, e->lsn[3]),
        .length = e->length,
        .proof = {.bytes = {(uint8_t)e->item, (uint8_t)(e->item >> 8)}},
        .number = e->number,
        .token = {.address = e->time[0], .key = e->time[1]},
        .bytes = (const uint8_t *)filler,
    };
    bool table = m->kind == MESSAGE_SEALED || m->kind == MESSAGE_JOIN;
    m->table_count = table ? e->count % 4 : 0;
    uint64_t at = origin + (e->data[15] & 1) * 64;
    for (uint32_t i = 0; i < m->table_count; i++) {
        m->table[i] = (struct log_epoch){.epoch = 1 + i + (e->data[i] & 1),
                                         .lsn_end_before = at,
                                         .lsn_start = at + (e->data[4 + i] & 3) * 32};
        at = m->table[i].lsn_start + 8 + e->data[8 + i] * 8u;
    }
    memcpy(filler, e->data, sizeof e->data);
    /* Half of the bytes are those of the leader's log, or hardly any would be indexed. */
    uint64_t available;
    const uint8_t *log = log_bytes_at(&shards[0].shard->log, m->lsn, &available);
    if (log != NULL && (e->flags & 4) != 0) {
        m->bytes = log;
        m->length = (uint32_t)min_u64(m->length, available);
    }
}

static void frame_make(const struct event *e, struct pair_frame *f)
{
    uint32_t to = e->to % HERE;
    const struct pair *p = &nodes[to].pairs[e->from % (NODES - 1)];
    bool pulse = (e->kind & 1) != 0;
    *f = (struct pair_frame){
        .kind = pulse ? PAIR_PULSE : PAIR_ECHO,
        .count = e->count % (PAIR_ITEMS + 1),
        .from = {.node = p->peer.node, .incarnation = p->peer.node + 1 + (e->flags >> 1 & 1)},
        .to = (e->flags & 8) != 0 ? 0 : to + 1,
        .ask = now + e->time[0] - 1000,
        .number = (pulse ? p->list_number : p->number) + e->number - 3,
        .want = now + e->time[1] - 1000,
        .duration = e->length,
        .current = (e->flags & 16) != 0,
    };
    f->number_from =
        (e->flags & 32) != 0 ? lsn_of(e->to % HERE, e->lsn[0]) : f->number + 1 - f->count;
    for (uint32_t i = 0; i < f->count; i++)
        f->items[i] = (struct pair_change){.log = (e->data[i % 16] & 8) != 0 ? LOG : e->item + i,
                                           .what = e->data[(i + 1) % 16] % (PAIR_WHAT_COUNT + 1),
                                           .epoch = nodes[to].replica.promised +
                                                    e->data[(i + 2) % 16] % 4 - 1,
                                           .lsn = lsn_of(e->to % HERE, e->lsn[1])};
}

/* Decoded where the bytes end with the memory; what decodes encodes to the same bytes. */
static void foreign_bytes(uint32_t to, const uint8_t *data, uint64_t length)
{
    static struct message m;
    struct pair_frame f;
    uint8_t *copy = malloc(length != 0 ? length : 1), *again = malloc(length != 0 ? length : 1);
    ASSERT(copy != NULL && again != NULL);
    memcpy(copy, data, length);
    if (message_decode(&m, copy, length) == 0) {
        ASSERT(message_bytes(&m) == length);
        message_encode(&m, again);
        again[2] = copy[2]; /* reserved */
        again[3] = copy[3];
        ASSERT(memcmp(copy, again, length) == 0);
        uint64_t head = message_head_bytes(&m);
        ASSERT(message_decode_parts(&m, copy, head, copy + head, length - head) == 0);
    }
    if (pair_frame_decode(&f, copy, length) == 0) {
        ASSERT(pair_frame_bytes(&f) == length && f.count <= PAIR_ITEMS);
    }
    receive(to, copy, length);
    free(again);
    free(copy);
}

static void event_take(const struct event *e)
{
    static struct message m;
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    struct pair_frame f;
    uint64_t length;
    uint32_t to = e->to % HERE;
    switch (e->what % 8) {
    case 0:
    case 1:
    case 2:
        message_make(e, &m);
        message_encode(&m, bytes);
        length = message_bytes(&m);
        if ((e->flags & 128) != 0) { /* another count, and the length that agrees */
            bytes[1] = e->count;
            length = MESSAGE_HEAD_BYTES + e->count * sizeof m.table[0];
        }
        foreign_bytes(to, bytes, length);
        break;
    case 3:
    case 4:
        frame_make(e, &f);
        pair_frame_encode(&f, bytes);
        length = pair_frame_bytes(&f);
        if ((e->flags & 128) != 0) {
            bytes[1] = e->count;
            length = PAIR_FRAME_HEAD_BYTES + e->count * sizeof f.items[0];
        }
        foreign_bytes(to, bytes, length);
        break;
    case 5:
        now += e->time[0] % 3000;
        group_begin(&nodes[to].group, now);
        pass(to);
        break;
    case 6:
        if ((e->flags & 1) != 0 && configuration.leader.node == to)
            configure(to, configuration.epoch, true);
        else
            configure(to, configuration.epoch + 1 + e->epoch % 2, false);
        break;
    default:
        put(to, e->number);
        pass(to);
    }
    (void)send_all(to, (e->flags & 64) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    restore_all();
    if (data[0] % 4 == 0) {
        foreign_bytes(data[0] / 4 % HERE, data + 1, size - 1);
        (void)send_all(data[0] / 4 % HERE, false);
        return 0;
    }
    for (size_t at = 1; at + sizeof(struct event) <= size && at < 40 * sizeof(struct event);
         at += sizeof(struct event)) {
        struct event e;
        memcpy(&e, data + at, sizeof e);
        event_take(&e);
    }
    return 0;
}
