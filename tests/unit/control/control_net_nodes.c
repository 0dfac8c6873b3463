#include "tests/unit/control/control_net_nodes.h"

#include "control/authority_make.h"

#include <CUnit/CUnit.h>
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S INT64_C(86400)
#define NUMBERED 7u /* type of the messages that net_send makes */
#define MESSAGE_BYTES_MAX 4096u
#define PATIENCE_MS 60000u
#define TICK_MS 5u

const char *net_path(const struct net_nodes *t, const char *name, uint32_t id)
{
    static char paths[8][128];
    static uint32_t next;
    char *path = paths[next++ % 8];
    int length = snprintf(path, sizeof(paths[0]), "%s/", t->directory);
    if (id == 0)
        (void)snprintf(path + length, sizeof(paths[0]) - (size_t)length, "%s", name);
    else
        (void)snprintf(path + length, sizeof(paths[0]) - (size_t)length, "node-%u.%s", id, name);
    return path;
}

/* ---- the files ---- */

static void nodes_init(struct net_nodes *t)
{
    (void)signal(SIGPIPE, SIG_IGN);
    for (uint32_t id = 0; id <= NET_NODES; id++) {
        struct sockaddr_in *in = (struct sockaddr_in *)&t->nodes[id].address;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        t->nodes[id].id = id;
    }
    int error = uv_loop_init(&t->loop);
    ASSERT(error == 0);
}

void net_nodes_join(struct net_nodes *t, const char *directory)
{
    memset(t, 0, sizeof(*t));
    (void)snprintf(t->directory, sizeof(t->directory), "%s", directory);
    nodes_init(t);
}

void net_nodes_init(struct net_nodes *t)
{
    struct authority_made made;
    memset(t, 0, sizeof(*t));
    (void)snprintf(t->directory, sizeof(t->directory), "/tmp/dunlin-net-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(t->directory));
    const struct authority_create create = {.directory = t->directory, .cluster = "flock"};
    CU_ASSERT_EQUAL_FATAL(authority_create(&create, &made, stderr), 0);
    for (uint32_t id = 1; id <= NET_CERTIFICATES; id++) {
        const struct authority_issue issue = {
            .directory = t->directory, .node = id, .validity_s = id == 5 ? -60 : 90 * DAY_S};
        CU_ASSERT_EQUAL_FATAL(authority_issue(&issue, &made, stderr), 0);
    }
    nodes_init(t);
}

static void directory_remove(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        (void)closedir(directory);
    (void)rmdir(path);
}

void net_nodes_fini(struct net_nodes *t)
{
    for (uint32_t id = 1; id <= NET_NODES; id++)
        if (t->nodes[id].net != NULL)
            net_close(t, id);
    (void)uv_run(&t->loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(uv_loop_close(&t->loop), 0);
    directory_remove(t->directory);
}

/* ---- the nodes ---- */

static size_t message_fill(uint8_t bytes[MESSAGE_BYTES_MAX], uint64_t number)
{
    size_t length = sizeof(number) + number * 131 % (MESSAGE_BYTES_MAX - sizeof(number));
    memcpy(bytes, &number, sizeof(number));
    for (size_t i = sizeof(number); i < length; i++)
        bytes[i] = (uint8_t)(number + i);
    return length;
}

static void numbered_take(struct net_node *n, uint32_t peer, const uint8_t *bytes, size_t length)
{
    uint8_t wanted[MESSAGE_BYTES_MAX];
    uint64_t number = 0;
    if (length >= sizeof(number))
        memcpy(&number, bytes, sizeof(number));
    n->disordered += number != n->received[peer];
    if (length != message_fill(wanted, number) || memcmp(bytes, wanted, length) != 0)
        n->damaged++;
}

static void on_received(void *context, uint32_t peer, uint8_t type, const uint8_t *bytes,
                        size_t length)
{
    struct net_node *n = context;
    ASSERT(peer <= NET_CERTIFICATES && type != 0);
    if (type == NUMBERED)
        numbered_take(n, peer, bytes, length);
    n->received[peer]++;
    n->received_bytes[peer] += length;
    if (n->echo_type != 0 && type == n->echo_type) {
        const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
        (void)!control_net_send(n->net, peer, (uint8_t)(type + 1), &piece, 1, NULL);
    }
}

static void on_link(void *context, uint32_t peer, bool up)
{
    struct net_node *n = context;
    ASSERT(peer <= NET_CERTIFICATES);
    ASSERT(n->ups[peer] - n->downs[peer] == (up ? 0 : 1)); /* in turn, and up first */
    n->ups[peer] += up;
    n->downs[peer] += !up;
    if (up)
        n->received[peer] = 0;
}

static void on_refused(void *context, uint32_t peer)
{
    struct net_node *n = context;
    ASSERT(peer <= NET_CERTIFICATES);
    n->refused[peer]++;
}

struct control_net_config net_config(struct net_nodes *t, uint32_t id,
                                     struct control_net_peer peers[NET_NODES])
{
    uint32_t count = 0;
    for (uint32_t i = 1; i <= NET_NODES; i++)
        if (i != t->hidden || i == id)
            peers[count++] = (struct control_net_peer){.node = i, .address = t->nodes[i].address};
    return (struct control_net_config){.loop = &t->loop,
                                       .self = id,
                                       .cluster = "flock",
                                       .listen = t->nodes[id].address,
                                       .peers = peers,
                                       .peer_count = count,
                                       .certificate_path = net_path(t, "crt", id),
                                       .key_path = net_path(t, "key", id),
                                       .authority_path = net_path(t, "authority.crt", 0),
                                       .received = on_received,
                                       .link = on_link,
                                       .refused = on_refused,
                                       .context = &t->nodes[id]};
}

void net_open(struct net_nodes *t, uint32_t id)
{
    struct control_net_peer peers[NET_NODES];
    struct control_net_config config = net_config(t, id, peers);
    struct net_node *n = &t->nodes[id];
    /* Why copies: net_path has few slots, and a net keeps the paths. */
    static char paths[NET_NODES + 1][3][128];
    const char **const given[] = {&config.certificate_path, &config.key_path,
                                  &config.authority_path};
    for (uint32_t i = 0; i < 3; i++) {
        (void)snprintf(paths[id][i], sizeof(paths[id][i]), "%s", *given[i]);
        *given[i] = paths[id][i];
    }
    int error = control_net_open(&n->net, &config, stderr);
    ASSERT(error == 0); /* not CUnit's: another process has no tests */
    control_net_address(n->net, &n->address);
}

/* Why from the highest: it listens before those who connect to it are told where. */
void net_open_all(struct net_nodes *t)
{
    for (uint32_t id = NET_NODES; id >= 1; id--)
        net_open(t, id);
    CU_ASSERT_FATAL(net_until(t, net_all_up));
}

static void on_closed(void *context)
{
    struct net_nodes *t = context;
    t->closing--;
}

static bool nothing_closes(struct net_nodes *t)
{
    return t->closing == 0;
}

void net_close(struct net_nodes *t, uint32_t id)
{
    t->closing++;
    control_net_close(t->nodes[id].net, on_closed, t);
    t->nodes[id].net = NULL;
    CU_ASSERT_FATAL(net_until(t, nothing_closes));
    memset(t->nodes[id].ups, 0, sizeof(t->nodes[id].ups));
    memset(t->nodes[id].downs, 0, sizeof(t->nodes[id].downs));
}

/* ---- time ---- */

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static void on_tick_closed(uv_handle_t *handle)
{
    bool *closed = handle->data;
    *closed = true;
}

/* Why a tick: another thread may make it so. */
bool net_until(struct net_nodes *t, bool (*is_so)(struct net_nodes *t))
{
    uv_timer_t tick;
    bool so, closed = false;
    uv_update_time(&t->loop);
    uint64_t end_ms = uv_now(&t->loop) + PATIENCE_MS;
    (void)uv_timer_init(&t->loop, &tick);
    tick.data = &closed;
    (void)uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
    while (!(so = is_so(t)) && uv_now(&t->loop) < end_ms)
        (void)uv_run(&t->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, on_tick_closed);
    while (!closed)
        (void)uv_run(&t->loop, UV_RUN_NOWAIT);
    return so;
}

void net_once(struct net_nodes *t)
{
    (void)uv_run(&t->loop, UV_RUN_ONCE);
}

bool net_all_up(struct net_nodes *t)
{
    for (uint32_t a = 1; a <= NET_NODES; a++)
        for (uint32_t b = 1; b <= NET_NODES; b++)
            if (a != b && t->nodes[a].net != NULL && t->nodes[b].net != NULL &&
                !control_net_is_up(t->nodes[a].net, b))
                return false;
    return true;
}

int net_send(struct net_nodes *t, uint32_t from, uint32_t to, uint64_t number)
{
    uint8_t bytes[MESSAGE_BYTES_MAX];
    size_t length = message_fill(bytes, number);
    size_t half = length / 2;
    const struct iovec pieces[] = {{.iov_base = bytes, .iov_len = half},
                                   {.iov_base = NULL, .iov_len = 0},
                                   {.iov_base = bytes + half, .iov_len = length - half}};
    return control_net_send(t->nodes[from].net, to, NUMBERED, pieces, 3, NULL);
}
