/* What `dunlin nodes --json` says.  See fleet_chaos.h. */
#include "bench/fleet_chaos.h"

#include <jansson.h>

static bool number_read(const json_t *object, const char *name, json_int_t *value)
{
    const json_t *found = json_object_get(object, name);
    *value = json_integer_value(found);
    return json_is_integer(found) && *value >= 0 && *value <= UINT32_MAX;
}

static bool node_read(const json_t *node, struct fleet_chaos_view *v)
{
    const json_t *up = json_object_get(node, "up");
    json_int_t id, votes, leads;
    if (!number_read(node, "id", &id) || !number_read(node, "votes", &votes) ||
        !number_read(node, "leads", &leads) || !json_is_boolean(up) || id == 0 ||
        id > FLEET_NODES_MAX)
        return false;
    const uint32_t at = (uint32_t)id - 1;
    v->listed_mask |= 1u << at;
    v->up_mask |= json_is_true(up) ? 1u << at : 0;
    v->votes[at] = (uint32_t)votes;
    v->leads[at] = (uint32_t)leads;
    return true;
}

static bool all_read(const json_t *all, struct fleet_chaos_view *v)
{
    const json_t *redundancy = json_object_get(all, "redundancy");
    const json_t *node;
    json_int_t self, shards, pending, moving, lost, below, changing;
    size_t i;
    if (!number_read(all, "node", &self) || !number_read(all, "shards", &shards) ||
        !number_read(all, "pending", &pending) || !number_read(all, "moving", &moving) ||
        !number_read(all, "lost", &lost) || !number_read(redundancy, "below", &below) ||
        !number_read(redundancy, "changing", &changing) || self == 0 || self > FLEET_NODES_MAX)
        return false;
    v->self = (uint32_t)self - 1;
    v->is_whole = shards != 0 && pending + moving + lost + below + changing == 0;
    json_array_foreach(json_object_get(all, "nodes"), i, node)
    {
        if (!node_read(node, v))
            return false;
    }
    return v->listed_mask != 0;
}

int fleet_chaos_view_parse(const char *text, struct fleet_chaos_view *v)
{
    json_t *all = json_loads(text, 0, NULL);
    *v = (struct fleet_chaos_view){0};
    const bool is_read = all != NULL && all_read(all, v);
    json_decref(all);
    return is_read ? 0 : -EBADMSG;
}
