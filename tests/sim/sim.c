#include "tests/sim/sim.h"
#include "tests/sim/sim_scenario.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERATIONS_PER_SEED 5000u
#define REST_NS (10 * NS_PER_S)
#define TIME_MAX (60 * NS_PER_S)
#define EVENTS_MAX 20000u
#define HISTORY_NS (40 * NS_PER_MS)
#define LOG_WRITE_ABOVE 256u             /* bytes; some records, or one that is long */
#define SESSION_TTL_NS (100 * NS_PER_MS) /* least, where they expire */
#define DAY_FIRST (1000000 * NS_PER_S)   /* the world begins then */

/* splitmix64 */
uint64_t sim_random(struct sim *s)
{
    uint64_t z = (s->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
    return (uint32_t)((sim_random(s) >> 32) * n >> 32);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
    return percent != 0 && sim_below(s, 100) < percent;
}

uint64_t sim_clock(const struct sim *s, const struct sim_node *n)
{
    int64_t drift = (int64_t)s->time * n->clock_ppm / 1000000;
    return (uint64_t)((int64_t)s->time + drift + n->clock_offset);
}

uint64_t sim_day(const struct sim *s, const struct sim_node *n)
{
    return (uint64_t)((int64_t)(s->time + DAY_FIRST) + n->day_offset);
}

void sim_broken(struct sim *s, const char *invariant, const char *format, ...)
{
    if (s->broken != NULL)
        return;
    s->broken = invariant;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(s->broken_detail, sizeof s->broken_detail, format, arguments);
    va_end(arguments);
}

/* ---- events: a binary heap of when they are due ---- */

static bool before(const struct sim_due *a, const struct sim_due *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void events_grow(struct sim *s)
{
    uint32_t before_count = s->event_capacity;
    s->event_capacity = before_count != 0 ? 2 * before_count : 1024;
    s->events = realloc(s->events, s->event_capacity * sizeof s->events[0]);
    s->heap = realloc(s->heap, s->event_capacity * sizeof s->heap[0]);
    ASSERT(s->events != NULL && s->heap != NULL);
    for (uint32_t i = before_count; i < s->event_capacity; i++)
        s->heap[i].event = i;
}

void sim_schedule(struct sim *s, uint64_t delay, struct sim_event e)
{
    if (s->heap_count > EVENTS_MAX)
        sim_broken(s, "S17", "%u messages and timers under way: somebody floods the network",
                   s->heap_count);
    if (s->heap_count == s->event_capacity)
        events_grow(s);
    uint32_t at = s->heap_count++;
    const struct sim_due due = {
        .time = s->time + delay, .order = s->order++, .event = s->heap[at].event};
    s->events[due.event] = e;
    for (; at != 0 && before(&due, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = due;
}

/* Its time becomes ours. */
static struct sim_event next_event(struct sim *s)
{
    struct sim_due first = s->heap[0];
    struct sim_due last = s->heap[--s->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->heap_count)
            break;
        if (child + 1 < s->heap_count && before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!before(&s->heap[child], &last))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    s->heap[s->heap_count].event = first.event; /* free */
    s->time = first.time;
    return s->events[first.event];
}

/* ---- one seed ---- */

static void handle(struct sim *s, const struct sim_event *e)
{
    switch (e->kind) {
    case EVENT_MESSAGE:
        sim_node_receive(s, e);
        break;
    case EVENT_TICK:
        sim_node_tick(s, e->node);
        break;
    case EVENT_FLUSH:
        sim_node_flush(s, e);
        break;
    case EVENT_CONFIGURE:
        sim_node_configure(s, e->node, (uint32_t)e->a);
        break;
    case EVENT_ACTIVATE:
        sim_coordinator_activate(s, e);
        break;
    case EVENT_REQUEST:
        sim_node_request(s, e);
        break;
    case EVENT_REPLY:
        if (e->client < SIM_CLIENTS)
            sim_client_reply(s, e);
        else if (e->client < SIM_CLIENTS + SIM_READS)
            sim_read_reply(s, e);
        else
            sim_scan_reply(s, e);
        break;
    case EVENT_CLIENT:
        sim_client_timeout(s, e);
        break;
    case EVENT_READ:
        sim_read_some(s, e->node);
        break;
    case EVENT_READ_STEP:
        if (e->a == s->reads[e->node].turn)
            sim_read_step(s, e->node);
        break;
    case EVENT_FAULT:
        if (e->a == 0)
            sim_fault_begin(s);
        else
            sim_fault_more(s, e);
        break;
    case EVENT_FAULT_END:
        sim_fault_end(s, e);
        break;
    case EVENT_COORDINATOR:
        sim_coordinator_look(s);
        break;
    case EVENT_CEILING:
        sim_coordinator_grant(s, e);
        break;
    case EVENT_PROMOTE:
        sim_coordinator_promote(s, e);
        break;
    case EVENT_WRITE:
        sim_write_step(s, e);
        break;
    case EVENT_MOVE:
        sim_coordinator_change(s, (uint32_t)e->a, e->b != 0);
        break;
    }
}

static void trace(const struct sim *s, const struct sim_event *e)
{
    static const char *const names[] = {
        "message",     "tick",   "flush",   "configure", "activate", "request",
        "reply",       "client", "read",    "read_step", "fault",    "fault_end",
        "coordinator", "move",   "promote", "ceiling",   "write"};
    printf("t=%llu %s node=%u client=%u a=%llu b=%llu length=%llu\n", (unsigned long long)s->time,
           names[e->kind], e->node, e->client, (unsigned long long)e->a, (unsigned long long)e->b,
           (unsigned long long)e->length);
}

static bool is_done(const struct sim *s)
{
    return (s->operation_count >= OPERATIONS_PER_SEED && s->faults_done >= s->scenario->faults) ||
           s->operation_count + SIM_CLIENTS >= SIM_OPERATIONS_MAX || s->time > TIME_MAX ||
           (s->steps_max != 0 && s->steps >= s->steps_max);
}

static void stopped_check(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        const struct replica *r = &s->nodes[node].shards[k].replica;
        const struct shard *shard = s->nodes[node].shards[k].shard;
        if (r->role == REPLICA_STOPPED)
            sim_broken(s, "S5",
                       "node %u stopped in epoch %llu: cut at %llu, committed %llu, log to %llu "
                       "(%llu with pads)",
                       node, (unsigned long long)r->promised, (unsigned long long)r->lsn_stopped,
                       (unsigned long long)shard->lsn_committed,
                       (unsigned long long)shard->log.lsn_whole,
                       (unsigned long long)shard->log.lsn_end);
    }
}

/* ---- rest ---- */

static bool all_rest(const struct sim *s)
{
    bool all = true;
    for (uint32_t i = 0; i < s->node_count; i++)
        all &= s->nodes[i].up && s->nodes[i].group.busy_count == 0;
    return all;
}

/* Nobody asks for anything any more, and nothing fails. */
static bool begins_nothing(const struct sim_event *e)
{
    return e->kind != EVENT_CLIENT && e->kind != EVENT_READ && e->kind != EVENT_READ_STEP &&
           e->kind != EVENT_REQUEST && e->kind != EVENT_FAULT && e->kind != EVENT_MOVE;
}

/* S21: an idle shard costs no cycle.  Where every node has a part in every shard there comes a moment in which
 * no replica waits to be ticked, learners or not. */
static void rest(struct sim *s)
{
    const uint64_t until = s->time + REST_NS;
    s->resting = true;
    while (s->broken == NULL && s->heap_count != 0 && s->time < until && !all_rest(s)) {
        struct sim_event e = next_event(s);
        s->steps++;
        if (s->trace)
            trace(s, &e);
        if (begins_nothing(&e))
            handle(s, &e);
        free(e.bytes);
    }
    if (s->broken == NULL && !all_rest(s))
        sim_broken(s, "S21", "a replica is ticked again and again though there is nothing to do");
}

static void collect(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (!s->nodes[i].up)
            continue;
        stopped_check(s, i);
        sim_node_stop(s, i);
    }
    for (uint32_t i = 0; i < SIM_READS; i++)
        sim_call_drop(&s->read_calls[i]);
    for (uint32_t i = 0; i < SIM_NODES; i++)
        sim_call_drop(&s->scan_calls[i]);
    for (uint32_t i = 0; i < SIM_FOLLOWERS; i++)
        sim_call_drop(&s->follow_calls[i]);
}

bool sim_run(struct sim *s, uint64_t seed, bool with_trace)
{
    struct sim_event *events = s->events;
    struct sim_due *heap = s->heap;
    uint32_t capacity = s->event_capacity;
    struct sim_operation *history = s->history;
    struct sim_record *records[SIM_SHARDS];
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        records[k] = s->shards[k].records;
    uint8_t *memories[SIM_NODES];
    for (uint32_t i = 0; i < SIM_NODES; i++)
        memories[i] = s->nodes[i].memory;
    *s = (struct sim){
        .scenario = s->scenario,
        .steps_max = s->steps_max,
        .seed = seed,
        .random = seed,
        .events = events,
        .heap = heap,
        .event_capacity = capacity,
        .history = history,
        .trace = with_trace,
        .steps_to_agent = 1,
        .steps_to_pause = 1,
        .echoes_to_pause = 1,
        .rights_to_pause = 1,
    };
    for (uint32_t i = 0; i < SIM_NODES; i++)
        s->nodes[i].memory = memories[i];
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        s->shards[k].records = records[k];
    s->log_write = s->scenario->log_write && seed % 2 != 0;
    s->log_write_above = seed % 4 == 3 ? LOG_WRITE_ABOVE : 0;
    /* one version, a few, or those of a while */
    s->versions = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 2 + (uint32_t)(seed / 3 % 6) : 1;
    s->history_ns = seed % 3 == 2 ? HISTORY_NS : 0;
    s->session_ttl_ns =
        seed % 5 < 2 ? SESSION_TTL_NS + sim_below(s, SESSION_TTL_NS) : 600 * NS_PER_S;
    s->node_count = sim_scenario_nodes(s);
    /* Why not where it is calm: a learner that becomes a voter is a change of the epoch. */
    s->learns = s->node_count > 3 && s->scenario->faults != 0 && seed % 2 == 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        sim_node_start(s, i, true);
    sim_scenario_clocks(s);
    sim_coordinator_start(s);
    for (uint32_t i = 0; i < SIM_CLIENTS; i++)
        sim_client_next(s, i);
    for (uint32_t i = 0; i < s->node_count; i++)
        sim_schedule(s, sim_below(s, 1000000), (struct sim_event){.kind = EVENT_READ, .node = i});
    if (s->scenario->faults != 0)
        sim_schedule(s, 50 * NS_PER_MS, (struct sim_event){.kind = EVENT_FAULT});
    while (s->broken == NULL && !is_done(s) && s->heap_count != 0) {
        struct sim_event e = next_event(s);
        s->steps++;
        if (s->trace)
            trace(s, &e);
        handle(s, &e);
        free(e.bytes);
    }
    if (s->broken == NULL && s->steps_max == 0 && (s->learns || s->node_count == 3))
        rest(s);
    collect(s);
    while (s->heap_count != 0)
        free(s->events[s->heap[--s->heap_count].event].bytes);
    if (s->broken == NULL)
        sim_check_history(s);
    return s->broken == NULL;
}

struct sim *sim_new(void)
{
    struct sim *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->scenario = sim_scenario_find("default");
    s->history = malloc(SIM_OPERATIONS_MAX * sizeof s->history[0]);
    ASSERT(s->history != NULL);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        s->shards[k].records = malloc(SIM_RECORDS_MAX * sizeof(struct sim_record));
        ASSERT(s->shards[k].records != NULL);
    }
    return s;
}

void sim_free(struct sim *s)
{
    for (uint32_t i = 0; i < SIM_NODES; i++)
        free(s->nodes[i].memory);
    free(s->heap);
    free(s->events);
    free(s->history);
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        free(s->shards[k].records);
    free(s);
}
