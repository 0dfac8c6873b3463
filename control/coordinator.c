#include "control/coordinator.h"

#include "control/logline.h"
#include "control/ruling.h"

#include <stdlib.h>
#include <string.h>

#define DOUBLINGS_MAX 6u /* waits grow no longer */

/* ---- asked by lcores ---- */

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    const struct coordinator *c = context;
    return decision_configuration(decision_newest(&c->decisions), log, known_epoch, copy);
}

/* A shard of a decision that was published: its space has them. */
static struct coordinator_ask *ask_of(const struct coordinator *c, uint32_t log)
{
    return &c->asks[log >> NODE_LOG_SPACE_SHIFT][log & ((1u << NODE_LOG_SPACE_SHIFT) - 1)];
}

static struct coordinator_wait *wait_of(const struct coordinator *c, uint32_t log)
{
    return &c->waits[log >> NODE_LOG_SPACE_SHIFT][log & ((1u << NODE_LOG_SPACE_SHIFT) - 1)];
}

/* For all spaces that have shards in a state. */
static int words_make(struct coordinator *c, const struct coordinator_state *s)
{
    for (uint32_t i = 0; i < s->shard_count; i++) {
        uint32_t space = s->shards[i].log >> NODE_LOG_SPACE_SHIFT;
        if (c->asks[space] == NULL)
            c->asks[space] = calloc(LIMIT_SHARDS, sizeof c->asks[0][0]);
        if (c->waits[space] == NULL)
            c->waits[space] = calloc(LIMIT_SHARDS, sizeof c->waits[0][0]);
        if (c->asks[space] == NULL || c->waits[space] == NULL)
            return -ENOMEM;
    }
    return 0;
}

static void ask(const struct coordinator *c, _Atomic uint64_t *word, uint64_t epoch)
{
    /* release: A1 -> A2 (is_activation, is_let_go): all that the lcore did before it asked.  What it reads
     * here orders nothing: control never writes the word. */
    if (atomic_exchange_explicit(word, epoch, memory_order_release) != epoch)
        c->node->wake_control(c->node->wake_context);
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator *c = context;
    const struct decision_shard *s = decision_at(decision_newest(&c->decisions), log, epoch);
    if (s == NULL || !member_equal(&c->self, &s->configuration.leader))
        return CLUSTER_REFUSED;
    if (s->configuration.active)
        return CLUSTER_ACTIVE;
    ask(c, &ask_of(c, log)->activate, epoch);
    return CLUSTER_ASKED;
}

static bool hands_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator *c = context;
    const struct decision_shard *s = decision_at(decision_newest(&c->decisions), log, epoch);
    /* relaxed: it was set before the decision was published */
    return s != NULL && atomic_load_explicit(&s->hands_over, memory_order_relaxed);
}

static void handed_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator *c = context;
    const struct decision_shard *s = decision_at(decision_newest(&c->decisions), log, epoch);
    if (s != NULL)
        ask(c, &ask_of(c, log)->handed_over, epoch);
}

static void promote(void *context, uint32_t log, uint64_t epoch, const struct member *learner)
{
    const struct coordinator *c = context;
    const struct decision_shard *s = decision_at(decision_newest(&c->decisions), log, epoch);
    int at = s == NULL
                 ? -1
                 : member_find(s->configuration.learners, s->configuration.learner_count, learner);
    if (at < 0)
        return;
    _Atomic uint64_t *word = &ask_of(c, log)->fit;
    /* relaxed: nobody else writes it */
    uint64_t said = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t none = epoch << COORDINATOR_FIT_BITS;
    bool is_same = said >> COORDINATOR_FIT_BITS == none >> COORDINATOR_FIT_BITS;
    ask(c, word, (is_same ? said : none) | UINT64_C(1) << at);
}

/* ---- what was decided is published ---- */

static struct decision *decision_of(const struct coordinator_state *s)
{
    struct decision *d = decision_make(s->shard_count);
    for (uint32_t i = 0; d != NULL && i < s->shard_count; i++) {
        const struct coordinator_shard *from = &s->shards[i];
        struct decision_shard *to = &d->shards[i];
        to->log = from->log;
        to->configuration = from->configuration;
        /* relaxed: R1 publishes them */
        atomic_store_explicit(&to->state,
                              from->configuration.active ? DECISION_ACTIVE : DECISION_PENDING,
                              memory_order_relaxed);
        atomic_store_explicit(&to->hands_over, from->configuration.active && from->move != 0,
                              memory_order_relaxed);
    }
    return d;
}

static bool shards_are_same(const struct coordinator_state *a, const struct coordinator_state *b)
{
    return a != NULL && a->shard_count == b->shard_count &&
           memcmp(a->shards, b->shards, a->shard_count * sizeof a->shards[0]) == 0;
}

int coordinator_take(struct coordinator *c, struct coordinator_state *s)
{
    struct coordinator_counts counts;
    struct decision *d = NULL;
    if (c->node != NULL && !shards_are_same(c->state, s)) {
        d = words_make(c, s) == 0 ? decision_of(s) : NULL;
        if (d == NULL) {
            free(s);
            return -ENOMEM;
        }
    }
    coordinator_news_say(c->state, s);
    coordinator_state_counts(s, &counts);
    c->gone = counts.gone;
    if (c->node != NULL)
        coordinator_news_lost(&c->news, s, c->node, c->reopens_lost);
    free(c->state);
    c->state = s;
    if (d != NULL)
        decisions_publish(&c->decisions, d);
    return 0;
}

/* ---- what is asked of whoever decides ---- */

static bool is_activation(const struct coordinator *c, const struct coordinator_shard *s)
{
    /* acquire: A2 */
    return !s->configuration.active &&
           atomic_load_explicit(&ask_of(c, s->log)->activate, memory_order_acquire) ==
               s->configuration.epoch;
}

static uint64_t waited_ns(const struct coordinator *c, const struct coordinator_shard *s,
                          uint64_t now)
{
    const struct configuration *now_is = &s->configuration;
    struct coordinator_wait *w = wait_of(c, s->log);
    if (w->epoch == now_is->epoch && w->was_active == now_is->active)
        return now - w->since_ns;
    bool in_a_row = w->epoch != 0 && !w->was_active && !now_is->active;
    w->doublings = in_a_row ? w->doublings + (w->doublings < DOUBLINGS_MAX) : 0;
    w->epoch = now_is->epoch;
    w->was_active = now_is->active;
    w->since_ns = now;
    return 0;
}

static bool is_in_vain(const struct coordinator *c, const struct coordinator_shard *s, uint64_t now)
{
    return coordinator_state_may_pass_on(c->state, s) &&
           waited_ns(c, s, now) >= COORDINATOR_PASS_ON_NS << wait_of(c, s->log)->doublings;
}

/* Whether its leader has let go, or was waited for long enough. */
static bool is_let_go(const struct coordinator *c, const struct coordinator_shard *s, uint64_t now)
{
    uint64_t epoch = s->configuration.epoch;
    if (!s->configuration.active || s->move == 0)
        return false;
    uint64_t waited = waited_ns(c, s, now);
    /* acquire: A2 */
    return atomic_load_explicit(&ask_of(c, s->log)->handed_over, memory_order_acquire) == epoch ||
           waited >= COORDINATOR_HAND_OVER_NS;
}

uint32_t coordinator_fit(const struct coordinator *c, const struct coordinator_shard *s)
{
    const struct configuration *now_is = &s->configuration;
    /* Why not while it moves: it is followed soon, and its learners are watched again then. */
    if (c->asks[s->log >> NODE_LOG_SPACE_SHIFT] == NULL || !now_is->active || s->move != 0 ||
        !member_equal(&now_is->leader, &c->self))
        return 0;
    /* acquire: A2 */
    uint64_t said = atomic_load_explicit(&ask_of(c, s->log)->fit, memory_order_acquire);
    if (said >> COORDINATOR_FIT_BITS !=
        now_is->epoch << COORDINATOR_FIT_BITS >> COORDINATOR_FIT_BITS)
        return 0;
    for (uint32_t i = 0; i < now_is->learner_count; i++)
        if ((said >> i & 1) != 0 &&
            coordinator_state_wants(c->state, s->log, now_is->learners[i].node))
            return now_is->learners[i].node;
    return 0;
}

bool coordinator_is_superseded(const struct coordinator *c)
{
    for (uint32_t i = 0; i < c->state->node_count; i++)
        if (c->state->nodes[i].id == c->self.node)
            return c->state->nodes[i].start > c->self.incarnation;
    return false;
}

enum coordinator_wish coordinator_wish(struct coordinator *c, const struct coordinator_shard *s,
                                       uint64_t now)
{
    /* Why: a state that is not taken yet may name a space that is new. */
    if (c->asks[s->log >> NODE_LOG_SPACE_SHIFT] == NULL)
        return COORDINATOR_WISH_NONE;
    if (is_activation(c, s))
        return COORDINATOR_WISH_ACTIVATE;
    if (is_let_go(c, s, now))
        return COORDINATOR_WISH_LET_GO;
    if (is_in_vain(c, s, now))
        return COORDINATOR_WISH_PASS_ON;
    return coordinator_fit(c, s) != 0 ? COORDINATOR_WISH_PROMOTE : COORDINATOR_WISH_NONE;
}

bool coordinator_is_removed(const struct coordinator *c)
{
    return c->state->shard_count != 0 && coordinator_state_node(c->state, c->self.node) == NULL;
}

/* All shards in which the same learner is to be promoted. */
static bool promotions_collect(struct coordinator *c, struct coordinator_epoch *epochs,
                               struct coordinator_command *command)
{
    command->epochs.list = epochs;
    for (uint32_t i = 0; i < c->state->shard_count; i++) {
        const struct coordinator_shard *s = &c->state->shards[i];
        uint32_t learner = coordinator_fit(c, s);
        if (learner == 0 || (command->epochs.learner != 0 && command->epochs.learner != learner))
            continue;
        command->epochs.learner = learner;
        epochs[command->epochs.count++] =
            (struct coordinator_epoch){.log = s->log, .epoch = s->configuration.epoch};
    }
    return command->epochs.count != 0;
}

static uint32_t epochs_collect(struct coordinator *c, enum coordinator_wish wish, uint64_t now,
                               struct coordinator_epoch *epochs)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->state->shard_count; i++) {
        const struct coordinator_shard *s = &c->state->shards[i];
        if (coordinator_wish(c, s, now) == wish)
            epochs[count++] =
                (struct coordinator_epoch){.log = s->log, .epoch = s->configuration.epoch};
    }
    return count;
}

/* Why not for ever: one of 63 bits is the last. */
static bool is_short(const struct coordinator *c)
{
    return c->lsn_short == c->state->lsn_ceiling && c->lsn_short != 0 && c->lsn_short < INT64_MAX;
}

bool coordinator_asks(struct coordinator *c, uint64_t now, struct coordinator_epoch *epochs,
                      struct coordinator_command *command)
{
    static const struct {
        enum coordinator_wish wish;
        enum coordinator_command_type type;
    } wishes[] = {{COORDINATOR_WISH_ACTIVATE, COORDINATOR_ACTIVATE},
                  {COORDINATOR_WISH_LET_GO, COORDINATOR_LET_GO},
                  {COORDINATOR_WISH_PASS_ON, COORDINATOR_PASS_ON}};
    *command = (struct coordinator_command){
        .type = COORDINATOR_GIVE_UP, .node = c->self.node, .start = c->self.incarnation};
    if (c->node != NULL && is_short(c)) {
        command->type = COORDINATOR_CEILING;
        command->lsn_ceiling = c->lsn_short;
        return true;
    }
    for (uint32_t i = 0; c->node != NULL && i < sizeof wishes / sizeof wishes[0]; i++) {
        uint32_t count = epochs_collect(c, wishes[i].wish, now, epochs);
        if (count == 0)
            continue;
        command->type = wishes[i].type;
        command->epochs.list = epochs;
        command->epochs.count = count;
        return true;
    }
    if (c->node == NULL)
        return false;
    struct coordinator_command promotion = {
        .type = COORDINATOR_PROMOTE, .node = c->self.node, .start = c->self.incarnation};
    if (c->reopens_lost && c->gone != 0)
        return true;
    if (!promotions_collect(c, epochs, &promotion))
        return false;
    *command = promotion;
    return true;
}

/* ---- join and leave ---- */

static bool node_is_alike(const struct coordinator *c, const struct node *n)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = n->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++, count++)
            if (coordinator_state_find(c->state, s->boards[i].log) == NULL)
                return false;
    }
    return count == c->state->shard_count && count != 0;
}

static int join(struct coordinator *c, const struct node *n)
{
    struct decision *d = words_make(c, c->state) == 0 ? decision_of(c->state) : NULL;
    if (d == NULL)
        return -ENOMEM;
    int error = decisions_wake(&c->decisions, n);
    if (error != 0)
        free(d);
    else
        decisions_publish(&c->decisions, d);
    return error;
}

static void leave(struct coordinator *c)
{
    if (c->node != NULL)
        c->node->cluster = NULL;
    c->node = NULL;
    decisions_fini(&c->decisions);
    for (uint32_t i = 0; i <= LIMIT_SPACES; i++) {
        free(c->asks[i]);
        free(c->waits[i]);
        c->asks[i] = NULL;
        c->waits[i] = NULL;
    }
}

int coordinator_join(struct coordinator *c, struct node *node)
{
    ASSERT(c->node == NULL && node->config.id == c->self.node &&
           node->start == c->self.incarnation);
    if (!node_is_alike(c, node))
        return -EEXIST;
    int error = join(c, node);
    if (error != 0) {
        leave(c);
        return error;
    }
    c->cluster = (struct node_cluster){
        .self = c->self,
        .node_count = c->state->node_count,
        .version = &c->decisions.version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .promote = promote,
        .context = c,
    };
    for (uint32_t i = 0; i < c->state->node_count; i++)
        c->cluster.nodes[i] = c->state->nodes[i].id;
    c->node = node;
    node->cluster = &c->cluster;
    coordinator_news_lost(&c->news, c->state, node, c->reopens_lost);
    return 0;
}

void coordinator_fini(struct coordinator *c)
{
    leave(c);
    free(c->state);
    c->state = NULL;
}
