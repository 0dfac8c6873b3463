#include "control/coordinator_script.h"

#include "control/decision.h"
#include "control/ruling.h"

#include <stdlib.h>
#include <string.h>

/* What one node sees of it. */
struct seat {
    struct node *node;
    struct coordinator_script *coordinator;
    struct node_cluster cluster;
};

struct coordinator_script {
    struct decisions decisions;
    uint32_t seat_count;
    struct seat seats[LIMIT_VOTERS];
};

/* ---- asked by lcores ---- */

/* Good until the caller is quiescent. */
static struct decision *decision_of(void *context)
{
    return decision_newest(&((const struct seat *)context)->coordinator->decisions);
}

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    return decision_configuration(decision_of(context), log, known_epoch, copy);
}

/* The compare-and-set on (pending epoch, predecessor): a decision names both, and leaves the state
 * pending once, either to be active or to be replaced by the next one. */
static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    const struct seat *seat = context;
    struct decision *d = decision_of(context);
    struct decision_shard *r = decision_at(d, log, epoch);
    uint32_t state = DECISION_PENDING;
    if (r == NULL || !member_equal(&seat->cluster.self, &r->configuration.leader))
        return CLUSTER_REFUSED;
    /* acquire and release: cluster.h, memory order */
    if (!atomic_compare_exchange_strong_explicit(&r->state, &state, DECISION_ACTIVE,
                                                 memory_order_acq_rel, memory_order_acquire))
        return state == DECISION_ACTIVE ? CLUSTER_ACTIVE : CLUSTER_REFUSED;
    /* release: pairs with is_active */
    atomic_fetch_add_explicit(&d->active, 1, memory_order_release);
    return CLUSTER_ACTIVE;
}

static bool hands_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct decision_shard *r = decision_at(decision_of(context), log, epoch);
    /* relaxed: E1 and E2 order it */
    return r != NULL && atomic_load_explicit(&r->hands_over, memory_order_relaxed);
}

static void handed_over(void *context, uint32_t log, uint64_t epoch)
{
    struct decision *d = decision_of(context);
    struct decision_shard *r = decision_at(d, log, epoch);
    /* relaxed: only its own lcore writes it */
    if (r == NULL || atomic_exchange_explicit(&r->handed_over, true, memory_order_relaxed))
        return;
    /* release: pairs with is_handed_over */
    atomic_fetch_add_explicit(&d->handed_over, 1, memory_order_release);
}

/* ---- decided ---- */

/* The next epoch of a shard. */
static void shard_follow(struct decision_shard *next, struct decision_shard *now,
                         const struct member *leader)
{
    struct configuration newest = now->configuration;
    uint32_t state = DECISION_PENDING;
    /* acquire: what its leader did is done; release: it does it no more. */
    (void)atomic_compare_exchange_strong_explicit(&now->state, &state, DECISION_REPLACED,
                                                  memory_order_acq_rel, memory_order_acquire);
    newest.active = state == DECISION_ACTIVE;
    next->log = now->log;
    ruling_follow(&next->configuration, &newest, leader);
}

int coordinator_script_move(struct coordinator_script *c, uint32_t leader)
{
    struct decision *now = decision_newest(&c->decisions);
    if (leader >= c->seat_count)
        return -EINVAL;
    for (uint32_t i = 0; i < now->count; i++)
        if (now->shards[i].configuration.epoch_before == 0 &&
            /* acquire: as in shard_follow */
            atomic_load_explicit(&now->shards[i].state, memory_order_acquire) != DECISION_ACTIVE)
            return -EAGAIN;
    struct decision *next = decision_make(now->count);
    if (next == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < now->count; i++)
        shard_follow(&next->shards[i], &now->shards[i], &c->seats[leader].cluster.self);
    decisions_publish(&c->decisions, next);
    return 0;
}

void coordinator_script_hand_over(struct coordinator_script *c)
{
    struct decision *d = decision_newest(&c->decisions);
    for (uint32_t i = 0; i < d->count; i++)
        /* relaxed: E1 publishes it */
        atomic_store_explicit(&d->shards[i].hands_over, true, memory_order_relaxed);
    decisions_tell(&c->decisions);
}

bool coordinator_script_is_active(const struct coordinator_script *c)
{
    const struct decision *d = decision_newest(&c->decisions);
    return atomic_load_explicit(&d->active, memory_order_acquire) == d->count;
}

bool coordinator_script_is_handed_over(const struct coordinator_script *c)
{
    const struct decision *d = decision_newest(&c->decisions);
    return atomic_load_explicit(&d->handed_over, memory_order_acquire) == d->count;
}

/* ---- open and close ---- */

static uint32_t shards_of(const struct node *n)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (n->spaces[id] != NULL)
            count += n->spaces[id]->config.shard_count;
    return count;
}

/* Logs of two nodes are replicas of each other if they lie in the same shard of the same space. */
static bool spaces_are_alike(const struct node *a, const struct node *b)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *x = a->spaces[id], *y = b->spaces[id];
        if ((x == NULL) != (y == NULL))
            return false;
        if (x != NULL && (strcmp(x->config.name, y->config.name) != 0 ||
                          x->config.shard_count != y->config.shard_count ||
                          x->config.partition_prefix != y->config.partition_prefix ||
                          memcmp(&x->geometry, &y->geometry, sizeof(x->geometry)) != 0))
            return false;
    }
    return true;
}

static bool nodes_are_valid(struct node *const *nodes, uint32_t node_count, uint64_t epoch)
{
    if (node_count == 0 || node_count > LIMIT_VOTERS || epoch == 0)
        return false;
    for (uint32_t i = 0; i < node_count; i++) {
        if (!spaces_are_alike(nodes[0], nodes[i]))
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (nodes[i]->config.id == nodes[j]->config.id)
                return false;
    }
    return true;
}

static struct member member_of(const struct node *n)
{
    return (struct member){.node = n->config.id, .incarnation = n->start};
}

static int first_decision(struct coordinator_script *c, const struct node *first, uint64_t epoch)
{
    struct decision *d = decision_make(shards_of(first));
    struct member voters[LIMIT_VOTERS];
    struct configuration pending;
    if (d == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->seat_count; i++)
        voters[i] = member_of(c->seats[i].node);
    ruling_first(&pending, epoch, voters, c->seat_count);
    uint32_t at = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = first->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++) {
            d->shards[at].log = s->boards[i].log;
            d->shards[at].configuration = pending;
            ASSERT(at == 0 || d->shards[at - 1].log < d->shards[at].log);
            at++;
        }
    }
    ASSERT(at == d->count);
    decisions_publish(&c->decisions, d);
    return 0;
}

static void seat_take(struct coordinator_script *c, uint32_t number)
{
    struct seat *seat = &c->seats[number];
    seat->coordinator = c;
    seat->cluster = (struct node_cluster){
        .self = member_of(seat->node),
        .node_count = c->seat_count,
        .version = &c->decisions.version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .context = seat,
    };
    for (uint32_t i = 0; i < c->seat_count; i++)
        seat->cluster.nodes[i] = c->seats[i].node->config.id;
    seat->node->cluster = &seat->cluster;
}

static void dispose(struct coordinator_script *c)
{
    decisions_fini(&c->decisions);
    free(c);
}

int coordinator_script_open(struct coordinator_script **coordinator, struct node *const *nodes,
                            uint32_t node_count, uint64_t epoch)
{
    if (!nodes_are_valid(nodes, node_count, epoch))
        return -EINVAL;
    struct coordinator_script *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->seat_count = node_count;
    int error = 0;
    for (uint32_t i = 0; i < node_count; i++) {
        c->seats[i].node = nodes[i];
        error = error != 0 ? error : decisions_wake(&c->decisions, nodes[i]);
    }
    if (error == 0)
        error = first_decision(c, nodes[0], epoch);
    if (error != 0) {
        dispose(c);
        return error;
    }
    for (uint32_t i = 0; i < node_count; i++)
        seat_take(c, i);
    *coordinator = c;
    return 0;
}

void coordinator_script_close(struct coordinator_script *c)
{
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->seat_count; i++)
        c->seats[i].node->cluster = NULL;
    dispose(c);
}
