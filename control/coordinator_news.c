#include "control/coordinator_news.h"

#include "control/logline.h"
#include "control/ruling.h"

static uint32_t decided_count(const struct coordinator_state *known,
                              const struct coordinator_state *s)
{
    uint32_t decided = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        decided += known == NULL || known->shard_count == 0 ||
                   s->shards[i].configuration.epoch > known->shards[i].configuration.epoch;
    return decided;
}

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
