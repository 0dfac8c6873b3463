/* What goes wrong in the scenario `control`, drawn one after the other; each is undone after a while of its own. */
#include "tests/sim/control_world.h"

#include <stdio.h>
#include <string.h>

#define PAUSE_NS_MIN (20 * NS_PER_MS)
#define PAUSE_NS (250 * NS_PER_MS)

static void later(uint64_t ns, void (*run)(const struct control_event *e), uint64_t number)
{
    control_event_add(
        &(struct control_event){.at_ns = control_world->now_ns + ns, .run = run, .number = number});
}

static struct control_node *node_any(void)
{
    return &control_world->nodes[control_below(control_world->node_count)];
}

static bool is_up(const struct control_node *n)
{
    return n->process != NULL;
}

/* ---- processes ---- */

/* Somebody brings the disk back. */
static void restore(struct control_node *n)
{
    control_store_free(n->store);
    n->store = n->store_lost;
    n->store_lost = NULL;
    n->is_lost = false;
}

static void on_start(const struct control_event *e)
{
    struct control_node *n = &control_world->nodes[e->number];
    if (n->process != NULL || n->is_out)
        return;
    if (n->is_lost)
        restore(n);
    control_process_begin(n);
}

static void start_later(const struct control_node *n, uint64_t ns)
{
    later(ns, on_start, (uint64_t)(n - control_world->nodes));
}

void control_fault_ended(struct control_node *n)
{
    if (n->is_out)
        return;
    start_later(n, NS_PER_MS + control_below(control_world->is_quiet ? 100 * NS_PER_MS : NS_PER_S));
}

static void kill_one(struct control_node *n)
{
    control_process_kill(n, control_chance(20));
    start_later(n, NS_PER_MS + control_below(control_chance(50) ? 100 * NS_PER_MS : 2 * NS_PER_S));
}

static void on_kill(const struct control_event *e)
{
    struct control_node *n = &control_world->nodes[e->number];
    if (is_up(n) && !control_world->is_quiet)
        kill_one(n);
}

void control_fault_writing(struct control_node *n, uint64_t ns)
{
    if (!n->dies_writing)
        return;
    n->dies_writing = false;
    later(control_below(ns + 5 * NS_PER_MS), on_kill, (uint64_t)(n - control_world->nodes));
}

static void fault_kill(struct control_node *n)
{
    if (!is_up(n))
        return;
    control_count(CONTROL_KILL);
    n->dies_writing = control_chance(40);
    if (!n->dies_writing)
        kill_one(n);
}

static void fault_kill_all(struct control_node *n)
{
    (void)n;
    bool spares = control_chance(50), writes = control_chance(50);
    control_count(CONTROL_KILL_ALL);
    for (uint32_t i = 0; i < control_world->node_count; i++)
        if (is_up(&control_world->nodes[i]) && (!spares || control_chance(70))) {
            control_world->nodes[i].dies_writing = writes;
            if (!writes)
                kill_one(&control_world->nodes[i]);
        }
}

static void fault_stop(struct control_node *n)
{
    if (!is_up(n))
        return;
    control_count(CONTROL_STOP);
    control_trace("node %u is to end", n->id);
    n->process->wants_stop = true;
}

static void fault_freeze(struct control_node *n)
{
    if (!is_up(n) || n->frozen_until_ns > control_world->now_ns)
        return;
    control_count(CONTROL_FREEZE);
    n->frozen_until_ns =
        control_world->now_ns + 5 * NS_PER_MS +
        control_below(control_chance(60) ? 3 * CONTROL_LEASE_NS : 20 * CONTROL_LEASE_NS);
    control_trace("node %u stands still until %.3f", n->id,
                  (double)n->frozen_until_ns / (double)NS_PER_MS);
}

/* What was promised with the directory is gone; when somebody notices, there is a copy.  Why not before all have
 * registered: raft_node.h says that this is not noticed. */
static void fault_wipe(struct control_node *n)
{
    if (!is_up(n))
        return;
    for (uint32_t i = 0; i < control_world->node_count; i++)
        if (control_world->nodes[i].store_lost != NULL ||
            (!control_world->nodes[i].is_out && control_world->nodes[i].start_registered == 0))
            return;
    control_count(CONTROL_WIPE);
    control_process_kill(n, true);
    control_trace("node %u has lost its directory", n->id);
    n->store_lost = n->store;
    n->store = control_store_make();
    start_later(n, NS_PER_MS + control_below(100 * NS_PER_MS));
}

/* ---- who is a node ---- */

static void want(enum coordinator_node_kind kind, uint32_t id)
{
    struct coordinator_node_asked *w = &control_world->wanted;
    *w = (struct coordinator_node_asked){.kind = kind, .id = id};
    if (kind != COORDINATOR_NODE_ADD)
        return;
    w->weight = 1 + (uint32_t)control_below(COORDINATOR_WEIGHT_MAX);
    (void)snprintf(w->control, sizeof w->control, "10.0.0.%u:7700", id);
}

/* Its daemon is started before, or after, with an empty directory. */
static void fault_add(struct control_node *n)
{
    if (control_world->wanted.id != 0 || !n->is_out || n->process != NULL)
        return;
    control_count(CONTROL_ADD);
    control_trace("node %u is to be added", n->id);
    control_store_free(n->store);
    n->store = control_store_make();
    n->is_out = false;
    n->is_added = true;
    n->start_registered = 0;
    want(COORDINATOR_NODE_ADD, n->id);
    start_later(n, control_below(NS_PER_S));
}

static void fault_remove(struct control_node *n)
{
    if (control_world->wanted.id != 0 || n->is_out || !control_check_is_node(n))
        return;
    control_count(CONTROL_REMOVE);
    control_trace("node %u is to be removed", n->id);
    want(COORDINATOR_NODE_REMOVE, n->id);
}

static void fault_drain(struct control_node *n)
{
    if (control_world->wanted.id != 0 || n->is_out || !control_check_is_node(n))
        return;
    control_count(CONTROL_DRAIN);
    want(control_chance(50) ? COORDINATOR_NODE_DRAIN : COORDINATOR_NODE_UNDRAIN, n->id);
}

/* ---- links ---- */

static void cut_one(bool table[CONTROL_NODES_MAX][CONTROL_NODES_MAX], uint32_t from, uint32_t to)
{
    if (from != to)
        table[from][to] = true;
}

/* A node from all others, or a pair. */
static void cut(bool table[CONTROL_NODES_MAX][CONTROL_NODES_MAX], const struct control_node *n,
                bool out, bool in)
{
    uint32_t a = (uint32_t)(n - control_world->nodes);
    bool all = control_chance(50);
    uint32_t b = (uint32_t)control_below(control_world->node_count);
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        if (!all && i != b)
            continue;
        if (out)
            cut_one(table, a, i);
        if (in)
            cut_one(table, i, a);
    }
}

static void links_heal(bool table[CONTROL_NODES_MAX][CONTROL_NODES_MAX])
{
    for (uint32_t a = 0; a < CONTROL_NODES_MAX; a++)
        for (uint32_t b = 0; b < CONTROL_NODES_MAX; b++)
            table[a][b] = false;
}

static void on_links(const struct control_event *e)
{
    (void)e;
    control_trace("links are whole");
    links_heal(control_world->cut);
    control_mesh_changed();
}

static void on_data(const struct control_event *e)
{
    (void)e;
    links_heal(control_world->cut_data);
}

static uint64_t cut_ns(void)
{
    return 10 * NS_PER_MS + control_below(control_chance(50) ? 300 * NS_PER_MS : 3 * NS_PER_S);
}

static void fault_cut(struct control_node *n)
{
    control_count(CONTROL_CUT);
    control_trace("node %u is cut off", n->id);
    cut(control_world->cut, n, true, true);
    if (control_chance(70))
        for (uint32_t a = 0; a < CONTROL_NODES_MAX; a++)
            for (uint32_t b = 0; b < CONTROL_NODES_MAX; b++)
                control_world->cut_data[a][b] |= control_world->cut[a][b];
    control_mesh_changed();
    uint64_t ns = cut_ns();
    later(ns, on_links, 0);
    later(ns, on_data, 0);
}

static void fault_cut_one_way(struct control_node *n)
{
    bool out = control_chance(50);
    control_count(CONTROL_CUT_ONE_WAY);
    control_trace("node %u is cut off one way, %s", n->id, out ? "out" : "in");
    cut(control_world->cut, n, out, !out);
    control_mesh_changed();
    later(cut_ns(), on_links, 0);
}

static void fault_cut_data(struct control_node *n)
{
    bool out = control_chance(70);
    control_count(CONTROL_CUT_DATA);
    cut(control_world->cut_data, n, out, !out || control_chance(50));
    later(control_chance(80) ? cut_ns() : 5 * NS_PER_S, on_data, 0);
}

static void on_fast(const struct control_event *e)
{
    (void)e;
    control_world->slow_ns = 0;
}

static void fault_slow_links(struct control_node *n)
{
    (void)n;
    control_count(CONTROL_SLOW_LINKS);
    control_world->slow_ns = NS_PER_MS + control_below(60 * NS_PER_MS);
    later(cut_ns(), on_fast, 0);
}

/* ---- disks ---- */

static void fault_full(struct control_node *n)
{
    control_count(CONTROL_FULL);
    control_trace("the disk of node %u is full", n->id);
    n->full_until_ns = control_world->now_ns + cut_ns();
}

static void fault_write_error(struct control_node *n)
{
    control_count(CONTROL_WRITE_ERROR);
    n->fails_write = true;
    if (control_chance(30))
        n->slow_until_ns = control_world->now_ns + cut_ns();
}

/* ---- one after the other ---- */

static const struct {
    void (*fire)(struct control_node *n);
    uint32_t weight;
} faults[CONTROL_FAULTS] = {
    [CONTROL_KILL] = {fault_kill, 25},        [CONTROL_KILL_ALL] = {fault_kill_all, 4},
    [CONTROL_STOP] = {fault_stop, 10},        [CONTROL_FREEZE] = {fault_freeze, 15},
    [CONTROL_CUT] = {fault_cut, 12},          [CONTROL_CUT_ONE_WAY] = {fault_cut_one_way, 10},
    [CONTROL_CUT_DATA] = {fault_cut_data, 6}, [CONTROL_SLOW_LINKS] = {fault_slow_links, 5},
    [CONTROL_FULL] = {fault_full, 5},         [CONTROL_WRITE_ERROR] = {fault_write_error, 5},
    [CONTROL_WIPE] = {fault_wipe, 6},         [CONTROL_ADD] = {fault_add, 15},
    [CONTROL_REMOVE] = {fault_remove, 8},     [CONTROL_DRAIN] = {fault_drain, 3},
};

static void on_fault(const struct control_event *e)
{
    uint32_t total = 0, at = 0;
    (void)e;
    if (control_world->is_quiet)
        return;
    for (uint32_t i = 0; i < CONTROL_FAULTS; i++)
        total += faults[i].weight;
    uint64_t drawn = control_below(total);
    while (drawn >= faults[at].weight)
        drawn -= faults[at++].weight;
    faults[at].fire(node_any());
    later(PAUSE_NS_MIN + control_below(PAUSE_NS), on_fault, 0);
}

void control_fault_begin(void)
{
    for (uint32_t i = 0; i < control_world->node_count; i++)
        start_later(&control_world->nodes[i], control_below(100 * NS_PER_MS));
    later(control_below(NS_PER_S), on_fault, 0);
}

/* One that nobody it knows of can tell that it lost something waits: people see that, and bring the disk back. */
static void on_waited(const struct control_event *e)
{
    struct control_node *n = &control_world->nodes[e->number];
    if (n->store_lost == NULL)
        return;
    if (n->process != NULL)
        control_process_kill(n, false);
    n->is_lost = true;
    start_later(n, NS_PER_MS);
}

void control_fault_heal(void)
{
    struct control_world *w = control_world;
    w->is_quiet = true;
    w->slow_ns = 0;
    links_heal(w->cut);
    links_heal(w->cut_data);
    control_mesh_changed();
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct control_node *n = &w->nodes[i];
        n->full_until_ns = 0;
        n->slow_until_ns = 0;
        n->fails_write = false;
        n->dies_writing = false;
        later(20 * NS_PER_S, on_waited, i);
        if (n->process == NULL && !n->is_out)
            start_later(n, control_below(100 * NS_PER_MS));
    }
}
