#include "control/connection.h"
#include "control/logline.h"
#include "control/shards.h"
#include "control/space_words.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A text that strangers ask for may take one in so many of the thread's time. */
#define TEXT_SHARE 50u

static void add_fd(struct answer *a, int fd)
{
    ASSERT(a->message.fd_count < ATTACH_FDS_MAX);
    a->fds[a->message.fd_count++] = fd;
    a->fds_own = a->message.fd_count;
}

/* One that is closed after sending. */
static void add_own_fd(struct answer *a, int fd)
{
    add_fd(a, fd);
    a->fds_own = a->message.fd_count - 1;
}

static int answer_hello(struct connection *c, const struct attach_request *r, struct answer *a)
{
    struct node *n = c->server->node;
    struct ring_file wanted = {
        .request_bytes = r->request_bytes,
        .completion_bytes = r->completion_bytes,
        .bulk_bytes = r->bulk_bytes,
    };
    int error = node_agent_attach(n, c->uid, c->server->own_uid, &wanted, &c->agent);
    if (error != 0) {
        log_event(LOG_WARN, "attach_refused", LOG_NUMBER("uid", c->uid), LOG_NUMBER("pid", c->pid),
                  LOG_ERRNO(error), LOG_TEXT("node", n->config.name));
        /* Descriptors that we lack would look like a lack of theirs. */
        return error == -EMFILE || error == -ENFILE ? -EUSERS : error;
    }
    c->attached_ns = clock_boottime_ns();
    c->server->counts.attachments++;
    log_event(LOG_INFO, "agent_attached", LOG_NUMBER("slot", c->agent->slot),
              LOG_NUMBER("uid", c->uid), LOG_NUMBER("pid", c->pid),
              LOG_TEXT("node", n->config.name));
    add_fd(a, n->node_file.fd);
    add_fd(a, n->doorbell_file.fd);
    add_fd(a, c->agent->memory.fd);
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        add_fd(a, c->agent->event_fds[i]);
    a->message.agent_slot = c->agent->slot;
    a->message.start = n->start;
    a->message.file = c->agent->file;
    return 0;
}

static int answer_space(const struct connection *c, const struct attach_request *r,
                        struct answer *a)
{
    const struct node_space *s = node_space_find(c->server->node, r->space);
    if (s == NULL)
        return -ENOENT;
    /* relaxed: control wrote it, and this is control */
    uint8_t access = atomic_load_explicit(&c->agent->access[s->config.id], memory_order_relaxed);
    if ((access & AGENT_MAY_READ) == 0)
        return -EACCES;
    add_fd(a, s->file.fd);
    a->message.bytes = s->file.bytes;
    a->message.space_id = s->config.id;
    a->message.writable = (access & AGENT_MAY_WRITE) != 0 ? 1 : 0;
    return 0;
}

static int answer_chunk(const struct connection *c, const struct attach_request *r,
                        struct answer *a)
{
    const struct node_space *s = c->server->node->spaces[r->space_id];
    if (s == NULL)
        return -ENOENT;
    /* relaxed: control wrote it, and this is control */
    if ((atomic_load_explicit(&c->agent->access[r->space_id], memory_order_relaxed) &
         AGENT_MAY_READ) == 0)
        return -EACCES;
    /* relaxed: control wrote it, and this is control */
    if (r->chunk >= atomic_load_explicit(&s->header->chunk_count, memory_order_relaxed))
        return -ENOENT;
    add_fd(a, s->chunks[r->chunk].fd);
    a->message.bytes = s->chunks[r->chunk].bytes;
    a->message.space_id = r->space_id;
    return 0;
}

/* ---- status ---- */

/* Takes the text; NULL: there was no memory for it. */
static int text_take(struct server_text *t, char *text)
{
    free(t->text);
    *t = (struct server_text){.text = text, .made_ns = clock_boottime_ns()};
    return text != NULL ? 0 : -ENOMEM;
}

static int nodes_make(struct server *s)
{
    const struct server_admin *admin = s->admin;
    return admin == NULL ? -EOPNOTSUPP : text_take(&s->nodes, admin->nodes_json(admin->context));
}

static uint64_t throttled_sum(const struct node *n, const struct agent *a)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        /* relaxed: a number for people */
        sum += atomic_load_explicit(&a->rings[i].throttled, memory_order_relaxed);
    return sum;
}

static int shards_make(struct server *s)
{
    return text_take(&s->shards, shards_json(s->node, s->admin));
}

static int status_text(struct server *s, struct server_text *t)
{
    struct status_agent agents[SERVER_CONNECTIONS];
    struct status_source source = {
        .shows_keys = t == &s->status_trusted,
        .node = s->node,
        .started_boottime_ns = s->started_boottime_ns,
        .agents = agents,
    };
    for (uint32_t i = 0; i < s->connection_count; i++) {
        const struct connection *c = s->connections[i];
        if (c->agent != NULL)
            agents[source.agent_count++] = (struct status_agent){
                .slot = c->agent->slot,
                .uid = c->uid,
                .pid = c->pid,
                .attached_boottime_ns = c->attached_ns,
                .throttled = throttled_sum(s->node, c->agent),
            };
    }
    server_counts(s, &source.server);
    int error = nodes_make(s);
    if (error != 0 && error != -EOPNOTSUPP)
        return error;
    source.cluster_json = error == 0 ? s->nodes.text : NULL;
    return text_take(t, status_json(&source));
}

static int status_make(struct server *s)
{
    return status_text(s, &s->status);
}

static int status_trusted_make(struct server *s)
{
    return status_text(s, &s->status_trusted);
}

/* Why a file of its own for each asker: they would share its position and could disturb each other.
 */
static int text_file(const char *text, size_t length)
{
    int fd = memfd_create("dunlin-status", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int error = fchmod(fd, 0600) == 0 ? 0 : -errno;
    for (size_t done = 0; error == 0 && done < length;) {
        ssize_t written = pwrite(fd, text + done, length - done, (off_t)done);
        error = written > 0 ? 0 : written < 0 ? -errno : -EIO;
        done += written > 0 ? (size_t)written : 0;
    }
    int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL;
    if (error == 0 && fcntl(fd, F_ADD_SEALS, seals) != 0)
        error = -errno;
    if (error == 0)
        return fd;
    (void)close(fd);
    return error;
}

static bool is_fresh(const struct server_text *t, uint64_t now_ns)
{
    uint64_t age_ns = max_u64(SERVER_STATUS_AGE_NS, TEXT_SHARE * t->took_ns);
    return t->text != NULL && now_ns - t->made_ns < age_ns;
}

/* A text of the server, made now unless a stranger asks and the last one will do. */
static int answer_text(const struct connection *c, struct server_text *t,
                       int (*make)(struct server *s), struct answer *a)
{
    uint64_t now_ns = clock_boottime_ns();
    bool fresh = !server_trusts(c->server, c->uid) && is_fresh(t, now_ns);
    int error = fresh ? 0 : make(c->server);
    if (error != 0)
        return error;
    if (!fresh)
        t->took_ns = t->made_ns - now_ns;
    size_t length = strlen(t->text);
    int fd = text_file(t->text, length);
    if (fd < 0)
        return fd;
    add_own_fd(a, fd);
    a->message.bytes = length;
    return 0;
}

/* ---- reload ---- */

/* Its faults are text, too, so it fails as a request only where there is none. */
static int answer_reload(const struct connection *c, struct answer *a)
{
    const struct server_reload *reload = c->server->reload;
    char *text = NULL;
    size_t length = 0;
    if (!server_trusts(c->server, c->uid))
        return -EACCES;
    if (reload == NULL)
        return -EOPNOTSUPP;
    FILE *report = open_memstream(&text, &length);
    if (report == NULL)
        return -ENOMEM;
    a->message.reloaded = reload->run(reload->context, report);
    int fd = fclose(report) == 0 ? text_file(text, length) : -ENOMEM;
    free(text);
    if (fd < 0)
        return fd;
    add_own_fd(a, fd);
    a->message.bytes = length;
    return 0;
}

/* ---- moves ---- */

/* The logs that a request is about. */
static int logs_of(const struct node *n, const struct attach_request *r, uint32_t *first,
                   uint32_t *last)
{
    *first = 0;
    *last = UINT32_MAX;
    if (r->space[0] == 0)
        return 0;
    const struct node_space *s = node_space_find(n, r->space);
    if (s == NULL || (r->shard != ATTACH_SHARDS_ALL && r->shard >= s->config.shard_count))
        return -ENOENT;
    bool all = r->shard == ATTACH_SHARDS_ALL;
    *first = s->boards[all ? 0 : r->shard].log;
    *last = s->boards[all ? s->config.shard_count - 1 : r->shard].log;
    return 0;
}

static int answer_move(const struct connection *c, const struct attach_request *r, struct answer *a)
{
    struct server *s = c->server;
    uint32_t first, last;
    if (!server_trusts(s, c->uid))
        return -EACCES;
    if (s->admin == NULL)
        return -EOPNOTSUPP;
    int error = logs_of(s->node, r, &first, &last);
    if (error != 0)
        return error;
    int64_t moved = s->admin->move(s->admin->context, first, last, r->node);
    if (moved < 0)
        return (int)moved;
    log_event(LOG_INFO, "move_asked", LOG_NUMBER("to", r->node),
              LOG_NUMBER("shards", (uint64_t)moved), LOG_NUMBER("uid", c->uid),
              LOG_NUMBER("pid", c->pid), LOG_TEXT("node", s->node->config.name));
    a->message.shard_count = (uint32_t)moved;
    return 0;
}

/* ---- nodes that come and go, shards that are recovered ---- */

static const char *const node_events[] = {
    [SERVER_NODE_ADD] = "node_add_asked",
    [SERVER_NODE_DRAIN] = "node_drain_asked",
    [SERVER_NODE_UNDRAIN] = "node_undrain_asked",
    [SERVER_NODE_REMOVE] = "node_remove_asked",
};

static int answer_node_change(const struct connection *c, const struct attach_request *r)
{
    const struct server *s = c->server;
    char fault[NODE_WORDS_FAULT_BYTES];
    struct server_node_asked asked = {.id = r->node};
    if (!server_trusts(s, c->uid))
        return -EACCES;
    if (s->admin == NULL || s->admin->node == NULL)
        return -EOPNOTSUPP;
    asked.kind = r->kind == ATTACH_NODE_ADD       ? SERVER_NODE_ADD
                 : r->kind == ATTACH_NODE_DRAIN   ? SERVER_NODE_DRAIN
                 : r->kind == ATTACH_NODE_UNDRAIN ? SERVER_NODE_UNDRAIN
                                                  : SERVER_NODE_REMOVE;
    int error = asked.kind == SERVER_NODE_ADD ? node_words_read(&asked.words, c->words, fault) : 0;
    int64_t done = error == 0 ? s->admin->node(s->admin->context, &asked) : error;
    if (done < 0)
        return (int)done;
    log_event(LOG_INFO, node_events[asked.kind], LOG_NUMBER("id", asked.id),
              LOG_NUMBER("uid", c->uid), LOG_NUMBER("pid", c->pid),
              LOG_TEXT("node", s->node->config.name));
    return 0;
}

static int answer_recover(const struct connection *c, const struct attach_request *r,
                          struct answer *a)
{
    const struct server *s = c->server;
    uint32_t first, last;
    if (!server_trusts(s, c->uid))
        return -EACCES;
    if (s->admin == NULL || s->admin->recover == NULL)
        return -EOPNOTSUPP;
    int error = logs_of(s->node, r, &first, &last);
    if (error != 0)
        return error;
    int64_t recovered = s->admin->recover(s->admin->context, first, last, r->node);
    if (recovered < 0)
        return (int)recovered;
    log_event(LOG_WARN, "recover_asked", LOG_TEXT("space", r->space), LOG_NUMBER("from", r->node),
              LOG_NUMBER("shards", (uint64_t)recovered), LOG_NUMBER("uid", c->uid),
              LOG_NUMBER("pid", c->pid), LOG_TEXT("node", s->node->config.name));
    a->message.shard_count = (uint32_t)recovered;
    return 0;
}

/* ---- spaces that are made, altered, dropped ---- */

static int space_create(const struct server_spaces *spaces, const struct attach_request *r,
                        const char *words)
{
    char fault[SPACE_WORDS_FAULT_BYTES];
    struct space_config config;
    int error = space_words_apply(&config, words, SPACE_WORDS_CREATE, fault);
    if (error != 0 || strcmp(config.name, r->space) != 0)
        return -EINVAL;
    config.id = r->space_id;
    return spaces->create(spaces->context, &config);
}

static int answer_space_change(const struct connection *c, const struct attach_request *r,
                               struct answer *a)
{
    const struct server *s = c->server;
    if (!server_trusts(s, c->uid))
        return -EACCES;
    if (s->spaces == NULL)
        return -EOPNOTSUPP;
    int id = r->kind == ATTACH_SPACE_CREATE ? space_create(s->spaces, r, c->words)
             : r->kind == ATTACH_SPACE_ALTER
                 ? s->spaces->alter(s->spaces->context, r->space, c->words)
                 : s->spaces->drop(s->spaces->context, r->space);
    if (id < 0)
        return id;
    a->message.space_id = (uint32_t)id;
    return 0;
}

/* ---- watches ---- */

static int answer_watch(struct connection *c)
{
    if (!c->watches)
        waker_add(&c->server->waker);
    c->watches = true;
    return 0;
}

/* ---- one answer ---- */

static int answer_kind(struct connection *c, const struct attach_request *r, struct answer *a)
{
    switch (r->kind) {
    case ATTACH_HELLO:
        return answer_hello(c, r, a);
    case ATTACH_SPACE:
        return answer_space(c, r, a);
    case ATTACH_CHUNK:
        return answer_chunk(c, r, a);
    case ATTACH_STATUS:
        return server_trusts(c->server, c->uid)
                   ? answer_text(c, &c->server->status_trusted, status_trusted_make, a)
                   : answer_text(c, &c->server->status, status_make, a);
    case ATTACH_NODES:
        return answer_text(c, &c->server->nodes, nodes_make, a);
    case ATTACH_SHARDS:
        return answer_text(c, &c->server->shards, shards_make, a);
    case ATTACH_RELOAD:
        return answer_reload(c, a);
    case ATTACH_MOVE:
        return answer_move(c, r, a);
    case ATTACH_NODE_ADD:
    case ATTACH_NODE_DRAIN:
    case ATTACH_NODE_UNDRAIN:
    case ATTACH_NODE_REMOVE:
        return answer_node_change(c, r);
    case ATTACH_RECOVER:
        return answer_recover(c, r, a);
    case ATTACH_SPACE_CREATE:
    case ATTACH_SPACE_ALTER:
    case ATTACH_SPACE_DROP:
        return answer_space_change(c, r, a);
    case ATTACH_WATCH:
        return answer_watch(c);
    default: /* CLOCK: every answer has it */
        return 0;
    }
}

void answer_make(struct connection *c, const struct attach_request *request, struct answer *answer)
{
    *answer = (struct answer){.message.kind = request->kind};
    answer->message.error = answer_kind(c, request, answer);
}

int answer_send(const struct connection *c, struct answer *answer)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * ATTACH_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec data = {.iov_base = &answer->message, .iov_len = sizeof(answer->message)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    size_t fd_bytes = answer->message.fd_count * sizeof(int);
    if (fd_bytes != 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fd_bytes);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(fd_bytes);
        memcpy(CMSG_DATA(head), answer->fds, fd_bytes);
    }
    /* Last, so that the asker's bracket around it is narrow. */
    answer->message.clock_ticks = clock_ticks(c->server->node->clock_kind);
    ssize_t sent = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = sent < 0 ? -errno : 0;
    for (uint32_t i = answer->fds_own; i < answer->message.fd_count; i++)
        (void)close(answer->fds[i]);
    return error;
}
