#include "control/raft_disk_format.h"
#include "tests/unit/control/raft_disk_fixture.h"
#include "tests/unit/control/raft_disk_shim.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void begin(struct disk_fixture *f)
{
    disk_begin(f);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
    CU_ASSERT_EQUAL(disk_term(f, 1), 0);
}

static void again(struct disk_fixture *f)
{
    disk_close(f);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
}

static unsigned files_count(const char *path, const char *prefix)
{
    unsigned count = 0;
    DIR *stream = opendir(path);
    for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream))
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    (void)closedir(stream);
    return count;
}

/* ---- what it keeps ---- */

static void the_directory_is_one_process_alone(void)
{
    struct disk_fixture f;
    struct stat status;
    struct raft_disk *other;
    disk_begin(&f);
    (void)rmdir(f.path);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(stat(f.path, &status) == 0 && (status.st_mode & 0777) == 0700);
    const struct raft_disk_config config = {
        .loop = &f.loop, .directory = f.path, .cluster = DISK_CLUSTER, .node = DISK_NODE};
    CU_ASSERT_EQUAL(raft_disk_open(&other, &config), -EWOULDBLOCK);
    disk_close(&f);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    disk_end(&f);
}

static void appends_terms_and_votes_are_there_again(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 3, 1, 10, 77), 0);
    CU_ASSERT_EQUAL(f.answers, 0); /* never from within the call */
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    CU_ASSERT_EQUAL(disk_term(&f, 4), 0);
    CU_ASSERT_EQUAL(disk_vote(&f, 2), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 4, 11, 0), 0);
    disk_wait(&f);
    again(&f);
    again(&f);
    CU_ASSERT_EQUAL(f.model.next, 5);
    CU_ASSERT_EQUAL(f.model.vote, 2);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 4, 12, 5), 0);
    disk_wait(&f);
    again(&f);
    disk_end(&f);
}

static void a_truncation_is_in_the_order_of_the_appends(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 5, 1, 10, 20), 0);
    CU_ASSERT_EQUAL(disk_truncate(&f, 3), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 2, 1, 50, 20), 0);
    CU_ASSERT_EQUAL(disk_truncate(&f, 1), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 2, 1, 90, 20), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.model.next, 3);
    again(&f);
    disk_end(&f);
}

static void appends_that_wait_become_one_write(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 1, 100), 0);
    disk_wait(&f); /* a segment was made, and a reserve */
    struct shim *s = shim_adopt(f.path);
    for (unsigned i = 0; i < 50; i++)
        CU_ASSERT_EQUAL(disk_append(&f, 1, 1, i, 100), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.answers, 51);
    CU_ASSERT(shim_points(s) >= 2 && shim_points(s) <= 6); /* one, and what waited behind it */
    shim_end(s);
    again(&f);
    disk_end(&f);
}

static void segments_follow_each_other_and_go_with_snapshots(void)
{
    struct disk_fixture f;
    begin(&f);
    for (unsigned i = 0; i < 40; i++)
        CU_ASSERT_EQUAL(disk_append(&f, 1, 1, i, 150000), 0);
    disk_wait(&f);
    CU_ASSERT(files_count(f.path, "log-") >= 5);
    CU_ASSERT_EQUAL(files_count(f.path, "open-"), 1);
    again(&f);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 30, 1, 5, 1000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    again(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 3, 30), 0);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 41, 1, 1, 1000), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(files_count(f.path, "snapshot-"), 1);
    CU_ASSERT(files_count(f.path, "log-") + files_count(f.path, "open-") <= 3);
    again(&f);
    disk_end(&f);
}

static void an_entry_larger_than_a_segment_is_kept(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 2, 1, 5, 3000000), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 6, 10), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.status, 0);
    again(&f);
    disk_end(&f);
    const struct raft_entry large = {.term = 1, .buf = {.len = RAFT_DISK_ENTRY_MAX + 1u}};
    struct raft_io_append request;
    begin(&f);
    CU_ASSERT_EQUAL(raft_disk_append(f.disk, &request, &large, 1, NULL), RAFT_TOOBIG);
    disk_end(&f);
}

static void an_installed_snapshot_replaces_the_log(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 10, 1, 5, 100), 0);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 6, 1, 0, 500), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 2, 1, 60, 100), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL(f.model.next, 9);
    again(&f);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 500, 1, 0, 0), 0);
    disk_wait(&f);
    again(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 61, 1), 0);
    disk_wait(&f);
    again(&f);
    disk_end(&f);
}

/* ---- snapshots that are asked for ---- */

struct got {
    struct raft_snapshot *snapshot;
    int status, count;
};

static void on_got(struct raft_io_snapshot_get *request, struct raft_snapshot *snapshot, int status)
{
    struct got *g = request->data;
    *g = (struct got){.snapshot = snapshot, .status = status, .count = g->count + 1};
}

static void the_newest_snapshot_is_given(void)
{
    struct disk_fixture f;
    struct got g = {0};
    struct raft_io_snapshot_get request = {.data = &g};
    begin(&f);
    CU_ASSERT_EQUAL(raft_disk_snapshot_get(f.disk, &request, on_got), 0);
    disk_wait(&f);
    CU_ASSERT(g.count == 1 && g.status == RAFT_NOTFOUND && g.snapshot == NULL);
    CU_ASSERT_EQUAL(disk_append(&f, 4, 1, 1, 1), 0);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 2, 1, 1, 300), 0);
    CU_ASSERT_EQUAL(disk_snapshot(&f, 4, 1, 1, 700), 0);
    CU_ASSERT_EQUAL(raft_disk_snapshot_get(f.disk, &request, on_got), 0);
    disk_wait(&f);
    CU_ASSERT_EQUAL_FATAL(g.status, 0);
    CU_ASSERT(g.snapshot->index == 4 && g.snapshot->n_bufs == 1);
    CU_ASSERT_EQUAL(g.snapshot->bufs[0].len, 700);
    CU_ASSERT_STRING_EQUAL(g.snapshot->configuration.servers[0].address, "node 3");
    raft_free(g.snapshot->bufs[0].base);
    raft_free(g.snapshot->bufs);
    raft_configuration_close(&g.snapshot->configuration);
    raft_free(g.snapshot);
    disk_end(&f);
}

/* ---- bootstrap and recover ---- */

static void load(struct raft_disk *d, raft_term *term, struct raft_entry **entries, size_t *count)
{
    raft_id vote;
    raft_index first;
    struct raft_snapshot *snapshot;
    CU_ASSERT_EQUAL_FATAL(raft_disk_load(d, term, &vote, &snapshot, &first, entries, count), 0);
    CU_ASSERT(first == 1 && snapshot == NULL && vote == 0);
}

static void entries_free(struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_free(entries[i].batch);
    raft_free(entries);
}

static void a_bootstrap_is_done_once(void)
{
    struct disk_fixture f;
    struct raft_configuration c;
    struct raft_entry *entries;
    raft_term term;
    size_t count;
    disk_begin(&f);
    raft_configuration_init(&c);
    CU_ASSERT_EQUAL(raft_configuration_add(&c, 3, "three", RAFT_VOTER), 0);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT_EQUAL(raft_disk_recover(f.disk, &c), RAFT_INVALID);
    CU_ASSERT_EQUAL(raft_disk_bootstrap(f.disk, &c), 0);
    CU_ASSERT_EQUAL(raft_disk_bootstrap(f.disk, &c), RAFT_CANTBOOTSTRAP);
    load(f.disk, &term, &entries, &count);
    CU_ASSERT(term == 1 && count == 1 && entries[0].type == RAFT_CHANGE && entries[0].term == 1);
    entries_free(entries, count);
    CU_ASSERT_EQUAL(raft_disk_recover(f.disk, &c), 0);
    disk_close(&f);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    load(f.disk, &term, &entries, &count);
    CU_ASSERT(term == 1 && count == 2 && entries[1].type == RAFT_CHANGE);
    entries_free(entries, count);
    raft_configuration_close(&c);
    disk_end(&f);
}

struct bootstrap {
    struct shim *shim;
    struct disk_fixture *fixture;
    char path[64];
    unsigned seed, checks, bad;
};

/* Whatever a crash leaves of a bootstrap: it was done, or can be done again. */
static void at_bootstrap(void *context)
{
    struct bootstrap *b = context;
    struct raft_configuration c;
    for (int level = 0; level < 3; level++) {
        struct disk_fixture f = {.model.base = 1, .model.next = 1, .next = 1};
        memcpy(f.path, b->path, sizeof f.path);
        shim_directory_clear(b->path);
        shim_crash(b->shim, b->path, level, &b->seed);
        raft_configuration_init(&c);
        b->bad += raft_configuration_add(&c, 3, "three", RAFT_VOTER) != 0;
        b->bad += uv_loop_init(&f.loop) != 0 || disk_open(&f) != 0;
        int code = raft_disk_bootstrap(f.disk, &c);
        b->bad += code != 0 && code != RAFT_CANTBOOTSTRAP;
        struct raft_entry *entries;
        raft_term term;
        size_t count;
        load(f.disk, &term, &entries, &count);
        b->bad += count != 1 || term != 1;
        entries_free(entries, count);
        disk_close(&f);
        (void)uv_loop_close(&f.loop);
        raft_configuration_close(&c);
        b->checks++;
    }
}

static void a_bootstrap_that_crashed_is_done_again(void)
{
    struct disk_fixture f;
    struct bootstrap b = {.fixture = &f, .seed = 4};
    struct raft_configuration c;
    disk_begin(&f);
    shim_directory_make(b.path);
    b.shim = shim_begin(f.path, at_bootstrap, &b);
    raft_configuration_init(&c);
    CU_ASSERT_EQUAL(raft_configuration_add(&c, 3, "three", RAFT_VOTER), 0);
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT_EQUAL(raft_disk_bootstrap(f.disk, &c), 0);
    CU_ASSERT_EQUAL(b.bad, 0);
    CU_ASSERT(b.checks > 20);
    raft_configuration_close(&c);
    shim_end(b.shim);
    disk_end(&f);
    shim_directory_remove(b.path);
}

/* ---- closing ---- */

static void what_waits_when_it_closes_is_cancelled(void)
{
    struct disk_fixture f;
    begin(&f);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 1, 10), 0);
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 2, 10), 0); /* waits for the first one */
    CU_ASSERT_EQUAL(disk_append(&f, 1, 1, 3, 10), 0);
    disk_close(&f);
    CU_ASSERT_EQUAL(f.answers, 3);
    CU_ASSERT_EQUAL(f.status, RAFT_CANCELED);
    CU_ASSERT_EQUAL(f.answered_first, 2); /* newest first */
    CU_ASSERT_EQUAL(f.model.next, 2);
    f.step_count = 0;
    CU_ASSERT_EQUAL_FATAL(disk_open(&f), 0);
    CU_ASSERT(disk_loads_model(&f));
    disk_end(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_directory_is_one_process_alone),
    UNIT_TEST(appends_terms_and_votes_are_there_again),
    UNIT_TEST(a_truncation_is_in_the_order_of_the_appends),
    UNIT_TEST(appends_that_wait_become_one_write),
    UNIT_TEST(segments_follow_each_other_and_go_with_snapshots),
    UNIT_TEST(an_entry_larger_than_a_segment_is_kept),
    UNIT_TEST(an_installed_snapshot_replaces_the_log),
    UNIT_TEST(the_newest_snapshot_is_given),
    UNIT_TEST(a_bootstrap_is_done_once),
    UNIT_TEST(a_bootstrap_that_crashed_is_done_again),
    UNIT_TEST(what_waits_when_it_closes_is_cancelled),
};
UNIT_MAIN("raft_disk", tests)
