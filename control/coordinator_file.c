#include "control/coordinator_file.h"

#include "control/coordinator_news.h"
#include "control/coordinator_register.h"
#include "control/coordinator_store.h"
#include "control/decision.h"
#include "control/logline.h"
#include "control/ruling.h"
#include "engine/clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_WAIT_MS 5000u /* for the lock */
#define MOVE_WAIT_MS 500u
#define STEP_WAIT_MS 20u
#define AWAIT_LOOK_MS 20u
#define DOUBLINGS_MAX 6u /* waits grow no longer */
#define BUSY_MAX 10u     /* steps in a row that did not get the lock, and nothing is said */

/* What lcores ask for a shard: written by the one that owns it, read by control.  A word holds an
 * epoch, and nothing ever takes it out: one that is not the newest asks for nothing. */
struct shard_ask {
    _Atomic uint64_t activate, handed_over;
};

/* Since when an epoch's leader is waited for, to let go or to be active; control's. */
struct shard_wait {
    uint64_t epoch, since_ns;
    bool was_active;
    uint32_t doublings; /* of the wait for a pending one */
};

struct coordinator_file {
    struct coordinator_store store;
    struct coordinator_state *state; /* newest that was read or written */
    struct member self;
    bool reopens_lost;
    uint32_t gone;      /* shards of the state that nobody holds */
    uint64_t lsn_floor; /* highest that it says */
    struct coordinator_news news;
    int watch_fd;
    struct coordinator_fault fault; /* of the file, while error is -EBADMSG or -ESTALE */
    int error;                      /* last said; 0: it works */
    uint32_t busy;
    /* from join on */
    struct node *node;
    struct node_cluster cluster;
    struct decisions decisions;
    struct shard_ask *asks; /* by number of the shard, which no revision changes */
    struct shard_wait *waits;
};

/* ---- asked by lcores ---- */

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    const struct coordinator_file *c = context;
    return decision_configuration(decision_newest(&c->decisions), log, known_epoch, copy);
}

static void ask(const struct coordinator_file *c, _Atomic uint64_t *word, uint64_t epoch)
{
    /* release: A1 -> A2 (is_activation, is_let_go): all that the lcore did before it asked.  What it reads
     * here orders nothing: control never writes the word. */
    if (atomic_exchange_explicit(word, epoch, memory_order_release) != epoch)
        c->node->wake_control(c->node->wake_context);
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator_file *c = context;
    struct decision *d = decision_newest(&c->decisions);
    const struct decision_shard *s = decision_at(d, log, epoch);
    if (s == NULL || !member_equal(&c->self, &s->configuration.leader))
        return CLUSTER_REFUSED;
    if (s->configuration.active)
        return CLUSTER_ACTIVE;
    ask(c, &c->asks[s - d->shards].activate, epoch);
    return CLUSTER_ASKED;
}

static bool hands_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator_file *c = context;
    const struct decision_shard *s = decision_at(decision_newest(&c->decisions), log, epoch);
    /* relaxed: it was set before the decision was published */
    return s != NULL && atomic_load_explicit(&s->hands_over, memory_order_relaxed);
}

static void handed_over(void *context, uint32_t log, uint64_t epoch)
{
    const struct coordinator_file *c = context;
    struct decision *d = decision_newest(&c->decisions);
    const struct decision_shard *s = decision_at(d, log, epoch);
    if (s != NULL)
        ask(c, &c->asks[s - d->shards].handed_over, epoch);
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

/* A state that follows ours is the newest; it is ours to free from here on, whatever comes. */
static int state_take(struct coordinator_file *c, struct coordinator_state *s)
{
    struct coordinator_counts counts;
    struct decision *d = NULL;
    if (c->node != NULL && !shards_are_same(c->state, s)) {
        d = decision_of(s);
        if (d == NULL) {
            coordinator_store_forget(&c->store);
            free(s);
            return -ENOMEM;
        }
    }
    coordinator_news_say(c->state, s);
    coordinator_state_counts(s, &counts);
    c->gone = counts.gone;
    c->lsn_floor = coordinator_state_lsn_floor(s);
    if (c->node != NULL)
        coordinator_news_lost(&c->news, s, c->node, c->reopens_lost);
    free(c->state);
    c->state = s;
    if (d != NULL)
        decisions_publish(&c->decisions, d);
    return 0;
}

/* ---- the file ---- */

/* Read it; -EBADMSG also for what does not follow from what we know. */
static int state_read(struct coordinator_file *c, struct coordinator_state **s)
{
    int error = coordinator_store_read(&c->store, s, &c->fault);
    if (error != 0 || c->state == NULL || coordinator_state_follows(*s, c->state))
        return error;
    (void)snprintf(c->fault.text, sizeof c->fault.text,
                   "it is another cluster's, or older than what was here");
    free(*s);
    *s = NULL;
    coordinator_store_forget(&c->store);
    return -EBADMSG;
}

static int state_write(struct coordinator_file *c, struct coordinator_state *s)
{
    s->revision++;
    /* Why no assert: a number of the file may be at its limit, and so past it now. */
    const char *wrong = coordinator_state_fault(s);
    if (wrong == NULL)
        return coordinator_store_write(&c->store, s);
    (void)snprintf(c->fault.text, sizeof c->fault.text, "no room for the next %s", wrong);
    return -EBADMSG;
}

static int look(struct coordinator_file *c)
{
    struct coordinator_state *s;
    int error = coordinator_store_is_replaced(&c->store);
    if (error <= 0)
        return error;
    error = state_read(c, &s);
    return error == 0 ? state_take(c, s) : error;
}

/* Above 0: changed, so much of it; 0: nothing to change; else refused. */
typedef int64_t change_apply(struct coordinator_file *c, struct coordinator_state *s,
                             const void *argument);

/* One compare-and-set: on the file as it is now, whatever we knew of it.  Returns as apply does, or -errno,
 * and then nothing changed: -EBUSY the lock is held, -ENOMEDIUM there is no file, which apply never says. */
static int64_t change(struct coordinator_file *c, change_apply *apply, const void *argument,
                      uint32_t wait_ms)
{
    struct coordinator_state *s = NULL;
    int64_t result = coordinator_store_lock(&c->store, wait_ms);
    if (result != 0)
        return result == -EAGAIN ? -EBUSY : result;
    result = state_read(c, &s);
    if (result == -ENOENT)
        result = -ENOMEDIUM;
    if (result == 0) {
        result = apply(c, s, argument);
        int error = result > 0 ? state_write(c, s) : 0;
        if (error != 0)
            result = error;
        if (result < 0) {
            free(s);
            coordinator_store_forget(&c->store);
        }
    }
    coordinator_store_unlock(&c->store);
    if (result < 0)
        return result;
    int error = state_take(c, s);
    return error != 0 ? error : result;
}

/* Said once, and once more when it works again. */
static int said(struct coordinator_file *c, int error)
{
    /* Why: others write, too; the lock is soon free. */
    c->busy = error == -EBUSY ? c->busy + 1 : 0;
    if (error == c->error || (error == -EBUSY && c->busy < BUSY_MAX))
        return error;
    c->error = error;
    if (error == 0)
        log_event(LOG_INFO, "coordinator_file_back", LOG_TEXT("path", c->store.path));
    else
        log_event(LOG_WARN, "coordinator_file_failed", LOG_ERRNO(error),
                  LOG_TEXT("path", c->store.path),
                  LOG_TEXT("where", error == -EBADMSG || error == -ESTALE ? c->fault.text : ""));
    return error;
}

/* ---- step ---- */

static bool is_activation(const struct coordinator_file *c, const struct coordinator_shard *s,
                          uint32_t i)
{
    /* acquire: A2 */
    return !s->configuration.active &&
           atomic_load_explicit(&c->asks[i].activate, memory_order_acquire) ==
               s->configuration.epoch;
}

static uint64_t waited_ns(struct coordinator_file *c, const struct configuration *now_is,
                          uint32_t i, uint64_t now)
{
    struct shard_wait *w = &c->waits[i];
    if (w->epoch == now_is->epoch && w->was_active == now_is->active)
        return now - w->since_ns;
    bool in_a_row = w->epoch != 0 && !w->was_active && !now_is->active;
    w->doublings = in_a_row ? w->doublings + (w->doublings < DOUBLINGS_MAX) : 0;
    w->epoch = now_is->epoch;
    w->was_active = now_is->active;
    w->since_ns = now;
    return 0;
}

static bool is_in_vain(struct coordinator_file *c, const struct coordinator_shard *s, uint32_t i,
                       uint64_t now)
{
    const struct configuration *is = &s->configuration;
    return !is->active && is->epoch_before != 0 && !ruling_is_lost(is) &&
           waited_ns(c, is, i, now) >= COORDINATOR_PASS_ON_NS << c->waits[i].doublings;
}

/* Whether its leader has let go, or was waited for long enough. */
static bool is_let_go(struct coordinator_file *c, const struct coordinator_shard *s, uint32_t i,
                      uint64_t now)
{
    uint64_t epoch = s->configuration.epoch;
    if (!s->configuration.active || s->move == 0)
        return false;
    uint64_t waited = waited_ns(c, &s->configuration, i, now);
    return atomic_load_explicit(&c->asks[i].handed_over, memory_order_acquire) == epoch || /* A2 */
           waited >= COORDINATOR_HAND_OVER_NS;
}

static bool is_asked(struct coordinator_file *c, uint64_t now)
{
    bool asked = c->reopens_lost && c->gone != 0;
    for (uint32_t i = 0; i < c->state->shard_count; i++) {
        const struct coordinator_shard *s = &c->state->shards[i];
        asked |= is_activation(c, s, i) || is_let_go(c, s, i, now) || is_in_vain(c, s, i, now);
    }
    return asked;
}

/* Our own asks, and waits that are over: whoever says first that a leader was waited for in vain is
 * right. */
static int64_t asked_apply(struct coordinator_file *c, struct coordinator_state *s,
                           const void *argument)
{
    uint64_t now = *(const uint64_t *)argument;
    int64_t given_up = c->reopens_lost ? coordinator_state_give_up(s) : 0;
    int64_t changed = 0, passed_on = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct coordinator_shard *shard = &s->shards[i];
        uint64_t epoch = shard->configuration.epoch;
        if (is_activation(c, shard, i))
            changed += coordinator_state_activate(s, shard->log, epoch, &c->self);
        else if (is_let_go(c, shard, i, now))
            changed += coordinator_state_let_go(s, shard->log, epoch);
        else if (is_in_vain(c, shard, i, now))
            passed_on += coordinator_state_pass_on(s, shard->log, epoch);
    }
    if (passed_on != 0)
        log_event(LOG_WARN, "epochs_passed_on", LOG_NUMBER("shards", passed_on));
    if (given_up != 0)
        log_event(LOG_ERROR, "shards_given_up", LOG_NUMBER("shards", given_up),
                  LOG_TEXT("help", "nobody held them any more; they begin again, empty"));
    return changed + passed_on + given_up;
}

/* Another daemon runs under our id: it is its to ask. */
static bool is_superseded(const struct coordinator_file *c)
{
    for (uint32_t i = 0; i < c->state->node_count; i++)
        if (c->state->nodes[i].id == c->self.node)
            return c->state->nodes[i].start > c->self.incarnation;
    return false;
}

static int superseded_say(struct coordinator_file *c)
{
    (void)snprintf(c->fault.text, sizeof c->fault.text, "a later start of this node is registered");
    return -ESTALE;
}

int coordinator_file_step(struct coordinator_file *c)
{
    coordinator_store_watch_drain(c->watch_fd);
    int error = look(c);
    if (error == 0 && is_superseded(c))
        error = superseded_say(c);
    uint64_t now = clock_boottime_ns();
    if (error == 0 && c->node != NULL && is_asked(c, now)) {
        int64_t changed = change(c, asked_apply, &now, STEP_WAIT_MS);
        error = changed < 0 ? (int)changed : 0;
    }
    error = said(c, error);
    return error == -EBUSY ? -EAGAIN : error == -ENOMEDIUM ? -ENOENT : error;
}

int coordinator_file_fd(const struct coordinator_file *c)
{
    return c->watch_fd;
}

int coordinator_file_await(struct coordinator_file *c, uint32_t timeout_ms)
{
    uint64_t end = clock_boottime_ns() + timeout_ms * NS_PER_MS;
    while (c->state->shard_count == 0) {
        struct pollfd watch = {.fd = c->watch_fd, .events = POLLIN};
        coordinator_store_watch_drain(c->watch_fd);
        int error = said(c, look(c));
        if (error != 0)
            return error;
        uint64_t now = clock_boottime_ns();
        if (c->state->shard_count == 0 && now >= end)
            return -ETIMEDOUT;
        uint64_t left_ms = now < end ? (end - now) / NS_PER_MS + 1 : 0;
        if (c->state->shard_count == 0)
            (void)poll(&watch, 1, (int)min_u64(left_ms, AWAIT_LOOK_MS));
    }
    return 0;
}

/* ---- what people ask ---- */

struct move_wanted {
    uint32_t first, last, node;
    const uint32_t *others; /* of who leaves */
    uint32_t other_count;
};

static int64_t move_apply(struct coordinator_file *c, struct coordinator_state *s,
                          const void *argument)
{
    const struct move_wanted *m = argument;
    (void)c;
    return coordinator_state_move(s, m->first, m->last, m->node);
}

int64_t coordinator_file_move(struct coordinator_file *c, uint32_t first, uint32_t last,
                              uint32_t node)
{
    const struct move_wanted wanted = {.first = first, .last = last, .node = node};
    return change(c, move_apply, &wanted, MOVE_WAIT_MS);
}

static int64_t leave_apply(struct coordinator_file *c, struct coordinator_state *s,
                           const void *argument)
{
    const struct move_wanted *m = argument;
    return coordinator_state_leave(s, c->self.node, m->others, m->other_count);
}

int64_t coordinator_file_leave(struct coordinator_file *c, const uint32_t *others,
                               uint32_t other_count)
{
    const struct move_wanted wanted = {.others = others, .other_count = other_count};
    return is_superseded(c) ? -ESTALE : change(c, leave_apply, &wanted, MOVE_WAIT_MS);
}

static int64_t retire_apply(struct coordinator_file *c, struct coordinator_state *s,
                            const void *argument)
{
    (void)argument;
    coordinator_state_retire(s, c->self.node);
    return 1;
}

int coordinator_file_retire(struct coordinator_file *c)
{
    int64_t done = is_superseded(c) ? -ESTALE : change(c, retire_apply, NULL, MOVE_WAIT_MS);
    return done < 0 ? (int)done : 0;
}

void coordinator_file_counts(const struct coordinator_file *c,
                             struct coordinator_file_counts *counts)
{
    struct coordinator_counts n;
    coordinator_state_counts(c->state, &n);
    *counts = (struct coordinator_file_counts){n.shards, n.pending, n.moving, n.lost, n.gone};
}

uint32_t coordinator_file_duties(const struct coordinator_file *c)
{
    return coordinator_state_duties(c->state, c->self.node);
}

uint64_t coordinator_file_lsn_floor(const struct coordinator_file *c)
{
    return c->lsn_floor;
}

const struct coordinator_shard *coordinator_file_shard(const struct coordinator_file *c,
                                                       uint32_t log)
{
    return coordinator_state_find(c->state, log);
}

/* ---- open: registration ---- */

/* Under the lock.  *state is the caller's to free(), whatever comes. */
static int state_register(struct coordinator_file *c, const struct coordinator_file_config *config,
                          struct coordinator_state **state)
{
    int error = state_read(c, state);
    if (error != 0 && error != -ENOENT)
        return error;
    int changed = coordinator_register(state, config);
    return changed > 0 ? state_write(c, *state) : changed;
}

static int enter(struct coordinator_file *c, const struct coordinator_file_config *config)
{
    struct coordinator_state *s = NULL;
    int error = coordinator_store_lock(&c->store, OPEN_WAIT_MS);
    if (error != 0)
        return error;
    error = state_register(c, config, &s);
    coordinator_store_unlock(&c->store);
    if (error != 0) {
        free(s);
        return error;
    }
    log_event(LOG_INFO, "node_registered", LOG_NUMBER("id", config->node),
              LOG_NUMBER("start", config->start), LOG_NUMBER("revision", s->revision));
    return state_take(c, s);
}

int coordinator_file_open(struct coordinator_file **coordinator,
                          const struct coordinator_file_config *config, uint64_t *lsn_origin)
{
    struct coordinator_file *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->self = (struct member){.node = config->node, .incarnation = config->start};
    c->reopens_lost = config->reopens_lost;
    c->watch_fd = -1;
    int error = coordinator_store_open(&c->store, config->path);
    if (error != 0) {
        free(c);
        return error;
    }
    c->watch_fd = coordinator_store_watch(&c->store);
    error = coordinator_register_check(config);
    if (error == 0)
        error = enter(c, config);
    if (error != 0) {
        const char *where = c->fault.text[0] != 0 ? c->fault.text : coordinator_refusal(error);
        log_event(LOG_WARN, "coordinator_file_failed", LOG_ERRNO(error),
                  LOG_TEXT("path", c->store.path), LOG_TEXT("where", where));
        coordinator_file_close(c);
        return error;
    }
    *lsn_origin = c->state->origin;
    *coordinator = c;
    return 0;
}

/* ---- join and close ---- */

static bool node_is_alike(const struct coordinator_file *c, const struct node *n)
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

static int join(struct coordinator_file *c, const struct node *n)
{
    uint32_t shards = c->state->shard_count;
    c->asks = calloc(shards, sizeof c->asks[0]);
    c->waits = calloc(shards, sizeof c->waits[0]);
    struct decision *d = decision_of(c->state);
    if (c->asks == NULL || c->waits == NULL || d == NULL) {
        free(d);
        return -ENOMEM;
    }
    int error = decisions_wake(&c->decisions, n);
    if (error != 0)
        free(d);
    else
        decisions_publish(&c->decisions, d);
    return error;
}

static void leave(struct coordinator_file *c)
{
    if (c->node != NULL)
        c->node->cluster = NULL;
    c->node = NULL;
    decisions_fini(&c->decisions);
    free(c->asks);
    free(c->waits);
    c->asks = NULL;
    c->waits = NULL;
}

int coordinator_file_join(struct coordinator_file *c, struct node *node)
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
        .context = c,
    };
    for (uint32_t i = 0; i < c->state->node_count; i++)
        c->cluster.nodes[i] = c->state->nodes[i].id;
    c->node = node;
    node->cluster = &c->cluster;
    coordinator_news_lost(&c->news, c->state, node, c->reopens_lost);
    return 0;
}

void coordinator_file_close(struct coordinator_file *c)
{
    if (c == NULL)
        return;
    leave(c);
    if (c->watch_fd >= 0)
        (void)close(c->watch_fd);
    coordinator_store_close(&c->store);
    free(c->state);
    free(c);
}
