/* What all processes of the fleet share: the clock, looking at keys, findings. */
#include "bench/fleet.h"

#include "bench/geohash.h"
#include "engine/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS 100000u
#define CALL_TIMEOUT_NS (2 * NS_PER_S)
#define READ_TIMEOUT_NS (NS_PER_S / 4)  /* where nobody writes */
#define ATTACH_LIMIT_NS (20 * NS_PER_S) /* by a daemon that let us in */

void fleet_clock_set(struct fleet_clock *c, uint64_t now_ns, int64_t now_us, double speed)
{
    uint64_t sequence = atomic_load_explicit(&c->sequence, memory_order_relaxed); /* own */
    atomic_store_explicit(&c->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    /* relaxed: the sequence says whether they belong together */
    atomic_store_explicit(&c->base_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&c->base_us, now_us, memory_order_relaxed);
    atomic_store_explicit(&c->us_per_s, (uint64_t)(speed * 1e6), memory_order_relaxed);
    atomic_store_explicit(&c->sequence, sequence + 2, memory_order_release); /* C1 */
}

int64_t fleet_clock_us(const struct fleet_clock *c, uint64_t now_ns)
{
    uint64_t sequence, base_ns, us_per_s;
    int64_t base_us;
    do {
        sequence = atomic_load_explicit(&c->sequence, memory_order_acquire); /* C2 */
        base_ns = atomic_load_explicit(&c->base_ns, memory_order_relaxed);
        base_us = atomic_load_explicit(&c->base_us, memory_order_relaxed);
        us_per_s = atomic_load_explicit(&c->us_per_s, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
    } while ((sequence & 1) != 0 ||
             sequence != atomic_load_explicit(&c->sequence, memory_order_relaxed));
    /* relaxed: a bound that may lag */
    int64_t horizon = atomic_load_explicit(&c->horizon_us, memory_order_relaxed);
    double passed_s = now_ns > base_ns ? (double)(now_ns - base_ns) / 1e9 : 0;
    int64_t us = base_us + (int64_t)(passed_s * (double)us_per_s);
    return us < horizon ? us : horizon;
}

/* Linux 6.12 and later: a short slice gives an early deadline, so that a process that sleeps most
 * of the time runs soon after it was woken, though others want the processor all the time. */
void fleet_short_slice(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof(attributes), .runtime = SLICE_NS};
    /* Older kernels refuse or ignore it: then the scheduler's own slice it is. */
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int fleet_fork(void)
{
    pid_t parent = getpid();
    (void)fflush(NULL); /* else the child could print what is buffered once more */
    pid_t pid = fork();
    if (pid != 0)
        return pid > 0 ? pid : -errno;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it died before we could ask to die with it */
    fleet_short_slice();
    return 0;
}

static int complain(const char *socket, const char *what, int error)
{
    (void)fprintf(stderr, "dunlin-bench fleet: %s at %s: %s\n", what,
                  socket != NULL ? socket : "the default socket",
                  error == -ENOTCONN ? "no daemon answers; start dunlind, or name its --socket"
                  : error == -ENOENT ? "the daemon has no such space (it must be strong)"
                                     : strerror(-error));
    return error;
}

void fleet_detach(struct fleet_seat *seat)
{
    dunlin_close(seat->handle);
    *seat = (struct fleet_seat){0};
}

/* Why again: a daemon that many attach to at once may answer later than a read is to take. */
static int space_attach(const struct fleet_seat *seat, const char *name,
                        struct dunlin_space **space)
{
    uint64_t until_ns = clock_boottime_ns() + ATTACH_LIMIT_NS;
    int error;
    do
        error = dunlin_space(seat->handle, name, space);
    while (error == -ENOTCONN && clock_boottime_ns() < until_ns);
    return error;
}

int fleet_attach(const struct fleet *f, uint32_t node, bool writes, struct fleet_seat *seat)
{
    const char *socket = f->options.sockets[node];
    struct dunlin_options options = {
        .socket = socket,
        .timeout_ns = writes ? CALL_TIMEOUT_NS : READ_TIMEOUT_NS,
        .spin_ns = 1,
        .flags = DUNLIN_OPEN_WAIT,
    };
    uint64_t until_ns = clock_boottime_ns() + CALL_TIMEOUT_NS;
    int error;
    *seat = (struct fleet_seat){0};
    do
        error = dunlin_open(&options, &seat->handle);
    while (error == -ENOTCONN && clock_boottime_ns() < until_ns);
    if (error != 0)
        return complain(socket, "cannot attach", error);
    error = space_attach(seat, f->options.telemetry_space, &seat->telemetry);
    if (error != 0)
        (void)complain(socket, f->options.telemetry_space, error);
    else if ((error = space_attach(seat, f->options.sectors_space, &seat->sectors)) != 0)
        (void)complain(socket, f->options.sectors_space, error);
    if (error != 0)
        fleet_detach(seat);
    return error;
}

static int look(struct dunlin_space *space, const struct fleet_key *key, uint64_t *lsn,
                uint64_t *stamp_ns, uint64_t *number)
{
    char value[FLEET_VALUE_BYTES];
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    int error = dunlin_get(space, key->bytes, key->length, value, sizeof(value), &read);
    *lsn = *stamp_ns = *number = 0;
    if (error == -ENOENT)
        return 0;
    *lsn = read.version.lsn;
    if (error == -ENOBUFS)
        return -EBADMSG;
    return error != 0 ? error : fleet_value_parse(value, read.length, key, stamp_ns, number);
}

int fleet_sector_get(const struct fleet *f, struct dunlin_space *sectors, uint32_t cell,
                     struct fleet_sector_state *state)
{
    struct fleet_key key;
    fleet_key_sector(&key, f->run, cell);
    return look(sectors, &key, &state->lsn, &state->stamp_ns, &state->owner);
}

int fleet_telemetry_get(const struct fleet *f, struct dunlin_space *telemetry, uint64_t owner,
                        struct fleet_telemetry_state *state)
{
    struct fleet_key key;
    fleet_key_telemetry(&key, f->run, f->sources, owner);
    return look(telemetry, &key, &state->lsn, &state->stamp_ns, &state->number);
}

bool fleet_telemetry_agrees(const struct fleet_slot *slot,
                            const struct fleet_telemetry_state *state)
{
    /* acquire: S2 */
    uint64_t acked = atomic_load_explicit(&slot->number_acked, memory_order_acquire);
    uint64_t lsn = atomic_load_explicit(&slot->lsn_acked, memory_order_acquire);
    uint64_t submitted = atomic_load_explicit(&slot->number_submitted, memory_order_acquire);
    if (state->lsn == lsn)
        return lsn == 0 || state->number == acked;
    return state->lsn > lsn && state->number > acked && state->number <= submitted;
}

void fleet_journal_finding(struct fleet_region *region, uint64_t start,
                           const struct fleet_mismatch *mismatch)
{
    struct fleet_entry entry = {
        .start = start,
        .kind = FLEET_ENTRY_FINDING,
        .node = (uint8_t)region->node,
        .detail = (uint16_t)mismatch->finding,
        .cell = mismatch->cell,
        .owner_before = mismatch->owner,
        .lsn_expected = mismatch->expected,
        .lsn = mismatch->found,
    };
    fleet_journal_put(region, &entry);
}
