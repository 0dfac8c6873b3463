#include "control/coordinator_news.h"

#include "control/logline.h"
#include "control/ruling.h"

static uint32_t decided_count(const struct coordinator_state *known,
                              const struct coordinator_state *s)
{
    uint32_t decided = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct coordinator_shard *before =
            known != NULL ? coordinator_state_find(known, s->shards[i].log) : NULL;
        decided += before == NULL || s->shards[i].configuration.epoch > before->configuration.epoch;
    }
    return decided;
}

/* ---- nodes ---- */

static void standing_say(const struct coordinator_node *was, const struct coordinator_node *n)
{
    static const char *const events[] = {[COORDINATOR_MEMBER] = "node_back",
                                         [COORDINATOR_DRAINING] = "node_draining",
                                         [COORDINATOR_LEAVING] = "node_leaving"};
    if (was->standing != n->standing)
        log_event(LOG_INFO, events[n->standing], LOG_NUMBER("id", n->id));
}

static void nodes_say(const struct coordinator_state *known, const struct coordinator_state *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        const struct coordinator_node *was = coordinator_state_node(known, n->id);
        if (was == NULL)
            log_event(LOG_INFO, "node_added", LOG_NUMBER("id", n->id), LOG_TEXT("zone", n->zone),
                      LOG_NUMBER("weight", n->weight));
        else
            standing_say(was, n);
    }
    for (uint32_t i = 0; i < known->node_count; i++)
        if (coordinator_state_node(s, known->nodes[i].id) == NULL)
            log_event(LOG_INFO, "node_removed", LOG_NUMBER("id", known->nodes[i].id));
}

/* Whether others vote, whatever incarnations they are. */
static bool others_vote(const struct configuration *was, const struct configuration *c)
{
    for (uint32_t i = 0; i < c->voter_count && was->voter_count == c->voter_count; i++)
        if (was->voters[i].node != c->voters[i].node)
            return true;
    return was->voter_count != c->voter_count;
}

static uint64_t learners_of(const struct coordinator_state *s)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        count += s->shards[i].configuration.learner_count;
    return count;
}

static void members_say(const struct coordinator_state *known, const struct coordinator_state *s)
{
    uint32_t changed = 0;
    uint64_t votes = 0, learns = learners_of(s);
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct coordinator_shard *was = coordinator_state_find(known, s->shards[i].log);
        changed += was != NULL && others_vote(&was->configuration, &s->shards[i].configuration);
        votes += s->shards[i].configuration.voter_count;
    }
    if (changed != 0)
        log_event(LOG_INFO, "voters_changed", LOG_NUMBER("shards", changed));
    if (learns != learners_of(known))
        log_event(LOG_INFO, "learners", LOG_NUMBER("votes", votes), LOG_NUMBER("learns", learns));
}

/* ---- epochs ---- */

void coordinator_news_say(const struct coordinator_state *known, const struct coordinator_state *s)
{
    struct coordinator_counts before = {0}, now;
    uint32_t decided = decided_count(known, s);
    if (known != NULL)
        coordinator_state_counts(known, &before);
    coordinator_state_counts(s, &now);
    if (decided != 0)
        log_event(LOG_INFO, "epochs_decided", LOG_NUMBER("shards", decided),
                  LOG_NUMBER("pending", now.pending), LOG_NUMBER("revision", s->revision));
    if (now.pending == 0 && before.pending != 0)
        log_event(LOG_INFO, "epochs_active", LOG_NUMBER("shards", now.shards));
    if (now.moving != 0 && before.moving == 0)
        log_event(LOG_INFO, "move_begun", LOG_NUMBER("shards", now.moving));
    if (now.moving == 0 && before.moving != 0)
        log_event(LOG_INFO, "move_done", LOG_NUMBER("shards", before.moving));
    if (known == NULL)
        return;
    nodes_say(known, s);
    members_say(known, s);
}

static const char *help_of(uint32_t lost, uint32_t gone, bool reopens)
{
    if (gone < lost)
        return "most nodes that held it were restarted and hold nothing; it does not come back; to "
               "give "
               "up what is left, restart the others too, with cluster: lost: reopen";
    return reopens
               ? "every node that held it was restarted; it is begun again, empty"
               : "every node that held it was restarted: nobody holds it, it does not come back; "
                 "to begin again, empty, restart a node with cluster: lost: reopen";
}

static void space_say(const struct coordinator_news *news, const struct node_space *space,
                      bool reopens)
{
    uint32_t id = space->config.id;
    log_event(LOG_ERROR, "space_lost", LOG_TEXT("space", space->config.name),
              LOG_NUMBER("lost", news->lost[id]), LOG_NUMBER("gone", news->gone[id]),
              LOG_NUMBER("shards", space->config.shard_count),
              LOG_TEXT("help", help_of(news->lost[id], news->gone[id], reopens)));
}

void coordinator_news_lost(struct coordinator_news *said, const struct coordinator_state *s,
                           const struct node *n, bool reopens)
{
    struct coordinator_news now = {{0}, {0}};
    for (uint32_t i = 0; i < s->shard_count; i++) {
        uint32_t id = s->shards[i].log >> NODE_LOG_SPACE_SHIFT;
        now.lost[id] += ruling_is_lost(&s->shards[i].configuration);
        now.gone[id] += ruling_is_gone(&s->shards[i].configuration);
    }
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (n->spaces[id] != NULL &&
            (now.lost[id] > said->lost[id] || now.gone[id] > said->gone[id]))
            space_say(&now, n->spaces[id], reopens);
    *said = now;
}
