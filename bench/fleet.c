/* The supervisor and the bench's entry.  See fleet.h. */
#include "bench/fleet.h"

#include "bench/bench.h"
#include "bench/daemon.h"
#include "bench/fleet_random.h"
#include "bench/fleet_supervisor.h"
#include "bench/geohash.h"
#include "engine/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS (5 * NS_PER_MS)
#define SPEED_PERIOD_NS (250 * NS_PER_MS)
#define LINE_PERIOD_NS NS_PER_S
#define ATTACH_NS (20 * NS_PER_S)
#define STOP_NS (20 * NS_PER_S)
#define SPEED_FIRST 500.0
#define HORIZON_S 0.2
#define HORIZON_MIN_SPEED 500.0
#define ENTRIES 512u
#define OWN_SHARDS 16u
#define OWN_QUOTA_BYTES (UINT64_C(128) << 20)
#define AWAY_MAX 2u /* pings in vain, one a second */

static void on_violation(void *context, enum fleet_violation kind, const char *text)
{
    const struct fleet_supervisor *s = context;
    (void)kind;
    if (fleet_check_violations(&s->check) <= FLEET_VIOLATIONS_PRINTED)
        (void)fprintf(stderr, "violation: %s\n", text);
}

static void name_owner(void *context, uint64_t owner, char name[FLEET_OWNER_BYTES])
{
    const struct fleet_supervisor *s = context;
    _Static_assert(FLEET_OWNER_BYTES > FLEET_NAME_BYTES, "room for the final 0");
    name[fleet_name(s->fleet->sources, owner, name)] = 0;
}

/* ---- children ---- */

static int spawn(struct fleet_supervisor *s, uint32_t child, uint32_t life)
{
    struct fleet *f = s->fleet;
    bool observer = child == f->options.agents;
    struct fleet_region *region = f->regions[life];
    region->process = child;
    /* relaxed: nobody else runs on this region yet */
    atomic_store_explicit(&region->virtual_us, s->slowest_us, memory_order_relaxed);
    pid_t pid = fleet_fork();
    if (pid < 0)
        return pid;
    if (pid == 0)
        _exit(observer ? fleet_observer_main(f) : fleet_agent_main(f, region));
    s->children[child] = (struct fleet_child){.pid = pid, .life = life};
    s->alive += !observer;
    return 0;
}

int fleet_drain_journals(struct fleet_supervisor *s)
{
    struct fleet_entry entries[ENTRIES];
    for (uint32_t r = 0; r < s->fleet->region_count; r++) {
        size_t n;
        do {
            n = fleet_journal_take(s->fleet->regions[r], entries, ENTRIES);
            for (size_t i = 0; i < n; i++) {
                int error = fleet_check_entry(&s->check, &entries[i]);
                if (error != 0)
                    return error;
            }
        } while (n == ENTRIES);
    }
    return 0;
}

/* Who asks such a node for anything strong waits. */
static bool is_away(const struct fleet_supervisor *s, uint32_t node)
{
    const struct fleet_chaos_cuts *cuts = &s->chaos.cuts;
    return (s->nodes.away_mask & 1u << node) != 0 || (cuts->is_cut && cuts->victim == node);
}

static void adopt(struct fleet_supervisor *s)
{
    while (s->adopt_count > 0 && !is_away(s, 0)) {
        uint32_t life = s->to_adopt[s->adopt_count - 1];
        if (fleet_controller_adopt(&s->controller, s->fleet->regions[life]) != 0)
            return; /* the daemon is away: next tick */
        s->adopt_count--;
    }
}

/* A child has ended.  One that was killed gets a successor. */
static int bury(struct fleet_supervisor *s, uint32_t child, int status, bool stopping)
{
    struct fleet_child *c = &s->children[child];
    bool observer = child == s->fleet->options.agents;
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0 && stopping;
    c->pid = 0;
    s->alive -= !observer;
    if (!well && !c->was_killed) {
        (void)fprintf(stderr, "dunlin-bench fleet: %s %u ended by itself: %s %d\n",
                      observer ? "observer" : "agent process", child,
                      WIFSIGNALED(status) ? "signal" : "exit code",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        s->failed++;
    }
    if (observer || well)
        return 0;
    /* release, D1 -> D2 (fleet_observer.c): before the controller touches what the dead agents
     * held. */
    atomic_store_explicit(&s->fleet->regions[c->life]->is_dead, 1, memory_order_release);
    int error = fleet_drain_journals(s); /* all that it wrote, before its sectors are touched */
    s->to_adopt[s->adopt_count++] = c->life;
    adopt(s);
    if (error == 0 && !stopping && c->was_killed && s->life_next < s->fleet->life_count)
        error = spawn(s, child, s->life_next++);
    return error;
}

static int reap(struct fleet_supervisor *s, bool stopping)
{
    int status, error = 0;
    for (uint32_t i = 0; error == 0 && i <= s->fleet->options.agents; i++) {
        if (s->children[i].pid != 0 && waitpid(s->children[i].pid, &status, WNOHANG) > 0)
            error = bury(s, i, status, stopping);
    }
    return error;
}

static void kill_due(struct fleet_supervisor *s, uint64_t now_ns)
{
    while (s->kill_done < s->fleet->options.kills &&
           now_ns - s->started_ns >= s->kills[s->kill_done].at_ns) {
        struct fleet_child *c = &s->children[s->kills[s->kill_done].process];
        /* Its successor is not there yet, or is being killed already: next tick. */
        if (c->pid == 0 || c->was_killed || kill(c->pid, SIGKILL) != 0)
            return;
        c->was_killed = true;
        s->kill_done++;
    }
}

/* ---- clock ---- */

/* Up to where all living processes have replayed. */
static void find_slowest(struct fleet_supervisor *s, uint64_t now_ns)
{
    int64_t slowest = fleet_clock_us(&s->fleet->shared->clock, now_ns);
    for (uint32_t i = 0; i < s->fleet->options.agents; i++) {
        const struct fleet_child *c = &s->children[i];
        const struct fleet_region *r = s->fleet->regions[c->life];
        /* relaxed: progress, may lag */
        int64_t us = atomic_load_explicit(&r->virtual_us, memory_order_relaxed);
        /* Why not those at a node that is away: they can only wait, and the others are to go on. */
        if (c->pid != 0 && us < slowest && !is_away(s, fleet_node_of(s->fleet, i)))
            slowest = us;
    }
    s->slowest_us = slowest > s->slowest_us ? slowest : s->slowest_us;
}

static void set_horizon(struct fleet_supervisor *s, uint64_t now_ns)
{
    find_slowest(s, now_ns);
    /* Why by what was achieved: a clock that runs away (--speed max) would let the sources, and so
     * the mix of telemetry and claims, drift apart. */
    int64_t ahead_us = (int64_t)((2 * s->achieved + HORIZON_MIN_SPEED) * HORIZON_S * 1e6);
    /* relaxed: a bound that may lag */
    atomic_store_explicit(&s->fleet->shared->clock.horizon_us, s->slowest_us + ahead_us,
                          memory_order_relaxed);
}

static void adjust_speed(struct fleet_supervisor *s, uint64_t now_ns)
{
    static struct histogram window;
    double passed_s = (double)(now_ns - s->speed_ns) / 1e9;
    fleet_totals_take(s->fleet, &s->now);
    fleet_latency_since(&s->now.latency, &s->at_speed.latency, &window);
    struct fleet_seen seen = {
        .command_count = histogram_count(&window),
        .slow_count = fleet_latency_above(&window, FLEET_COMMAND_LIMIT_NS),
        .achieved = (double)(s->slowest_us - s->slowest_at_speed_us) / 1e6 / passed_s,
        .cpu_share = (double)(s->now.counters[FLEET_CPU_NS] - s->at_speed.counters[FLEET_CPU_NS]) /
                     1e9 / passed_s / s->cpus,
    };
    if (s->fleet->options.speed == FLEET_SPEED_AUTO) {
        double speed = fleet_speed_next(&s->speed, &seen);
        fleet_clock_set(&s->fleet->shared->clock, now_ns,
                        fleet_clock_us(&s->fleet->shared->clock, now_ns), speed);
    }
    s->achieved = seen.achieved;
    s->at_speed = s->now;
    s->slowest_at_speed_us = s->slowest_us;
    s->speed_ns = now_ns;
}

/* ---- the run ---- */

static void watch_daemon(struct fleet_supervisor *s)
{
    /* Why a ping: it is the supervisor's own way to notice that the daemon died, and to attach
     * again. */
    if (dunlin_ping(s->controller.seat.handle, 0) != 0) {
        s->daemon_away++;
        return;
    }
    s->daemon_away = 0;
    uint64_t start = fleet_start(s->fleet, s->controller.seat.handle);
    if (start != s->start) {
        s->start = start;
        s->restarts++;
    }
}

static int tick(struct fleet_supervisor *s, bool stopping)
{
    struct timespec sleep = {.tv_nsec = (long)TICK_NS};
    uint64_t now_ns = clock_boottime_ns();
    int error = fleet_drain_journals(s);
    if (error != 0 || (error = reap(s, stopping)) != 0)
        return error;
    adopt(s);
    fleet_watchers_look(s);
    set_horizon(s, now_ns);
    if (!stopping) {
        kill_due(s, now_ns);
        if (now_ns - s->speed_ns >= SPEED_PERIOD_NS)
            adjust_speed(s, now_ns);
    }
    if (!stopping && fleet_is_cluster(s->fleet)) {
        error = fleet_chaos_step(&s->chaos, s->fleet, &s->nodes, now_ns - s->started_ns);
        if (error != 0)
            return error;
    }
    if (now_ns - s->line_ns >= LINE_PERIOD_NS) {
        if (!is_away(s, 0))
            watch_daemon(s);
        if (s->fleet->node_count > 1)
            /* Why the result does not matter here: the last look counts, and is_lost sees the rest. */
            (void)!fleet_nodes_look(s->fleet, &s->nodes);
        fleet_print_line(s, now_ns);
    }
    (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
    return 0;
}

static bool all_attached(const struct fleet_supervisor *s)
{
    for (uint32_t i = 0; i < s->fleet->options.agents; i++) {
        const struct fleet_region *r = s->fleet->regions[s->children[i].life];
        if (atomic_load_explicit(&r->start, memory_order_acquire) == 0)
            return false;
    }
    return true;
}

static int start(struct fleet_supervisor *s)
{
    struct fleet *f = s->fleet;
    struct timespec sleep = {.tv_nsec = (long)TICK_NS};
    double speed = f->options.speed;
    int error = 0;
    if (speed == FLEET_SPEED_AUTO)
        speed = SPEED_FIRST;
    else if (speed == FLEET_SPEED_UNBOUND)
        speed = FLEET_SPEED_MAX;
    /* Before any child: one word if there is no daemon, not one of each. */
    for (uint32_t node = 0; node < f->first_count; node++) {
        if ((error = fleet_attach(f, node, true, &s->controller.seat)) != 0)
            return error;
        fleet_detach(&s->controller.seat);
    }
    for (uint32_t i = 0; error == 0 && i < f->options.agents; i++)
        error = spawn(s, i, s->life_next++);
    if (error == 0)
        error = spawn(s, f->options.agents, f->life_count);
    uint64_t until = clock_boottime_ns() + ATTACH_NS;
    while (error == 0 && !all_attached(s)) {
        (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
        error = reap(s, false);
        if (error == 0 && (s->failed > 0 || clock_boottime_ns() > until))
            error = -ENOTCONN;
    }
    if (error == 0)
        error = fleet_attach(f, 0, true, &s->controller.seat);
    if (error != 0)
        return error;
    if ((error = fleet_nodes_open(f, &s->nodes)) != 0 || (error = fleet_watchers_start(s)) != 0)
        return error;
    s->cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    s->start = fleet_start(s->fleet, s->controller.seat.handle);
    s->started_ns = s->speed_ns = s->line_ns = clock_boottime_ns();
    s->daemon_ns_at_start = fleet_daemons_cpu_ns(f);
    s->own_ns_at_start = fleet_cpu_ns(getpid());
    s->achieved = speed < SPEED_FIRST ? speed : SPEED_FIRST;
    fleet_speed_init(&s->speed, speed);
    fleet_clock_set(&f->shared->clock, s->started_ns, 0, speed);
    set_horizon(s, s->started_ns);
    return 0;
}

static int stop(struct fleet_supervisor *s)
{
    uint64_t until = clock_boottime_ns() + STOP_NS;
    int error = 0;
    /* relaxed: a flag that is looked at again and again */
    atomic_store_explicit(&s->fleet->shared->stop, 1, memory_order_relaxed);
    while (error == 0 && (s->alive > 0 || s->children[s->fleet->options.agents].pid != 0)) {
        error = tick(s, true);
        if (clock_boottime_ns() > until) {
            (void)fprintf(stderr, "dunlin-bench fleet: %u processes do not stop\n", s->alive);
            return -ETIMEDOUT;
        }
    }
    return error != 0 ? error : fleet_drain_journals(s);
}

/* Nobody is going to start the daemon again. */
static bool is_lost(const struct fleet_supervisor *s)
{
    return !s->fleet->options.restarts_expected && s->daemon_away >= AWAY_MAX;
}

static int judge(struct fleet_supervisor *s)
{
    uint64_t until = clock_boottime_ns() + STOP_NS;
    int error;
    /* The daemon may be on its way back: what it holds can only be judged when it is there. */
    while ((error = dunlin_ping(s->controller.seat.handle, 0)) != 0 &&
           clock_boottime_ns() < until && !is_lost(s))
        continue;
    watch_daemon(s);
    adopt(s);
    if (error == 0 && s->adopt_count > 0)
        error = -ENOTCONN;
    if (error == 0)
        error = fleet_controller_judge(&s->controller);
    if (error == 0)
        error = fleet_replicas_judge(&s->controller);
    if (error == 0)
        error = fleet_watchers_judge(s);
    if (error == 0)
        error = fleet_controller_clean(&s->controller);
    if (error != 0)
        (void)fprintf(stderr, "dunlin-bench fleet: the final state cannot be judged: %s\n",
                      strerror(-error));
    return error;
}

static int run(struct fleet_supervisor *s)
{
    uint64_t until;
    int error = start(s);
    if (error != 0) {
        (void)fprintf(stderr, "dunlin-bench fleet: cannot start: %s\n", strerror(-error));
        return error;
    }
    until = s->started_ns + (uint64_t)(s->fleet->options.seconds * 1e9);
    while (error == 0 && clock_boottime_ns() < until && s->failed == 0 && !is_lost(s) &&
           s->nodes.stopped == 0)
        error = tick(s, false);
    s->ended_ns = clock_boottime_ns();
    if (s->nodes.stopped != 0) {
        /* Why no more: what asks for a shard that stopped would only wait. */
        s->incomplete = true;
        return fleet_drain_journals(s);
    }
    if (fleet_is_cluster(s->fleet))
        fleet_chaos_end(&s->chaos, s->fleet, &s->nodes);
    int stopped = stop(s);
    error = error != 0 ? error : stopped;
    s->incomplete = error != 0 || judge(s) != 0;
    if (fleet_nodes_look(s->fleet, &s->nodes) != 0)
        s->incomplete = true;
    return error;
}

/* ---- preparing ---- */

static void kill_all(const struct fleet_supervisor *s)
{
    for (uint32_t i = 0; s->children != NULL && i <= s->fleet->options.agents; i++) {
        if (s->children[i].pid != 0) {
            (void)kill(s->children[i].pid, SIGKILL); /* it may just have ended by itself */
            (void)waitpid(s->children[i].pid, NULL, 0);
        }
    }
    fleet_watchers_kill(s);
}

/* Its agents are dealt out from where those of the one before ended. */
static struct fleet_source *next_source(struct fleet *f)
{
    struct fleet_source *s = &f->sources[f->source_count];
    if (f->source_count > 0)
        s->deal_from = s[-1].deal_from + s[-1].agent_count;
    f->source_count++;
    return s;
}

static int load_sources(struct fleet *f)
{
    const struct fleet_options *o = &f->options;
    char error_text[CSV_ERROR_BYTES + 256];
    for (uint32_t i = 0; i < o->path_count; i++) {
        struct fleet_load load = {o->paths[i], o->agent_column, o->sort, o->agents};
        struct fleet_source *source = next_source(f);
        int error = fleet_source_load(source, &load, error_text, sizeof(error_text));
        if (error != 0) {
            (void)fprintf(stderr, "dunlin-bench fleet: %s\n", error_text);
            return error;
        }
    }
    for (int kind = FLEET_SPARSE; kind <= FLEET_CROWD; kind++) {
        if (!(kind == FLEET_SPARSE ? o->generate_sparse : o->generate_crowd))
            continue;
        int error =
            fleet_source_generate(next_source(f), (enum fleet_kind)kind, o->seed, o->agents);
        if (error != 0)
            return error;
    }
    return 0;
}

static void *share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Slots for the process that owns most agents: twice, since one repetition ends as the next begins.
 */
static uint32_t slots_needed(const struct fleet *f)
{
    uint32_t most = 0;
    for (uint32_t p = 0; p < f->options.agents; p++) {
        uint32_t owned = 0;
        for (uint32_t i = 0; i < f->source_count; i++) {
            for (uint32_t a = 0; a < f->sources[i].agent_count; a++)
                owned += fleet_process_of(&f->sources[i], a, f->options.agents) == p;
        }
        most = owned > most ? owned : most;
    }
    return 2 * most + 256;
}

static int share_memory(struct fleet *f)
{
    f->slot_count = slots_needed(f);
    f->node_count = f->options.socket_count > 0 ? f->options.socket_count : 1;
    f->first_count = f->node_count - (f->options.adder != NULL);
    f->life_count = f->options.agents + f->options.kills;
    f->watcher_count = (uint32_t)min_u64(f->options.watches, FLEET_WATCHERS_MAX);
    f->region_count = f->life_count + f->node_count + f->watcher_count;
    f->shared = share(sizeof(*f->shared));
    f->regions = calloc(f->region_count, sizeof(struct fleet_region *));
    if (f->shared == NULL || f->regions == NULL)
        return -ENOMEM;
    atomic_init(&f->shared->member_mask, (1u << f->first_count) - 1);
    for (uint32_t r = 0; r < f->region_count; r++) {
        f->regions[r] = share(fleet_region_bytes(f->slot_count));
        if (f->regions[r] == NULL)
            return -ENOMEM;
        fleet_region_init(f->regions[r], r, f->slot_count);
        f->regions[r]->node = r - f->life_count < f->node_count ? r - f->life_count : 0;
    }
    /* Nothing is due before the clock starts. */
    atomic_store_explicit(&f->shared->clock.horizon_us, -1, memory_order_relaxed);
    return 0;
}

static int compare_kills(const void *left, const void *right)
{
    const struct fleet_kill *a = left, *b = right;
    return a->at_ns < b->at_ns ? -1 : a->at_ns > b->at_ns;
}

/* Each process once, in random order, before any a second time. */
static int plan_kills(struct fleet_supervisor *s)
{
    const struct fleet_options *o = &s->fleet->options;
    uint64_t random = o->seed;
    uint32_t *order = malloc(o->agents * sizeof(*order));
    s->kills = calloc(o->kills + 1, sizeof(*s->kills));
    if (order == NULL || s->kills == NULL) {
        free(order);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < o->agents; i++) {
        uint32_t at = (uint32_t)fleet_random_below(&random, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (uint32_t i = 0; i < o->kills; i++) {
        s->kills[i].process = order[i % o->agents];
        s->kills[i].at_ns = (uint64_t)(o->seconds * 1e9 * fleet_random_between(&random, 0.1, 0.9));
    }
    qsort(s->kills, o->kills, sizeof(*s->kills), compare_kills);
    free(order);
    return 0;
}

static int prepare(struct fleet_supervisor *s)
{
    struct fleet *f = s->fleet;
    int error = load_sources(f);
    if (error != 0)
        return error;
    if ((error = share_memory(f)) != 0 || (error = plan_kills(s)) != 0)
        return error;
    s->children = calloc(f->options.agents + 1, sizeof(*s->children));
    s->to_adopt = calloc(f->life_count + 1, sizeof(*s->to_adopt));
    if (s->children == NULL || s->to_adopt == NULL)
        return -ENOMEM;
    struct fleet_check_hooks hooks = {on_violation, name_owner, s};
    fleet_check_init(&s->check, &hooks);
    s->controller.fleet = f;
    s->controller.check = &s->check;
    return 0;
}

static void release(struct fleet_supervisor *s)
{
    struct fleet *f = s->fleet;
    fleet_detach(&s->controller.seat);
    fleet_nodes_close(&s->nodes);
    fleet_check_fini(&s->check);
    for (uint32_t i = 0; i < f->source_count; i++)
        fleet_source_free(&f->sources[i]);
    for (uint32_t r = 0; f->regions != NULL && r < f->region_count; r++) {
        if (f->regions[r] != NULL)
            (void)munmap(f->regions[r], fleet_region_bytes(f->slot_count));
    }
    if (f->shared != NULL)
        (void)munmap(f->shared, sizeof(*f->shared));
    free(f->regions);
    free(s->controller.cells);
    free(s->children);
    free(s->to_adopt);
    free(s->kills);
}

/* Nobody named a daemon: one of our own, with one space for everything. */
static int start_daemon(struct fleet_options *o, struct daemon *d)
{
    struct daemon_options options = {
        .name = "fleet", .cpu = -1, .shard_count = OWN_SHARDS, .quota_bytes = OWN_QUOTA_BYTES};
    struct dunlin *handle;
    int error = daemon_start(d, &options);
    if (error != 0 || (error = daemon_attach(d, 0, &handle)) != 0)
        return error;
    dunlin_close(handle); /* it was only to see that it serves */
    o->sockets[0] = d->socket_path;
    o->socket_count = 1;
    o->daemon_pids[0] = d->pid;
    o->daemon_pid_count = 1;
    o->telemetry_space = o->sectors_space = DAEMON_SPACE;
    return 0;
}

int bench_fleet(int argc, char **argv)
{
    static struct fleet fleet;
    static struct fleet_supervisor supervisor = {.fleet = &fleet};
    struct daemon daemon = {0};
    int error = fleet_options_parse(argc, argv, &fleet.options, &supervisor.chaos);
    if (error != 0)
        return error == 1 ? BENCH_OK : BENCH_USAGE;
    uint64_t random = clock_realtime_ns() ^ (uint64_t)getpid() << 32;
    fleet.run = (uint32_t)fleet_random(&random);
    if (fleet.options.seed == UINT64_MAX)
        fleet.options.seed = clock_realtime_ns() / NS_PER_S;
    int result = BENCH_USAGE;
    error = prepare(&supervisor);
    if (error == -ENOMEM)
        (void)fprintf(stderr, "dunlin-bench fleet: out of memory\n");
    if (error == 0 && fleet.options.socket_count == 0 && getenv("DUNLIN_SOCKET") == NULL) {
        error = start_daemon(&fleet.options, &daemon);
        result = BENCH_REFUSED;
    }
    if (error == 0) {
        result = BENCH_REFUSED;
        error = run(&supervisor);
        kill_all(&supervisor);
        if (error == 0 || supervisor.ended_ns != 0)
            result = fleet_print_summary(&supervisor);
    }
    release(&supervisor);
    if (daemon.pid > 0)
        daemon_stop(&daemon);
    return result;
}
