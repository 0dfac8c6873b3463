#include "dataplane/commit.h"

#include "dataplane/configuration.h"
#include "engine/plant.h"

void commit_init(struct commit *c, uint64_t epoch, uint32_t voter_count, uint32_t peer_count)
{
    ASSERT(voter_count != 0 && voter_count <= peer_count && peer_count <= LIMIT_PEERS);
    *c = (struct commit){.epoch = epoch, .voter_count = voter_count, .peer_count = peer_count};
}

void commit_on_append(struct commit *c, uint64_t lsn_end)
{
    ASSERT(lsn_end >= c->lsn_end);
    c->lsn_end = lsn_end;
    c->lsn_match[0] = lsn_end;
}

int commit_on_ack(struct commit *c, const struct commit_ack *ack)
{
    if (ack->epoch < c->epoch)
        return -ESTALE;
    if (ack->epoch > c->epoch || ack->peer == 0 || ack->peer >= c->peer_count ||
        ack->lsn > c->lsn_end)
        return -EPROTO;
    if (ack->lsn <= c->lsn_match[ack->peer])
        return 0;
    c->lsn_match[ack->peer] = ack->lsn;
    return 1;
}

uint64_t commit_ranked(const uint64_t *values, uint32_t count, uint32_t rank)
{
    ASSERT(rank >= 1 && rank <= count && count <= LIMIT_PEERS);
    if (LIKELY(count == 3 && rank == 2)) /* most shards have three voters */
        return max_u64(min_u64(values[0], values[1]),
                       min_u64(max_u64(values[0], values[1]), values[2]));
    uint64_t sorted[LIMIT_PEERS];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] < values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return sorted[rank - 1];
}

bool commit_advance(struct commit *c)
{
    uint32_t needed = PLANTED(COMMIT_WITHOUT_MAJORITY) ? 1 : majority_of(c->voter_count);
    uint64_t lsn = commit_ranked(c->lsn_match, c->voter_count, needed);
    for (uint32_t i = 0; i < c->peer_count; i++)
        if ((c->lease_holder_mask & 1u << i) != 0 && !PLANTED(HOLDER_NOT_WAITED_FOR))
            lsn = min_u64(lsn, c->lsn_match[i]);
    /* 3.6.2: records of older epochs commit only together with one of this epoch. */
    if ((lsn < c->lsn_epoch_start && !PLANTED(COMMIT_OLD_EPOCH_BY_COUNT)) ||
        lsn <= c->lsn_committed)
        return false;
    c->lsn_committed = lsn;
    return true;
}
