#include "control/status.h"

#include "control/status_keys.h"
#include "dataplane/cluster.h"
#include "dataplane/transport.h"
#include "engine/agent/dunlin.h"

#include <jansson.h>
#include <unistd.h>

static const char *const counter_names[] = {
    [COUNTER_PASSES] = "passes",
    [COUNTER_PASSES_BUSY] = "passes_busy",
    [COUNTER_SLEEPS] = "sleeps",
    [COUNTER_OPERATIONS] = "operations",
    [COUNTER_DUPLICATES] = "duplicates",
    [COUNTER_CONDITIONS_FAILED] = "conditions_failed",
    [COUNTER_READS_BY_RING] = "reads_by_ring",
    [COUNTER_REFUSED_ACCESS] = "refused_access",
    [COUNTER_REFUSED_QUOTA] = "refused_quota",
    [COUNTER_REFUSED_SESSION] = "refused_session",
    [COUNTER_REFUSED_INPUT] = "refused_input",
    [COUNTER_BACK_PRESSURE] = "back_pressure",
    [COUNTER_RECORDS] = "records",
    [COUNTER_RECORD_BYTES] = "record_bytes",
    [COUNTER_CLEANED_RECORDS] = "cleaned_records",
    [COUNTER_CLEANED_BYTES] = "cleaned_bytes",
    [COUNTER_SEGMENTS_FREED] = "segments_freed",
    [COUNTER_SEGMENTS_PINNED] = "segments_pinned",
    [COUNTER_INDEX_GROWTHS] = "index_growths",
    [COUNTER_AGENT_FAULTS] = "agent_faults",
    [COUNTER_PEER_MESSAGES] = "peer_messages",
    [COUNTER_PEER_PROTOCOL] = "peer_protocol_errors",
    [COUNTER_ACTIVATIONS] = "activations",
    [COUNTER_STOPPED] = "shards_stopped",
    [COUNTER_STALLS] = "stalls",
    [COUNTER_STALL_LONGEST_NS] = "stall_longest_ns",
    [COUNTER_FORWARDED] = "forwarded",
    [COUNTER_FORWARDED_ANSWERED] = "forwarded_answered",
    [COUNTER_FORWARDED_RETRIED] = "forwarded_retried",
    [COUNTER_FORWARDS_LATE] = "forwards_late",
    [COUNTER_FORWARDS_EXECUTED] = "forwards_executed",
    [COUNTER_KEYS_EXPIRED] = "keys_expired",
    [COUNTER_HISTORIES_CUT] = "histories_cut",
    [COUNTER_AGENTS_THROTTLED] = "agents_throttled",
    [COUNTER_LOG_WRITES] = "log_writes",
    [COUNTER_LOG_WRITES_REFUSED] = "log_writes_refused",
    [COUNTER_LOG_WRITES_STRAY] = "log_writes_stray",
    [COUNTER_DISCONNECTS] = "disconnects",
};
_Static_assert(sizeof(counter_names) / sizeof(counter_names[0]) == COUNTER_COUNT,
               "a counter without a name");

const char *status_counter_name(enum counter counter)
{
    return (unsigned)counter < COUNTER_COUNT ? counter_names[counter] : NULL;
}

/* relaxed everywhere below: numbers for people; nothing is concluded from their order. */
#define READ(word) atomic_load_explicit(&(word), memory_order_relaxed)

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)min_u64(value, INT64_MAX));
}

static uint64_t ms(uint64_t ns)
{
    return ns / NS_PER_MS;
}

/* What jansson returns on a lack of memory is NULL, and json_object_set_new and
 * json_array_append_new then fail; so one flag for the whole text is enough. */
struct build {
    const struct status_source *source;
    bool failed;
};

static void set(struct build *b, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        b->failed = true;
}

static void append(struct build *b, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        b->failed = true;
}

static void set_number(struct build *b, json_t *object, const char *name, uint64_t value)
{
    set(b, object, name, number(value));
}

static json_t *node_json(struct build *b)
{
    const struct node *n = b->source->node;
    json_t *o = json_object();
    set(b, o, "name", json_string(n->config.name));
    set_number(b, o, "id", n->config.id);
    set_number(b, o, "pid", (uint64_t)getpid());
    return o;
}

static json_t *clock_json(struct build *b)
{
    const struct node *n = b->source->node;
    json_t *o = json_object();
    set(b, o, "kind", json_string(n->clock_kind == CLOCK_KIND_TSC ? "tsc" : "boottime"));
    set_number(b, o, "ticks_per_s", n->ticks_per_s);
    return o;
}

static json_t *lease_json(struct build *b)
{
    const struct node_config *c = &b->source->node->config;
    json_t *o = json_object();
    set_number(b, o, "duration_ms", ms(c->lease_ns));
    set_number(b, o, "heartbeat_ms", ms(c->heartbeat_ns));
    set_number(b, o, "view_ms", ms(c->view_ns));
    set(b, o, "virtual", json_boolean(c->lease_virtual));
    return o;
}

/* Counters of lcores first .. last. */
static json_t *counters_json(struct build *b, uint32_t first, uint32_t last)
{
    const struct layout_node *shared = b->source->node->shared;
    json_t *o = json_object();
    for (uint32_t c = 0; c < COUNTER_COUNT; c++) {
        uint64_t all = 0;
        for (uint32_t i = first; i <= last; i++) {
            uint64_t value = READ(shared->counters[i].value[c]);
            all = c == COUNTER_STALL_LONGEST_NS ? max_u64(all, value) : all + value;
        }
        set_number(b, o, counter_names[c], all);
    }
    return o;
}

/* Bytes written to logs here, what the cleaner copied included, for each that was appended; null: nothing
 * was, as at a node that leads nothing. */
static json_t *amplification_json(struct build *b)
{
    const struct layout_node *shared = b->source->node->shared;
    uint64_t appended = 0, cleaned = 0;
    for (uint32_t i = 0; i < b->source->node->config.lcore_count; i++) {
        appended += READ(shared->counters[i].value[COUNTER_RECORD_BYTES]);
        cleaned += READ(shared->counters[i].value[COUNTER_CLEANED_BYTES]);
    }
    return appended == 0 ? json_null() : json_real((double)(appended + cleaned) / (double)appended);
}

/* Milliseconds from tick `from` to tick `to`, 0 if that is backwards. */
static uint64_t ticks_ms(const struct node *n, uint64_t from, uint64_t to)
{
    return to > from ? ms(clock_ticks_to_ns(to - from, n->ticks_per_s)) : 0;
}

/* What the transport of a lcore counted, as last published. */
static json_t *transport_json(struct build *b, const struct transport *t)
{
    json_t *o = json_object();
    const char *name;
    for (uint32_t i = 0; (name = transport_count_name(t, i)) != NULL; i++)
        set_number(b, o, name, transport_counted(t, i));
    return o;
}

static json_t *lcore_json(struct build *b, uint32_t i)
{
    const struct node *n = b->source->node;
    const struct layout_lcore *l = &n->shared->lcores[i];
    uint64_t now = clock_ticks(n->clock_kind);
    json_t *o = json_object();
    set_number(b, o, "lcore", i);
    set(b, o, "cpu", json_integer(n->config.lcore_cpus[i]));
    set(b, o, "sleeping", json_boolean(READ(l->sleeping) != 0));
    set_number(b, o, "silent_ms", ticks_ms(n, READ(l->ticks_alive), now));
    set_number(
        b, o, "lease_left_ms",
        ticks_ms(n, now,
                 READ(n->shared->leases[(size_t)i * LIMIT_LEASE_CELLS_PER_LCORE].ticks_deadline)));
    set(b, o, "counters", counters_json(b, i, i));
    if (n->cluster != NULL && n->cluster->transports[i] != NULL)
        set(b, o, "transport", transport_json(b, n->cluster->transports[i]));
    return o;
}

static json_t *lcores_json(struct build *b)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < b->source->node->config.lcore_count; i++)
        append(b, array, lcore_json(b, i));
    return array;
}

static json_t *agents_json(struct build *b)
{
    const struct status_source *s = b->source;
    uint64_t now = clock_boottime_ns();
    json_t *list = json_array();
    for (uint32_t i = 0; i < s->agent_count; i++) {
        const struct status_agent *a = &s->agents[i];
        json_t *o = json_object();
        set_number(b, o, "slot", a->slot);
        set_number(b, o, "uid", a->uid);
        set(b, o, "pid", json_integer(a->pid));
        set_number(b, o, "attached_ms", ms(now - a->attached_boottime_ns));
        set_number(b, o, "throttled", a->throttled);
        append(b, list, o);
    }
    json_t *o = json_object();
    set_number(b, o, "attached", s->agent_count);
    set_number(b, o, "limit", LIMIT_AGENTS);
    set_number(b, o, "attachments", s->server.attachments);
    set_number(b, o, "faults", s->server.faults);
    set(b, o, "list", list);
    return o;
}

static json_t *server_json(struct build *b)
{
    const struct status_server *s = &b->source->server;
    json_t *o = json_object();
    set_number(b, o, "connections", s->connections);
    set_number(b, o, "limit", s->connections_limit);
    set_number(b, o, "accepted", s->accepted);
    set_number(b, o, "refused_connections", s->refused_connections);
    set_number(b, o, "refused_requests", s->refused_requests);
    set_number(b, o, "closed_slow", s->closed_slow);
    set_number(b, o, "throttled", s->throttled);
    return o;
}

static const char *consistency_name(uint32_t consistency)
{
    static const char *const names[] = {"", "strong", "causal", "eventual", "aggregate"};
    return consistency <= SPACE_AGGREGATE ? names[consistency] : "";
}

static const char *durability_name(uint32_t durability)
{
    static const char *const names[] = {"none", "async", "sync"};
    return durability <= SPACE_DURABILITY_SYNC ? names[durability] : "";
}

/* Segments by kind, over the chunks that exist. */
static json_t *segments_json(struct build *b, const struct node_space *s, uint32_t chunks,
                             uint64_t *used)
{
    const struct layout_geometry *g = &s->geometry;
    uint64_t by_kind[FRAME_ORDER + 1] = {0};
    uint64_t retiring = 0;
    for (uint64_t chunk = 0; chunk < chunks; chunk++) {
        const struct layout_frame *first =
            &s->directory[chunk << (g->chunk_shift - g->segment_shift)];
        for (uint32_t i = 0; i < g->frames_per_chunk; i++) {
            uint32_t kind = READ(first[i].kind);
            if ((kind & FRAME_RETIRING) != 0)
                retiring++;
            else if (kind <= FRAME_ORDER)
                by_kind[kind]++;
        }
    }
    *used = retiring;
    for (uint32_t kind = FRAME_FREE + 1; kind <= FRAME_ORDER; kind++)
        *used += by_kind[kind];
    json_t *o = json_object();
    set_number(b, o, "free", by_kind[FRAME_FREE]);
    set_number(b, o, "tail", by_kind[FRAME_TAIL]);
    set_number(b, o, "base", by_kind[FRAME_BASE]);
    set_number(b, o, "index", by_kind[FRAME_INDEX]);
    set_number(b, o, "order", by_kind[FRAME_ORDER]);
    set_number(b, o, "retiring", retiring);
    return o;
}

/* "any", or who may beside root and the daemon's user. */
static json_t *access_json(struct build *b, const struct space_access *a)
{
    if (a->everyone)
        return json_string("any");
    json_t *uids = json_array();
    for (uint32_t i = 0; i < a->uid_count; i++)
        append(b, uids, number(a->uids[i]));
    return uids;
}

/* What the configuration says of a space beside its size. */
static void policy_set(struct build *b, json_t *o, const struct space_config *c)
{
    set_number(b, o, "history", c->history);
    set_number(b, o, "history_ms", ms(c->history_ns));
    set_number(b, o, "session_ttl_ms", ms(c->session_ttl_ns));
    set(b, o, "ordered", json_boolean(c->ordered));
    set(b, o, "read", access_json(b, &c->read));
    set(b, o, "write", access_json(b, &c->write));
}

struct space_sums {
    uint64_t keys, live_bytes, log_bytes, uncommitted_bytes, lsn_committed, epoch;
};

static struct space_sums space_sum(const struct node_space *s)
{
    struct space_sums sums = {0};
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        const struct layout_board *board = &s->boards[i];
        /* committed first: the end that is read later is not below it */
        uint64_t committed = READ(board->lsn_committed);
        uint64_t end = max_u64(READ(board->lsn_end), committed);
        sums.keys += READ(board->key_count);
        sums.live_bytes += READ(board->live_bytes);
        sums.log_bytes += end > s->lsn_start ? end - s->lsn_start : 0;
        /* Nothing is known to be committed at first, at a node that others have yet to tell. */
        sums.uncommitted_bytes += end - (committed != 0 ? committed : min_u64(s->lsn_start, end));
        sums.lsn_committed = max_u64(sums.lsn_committed, committed);
        sums.epoch = max_u64(sums.epoch, READ(board->epoch));
    }
    return sums;
}

static json_t *space_json(struct build *b, const struct node_space *s)
{
    struct space_sums sums = space_sum(s);
    uint32_t chunks = READ(s->header->chunk_count);
    uint64_t segments_used;
    json_t *o = json_object();
    set(b, o, "name", json_string(s->config.name));
    set_number(b, o, "id", s->config.id);
    set(b, o, "consistency", json_string(consistency_name(s->config.consistency)));
    set(b, o, "durability", json_string(durability_name(s->config.durability)));
    set_number(b, o, "shards", s->config.shard_count);
    set_number(b, o, "keys", sums.keys);
    set_number(b, o, "live_bytes", sums.live_bytes);
    set_number(b, o, "quota_bytes", s->config.quota_bytes);
    set_number(b, o, "quota_max_bytes", s->config.quota_max_bytes);
    set_number(b, o, "arena_bytes", (uint64_t)chunks << s->geometry.chunk_shift);
    set_number(b, o, "chunks", chunks);
    set_number(b, o, "chunks_max", s->geometry.chunk_count_max);
    set_number(b, o, "value_bytes_max", s->header->value_bytes_max);
    set_number(b, o, "epoch", sums.epoch);
    set_number(b, o, "log_bytes", sums.log_bytes);
    set_number(b, o, "uncommitted_bytes", sums.uncommitted_bytes);
    set(b, o, "lsn_committed", json_sprintf("%llu", (unsigned long long)sums.lsn_committed));
    set(b, o, "segments", segments_json(b, s, chunks, &segments_used));
    set_number(b, o, "used_bytes", segments_used << s->geometry.segment_shift);
    policy_set(b, o, &s->config);
    return o;
}

static json_t *spaces_json(struct build *b)
{
    json_t *array = json_array();
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (b->source->node->spaces[id] != NULL)
            append(b, array, space_json(b, b->source->node->spaces[id]));
    return array;
}

char *status_json(const struct status_source *source)
{
    struct build build = {.source = source};
    struct build *b = &build;
    json_t *o = json_object();
    set(b, o, "version", json_string(DUNLIN_VERSION_STRING));
    set(b, o, "node", node_json(b));
    set_number(b, o, "start", source->node->start);
    set_number(b, o, "uptime_ms", ms(clock_boottime_ns() - source->started_boottime_ns));
    set(b, o, "clock", clock_json(b));
    set(b, o, "lease", lease_json(b));
    set(b, o, "lcores", lcores_json(b));
    set(b, o, "counters", counters_json(b, 0, source->node->config.lcore_count - 1));
    set(b, o, "write_amplification", amplification_json(b));
    set(b, o, "agents", agents_json(b));
    set(b, o, "server", server_json(b));
    if (source->cluster_json != NULL)
        set(b, o, "cluster", json_loads(source->cluster_json, 0, NULL));
    if (source->shows_keys)
        set(b, o, "hot_keys", status_keys(source->node));
    set(b, o, "spaces", spaces_json(b));
    char *text = b->failed ? NULL : json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}
