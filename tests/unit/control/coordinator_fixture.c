#include "tests/unit/control/coordinator_fixture.h"

#include <CUnit/CUnit.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char fixture_directory[64], fixture_path[96];

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

void fixture_begin(void)
{
    (void)snprintf(fixture_directory, sizeof fixture_directory, "/tmp/dunlin-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(fixture_directory));
    (void)snprintf(fixture_path, sizeof fixture_path, "%s/cluster", fixture_directory);
}

void fixture_end(void)
{
    (void)nftw(fixture_directory, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void wake(void *context)
{
    ((struct fixture_node *)context)->wakes++;
}

void fixture_node_init(struct fixture_node *n, uint32_t number, uint64_t start,
                       uint32_t shard_count)
{
    static const uint32_t ids[FIXTURE_NODES] = {10, 20, 30};
    memset(n, 0, sizeof *n);
    space_config_default(&n->space);
    n->space.id = 2;
    (void)snprintf(n->space.name, sizeof n->space.name, "reeds");
    n->space.shard_count = shard_count;
    n->space.quota_bytes = space_quota_min(shard_count);
    n->config = (struct coordinator_file_config){
        .path = fixture_path,
        .cluster = UINT64_C(0xfeedfacecafebeef),
        .node = ids[number],
        .start = start,
        .node_count = FIXTURE_NODES,
        .nodes = ids,
        .lcore_count = 2,
        .space_count = 1,
        .spaces = &n->space,
    };
    for (uint32_t i = 0; i < shard_count; i++)
        n->boards[i].log = FIXTURE_LOG(i);
    n->node_space.config = n->space;
    n->node_space.boards = n->boards;
    n->node.spaces[2] = &n->node_space;
    n->node.config.id = ids[number];
    n->node.wake_control = wake;
    n->node.wake_context = n;
}

int fixture_node_open(struct fixture_node *n, uint64_t start)
{
    uint64_t origin;
    coordinator_file_close(n->coordinator);
    n->coordinator = NULL;
    n->config.start = start;
    n->node.start = start;
    int error = coordinator_file_open(&n->coordinator, &n->config, &origin);
    if (error != 0)
        n->coordinator = NULL;
    else
        CU_ASSERT_TRUE(origin != 0);
    return error;
}

struct configuration fixture_configuration(const struct fixture_node *n, uint32_t shard)
{
    const struct node_cluster *c = n->node.cluster;
    struct configuration copy;
    if (!c->configuration(c->context, FIXTURE_LOG(shard), 0, &copy))
        copy.epoch = 0;
    return copy;
}

enum cluster_activation fixture_activate(const struct fixture_node *n, uint32_t shard,
                                         uint64_t epoch)
{
    const struct node_cluster *c = n->node.cluster;
    return c->activate(c->context, FIXTURE_LOG(shard), epoch);
}
