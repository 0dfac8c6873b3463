#include "engine/grant.h"

#include "engine/checksum.h"

#include <string.h>

void grant_proof_make(const struct grant_range *range, struct grant_proof *proof)
{
    uint32_t crc = checksum(0, range->bytes, range->length);
    *proof = (struct grant_proof){.bytes = {0}};
    memcpy(proof->bytes, &crc, sizeof crc);
}

bool grant_proof_is_sound(const struct grant_range *range, const struct grant_proof *proof)
{
    struct grant_proof own;
    grant_proof_make(range, &own);
    return memcmp(&own, proof, sizeof own) == 0;
}

static bool prove(void *context, uint32_t node, const struct grant_range *range,
                  struct grant_proof *proof)
{
    (void)context, (void)node;
    grant_proof_make(range, proof);
    return true;
}

static bool proves(void *context, uint32_t node, const struct grant_range *range,
                   const struct grant_proof *proof)
{
    (void)context, (void)node;
    return grant_proof_is_sound(range, proof);
}

const struct grant_prover grant_prover_plain = {.prove = prove, .proves = proves};

bool grant_is_out(const struct grants *g, uint32_t frame)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number != 0 && g->out[i].frame == frame)
            return true;
    return false;
}

bool grant_is_out_to(const struct grants *g, uint32_t frame, uint32_t node)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number != 0 && g->out[i].frame == frame && g->out[i].holder.node == node)
            return true;
    return false;
}

bool grant_any(const struct grants *g)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number != 0)
            return true;
    return false;
}

void grant_withdraw(struct grants *g, uint64_t number)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        if (g->out[i].number == number)
            g->out[i].number = 0;
}

uint32_t grant_return(struct grants *g, uint32_t node, uint64_t incarnation, uint64_t number,
                      uint32_t frames[LIMIT_GRANTS])
{
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        struct grant *out = &g->out[i];
        if (out->number == 0 || out->number > number || out->holder.node != node ||
            out->holder.incarnation != incarnation)
            continue;
        out->number = 0;
        frames[count++] = out->frame;
    }
    return count;
}

uint32_t grant_void(struct grants *g, uint32_t node)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        if (g->out[i].number == 0 || g->out[i].holder.node != node)
            continue;
        g->out[i].number = 0;
        count++;
    }
    return count;
}
