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

void replica_snapshot_offer(struct replica *r, uint32_t slot, const struct message *join,
                            uint64_t now, struct replica_update *u)
{
    struct snapshot_stream *st = stream_of(r);
    if (st == NULL || !may_replace(r, join->lsn_end))
        return;
    if (st->replica != NULL && !is_stale(r, st, now)) {
        if (st->replica == r && st->slot == slot && st->number == 0)
            piece_say(r, st, u); /* it asked once more before the first piece came */
        return;                  /* one at a time: the others ask again */
    }
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
    piece_say(r, st, u);
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
        piece_say(r, st, u);
    return 0;
}

uint64_t replica_snapshot_kept(const struct replica *r, uint64_t now)
{
    struct snapshot_stream *st = stream_of(r);
    if (st == NULL || st->replica != r)
        return UINT64_MAX;
    if (is_stale(r, st, now))
        st->replica = NULL;
    return st->replica == r ? st->cursor.lsn_start : UINT64_MAX;
}

void replica_snapshot_end(const struct replica *r, uint32_t slot)
{
    struct snapshot_stream *st = stream_of(r);
    if (st != NULL && st->replica == r && (slot == 0 || st->slot == slot))
        st->replica = NULL;
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
