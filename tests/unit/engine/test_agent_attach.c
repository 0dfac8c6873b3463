/* libdunlin's attachments: what a daemon that is not one, is slow, or lies may do to us: nothing.
 */
#include "engine/agent/agent.h"
#include "tests/unit/engine/agent_fake.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT_MS 300 /* for calls that are to time out */
#define LONG_MS 5000

static int open_fake(const struct fake *f, uint64_t timeout_ms, uint32_t flags, struct dunlin **d)
{
    const struct dunlin_options options = {
        .socket = f->path, .timeout_ns = timeout_ms * NS_PER_MS, .flags = flags};
    return dunlin_open(&options, d);
}

/* Open descriptors of this process; *not_cloexec counts those a child would inherit above stderr.
 */
static unsigned count_fds(unsigned *not_cloexec)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    *not_cloexec = 0;
    for (struct dirent *e = readdir(directory); e != NULL; e = readdir(directory)) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.' || fd == dirfd(directory))
            continue;
        count++;
        int flags = fcntl(fd, F_GETFD);
        *not_cloexec += fd > 2 && flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    (void)closedir(directory);
    return count;
}

static unsigned count_mappings(void)
{
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    char line[512];
    while (fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, "memfd:") != NULL;
    (void)fclose(maps);
    return count;
}

static void opening_leaves_nothing_behind(void)
{
    struct fake *f = fake_make(3);
    unsigned inherited_before, inherited;
    unsigned before = count_fds(&inherited_before);
    unsigned mapped = count_mappings();
    for (unsigned i = 0; i < 3; i++) {
        struct dunlin_space *s, *again;
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        CU_ASSERT_EQUAL(dunlin_space(d, "fake", &again), 0);
        CU_ASSERT_PTR_EQUAL(s, again);
        CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), 0);
        (void)count_fds(&inherited);
        CU_ASSERT_EQUAL(inherited, inherited_before);
        dunlin_close(d);
    }
    /* the fake notices the end of the connection by itself; its own side may be open still */
    fake_hang_up(f);
    CU_ASSERT_EQUAL(count_fds(&inherited), before);
    CU_ASSERT_EQUAL(count_mappings(), mapped);
    fake_free(f);
}

static void every_lie_is_refused_and_leaves_nothing_behind(void)
{
    static const struct {
        enum fake_hello hello;
        int hello_error, error;
    } cases[] = {
        {FAKE_HELLO_FINGERPRINT, 0, -EPROTO}, {FAKE_HELLO_GEOMETRY, 0, -EPROTO},
        {FAKE_HELLO_FEW_FDS, 0, -EPROTO},     {FAKE_HELLO_UNSEALED, 0, -EPROTO},
        {FAKE_HELLO_CLOSE, 0, -ENOTCONN},     {FAKE_HELLO_ERROR, -EACCES, -EACCES},
        {FAKE_HELLO_ERROR, -EUSERS, -EUSERS}, {FAKE_HELLO_ERROR, -ENOMEM, -ENOMEM},
        {FAKE_HELLO_ERROR, -EPROTO, -EPROTO}, {FAKE_HELLO_SILENT, 0, -ENOTCONN},
    };
    struct fake *f = fake_make(2);
    struct dunlin *d;
    unsigned ignored;
    unsigned before = count_fds(&ignored);
    unsigned mapped = count_mappings();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_lock(f);
        f->hello = cases[i].hello;
        f->hello_error = cases[i].hello_error;
        fake_unlock(f);
        uint64_t timeout_ms = cases[i].hello == FAKE_HELLO_SILENT ? SHORT_MS : LONG_MS;
        CU_ASSERT_EQUAL(open_fake(f, timeout_ms, 0, &d), cases[i].error);
        CU_ASSERT_PTR_NULL(d);
        fake_hang_up(f);
        CU_ASSERT_EQUAL(count_fds(&ignored), before);
        CU_ASSERT_EQUAL(count_mappings(), mapped);
    }
    fake_lock(f);
    f->hello = FAKE_HELLO_GOOD;
    fake_unlock(f);
    CU_ASSERT_EQUAL(open_fake(f, LONG_MS, 0, &d), 0);
    dunlin_close(d);
    fake_free(f);
}

static void bad_options_are_named(void)
{
    char long_path[200];
    struct dunlin *d;
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    CU_ASSERT_EQUAL(dunlin_open(NULL, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_open(&(struct dunlin_options){.socket = long_path}, &d), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_open(&(struct dunlin_options){.request_bytes = 5000}, &d), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_open(&(struct dunlin_options){.completion_bytes = 1u << 30}, &d),
                    -EINVAL);
    CU_ASSERT_EQUAL(dunlin_open(&(struct dunlin_options){.bulk_bytes = UINT32_MAX}, &d), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_open(&(struct dunlin_options){.flags = 0x80}, &d), -EINVAL);
    dunlin_close(NULL);
}

static void no_daemon_is_said_at_once(void)
{
    struct fake *f = fake_make(1);
    struct dunlin *d;
    fake_kill(f);
    CU_ASSERT_EQUAL(open_fake(f, LONG_MS * 1000, 0, &d), -ENOTCONN);
    FILE *file = fopen(f->path, "we"); /* something else lies there */
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fclose(file);
    CU_ASSERT_EQUAL(open_fake(f, LONG_MS * 1000, 0, &d), -ENOTCONN);
    (void)unlink(f->path);
    fake_restart(f);
    if (geteuid() == 0)
        printf("(root: permissions not tried) ");
    else {
        (void)chmod(f->path, 0);
        CU_ASSERT_EQUAL(open_fake(f, LONG_MS * 1000, 0, &d), -EACCES);
    }
    fake_free(f);
}

static void *restart_later(void *argument)
{
    (void)usleep(50 * 1000);
    fake_restart(argument);
    return NULL;
}

static void open_waits_for_a_daemon_if_asked(void)
{
    struct fake *f = fake_make(1);
    struct dunlin *d;
    pthread_t thread;
    fake_kill(f);
    CU_ASSERT_EQUAL(open_fake(f, SHORT_MS, DUNLIN_OPEN_WAIT, &d), -ENOTCONN);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, restart_later, f), 0);
    CU_ASSERT_EQUAL(open_fake(f, 4 * LONG_MS, DUNLIN_OPEN_WAIT, &d), 0);
    (void)pthread_join(thread, NULL);
    dunlin_close(d);
    fake_free(f);
}

static void spaces_are_opened_by_name(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s, *other;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    char long_name[LIMIT_NAME_BYTES + 1];
    memset(long_name, 'n', LIMIT_NAME_BYTES);
    long_name[LIMIT_NAME_BYTES] = 0;
    CU_ASSERT_EQUAL(dunlin_space(d, "none", &other), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_space(d, "", &other), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space(d, long_name, &other), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space(d, NULL, &other), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_space(d, "fake", NULL), -EINVAL);
    dunlin_close(d);
    fake_free(f);
}

/* A late answer must not be taken for the answer to the next request. */
static void late_answers_are_dropped(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    char text[64];
    CU_ASSERT_EQUAL(dunlin_status_json(d, text, sizeof text), 13);
    CU_ASSERT_STRING_EQUAL(text, "{\"fake\":true}");
    CU_ASSERT_EQUAL(dunlin_status_json(d, text, 13), -ENOBUFS);
    fake_lock(f);
    f->deaf = true;
    fake_unlock(f);
    d->options.timeout_ns = SHORT_MS * NS_PER_MS;
    CU_ASSERT_EQUAL(dunlin_status_json(d, text, sizeof text), -ENOTCONN);
    struct dunlin_space *other;
    CU_ASSERT_EQUAL(dunlin_space(d, "none", &other), -ENOTCONN);
    fake_lock(f);
    f->deaf = false;
    fake_unlock(f);
    d->options.timeout_ns = LONG_MS * NS_PER_MS;
    CU_ASSERT_EQUAL(dunlin_space(d, "none", &other), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_status_json(d, text, sizeof text), 13);
    CU_ASSERT_STRING_EQUAL(text, "{\"fake\":true}");
    struct dunlin_info info;
    dunlin_info(d, &info);
    CU_ASSERT_EQUAL(info.attached_count, 1);
    dunlin_close(d);
    fake_free(f);
}

/* Who waits shorter than a daemon on a busy machine takes gets through, too: what was answered counts. */
static void a_slow_daemon_is_attached_to_in_steps(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin_info info;
    const struct dunlin_write write = {.operation = DUNLIN_PUT, .key = "k", .key_length = 1};
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), 0);
    fake_lock(f);
    f->withhold = true;
    fake_unlock(f);
    CU_ASSERT_EQUAL(dunlin_submit(s, &write), 0); /* for this it polls */
    fake_kill(f);
    f->withhold = false;
    f->slow_ms = 30; /* four times, where 50 ms may be waited */
    f->hellos = 0;
    fake_restart(f);
    dunlin_info(d, &info);
    for (unsigned i = 0; i < 1000 && info.attached_count == 1; i++) {
        struct dunlin_completion done;
        (void)dunlin_poll(d, &done, 1, NS_PER_MS);
        (void)usleep(1000);
        dunlin_info(d, &info);
    }
    CU_ASSERT_EQUAL(info.attached_count, 2);
    CU_ASSERT_EQUAL(fake_read(f, &f->hellos), 1);
    fake_lock(f);
    f->slow_ms = 0;
    fake_unlock(f);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), 0);
    dunlin_close(d);
    fake_free(f);
}

static void a_space_may_go_and_come_back(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), 0);
    fake_kill(f);
    f->space_gone = true;
    fake_restart(f);
    (void)usleep(2000);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, NULL, 0, NULL), -ENOENT);
    CU_ASSERT_EQUAL(
        dunlin_submit(s,
                      &(struct dunlin_write){.operation = DUNLIN_PUT, .key = "k", .key_length = 1}),
        -ENOENT);
    fake_lock(f);
    f->space_gone = false;
    fake_unlock(f);
    int error = -ENOENT;
    for (unsigned i = 0; i < 2000 && error == -ENOENT; i++) {
        error = dunlin_put(s, "k", 1, "v", 1, NULL); /* asks again now and then */
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL(error, 0);
    dunlin_close(d);
    fake_free(f);
}

/* What the calls of a watch come to say, if it is this. */
static int64_t watch_result(struct dunlin_watch *w, int64_t expected)
{
    struct dunlin_event e;
    int64_t result = 0;
    for (unsigned i = 0; i < 2000 && result != expected; i++) {
        result = dunlin_watch_next(w, &e, 1, 0);
        (void)usleep(1000);
    }
    return result;
}

/* What a watch knows of its space, it knows when the daemon's memory of it is gone. */
static void a_watch_outlives_its_space(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    static const struct dunlin_watch_options o = {.from = "100.64,103.128"};
    struct dunlin_watch *w;
    char text[4 * 42];
    CU_ASSERT_EQUAL_FATAL(dunlin_watch_open(s, &o, &w), 0);
    CU_ASSERT_EQUAL(dunlin_watch_position(w, text, sizeof text), (int64_t)strlen(o.from));
    fake_kill(f);
    f->space_gone = true;
    fake_restart(f);
    (void)usleep(2000);
    CU_ASSERT_EQUAL(watch_result(w, -ENOENT), -ENOENT);
    memset(text, 0, sizeof text);
    CU_ASSERT_EQUAL(dunlin_watch_position(w, text, sizeof text), (int64_t)strlen(o.from));
    CU_ASSERT_STRING_EQUAL(text, o.from);
    fake_lock(f); /* it comes back as another one, with other logs */
    for (uint32_t i = 0; i < FAKE_SHARDS; i++) {
        struct layout_board *b = (void *)(f->space.base + layout_board_offset(i));
        b->log = 200 + i;
    }
    f->space_gone = false;
    fake_unlock(f);
    CU_ASSERT_EQUAL(watch_result(w, -EPROTO), -EPROTO);
    CU_ASSERT_EQUAL(dunlin_watch_position(w, text, sizeof text), (int64_t)strlen(o.from));
    CU_ASSERT_STRING_EQUAL(text, o.from);
    dunlin_watch_close(w);
    dunlin_close(d);
    fake_free(f);
}

/* In another time namespace, say: what our clock says of the lease means nothing. */
static void another_clock_sends_reads_through_the_ring(void)
{
    const uint64_t offsets[] = {1000 * NS_PER_S, -(1000 * NS_PER_S)};
    for (size_t i = 0; i < 2; i++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin_info info;
        char value[8];
        f->clock_offset = offsets[i];
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        CU_ASSERT_FALSE(s->in_place);
        CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, NULL), 0);
        CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, NULL), 0);
        CU_ASSERT_EQUAL(dunlin_get(s, "none", 4, value, sizeof value, NULL), -ENOENT);
        dunlin_info(d, &info);
        CU_ASSERT_EQUAL(info.reads_by_ring, 2);
        CU_ASSERT_EQUAL(info.reads_in_place, 0);
        fake_lock(f);
        f->clock_offset = 0;
        fake_unlock(f);
        agent_attach_clock(d, d->now); /* too soon after the last proof */
        for (unsigned j = 0; j < 5000 && !s->in_place; j++) {
            (void)usleep(1000);
            agent_attach_clock(d, d->now);
        }
        CU_ASSERT_TRUE(s->in_place);
        dunlin_close(d);
        fake_free(f);
    }
}

static void a_read_through_the_ring_knows_the_length(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    char value[16] = {0};
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "0123456789", 10, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(read.length, 10);
    CU_ASSERT_EQUAL(read.stale, 0);
    CU_ASSERT_STRING_EQUAL(value, "0123456789");
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, 9, &read), -ENOBUFS);
    CU_ASSERT_EQUAL(read.length, 10);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, NULL, 0, &read), -ENOBUFS);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, NULL, 1, &read), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_get(s, "", 0, value, 9, &read), -EINVAL);
    struct dunlin_get_entry entries[2] = {
        {.key = "k", .key_length = 1, .buffer = value, .capacity = sizeof value},
        {.key = "none", .key_length = 4, .buffer = value, .capacity = 0}};
    CU_ASSERT_EQUAL(dunlin_get_many(s, entries, 2), 0);
    CU_ASSERT_EQUAL(entries[0].result, 0);
    CU_ASSERT_EQUAL(entries[0].read.length, 10);
    CU_ASSERT_EQUAL(entries[1].result, -ENOENT);
    CU_ASSERT_EQUAL(dunlin_get_many(s, NULL, 0), 0);
    CU_ASSERT_EQUAL(dunlin_get_many(s, NULL, 1), -EINVAL);
    dunlin_close(d);
    fake_free(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(opening_leaves_nothing_behind),
    UNIT_TEST(every_lie_is_refused_and_leaves_nothing_behind),
    UNIT_TEST(bad_options_are_named),
    UNIT_TEST(no_daemon_is_said_at_once),
    UNIT_TEST(open_waits_for_a_daemon_if_asked),
    UNIT_TEST(spaces_are_opened_by_name),
    UNIT_TEST(late_answers_are_dropped),
    UNIT_TEST(a_slow_daemon_is_attached_to_in_steps),
    UNIT_TEST(a_space_may_go_and_come_back),
    UNIT_TEST(a_watch_outlives_its_space),
    UNIT_TEST(another_clock_sends_reads_through_the_ring),
    UNIT_TEST(a_read_through_the_ring_knows_the_length),
};
UNIT_MAIN("agent_attach", tests)
