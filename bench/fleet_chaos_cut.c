/* Nodes that are cut off from all others in turn, and what they answer meanwhile.  See fleet_chaos.h.
 *
 * The cut is made at the bridge that joins the network namespaces of the nodes: the port of one is disabled, and its
 * second one if it has any (of what goes past its kernel), so that neither its data plane nor its control plane
 * reaches anybody, and nobody it; its agents are on the same machine and stay.  A prober asks the node meanwhile: for strong writes, which it has to refuse, at once when its lease is
 * over, and for local reads, which it has to answer, with their age. */
#include "bench/fleet_chaos.h"

#include "engine/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT_DISABLED 0
#define PORT_FORWARDS 3
#define PROBE_PAUSE_NS (5 * NS_PER_MS)
#define PROBE_TIMEOUT_NS (2 * NS_PER_S) /* as long as agents have: a refusal is not to take it */
#define PROBE_END_NS (100 * NS_PER_MS)  /* before it is healed */
#define END_NS (5 * NS_PER_S)
#define KEY "chaos-probe"

/* ---- the prober ---- */

static void probe_write(struct dunlin_space *space, struct fleet_probed *p, uint64_t cut_ns,
                        bool *was_refused)
{
    uint64_t begun = clock_boottime_ns();
    int rc = dunlin_put(space, KEY, sizeof KEY - 1, "x", 1, NULL);
    uint64_t ended = clock_boottime_ns();
    p->applied += rc == 0;
    p->unknown += rc == -EOWNERDEAD;
    p->refused += rc == -ENOTCONN;
    /* Why not the first: it may have begun while the lease still ran. */
    if (rc != 0 && *was_refused)
        p->slowest_ns = max_u64(p->slowest_ns, ended - begun);
    if (rc != 0 && !*was_refused)
        p->silent_ns = max_u64(p->silent_ns, ended - cut_ns);
    *was_refused = *was_refused || rc != 0;
}

static void probe_read(struct dunlin_space *space, struct fleet_probed *p)
{
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    char value[8];
    int rc = dunlin_get(space, KEY, sizeof KEY - 1, value, sizeof value, &read);
    p->reads++;
    p->reads_failed += rc != 0 && rc != -ENOENT;
    p->stale += read.stale != 0;
    /* Why: a node that was started while it was cut off was never sure of anything. */
    if (read.age_ns != UINT64_MAX)
        p->age_ns = max_u64(p->age_ns, read.age_ns);
}

/* In a process of its own, so that nobody waits for what the node does not answer. */
static int probe(const struct fleet *f, uint32_t node, uint64_t cut_ns)
{
    const struct dunlin_options options = {.socket = f->options.sockets[node],
                                           .timeout_ns = PROBE_TIMEOUT_NS};
    const struct timespec pause = {.tv_nsec = (long)PROBE_PAUSE_NS};
    struct fleet_probed *p = &f->shared->probed;
    struct dunlin *handle;
    struct dunlin_space *space;
    bool was_refused = false;
    int rc = dunlin_open(&options, &handle);
    if (rc == 0)
        rc = dunlin_space(handle, f->options.sectors_space, &space);
    p->cuts++;
    while (rc == 0 && clock_boottime_ns() < cut_ns + FLEET_CHAOS_CUT_NS - PROBE_END_NS) {
        probe_write(space, p, cut_ns, &was_refused);
        probe_read(space, p);
        (void)nanosleep(&pause, NULL); /* a signal shortens it: asked again all the same */
    }
    return rc == 0 ? 0 : 1; /* memory: the process ends here */
}

static bool has_ended(int *pid, uint32_t *failed)
{
    int status;
    if (*pid != 0 && waitpid(*pid, &status, WNOHANG) == *pid) {
        *pid = 0;
        *failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return *pid == 0;
}

/* ---- the cut ---- */

/* $0: number of the node; $1: state. */
static const char ports_set[] =
    "bridge link set dev port$0 state $1 && "
    "{ ! ip link show second$0 >/dev/null 2>&1 || bridge link set dev second$0 state $1; }";

static int port_set(struct fleet_chaos *c, const struct fleet *f, int state)
{
    char space[64], node[16], number[8];
    (void)snprintf(space, sizeof space, "--net=/proc/%d/ns/net", f->options.switch_pid);
    (void)snprintf(node, sizeof node, "%u", c->cuts.victim + 1);
    (void)snprintf(number, sizeof number, "%d", state);
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        execlp("nsenter", "nsenter", space, "--", "sh", "-c", ports_set, node, number,
               (char *)NULL);
        _exit(127);
    }
    c->cuts.mender = pid;
    return 0;
}

static int cut(struct fleet_chaos *c, const struct fleet *f)
{
    struct fleet_chaos_cuts *k = &c->cuts;
    do /* Why this ends: the first node stays. */
        k->victim = (k->victim + 1) % f->first_count;
    while (!fleet_is_member(f, k->victim));
    int error = port_set(c, f, PORT_DISABLED);
    if (error != 0)
        return error;
    k->cut_ns = clock_boottime_ns();
    k->is_cut = true;
    k->count++;
    pid_t pid = fleet_fork();
    if (pid == 0)
        _exit(probe(f, k->victim, k->cut_ns));
    k->prober = pid > 0 ? pid : 0;
    return pid < 0 ? pid : 0;
}

int fleet_chaos_cut_step(struct fleet_chaos *c, const struct fleet *f,
                         const struct fleet_chaos_due *due)
{
    struct fleet_chaos_cuts *k = &c->cuts;
    if (!has_ended(&k->mender, &k->failed))
        return 0;
    if (k->is_cut && clock_boottime_ns() - k->cut_ns >= FLEET_CHAOS_CUT_NS) {
        k->is_cut = false;
        return port_set(c, f, PORT_FORWARDS);
    }
    if (!has_ended(&k->prober, &k->failed) || k->is_cut || c->kills.is_down || c->is_frozen ||
        fleet_chaos_is_changing(c))
        return 0;
    k->next_ns = max_u64(k->next_ns, due->period_ns);
    if (due->passed_ns < k->next_ns)
        return 0;
    k->next_ns = due->passed_ns + due->period_ns;
    return cut(c, f);
}

void fleet_chaos_cut_end(struct fleet_chaos *c, const struct fleet *f)
{
    struct fleet_chaos_cuts *k = &c->cuts;
    const struct timespec pause = {.tv_nsec = (long)PROBE_PAUSE_NS};
    uint64_t until = clock_boottime_ns() + END_NS;
    while (!has_ended(&k->mender, &k->failed) && clock_boottime_ns() < until)
        (void)nanosleep(&pause, NULL); /* a signal shortens it: looked again all the same */
    if (k->is_cut && port_set(c, f, PORT_FORWARDS) != 0)
        k->failed++;
    k->is_cut = false;
    while ((!has_ended(&k->mender, &k->failed) || !has_ended(&k->prober, &k->failed)) &&
           clock_boottime_ns() < until)
        (void)nanosleep(&pause, NULL); /* as above */
    if (k->prober != 0) {
        (void)kill(k->prober, SIGKILL);
        (void)waitpid(k->prober, NULL, 0);
        k->prober = 0;
        k->failed++;
    }
}
