#include "engine/lease.h"

#include "engine/plant.h"
#include "engine/write.h"

static enum ring_status judge(const struct shard_write *w, const struct write_judgement *j,
                              uint64_t token)
{
    switch (w->origin.operation) {
    case RING_LEASE_ACQUIRE:
        return j->lsn_current == 0 ? RING_OK : RING_CONDITION;
    case RING_LEASE_RELEASE:
        if (PLANTED(LEASE_TOKEN_REUSED) && token != 0)
            return RING_OK;
        return token != 0 && token == w->expected_lsn ? RING_OK : RING_CONDITION;
    case RING_LEASE_RENEW:
        return token != 0 && token == w->expected_lsn ? RING_OK : RING_CONDITION;
    default:
        return token != 0 ? RING_CONDITION : j->status;
    }
}

void lease_judge(const struct shard_write *w, struct write_judgement *j)
{
    if (w->origin.operation == RING_NOP)
        return;
    uint64_t token = j->lsn_current != 0 ? extension_token(j->head) : 0;
    j->status = judge(w, j, token);
    if (token != 0)
        j->number = j->status == RING_CONDITION || w->origin.operation == RING_LEASE_RENEW
                        ? (int64_t)token
                        : 0;
}

struct lease_extensions lease_extensions_of(const struct shard_write *w,
                                            const struct write_judgement *j)
{
    bool is_new = w->origin.operation == RING_LEASE_ACQUIRE;
    return (struct lease_extensions){
        .ttl = extension_ttl_make(extension_ttl_asked(w->extension, w->extension_length)),
        .token = extension_token_make(is_new ? 0 : (uint64_t)j->number),
    };
}

uint64_t lease_number(const struct record *r)
{
    return lease_is_operation(r->operation) ? extension_token(r) : 0;
}
