/* What the nodes say of themselves: their status, before and after the run.  See fleet.h. */
#include "bench/fleet.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_BYTES (4u << 20)

static uint64_t number_at(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static int take(const char *text, uint32_t node, struct fleet_nodes *sums)
{
    json_t *status = json_loads(text, 0, NULL);
    const json_t *counters = json_object_get(status, "counters");
    const json_t *space;
    size_t i;
    if (counters == NULL) {
        json_decref(status);
        return -EPROTO;
    }
    sums->stopped += number_at(counters, "shards_stopped");
    if (node == 0)
        sums->activations = number_at(counters, "activations");
    json_array_foreach(json_object_get(status, "spaces"), i, space)
    {
        sums->shards += node == 0 ? number_at(space, "shards") : 0;
        sums->log_bytes[node] +=
            number_at(space, "log_bytes") - number_at(space, "uncommitted_bytes");
    }
    json_decref(status);
    return 0;
}

int fleet_nodes_look(const struct fleet *f, struct fleet_nodes *nodes)
{
    struct fleet_nodes sums = {0};
    char *text = malloc(STATUS_BYTES);
    int error = text != NULL ? 0 : -ENOMEM;
    for (uint32_t node = 0; error == 0 && node < f->node_count; node++) {
        if ((nodes->away_mask & 1u << node) != 0 || !fleet_is_member(f, node))
            continue;
        int64_t length = dunlin_status_json(nodes->handles[node], text, STATUS_BYTES);
        error = length < 0 ? (int)length : take(text, node, &sums);
    }
    free(text);
    if (error != 0)
        return error;
    nodes->shards = sums.shards;
    nodes->stopped = sums.stopped;
    memcpy(nodes->log_bytes, sums.log_bytes, sizeof(nodes->log_bytes));
    nodes->activations = sums.activations - nodes->activations_before;
    if (sums.stopped != 0 && !nodes->told)
        (void)fprintf(stderr,
                      "violation: %" PRIu64 " shards stopped at their nodes: what was committed "
                      "there is not in the log of a later leader\n",
                      sums.stopped);
    nodes->told = sums.stopped != 0;
    return 0;
}

int fleet_nodes_open(const struct fleet *f, struct fleet_nodes *nodes)
{
    for (uint32_t node = 0; node < f->first_count; node++) {
        const struct dunlin_options options = {.socket = f->options.sockets[node],
                                               .flags = DUNLIN_OPEN_WAIT};
        int error = dunlin_open(&options, &nodes->handles[node]);
        if (error != 0)
            return error;
    }
    int error = fleet_nodes_look(f, nodes);
    nodes->activations_before = nodes->activations;
    nodes->activations = 0;
    return error;
}

void fleet_nodes_close(struct fleet_nodes *nodes)
{
    for (uint32_t node = 0; node < FLEET_NODES_MAX; node++) {
        dunlin_close(nodes->handles[node]);
        nodes->handles[node] = NULL;
    }
}
