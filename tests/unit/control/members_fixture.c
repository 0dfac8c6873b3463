#include "tests/unit/control/members_fixture.h"

#include "control/coordinator_members.h"
#include "control/ruling.h"

#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#define START UINT64_C(1795249235478)
#define ROUNDS_MAX 200u

struct coordinator_state *members_state;
struct coordinator_check members_check;
uint64_t members_start_last;

int64_t members_apply(const struct coordinator_command *c)
{
    struct coordinator_command decoded;
    size_t length = coordinator_command_bytes(c);
    uint8_t *bytes = malloc(length);
    const char *fault = coordinator_command_fault(c);
    if (fault != NULL)
        printf("%s: %s\n", coordinator_command_name(c->type), fault);
    CU_ASSERT_PTR_NULL_FATAL(fault);
    coordinator_command_encode(c, bytes);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_decode(&decoded, bytes, length), 0);
    uint64_t revision = members_state != NULL ? members_state->revision : 0;
    int64_t changed = coordinator_command_apply(&members_state, &decoded);
    free(bytes);
    fault = members_state != NULL ? coordinator_state_fault(members_state) : NULL;
    if (fault == NULL && members_state != NULL && members_state->revision != revision)
        fault = coordinator_check_next(&members_check, members_state);
    if (fault != NULL)
        printf("%s of %u: %s\n", coordinator_command_name(c->type), c->node, fault);
    CU_ASSERT_PTR_NULL_FATAL(fault);
    return changed;
}

uint64_t members_start_of(uint32_t node)
{
    const struct coordinator_node *n = coordinator_state_node(members_state, node);
    return n != NULL ? n->start : 0;
}

int64_t members_enter_as(uint32_t node, uint64_t start, const struct coordinator_entry *entry)
{
    const struct coordinator_command c = {
        .type = COORDINATOR_REGISTER, .node = node, .start = start, .entry = *entry};
    return members_apply(&c);
}

int64_t members_enter(uint32_t node)
{
    const struct coordinator_entry entry = {.cluster = 7,
                                            .spaces = 9,
                                            .origin = 1,
                                            .replicas = 1,
                                            .node_count = 2,
                                            .nodes = {{node, 1, ""}, {node + 1, 1, ""}},
                                            .space_count = 1,
                                            .space = {{.id = 2, .shard_count = MEMBERS_SHARDS}}};
    return members_enter_as(node, ++members_start_last, &entry);
}

int64_t members_change(enum coordinator_node_kind kind, uint32_t node, uint32_t weight,
                       const char *zone)
{
    struct coordinator_command c = {.type = COORDINATOR_NODE,
                                    .node = node,
                                    .change = {.kind = kind, .id = node, .weight = weight}};
    (void)snprintf(c.change.zone, sizeof c.change.zone, "%s", zone);
    if (kind == COORDINATOR_NODE_ADD)
        (void)snprintf(c.change.address, sizeof c.change.address, "host-%u:7700", node);
    return members_apply(&c);
}

int64_t members_of_epoch(enum coordinator_command_type type, const struct coordinator_shard *s,
                         const struct member *asker, uint32_t learner)
{
    const struct coordinator_epoch epoch = {s->log, s->configuration.epoch};
    const struct coordinator_command c = {
        .type = type,
        .node = asker->node,
        .start = asker->incarnation,
        .epochs = {.list = &epoch, .count = 1, .learner = learner}};
    return members_apply(&c);
}

int64_t members_recover(uint32_t from, const uint32_t *up, uint32_t up_count)
{
    struct coordinator_command c = {
        .type = COORDINATOR_RECOVER,
        .node = members_state->nodes[0].id,
        .start = members_state->nodes[0].start,
        .recover = {.first = 0, .last = UINT32_MAX, .from = from, .up_count = up_count}};
    memcpy(c.recover.up, up, up_count * sizeof up[0]);
    return members_apply(&c);
}

int64_t members_raise(uint32_t node, uint64_t known)
{
    const struct coordinator_command c = {.type = COORDINATOR_CEILING,
                                          .node = node,
                                          .start = members_start_of(node),
                                          .lsn_ceiling = known};
    return members_apply(&c);
}

uint32_t members_all_up(uint32_t up[LIMIT_VOTERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < members_state->node_count; i++)
        if (members_state->nodes[i].start != 0)
            up[count++] = members_state->nodes[i].id;
    return count;
}

/* ---- clusters ---- */

void members_begin(const struct coordinator_entry_node *nodes, uint32_t count, uint32_t replicas)
{
    struct coordinator_entry entry = {.cluster = 7,
                                      .spaces = 9,
                                      .origin = 1,
                                      .replicas = replicas,
                                      .node_count = count,
                                      .space_count = 1,
                                      .space = {{.id = 2, .shard_count = MEMBERS_SHARDS}}};
    members_state = NULL;
    members_check = (struct coordinator_check){.begun = false};
    members_start_last = START + 100;
    memcpy(entry.nodes, nodes, count * sizeof nodes[0]);
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL_FATAL(members_enter_as(nodes[i].id, START + i, &entry), 1);
    CU_ASSERT_EQUAL_FATAL(members_state->shard_count, MEMBERS_SHARDS);
}

void members_end(void)
{
    free(members_state);
    members_state = NULL;
}

void members_begin_alike(uint32_t count, uint32_t replicas)
{
    struct coordinator_entry_node nodes[LIMIT_VOTERS];
    memset(nodes, 0, sizeof nodes);
    for (uint32_t i = 0; i < count; i++)
        nodes[i] = (struct coordinator_entry_node){.id = 10 * (i + 1), .weight = 100};
    members_begin(nodes, count, replicas);
}

/* ---- everybody answers ---- */

bool members_obey_one(uint32_t i)
{
    const struct coordinator_shard *s = &members_state->shards[i];
    const struct configuration *c = &s->configuration;
    const struct member leader = c->leader;
    if (ruling_is_lost(c)) {
        uint32_t up[LIMIT_VOTERS];
        return members_recover(0, up, members_all_up(up)) > 0;
    }
    if (!c->active)
        return members_of_epoch(COORDINATOR_ACTIVATE, s, &leader, 0) == 1;
    if (s->move != 0)
        return members_of_epoch(COORDINATOR_LET_GO, s, &leader, 0) == 1;
    for (uint32_t l = 0; l < c->learner_count; l++)
        if (coordinator_state_wants(members_state, s->log, c->learners[l].node))
            return members_of_epoch(COORDINATOR_PROMOTE, s, &leader, c->learners[l].node) == 1;
    return false;
}

static bool has_member(const struct member *list, uint32_t count, const struct coordinator_node *n)
{
    const struct member m = {.node = n->id, .incarnation = n->start};
    return member_find(list, count, &m) >= 0;
}

/* Each shard: the wanted ones vote, all others learn, nothing is under way. */
static bool is_as_wanted(const struct coordinator_shard *s)
{
    const struct configuration *c = &s->configuration;
    const struct coordinator_some all = {.ids = NULL, .count = 0};
    uint32_t wanted[LIMIT_VOTERS], here = 0;
    uint32_t count = coordinator_members_wanted(members_state, s->log, &all, wanted);
    bool is = c->active && s->move == 0 && s->promote == 0 && c->voter_count == count &&
              !coordinator_members_are_due(members_state, s);
    for (uint32_t i = 0; i < members_state->node_count; i++) {
        const struct coordinator_node *n = &members_state->nodes[i];
        here += n->start != 0;
        is = is && n->standing != COORDINATOR_LEAVING &&
             (n->start == 0 || (coordinator_state_wants(members_state, s->log, n->id)
                                    ? has_member(c->voters, c->voter_count, n)
                                    : has_member(c->learners, c->learner_count, n)));
    }
    return is && c->voter_count + c->learner_count == here;
}

void members_obey(void)
{
    bool any = true;
    for (uint32_t round = 0; any && round < ROUNDS_MAX; round++) {
        any = false;
        for (uint32_t i = 0; i < MEMBERS_SHARDS; i++)
            any |= members_obey_one(i);
    }
    CU_ASSERT_FALSE_FATAL(any);
    for (uint32_t i = 0; i < MEMBERS_SHARDS; i++) {
        if (!is_as_wanted(&members_state->shards[i]))
            printf("shard %u does not come to what is wanted\n", i);
        CU_ASSERT_TRUE_FATAL(is_as_wanted(&members_state->shards[i]));
    }
}
