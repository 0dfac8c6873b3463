#include "control/raft_instance.h"

#include "control/logline.h"
#include "engine/clock.h"
#include "engine/plant.h"

#include <string.h>

#define AGAIN_MS 1000u   /* after libraft could not go on */
#define TRANSFER_MS 200u /* for another voter to take leadership over */
/* Why a half: a voter waits once to twice as long, and when a node that was control leader as well is found to have
 * failed, a lease after its death, its successor should be there. */
#define ELECTION_SHARE 2u
/* Heartbeats are two thirds of an election timeout apart: as asks for leases are (raft_leases.h), with which they go. */
#define HEARTBEAT_SHARE 3u
#define ELECTION_MS_MIN 10u
#define ELECTION_MS_MAX 500u
#define PRE_VOTE_NS NS_PER_S /* without a leader */
#define SNAPSHOT_THRESHOLD 1024u
#define SNAPSHOT_TRAILING 512u

static bool is_running(const struct raft_instance *i)
{
    return i->has_raft && !i->is_held && !i->is_closing; /* perhaps not for long: has_failed */
}

static int failed(const struct raft_instance *i, int error, const char *text)
{
    log_event(LOG_ERROR, "control_failed", LOG_ERRNO(error),
              LOG_TEXT("directory", i->config->directory), LOG_TEXT("help", text));
    return error;
}

static int error_of(int code)
{
    switch (code) {
    case 0:
        return 0;
    case RAFT_NOMEM:
        return -ENOMEM;
    case RAFT_NOSPACE:
        return -ENOSPC;
    case RAFT_CORRUPT:
    case RAFT_MALFORMED:
        return -EBADMSG;
    default:
        return -EIO;
    }
}

/* ---- start ---- */

static int configuration_make(const struct raft_instance *i, struct raft_configuration *c)
{
    int code = 0;
    raft_configuration_init(c);
    for (uint32_t n = 0; n < i->config->member_count && code == 0; n++) {
        const struct raft_node_member *m = &i->config->members[n];
        char address[RAFT_BODY_ADDRESS_BYTES];
        raft_body_address(address, m->node);
        code = raft_configuration_add(c, m->node, address, m->is_voter ? RAFT_VOTER : RAFT_STANDBY);
    }
    return code;
}

/* A directory that is new begins with the members of the configuration, the same on every node. */
static int bootstrap(struct raft_instance *i)
{
    struct raft_configuration c;
    int code = configuration_make(i, &c);
    if (code == 0)
        code = raft_bootstrap(&i->raft, &c);
    raft_configuration_close(&c);
    return code == RAFT_CANTBOOTSTRAP ? 0 : code;
}

static void timeouts_set(struct raft_instance *i)
{
    unsigned lease_ms = (unsigned)(i->config->lease_ns / NS_PER_MS);
    unsigned election_ms =
        (unsigned)min_u64(max_u64(lease_ms / ELECTION_SHARE, ELECTION_MS_MIN), ELECTION_MS_MAX);
    raft_set_election_timeout(&i->raft, election_ms);
    raft_set_heartbeat_timeout(&i->raft, election_ms / HEARTBEAT_SHARE); /* ticks: raft_body.h */
    raft_set_snapshot_threshold(&i->raft, SNAPSHOT_THRESHOLD);
    raft_set_snapshot_trailing(&i->raft, SNAPSHOT_TRAILING);
    raft_set_pre_vote(&i->raft, true);
    raft_set_max_catch_up_round_duration(&i->raft, RAFT_ROSTER_CATCH_UP_MS);
}

static void close_raft(struct raft_instance *i);

/* Why no close here: libraft is in the middle of something. */
static void on_disk_failed(void *context, int status)
{
    struct raft_instance *i = context;
    i->has_failed = true;
    i->body.is_mute = true;
    raft_proposals_raft(i->proposals, NULL);
    if (status != RAFT_NOSPACE || i->is_full)
        return;
    i->is_full = true;
    log_event(LOG_ERROR, "control_disk_full", LOG_TEXT("directory", i->config->directory),
              LOG_TEXT("help", "make room; until then this node decides nothing"));
}

static int start(struct raft_instance *i)
{
    struct raft_disk *disk;
    const struct raft_disk_config config = {.loop = i->loop,
                                            .directory = i->config->directory,
                                            .cluster = i->config->cluster,
                                            .node = i->config->node,
                                            .failed = on_disk_failed,
                                            .context = i};
    char address[RAFT_BODY_ADDRESS_BYTES];
    int error = raft_disk_open(&disk, &config);
    if (error == -ENOSPC && i->is_full)
        return error; /* it was said */
    if (error != 0)
        return failed(i, error, "the directory of the control log cannot be used");
    raft_body_init(&i->body, i->loop, disk, i->net, i->type);
    raft_machine_reset(&i->machine);
    raft_body_address(address, i->config->node);
    int code = raft_init(&i->raft, &i->body.io, &i->machine.fsm, i->config->node, address);
    ASSERT(code == 0); /* it asks the body, which agrees, and allocates a few bytes */
    i->has_raft = true;
    i->has_failed = false;
    i->raft.data = i;
    i->roster = (struct raft_roster){.has_change = false};
    timeouts_set(i);
    code = raft_disk_look(disk);
    i->is_held = code == 0 && raft_disk_is_new(disk) && !PLANTED(LOST_DIRECTORY_VOTES);
    if (code == 0 && !i->is_held)
        code = bootstrap(i);
    if (code == 0 && !i->is_held)
        code = raft_start(&i->raft);
    if (code != 0) {
        (void)failed(i, error_of(code), raft_errmsg(&i->raft));
        close_raft(i);
        return error_of(code);
    }
    if (!i->is_held)
        raft_proposals_raft(i->proposals, &i->raft);
    if (i->is_full)
        log_event(LOG_INFO, "control_disk_back", LOG_TEXT("directory", i->config->directory));
    i->is_full = false;
    return 0;
}

void raft_instance_release(struct raft_instance *i, bool joins)
{
    if (!i->is_held || i->is_closing)
        return;
    i->is_held = false;
    int code = joins ? 0 : bootstrap(i);
    /* Why a term: from here on the directory is not new any more, even if it gets nothing else before it ends. */
    if (code == 0)
        code = raft_disk_set_term(i->body.disk, raft_disk_term(i->body.disk) + (joins ? 2 : 1));
    if (code == 0)
        code = raft_start(&i->raft);
    if (code == 0) {
        raft_proposals_raft(i->proposals, &i->raft);
        return;
    }
    (void)failed(i, error_of(code), raft_errmsg(&i->raft));
    close_raft(i);
}

bool raft_instance_is_pristine(const struct raft_instance *i)
{
    return i->is_held && raft_disk_term(i->body.disk) == 0;
}

int raft_instance_open(struct raft_instance *i)
{
    (void)uv_timer_init(i->loop, &i->timer); /* never fails */
    i->timer.data = i;
    i->has_timer = true;
    return start(i);
}

/* ---- close, and start again ---- */

static void on_again(uv_timer_t *timer)
{
    struct raft_instance *i = timer->data;
    /* Why only then: one that was closed within comes here again. */
    if (start(i) != 0 && !i->has_raft)
        (void)uv_timer_start(&i->timer, on_again, AGAIN_MS, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct raft_instance *i = handle->data;
    i->ended(i->context);
}

static void end_done(struct raft_instance *i)
{
    if (i->has_timer)
        uv_close((uv_handle_t *)&i->timer, on_timer_closed);
    else
        i->ended(i->context);
    i->has_timer = false;
}

static void on_closed(struct raft *raft)
{
    struct raft_instance *i = raft->data;
    i->has_raft = false;
    i->is_closing = false;
    if (i->is_ending)
        end_done(i);
    else
        (void)uv_timer_start(&i->timer, on_again, AGAIN_MS, 0);
}

static void close_raft(struct raft_instance *i)
{
    raft_proposals_raft(i->proposals, NULL);
    i->is_held = false;
    i->is_closing = true;
    raft_close(&i->raft, on_closed);
}

static void end(struct raft_instance *i)
{
    if (i->is_ending)
        return;
    i->is_ending = true;
    (void)uv_timer_stop(&i->timer);
    if (i->has_raft && !i->is_closing)
        close_raft(i);
    else if (!i->has_raft)
        end_done(i);
}

static void on_transferred(struct raft_transfer *request)
{
    end(request->data);
}

static void on_transfer_late(uv_timer_t *timer)
{
    end(timer->data);
}

void raft_instance_end(struct raft_instance *i, void (*ended)(void *context), void *context)
{
    i->ended = ended;
    i->context = context;
    i->transfer.data = i;
    if (raft_instance_leads(i) && raft_transfer(&i->raft, &i->transfer, 0, on_transferred) == 0)
        (void)uv_timer_start(&i->timer, on_transfer_late, TRANSFER_MS, 0);
    else
        end(i);
}

/* ---- while it runs ---- */

void raft_instance_received(struct raft_instance *i, uint32_t node, const uint8_t *bytes,
                            size_t length)
{
    /* Why dropped if it cannot be read: a peer that is known wrote it, so it is of another release, or memory
     * is short; raft repeats what matters. */
    if (is_running(i) && !i->has_failed)
        (void)!raft_body_received(&i->body, node, bytes, length);
}

void raft_instance_lost(struct raft_instance *i, uint32_t node)
{
    if (is_running(i) && !i->has_failed)
        raft_body_lost(&i->body, node);
}

/* libraft 0.15 asks first whether it would get votes, and learns of no later term while it does.  So a voter whose
 * term is behind and one whose log is could refuse each other for ever: now and then it asks in earnest, once, so that
 * the others do not have to. */
static void candidate_look(struct raft_instance *i)
{
    uint64_t now = clock_boottime_ns();
    if (raft_instance_leader(i) != 0 || i->leader_seen_ns == 0)
        i->leader_seen_ns = now;
    if (now - i->leader_seen_ns < PRE_VOTE_NS || raft_state(&i->raft) != RAFT_CANDIDATE)
        return;
    i->body.is_earnest = true;
    i->leader_seen_ns = now;
}

void raft_instance_look(struct raft_instance *i)
{
    if (is_running(i))
        candidate_look(i);
    bool knows = i->machine.error == 0;
    i->has_failed = i->has_failed || (is_running(i) && i->body.has_failed);
    if (!is_running(i) || (knows && !i->has_failed && raft_state(&i->raft) != RAFT_UNAVAILABLE))
        return;
    if (!knows)
        (void)failed(i, i->machine.error, "the log has a command that this release does not know");
    else if (!i->is_full)
        (void)failed(i, -EIO,
                     i->has_failed ? raft_disk_error(i->body.disk) : raft_errmsg(&i->raft));
    close_raft(i);
}

void raft_instance_change(struct raft_instance *i, uint64_t now_ns)
{
    if (!raft_instance_leads(i) || i->is_ending)
        return;
    const struct raft_roster_now now = {.now_ns = now_ns,
                                        .state = i->machine.state,
                                        .net = i->net,
                                        .self = i->config->node,
                                        .index_first = i->index_first,
                                        .lease_max_ns = i->config->lease_max_ns};
    if (raft_roster_step(&i->roster, &i->raft, &now) != 0)
        i->has_failed = true;
}

static bool may_add(const struct raft_instance *i, uint32_t node)
{
    return raft_members_server(&i->raft.configuration, node) == NULL ||
           coordinator_state_node(i->machine.state, node) != NULL; /* it is told so */
}

static bool may_remove(const struct raft_instance *i, uint32_t node)
{
    bool is_voter = false, is_settled = true;
    if (raft_roster_promotes(&i->roster, node))
        return false;
    for (unsigned s = 0; s < i->raft.configuration.n; s++) {
        const struct raft_server *server = &i->raft.configuration.servers[s];
        const struct coordinator_node *n =
            coordinator_state_node(i->machine.state, (uint32_t)server->id);
        if (server->role != RAFT_VOTER)
            continue;
        is_voter = is_voter || server->id == node;
        is_settled =
            is_settled && (server->id == node || (n != NULL && n->standing != COORDINATOR_LEAVING));
    }
    return !is_voter || is_settled;
}

/* Why not before all is applied: what is on its way may be another one of these. */
bool raft_instance_may_change(struct raft_instance *i, const struct coordinator_node_asked *asked)
{
    if (i->machine.state == NULL ||
        (asked->kind != COORDINATOR_NODE_ADD && asked->kind != COORDINATOR_NODE_REMOVE))
        return true;
    if (raft_last_applied(&i->raft) != raft_last_index(&i->raft))
        return false;
    return asked->kind == COORDINATOR_NODE_ADD ? may_add(i, asked->id) : may_remove(i, asked->id);
}

bool raft_instance_voters(const struct raft_instance *i, struct raft_roster_voters *voters)
{
    if (!is_running(i) || i->has_failed)
        return false;
    raft_roster_voters(&i->raft, voters);
    return true;
}

static void on_barrier(struct raft_barrier *request, int status)
{
    struct raft_instance *i = request->data;
    (void)status; /* nobody waits for it */
    i->has_barrier = false;
}

void raft_instance_lead(struct raft_instance *i, bool applied)
{
    if (!raft_instance_leads(i)) {
        i->index_first = 0;
        i->wants_barrier = false;
        return;
    }
    bool begins = i->index_first == 0;
    if (begins)
        i->index_first = raft_last_index(&i->raft) + 1;
    i->wants_barrier = i->wants_barrier || applied || begins;
    if (!i->wants_barrier || i->has_barrier || raft_proposals_is_busy(i->proposals))
        return;
    i->barrier.data = i;
    i->has_barrier = raft_barrier(&i->raft, &i->barrier, on_barrier) == 0;
    i->wants_barrier = !i->has_barrier;
}

bool raft_instance_has_sent(struct raft_instance *i)
{
    bool has_sent = i->body.has_sent;
    i->body.has_sent = false;
    return has_sent;
}

uint64_t raft_instance_beat_ms(struct raft_instance *i, uint64_t next_ns)
{
    const struct raft_body *b = &i->body;
    uint64_t now_ns = clock_boottime_ns();
    uint64_t wait_ms = next_ns > now_ns ? (next_ns - now_ns) / NS_PER_MS + 1 : 1;
    uint64_t tick_ms = raft_instance_leads(i) ? uv_timer_get_due_in(&b->tick) : UINT64_MAX;
    if (tick_ms >= wait_ms)
        return wait_ms;
    uint64_t period_ms = raft_body_tick_ms(b);
    return max_u64(tick_ms + (wait_ms - tick_ms) / period_ms * period_ms, 1);
}

uint32_t raft_instance_leader(struct raft_instance *i)
{
    raft_id leader = 0;
    const char *address;
    if (is_running(i) && !i->has_failed)
        raft_leader(&i->raft, &leader, &address);
    return (uint32_t)leader;
}

bool raft_instance_leads(struct raft_instance *i)
{
    return is_running(i) && !i->has_failed && raft_state(&i->raft) == RAFT_LEADER;
}
