#include "control/coordinator_script.h"

#include "engine/rcu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum ruling_state {
    RULING_PENDING = 0,
    RULING_ACTIVE = 1,
    RULING_REPLACED = 2, /* by a higher epoch before it was active */
};

/* One shard in one decision, the same for all nodes. */
struct ruling {
    uint32_t log;
    struct configuration configuration; /* as decided: its word active is not kept up to date */
    _Atomic uint32_t state;             /* enum ruling_state; leaves PENDING once, for good */
    _Atomic bool hands_over, handed_over;
};

/* One decision for all shards.  What is not atomic in it never changes. */
struct decision {
    uint32_t count;
    _Atomic uint32_t active, handed_over; /* rulings that are */
    struct ruling rulings[];              /* by log, ascending */
};

/* What one node sees of it. */
struct seat {
    struct node *node;
    struct coordinator_script *coordinator;
    struct node_cluster cluster;
    int wake_fds[LIMIT_LCORES]; /* eventfds that nobody reads: an edge comes with every write */
    uint32_t wake_count;
};

struct coordinator_script {
    _Atomic(struct decision *) newest; /* RCU */
    _Atomic uint64_t version;
    uint32_t seat_count;
    struct seat seats[LIMIT_VOTERS];
};

/* ---- asked by lcores ---- */

static int compare_log(const void *key, const void *element)
{
    uint32_t log = *(const uint32_t *)key;
    const struct ruling *r = element;
    return log < r->log ? -1 : log > r->log;
}

/* Good until the caller is quiescent. */
static struct decision *decision_of(void *context)
{
    const struct coordinator_script *c = ((const struct seat *)context)->coordinator;
    /* acquire: R1, pairs with decision_publish: the decision is whole */
    return atomic_load_explicit(&c->newest, memory_order_acquire);
}

static struct ruling *ruling_in(struct decision *d, uint32_t log)
{
    return bsearch(&log, d->rulings, d->count, sizeof(d->rulings[0]), compare_log);
}

/* Of this epoch, or NULL: it is not the newest. */
static struct ruling *ruling_at(struct decision *d, uint32_t log, uint64_t epoch)
{
    struct ruling *r = ruling_in(d, log);
    return r != NULL && r->configuration.epoch == epoch ? r : NULL;
}

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    const struct ruling *r = ruling_in(decision_of(context), log);
    if (r == NULL || r->configuration.epoch <= known_epoch)
        return false;
    *copy = r->configuration;
    return true;
}

/* The compare-and-set on (pending epoch, predecessor): a ruling names both, and leaves the state
 * pending once, either to be active or to be replaced by the next one. */
static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    const struct seat *seat = context;
    struct decision *d = decision_of(context);
    struct ruling *r = ruling_at(d, log, epoch);
    uint32_t state = RULING_PENDING;
    if (r == NULL || !member_equal(&seat->cluster.self, &r->configuration.leader))
        return CLUSTER_REFUSED;
    /* acquire and release: cluster.h, memory order */
    if (!atomic_compare_exchange_strong_explicit(&r->state, &state, RULING_ACTIVE,
                                                 memory_order_acq_rel, memory_order_acquire))
        return state == RULING_ACTIVE ? CLUSTER_ACTIVE : CLUSTER_REFUSED;
    /* release: pairs with is_active */
    atomic_fetch_add_explicit(&d->active, 1, memory_order_release);
    return CLUSTER_ACTIVE;
}

static bool hands_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct ruling *r = ruling_at(decision_of(context), log, epoch);
    /* relaxed: E1 and E2 order it */
    return r != NULL && atomic_load_explicit(&r->hands_over, memory_order_relaxed);
}

static void handed_over(void *context, uint32_t log, uint64_t epoch)
{
    struct decision *d = decision_of(context);
    struct ruling *r = ruling_at(d, log, epoch);
    /* relaxed: only its own lcore writes it */
    if (r == NULL || atomic_exchange_explicit(&r->handed_over, true, memory_order_relaxed))
        return;
    /* release: pairs with is_handed_over */
    atomic_fetch_add_explicit(&d->handed_over, 1, memory_order_release);
}

/* ---- decided ---- */

/* E1, and out of their sleep with the lcores. */
static void tell(struct coordinator_script *c)
{
    const uint64_t one = 1;
    atomic_fetch_add_explicit(&c->version, 1, memory_order_release); /* E1 */
    for (uint32_t i = 0; i < c->seat_count; i++)
        for (uint32_t l = 0; l < c->seats[i].wake_count; l++)
            /* Why ignored: one that cannot be written rings already. */
            (void)!write(c->seats[i].wake_fds[l], &one, sizeof(one));
}

static void decision_publish(struct coordinator_script *c, struct decision *d)
{
    struct decision *before = atomic_load_explicit(&c->newest, memory_order_relaxed); /* ours */
    /* release: R1 */
    atomic_store_explicit(&c->newest, d, memory_order_release);
    tell(c);
    if (before == NULL)
        return;
    qsbr_synchronize();
    free(before);
}

static struct decision *decision_make(uint32_t count)
{
    struct decision *d = calloc(1, sizeof(*d) + count * sizeof(d->rulings[0]));
    if (d != NULL)
        d->count = count;
    return d;
}

/* The next epoch of a shard. */
static void ruling_follow(struct ruling *next, struct ruling *r, const struct member *leader)
{
    uint32_t state = RULING_PENDING;
    /* acquire: what its leader did is done; release: it does it no more. */
    (void)atomic_compare_exchange_strong_explicit(&r->state, &state, RULING_REPLACED,
                                                  memory_order_acq_rel, memory_order_acquire);
    struct configuration *c = &next->configuration;
    *c = r->configuration;
    next->log = r->log;
    c->epoch++;
    c->leader = *leader;
    if (state != RULING_ACTIVE)
        return; /* the predecessor is still that of the one replaced */
    c->epoch_before = r->configuration.epoch;
    c->voter_before_count = c->voter_count;
    memcpy(c->voters_before, c->voters, sizeof(c->voters_before));
}

int coordinator_script_move(struct coordinator_script *c, uint32_t leader)
{
    struct decision *now = atomic_load_explicit(&c->newest, memory_order_relaxed); /* ours */
    if (leader >= c->seat_count)
        return -EINVAL;
    for (uint32_t i = 0; i < now->count; i++)
        if (now->rulings[i].configuration.epoch_before == 0 &&
            /* acquire: as in ruling_follow */
            atomic_load_explicit(&now->rulings[i].state, memory_order_acquire) != RULING_ACTIVE)
            return -EAGAIN;
    struct decision *next = decision_make(now->count);
    if (next == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < now->count; i++) {
        ruling_follow(&next->rulings[i], &now->rulings[i], &c->seats[leader].cluster.self);
        ASSERT(configuration_is_valid(&next->rulings[i].configuration));
    }
    decision_publish(c, next);
    return 0;
}

void coordinator_script_hand_over(struct coordinator_script *c)
{
    struct decision *d = atomic_load_explicit(&c->newest, memory_order_relaxed); /* ours */
    for (uint32_t i = 0; i < d->count; i++)
        /* relaxed: E1 publishes it */
        atomic_store_explicit(&d->rulings[i].hands_over, true, memory_order_relaxed);
    tell(c);
}

bool coordinator_script_is_active(const struct coordinator_script *c)
{
    const struct decision *d = atomic_load_explicit(&c->newest, memory_order_relaxed); /* ours */
    return atomic_load_explicit(&d->active, memory_order_acquire) == d->count;
}

bool coordinator_script_is_handed_over(const struct coordinator_script *c)
{
    const struct decision *d = atomic_load_explicit(&c->newest, memory_order_relaxed); /* ours */
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
    struct configuration pending = {
        .epoch = epoch, .voter_count = c->seat_count, .leader = member_of(first)};
    if (d == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->seat_count; i++)
        pending.voters[i] = member_of(c->seats[i].node);
    ASSERT(configuration_is_valid(&pending));
    uint32_t at = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = first->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++) {
            d->rulings[at].log = s->boards[i].log;
            d->rulings[at].configuration = pending;
            ASSERT(at == 0 || d->rulings[at - 1].log < d->rulings[at].log);
            at++;
        }
    }
    ASSERT(at == d->count);
    decision_publish(c, d);
    return 0;
}

static int wakes_open(struct seat *seat)
{
    const struct node *n = seat->node;
    /* Above the slots of agents, as node.h says. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = LIMIT_AGENTS + 1};
    for (uint32_t l = 0; l < n->config.lcore_count; l++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        seat->wake_fds[seat->wake_count++] = fd;
        if (epoll_ctl(n->sleep_fds[l], EPOLL_CTL_ADD, fd, &event) != 0)
            return -errno;
    }
    return 0;
}

static void wakes_close(struct seat *seat)
{
    while (seat->wake_count != 0)
        (void)close(seat->wake_fds[--seat->wake_count]); /* and out of the epoll with it */
}

static void seat_take(struct coordinator_script *c, uint32_t number)
{
    struct seat *seat = &c->seats[number];
    seat->coordinator = c;
    seat->cluster = (struct node_cluster){
        .self = member_of(seat->node),
        .node_count = c->seat_count,
        .version = &c->version,
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
    for (uint32_t i = 0; i < c->seat_count; i++)
        wakes_close(&c->seats[i]);
    free(atomic_load_explicit(&c->newest, memory_order_relaxed)); /* nobody else is left */
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
        error = error != 0 ? error : wakes_open(&c->seats[i]);
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
