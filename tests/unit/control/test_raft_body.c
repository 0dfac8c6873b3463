/* When libraft is ticked: a follower that hears of its leader is not, one that does not is ticked when it is to stand
 * for election, after a look at what has arrived, a leader in every other period, and all others in each.  And how long
 * voters wait for a leader; and what of its appends it hears. */
#include "control/raft_body.h"
#include "control/raft_wire.h"
#include "engine/clock.h"

#include "tests/unit/unit.h"

#define PERIOD_MS 40000u /* longer than a test */
#define ELECTION_MS 100000u

static uv_loop_t loop;
static struct raft raft; /* what of it the body looks at */
static struct raft_body body;
static uint32_t ticks, received;

static void on_tick(struct raft_io *io)
{
    (void)io;
    ticks++;
}

static void on_received(struct raft_io *io, struct raft_message *m)
{
    (void)io;
    (void)m;
    received++;
    raft.election_timer_start = clock_boottime_ns() / NS_PER_MS;
}

static void begin(unsigned short state)
{
    raft = (struct raft){.state = state};
    raft.election_timer_start = clock_boottime_ns() / NS_PER_MS;
    if (state == RAFT_FOLLOWER) {
        raft.follower_state.randomized_election_timeout = ELECTION_MS;
        raft.follower_state.current_leader.id = 2;
    }
    ticks = received = 0;
    CU_ASSERT_EQUAL(uv_loop_init(&loop), 0);
    raft_body_init(&body, &loop, NULL, NULL, 1);
    body.io.data = &raft; /* as raft_init does */
    CU_ASSERT_EQUAL(body.io.start(&body.io, PERIOD_MS, on_tick, on_received), 0);
}

static void end(void)
{
    uv_close((uv_handle_t *)&body.tick, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
}

static void hear(void)
{
    uint8_t bytes[256];
    size_t length = 0;
    struct raft_wire wire;
    const struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
    CU_ASSERT_EQUAL_FATAL(raft_wire_encode(&wire, &m), 0);
    for (unsigned i = 0; i < wire.count; i++) {
        CU_ASSERT_FATAL(wire.pieces[i].iov_len <= sizeof bytes - length);
        memcpy(bytes + length, wire.pieces[i].iov_base, wire.pieces[i].iov_len);
        length += wire.pieces[i].iov_len;
    }
    raft_wire_free(&wire);
    CU_ASSERT_EQUAL(raft_body_received(&body, 2, bytes, length), 0);
}

static void the_tick_of_a_follower_moves_with_what_it_hears(void)
{
    begin(RAFT_FOLLOWER);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= PERIOD_MS);
    hear();
    CU_ASSERT_EQUAL(received, 1);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > PERIOD_MS);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= ELECTION_MS);
    end();
}

static void one_that_leads_is_ticked_in_every_other_period(void)
{
    begin(RAFT_FOLLOWER);
    hear();
    raft.state = RAFT_LEADER; /* while the tick is far away */
    hear();
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > PERIOD_MS);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= 2 * PERIOD_MS);
    CU_ASSERT_EQUAL(raft_body_tick_ms(&body), 2 * PERIOD_MS);
    /* And from one tick to the next. */
    CU_ASSERT_EQUAL(uv_timer_start(&body.tick, body.tick.timer_cb, 0, PERIOD_MS), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(ticks, 1);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > PERIOD_MS);
    raft.state = RAFT_FOLLOWER; /* of nobody: it stepped down */
    raft.follower_state.current_leader.id = 0;
    hear();
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= PERIOD_MS);
    end();
}

static void one_that_follows_nobody_is_ticked_in_each_period(void)
{
    begin(RAFT_FOLLOWER);
    raft.follower_state.current_leader.id = 0;
    hear();
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= PERIOD_MS);
    end();
}

/* It is due now. */
static void expire(void)
{
    raft.election_timer_start = 0;
    raft.follower_state.randomized_election_timeout = 0;
    CU_ASSERT_EQUAL(uv_timer_start(&body.tick, body.tick.timer_cb, 0, PERIOD_MS), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void a_follower_looks_before_it_stands_for_election(void)
{
    begin(RAFT_FOLLOWER);
    expire();
    CU_ASSERT_EQUAL(ticks, 0);
    (void)uv_run(&loop, UV_RUN_ONCE);
    CU_ASSERT_EQUAL(ticks, 1);
    end();
    begin(RAFT_FOLLOWER);
    expire();
    raft.follower_state.randomized_election_timeout = ELECTION_MS;
    hear(); /* it was there */
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > PERIOD_MS);
    CU_ASSERT_EQUAL(ticks, 0);
    end();
}

/* Five servers, of which the second and the fourth do not vote; each of the others is asked often.  The longest that one
 * waits, and the shortest, in *shortest. */
static int longest_wait(raft_id self, int *shortest)
{
    static struct raft_server servers[] = {{.id = 1, .role = RAFT_VOTER},
                                           {.id = 2, .role = RAFT_STANDBY},
                                           {.id = 3, .role = RAFT_VOTER},
                                           {.id = 4, .role = RAFT_SPARE},
                                           {.id = 5, .role = RAFT_VOTER}};
    int longest = 0;
    raft.configuration = (struct raft_configuration){.servers = servers, .n = 5};
    raft.id = self;
    *shortest = INT32_MAX;
    for (uint32_t i = 0; i < 1000; i++) {
        int ms = body.io.random(&body.io, 25, 50);
        longest = ms > longest ? ms : longest;
        *shortest = ms < *shortest ? ms : *shortest;
    }
    return longest;
}

/* 25 ms, and of the fifths of 25 ms as many as vote before it, and something random in the middle of its own. */
static void voters_stand_for_election_one_after_the_other(void)
{
    int shortest;
    begin(RAFT_FOLLOWER);
    for (int rank = 0; rank < 3; rank++) {
        CU_ASSERT_EQUAL(longest_wait((raft_id)(1 + 2 * rank), &shortest), 29 + 5 * rank);
        CU_ASSERT_EQUAL(shortest, 27 + 5 * rank);
    }
    /* Who does not vote is behind all of them, if it comes to that. */
    CU_ASSERT_EQUAL(longest_wait(4, &shortest), 29 + 5 * 3);
    raft.configuration = (struct raft_configuration){.n = 0};
    CU_ASSERT(body.io.random(&body.io, 10, 20) >= 10 && body.io.random(&body.io, 10, 20) < 20);
    end();
}

/* Whoever ends the connection to its leader is the first to ask whether it is dead. */
static void a_leader_whose_connection_ended_was_silent_for_a_while(void)
{
    const unsigned silent_ms = ELECTION_MS / 5;
    begin(RAFT_FOLLOWER);
    raft.election_timeout = silent_ms;
    hear();
    raft_body_lost(&body, 3); /* another one */
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > ELECTION_MS - silent_ms);
    raft_body_lost(&body, 2);
    CU_ASSERT(uv_timer_get_due_in(&body.tick) <= ELECTION_MS - silent_ms);
    raft_time since = raft.election_timer_start;
    raft.election_timeout = 0;
    raft_body_lost(&body, 2); /* no later for that */
    CU_ASSERT(raft.election_timer_start == since);
    hear(); /* it lives */
    CU_ASSERT(uv_timer_get_due_in(&body.tick) > ELECTION_MS - silent_ms);
    raft.state = RAFT_CANDIDATE;
    raft.election_timeout = silent_ms;
    since = raft.election_timer_start;
    raft_body_lost(&body, 2);
    CU_ASSERT(raft.election_timer_start == since);
    end();
}

/* ---- appends that fail ---- */

static struct raft_io_append *on_disk;
static raft_io_append_cb on_disk_told;

int __wrap_raft_disk_append(struct raft_disk *d, struct raft_io_append *req,
                            const struct raft_entry entries[], unsigned n, raft_io_append_cb cb);
int __wrap_raft_disk_append(struct raft_disk *d, struct raft_io_append *req,
                            const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    (void)d, (void)entries, (void)n;
    on_disk = req;
    on_disk_told = cb;
    return 0;
}

static int append_status;
static struct raft_io_append *append_told;

static void on_appended(struct raft_io_append *request, int status)
{
    append_told = request;
    append_status = status;
}

/* The log of libraft: entries 11 to 13, all of term 4. */
static struct raft_entry log_entries[8];

static void log_make(void)
{
    for (uint32_t i = 0; i < 3; i++)
        log_entries[i] = (struct raft_entry){.term = 4, .type = RAFT_COMMAND};
    raft.log = (struct raft_log){.entries = log_entries, .size = 8, .back = 3, .offset = 10};
}

/* What the disk says of an append of entries 12 and 13, and what libraft hears of it. */
static void fails(int status, int heard)
{
    struct raft_io_append request;
    append_told = NULL;
    CU_ASSERT_EQUAL(body.io.append(&body.io, &request, &log_entries[1], 2, on_appended), 0);
    on_disk_told(on_disk, status);
    CU_ASSERT_PTR_EQUAL(append_told, &request);
    CU_ASSERT_EQUAL(append_status, heard);
}

static void an_append_that_fails_takes_no_entries_but_its_own(void)
{
    struct raft_io_append request;
    begin(RAFT_LEADER);
    log_make();
    fails(RAFT_IOERR, RAFT_IOERR);
    fails(0, 0);
    /* another leader took them out, and more */
    log_make();
    CU_ASSERT_EQUAL(body.io.append(&body.io, &request, &log_entries[1], 2, on_appended), 0);
    raft.log.back = 0;
    on_disk_told(on_disk, RAFT_IOERR);
    CU_ASSERT_EQUAL(append_status, 0);
    /* and put others in their place */
    log_make();
    CU_ASSERT_EQUAL(body.io.append(&body.io, &request, &log_entries[1], 2, on_appended), 0);
    log_entries[1].term = 5;
    on_disk_told(on_disk, RAFT_IOERR);
    CU_ASSERT_EQUAL(append_status, 0);
    raft.log = (struct raft_log){.size = 0};
    end();
}

/* ---- what is being sent when it closes ---- */

static struct control_net_request *carried;
static uint32_t told, closed;
static int told_status;

int __wrap_control_net_send(struct control_net *n, uint32_t node, uint8_t type,
                            const struct iovec *pieces, unsigned count,
                            struct control_net_request *request);
/* NOLINTNEXTLINE(readability-function-size): as what it stands for */
int __wrap_control_net_send(struct control_net *n, uint32_t node, uint8_t type,
                            const struct iovec *pieces, unsigned count,
                            struct control_net_request *request)
{
    (void)n, (void)node, (void)type, (void)pieces, (void)count;
    carried = request;
    return 0;
}

void __wrap_raft_disk_close(struct raft_disk *d, void (*done)(void *context), void *context);
void __wrap_raft_disk_close(struct raft_disk *d, void (*done)(void *context), void *context)
{
    (void)d;
    done(context);
}

static void on_told(struct raft_io_send *send, int status)
{
    (void)send;
    told++;
    told_status = status;
}

static void on_closed(struct raft_io *io)
{
    (void)io;
    closed++;
}

/* Why: libraft frees what a message was of when it has closed, and the mesh tells of it later. */
static void what_is_being_sent_ends_with_the_body(void)
{
    struct raft_io_send sends[2];
    const struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
    told = closed = 0;
    begin(RAFT_LEADER);
    CU_ASSERT_EQUAL(body.io.send(&body.io, &sends[0], &m, on_told), 0);
    struct control_net_request *first = carried;
    CU_ASSERT_EQUAL(body.io.send(&body.io, &sends[1], &m, on_told), 0);
    first->sent(first, 0);
    CU_ASSERT_EQUAL(told, 1);
    CU_ASSERT_EQUAL(told_status, 0);
    body.io.close(&body.io, on_closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(closed, 1);
    CU_ASSERT_EQUAL(told, 2);
    CU_ASSERT_EQUAL(told_status, RAFT_CANCELED);
    carried->sent(carried, 0);
    CU_ASSERT_EQUAL(told, 2);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_tick_of_a_follower_moves_with_what_it_hears),
    UNIT_TEST(one_that_leads_is_ticked_in_every_other_period),
    UNIT_TEST(one_that_follows_nobody_is_ticked_in_each_period),
    UNIT_TEST(a_follower_looks_before_it_stands_for_election),
    UNIT_TEST(voters_stand_for_election_one_after_the_other),
    UNIT_TEST(a_leader_whose_connection_ended_was_silent_for_a_while),
    UNIT_TEST(an_append_that_fails_takes_no_entries_but_its_own),
    UNIT_TEST(what_is_being_sent_ends_with_the_body),
};
UNIT_MAIN("raft_body", tests)
