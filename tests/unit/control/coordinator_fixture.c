#include "tests/unit/control/coordinator_fixture.h"

#include "engine/clock.h"

#include <CUnit/CUnit.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char fixture_directory[64];
struct coordinator_state *fixture_state;

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
}

void fixture_end(void)
{
    (void)nftw(fixture_directory, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture_state);
    fixture_state = NULL;
}

/* ---- the body ---- */

struct body {
    struct coordinator base; /* first */
    struct coordinator_epoch epochs[COORDINATOR_SHARDS_MAX];
};

static int look(struct coordinator *c)
{
    size_t bytes = coordinator_state_bytes(fixture_state->shard_count);
    if (c->state != NULL && c->state->revision == fixture_state->revision)
        return 0;
    struct coordinator_state *copy = malloc(bytes);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, fixture_state, bytes);
    return coordinator_take(c, copy);
}

/* As it goes through a log: by its bytes. */
static int64_t ask(struct coordinator *c, const struct coordinator_command *command)
{
    struct coordinator_command decoded;
    if (coordinator_command_fault(command) != NULL)
        return -EINVAL;
    size_t length = coordinator_command_bytes(command);
    uint8_t *bytes = malloc(length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    coordinator_command_encode(command, bytes);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_decode(&decoded, bytes, length), 0);
    int64_t result = coordinator_command_apply(&fixture_state, &decoded);
    free(bytes);
    if (fixture_state != NULL) {
        const char *fault = coordinator_state_fault(fixture_state);
        CU_ASSERT_PTR_NULL(fault);
    }
    int error = result >= 0 ? look(c) : 0;
    return error != 0 ? error : result;
}

static int body_await(struct coordinator *c, uint32_t timeout_ms)
{
    (void)timeout_ms;
    int error = look(c);
    return error != 0 ? error : c->state->shard_count != 0 ? 0 : -ETIMEDOUT;
}

static int body_step(struct coordinator *c)
{
    struct body *b = (struct body *)(void *)c;
    struct coordinator_command command;
    int64_t result = look(c);
    if (result == 0 && coordinator_is_superseded(c))
        return -ESTALE;
    while (result == 0 && coordinator_asks(c, clock_boottime_ns(), b->epochs, &command)) {
        result = ask(c, &command);
        if (result <= 0)
            break;
        result = 0;
    }
    return (int)result;
}

static int body_fd(const struct coordinator *c)
{
    (void)c;
    return -1;
}

static int64_t body_move(struct coordinator *c, uint32_t first, uint32_t last, uint32_t node)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_MOVE, .node = node, .logs = {.first = first, .last = last}};
    return ask(c, &command);
}

static int64_t body_leave(struct coordinator *c, const uint32_t *others, uint32_t other_count)
{
    struct coordinator_command command = {
        .type = COORDINATOR_LEAVE, .node = c->self.node, .start = c->self.incarnation};
    memcpy(command.others.nodes, others, other_count * sizeof others[0]);
    command.others.count = other_count;
    return ask(c, &command);
}

static int body_retire(struct coordinator *c)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_RETIRE, .node = c->self.node, .start = c->self.incarnation};
    int64_t done = ask(c, &command);
    return done < 0 ? (int)done : 0;
}

static int64_t body_space(struct coordinator *c, const struct coordinator_space_asked *asked)
{
    struct coordinator_command command = {.type = COORDINATOR_SPACE,
                                          .node = c->self.node,
                                          .start = c->self.incarnation,
                                          .space = {.asked = *asked}};
    if (asked->config != NULL)
        command.space.config = *asked->config;
    return ask(c, &command);
}

static int64_t body_node_change(struct coordinator *c, const struct coordinator_node_asked *asked)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_NODE, .node = asked->id, .change = *asked};
    return ask(c, &command);
}

static int64_t body_recover(struct coordinator *c, const struct coordinator_recover_asked *asked)
{
    const struct coordinator_command command = {.type = COORDINATOR_RECOVER,
                                                .node = c->self.node,
                                                .start = c->self.incarnation,
                                                .recover = *asked};
    return ask(c, &command);
}

static void body_close(struct coordinator *c)
{
    coordinator_fini(c);
    free(c);
}

static const struct coordinator_body body = {
    .await = body_await,
    .step = body_step,
    .fd = body_fd,
    .move = body_move,
    .leave = body_leave,
    .retire = body_retire,
    .space = body_space,
    .node_change = body_node_change,
    .recover = body_recover,
    .close = body_close,
};

int fixture_coordinator_open(struct coordinator **c, const struct coordinator_entry_config *config,
                             uint64_t *lsn_origin)
{
    struct coordinator_command command;
    int error = coordinator_register_command(config, &command);
    if (error != 0)
        return error;
    struct body *b = calloc(1, sizeof *b);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    b->base.body = &body;
    b->base.self = (struct member){.node = config->node, .incarnation = config->start};
    b->base.reopens_lost = config->reopens_lost;
    int64_t result = ask(&b->base, &command);
    if (result < 0) {
        body_close(&b->base);
        return (int)result;
    }
    *lsn_origin = b->base.state->origin;
    *c = &b->base;
    return 0;
}

/* ---- nodes ---- */

static void wake(void *context)
{
    ((struct fixture_node *)context)->wakes++;
}

void fixture_node_init(struct fixture_node *n, uint32_t number, uint64_t start,
                       uint32_t shard_count)
{
    static const struct coordinator_entry_node entries[FIXTURE_NODES] = {
        {.id = 10, .weight = 1000}, {.id = 20, .weight = 1}, {.id = 30, .weight = 1}};
    memset(n, 0, sizeof *n);
    space_config_default(&n->space);
    n->space.id = 2;
    (void)snprintf(n->space.name, sizeof n->space.name, "reeds");
    n->space.shard_count = shard_count;
    n->space.quota_bytes = space_quota_min(shard_count);
    n->config = (struct coordinator_entry_config){
        .cluster = UINT64_C(0xfeedfacecafebeef),
        .node = entries[number].id,
        .start = start,
        .replicas = FIXTURE_NODES,
        .node_count = FIXTURE_NODES,
        .nodes = entries,
        .lcore_count = 2,
        .space_count = 1,
        .spaces = &n->space,
    };
    for (uint32_t i = 0; i < shard_count; i++)
        n->boards[i].log = FIXTURE_LOG(i);
    n->node_space.config = n->space;
    n->node_space.boards = n->boards;
    n->node.spaces[2] = &n->node_space;
    n->node.config.id = entries[number].id;
    n->node.wake_control = wake;
    n->node.wake_context = n;
}

int fixture_node_open(struct fixture_node *n, uint64_t start)
{
    uint64_t origin;
    coordinator_close(n->coordinator);
    n->coordinator = NULL;
    n->config.start = start;
    n->node.start = start;
    int error = fixture_coordinator_open(&n->coordinator, &n->config, &origin);
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
