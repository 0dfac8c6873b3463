#include "dataplane/replica_snapshot.h"

#include "engine/install.h"

/* A peer that asks for nothing for so many leases has given the stream up. */
#define STREAM_LEASES 4u

/* ---- as the leader ---- */

static struct snapshot_stream *stream_of(const struct replica *r)
{
    return r->group != NULL ? &r->group->stream : NULL;
}

static bool is_stale(const struct replica *r, const struct snapshot_stream *st, uint64_t now)
{
    return now - st->ticks_moved >= r->times.lease * STREAM_LEASES;
}

static void piece_say(struct replica *r, const struct snapshot_stream *st, struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->peers[st->slot].id.node, MESSAGE_PIECE);
    if (m == NULL)
        return;
    m->lsn = st->number;
    m->lsn_end = st->id;
    m->bytes = st->bytes;
    m->length = st->length;
}

/* The piece that was asked for, when the rate of copies allows (copy_rate.h). */
static void piece_tell(struct replica *r, uint64_t now, struct replica_update *u)
{
    struct snapshot_stream *st = stream_of(r);
    bool copies = replica_is_copy(r, st->slot);
    st->is_wanted = copies && !group_may_copy(r->group, true);
    if (st->is_wanted)
        return;
    if (copies)
        copy_rate_spend(&r->group->copy, st->length, now);
    piece_say(r, st, u);
}

static bool piece_make(struct snapshot_stream *st, uint32_t number)
{
    struct snapshot_piece piece = {.bytes = st->bytes, .capacity = sizeof st->bytes};
    int more = snapshot_next(&st->cursor, st->replica->shard, &piece);
    if (more < 0)
        return false; /* asked for again, when there is memory */
    st->number = number;
    st->length = (uint32_t)piece.length;
    st->is_last = more == 0;
    return true;
}

/* What the peer loses by taking our state is needed by nobody.  Either its log ends below what is
 * committed: then a majority without it holds all that it has; or this epoch has committed without it, and
 * every later sealed majority meets one that did. */
static bool may_replace(const struct replica *r, uint64_t lsn_end)
{
    bool established =
        r->role == REPLICA_LEADING && r->commit.lsn_committed >= r->commit.lsn_epoch_start;
    return established || lsn_end < r->shard->lsn_committed;
}

static void stream_begin(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct snapshot_stream *st = stream_of(r);
    *st = (struct snapshot_stream){
        .replica = r,
        .slot = slot,
        .id = r->self.incarnation << 20 | (++r->group->stream_count & 0xfffff),
        .ticks_moved = now,
    };
    if (snapshot_begin(&st->cursor, r->shard, st->id) != 0 || !piece_make(st, 0)) {
        st->replica = NULL;
        return;
    }
    r->counts[REPLICA_COUNT_SNAPSHOTS]++;
    piece_tell(r, now, u);
}

void replica_snapshot_offer(struct replica *r, uint32_t slot, uint64_t lsn_end, uint64_t now,
                            struct replica_update *u)
{
    const struct snapshot_stream *st = stream_of(r);
    if (st == NULL || !may_replace(r, lsn_end))
        return;
    bool is_free = st->replica == NULL || is_stale(r, st, now);
    bool is_told = !is_free && st->replica == r && st->slot == slot;
    r->peers[slot].wants_snapshot = !is_free && !is_told;
    r->peers[slot].lsn_replaced = lsn_end;
    if (is_free)
        stream_begin(r, slot, now, u);
    else if (is_told && st->number == 0)
        piece_tell(r, now, u); /* it asked once more before the first piece came */
}

void replica_snapshot_turn(struct replica *r, uint64_t now, struct replica_update *u)
{
    const struct snapshot_stream *st = stream_of(r);
    if (st != NULL && UNLIKELY(st->replica == r) && st->is_wanted)
        piece_tell(r, now, u);
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].wants_snapshot)
            replica_snapshot_offer(r, i, r->peers[i].lsn_replaced, now, u);
}

static bool is_waited_for(const struct replica *r)
{
    bool waited_for = false;
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        waited_for |= r->peers[i].wants_snapshot;
    return waited_for && r->role >= REPLICA_BRINGING && r->role <= REPLICA_LEADING;
}

/* Whose turn it is next looks at once, and not when its peer asks again, which waits for longer each time. */
static void stream_end(struct snapshot_stream *st)
{
    struct group *g = st->replica->group;
    st->replica = NULL;
    for (uint32_t i = 0; i < g->busy_count; i++) {
        if (is_waited_for(g->busy[i])) {
            group_wake(g, g->busy[i]);
            return;
        }
    }
}

int replica_on_want(struct replica *r, uint32_t slot, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    struct snapshot_stream *st = stream_of(r);
    if (st == NULL || st->replica != r || st->slot != slot || st->id != m->lsn_end)
        return -ESTALE; /* it will ask to join again */
    bool is_next = m->lsn == st->number + 1 && !st->is_last;
    if (m->lsn != st->number && !is_next)
        return 0;
    st->ticks_moved = now;
    if (!is_next || piece_make(st, st->number + 1))
        piece_tell(r, now, u);
    return 0;
}

uint64_t replica_snapshot_kept(const struct replica *r, uint64_t now)
{
    struct snapshot_stream *st = stream_of(r);
    if (st == NULL || st->replica != r)
        return UINT64_MAX;
    if (is_stale(r, st, now))
        stream_end(st);
    return st->replica == r ? st->cursor.lsn_start : UINT64_MAX;
}

void replica_snapshot_end(const struct replica *r, uint32_t slot)
{
    struct snapshot_stream *st = stream_of(r);
    if (st != NULL && st->replica == r && (slot == 0 || st->slot == slot))
        stream_end(st);
}

/* ---- as a follower ---- */

static void piece_want(struct replica *r, struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_WANT);
    if (m == NULL)
        return;
    m->lsn = install_piece_next(r->shard);
    m->lsn_end = r->install_id;
}

static void give_up(struct replica *r)
{
    install_abort(r->shard);
    r->install_id = 0;
}

static bool install_open(struct replica *r, uint64_t id)
{
    install_abort(r->shard);
    int error = install_begin(r->shard, id);
    if (error == -EBUSY) {
        /* One was taken and not whole before its leader went: this one takes its place. */
        install_discard(r->shard);
        error = install_begin(r->shard, id);
    }
    r->install_id = error == 0 ? id : 0;
    return error == 0;
}

static int piece_take(struct replica *r, const struct message *m)
{
    int taken = install_piece(r->shard, m->bytes, m->length);
    if (taken != -ENOSPC)
        return taken;
    install_discard(r->shard);
    return install_piece(r->shard, m->bytes, m->length);
}

int replica_on_piece(struct replica *r, const struct message *m, uint64_t now,
                     struct replica_update *u)
{
    if (r->joined || r->role != REPLICA_FOLLOWER)
        return 0;
    if (m->lsn_end != r->install_id && (m->lsn != 0 || !install_open(r, m->lsn_end)))
        return 0;
    int taken = piece_take(r, m);
    switch (taken) {
    case 1:
        r->install_id = 0;
        r->counts[REPLICA_COUNT_INSTALLS]++;
        replica_follow_join(r, now, u);
        return 0;
    case 0:
    case -ENOENT:
    case -EBADMSG:
        r->ticks_said = now;
        r->retry_shift = taken == 0 ? 0 : r->retry_shift;
        piece_want(r, u);
        return 0;
    case -EAGAIN:
        /* Asked for again by the timer.  Why the shift: the leader has it; who asked in vain for long before
         * it had would give it up at once. */
        r->retry_shift = 0;
        return 0;
    default:
        give_up(r);
        return taken == -EPROTO ? -EPROTO : 0;
    }
}

bool replica_snapshot_wants(struct replica *r, struct replica_update *u)
{
    if (r->install_id == 0)
        return false;
    if (r->retry_shift >= REPLICA_RETRY_SHIFT_MAX) {
        give_up(r); /* the leader has forgotten it */
        return false;
    }
    piece_want(r, u);
    return true;
}
