#include "control/shards.h"

#include "dataplane/cluster.h"
#include "engine/rcu.h"

#include <jansson.h>
#include <string.h>

/* relaxed: numbers for people; nothing is concluded from their order. */
#define READ(word) atomic_load_explicit(&(word), memory_order_relaxed)

static const char *state_name(enum server_shard_state state)
{
    static const char *const names[] = {
        [SERVER_SHARD_ACTIVE] = "active",
        [SERVER_SHARD_PENDING] = "pending",
        [SERVER_SHARD_MOVING] = "moving",
        [SERVER_SHARD_LOST] = "lost",
    };
    return names[state];
}

static json_t *lsn(uint64_t value)
{
    return json_sprintf("%llu", (unsigned long long)value);
}

static json_t *ids(const uint32_t *nodes, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)nodes[i]));
    return list;
}

static json_t *lag_json(const struct server_shard *told)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < told->peer_count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:I, s:I}", "node", (json_int_t)told->peers[i].node, "bytes",
                            (json_int_t)min_u64(told->peers[i].missing, INT64_MAX)));
    return list;
}

/* What the node knows without being told: it is alone, or of a cluster in one process. */
static struct server_shard shard_untold(const struct node *n, const struct layout_board *board)
{
    struct configuration c;
    const struct node_cluster *cluster = n->cluster;
    if (cluster == NULL)
        return (struct server_shard){
            .leader = n->config.id, .epoch = READ(board->epoch), .state = SERVER_SHARD_ACTIVE};
    qsbr_online(); /* Why: decisions are freed after a grace period. */
    bool known = cluster->configuration(cluster->context, board->log, 0, &c);
    qsbr_offline();
    if (!known)
        return (struct server_shard){.state = SERVER_SHARD_PENDING};
    /* Why by the board: what is decided says not whether its leader has begun. */
    bool has_begun = READ(board->epoch) == c.epoch;
    return (struct server_shard){.leader = c.leader.node,
                                 .epoch = c.epoch,
                                 .state = has_begun ? SERVER_SHARD_ACTIVE : SERVER_SHARD_PENDING};
}

static json_t *shard_json(const struct node *n, const struct node_space *s, uint32_t shard,
                          const struct server_shard *told)
{
    const struct layout_board *board = &s->boards[shard];
    /* committed first: the end that is read later is not below it */
    uint64_t committed = READ(board->lsn_committed);
    uint64_t end = max_u64(READ(board->lsn_end), committed);
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:I, s:I}", "space",
        s->config.name, "shard", (json_int_t)shard, "lcore", (json_int_t)board->lcore, "log",
        (json_int_t)board->log, "leader", (json_int_t)told->leader, "epoch",
        (json_int_t)told->epoch, "role", told->leader == n->config.id ? "leader" : "follower",
        "state", state_name(told->state), "lsn_start", lsn(s->lsn_start), "lsn_committed",
        lsn(committed), "lsn_end", lsn(end), "keys", (json_int_t)READ(board->key_count),
        "live_bytes", (json_int_t)READ(board->live_bytes));
    bool whole = o != NULL;
    if (whole && told->peer_count != 0)
        whole = json_object_set_new(o, "lag", lag_json(told)) == 0;
    if (whole && told->voter_count != 0)
        whole = json_object_set_new(o, "voters", ids(told->voters, told->voter_count)) == 0 &&
                json_object_set_new(o, "learners", ids(told->learners, told->learner_count)) == 0;
    if (whole)
        return o;
    json_decref(o);
    return NULL;
}

/* numbers: shards so far, by lcore.  False: no memory. */
static bool space_add(json_t *list, const struct node *n, const struct node_space *s,
                      const struct server_admin *admin, uint32_t *numbers)
{
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        const struct layout_board *board = &s->boards[i];
        const struct server_shard_asked asked = {
            .log = board->log, .lcore = board->lcore, .number = numbers[board->lcore]++};
        struct server_shard told = shard_untold(n, board);
        if (admin != NULL)
            admin->shard(admin->context, &asked, &told);
        if (json_array_append_new(list, shard_json(n, s, i, &told)) != 0)
            return false;
    }
    return true;
}

char *shards_json(const struct node *n, const struct server_admin *admin)
{
    uint32_t numbers[LIMIT_LCORES] = {0};
    json_t *list = json_array();
    bool whole = list != NULL;
    for (uint32_t id = 1; id <= LIMIT_SPACES && whole; id++)
        whole = n->spaces[id] == NULL || space_add(list, n, n->spaces[id], admin, numbers);
    json_t *all = json_pack("{s:I, s:o}", "node", (json_int_t)n->config.id, "shards", list);
    char *text = whole ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}
