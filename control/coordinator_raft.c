#include "control/coordinator_raft.h"

#include "control/logline.h"
#include "engine/clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define REGISTER_WAIT_MS 500u
#define ASK_WAIT_MS 500u
#define AWAIT_LOOK_MS 20u

struct coordinator_raft {
    struct coordinator base; /* first */
    struct raft_node *node;
    struct coordinator_epoch *epochs; /* room for those of all shards */
};
_Static_assert(offsetof(struct coordinator_raft, base) == 0, "a coordinator of this body is one");

static struct coordinator_raft *raft_of(struct coordinator *c)
{
    return (struct coordinator_raft *)(void *)c;
}

static int look(struct coordinator_raft *c)
{
    struct coordinator_state *s = raft_node_take(c->node);
    return s != NULL ? coordinator_take(&c->base, s) : 0;
}

/* ---- step ---- */

static int raft_step(struct coordinator *coordinator)
{
    struct coordinator_raft *c = raft_of(coordinator);
    int error = look(c);
    if (error == 0 && coordinator_is_superseded(&c->base))
        return -ESTALE;
    struct coordinator_command command;
    /* Why: one command is under way at a time, and what more is asked follows when that has ended. */
    if (error == 0 && coordinator_asks(&c->base, clock_boottime_ns(), c->epochs, &command))
        error = raft_node_submit(c->node, &command);
    return error == -EBUSY ? -EAGAIN : error;
}

static int raft_fd(const struct coordinator *c)
{
    return raft_node_fd(((const struct coordinator_raft *)(const void *)c)->node);
}

static int raft_await(struct coordinator *coordinator, uint32_t timeout_ms)
{
    struct coordinator_raft *c = raft_of(coordinator);
    uint64_t end = clock_boottime_ns() + timeout_ms * NS_PER_MS;
    while (c->base.state->shard_count == 0) {
        struct pollfd watch = {.fd = raft_node_fd(c->node), .events = POLLIN};
        (void)poll(&watch, 1, AWAIT_LOOK_MS);
        int error = look(c);
        if (error != 0)
            return error;
        if (c->base.state->shard_count == 0 && clock_boottime_ns() >= end)
            return -ETIMEDOUT;
    }
    return 0;
}

/* ---- what people ask ---- */

/* The state shows its effect when it returns. */
static int64_t ask(struct coordinator_raft *c, const struct coordinator_command *command)
{
    int64_t result = raft_node_ask(c->node, command, ASK_WAIT_MS);
    int error = look(c);
    if (result == -ETIMEDOUT)
        return -EBUSY;
    return result >= 0 && error != 0 ? error : result;
}

static int64_t raft_move(struct coordinator *c, uint32_t first, uint32_t last, uint32_t node)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_MOVE, .node = node, .logs = {.first = first, .last = last}};
    return ask(raft_of(c), &command);
}

static int64_t raft_leave(struct coordinator *c, const uint32_t *others, uint32_t other_count)
{
    struct coordinator_command command = {
        .type = COORDINATOR_LEAVE, .node = c->self.node, .start = c->self.incarnation};
    if (other_count == 0 || other_count > LIMIT_VOTERS)
        return -ENOENT;
    memcpy(command.others.nodes, others, other_count * sizeof others[0]);
    command.others.count = other_count;
    return ask(raft_of(c), &command);
}

/* What control says by itself, again and again until the state shows it, is not waited for. */
static int64_t raft_space(struct coordinator *c, const struct coordinator_space_asked *asked)
{
    struct coordinator_command command = {.type = COORDINATOR_SPACE,
                                          .node = c->self.node,
                                          .start = c->self.incarnation,
                                          .space = {.asked = *asked}};
    if (asked->config != NULL)
        command.space.config = *asked->config;
    command.space.asked.config = NULL;
    command.space.asked.member = (struct member){.node = 0};
    if (asked->kind == COORDINATOR_SPACE_MADE || asked->kind == COORDINATOR_SPACE_SERVE)
        return raft_node_submit(raft_of(c)->node, &command);
    return ask(raft_of(c), &command);
}

static int64_t raft_node_change(struct coordinator *c, const struct coordinator_node_asked *asked)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_NODE, .node = asked->id, .change = *asked};
    return coordinator_command_fault(&command) == NULL ? ask(raft_of(c), &command) : -EINVAL;
}

static int64_t raft_recover(struct coordinator *c, const struct coordinator_recover_asked *asked)
{
    const struct coordinator_command command = {.type = COORDINATOR_RECOVER,
                                                .node = c->self.node,
                                                .start = c->self.incarnation,
                                                .recover = *asked};
    return coordinator_command_fault(&command) == NULL ? ask(raft_of(c), &command) : -EINVAL;
}

static int raft_retire(struct coordinator *c)
{
    const struct coordinator_command command = {
        .type = COORDINATOR_RETIRE, .node = c->self.node, .start = c->self.incarnation};
    int64_t done = ask(raft_of(c), &command);
    return done < 0 ? (int)done : 0;
}

static void raft_close(struct coordinator *coordinator)
{
    struct coordinator_raft *c = raft_of(coordinator);
    /* Its thread first: it hands control leadership over, and reads nothing of ours. */
    raft_node_close(c->node);
    coordinator_fini(&c->base);
    free(c->epochs);
    free(c);
}

static const struct coordinator_body raft_body = {
    .await = raft_await,
    .step = raft_step,
    .fd = raft_fd,
    .move = raft_move,
    .leave = raft_leave,
    .retire = raft_retire,
    .space = raft_space,
    .node_change = raft_node_change,
    .recover = raft_recover,
    .close = raft_close,
};

struct raft_node *coordinator_raft_node(struct coordinator *c)
{
    return c->body == &raft_body ? raft_of(c)->node : NULL;
}

/* ---- open: registration ---- */

static bool is_registered(const struct coordinator_raft *c)
{
    for (uint32_t i = 0; c->base.state != NULL && i < c->base.state->node_count; i++)
        if (c->base.state->nodes[i].id == c->base.self.node)
            return c->base.state->nodes[i].start == c->base.self.incarnation;
    return false;
}

/* Until most of the control voters are there. */
static int enter(struct coordinator_raft *c, const struct coordinator_raft_config *config)
{
    struct coordinator_command command;
    int64_t result = coordinator_register_command(&config->cluster, &command);
    while (result == 0 && !is_registered(c)) {
        struct raft_node_shown shown;
        raft_node_shown(c->node, &shown);
        if (shown.is_lost)
            return -ENODATA;
        if (shown.is_removed)
            return -EIDRM;
        if (config->is_ended())
            return -ECANCELED;
        result = raft_node_ask(c->node, &command, REGISTER_WAIT_MS);
        int error = look(c);
        if (error != 0)
            return error;
        if (result != -ETIMEDOUT && result < 0)
            break;
        if (result == -ETIMEDOUT)
            config->waits(config->context, shown.no_node_peer);
        result = 0;
    }
    if (result < 0) {
        log_event(LOG_ERROR, "registration_refused", LOG_ERRNO((int)result),
                  LOG_TEXT("help", coordinator_refusal((int)result)));
        /* Why another one: files that are not there are -ENOENT, too. */
        return result == -ENOENT ? -EIDRM : (int)result;
    }
    log_event(LOG_INFO, "node_registered", LOG_NUMBER("id", c->base.self.node),
              LOG_NUMBER("start", c->base.self.incarnation),
              LOG_NUMBER("revision", c->base.state->revision));
    return 0;
}

int coordinator_raft_open(struct coordinator **coordinator,
                          const struct coordinator_raft_config *config, uint64_t *lsn_origin)
{
    int error = coordinator_register_check(&config->cluster);
    if (error != 0)
        return error;
    struct coordinator_raft *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->base.body = &raft_body;
    c->base.self =
        (struct member){.node = config->cluster.node, .incarnation = config->cluster.start};
    c->base.reopens_lost = config->cluster.reopens_lost;
    c->epochs = malloc(COORDINATOR_SHARDS_MAX * sizeof c->epochs[0]);
    error = c->epochs == NULL ? -ENOMEM : raft_node_open(&c->node, &config->raft, config->errors);
    if (error == 0)
        error = enter(c, config);
    if (error != 0) {
        raft_close(&c->base);
        return error;
    }
    *lsn_origin = c->base.state->origin;
    *coordinator = &c->base;
    return 0;
}
