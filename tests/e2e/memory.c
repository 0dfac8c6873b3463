/* memory PROGRAM CONFIG DIRECTORY - what the daemon holds stays bounded, and what is let go comes
 * back.
 *
 * Space "small" is filled until it refuses, emptied and filled again; many times its quota is
 * written over a few keys, and over keys that are new each time; agents come and go, politely and
 * not.  Space "large" grows, loses most of its keys, and gives its memory back, while what is left is
 * read.  In between the daemon's descriptors, memory of its own and shared memory are counted from
 * /proc. */
#include "tests/e2e/e2e.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPACE "small"
#define QUOTA_BYTES (UINT64_C(8) << 20) /* as in memory.sh */
#define SPACE_LARGE "large"
#define KEYS_LARGE 12000u
#define KEYS_KEPT 200u
#define SERVED_MS 10000u
#define GIVEN_BACK_MS 120000u /* it waits until it was quiet for 20 s */
#define VALUE_BYTES 3000u
#define KEYS_MAX 8000u
#define CHURN_TIMES 20u
#define FEW_KEYS 8u
#define ATTACHES 500u
#define KILLED 100u
#define VIEWS 8u
#define ANON_SLACK (UINT64_C(2) << 20) /* what malloc and the log may keep */
#define SHARED_SLACK (UINT64_C(1) << 20)

struct usage {
    uint64_t fds;
    uint64_t anon_bytes;   /* RssAnon */
    uint64_t shared_bytes; /* of all its memfds, as allocated */
};

struct judge {
    struct e2e_daemon daemon;
    struct dunlin *handle;
    struct dunlin_space *space;
    uint8_t value[VALUE_BYTES];
    bool there[KEYS_MAX];
};

/* ---- counting ---- */

static uint64_t status_kb(pid_t pid, const char *name)
{
    char path[64], line[256];
    uint64_t value = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        e2e_die("cannot read %s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name) + 1, NULL, 10);
    (void)fclose(file);
    return value << 10;
}

static struct usage usage_of(pid_t pid)
{
    struct usage u = {.anon_bytes = status_kb(pid, "RssAnon")};
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    if (directory == NULL)
        e2e_die("cannot read %s: %s", path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        struct stat status;
        char target[64] = "";
        if (entry->d_name[0] == '.')
            continue;
        u.fds++;
        if (readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0 &&
            strncmp(target, "/memfd:", 7) == 0 &&
            fstatat(dirfd(directory), entry->d_name, &status, 0) == 0)
            u.shared_bytes += (uint64_t)status.st_blocks * 512;
    }
    (void)closedir(directory);
    return u;
}

static void print_usage(const char *when, const struct usage *u)
{
    (void)printf("%-36s %6" PRIu64 " descriptors %8.2f MiB own %8.2f MiB shared\n", when, u->fds,
                 (double)u->anon_bytes / (1 << 20), (double)u->shared_bytes / (1 << 20));
}

/* Once what was started is over: a detached agent takes a moment. */
static struct usage settled(struct judge *j, const struct usage *before)
{
    struct usage now = usage_of(j->daemon.pid);
    for (uint32_t i = 0;
         i < 100 && (now.fds > before->fds || now.shared_bytes > before->shared_bytes); i++) {
        e2e_sleep_ms(20);
        now = usage_of(j->daemon.pid);
    }
    return now;
}

static void expect_flat(struct judge *j, const char *what, const struct usage *before)
{
    struct usage now = settled(j, before);
    print_usage(what, &now);
    if (now.fds > before->fds)
        e2e_fail("%s: %" PRIu64 " descriptors were %" PRIu64, what, now.fds, before->fds);
    if (now.anon_bytes > before->anon_bytes + ANON_SLACK)
        e2e_fail("%s: own memory grew from %" PRIu64 " to %" PRIu64 " bytes", what,
                 before->anon_bytes, now.anon_bytes);
    if (now.shared_bytes > before->shared_bytes + SHARED_SLACK)
        e2e_fail("%s: shared memory grew from %" PRIu64 " to %" PRIu64 " bytes", what,
                 before->shared_bytes, now.shared_bytes);
}

/* ---- filling ---- */

static int put(struct judge *j, const char *prefix, uint32_t number)
{
    char key[32];
    int length = snprintf(key, sizeof key, "%s-%" PRIu32, prefix, number);
    e2e_value_make(j->value, sizeof j->value, number, 1);
    return dunlin_put(j->space, key, (size_t)length, j->value, sizeof j->value, NULL);
}

static int drop(struct judge *j, const char *prefix, uint32_t number)
{
    char key[32];
    int length = snprintf(key, sizeof key, "%s-%" PRIu32, prefix, number);
    return dunlin_delete(j->space, key, (size_t)length, NULL);
}

/* How many keys were taken.  Each shard refuses on its own, so it goes on for a while. */
static uint32_t fill(struct judge *j)
{
    uint32_t taken = 0, refused = 0;
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        int error = put(j, "fill", i);
        j->there[i] = error == 0;
        taken += error == 0;
        refused += error == -EDQUOT;
        if (error != 0 && error != -EDQUOT) {
            e2e_fail("put number %" PRIu32 ": %s", i, strerror(-error));
            return taken;
        }
    }
    if (refused == 0)
        e2e_fail("%u values of %u bytes fit %" PRIu64 " bytes", KEYS_MAX, VALUE_BYTES, QUOTA_BYTES);
    return taken;
}

/* What was taken is there and whole, what was refused is not; then all of it goes. */
static void check_and_empty(struct judge *j)
{
    for (uint32_t i = 0; i < KEYS_MAX && e2e_failures() == 0; i++) {
        char key[32];
        uint8_t value[VALUE_BYTES];
        uint64_t sequence;
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        int length = snprintf(key, sizeof key, "fill-%" PRIu32, i);
        int error = dunlin_get(j->space, key, (size_t)length, value, sizeof value, &read);
        bool good = j->there[i] ? error == 0 && e2e_value_check(value, read.length, i, &sequence)
                                : error == -ENOENT;
        if (!good)
            e2e_fail("key %" PRIu32 " of a full space: %d", i, error);
        error = j->there[i] ? drop(j, "fill", i) : 0;
        if (error != 0)
            e2e_fail("key %" PRIu32 " cannot be deleted from a full space: %s", i,
                     strerror(-error));
    }
}

static void fill_and_empty(struct judge *j)
{
    uint32_t first = fill(j);
    (void)printf("%" PRIu32 " values of %u bytes fit %" PRIu64 " MiB (%.0f %% of it)\n", first,
                 VALUE_BYTES, QUOTA_BYTES >> 20, 100.0 * first * VALUE_BYTES / QUOTA_BYTES);
    check_and_empty(j);
    struct usage before = usage_of(j->daemon.pid);
    print_usage("filled and emptied", &before);
    for (uint32_t i = 0; i < 3 && e2e_failures() == 0; i++) {
        uint32_t again = fill(j);
        if (again < first - first / 10)
            e2e_fail("only %" PRIu32 " of %" PRIu32 " values fit after a deletion", again, first);
        check_and_empty(j);
    }
    expect_flat(j, "three times more", &before);
    if (before.shared_bytes > 2 * QUOTA_BYTES)
        e2e_fail("a space of %" PRIu64 " bytes takes %" PRIu64, QUOTA_BYTES, before.shared_bytes);
}

/* ---- writing many times the quota ---- */

static void churn(struct judge *j)
{
    struct usage before = usage_of(j->daemon.pid);
    uint32_t count = (uint32_t)(CHURN_TIMES * QUOTA_BYTES / VALUE_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        int error = put(j, "few", i % FEW_KEYS);
        if (error != 0) {
            e2e_fail("write number %" PRIu32 " over a few keys: %s", i, strerror(-error));
            break;
        }
    }
    expect_flat(j, "20 times the quota over a few keys", &before);
    for (uint32_t i = 0; i < count; i++) {
        int error = put(j, "new", i);
        error = error != 0 ? error : drop(j, "new", i);
        if (error != 0) {
            e2e_fail("key number %" PRIu32 ", written and deleted: %s", i, strerror(-error));
            break;
        }
    }
    expect_flat(j, "20 times the quota over new keys", &before);
}

/* ---- agents that come and go ---- */

static void visit(struct judge *j, bool politely)
{
    struct dunlin *handle = e2e_open(j->daemon.socket, 10000);
    struct dunlin_space *space = e2e_space(handle, SPACE);
    struct dunlin_view views[VIEWS];
    int error = dunlin_put(space, "visitor", 7, "here", 4, NULL);
    if (error != 0)
        e2e_fail("a visitor cannot write: %s", strerror(-error));
    for (uint32_t i = 0; i < VIEWS && error == 0; i++) {
        views[i] = (struct dunlin_view){.read.mode = DUNLIN_LOCAL};
        error = dunlin_view(space, "visitor", 7, &views[i]);
    }
    if (!politely)
        (void)raise(SIGKILL);
    dunlin_close(handle);
}

static void visits(struct judge *j)
{
    struct usage before = usage_of(j->daemon.pid);
    visit(j, true);
    before = settled(j, &before);
    struct usage own = usage_of(getpid());
    for (uint32_t i = 0; i < ATTACHES; i++)
        visit(j, true);
    expect_flat(j, "500 agents that came and went", &before);
    struct usage own_now = usage_of(getpid());
    if (own_now.fds != own.fds)
        e2e_fail("500 handles left %" PRIu64 " descriptors in the agent", own_now.fds - own.fds);
    if (own_now.anon_bytes > own.anon_bytes + ANON_SLACK)
        e2e_fail("500 handles left %" PRIu64 " bytes in the agent",
                 own_now.anon_bytes - own.anon_bytes);
    for (uint32_t i = 0; i < KILLED; i++) {
        pid_t pid = e2e_fork();
        if (pid < 0)
            e2e_die("cannot fork: %s", strerror(errno));
        if (pid == 0)
            visit(j, false);
        int status = e2e_wait(pid, 20000);
        if (status != 128 + SIGKILL)
            e2e_fail("a visitor ended with %d", status);
    }
    expect_flat(j, "100 agents that were killed", &before);
    for (uint32_t i = 0; i < ATTACHES; i++)
        (void)e2e_status(j->handle, "agents", "attached");
    expect_flat(j, "500 times status", &before);
    if (e2e_status(j->handle, "agents", "attached") != 1)
        e2e_fail("agents are attached that are gone");
}

/* ---- a space that shrinks ---- */

static bool kept_is_whole(struct judge *j, uint32_t number)
{
    char key[32];
    uint8_t value[VALUE_BYTES];
    uint64_t sequence;
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    int length = snprintf(key, sizeof key, "tide-%" PRIu32, number);
    int error = dunlin_get(j->space, key, (size_t)length, value, sizeof value, &read);
    if (error == 0 && e2e_value_check(value, read.length, number, &sequence))
        return true;
    e2e_fail("key %" PRIu32 " of a space that shrinks: %d", number, error);
    return false;
}

/* Why it reads all the while: an agent lets go of what is given back when it next reads. */
static void shrink(struct judge *j)
{
    struct usage before = usage_of(j->daemon.pid);
    int error = dunlin_space_create(j->handle, SPACE_LARGE, 0,
                                    "name=" SPACE_LARGE "\nshards=4\nquota=128MiB\n");
    if (error < 0)
        e2e_die("no space is made: %s", strerror(-error));
    for (uint32_t i = 0; i < SERVED_MS / 10; i++) {
        if ((error = dunlin_space(j->handle, SPACE_LARGE, &j->space)) != -ENOENT)
            break;
        e2e_sleep_ms(10);
    }
    for (uint32_t i = 0; i < KEYS_LARGE && error == 0; i++)
        error = put(j, "tide", i);
    struct usage most = usage_of(j->daemon.pid);
    print_usage("a large space, filled", &most);
    for (uint32_t i = KEYS_KEPT; i < KEYS_LARGE && error == 0; i++)
        error = drop(j, "tide", i);
    if (error != 0)
        e2e_fail("the large space: %s", strerror(-error));
    uint64_t grown = most.shared_bytes - before.shared_bytes;
    if (grown < (uint64_t)KEYS_LARGE * VALUE_BYTES)
        e2e_fail("it grew by %" PRIu64 " bytes only", grown);
    struct usage now = most;
    uint32_t waited_ms = 0;
    for (uint32_t i = 0; now.shared_bytes > before.shared_bytes + grown / 2 && e2e_failures() == 0;
         i++) {
        if (!kept_is_whole(j, i % KEYS_KEPT))
            return;
        e2e_sleep_ms(10);
        now = usage_of(j->daemon.pid);
        if ((waited_ms += 10) >= GIVEN_BACK_MS)
            e2e_fail("of %" PRIu64 " bytes that it grew by less than half came back", grown);
    }
    print_usage("the same, nearly empty", &now);
    for (uint32_t i = 0; i < KEYS_KEPT && kept_is_whole(j, i); i++)
        continue;
    if (e2e_failures() == 0 && (error = put(j, "tide", KEYS_LARGE)) != 0)
        e2e_fail("a put after it: %s", strerror(-error));
}

int main(int argc, char **argv)
{
    static struct judge judge;
    struct judge *j = &judge;
    char socket_path[256], log[256];
    if (argc < 4)
        e2e_die("usage: memory DUNLIND CONFIG DIRECTORY");
    e2e_begin();
    (void)snprintf(socket_path, sizeof socket_path, "%s/dunlind.sock", argv[3]);
    (void)snprintf(log, sizeof log, "%s/dunlind.log", argv[3]);
    j->daemon = (struct e2e_daemon){
        .program = argv[1], .config = argv[2], .socket = socket_path, .log = log};
    e2e_daemon_start(&j->daemon);
    j->handle = e2e_open(socket_path, 10000);
    j->space = e2e_space(j->handle, SPACE);
    struct usage start = usage_of(j->daemon.pid);
    print_usage("started", &start);
    fill_and_empty(j);
    if (e2e_failures() == 0)
        churn(j);
    if (e2e_failures() == 0)
        visits(j);
    if (e2e_failures() == 0)
        shrink(j);
    if (e2e_daemon_alive(&j->daemon)) {
        dunlin_close(j->handle);
        int status = e2e_daemon_stop(&j->daemon);
        if (status != 0)
            e2e_fail("the daemon ended with status %d", status);
    }
    return e2e_verdict();
}
