#include "dataplane/group.h"
#include "dataplane/replica_grant.h"
#include "dataplane/replica_lease.h"
#include "dataplane/replica_snapshot.h"

#include "engine/plant.h"

#define WINDOW_BYTES (1u << 17) /* sent to a peer and not acknowledged */
#define CEILING_SEGMENTS 4u     /* of the log that may still be written when a grant is asked for */

static int peer_slot(const struct replica *r, const struct member *m)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (member_equal(&r->peers[i].id, m))
            return (int)i;
    return -1;
}

/* ---- committing ---- */

/* Whether nothing but the holders of read leases keeps the next commit. */
static bool waits_for_holders(const struct replica *r)
{
    struct commit without = r->commit;
    without.lease_holder_mask = 0;
    return r->commit.lease_holder_mask != 0 && commit_advance(&without);
}

static void commit_try(struct replica *r, uint64_t now)
{
    if (r->role != REPLICA_LEADING && !PLANTED(COMMIT_OLD_EPOCH_BY_COUNT))
        return;
    if (commit_advance(&r->commit)) {
        replica_show(r, r->commit.lsn_committed);
        for (uint32_t i = 1; i < r->commit.peer_count; i++)
            replica_lease_behind(r, i);
        r->ticks_waited_from = 0;
    }
    if (!waits_for_holders(r)) {
        r->ticks_waited_from = 0;
    } else if (r->ticks_waited_from == 0) {
        r->ticks_waited_from = now;
        r->counts[REPLICA_COUNT_HOLDER_WAITS]++;
    }
}

/* A majority of the new voters holds our log up to the first record of the epoch. */
static bool epoch_is_held(const struct replica *r)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < r->commit.voter_count; i++)
        held += r->commit.lsn_match[i] >= r->commit.lsn_epoch_start;
    return held >= majority_of(r->commit.voter_count);
}

/* ---- feeding ---- */

static struct message *append_say(struct replica *r, uint32_t slot, uint64_t now,
                                  struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->peers[slot].id.node, MESSAGE_APPEND);
    if (m == NULL)
        return NULL;
    m->lsn_end = r->shard->log.lsn_whole;
    m->lsn_committed = r->shard->lsn_committed;
    m->lsn_kept = r->shard->lsn_kept;
    r->peers[slot].lsn_commit_sent = m->lsn_committed;
    r->peers[slot].ticks_untold = 0;
    r->peers[slot].ticks_sent = now;
    return m;
}

/* Its node has not been heard of for so long that nothing is said in vain. */
static bool is_silent(const struct replica *r, uint32_t slot)
{
    const struct replica_peer *peer = &r->peers[slot];
    return peer->listed && r->group->now - peer->pair->ticks_heard >= r->times.lease;
}

/* Nothing reaches it: its node is none of those that this one talks to, not yet or no more.  A group without any
 * pair has no leases, and its caller reaches everybody. */
static bool is_away(const struct replica *r, uint32_t slot)
{
    const struct replica_peer *peer = &r->peers[slot];
    return !peer->listed && r->group != NULL && r->group->pair_count != 0 &&
           group_pair(r->group, peer->id.node) == NULL;
}

static bool is_gone(const struct replica *r, uint32_t slot)
{
    return is_silent(r, slot) || is_away(r, slot);
}

static bool is_time_again(const struct replica *r, const struct replica_peer *peer, uint64_t since,
                          uint64_t now)
{
    return since == 0 || now - since >= r->times.retry << peer->retry_shift;
}

static void in_vain(struct replica_peer *peer, uint32_t shift_max)
{
    peer->retry_shift = (uint32_t)min_u64(peer->retry_shift + 1, shift_max);
}

static void resend(struct replica *r, uint32_t slot, uint64_t now)
{
    struct replica_peer *peer = &r->peers[slot];
    uint64_t match = r->commit.lsn_match[slot];
    if (peer->lsn_next <= match)
        peer->ticks_moved = now; /* nothing is out: what is sent now waits from now on */
    if (peer->lsn_next <= match || !is_time_again(r, peer, peer->ticks_moved, now))
        return;
    peer->lsn_next = max_u64(match, 1);
    peer->ticks_moved = now;
    in_vain(peer, REPLICA_RESEND_SHIFT_MAX);
    r->counts[REPLICA_COUNT_RESENDS]++;
}

/* End of the transaction that begins at lsn, a transaction's end or an epoch's. */
static COLD uint64_t transaction_end(const struct log *l, uint64_t lsn)
{
    struct record header = {.flags = 0};
    while (lsn < l->lsn_whole && (header.flags & RECORD_FLAG_TRANSACTION_END) == 0) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(l, lsn, &available);
        if (bytes == NULL)
            return lsn;
        header.flags = 0; /* a pad has none */
        lsn += record_step(bytes, &header);
    }
    return lsn;
}

/* Why a whole transaction in any case: an acknowledgement rises by no less. */
static bool window_is_open(const struct replica *r, uint64_t lsn_next, uint64_t match)
{
    return LIKELY(lsn_next - match < WINDOW_BYTES) ||
           lsn_next < transaction_end(&r->shard->log, match);
}

/* By more than one that is fed in step is, mostly. */
static bool is_behind(const struct replica *r, uint64_t lsn)
{
    return r->shard->log.lsn_whole - lsn > WINDOW_BYTES;
}

COLD bool replica_is_copy(const struct replica *r, uint32_t slot)
{
    uint32_t in_step = 1;
    for (uint32_t i = 1; i < r->commit.voter_count; i++)
        in_step += r->peers[i].joined && !r->peers[i].catches_up && !is_gone(r, i);
    return r->role == REPLICA_LEADING && r->group != NULL &&
           (slot >= r->commit.voter_count || in_step >= majority_of(r->commit.voter_count));
}

static uint32_t append_bytes(const struct replica *r)
{
    return r->group != NULL && r->group->append_bytes != 0 ? r->group->append_bytes
                                                           : GROUP_APPEND_BYTES;
}

static void feed(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct replica_peer *peer = &r->peers[slot];
    uint64_t match = r->commit.lsn_match[slot];
    resend(r, slot, now);
    struct pair *pair = r->group != NULL ? group_pair(r->group, peer->id.node) : NULL;
    bool copies = UNLIKELY(peer->catches_up) && is_behind(r, match) && replica_is_copy(r, slot);
    while (peer->lsn_next < r->shard->log.lsn_whole && window_is_open(r, peer->lsn_next, match)) {
        uint64_t available;
        if (pair != NULL && group_feed_left(pair) == 0)
            return; /* more in the next pass */
        if (copies && !group_may_copy(r->group, false)) {
            /* Why: or what was sent before would be taken for lost, and paid for again. */
            peer->ticks_moved = now;
            return;
        }
        const uint8_t *bytes = log_bytes_at(&r->shard->log, peer->lsn_next, &available);
        if (bytes == NULL) {
            peer->joined = false; /* it fell behind what is kept */
            return;
        }
        struct message *m = append_say(r, slot, now, u);
        if (m == NULL)
            return;
        m->lsn = peer->lsn_next;
        m->bytes = bytes;
        available = min_u64(available, r->shard->log.lsn_whole - peer->lsn_next);
        /* Why less for a copy: its rate is kept by the message. */
        m->length = (uint32_t)min_u64(available, copies ? append_bytes(r) : GROUP_LOG_WRITE_BYTES);
        replica_grant_use(r, slot, m);
        if (m->kind == MESSAGE_APPEND)
            m->length = (uint32_t)min_u64(m->length, append_bytes(r));
        peer->lsn_next += m->length;
        peer->lsn_sent = max_u64(peer->lsn_sent, peer->lsn_next);
        if (pair != NULL)
            pair->bytes_fed += m->length;
        if (copies)
            copy_rate_spend(&r->group->copy, m->length, now);
    }
}

/* In this pass something leaves for that peer anyhow. */
static bool is_fed(const struct replica *r, const struct replica_peer *peer)
{
    const struct pair *pair = r->group != NULL ? group_pair(r->group, peer->id.node) : NULL;
    return pair != NULL && pair->bytes_fed != 0;
}

/* A commit that no bytes carried so far goes alone only when it waited for them. */
static bool notice_is_due(const struct replica *r, struct replica_peer *peer, uint64_t now)
{
    if (peer->ticks_untold == 0)
        peer->ticks_untold = max_u64(now, 1);
    return now - peer->ticks_untold >= r->times.notice || r->group == NULL || r->group->tell ||
           is_fed(r, peer);
}

/* The commit LSN, when no bytes carried it; again until the peer says that it shows it. */
static void commit_tell(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct replica_peer *peer = &r->peers[slot];
    uint64_t lsn_committed = r->shard->lsn_committed;
    if (peer->lsn_shown >= lsn_committed)
        return;
    bool told = peer->lsn_commit_sent >= lsn_committed;
    if (told ? is_time_again(r, peer, peer->ticks_sent, now) : notice_is_due(r, peer, now))
        (void)append_say(r, slot, now, u);
}

static bool is_untold(const struct replica *r, uint32_t slot)
{
    return r->peers[slot].ticks_untold != 0 && r->peers[slot].joined && !is_silent(r, slot);
}

bool replica_is_untold(const struct replica *r)
{
    bool untold = false;
    for (uint32_t i = 1; r->role == REPLICA_LEADING && i < r->commit.peer_count; i++)
        untold |= is_untold(r, i);
    return untold;
}

bool replica_rides(const struct replica *r)
{
    bool rides = false;
    for (uint32_t i = 1; r->role == REPLICA_LEADING && i < r->commit.peer_count; i++)
        rides |= is_untold(r, i) && is_fed(r, &r->peers[i]);
    return rides;
}

static void feed_peer(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct replica_peer *peer = &r->peers[slot];
    if (is_gone(r, slot)) {
        peer->catches_up = true; /* when it is heard of again */
        return;
    }
    if (peer->joined) {
        feed(r, slot, now, u);
        commit_tell(r, slot, now, u);
    } else if (is_time_again(r, peer, peer->ticks_sent, now)) {
        if (peer->ticks_sent != 0)
            in_vain(peer, REPLICA_RETRY_SHIFT_MAX);
        (void)append_say(r, slot, now, u); /* it learns of us, and joins */
    }
}

/* A slow peer is counted for memory up to half of what the shard may have; then it gets a snapshot. */
static uint64_t lsn_kept_least(const struct replica *r)
{
    const struct shard *s = r->shard;
    uint64_t bytes = (uint64_t)frames_total(&s->frames) << s->geometry.segment_shift;
    return s->log.lsn_whole > bytes / 2 ? s->log.lsn_whole - bytes / 2 : 0;
}

/* Nobody knows how long one that is not there will be away.  Before the epoch is active all are waited
 * for: a majority is to have this log. */
static bool is_kept_for(const struct replica *r, uint32_t slot)
{
    return r->role != REPLICA_LEADING || (r->peers[slot].joined && !is_silent(r, slot));
}

static void feed_all(struct replica *r, uint64_t now, struct replica_update *u)
{
    const uint64_t kept_most = min_u64(r->shard->lsn_committed, replica_snapshot_kept(r, now));
    uint64_t kept = kept_most;
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (is_kept_for(r, i))
            kept = min_u64(kept, r->commit.lsn_match[i]);
    /* Why not always: it takes a division. */
    if (r->shard->log.lsn_whole - kept > UINT64_C(1) << r->shard->geometry.segment_shift)
        kept = max_u64(kept, min_u64(lsn_kept_least(r), kept_most));
    r->shard->lsn_kept = kept; /* as they are told: one that has just joined counts */
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        feed_peer(r, i, now, u);
}

/* Whether a peer whose log ends at this cut can be fed.  Why not whenever the bytes are there, which they
 * may be for long while nobody needs the memory: one that is further behind than it would be counted for
 * is told so with the first of them, and asks to join again. */
static bool is_kept(const struct replica *r, uint64_t cut)
{
    const struct shard *s = r->shard;
    uint64_t available;
    if (cut == 0 || cut == s->log.lsn_whole)
        return cut != 0;
    bool counts = s->log.lsn_whole - cut <= UINT64_C(1) << s->geometry.segment_shift ||
                  cut >= min_u64(lsn_kept_least(r), s->lsn_committed);
    return counts && log_bytes_at(&s->log, cut, &available) != NULL;
}

int replica_on_join(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0)
        return -EPROTO;
    const struct replica_log other = {
        .table = m->table,
        .table_count = m->table_count,
        .lsn_base = m->lsn_kept,
        .lsn_end = m->lsn_end,
    };
    uint64_t cut = replica_common(r, &other);
    if (!is_kept(r, cut)) {
        replica_snapshot_offer(r, (uint32_t)slot, m->lsn_end, now, u);
        return 0;
    }
    struct replica_peer *peer = &r->peers[slot];
    struct message *answer = replica_say(r, u, m->from.node, MESSAGE_CUT);
    if (answer == NULL)
        return 0;
    answer->lsn = cut;
    answer->lsn_end = m->lsn_end;
    answer->lsn_committed = r->shard->lsn_committed;
    peer->lsn_next = peer->lsn_sent = cut;
    peer->ticks_moved = now;
    peer->catches_up = is_behind(r, cut);
    return 0;
}

int replica_on_ack(struct replica *r, const struct message *m, uint64_t now)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0)
        return -EPROTO; /* S13 */
    struct replica_peer *peer = &r->peers[slot];
    struct commit_ack ack = {.epoch = m->epoch, .lsn = m->lsn, .peer = (uint32_t)slot};
    int counted = commit_on_ack(&r->commit, &ack);
    if (counted < 0)
        return counted;
    if (counted == 1 || !peer->joined) {
        peer->ticks_moved = now;
        peer->retry_shift = 0;
    }
    if (!peer->joined)
        replica_snapshot_end(r, (uint32_t)slot);
    peer->wants_snapshot = false;
    peer->joined = true;
    if (UNLIKELY(peer->catches_up))
        peer->catches_up = is_behind(r, r->commit.lsn_match[slot]);
    peer->lsn_next = max_u64(peer->lsn_next, m->lsn);
    peer->lsn_shown = max_u64(peer->lsn_shown, min_u64(m->lsn_committed, r->shard->lsn_committed));
    replica_lease_behind(r, (uint32_t)slot);
    return 0;
}

int replica_on_nak(struct replica *r, const struct message *m)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0 || m->lsn < r->commit.lsn_match[slot] || m->lsn > r->shard->log.lsn_whole)
        return -EPROTO;
    r->peers[slot].lsn_next = min_u64(r->peers[slot].lsn_next, m->lsn);
    replica_grant_missed(r, (uint32_t)slot, m->lsn);
    return 0;
}

int replica_on_granted(struct replica *r, const struct message *m)
{
    int slot = peer_slot(r, &m->from);
    return slot < 0 ? -EPROTO : replica_on_grant(r, (uint32_t)slot, m);
}

int replica_on_wanted(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u)
{
    int slot = peer_slot(r, &m->from);
    return slot < 0 ? -EPROTO : replica_on_want(r, (uint32_t)slot, m, now, u);
}

static void activation_ask(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->role != REPLICA_BRINGING || !epoch_is_held(r))
        return;
    if (r->ticks_asked != 0 && now - r->ticks_asked < r->times.retry)
        return;
    r->ticks_asked = now;
    u->activate = r->promised;
}

/* Ask for a higher ceiling while there is room for some segments below the one that we have. */
static void ceiling_ask(struct replica *r, uint64_t now, struct replica_update *u)
{
    const struct log *l = &r->shard->log;
    uint64_t ahead = (uint64_t)CEILING_SEGMENTS << l->segment_shift;
    if (r->configuration.lsn_ceiling == 0 || l->lsn_ceiling - l->lsn_end >= ahead ||
        (r->ticks_ceiling != 0 && now - r->ticks_ceiling < r->times.retry))
        return;
    r->ticks_ceiling = now;
    u->ceiling = l->lsn_end + 2 * ahead;
}

/* A learner that has kept up for a lease may be made a voter: commits would not wait for it.  Why once: who is
 * to vote is decided elsewhere, and most learners stay what they are. */
static void learner_look(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct replica_peer *peer = &r->peers[slot];
    bool keeps_up =
        peer->joined && !is_silent(r, slot) && r->commit.lsn_match[slot] >= r->commit.lsn_committed;
    if (!keeps_up)
        peer->ticks_kept_up = 0;
    else if (peer->ticks_kept_up == 0)
        peer->ticks_kept_up = now;
    else if (now - peer->ticks_kept_up >= r->times.lease && u->promote.incarnation == 0) {
        peer->is_found_fit = true;
        u->promote = peer->id;
        r->counts[REPLICA_COUNT_PROMOTIONS]++;
    }
}

static void learners_look(struct replica *r, uint64_t now, struct replica_update *u)
{
    for (uint32_t i = r->commit.voter_count; i < r->commit.peer_count; i++)
        if (!r->peers[i].is_found_fit)
            learner_look(r, i, now, u);
}

void replica_lead_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    commit_on_append(&r->commit, r->shard->log.lsn_whole);
    replica_lease_tick(r, now);
    commit_try(r, now);
    bool established =
        r->role == REPLICA_LEADING && r->commit.lsn_committed >= r->commit.lsn_epoch_start;
    if (established || PLANTED(LEASE_BEFORE_ACTIVE))
        replica_lease_lead(r);
    activation_ask(r, now, u);
    if (established)
        learners_look(r, now, u);
    ceiling_ask(r, now, u);
    replica_snapshot_turn(r, now, u);
    feed_all(r, now, u);
}

/* What must have been done for a peer: said, or answered, too. */
enum done { DONE_SAID, DONE_ANSWERED };

static bool peer_is_done(const struct replica *r, const struct replica_peer *peer, enum done done)
{
    uint32_t slot = (uint32_t)(peer - r->peers);
    uint64_t lsn = done == DONE_SAID ? peer->lsn_next : r->commit.lsn_match[slot];
    uint64_t shown = done == DONE_SAID ? peer->lsn_commit_sent : peer->lsn_shown;
    return peer->joined && lsn >= r->shard->log.lsn_whole && shown >= r->shard->lsn_committed;
}

static bool peer_is_idle(const struct replica *r, uint32_t slot, enum done done)
{
    const struct replica_peer *peer = &r->peers[slot];
    if (is_gone(r, slot))
        return true;
    bool may_read_later = r->times.read_leases && r->may_read && !r->right_given_up &&
                          peer->listed && !peer->reads && peer->pair->holder_until != 0 &&
                          member_equal(&peer->id, &peer->pair->peer);
    return peer_is_done(r, peer, done) && !may_read_later;
}

static ALWAYS_INLINE bool is_idle(const struct replica *r, enum done done)
{
    uint32_t readers = 0;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        if (!peer_is_idle(r, i, done))
            return false;
        readers |= (uint32_t)r->peers[i].reads << i;
    }
    return r->commit.lease_holder_mask == readers && r->ticks_waited_from == 0 &&
           !r->handing_over && r->shard->lsn_committed >= r->commit.lsn_epoch_start;
}

/* A learner is watched until it was found fit; one that is not there is again when it is heard of. */
static bool watches_learners(const struct replica *r)
{
    bool watches = false;
    for (uint32_t i = r->commit.voter_count; i < r->commit.peer_count; i++)
        watches |= !r->peers[i].is_found_fit && !is_gone(r, i);
    return watches;
}

/* There may be more sets of voters than rights (LIMIT_RIGHTS): it takes one as soon as one is free. */
static bool has_right(const struct replica *r)
{
    return r->group == NULL || r->right != NULL || r->right_given_up;
}

bool replica_lead_is_idle(const struct replica *r)
{
    return is_idle(r, DONE_ANSWERED) && !watches_learners(r) && has_right(r);
}

bool replica_lead_waits(const struct replica *r)
{
    return is_idle(r, DONE_SAID);
}

void replica_hand_over(struct replica *r)
{
    if (r->role != REPLICA_LEADING || r->right_given_up)
        return;
    r->handing_over = true;
    if (r->group != NULL)
        group_wake(r->group, r);
}
