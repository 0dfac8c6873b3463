#include "control/connection.h"

#include "control/attach_validate.h"
#include "control/logline.h"
#include "engine/bucket.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Faster than any library asks: a large space's chunks, one request each. */
static const struct bucket_rate request_rate = {.interval = NS_PER_MS, .burst = 512};

/* Room for a few answers: each may hold descriptors, which count against the daemon while unread.
 */
#define SEND_BUFFER_BYTES (16 << 10)

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->server->handles_open--;
    free(c);
}

/* Take a request off the socket and answer it.  Returns 1, 0 when there is none, or -errno: close.
 */
static int serve_one(struct connection *c)
{
    uint8_t bytes[ATTACH_MESSAGE_MAX + 1];
    /* No room for control data: descriptors that a peer sends never become ours. */
    ssize_t length = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (length < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
    if (length == 0)
        return -ENOTCONN;
    c->asked_ns = clock_boottime_ns();
    struct attach_request request;
    struct answer answer = {.message.kind = 0};
    int judged = attach_validate(bytes, (size_t)length, c->agent != NULL, &request);
    answer.message.kind = request.kind;
    answer.message.error = judged;
    c->words = (size_t)length > sizeof(request) ? (const char *)bytes + sizeof(request) : NULL;
    if (judged != 0)
        c->server->counts.refused_requests++;
    else
        answer_make(c, &request, &answer);
    c->words = NULL;
    int sent = answer_send(c, &answer);
    if (sent != 0)
        return sent;
    return judged != 0 ? judged : 1;
}

static const char *reason_of(int error)
{
    switch (error) {
    case -ENOTCONN:
    case -ECONNRESET:
    case -EPIPE:
        return "closed";
    case -EPROTO:
        return "protocol";
    case -EAGAIN:
        return "slow";
    default:
        return "error";
    }
}

static void on_readable(uv_poll_t *handle, int status, int events);

static void pause_reading(struct connection *c)
{
    c->paused = true;
    c->server->counts.throttled++;
    (void)uv_poll_stop(&c->poll);
    server_tick_start(c->server);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct connection *c = handle->data;
    /* libuv has stopped watching it: the socket reported an error, as it does when the peer died
     * with an answer unread. */
    if (status < 0) {
        connection_close(c, "closed");
        return;
    }
    for (uint32_t i = 0; i < SERVER_REQUESTS_PER_TURN; i++) {
        if (!bucket_take(&c->requests, &request_rate, clock_boottime_ns())) {
            pause_reading(c);
            return;
        }
        int served = serve_one(c);
        if (served == 0)
            return;
        if (served < 0) {
            c->server->counts.closed_slow += served == -EAGAIN ? 1 : 0;
            connection_close(c, reason_of(served));
            return;
        }
    }
}

int connection_open(struct server *s, int fd, uint32_t uid, int32_t pid)
{
    int bytes = SEND_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0)
        return -errno;
    struct connection *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    *c = (struct connection){.server = s, .fd = fd, .uid = uid, .pid = pid};
    c->asked_ns = clock_boottime_ns();
    int error = uv_poll_init(s->loop, &c->poll, fd);
    if (error != 0) {
        free(c);
        return error;
    }
    c->poll.data = c;
    s->handles_open++;
    c->admitted = server_admits(s, uid, c->asked_ns);
    c->paused = !c->admitted;
    s->counts.throttled += c->paused ? 1 : 0;
    error = c->paused ? 0 : uv_poll_start(&c->poll, UV_READABLE, on_readable);
    if (error != 0) {
        /* on_closed frees it; the descriptor stays the caller's */
        uv_close((uv_handle_t *)&c->poll, on_closed);
        return error;
    }
    c->place = s->connection_count;
    s->connections[s->connection_count++] = c;
    server_tick_start(s);
    return 0;
}

static void log_detached(const struct connection *c, const char *why)
{
    log_event(LOG_INFO, "agent_detached", LOG_NUMBER("slot", c->agent->slot),
              LOG_NUMBER("uid", c->uid), LOG_NUMBER("pid", c->pid), LOG_TEXT("reason", why),
              LOG_TEXT("node", c->server->node->config.name));
}

void connection_close(struct connection *c, const char *why)
{
    struct server *s = c->server;
    struct connection *last = s->connections[--s->connection_count];
    last->place = c->place;
    s->connections[c->place] = last;
    s->connections[s->connection_count] = NULL;
    if (c->watches)
        waker_remove(&s->waker);
    if (c->agent != NULL) {
        log_detached(c, why);
        node_agent_detach(s->node, c->agent);
        c->agent = NULL;
    }
    uv_close((uv_handle_t *)&c->poll, on_closed);
    (void)close(c->fd);
}

bool connection_tick(struct connection *c, uint64_t now_ns)
{
    if (c->agent == NULL && !c->paused && now_ns - c->asked_ns > SERVER_IDLE_NS) {
        connection_close(c, "idle");
        return false;
    }
    if (c->paused) {
        c->admitted = c->admitted || server_admits(c->server, c->uid, now_ns);
        if (!c->admitted)
            return true;
        c->paused = uv_poll_start(&c->poll, UV_READABLE, on_readable) != 0;
        return true;
    }
    return c->agent == NULL;
}
