#include "control/coordinator_command.h"

#include "dataplane/node.h"
#include "tests/unit/control/coordinator_check.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define START UINT64_C(1795249235478)
#define LOG(n) (2u << NODE_LOG_SPACE_SHIFT | (n))
#define SHARDS 6u
#define WALKS 40u
#define STEPS 400u

static struct coordinator_command entering(uint32_t node, uint64_t start)
{
    return (struct coordinator_command){
        .type = COORDINATOR_REGISTER,
        .node = node,
        .start = start,
        .entry = {
            .cluster = 7,
            .spaces = 9,
            .origin = start << NODE_LSN_PER_START_SHIFT,
            .node_count = 3,
            .replicas = 3,
            .nodes = {{.id = 10, .weight = 1000}, {.id = 20, .weight = 1}, {.id = 30, .weight = 1}},
            .space_count = 1,
            .space = {{.id = 2, .shard_count = SHARDS}}}};
}

static struct coordinator_command of_epochs(enum coordinator_command_type type,
                                            const struct member *asker,
                                            const struct coordinator_epoch *list, uint32_t count)
{
    return (struct coordinator_command){.type = type,
                                        .node = asker->node,
                                        .start = asker->incarnation,
                                        .epochs = {.list = list, .count = count}};
}

static struct coordinator_command about(enum coordinator_command_type type, uint32_t node,
                                        uint64_t start, uint32_t other)
{
    return (struct coordinator_command){
        .type = type,
        .node = node,
        .start = start,
        .others = {.nodes = {other, 60 - node - other}, .count = 2}};
}

static struct coordinator_command moving(uint32_t first, uint32_t last, uint32_t node)
{
    return (struct coordinator_command){
        .type = COORDINATOR_MOVE, .node = node, .logs = {.first = first, .last = last}};
}

static struct coordinator_command alone(enum coordinator_command_type type, uint32_t node,
                                        uint64_t start)
{
    return (struct coordinator_command){.type = type, .node = node, .start = start};
}

/* As it goes through the log: what it decodes to encodes to the same. */
static int64_t apply(struct coordinator_state **s, const struct coordinator_command *c)
{
    struct coordinator_command decoded;
    size_t length = coordinator_command_bytes(c);
    uint8_t *bytes = malloc(length), *again = malloc(length);
    CU_ASSERT_PTR_NULL_FATAL(coordinator_command_fault(c));
    coordinator_command_encode(c, bytes);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_decode(&decoded, bytes, length), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_bytes(&decoded), length);
    coordinator_command_encode(&decoded, again);
    CU_ASSERT_EQUAL(memcmp(bytes, again, length), 0);
    int64_t changed = coordinator_command_apply(s, &decoded);
    CU_ASSERT_TRUE(*s == NULL || coordinator_state_fault(*s) == NULL);
    free(again);
    free(bytes);
    return changed;
}

/* Three nodes have registered: pending epochs, led by node 10. */
static struct coordinator_state *made(void)
{
    struct coordinator_state *s = NULL;
    for (uint32_t i = 0; i < 3; i++) {
        const struct coordinator_command c = entering(10 * (i + 1), START + i);
        CU_ASSERT_EQUAL(apply(&s, &c), 1);
        CU_ASSERT_EQUAL(apply(&s, &c), 0);
        CU_ASSERT_EQUAL_FATAL(s->revision, i + 1);
    }
    CU_ASSERT_EQUAL_FATAL(s->shard_count, SHARDS);
    return s;
}

static uint32_t epochs_of(const struct coordinator_state *s, struct coordinator_epoch *list)
{
    for (uint32_t i = 0; i < s->shard_count; i++)
        list[i] = (struct coordinator_epoch){s->shards[i].log, s->shards[i].configuration.epoch};
    return s->shard_count;
}

static struct coordinator_state *made_active(void)
{
    struct coordinator_state *s = made();
    struct coordinator_epoch list[SHARDS];
    const struct coordinator_command c = of_epochs(
        COORDINATOR_ACTIVATE, &s->shards[0].configuration.leader, list, epochs_of(s, list));
    CU_ASSERT_EQUAL(apply(&s, &c), SHARDS);
    CU_ASSERT_EQUAL(apply(&s, &c), 0);
    CU_ASSERT_EQUAL(s->revision, 4);
    return s;
}

static void the_last_node_to_register_begins_the_shards(void)
{
    struct coordinator_state *s = NULL;
    struct coordinator_command c = alone(COORDINATOR_RETIRE, 10, START);
    CU_ASSERT_EQUAL(apply(&s, &c), -ENOMEDIUM);
    s = made();
    CU_ASSERT_EQUAL(s->cluster, 7);
    CU_ASSERT_EQUAL(s->spaces, 9);
    CU_ASSERT_EQUAL(s->origin, START << NODE_LSN_PER_START_SHIFT); /* the first one's */
    CU_ASSERT_EQUAL(s->lsn_ceiling, s->origin + NODE_LSN_GRANT);
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT_EQUAL(s->shards[i].log, LOG(i));
        CU_ASSERT_EQUAL(s->shards[i].configuration.epoch, START + 2);
        CU_ASSERT_EQUAL(s->shards[i].configuration.leader.node, 10);
    }
    /* One that comes back, with a ceiling. */
    c = entering(20, START + 9);
    c.entry.lsn_ceiling = s->lsn_ceiling + 77;
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    CU_ASSERT_EQUAL(s->lsn_ceiling, c.entry.lsn_ceiling);
    CU_ASSERT_EQUAL(s->nodes[1].start, START + 9);
    c.start = START + 8;
    CU_ASSERT_EQUAL(apply(&s, &c), -ESTALE);
    CU_ASSERT_EQUAL(s->revision, 4);
    free(s);
}

static void who_does_not_fit_is_refused(void)
{
    struct coordinator_state *s = made();
    struct coordinator_command c = entering(20, START + 9);
    c.entry.cluster++;
    CU_ASSERT_EQUAL(apply(&s, &c), -EEXIST);
    c = entering(20, START + 9);
    c.entry.spaces++;
    CU_ASSERT_EQUAL(apply(&s, &c), -EEXIST);
    c = entering(40, START + 9);
    c.entry.nodes[2].id = 40;
    CU_ASSERT_EQUAL(apply(&s, &c), -ENOENT); /* the cluster has begun without it */
    c = alone(COORDINATOR_RETIRE, 40, START);
    CU_ASSERT_EQUAL(apply(&s, &c), -ENOENT);
    c = alone(COORDINATOR_RETIRE, 20, START); /* it registered as START + 1 */
    CU_ASSERT_EQUAL(apply(&s, &c), -ESTALE);
    c = about(COORDINATOR_LEAVE, 20, START, 10);
    CU_ASSERT_EQUAL(apply(&s, &c), -ESTALE);
    c = about(COORDINATOR_FAIL, 20, START, 10);
    CU_ASSERT_EQUAL(apply(&s, &c), -ESTALE);
    c = moving(0, UINT32_MAX, 20);
    CU_ASSERT_EQUAL(apply(&s, &c), -EAGAIN);
    CU_ASSERT_EQUAL(s->revision, 3);
    s->revision = COORDINATOR_REVISION_MAX;
    c = entering(20, START + 9);
    CU_ASSERT_EQUAL(apply(&s, &c), -EOVERFLOW);
    CU_ASSERT_EQUAL(s->nodes[1].start, START + 1);
    free(s);
}

static void each_kind_does_what_it_says(void)
{
    struct coordinator_state *s = made_active();
    struct coordinator_epoch list[SHARDS];
    const struct member ten = {.node = 10, .incarnation = START};
    struct coordinator_command c = moving(LOG(0), LOG(1), 20);
    CU_ASSERT_EQUAL(apply(&s, &c), 2);
    c = of_epochs(COORDINATOR_LET_GO, &ten, list, epochs_of(s, list));
    CU_ASSERT_EQUAL(apply(&s, &c), 2);
    CU_ASSERT_EQUAL(s->shards[1].configuration.leader.node, 20);
    c = of_epochs(COORDINATOR_PASS_ON, &ten, list, epochs_of(s, list));
    CU_ASSERT_EQUAL(apply(&s, &c), 2);
    CU_ASSERT_EQUAL(s->shards[1].configuration.leader.node, 30);
    c = of_epochs(COORDINATOR_ACTIVATE, &ten, list, epochs_of(s, list));
    CU_ASSERT_EQUAL(apply(&s, &c), 0); /* not its to lead */
    c = about(COORDINATOR_LEAVE, 10, START, 20);
    CU_ASSERT_EQUAL(apply(&s, &c), SHARDS - 2);
    CU_ASSERT_EQUAL(s->shards[2].move, 20);
    c = alone(COORDINATOR_RETIRE, 10, START);
    CU_ASSERT_EQUAL(apply(&s, &c), 1);
    CU_ASSERT_EQUAL(s->nodes[0].since, 1);
    c = about(COORDINATOR_FAIL, 30, START + 2, 10);
    CU_ASSERT_EQUAL(apply(&s, &c), 3); /* two shards, and it is asked last */
    CU_ASSERT_EQUAL(s->shards[1].configuration.leader.node, 20);
    CU_ASSERT_EQUAL(s->nodes[2].since, 2);
    c = alone(COORDINATOR_GIVE_UP, 10, START);
    CU_ASSERT_EQUAL(apply(&s, &c), 0);
    for (uint32_t i = 0; i < 3; i++) {
        c = entering(10 * (i + 1), START + 50);
        CU_ASSERT_EQUAL(apply(&s, &c), 1);
    }
    c = alone(COORDINATOR_GIVE_UP, 10, START + 50);
    CU_ASSERT_EQUAL(apply(&s, &c), SHARDS);
    CU_ASSERT_EQUAL(s->revision, 4 + 6 + 3 + 1);
    free(s);
}

/* ---- bytes ---- */

static void bytes_are_these(void)
{
    static const uint8_t let_go[] = {1, 3, 0, 0, 10, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0,
                                     1, 0, 0, 0, 3,  0, 2, 0, 7, 2, 0, 0, 0, 0, 0, 0};
    static const uint8_t fail[] = {1, 9, 0, 0, 20, 0, 0,  0, 5, 0, 0,  0, 0, 0,
                                   0, 0, 2, 0, 0,  0, 10, 0, 0, 0, 30, 0, 0, 0};
    static const uint8_t ceiling[] = {2, 14, 0, 0, 10, 0, 0, 0, 5, 0, 0, 0,
                                      0, 0,  0, 0, 3,  2, 1, 0, 0, 0, 0, 0x40};
    const struct member ten = {.node = 10, .incarnation = 0x105};
    const struct coordinator_epoch epoch = {LOG(3), 0x207};
    struct coordinator_command c = of_epochs(COORDINATOR_LET_GO, &ten, &epoch, 1);
    uint8_t bytes[64];
    CU_ASSERT_EQUAL_FATAL(coordinator_command_bytes(&c), sizeof let_go);
    coordinator_command_encode(&c, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, let_go, sizeof let_go), 0);
    c = about(COORDINATOR_FAIL, 20, 5, 10);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_bytes(&c), sizeof fail);
    coordinator_command_encode(&c, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, fail, sizeof fail), 0);
    c = alone(COORDINATOR_CEILING, 10, 5);
    c.lsn_ceiling = UINT64_C(0x4000000000010203);
    CU_ASSERT_EQUAL_FATAL(coordinator_command_bytes(&c), sizeof ceiling);
    coordinator_command_encode(&c, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, ceiling, sizeof ceiling), 0);
    CU_ASSERT_STRING_EQUAL(coordinator_command_name(COORDINATOR_LET_GO), "let-go");
    CU_ASSERT_STRING_EQUAL(coordinator_command_name(99), "");
}

static void what_is_cut_or_longer_is_no_command(void)
{
    struct coordinator_command c[4] = {entering(10, START), moving(1, 2, 10),
                                       about(COORDINATOR_LEAVE, 10, START, 20),
                                       alone(COORDINATOR_CEILING, 10, START)};
    c[3].lsn_ceiling = 7;
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t bytes[512] = {0};
        struct coordinator_command decoded;
        size_t length = coordinator_command_bytes(&c[i]);
        CU_ASSERT_FATAL(length + 1 < sizeof bytes);
        coordinator_command_encode(&c[i], bytes);
        CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length), 0);
        for (size_t n = 0; n < length; n++)
            CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, n), -EBADMSG);
        CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, length + 1), -EBADMSG);
    }
}

static void what_another_release_knows_is_refused_by_name(void)
{
    struct coordinator_command c = alone(COORDINATOR_RETIRE, 10, START), decoded;
    uint8_t bytes[COORDINATOR_COMMAND_HEAD_BYTES];
    coordinator_command_encode(&c, bytes);
    CU_ASSERT_EQUAL(coordinator_command_admit(bytes, sizeof bytes, 1), 0);
    CU_ASSERT_EQUAL(coordinator_command_admit(bytes, sizeof bytes, 0), -EPROTONOSUPPORT);
    CU_ASSERT_EQUAL(coordinator_command_admit(bytes, sizeof bytes - 1, 1), -EBADMSG);
    bytes[1] = COORDINATOR_CEILING + 1;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), -EPROTONOSUPPORT);
    bytes[1] = 0;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), -EPROTONOSUPPORT);
    bytes[1] = COORDINATOR_RETIRE;
    bytes[0] = COORDINATOR_COMMAND_FORMAT + 1;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), -EPROTONOSUPPORT);
    bytes[0] = 0;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), -EBADMSG);
    bytes[0] = 1;
    bytes[2] = 1;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), -EBADMSG);
    bytes[2] = 0;
    CU_ASSERT_EQUAL(coordinator_command_decode(&decoded, bytes, sizeof bytes), 0);
}

static void all_shards_of_a_cluster_fit_one_command(void)
{
    struct coordinator_epoch *list = calloc(COORDINATOR_SHARDS_MAX + 1, sizeof *list);
    const struct member ten = {.node = 10, .incarnation = START};
    CU_ASSERT_PTR_NOT_NULL_FATAL(list);
    for (uint32_t i = 0; i <= COORDINATOR_SHARDS_MAX; i++)
        list[i] = (struct coordinator_epoch){i, 1};
    struct coordinator_command c =
        of_epochs(COORDINATOR_ACTIVATE, &ten, list, COORDINATOR_SHARDS_MAX);
    CU_ASSERT_PTR_NULL(coordinator_command_fault(&c));
    CU_ASSERT(coordinator_command_bytes(&c) <= COORDINATOR_COMMAND_BYTES_MAX);
    c.epochs.count++;
    CU_ASSERT_STRING_EQUAL(coordinator_command_fault(&c), "count of epochs");
    free(list);
}

static void faulty(const struct coordinator_command *c, const char *what)
{
    const char *fault = coordinator_command_fault(c);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fault);
    CU_ASSERT_STRING_EQUAL(fault, what);
}

static void faults_of_an_entry_are_named(void)
{
    struct coordinator_command c = entering(40, START);
    faulty(&c, "nodes");
    c = entering(10, START);
    c.entry.nodes[1].id = 10;
    faulty(&c, "nodes");
    c = entering(10, START);
    c.entry.node_count = 1;
    faulty(&c, "nodes");
    c = entering(10, START);
    c.entry.nodes[1].weight = 0;
    faulty(&c, "weight of a node");
    c.entry.nodes[1].weight = COORDINATOR_WEIGHT_MAX + 1;
    faulty(&c, "weight of a node");
    c = entering(10, START);
    c.entry.nodes[1].zone[1] = 'a'; /* behind its end */
    faulty(&c, "zone of a node");
    memset(c.entry.nodes[1].zone, 'a', sizeof c.entry.nodes[1].zone);
    faulty(&c, "zone of a node");
    c = entering(10, START);
    c.entry.replicas = 0;
    faulty(&c, "replicas");
    c.entry.replicas = LIMIT_VOTERS + 1;
    faulty(&c, "replicas");
    c = entering(10, START);
    c.entry.space_count = 0;
    faulty(&c, "count of spaces");
    c = entering(10, START);
    c.entry.space_count = 2;
    c.entry.space[1] = c.entry.space[0];
    faulty(&c, "a space");
    c = entering(10, START);
    c.entry.space[0].shard_count = LIMIT_SHARDS + 1;
    faulty(&c, "a space");
    c = entering(10, START);
    c.entry.origin = 0;
    faulty(&c, "origin");
    c = entering(10, START);
    c.entry.lsn_ceiling = (uint64_t)INT64_MAX + 1;
    faulty(&c, "ceiling");
}

static void faults_are_named(void)
{
    struct coordinator_epoch list[2] = {{LOG(1), 5}, {LOG(1), 6}};
    const struct member ten = {.node = 10, .incarnation = START};
    struct coordinator_command c = of_epochs(COORDINATOR_PASS_ON, &ten, list, 2);
    faulty(&c, "an epoch");
    list[1] = (struct coordinator_epoch){LOG(2), 0};
    faulty(&c, "an epoch");
    c.epochs.count = 0;
    faulty(&c, "count of epochs");
    c = moving(2, 1, 10);
    faulty(&c, "logs");
    c = moving(1, 2, 10);
    c.start = 1;
    faulty(&c, "start");
    c = about(COORDINATOR_FAIL, 10, START, 10);
    faulty(&c, "others");
    c = about(COORDINATOR_FAIL, 10, START, 25); /* and 25 */
    faulty(&c, "others");
    c = about(COORDINATOR_FAIL, 10, START, 20);
    c.others.count = 0; /* nobody is left: it is known to have failed, at least */
    CU_ASSERT_PTR_NULL(coordinator_command_fault(&c));
    c.type = COORDINATOR_LEAVE;
    faulty(&c, "count of others");
    c = alone(COORDINATOR_RETIRE, 0, START);
    faulty(&c, "node");
    c = alone(COORDINATOR_RETIRE, 10, 0);
    faulty(&c, "start");
    c = alone(COORDINATOR_RETIRE, 10, COORDINATOR_START_MAX + 1);
    faulty(&c, "start");
    c = alone(77, 10, START);
    faulty(&c, "type");
}

/* ---- at random, against the rules ---- */

static uint64_t start_of(const struct coordinator_state *s, uint32_t node)
{
    return s->nodes[node / 10 - 1].start;
}

static void stir(struct coordinator_state **state, unsigned *seed, uint64_t *start)
{
    const struct coordinator_state *s = *state;
    struct coordinator_epoch list[SHARDS];
    uint32_t count = epochs_of(s, list), at = (uint32_t)rand_r(seed) % count;
    uint32_t node = 10 * (1 + (uint32_t)rand_r(seed) % 3);
    const struct member m = {.node = node, .incarnation = start_of(s, node)};
    struct coordinator_command c;
    switch (rand_r(seed) % 12) {
    case 0:
        c = entering(node, ++*start);
        break;
    case 1:
        c = moving(LOG(at), LOG(at) + (uint32_t)rand_r(seed) % 3, node);
        break;
    case 2:
    case 3:
        c = of_epochs(COORDINATOR_LET_GO, &m, list + at, count - at);
        break;
    case 4:
        c = of_epochs(COORDINATOR_PASS_ON, &m, list + at, 1);
        break;
    case 5:
        c = about(COORDINATOR_LEAVE, node, m.incarnation, node == 30 ? 10 : 30);
        break;
    case 6:
        c = alone(rand_r(seed) % 2 ? COORDINATOR_RETIRE : COORDINATOR_GIVE_UP, node, m.incarnation);
        break;
    case 7:
    case 8:
        c = about(COORDINATOR_FAIL, node, m.incarnation, node == 30 ? 10 : 30);
        c.others.count = (uint32_t)rand_r(seed) % 3;
        break;
    default:
        c = of_epochs(COORDINATOR_ACTIVATE, &m, list, count);
    }
    (void)apply(state, &c);
}

static void rules_hold_on_every_walk(void)
{
    struct coordinator_check total = {0};
    for (unsigned walk = 0; walk < WALKS; walk++) {
        struct coordinator_state *s = made();
        struct coordinator_check check = {0};
        unsigned seed = walk;
        uint64_t start = START + 100;
        for (unsigned i = 0; i < STEPS; i++) {
            const char *fault =
                s->revision != check.revision ? coordinator_check_next(&check, s) : NULL;
            if (fault != NULL)
                printf("walk %u step %u: %s\n", walk, i, fault);
            CU_ASSERT_PTR_NULL_FATAL(fault);
            stir(&s, &seed, &start);
        }
        total.restarts += check.restarts;
        total.replaced += check.replaced;
        total.moves += check.moves;
        total.activations += check.activations;
        total.given_up += check.given_up;
        CU_ASSERT_EQUAL(check.gaps, 0); /* one revision for each that changes something */
        free(s);
    }
    CU_ASSERT_TRUE(total.restarts > WALKS && total.replaced > WALKS && total.moves > WALKS &&
                   total.activations > WALKS && total.given_up > WALKS);
}

/* Two copies that apply the same are the same: nothing but the commands counts. */
static void copies_do_not_differ(void)
{
    struct coordinator_state *a = made(), *b = made();
    unsigned seed_a = 99, seed_b = 99;
    uint64_t start_a = START + 100, start_b = START + 100;
    for (unsigned i = 0; i < STEPS; i++) {
        stir(&a, &seed_a, &start_a);
        stir(&b, &seed_b, &start_b);
    }
    CU_ASSERT(a->revision > STEPS / 4);
    CU_ASSERT_EQUAL(memcmp(a, b, coordinator_state_bytes(SHARDS)), 0);
    free(a);
    free(b);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_last_node_to_register_begins_the_shards),
    UNIT_TEST(who_does_not_fit_is_refused),
    UNIT_TEST(each_kind_does_what_it_says),
    UNIT_TEST(bytes_are_these),
    UNIT_TEST(what_is_cut_or_longer_is_no_command),
    UNIT_TEST(what_another_release_knows_is_refused_by_name),
    UNIT_TEST(all_shards_of_a_cluster_fit_one_command),
    UNIT_TEST(faults_of_an_entry_are_named),
    UNIT_TEST(faults_are_named),
    UNIT_TEST(rules_hold_on_every_walk),
    UNIT_TEST(copies_do_not_differ),
};
UNIT_MAIN("coordinator_command", tests)
