#include "control/server.h"

#include "control/connection.h"
#include "control/logline.h"
#include "engine/bucket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS 50u

/* Connections of one uid at a time, so that a stranger who opens them all meets an end. */
static uint32_t count_of_uid(const struct server *s, uint32_t uid)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->connection_count; i++)
        count += s->connections[i]->uid == uid ? 1 : 0;
    return count;
}

static bool may_connect(const struct server *s, uint32_t uid)
{
    if (s->connection_count >= SERVER_CONNECTIONS)
        return false;
    return server_trusts(s, uid) || count_of_uid(s, uid) < SERVER_CONNECTIONS_PER_UID;
}

/* A whole fleet at once, then what a fleet in trouble needs; a loop of attach and detach by one
 * user then costs control a few per cent. */
static const struct bucket_rate visitor_rate = {.interval = 5 * NS_PER_MS,
                                                .burst = LIMIT_AGENTS_PER_UID};

static struct visitor *visitor_of(struct server *s, uint32_t uid)
{
    struct visitor *quietest = &s->visitors[0];
    for (uint32_t i = 0; i < SERVER_VISITORS; i++) {
        struct visitor *v = &s->visitors[i];
        if (v->bucket != 0 && v->uid == uid)
            return v;
        if (v->bucket < quietest->bucket)
            quietest = v;
    }
    *quietest = (struct visitor){.uid = uid};
    return quietest;
}

bool server_admits(struct server *s, uint32_t uid, uint64_t now_ns)
{
    return server_trusts(s, uid) || bucket_take(&visitor_of(s, uid)->bucket, &visitor_rate, now_ns);
}

/* ---- the clock of waiting ---- */

static void listen_resume(struct server *s);

static void on_tick(uv_timer_t *timer)
{
    struct server *s = timer->data;
    uint64_t now = clock_boottime_ns();
    bool waiting = false;
    /* Backwards: closing one moves the last into its place. */
    for (uint32_t i = s->connection_count; i-- > 0;)
        waiting = connection_tick(s->connections[i], now) || waiting;
    if (s->paused && now >= s->paused_until_ns)
        listen_resume(s);
    if (!waiting && !s->paused)
        (void)uv_timer_stop(timer);
}

void server_tick_start(struct server *s)
{
    if (!s->stopping && !uv_is_active((uv_handle_t *)&s->tick))
        (void)uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- accepting ---- */

/* Why a pause: the listening socket stays readable, and the loop would spin on an accept that
 * cannot succeed.  Peers wait in the backlog meanwhile. */
static void listen_pause(struct server *s, int error)
{
    (void)uv_poll_stop(&s->listen);
    s->paused = true;
    s->paused_until_ns = clock_boottime_ns() + SERVER_PAUSE_NS;
    server_tick_start(s);
    if (s->accept_error != error)
        log_event(LOG_WARN, "accept_failed", LOG_ERRNO(error),
                  LOG_TEXT("node", s->node->config.name));
    s->accept_error = error;
}

/* Why gone: errors that belong to the one connection that was waiting (accept(2)). */
static bool error_is_of_peer(int error)
{
    return error == ECONNABORTED || error == EPROTO || error == EPERM || error == EINTR;
}

/* Returns false when there is no more to accept now. */
static bool accept_one(struct server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (fd < 0 && error_is_of_peer(errno))
        return true;
    if (fd < 0) {
        listen_pause(s, -errno);
        return false;
    }
    s->counts.accepted++;
    s->accept_error = 0;
    struct ucred peer;
    socklen_t length = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || !may_connect(s, peer.uid) ||
        connection_open(s, fd, peer.uid, peer.pid) != 0) {
        s->counts.refused_connections++;
        (void)close(fd);
    }
    return true;
}

static void on_listen(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct server *s = handle->data;
    if (status < 0) {
        listen_pause(s, status);
        return;
    }
    for (uint32_t i = 0; i < SERVER_ACCEPTS_PER_TURN && accept_one(s); i++)
        continue;
}

static void listen_resume(struct server *s)
{
    int error = uv_poll_start(&s->listen, UV_READABLE, on_listen);
    s->paused = error != 0;
    if (error != 0)
        s->paused_until_ns = clock_boottime_ns() + SERVER_PAUSE_NS;
}

/* ---- the server as a whole ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    s->handles_open--;
}

static void on_waker_closed(uv_handle_t *handle)
{
    struct waker *w = handle->data;
    struct server *s = (struct server *)(void *)((uint8_t *)w - offsetof(struct server, waker));
    s->handles_open--;
}

static void handles_close(struct server *s)
{
    uv_close((uv_handle_t *)&s->listen, on_handle_closed);
    uv_close((uv_handle_t *)&s->tick, on_handle_closed);
    uv_close((uv_handle_t *)&s->waker.timer, on_waker_closed);
}

int server_open(struct server **server, uv_loop_t *loop, struct node *node, int listen_fd,
                uint32_t own_uid)
{
    struct server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->node = node;
    s->loop = loop;
    s->listen_fd = listen_fd;
    s->own_uid = own_uid;
    s->started_boottime_ns = clock_boottime_ns();
    int error = uv_poll_init(loop, &s->listen, listen_fd);
    if (error != 0) {
        free(s);
        return error;
    }
    (void)uv_timer_init(loop, &s->tick); /* cannot fail: it only fills the struct */
    waker_init(&s->waker, loop, node);
    s->listen.data = s;
    s->tick.data = s;
    s->handles_open = 3;
    error = uv_poll_start(&s->listen, UV_READABLE, on_listen);
    if (error != 0) {
        server_stop(s);
        (void)uv_run(loop, UV_RUN_NOWAIT);
        server_free(s);
        return error;
    }
    *server = s;
    return 0;
}

void server_set_admin(struct server *s, const struct server_admin *admin)
{
    s->admin = admin;
}

void server_set_spaces(struct server *s, const struct server_spaces *spaces)
{
    s->spaces = spaces;
}

void server_set_reload(struct server *s, const struct server_reload *reload)
{
    s->reload = reload;
}

void server_detach_faulty(struct server *s)
{
    for (uint32_t i = s->connection_count; i-- > 0;) {
        struct connection *c = s->connections[i];
        /* acquire: comes after the mapping that the guard put there */
        uint32_t fault = c->agent == NULL
                             ? AGENT_FAULT_NONE
                             : atomic_load_explicit(&c->agent->fault, memory_order_acquire);
        if (fault == AGENT_FAULT_NONE)
            continue;
        s->counts.faults++;
        connection_close(c, fault == AGENT_FAULT_MEMORY ? "fault_memory" : "fault_ring");
    }
}

void server_stop(struct server *s)
{
    s->stopping = true;
    while (s->connection_count > 0)
        connection_close(s->connections[s->connection_count - 1], "shutdown");
    handles_close(s);
}

void server_free(struct server *s)
{
    ASSERT(s->handles_open == 0);
    free(s->status.text);
    free(s->nodes.text);
    free(s->shards.text);
    free(s->status_trusted.text);
    free(s);
}

void server_counts(const struct server *s, struct status_server *counts)
{
    *counts = s->counts;
    counts->connections = s->connection_count;
    counts->connections_limit = SERVER_CONNECTIONS;
}
