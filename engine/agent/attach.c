#include "engine/agent/agent.h"

#include "engine/lease.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLOCK_BRACKETS 3u /* that are tried before it is attached without one */

/* ---- what the greeting gave us ---- */

static bool ring_bytes_valid(uint32_t bytes)
{
    return is_power_of_two(bytes) && bytes >= LIMIT_RING_BYTES_MIN && bytes <= LIMIT_RING_BYTES_MAX;
}

static bool geometry_valid(const struct ring_file *f)
{
    return f->magic == LAYOUT_MAGIC_AGENT && f->fingerprint == LAYOUT_FINGERPRINT &&
           f->lcore_count >= 1 && f->lcore_count <= LIMIT_LCORES &&
           ring_bytes_valid(f->request_bytes) && ring_bytes_valid(f->completion_bytes) &&
           f->bulk_bytes <= LIMIT_BULK_BYTES_MAX && f->agent_slot < LIMIT_AGENTS &&
           f->bytes == ring_file_bytes(f);
}

static bool node_valid(const struct layout_node *n, const struct attach_answer *answer)
{
    return n->magic == LAYOUT_MAGIC_NODE && n->fingerprint == LAYOUT_FINGERPRINT &&
           n->start == answer->start && n->lcore_count == answer->file.lcore_count &&
           (n->clock_kind == CLOCK_KIND_TSC || n->clock_kind == CLOCK_KIND_BOOTTIME) &&
           n->ticks_per_s != 0 && n->heartbeat_ns != 0;
}

static void join_rings(struct attachment *a)
{
    for (uint32_t l = 0; l < a->lcore_count; l++) {
        const struct ring_file *f = &a->geometry;
        ring_join(&a->lanes[l].request, (void *)(a->file + ring_file_shared(f, l, false)),
                  a->file + ring_file_data(f, l, false), f->request_bytes);
        ring_join(&a->lanes[l].completion, (void *)(a->file + ring_file_shared(f, l, true)),
                  a->file + ring_file_data(f, l, true), f->completion_bytes);
    }
    a->pins = &((struct ring_file *)(void *)a->file)->pins;
    a->bulk = a->file + ring_file_bulk(&a->geometry);
    agent_fifo_init(&a->bulk_pieces, a->geometry.bulk_bytes);
}

/* Lcores that fence for their agents reach those the kernel was told of. */
static bool fences_light(const struct layout_node *n)
{
    return n->light_fences != 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/* Takes the descriptors over, whatever happens. */
static int map_greeting(struct attachment *a, const struct attach_answer *answer, int *fds)
{
    uint8_t *at = NULL;
    if (!geometry_valid(&answer->file) || answer->fd_count != 3 + answer->file.lcore_count) {
        agent_link_close_fds(fds, answer->fd_count);
        return -EPROTO;
    }
    a->geometry = answer->file;
    a->lcore_count = answer->file.lcore_count;
    a->agent_slot = answer->file.agent_slot;
    a->start = answer->start;
    for (uint32_t l = 0; l < a->lcore_count; l++)
        a->lanes[l].event_fd = fds[3 + l];
    int error = memory_map(&at, fds[0], sizeof(struct layout_node), MEMORY_READ_ONLY, false, NULL);
    if (error == 0)
        a->node = (const void *)at;
    int other = memory_map(&at, fds[1], sizeof(struct layout_doorbell), MEMORY_SHARED, true, NULL);
    if (other == 0)
        a->doorbell = (void *)at;
    error = error != 0 ? error : other;
    other = memory_map(&at, fds[2], a->geometry.bytes, MEMORY_SHARED, true, NULL);
    if (other == 0)
        a->file = at;
    error = error != 0 ? error : other;
    if (error == 0 && !node_valid(a->node, answer))
        error = -EPROTO;
    if (error != 0)
        return error;
    a->light_fences = fences_light(a->node);
    join_rings(a);
    return 0;
}

static void unmap_file(const void *at, uint64_t bytes)
{
    if (at != NULL)
        (void)munmap((void *)(uintptr_t)at, bytes);
}

void agent_attach_free(struct attachment *a)
{
    if (a == NULL)
        return;
    if (a->socket >= 0)
        (void)close(a->socket);
    for (uint32_t l = 0; l < a->lcore_count; l++)
        (void)close(a->lanes[l].event_fd);
    for (uint32_t i = 0; i < LIMIT_SPACES; i++)
        agent_space_unmap(&a->mappings[i]);
    agent_space_left_free(a);
    unmap_file(a->node, sizeof(struct layout_node));
    unmap_file(a->doorbell, sizeof(struct layout_doorbell));
    unmap_file(a->file, a->geometry.bytes);
    free(a);
}

/* ---- clock ---- */

/* Bracket a reading of the daemon's clock with two of ours: DESIGN 5, clocks. */
static int clock_bracket(struct attachment *a, uint64_t deadline_ns)
{
    const enum clock_kind kind = (enum clock_kind)a->node->clock_kind;
    const struct attach_request request = {.kind = ATTACH_CLOCK};
    struct attach_answer answer;
    uint64_t before = clock_ticks(kind);
    int error = agent_link_exchange(a, &request, &answer, NULL, deadline_ns);
    uint64_t after = clock_ticks(kind);
    if (error != 0)
        return error;
    uint64_t width = clock_ticks_to_ns(after - before, a->node->ticks_per_s);
    a->clock_good = answer.clock_ticks >= before && answer.clock_ticks <= after &&
                    width <= AGENT_CLOCK_BRACKET_NS;
    return 0;
}

void agent_attach_clock(struct dunlin *d, struct attachment *a)
{
    uint64_t now = clock_boottime_ns();
    if (a->clock_good || a->socket < 0 || now < a->clock_checked_ns + AGENT_CLOCK_AGAIN_NS)
        return;
    a->clock_checked_ns = now;
    if (agent_attach_error(d, clock_bracket(a, now + AGENT_EXCHANGE_MIN_NS)) != 0)
        return;
    for (uint32_t i = 0; i < d->space_count; i++)
        agent_space_bind(d->spaces[i], a);
}

/* ---- becoming attached ---- */

static void pause_longer(struct dunlin *d)
{
    d->try_ns = clock_boottime_ns() + d->try_pause_ns;
    d->try_pause_ns = min_u64(2 * d->try_pause_ns, AGENT_TRY_MAX_NS);
}

static int send_greeting(struct dunlin *d)
{
    const struct attach_request request = {
        .kind = ATTACH_HELLO,
        .fingerprint = LAYOUT_FINGERPRINT,
        .request_bytes = d->options.request_bytes,
        .completion_bytes = d->options.completion_bytes,
        .bulk_bytes = d->options.bulk_bytes,
    };
    int fd = agent_link_connect(&d->address);
    if (fd < 0)
        return fd;
    int error = agent_link_send(fd, &request);
    struct attachment *a = error == 0 ? calloc(1, sizeof *a) : NULL;
    if (a == NULL) {
        (void)close(fd);
        return error != 0 ? error : -ENOMEM;
    }
    a->socket = fd;
    d->greeting = a;
    return 0;
}

/* Spaces that were open stay open, if the daemon still has them. */
static int map_spaces(const struct dunlin *d, struct attachment *a, uint64_t deadline_ns)
{
    for (uint32_t i = 0; i < d->space_count; i++) {
        if (a->mappings[i].header != NULL)
            continue; /* in an attempt before */
        int error = agent_space_map(a, d->spaces[i]->name, &a->mappings[i], deadline_ns);
        if (error != 0 && error != -ENOENT && error != -EACCES)
            return error;
    }
    return 0;
}

/* The answer to HELLO, which says who the daemon is. */
static int take_hello(struct attachment *a, uint64_t wait_ns)
{
    struct attach_answer answer;
    int fds[ATTACH_FDS_MAX];
    int error = agent_link_receive(a->socket, &answer, fds, clock_boottime_ns() + wait_ns);
    if (error == -ETIMEDOUT)
        return -EAGAIN;
    if (error != 0)
        return error;
    if (answer.kind != ATTACH_HELLO || answer.error != 0) {
        agent_link_close_fds(fds, answer.fd_count);
        return answer.error != 0 && answer.kind == ATTACH_HELLO ? answer.error : -EPROTO;
    }
    return map_greeting(a, &answer, fds);
}

/* -EAGAIN: it takes longer than the caller waits.  What was answered till then counts the next time. */
static int finish_greeting(struct dunlin *d, struct attachment *a, uint64_t wait_ns)
{
    int error = a->node == NULL ? take_hello(a, wait_ns) : 0;
    if (error != 0)
        return error;
    a->clock_checked_ns = clock_boottime_ns();
    /* Why more for who waits shorter, or never: he must get through, too. */
    uint64_t budget_ns = min_u64(max_u64(wait_ns, AGENT_EXCHANGE_MIN_NS), AGENT_EXCHANGE_NS);
    uint64_t deadline_ns = a->clock_checked_ns + budget_ns;
    while (error == 0 && !a->clock_good && a->clock_asked < CLOCK_BRACKETS) {
        a->clock_asked++;
        error = clock_bracket(a, deadline_ns);
    }
    if (error == 0)
        error = map_spaces(d, a, deadline_ns);
    if (error != -ETIMEDOUT)
        return error;
    pause_longer(d);
    return -EAGAIN;
}

static void adopt(struct dunlin *d, struct attachment *a)
{
    struct attachment *previous = d->now;
    d->now = a;
    d->attached_count++;
    d->try_ns = 0;
    d->try_pause_ns = AGENT_TRY_MIN_NS;
    for (uint32_t i = 0; i < d->space_count; i++)
        agent_space_bind(d->spaces[i], a);
    if (previous == NULL)
        return;
    agent_session_resume(d, previous);
    if (previous->pins_held == 0) {
        agent_attach_free(previous);
        return;
    }
    previous->next = d->old;
    d->old = previous;
}

static int try_later(struct dunlin *d, int error)
{
    agent_attach_free(d->greeting);
    d->greeting = NULL;
    pause_longer(d);
    return error == -ETIMEDOUT ? -ENOTCONN : error;
}

/* Nobody came back for as long as a call waits at most: what is unanswered stays so. */
static void give_up_in_time(struct dunlin *d)
{
    if (d->now != NULL && clock_boottime_ns() > d->lost_ns + d->options.timeout_ns)
        agent_session_give_up(d);
}

static int attach_step(struct dunlin *d, uint64_t wait_ns)
{
    if (clock_boottime_ns() < d->try_ns)
        return d->greeting == NULL ? -ENOTCONN : -EAGAIN;
    if (d->greeting == NULL) {
        int error = send_greeting(d);
        if (error != 0)
            return try_later(d, error);
    }
    struct attachment *a = d->greeting;
    int error = finish_greeting(d, a, wait_ns);
    if (error == -EAGAIN)
        return error;
    if (error != 0)
        return try_later(d, error);
    d->greeting = NULL;
    adopt(d, a);
    return 0;
}

int agent_attach_try(struct dunlin *d, uint64_t wait_ns)
{
    if (agent_attached(d))
        return 0;
    int error = attach_step(d, wait_ns);
    if (error != 0)
        give_up_in_time(d);
    return error;
}

/* ---- losing it ---- */

static bool is_write(uint8_t kind)
{
    return kind == RING_PUT || kind == RING_DELETE || kind == RING_TRANSACTION ||
           kind == RING_INCREMENT || lease_is_operation(kind);
}

void agent_attach_lost(struct dunlin *d)
{
    struct attachment *a = d->now;
    if (a == NULL || a->socket < 0)
        return;
    (void)close(a->socket);
    a->socket = -1;
    d->lost_ns = clock_boottime_ns();
    d->try_ns = 0;
    d->try_pause_ns = AGENT_TRY_MIN_NS;
    for (uint32_t i = 0; i < d->operations_used; i++) {
        struct operation *o = &d->operations[i];
        /* Why -EOWNERDEAD only for writes: what only reads can be asked again.  Why also what waits
         * to be sent: its bulk piece is of this attachment. */
        if ((o->state == OPERATION_SENT || o->state == OPERATION_QUEUED) && o->session == NULL)
            agent_operation_finish(d, o, is_write(o->kind) ? -EOWNERDEAD : -ENOTCONN);
    }
}

int agent_attach_error(struct dunlin *d, int error)
{
    if (error == -ENOTCONN)
        agent_complete_all(d); /* what it answered before it died is answered */
    if (error == -ENOTCONN || error == -EPROTO)
        agent_attach_lost(d);
    return error == -ETIMEDOUT ? -ENOTCONN : error;
}

bool agent_attach_look(struct dunlin *d)
{
    uint64_t now = clock_boottime_ns();
    if (now < d->look_ns)
        return agent_attached(d);
    d->look_ns = now + AGENT_LOOK_NS;
    if (agent_attached(d) && !agent_link_alive(d->now->socket)) {
        int error = agent_attach_error(d, -ENOTCONN);
        ASSERT(error != 0 && !agent_attached(d));
    }
    return agent_attach_try(d, 0) == 0;
}

void agent_attach_view_gone(struct dunlin *d, struct attachment *a)
{
    if (a == d->now || a->pins_held != 0)
        return;
    struct attachment **at = &d->old;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    agent_attach_free(a);
}
