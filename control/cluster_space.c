#include "control/cluster_space.h"

#include "control/logline.h"
#include "control/space_keeper.h"
#include "control/space_words.h"
#include "dataplane/node_change.h"
#include "engine/clock.h"

#include <string.h>
#include <unistd.h>

static const struct space_list *list_of(const struct cluster_space *c)
{
    return &coordinator_known(c->coordinator)->list;
}

static uint64_t made_here(const struct cluster_space *c)
{
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].id == c->coordinator->self.node)
            return s->nodes[i].made;
    return 0;
}

/* No log of this node lies above it. */
static uint64_t lsn_highest(const struct node *n)
{
    /* relaxed: control alone writes it */
    uint64_t highest = atomic_load_explicit(&n->lsn_ceiling, memory_order_relaxed);
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = n->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++)
            /* relaxed: a number that only grows, and may grow on */
            highest =
                max_u64(highest, atomic_load_explicit(&s->boards[i].lsn_end, memory_order_relaxed));
    }
    return min_u64(highest + NODE_LSN_GRANT, INT64_MAX);
}

/* ---- what administrators ask for ---- */

static int answer(const struct cluster_space *c, int64_t result, uint32_t id)
{
    /* Why: the next step carries it out. */
    c->node->wake_control(c->node->wake_context);
    return result < 0 ? (int)result : (int)id;
}

static int create(void *context, const struct space_config *config)
{
    const struct cluster_space *c = context;
    const struct coordinator_space_asked asked = {
        .kind = COORDINATOR_SPACE_CREATE,
        .config = config,
        .clock_ns = clock_realtime_ns(),
        .taken = c->taken,
    };
    if (space_list_find(list_of(c), config->name) == NULL) {
        const struct node_space *s = node_space_find(c->node, config->name);
        if (s != NULL && c->here[s->config.id].made == 0)
            return -EEXIST; /* the configuration's */
    }
    int64_t id = coordinator_space(c->coordinator, &asked);
    return answer(c, id, (uint32_t)id);
}

static int alter(void *context, const char *name, const char *words)
{
    const struct cluster_space *c = context;
    char fault[SPACE_WORDS_FAULT_BYTES];
    struct space_config config;
    int error = space_keeper_policy(list_of(c), c->node, name, &config);
    if (error == 0)
        error = space_words_apply(&config, words, SPACE_WORDS_ALTER, fault);
    if (error != 0)
        return error;
    const struct coordinator_space_asked asked = {.kind = COORDINATOR_SPACE_ALTER,
                                                  .config = &config};
    return answer(c, coordinator_space(c->coordinator, &asked), config.id);
}

static int drop(void *context, const char *name)
{
    const struct cluster_space *c = context;
    struct space_config config;
    int error = space_keeper_policy(list_of(c), c->node, name, &config);
    if (error != 0)
        return error;
    const struct coordinator_space_asked asked = {
        .kind = COORDINATOR_SPACE_DROP, .config = &config, .lsn_floor = lsn_highest(c->node)};
    return answer(c, coordinator_space(c->coordinator, &asked), config.id);
}

/* ---- carrying it out ---- */

static void say(const struct cluster_space *c, const char *event, const struct space_config *config)
{
    log_event(LOG_INFO, event, LOG_TEXT("space", config->name), LOG_NUMBER("id", config->id),
              LOG_TEXT("node", c->node->config.name));
}

static int failed(struct cluster_space *c, const struct space_entry *e, int error)
{
    if (c->failed != e->number)
        log_event(LOG_ERROR, "space_failed", LOG_TEXT("space", e->config.name), LOG_ERRNO(error),
                  LOG_TEXT("node", c->node->config.name));
    c->failed = e->number;
    return error;
}

/* False: a transport has something of it still. */
static bool drop_step(const struct cluster_space *c)
{
    if (c->node->dropped == NULL)
        return true;
    const struct space_config config = c->node->dropped->config;
    if (!node_space_drop_step(c->node))
        return false;
    say(c, "space_dropped", &config);
    return true;
}

/* Those that are not listed any more, or are others of their ids, one after the other. */
static void drop_gone(struct cluster_space *c, const struct space_list *list)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES && drop_step(c); id++) {
        const struct space_entry *e = space_list_at(list, id);
        bool listed = e != NULL && e->state != SPACE_DROPPING && e->made == c->here[id].made;
        if (c->here[id].made == 0 || listed)
            continue;
        node_space_drop_begin(c->node, c->node->spaces[id], c->own_uid);
        c->here[id].made = 0;
    }
    (void)drop_step(c); /* of the last one; else in the next step */
}

/* Of this id, not this one: it is to go first. */
static bool another_is_here(const struct cluster_space *c, const struct space_entry *e)
{
    uint64_t made = c->here[e->config.id].made;
    const struct node_space *dropped = c->node->dropped;
    return (made != 0 && made != e->made) ||
           (dropped != NULL && dropped->config.id == e->config.id);
}

/* One that is listed. */
static int entry_carry(struct cluster_space *c, const struct space_entry *e)
{
    uint32_t id = e->config.id;
    if (another_is_here(c, e))
        return -EBUSY; /* no failure: the next step tries again */
    if (c->here[id].made == 0) {
        int error = node_space_add_online(c->node, &e->config, e->lsn_start, c->own_uid);
        if (error != 0)
            return failed(c, e, error);
        say(c, "space_made", &e->config);
    } else if (c->here[id].number != e->number) {
        node_space_alter(c->node, c->node->spaces[id], &e->config, c->own_uid);
        say(c, "space_altered", &e->config);
    }
    c->here[id].made = e->made;
    c->here[id].number = e->number;
    return 0;
}

static void made_tell(const struct cluster_space *c, const struct space_list *list)
{
    const struct coordinator_space_asked asked = {
        .kind = COORDINATOR_SPACE_MADE,
        .member = c->coordinator->self,
        .number = list->number,
        .lsn_floor = lsn_highest(c->node),
    };
    /* Why the result does not matter: the next step tells it again. */
    if (made_here(c) < list->number)
        (void)!coordinator_space(c->coordinator, &asked);
}

static void serve(const struct cluster_space *c, const uint32_t *up, uint32_t up_count)
{
    struct coordinator_space_asked asked = {.kind = COORDINATOR_SPACE_SERVE, .up_count = up_count};
    memcpy(asked.up, up, up_count * sizeof up[0]);
    if (coordinator_space_due(coordinator_known(c->coordinator), up, up_count) == 0)
        return;
    int64_t served = coordinator_space(c->coordinator, &asked);
    if (served > 0)
        log_event(LOG_INFO, "spaces_served", LOG_NUMBER("count", served),
                  LOG_TEXT("node", c->node->config.name));
}

void cluster_space_step(struct cluster_space *c, const uint32_t *up, uint32_t up_count)
{
    const struct space_list *list = list_of(c);
    int error = 0;
    drop_gone(c, list);
    for (uint32_t i = 0; i < list->count && error == 0; i++)
        if (list->entries[i].state != SPACE_DROPPING)
            error = entry_carry(c, &list->entries[i]);
    if (error == 0)
        made_tell(c, list); /* and the list may be another one from here on */
    serve(c, up, up_count);
}

/* ---- open and join ---- */

void cluster_space_init(struct cluster_space *c, const struct config *config)
{
    *c = (struct cluster_space){.own_uid = (uint32_t)geteuid()};
    c->admin = (struct server_spaces){.create = create, .alter = alter, .drop = drop, .context = c};
    for (uint32_t i = 0; i < config->space_count; i++)
        c->taken |= UINT64_C(1) << (config->spaces[i].id - 1);
}

int cluster_space_join(struct cluster_space *c, struct node *node, struct coordinator *coordinator)
{
    c->node = node;
    c->coordinator = coordinator;
    const struct space_list *list = list_of(c);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct space_entry *e = &list->entries[i];
        if (e->state != SPACE_SERVING)
            continue;
        int error = node_space_add_at(node, &e->config, e->lsn_start);
        if (error != 0)
            return failed(c, e, error);
        c->here[e->config.id].made = e->made;
        c->here[e->config.id].number = e->number;
    }
    return 0;
}
