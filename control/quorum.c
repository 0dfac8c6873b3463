#include "control/quorum.h"

#include <string.h>

struct ids {
    uint32_t count;
    uint32_t list[LIMIT_VOTERS];
};

static struct ids wanted_of(const struct coordinator_state *s, uint32_t log, const struct ids *of)
{
    struct ids wanted;
    const struct coordinator_some some = {.ids = of->list, .count = of->count};
    wanted.count = coordinator_members_wanted(s, log, &some, wanted.list);
    return wanted;
}

static bool are_mostly_up(const struct ids *voters, const struct ids *up)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < voters->count; i++)
        count += coordinator_ids_name(voters->list[i], up->list, up->count) ? 1 : 0;
    /* Why nobody is enough of nobody: the log refuses that, by another name. */
    return voters->count == 0 || count >= majority_of(voters->count);
}

bool quorum_stays_without(const struct coordinator_state *s, uint32_t node,
                          const struct coordinator_some *up)
{
    struct ids alive = {.count = up->count}, all = {.count = 0}, rest = {.count = 0};
    ASSERT(up->count != 0 && up->count <= LIMIT_VOTERS);
    memcpy(alive.list, up->ids, up->count * sizeof up->ids[0]);
    for (uint32_t i = 0; i < s->node_count; i++) {
        all.list[all.count++] = s->nodes[i].id;
        if (s->nodes[i].id != node)
            rest.list[rest.count++] = s->nodes[i].id;
    }
    /* Why the second: an empty list means all. */
    if (!coordinator_ids_name(node, alive.list, alive.count) || rest.count == 0)
        return true;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct ids now = wanted_of(s, s->shards[i].log, &all);
        const struct ids then = wanted_of(s, s->shards[i].log, &rest);
        if (coordinator_ids_name(node, now.list, now.count) && !are_mostly_up(&then, &alive))
            return false;
    }
    return true;
}
