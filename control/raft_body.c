#include "control/raft_body.h"

#include "control/raft_wire.h"
#include "engine/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LOOK_MS 1u        /* 0 would come before what has arrived, too */
#define LEADER_PERIODS 2u /* between ticks of a leader */

void raft_body_address(char address[RAFT_BODY_ADDRESS_BYTES], uint32_t node)
{
    (void)snprintf(address, RAFT_BODY_ADDRESS_BYTES, "%u", node);
}

/* ---- the disk ---- */

static int said(struct raft_io *io, int code)
{
    const struct raft_body *b = io->impl;
    if (code != 0)
        (void)snprintf(io->errmsg, sizeof io->errmsg, "%s", raft_disk_error(b->disk));
    return code;
}

static struct raft_disk *disk_of(const struct raft_io *io)
{
    const struct raft_body *b = io->impl;
    return b->disk;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
static int body_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry *entries[], size_t *entry_count)
{
    struct raft_body *b = io->impl;
    const struct raft *raft = io->data;
    int code =
        raft_disk_load(b->disk, term, voted_for, snapshot, start_index, entries, entry_count);
    if (code != 0)
        return said(io, code);
    code = raft_repair_loaded(&b->repair, *snapshot);
    if (code != 0 || !raft_repair_is_alone(&b->repair, *entries, *entry_count, raft->id))
        return code;
    code = raft_disk_set_term(b->disk, *term + 1);
    *term += code == 0 ? 1 : 0;
    *voted_for = code == 0 ? 0 : *voted_for;
    return said(io, code);
}

static int body_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    return said(io, raft_disk_bootstrap(disk_of(io), configuration));
}

static int body_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
    return said(io, raft_disk_recover(disk_of(io), configuration));
}

/* It is to be closed, and says nothing until then. */
static void fail(struct raft_body *b)
{
    b->has_failed = true;
    b->is_mute = true;
}

/* What raft_body.h says of TIMEOUT_NOW. */
static int metadata_said(struct raft_io *io, int code)
{
    struct raft_body *b = io->impl;
    if (code == 0 || !b->is_urged)
        return said(io, code);
    fail(b);
    return 0;
}

static int body_set_term(struct raft_io *io, raft_term term)
{
    return metadata_said(io, raft_disk_set_term(disk_of(io), term));
}

static int body_set_vote(struct raft_io *io, raft_id server)
{
    return metadata_said(io, raft_disk_set_vote(disk_of(io), server));
}

/* An append that the disk has. */
struct appending {
    struct raft_io_append request; /* first: the disk's */
    struct raft_io_append *asked;  /* libraft's */
    raft_io_append_cb callback;
    const struct raft *raft;
    raft_index index; /* of its first entry */
    raft_term term;
};

/* Why not always the status: raft_repair.h, failed. */
static void on_appended(struct raft_io_append *request, int status)
{
    const struct appending a = *(const struct appending *)(const void *)request;
    free(request);
    a.callback(a.asked, raft_repair_has(a.raft, a.index, a.term) ? status : 0);
}

static int body_append(struct raft_io *io, struct raft_io_append *request,
                       const struct raft_entry entries[], unsigned count,
                       raft_io_append_cb callback)
{
    struct appending *a = malloc(sizeof *a);
    if (a == NULL)
        return RAFT_NOMEM;
    *a = (struct appending){.asked = request,
                            .callback = callback,
                            .raft = io->data,
                            .index = raft_repair_last(io->data) + 1 - count,
                            .term = entries[0].term};
    int code = raft_disk_append(disk_of(io), &a->request, entries, count, on_appended);
    if (code != 0)
        free(a);
    return said(io, code);
}

static int body_truncate(struct raft_io *io, raft_index index)
{
    return said(io, raft_disk_truncate(disk_of(io), index));
}

static int body_snapshot_put(struct raft_io *io, unsigned trailing,
                             struct raft_io_snapshot_put *request,
                             const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb callback)
{
    struct raft_body *b = io->impl;
    struct raft *raft = io->data;
    ASSERT(trailing == 0 || snapshot == &raft->snapshot.pending);
    int code = trailing != 0 ? raft_repair_taken(&b->repair, raft)
                             : raft_repair_installed(&b->repair, snapshot);
    if (code == 0)
        code = raft_disk_snapshot_put(b->disk, trailing, request, snapshot, callback);
    return said(io, code);
}

static int body_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                             raft_io_snapshot_get_cb callback)
{
    return said(io, raft_disk_snapshot_get(disk_of(io), request, callback));
}

/* ---- time ---- */

static raft_time body_time(struct raft_io *io)
{
    (void)io;
    return clock_boottime_ns() / NS_PER_MS;
}

static void on_tick(uv_timer_t *timer);

static int tick_in(struct raft_body *b, uint64_t ms)
{
    return uv_timer_start(&b->tick, on_tick, ms, b->period_ms) == 0 ? 0 : RAFT_IOERR;
}

uint64_t raft_body_tick_ms(const struct raft_body *b)
{
    const struct raft *r = b->io.data; /* raft_init says so there */
    return r->state == RAFT_LEADER ? LEADER_PERIODS * (uint64_t)b->period_ms : b->period_ms;
}

/* It waits for its leader, and for nothing else. */
static bool is_following(const struct raft *r)
{
    return r->state == RAFT_FOLLOWER && r->follower_state.current_leader.id != 0 &&
           r->transfer == NULL;
}

/* Why the timer moves with each message of a leader: a tick for nothing is a wake-up for nothing. */
static void tick_plan(struct raft_body *b)
{
    const struct raft *r = b->io.data; /* raft_init says so there */
    if (b->on_tick == NULL)
        return;
    raft_time due = r->election_timer_start + r->follower_state.randomized_election_timeout;
    raft_time now = body_time(&b->io);
    if (is_following(r) && due > now) {
        b->has_looked = false;
        (void)tick_in(b, due - now); /* there is a callback */
    } else if (uv_timer_get_due_in(&b->tick) > raft_body_tick_ms(b)) {
        (void)tick_in(b, raft_body_tick_ms(b));
    }
}

void raft_body_lost(struct raft_body *b, uint32_t node)
{
    struct raft *r = b->io.data;
    raft_time now = body_time(&b->io);
    if (b->on_tick == NULL || !is_following(r) || r->follower_state.current_leader.id != node ||
        now < r->election_timeout)
        return;
    r->election_timer_start = min_u64(r->election_timer_start, now - r->election_timeout);
    tick_plan(b);
}

/* Why a look before a leader is given up: timers come before what has arrived meanwhile, if this thread has not
 * run for a while. */
static void on_tick(uv_timer_t *timer)
{
    struct raft_body *b = timer->data;
    if (b->on_tick == NULL || b->is_mute)
        return;
    if (is_following(b->io.data) && !b->has_looked) {
        b->has_looked = true;
        (void)tick_in(b, LOOK_MS);
        return;
    }
    if (raft_repair_tick(b->io.data, body_time(&b->io), &b->is_earnest) != 0) {
        fail(b);
        return;
    }
    b->on_tick(&b->io);
    (void)tick_in(b, raft_body_tick_ms(b));
    tick_plan(b);
}

/* ---- the mesh ---- */

struct raft_body_sending {
    struct control_net_request request; /* first */
    struct raft_io_send *send;
    raft_io_send_cb callback;
    struct raft_body *body; /* NULL: it is closed */
    struct raft_body_sending *next, **place;
};

/* libraft is told, and the body no more. */
static void sending_end(struct raft_body_sending *s, int status)
{
    if (s->body == NULL)
        return;
    *s->place = s->next;
    if (s->next != NULL)
        s->next->place = s->place;
    s->body = NULL;
    if (s->callback != NULL) /* of a transfer of leadership: nobody wants to know */
        s->callback(s->send, status);
}

static void on_sent(struct control_net_request *request, int error)
{
    struct raft_body_sending *s = request->data;
    sending_end(s, error == 0 ? 0 : RAFT_NOCONNECTION);
    free(s);
}

static void sending_begin(struct raft_body *b, struct raft_body_sending *s)
{
    s->body = b;
    s->next = b->sending;
    s->place = &b->sending;
    if (s->next != NULL)
        s->next->place = &s->next;
    b->sending = s;
}

/* As raft_body.h says. */
static void result_bound(struct raft_body *b, struct raft_append_entries_result *r)
{
    b->is_refused = b->is_refused || r->rejected != 0;
    if (r->rejected == 0 && r->term == b->term_agreed)
        r->last_log_index = min_u64(r->last_log_index, b->index_agreed);
}

static int body_send(struct raft_io *io, struct raft_io_send *send, const struct raft_message *told,
                     raft_io_send_cb callback)
{
    struct raft_body *b = io->impl;
    struct raft_wire wire;
    struct raft_message bounded = *told, *message = &bounded;
    if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT)
        result_bound(b, &message->append_entries_result);
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        bounded.append_entries.n_entries =
            raft_repair_sent(io->data, message->server_id, &message->append_entries);
    if (b->is_mute)
        return RAFT_NOCONNECTION;
    b->has_sent = true;
    struct raft_body_sending *s = malloc(sizeof *s);
    if (s == NULL)
        return RAFT_NOMEM;
    *s = (struct raft_body_sending){
        .request = {.sent = on_sent}, .send = send, .callback = callback};
    s->request.data = s;
    int error = raft_wire_encode(&wire, message);
    if (error == 0) {
        error = control_net_send(b->net, (uint32_t)message->server_id, b->type, wire.pieces,
                                 wire.count, &s->request);
        raft_wire_free(&wire);
    }
    if (error == 0) {
        sending_begin(b, s);
        return 0;
    }
    free(s);
    return error == -ENOMEM ? RAFT_NOMEM : error == -EMSGSIZE ? RAFT_TOOBIG : RAFT_NOCONNECTION;
}

/* Up to where a leader's message makes the log its own, if it is not refused; 0: it is about nothing of the kind. */
static raft_index index_told(const struct raft_message *m, raft_term *term)
{
    *term = 0;
    if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        *term = m->install_snapshot.term;
        return m->install_snapshot.last_index;
    }
    if (m->type != RAFT_IO_APPEND_ENTRIES)
        return 0;
    *term = m->append_entries.term;
    return m->append_entries.prev_log_index + m->append_entries.n_entries;
}

/* Why it counts before libraft has looked: that may answer from within, and if it refuses, it does. */
static void message_receive(struct raft_body *b, struct raft_message *m)
{
    raft_term term;
    raft_index told = index_told(m, &term);
    if (m->type == RAFT_IO_APPEND_ENTRIES &&
        raft_repair_receive(&b->repair, b->io.data, &m->append_entries) != 0) {
        raft_wire_message_free(m);
        return;
    }
    if (term > b->term_agreed) {
        b->term_agreed = term;
        b->index_agreed = 0;
    }
    raft_index before = b->index_agreed;
    bool is_newest = term != 0 && term == b->term_agreed;
    if (is_newest)
        b->index_agreed = max_u64(before, told);
    b->is_refused = false;
    b->is_urged = m->type == RAFT_IO_TIMEOUT_NOW;
    bool has_entries = m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries != 0;
    bool is_question = m->type == RAFT_IO_REQUEST_VOTE;
    int role = is_question ? raft_repair_asked(b->io.data) : 0;
    b->on_receive(&b->io, m);
    if (is_question)
        raft_repair_answered(b->io.data, role);
    if (has_entries)
        raft_repair_received(b->io.data);
    b->is_urged = false;
    if (is_newest && b->is_refused)
        b->index_agreed = before;
    tick_plan(b);
}

int raft_body_received(struct raft_body *b, uint32_t node, const uint8_t *bytes, size_t length)
{
    struct raft_message message;
    char address[RAFT_BODY_ADDRESS_BYTES];
    if (b->on_receive == NULL || b->has_failed)
        return 0;
    raft_body_address(address, node);
    int error = raft_wire_decode(bytes, length, node, address, &message);
    if (error != 0)
        return error;
    message_receive(b, &message);
    return 0;
}

/* ---- start ---- */

static int body_start(struct raft_io *io, unsigned period_ms, raft_io_tick_cb tick,
                      raft_io_recv_cb receive)
{
    struct raft_body *b = io->impl;
    b->on_tick = tick;
    b->on_receive = receive;
    b->period_ms = period_ms;
    return tick_in(b, period_ms);
}

/* Its place among those that vote, of *count; *count: it is none of them. */
static unsigned rank_of(const struct raft *r, unsigned *count)
{
    unsigned voters = 0, rank = 0;
    bool votes = false;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        if (r->configuration.servers[i].role != RAFT_VOTER)
            continue;
        if (r->configuration.servers[i].id == r->id) {
            rank = voters;
            votes = true;
        }
        voters++;
    }
    *count = voters;
    return votes ? rank : voters;
}

/* How long a voter waits for its leader, as raft_body.h says.  Why a part of it is random: two that have stood still
 * for as long as their places differ would stand in each other's way again and again. */
static int body_random(struct raft_io *io, int min, int max)
{
    unsigned bytes = 0, voters;
    unsigned rank = rank_of(io->data, &voters);
    unsigned slot = (unsigned)(max - min) / (voters + 2);
    /* Why the result does not matter: it fails for no length this short once the system is up. */
    (void)!getrandom(&bytes, sizeof bytes, GRND_NONBLOCK);
    return min + (int)(slot * rank + slot / 2 + bytes % (slot / 2 + 1));
}

/* ---- init and close ---- */

static int body_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void on_disk_closed(void *context)
{
    struct raft_body *b = context;
    b->disk = NULL;
    raft_repair_fini(&b->repair);
    b->on_close(&b->io);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct raft_body *b = handle->data;
    raft_disk_close(b->disk, on_disk_closed, b);
}

static void body_close(struct raft_io *io, raft_io_close_cb callback)
{
    struct raft_body *b = io->impl;
    b->on_close = callback;
    b->on_receive = NULL;
    b->on_tick = NULL;
    /* Why now: what libraft keeps for them goes with it, and the mesh goes on. */
    while (b->sending != NULL)
        sending_end(b->sending, RAFT_CANCELED);
    uv_close((uv_handle_t *)&b->tick, on_tick_closed);
}

void raft_body_init(struct raft_body *b, uv_loop_t *loop, struct raft_disk *disk,
                    struct control_net *net, uint8_t type)
{
    *b = (struct raft_body){
        .io = {.version = 1,
               .init = body_init,
               .close = body_close,
               .load = body_load,
               .start = body_start,
               .bootstrap = body_bootstrap,
               .recover = body_recover,
               .set_term = body_set_term,
               .set_vote = body_set_vote,
               .send = body_send,
               .append = body_append,
               .truncate = body_truncate,
               .snapshot_put = body_snapshot_put,
               .snapshot_get = body_snapshot_get,
               .time = body_time,
               .random = body_random},
        .disk = disk,
        .net = net,
        .type = type,
    };
    b->io.impl = b;
    raft_repair_init(&b->repair);
    (void)uv_timer_init(loop, &b->tick); /* never fails */
    b->tick.data = b;
}
