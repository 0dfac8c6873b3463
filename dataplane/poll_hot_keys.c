/* What an lcore is asked for most: one of a few operations is noted (hot_keys.h), and what stands out is
 * shown to control now and then. */
#include "dataplane/lcore.h"

void poll_key_note(struct lcore *l, const struct shard *s, const struct hot_keys_asked *key)
{
    struct hot_keys_asked asked = *key;
    asked.space = s->log.number >> NODE_LOG_SPACE_SHIFT;
    l->key_gap = hot_keys_gap(&l->hot_keys);
    hot_keys_note(&l->hot_keys, &asked);
    l->keys_noted = true;
}

void poll_keys_show(struct lcore *l)
{
    if (LIKELY(!l->keys_noted) || l->now - l->ticks_keys_shown < l->ticks.show)
        return;
    l->ticks_keys_shown = l->now;
    l->keys_noted = false;
    hot_keys_show(&l->hot_keys, &l->hot_keys_shown);
}

const struct hot_keys_shown *node_hot_keys(const struct node *n, uint32_t lcore)
{
    return n->lcores[lcore] != NULL ? &n->lcores[lcore]->hot_keys_shown : NULL;
}
