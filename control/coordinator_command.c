#include "control/coordinator_command.h"

#include "control/coordinator_members.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes are those of memory");

struct head {
    uint8_t format, type;
    uint16_t zero;
    uint32_t node;
    uint64_t start;
};
_Static_assert(sizeof(struct head) == COORDINATOR_COMMAND_HEAD_BYTES, "no holes in the log");

/* Of a REGISTER, before its lists. */
struct entry_head {
    uint64_t cluster, spaces, origin, lsn_ceiling;
    uint32_t replicas, node_count, space_count, zero;
};
_Static_assert(sizeof(struct entry_head) == 48 && sizeof(struct coordinator_space) == 8 &&
                   sizeof(struct coordinator_entry_node) == 8 + LIMIT_NAME_BYTES,
               "no holes in the log");

/* Of a SPACE, before its list and its policy. */
struct space_head {
    uint32_t kind, id;
    uint64_t number, lsn_floor, clock_ns, taken;
    uint32_t up_count, policy_bytes;
};
_Static_assert(sizeof(struct space_head) == 48, "no holes in the log");

/* Of a NODE, all of it. */
struct change_body {
    uint32_t kind, weight;
    char zone[LIMIT_NAME_BYTES], address[COORDINATOR_ADDRESS_BYTES],
        control[COORDINATOR_ADDRESS_BYTES];
};
/* Of a RECOVER, before its list. */
struct recover_head {
    uint32_t first, last, from, up_count;
};
_Static_assert(sizeof(struct change_body) == 8 + LIMIT_NAME_BYTES + 2 * COORDINATOR_ADDRESS_BYTES &&
                   sizeof(struct recover_head) == 16,
               "no holes in the log");

/* What stands behind the head. */
enum body {
    BODY_NONE,
    BODY_ENTRY,
    BODY_EPOCHS,
    BODY_LOGS,
    BODY_OTHERS,
    BODY_SPACE,
    BODY_CHANGE,
    BODY_RECOVER,
    BODY_CEILING
};

static const struct kind {
    const char *name;
    enum body body;
    bool has_start;
    uint8_t format;
} kinds[] = {
    [COORDINATOR_REGISTER] = {"register", BODY_ENTRY, true, 2},
    [COORDINATOR_ACTIVATE] = {"activate", BODY_EPOCHS, true, 1},
    [COORDINATOR_LET_GO] = {"let-go", BODY_EPOCHS, true, 1},
    [COORDINATOR_PASS_ON] = {"pass-on", BODY_EPOCHS, true, 1},
    [COORDINATOR_MOVE] = {"move", BODY_LOGS, false, 1},
    [COORDINATOR_LEAVE] = {"leave", BODY_OTHERS, true, 1},
    [COORDINATOR_RETIRE] = {"retire", BODY_NONE, true, 1},
    [COORDINATOR_GIVE_UP] = {"give-up", BODY_NONE, true, 1},
    [COORDINATOR_FAIL] = {"fail", BODY_OTHERS, true, 1},
    [COORDINATOR_SPACE] = {"space", BODY_SPACE, true, 1},
    [COORDINATOR_NODE] = {"node", BODY_CHANGE, false, 2},
    [COORDINATOR_PROMOTE] = {"promote", BODY_EPOCHS, true, 2},
    [COORDINATOR_RECOVER] = {"recover", BODY_RECOVER, true, 2},
    [COORDINATOR_CEILING] = {"ceiling", BODY_CEILING, true, 2},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* NULL: no such type. */
static const struct kind *kind_of(unsigned type)
{
    return type < KINDS && kinds[type].name != NULL ? &kinds[type] : NULL;
}

const char *coordinator_command_name(enum coordinator_command_type type)
{
    const struct kind *k = kind_of(type);
    return k != NULL ? k->name : "";
}

/* ---- what may be ---- */

static bool are_nodes(const uint32_t *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i] == 0 || coordinator_ids_name(nodes[i], nodes, i))
            return false;
    return true;
}

static const char *entry_nodes_fault(const struct coordinator_command *c)
{
    const struct coordinator_entry *e = &c->entry;
    uint32_t ids[LIMIT_VOTERS];
    if (e->node_count < COORDINATOR_NODES_MIN || e->node_count > LIMIT_VOTERS)
        return "nodes";
    for (uint32_t i = 0; i < e->node_count; i++) {
        const struct coordinator_entry_node *n = &e->nodes[i];
        ids[i] = n->id;
        if (n->weight == 0 || n->weight > COORDINATOR_WEIGHT_MAX)
            return "weight of a node";
        if (!coordinator_word_is_valid(n->zone, sizeof n->zone))
            return "zone of a node";
    }
    return are_nodes(ids, e->node_count) && coordinator_ids_name(c->node, ids, e->node_count)
               ? NULL
               : "nodes";
}

static const char *entry_fault(const struct coordinator_command *c)
{
    const struct coordinator_entry *e = &c->entry;
    const char *fault = entry_nodes_fault(c);
    if (fault != NULL)
        return fault;
    if (e->replicas == 0 || e->replicas > LIMIT_VOTERS)
        return "replicas";
    if (e->space_count == 0 || e->space_count > LIMIT_SPACES)
        return "count of spaces";
    for (uint32_t i = 0; i < e->space_count; i++) {
        const struct coordinator_space *s = &e->space[i];
        if (s->id == 0 || s->id > LIMIT_SPACES || (i != 0 && s->id <= s[-1].id) ||
            s->shard_count == 0 || s->shard_count > LIMIT_SHARDS)
            return "a space";
    }
    if (e->origin == 0 || e->origin > INT64_MAX)
        return "origin";
    return e->lsn_ceiling > INT64_MAX ? "ceiling" : NULL;
}

static const char *epochs_fault(const struct coordinator_command *c)
{
    if (c->epochs.count == 0 || c->epochs.count > COORDINATOR_SHARDS_MAX)
        return "count of epochs";
    if ((c->epochs.learner != 0) != (c->type == COORDINATOR_PROMOTE) ||
        c->epochs.learner == c->node)
        return "learner";
    for (uint32_t i = 0; i < c->epochs.count; i++) {
        const struct coordinator_epoch *e = &c->epochs.list[i];
        /* Why ascending: no epoch that a command makes is one that it goes on to change. */
        if ((i != 0 && e->log <= e[-1].log) || e->epoch == 0)
            return "an epoch";
    }
    return NULL;
}

static const char *others_fault(const struct coordinator_command *c)
{
    if (c->others.count > LIMIT_VOTERS || (c->others.count == 0 && c->type == COORDINATOR_LEAVE))
        return "count of others";
    return are_nodes(c->others.nodes, c->others.count) &&
                   !coordinator_ids_name(c->node, c->others.nodes, c->others.count)
               ? NULL
               : "others";
}

static bool has_policy(const struct coordinator_space_asked *a)
{
    return a->kind == COORDINATOR_SPACE_CREATE || a->kind == COORDINATOR_SPACE_ALTER;
}

/* The list that carries a policy. */
static void policy_list(const struct space_config *config, struct space_list *l)
{
    memset(l, 0, sizeof *l);
    l->number = l->count = 1;
    l->entries[0] = (struct space_entry){
        .config = *config, .state = SPACE_MAKING, .made = 1, .number = 1, .lsn_start = 1};
    if (config->id == 0)
        l->entries[0].config.id = 1;
}

static bool policy_is_valid(const struct coordinator_space_asked *a, const struct space_config *c)
{
    struct space_list l;
    policy_list(c, &l);
    return space_list_fault(&l) == NULL && (a->kind == COORDINATOR_SPACE_CREATE || c->id != 0);
}

/* What a kind has not is 0, so that equal commands have equal bytes. */
static const char *space_fault(const struct coordinator_command *c)
{
    const struct coordinator_space_asked *a = &c->space.asked;
    bool is_create = a->kind == COORDINATOR_SPACE_CREATE,
         is_drop = a->kind == COORDINATOR_SPACE_DROP;
    bool is_made = a->kind == COORDINATOR_SPACE_MADE, is_serve = a->kind == COORDINATOR_SPACE_SERVE;
    if (!is_drop && !is_made && !is_serve && !has_policy(a))
        return "kind of a space's change";
    if (a->number > INT64_MAX || (a->number != 0) != is_made)
        return "number of the spaces";
    if (a->lsn_floor > INT64_MAX || (a->lsn_floor != 0 && !is_drop && !is_made))
        return "LSN of a space";
    if (a->clock_ns / NS_PER_MS > COORDINATOR_START_MAX ||
        ((a->clock_ns != 0 || a->taken != 0) && !is_create))
        return "clock";
    if (a->up_count > LIMIT_VOTERS || (a->up_count != 0) != is_serve ||
        !are_nodes(a->up, a->up_count))
        return "nodes that are up";
    if (is_drop)
        return c->space.config.id == 0 || c->space.config.id > LIMIT_SPACES ? "id of a space"
                                                                            : NULL;
    return has_policy(a) && !policy_is_valid(a, &c->space.config) ? "policy of a space" : NULL;
}

/* Likewise. */
static const char *change_fault(const struct coordinator_command *c)
{
    const struct coordinator_node_asked *a = &c->change;
    bool is_add = a->kind == COORDINATOR_NODE_ADD;
    if (!is_add && a->kind != COORDINATOR_NODE_DRAIN && a->kind != COORDINATOR_NODE_UNDRAIN &&
        a->kind != COORDINATOR_NODE_REMOVE)
        return "kind of a node's change";
    if (a->id != c->node)
        return "id of a node";
    if ((a->weight != 0) != is_add || a->weight > COORDINATOR_WEIGHT_MAX)
        return "weight of a node";
    if (!coordinator_word_is_valid(a->zone, sizeof a->zone) || (!is_add && a->zone[0] != 0))
        return "zone of a node";
    if (!coordinator_word_is_valid(a->address, sizeof a->address) ||
        !coordinator_word_is_valid(a->control, sizeof a->control) ||
        (!is_add && (a->address[0] != 0 || a->control[0] != 0)))
        return "address of a node";
    return NULL;
}

static const char *recover_fault(const struct coordinator_command *c)
{
    const struct coordinator_recover_asked *a = &c->recover;
    if (a->first > a->last)
        return "logs";
    if (a->up_count == 0 || a->up_count > LIMIT_VOTERS || !are_nodes(a->up, a->up_count))
        return "nodes that are up";
    return a->from == 0 || coordinator_ids_name(a->from, a->up, a->up_count) ? NULL : "survivor";
}

static const char *body_fault(const struct coordinator_command *c, enum body body)
{
    switch (body) {
    case BODY_ENTRY:
        return entry_fault(c);
    case BODY_EPOCHS:
        return epochs_fault(c);
    case BODY_LOGS:
        return c->logs.first <= c->logs.last ? NULL : "logs";
    case BODY_OTHERS:
        return others_fault(c);
    case BODY_SPACE:
        return space_fault(c);
    case BODY_CHANGE:
        return change_fault(c);
    case BODY_RECOVER:
        return recover_fault(c);
    case BODY_CEILING:
        return c->lsn_ceiling != 0 && c->lsn_ceiling <= INT64_MAX ? NULL : "ceiling";
    default:
        return NULL;
    }
}

const char *coordinator_command_fault(const struct coordinator_command *c)
{
    const struct kind *k = kind_of(c->type);
    if (k == NULL)
        return "type";
    if (c->node == 0)
        return "node";
    if (c->start > COORDINATOR_START_MAX || (c->start != 0) != k->has_start)
        return "start";
    return body_fault(c, k->body);
}

/* ---- to bytes ---- */

/* Returns how many; 0: its kind has none. */
static uint32_t policy_encode(const struct coordinator_command *c,
                              uint8_t bytes[SPACE_LIST_BYTES_MAX])
{
    struct space_list l;
    if (!has_policy(&c->space.asked))
        return 0;
    policy_list(&c->space.config, &l);
    return space_list_encode(&l, bytes);
}

static size_t space_bytes(const struct coordinator_command *c)
{
    uint8_t policy[SPACE_LIST_BYTES_MAX];
    return sizeof(struct space_head) + c->space.asked.up_count * sizeof(uint32_t) +
           policy_encode(c, policy);
}

size_t coordinator_command_bytes(const struct coordinator_command *c)
{
    size_t bytes = COORDINATOR_COMMAND_HEAD_BYTES;
    switch (kinds[c->type].body) {
    case BODY_ENTRY:
        return bytes + sizeof(struct entry_head) +
               (size_t)c->entry.node_count * sizeof c->entry.nodes[0] +
               (size_t)c->entry.space_count * sizeof(struct coordinator_space);
    case BODY_EPOCHS:
        return bytes + (c->type == COORDINATOR_PROMOTE ? sizeof c->epochs.learner : 0) +
               sizeof(uint32_t) + c->epochs.count * sizeof(struct coordinator_epoch);
    case BODY_LOGS:
        return bytes + 2 * sizeof(uint32_t);
    case BODY_OTHERS:
        return bytes + sizeof(uint32_t) + c->others.count * sizeof(uint32_t);
    case BODY_SPACE:
        return bytes + space_bytes(c);
    case BODY_CHANGE:
        return bytes + sizeof(struct change_body);
    case BODY_RECOVER:
        return bytes + sizeof(struct recover_head) + c->recover.up_count * sizeof(uint32_t);
    case BODY_CEILING:
        return bytes + sizeof c->lsn_ceiling;
    default:
        return bytes;
    }
}

static uint8_t *put(uint8_t *into, const void *bytes, size_t length)
{
    memcpy(into, bytes, length);
    return into + length;
}

static void entry_encode(const struct coordinator_entry *e, uint8_t *into)
{
    const struct entry_head head = {.cluster = e->cluster,
                                    .spaces = e->spaces,
                                    .origin = e->origin,
                                    .lsn_ceiling = e->lsn_ceiling,
                                    .replicas = e->replicas,
                                    .node_count = e->node_count,
                                    .space_count = e->space_count};
    into = put(into, &head, sizeof head);
    into = put(into, e->nodes, e->node_count * sizeof e->nodes[0]);
    (void)put(into, e->space, e->space_count * sizeof e->space[0]);
}

static void space_encode(const struct coordinator_command *c, uint8_t *into)
{
    uint8_t policy[SPACE_LIST_BYTES_MAX];
    const struct coordinator_space_asked *a = &c->space.asked;
    bool has_id = has_policy(a) || a->kind == COORDINATOR_SPACE_DROP;
    const struct space_head head = {.kind = a->kind,
                                    .id = has_id ? c->space.config.id : 0,
                                    .number = a->number,
                                    .lsn_floor = a->lsn_floor,
                                    .clock_ns = a->clock_ns,
                                    .taken = a->taken,
                                    .up_count = a->up_count,
                                    .policy_bytes = policy_encode(c, policy)};
    into = put(into, &head, sizeof head);
    into = put(into, a->up, a->up_count * sizeof a->up[0]);
    (void)put(into, policy, head.policy_bytes);
}

static void change_encode(const struct coordinator_node_asked *a, uint8_t *into)
{
    struct change_body body = {.kind = a->kind, .weight = a->weight};
    memcpy(body.zone, a->zone, sizeof body.zone);
    memcpy(body.address, a->address, sizeof body.address);
    memcpy(body.control, a->control, sizeof body.control);
    (void)put(into, &body, sizeof body);
}

static void recover_encode(const struct coordinator_recover_asked *a, uint8_t *into)
{
    const struct recover_head head = {a->first, a->last, a->from, a->up_count};
    into = put(into, &head, sizeof head);
    (void)put(into, a->up, a->up_count * sizeof a->up[0]);
}

void coordinator_command_encode(const struct coordinator_command *c, uint8_t *into)
{
    const struct head head = {.format = kinds[c->type].format,
                              .type = (uint8_t)c->type,
                              .node = c->node,
                              .start = c->start};
    ASSERT_SLOW(coordinator_command_fault(c) == NULL);
    into = put(into, &head, sizeof head);
    switch (kinds[c->type].body) {
    case BODY_ENTRY:
        entry_encode(&c->entry, into);
        break;
    case BODY_EPOCHS:
        if (c->type == COORDINATOR_PROMOTE)
            into = put(into, &c->epochs.learner, sizeof c->epochs.learner);
        into = put(into, &c->epochs.count, sizeof c->epochs.count);
        (void)put(into, c->epochs.list, c->epochs.count * sizeof(struct coordinator_epoch));
        break;
    case BODY_LOGS:
        into = put(into, &c->logs.first, sizeof c->logs.first);
        (void)put(into, &c->logs.last, sizeof c->logs.last);
        break;
    case BODY_OTHERS:
        into = put(into, &c->others.count, sizeof c->others.count);
        (void)put(into, c->others.nodes, c->others.count * sizeof c->others.nodes[0]);
        break;
    case BODY_SPACE:
        space_encode(c, into);
        break;
    case BODY_CHANGE:
        change_encode(&c->change, into);
        break;
    case BODY_RECOVER:
        recover_encode(&c->recover, into);
        break;
    case BODY_CEILING:
        (void)put(into, &c->lsn_ceiling, sizeof c->lsn_ceiling);
        break;
    default:
        break;
    }
}

/* ---- from bytes ---- */

struct bytes {
    const uint8_t *at;
    size_t left;
};

static bool take(struct bytes *b, void *into, size_t length)
{
    if (b->left < length)
        return false;
    memcpy(into, b->at, length);
    b->at += length;
    b->left -= length;
    return true;
}

static bool entry_decode(struct coordinator_entry *e, struct bytes *b)
{
    struct entry_head head;
    if (!take(b, &head, sizeof head) || head.node_count > LIMIT_VOTERS ||
        head.space_count > LIMIT_SPACES || head.zero != 0)
        return false;
    e->cluster = head.cluster;
    e->spaces = head.spaces;
    e->origin = head.origin;
    e->lsn_ceiling = head.lsn_ceiling;
    e->replicas = head.replicas;
    e->node_count = head.node_count;
    e->space_count = head.space_count;
    return take(b, e->nodes, e->node_count * sizeof e->nodes[0]) &&
           take(b, e->space, e->space_count * sizeof e->space[0]);
}

static bool epochs_decode(struct coordinator_command *c, struct bytes *b)
{
    if ((c->type == COORDINATOR_PROMOTE &&
         !take(b, &c->epochs.learner, sizeof c->epochs.learner)) ||
        !take(b, &c->epochs.count, sizeof c->epochs.count) ||
        b->left / sizeof(struct coordinator_epoch) < c->epochs.count)
        return false;
    c->epochs.list = (const struct coordinator_epoch *)b->at;
    b->at += c->epochs.count * sizeof(struct coordinator_epoch);
    b->left -= c->epochs.count * sizeof(struct coordinator_epoch);
    return true;
}

/* The one way to write it is that of policy_encode. */
static bool policy_decode(struct coordinator_command *c, const struct space_head *head,
                          struct bytes *b)
{
    struct space_list l;
    uint8_t again[SPACE_LIST_BYTES_MAX];
    const uint8_t *policy = b->at;
    if (!has_policy(&c->space.asked))
        return head->policy_bytes == 0;
    if (head->policy_bytes > b->left || space_list_decode(&l, policy, head->policy_bytes) != 0 ||
        l.count != 1)
        return false;
    c->space.config = l.entries[0].config;
    c->space.config.id = head->id;
    b->at += head->policy_bytes;
    b->left -= head->policy_bytes;
    return policy_encode(c, again) == head->policy_bytes &&
           memcmp(again, policy, head->policy_bytes) == 0;
}

static bool space_decode(struct coordinator_command *c, struct bytes *b)
{
    struct coordinator_space_asked *a = &c->space.asked;
    struct space_head head;
    if (!take(b, &head, sizeof head) || head.kind > COORDINATOR_SPACE_SERVE ||
        head.up_count > LIMIT_VOTERS)
        return false;
    *a = (struct coordinator_space_asked){.kind = (enum coordinator_space_kind)head.kind,
                                          .number = head.number,
                                          .lsn_floor = head.lsn_floor,
                                          .clock_ns = head.clock_ns,
                                          .taken = head.taken,
                                          .up_count = head.up_count};
    c->space.config.id = head.id;
    if (!has_policy(a) && a->kind != COORDINATOR_SPACE_DROP && head.id != 0)
        return false;
    return take(b, a->up, a->up_count * sizeof a->up[0]) && policy_decode(c, &head, b);
}

static bool change_decode(struct coordinator_command *c, struct bytes *b)
{
    struct change_body body;
    if (!take(b, &body, sizeof body) || body.kind > COORDINATOR_NODE_REMOVE)
        return false;
    c->change.kind = (enum coordinator_node_kind)body.kind;
    c->change.id = c->node;
    c->change.weight = body.weight;
    memcpy(c->change.zone, body.zone, sizeof body.zone);
    memcpy(c->change.address, body.address, sizeof body.address);
    memcpy(c->change.control, body.control, sizeof body.control);
    return true;
}

static bool recover_decode(struct coordinator_recover_asked *a, struct bytes *b)
{
    struct recover_head head;
    if (!take(b, &head, sizeof head) || head.up_count > LIMIT_VOTERS)
        return false;
    *a = (struct coordinator_recover_asked){
        .first = head.first, .last = head.last, .from = head.from, .up_count = head.up_count};
    return take(b, a->up, a->up_count * sizeof a->up[0]);
}

static bool body_decode(struct coordinator_command *c, struct bytes *b, enum body body)
{
    switch (body) {
    case BODY_ENTRY:
        return entry_decode(&c->entry, b);
    case BODY_EPOCHS:
        return epochs_decode(c, b);
    case BODY_LOGS:
        return take(b, &c->logs.first, sizeof c->logs.first) &&
               take(b, &c->logs.last, sizeof c->logs.last);
    case BODY_OTHERS:
        return take(b, &c->others.count, sizeof c->others.count) &&
               c->others.count <= LIMIT_VOTERS &&
               take(b, c->others.nodes, c->others.count * sizeof c->others.nodes[0]);
    case BODY_SPACE:
        return space_decode(c, b);
    case BODY_CHANGE:
        return change_decode(c, b);
    case BODY_RECOVER:
        return recover_decode(&c->recover, b);
    case BODY_CEILING:
        return take(b, &c->lsn_ceiling, sizeof c->lsn_ceiling);
    default:
        return true;
    }
}

int coordinator_command_decode(struct coordinator_command *c, const uint8_t *bytes, size_t length)
{
    struct bytes b = {.at = bytes, .left = length};
    struct head head;
    if (length > COORDINATOR_COMMAND_BYTES_MAX || !take(&b, &head, sizeof head))
        return -EBADMSG;
    const struct kind *k = kind_of(head.type);
    if (head.format == 0 || head.zero != 0)
        return -EBADMSG;
    if (head.format > COORDINATOR_COMMAND_FORMAT || k == NULL || head.format < k->format)
        return -EPROTONOSUPPORT;
    if (head.format != k->format)
        return -EBADMSG;
    memset(c, 0, sizeof *c);
    c->type = head.type;
    c->node = head.node;
    c->start = head.start;
    if (!body_decode(c, &b, k->body) || b.left != 0)
        return -EBADMSG;
    return coordinator_command_fault(c) == NULL ? 0 : -EBADMSG;
}

int coordinator_command_admit(const uint8_t *bytes, size_t length, uint32_t format_all)
{
    struct coordinator_command c;
    int error = coordinator_command_decode(&c, bytes, length);
    return error == 0 && bytes[0] > format_all ? -EPROTONOSUPPORT : error;
}
