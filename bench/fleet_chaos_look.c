/* What the nodes of the cluster say, each asked.  See fleet_chaos.h. */
#include "bench/fleet_chaos.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TEXT_BYTES (1u << 20)

int fleet_chaos_pid(const struct fleet *f, uint32_t node)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {.pid = 0};
    socklen_t length = sizeof peer;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", f->options.sockets[node]);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        peer.pid = 0;
    (void)close(fd);
    return peer.pid;
}

static bool is_whole_at(const struct fleet *f, const struct fleet_nodes *nodes, uint32_t node,
                        struct fleet_chaos_view *v)
{
    char *text = malloc(TEXT_BYTES);
    /* Why looked at first: a call to a node that is not there would wait for it. */
    bool is_there = text != NULL && nodes->handles[node] != NULL && fleet_chaos_pid(f, node) != 0;
    int64_t length = is_there ? dunlin_nodes_json(nodes->handles[node], text, TEXT_BYTES) : -1;
    bool is_whole = length > 0 && fleet_chaos_view_parse(text, v) == 0 && v->is_whole &&
                    v->up_mask == v->listed_mask;
    free(text);
    return is_whole;
}

bool fleet_chaos_look(const struct fleet *f, const struct fleet_nodes *nodes,
                      struct fleet_chaos_view *v)
{
    const uint32_t members = fleet_members(f); /* M2 */
    *v = (struct fleet_chaos_view){0};
    bool is_whole = is_whole_at(f, nodes, 0, v);
    for (uint32_t i = 1; i < f->node_count; i++) {
        struct fleet_chaos_view at = {0};
        if ((members & 1u << i) == 0)
            continue;
        is_whole = is_whole && is_whole_at(f, nodes, i, &at);
        v->leads[i] = at.leads[i];
    }
    return is_whole && v->listed_mask == members;
}
