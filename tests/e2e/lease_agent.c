/* lease_agent - contends for a lease for ever, works under it, and writes down what it believed and when.
 *
 *   lease_agent --socket SOCKET --owner NAME --journal FILE --fence FILE [--region] [--space NAME]
 *               [--key KEY] [--ttl-ms N] [--seed N]
 *
 * Without --region for the key itself (flag "global" in the journal), with it for the lease of the zone that the
 * node has (flag: its name).  It holds the lease for a while, renewing it, then releases it, or lets it run out and
 * tries what it must not do any more.
 *
 * What it does under the lease, for a time that begins while its clock says that it holds it: its token into the
 * fence, a file that knows the newest token of each flag and takes no older one; and its token into a key of the
 * same shard, by a transaction that compares the lease's token.  Who is stopped in that time comes too late.
 *
 * A line of the journal is EVENT FLAG OWNER TOKEN A B, written at once; times are nanoseconds of CLOCK_BOOTTIME:
 *   held   A when an acquire or renew was answered, B until when it is believed: counted from before it was asked
 *   ended  A before it asked for the release
 *   wrote  the transaction was done, between A and B
 *   read   TOKEN is what that key held, read linearizably between A and B; 0: nothing
 *   stale  the transaction was refused, after the clock said that the lease is over; A when, B when it was over
 *   late   a release under a token that was over was refused
 *   fenced the fence had a newer token, and the clock says by now that the lease is over; A and B likewise
 *   denied fence, transaction or renewal were refused, and the clock says after it that the lease is held
 * lease_check reads it.  Exit: 0 at SIGTERM, 2 bad usage or no daemon. */
#include "tests/e2e/e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TIMEOUT_MS 1000u
#define FENCES 64u
#define LINE_BYTES 192u
#define KEY_BYTES 96u

/* One flag's place in the fence file: a name, and the newest token. */
struct fence {
    _Atomic uint64_t name; /* hash of the flag's name; 0: free */
    _Atomic uint64_t token;
};

struct contender {
    const char *socket, *owner, *space_name, *key;
    int journal;
    struct fence *fence;
    bool region;
    uint64_t ttl_ns, random;
    struct dunlin_space *space;
    char flag[DUNLIN_ZONE_MAX + 1];
    char lease_key[DUNLIN_KEY_MAX];
    size_t lease_key_length;
    char work_key[KEY_BYTES];
    struct dunlin_lease lease;
};

static _Atomic bool is_over;

static void on_end(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&is_over, true, memory_order_relaxed); /* relaxed: looked at again */
}

static bool goes_on(void)
{
    return !atomic_load_explicit(&is_over, memory_order_relaxed); /* relaxed: looked at again */
}

/* From least to most. */
static uint64_t chance(struct contender *c, uint64_t least, uint64_t most)
{
    return least + e2e_random(&c->random) % (most - least + 1);
}

static void say(const struct contender *c, const char *event, uint64_t token, uint64_t a,
                uint64_t b)
{
    char line[LINE_BYTES];
    int length = snprintf(line, sizeof line, "%s %s %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                          event, c->flag, c->owner, token, a, b);
    /* Why one call: lines of several processes are appended whole. */
    if (write(c->journal, line, (size_t)length) != length)
        e2e_die("lease_agent: journal: %s", strerror(errno));
}

/* ---- the fence ---- */

/* The flag's place: the first that has its name, or takes it. */
static struct fence *fence_find(struct fence *fences, const char *flag)
{
    uint64_t name = 1469598103934665603u;
    for (; *flag != 0; flag++)
        name = (name ^ (uint8_t)*flag) * 1099511628211u;
    for (uint32_t i = 0; i < FENCES; i++) {
        uint64_t found = 0;
        /* relaxed: a name says nothing but itself */
        if (atomic_compare_exchange_strong_explicit(&fences[i].name, &found, name,
                                                    memory_order_relaxed, memory_order_relaxed) ||
            found == name)
            return &fences[i];
    }
    e2e_die("lease_agent: the fence is full");
}

static struct fence *fence_open(const char *path, const char *flag)
{
    size_t bytes = FENCES * sizeof(struct fence);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        e2e_die("lease_agent: %s: %s", path, strerror(errno));
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        e2e_die("lease_agent: %s: %s", path, strerror(errno));
    (void)close(fd);
    return fence_find(at, flag);
}

/* False: it has had a newer one. */
static bool fence_pass(struct fence *f, uint64_t token)
{
    /* relaxed in both: the order of this one word's values is all that counts */
    uint64_t newest = atomic_load_explicit(&f->token, memory_order_relaxed);
    while (newest <= token)
        if (atomic_compare_exchange_weak_explicit(&f->token, &newest, token, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* ---- under the lease ---- */

/* It was refused something.  Nobody else may hold it before its time is over. */
static void refused(const struct contender *c, const char *event)
{
    uint64_t now = clock_boottime_ns();
    say(c, now < c->lease.deadline_ns ? "denied" : event, c->lease.token, now,
        c->lease.deadline_ns);
}

static int guarded_write(struct contender *c)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRIu64, c->lease.token);
    const struct dunlin_condition condition = {.compare = DUNLIN_COMPARE_TOKEN,
                                               .key = c->lease_key,
                                               .key_length = c->lease_key_length,
                                               .expected = c->lease.token};
    const struct dunlin_write write = {.operation = DUNLIN_PUT,
                                       .key = c->work_key,
                                       .key_length = strlen(c->work_key),
                                       .value = text,
                                       .value_length = (size_t)length};
    const struct dunlin_transaction t = {
        .conditions = &condition, .condition_count = 1, .then_writes = &write, .then_count = 1};
    uint64_t begun_ns = clock_boottime_ns();
    int error = dunlin_transaction(c->space, &t, NULL);
    if (error == 0)
        say(c, "wrote", c->lease.token, begun_ns, clock_boottime_ns());
    else if (error == -ECANCELED)
        refused(c, "stale");
    return error;
}

/* Begun while the clock says that it holds it.  False: it does not any more. */
static bool work(struct contender *c)
{
    if (clock_boottime_ns() >= c->lease.deadline_ns)
        return false;
    e2e_sleep_ms(chance(c, 2, 10));
    if (!fence_pass(c->fence, c->lease.token))
        refused(c, "fenced");
    return guarded_write(c) != -ECANCELED;
}

static void held(struct contender *c)
{
    say(c, "held", c->lease.token, clock_boottime_ns(), c->lease.deadline_ns);
}

static bool renewed(struct contender *c)
{
    uint64_t now = clock_boottime_ns();
    if (now + c->ttl_ns * 2 / 3 < c->lease.deadline_ns)
        return true;
    int error =
        dunlin_lease_renew(c->space, c->lease_key, c->lease_key_length, c->ttl_ns, &c->lease);
    if (error == 0)
        held(c);
    else if (error == -ECANCELED)
        refused(c, "stale");
    return error != -ECANCELED;
}

/* Who was away for longer than its lease: none of it may count, unless nobody took the lease meanwhile. */
static void come_late(struct contender *c)
{
    uint64_t until = c->lease.deadline_ns + chance(c, 0, c->ttl_ns);
    while (goes_on() && clock_boottime_ns() < until)
        e2e_sleep_ms(5);
    (void)guarded_write(c);
    int error =
        dunlin_lease_release(c->space, c->lease_key, c->lease_key_length, c->lease.token, NULL);
    if (error == -ECANCELED)
        say(c, "late", c->lease.token, clock_boottime_ns(), 0);
}

static void hold(struct contender *c)
{
    uint64_t until = clock_boottime_ns() + chance(c, 0, 3 * c->ttl_ns);
    held(c);
    while (goes_on() && clock_boottime_ns() < until)
        if (!work(c) || !renewed(c))
            break;
    if (goes_on() && chance(c, 0, 2) == 0) {
        come_late(c);
        return;
    }
    say(c, "ended", c->lease.token, clock_boottime_ns(), 0);
    /* Why whatever comes of it: it believes in nothing any more. */
    if (dunlin_lease_release(c->space, c->lease_key, c->lease_key_length, c->lease.token, NULL) ==
        -ECANCELED)
        say(c, "late", c->lease.token, clock_boottime_ns(), 0);
}

/* ---- the run ---- */

static void look(const struct contender *c)
{
    char text[24] = {0};
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    uint64_t begun_ns = clock_boottime_ns();
    int error =
        dunlin_get(c->space, c->work_key, strlen(c->work_key), text, sizeof text - 1, &read);
    if (error == 0 || error == -ENOENT)
        say(c, "read", error == 0 ? strtoull(text, NULL, 10) : 0, begun_ns, clock_boottime_ns());
}

static void contend(struct contender *c)
{
    while (goes_on()) {
        int error = dunlin_lease_acquire(c->space, c->lease_key, c->lease_key_length, c->owner,
                                         c->ttl_ns, &c->lease);
        if (error == 0)
            hold(c);
        else
            look(c);
        e2e_sleep_ms(chance(c, 10, 50));
    }
}

static void keys_choose(struct contender *c, struct dunlin *handle)
{
    char zone[DUNLIN_ZONE_MAX + 1];
    int64_t length = (int64_t)strlen(c->key);
    memcpy(c->lease_key, c->key, (size_t)length);
    (void)snprintf(c->flag, sizeof c->flag, "global");
    if (c->region) {
        if (dunlin_zone(handle, zone, sizeof zone) <= 0)
            e2e_die("lease_agent: the node at %s has no zone", c->socket);
        (void)snprintf(c->flag, sizeof c->flag, "%s", zone);
        length = dunlin_region_key(c->key, (size_t)length, zone, c->lease_key, sizeof c->lease_key);
        if (length < 0)
            e2e_die("lease_agent: no key of region %s: %s", zone, strerror((int)-length));
    }
    c->lease_key_length = (size_t)length;
    /* Why behind the whole key: it has the same braces, and so the same shard. */
    (void)snprintf(c->work_key, sizeof c->work_key, "%s/by/%s", c->key, c->flag);
}

static bool number_read(const char *text, uint64_t least, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *number >= least && *number <= UINT32_MAX;
}

static bool take(struct contender *c, int option, const char **fence)
{
    uint64_t number = 0;
    switch (option) {
    case 's':
        c->socket = optarg;
        return true;
    case 'o':
        c->owner = optarg;
        return true;
    case 'j':
        c->journal = open(optarg, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        return c->journal >= 0;
    case 'f':
        *fence = optarg;
        return true;
    case 'r':
        c->region = true;
        return true;
    case 'n':
        c->space_name = optarg;
        return true;
    case 'k':
        c->key = optarg;
        return strlen(optarg) < KEY_BYTES - sizeof "/by/" - DUNLIN_ZONE_MAX;
    case 't':
        if (!number_read(optarg, 1, &number))
            return false;
        c->ttl_ns = number * NS_PER_MS;
        return true;
    case 'e':
        return number_read(optarg, 0, &c->random);
    default:
        return false;
    }
}

static bool options_read(struct contender *c, int argc, char **argv, const char **fence)
{
    static const struct option table[] = {
        {"socket", required_argument, NULL, 's'},  {"owner", required_argument, NULL, 'o'},
        {"journal", required_argument, NULL, 'j'}, {"fence", required_argument, NULL, 'f'},
        {"region", no_argument, NULL, 'r'},        {"space", required_argument, NULL, 'n'},
        {"key", required_argument, NULL, 'k'},     {"ttl-ms", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 'e'},    {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (!take(c, option, fence))
            return false;
    return optind == argc && c->socket != NULL && c->owner != NULL && *fence != NULL &&
           c->journal >= 0;
}

int main(int argc, char **argv)
{
    struct contender c = {
        .space_name = "sectors", .key = "{flag}leader", .journal = -1, .ttl_ns = NS_PER_S};
    const struct sigaction ends = {.sa_handler = on_end};
    const char *fence = NULL;
    if (!options_read(&c, argc, argv, &fence)) {
        (void)fprintf(stderr, "usage: lease_agent --socket SOCKET --owner NAME --journal FILE "
                              "--fence FILE [--region] [--space NAME] [--key KEY] [--ttl-ms N] "
                              "[--seed N]\n");
        return 2;
    }
    (void)sigaction(SIGTERM, &ends, NULL);
    struct dunlin *handle = e2e_open(c.socket, TIMEOUT_MS);
    c.space = e2e_space(handle, c.space_name);
    keys_choose(&c, handle);
    c.fence = fence_open(fence, c.flag);
    contend(&c);
    dunlin_close(handle);
    (void)close(c.journal);
    return 0;
}
