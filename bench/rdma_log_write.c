#include "bench/rdma_log_write.h"

#include <string.h>

#define BURST 16u

/* What is announced. */
struct announcement {
    uint64_t at;
    uint32_t length, unused;
    struct grant_proof proof;
};

static void complete_all(struct rdma_log_write *e)
{
    uint64_t holds[BURST];
    while (transport_complete(e->transport, holds, BURST) == BURST)
        continue;
}

static void announce(struct rdma_log_write *e, const struct announcement *a)
{
    const struct transport_datagram out = {
        .to = e->other, .head = (const uint8_t *)a, .head_length = sizeof *a};
    while (transport_send(e->transport, &out, 1) == 0)
        complete_all(e);
    complete_all(e); /* what is queued leaves */
}

static int log_write_send(void *end, const uint8_t *bytes, uint32_t length, uint32_t count)
{
    struct rdma_log_write *e = end;
    struct announcement a = {.length = length};
    (void)bytes;
    ASSERT(count == 1 && length <= RDMA_LOG_WRITE_MEMORY);
    if (e->at + length > RDMA_LOG_WRITE_MEMORY)
        e->at = 0;
    a.at = e->at;
    e->at += length;
    e->memory[a.at]++; /* so that what was there before proves nothing */
    const struct grant_range range = {e->memory + a.at, length};
    const struct transport_log_write write = {
        .to = e->other,
        .token = {e->token.address + a.at, e->token.key},
        .bytes = range.bytes,
        .length = length,
        .hold = 1,
    };
    if (!transport_prove(e->transport, e->other, &range, &a.proof))
        return -ENOKEY;
    int rc = transport_log_write(e->transport, &write);
    while (rc == -EAGAIN) {
        e->refused++;
        complete_all(e);
        rc = transport_log_write(e->transport, &write);
    }
    if (rc != 0)
        return rc;
    announce(e, &a);
    return 0;
}

/* The range's length, when the other end found it. */
static int log_write_take(void *end)
{
    struct rdma_log_write *e = end;
    struct transport_received in[BURST];
    struct announcement a;
    int all = 0;
    uint32_t got = transport_receive(e->transport, in, BURST);
    for (uint32_t i = 0; i < got; i++) {
        if (in[i].head_length != sizeof a)
            continue;
        memcpy(&a, in[i].head, sizeof a);
        all += (int)a.length;
    }
    transport_release(e->transport);
    complete_all(e);
    return all;
}

/* Why looked at until it is there: nobody said in which order the two come. */
static int prove(struct rdma_log_write *e, const struct announcement *a)
{
    if (a->length > RDMA_LOG_WRITE_MEMORY || a->at > RDMA_LOG_WRITE_MEMORY - a->length)
        return -EPROTO;
    const struct grant_range range = {e->memory + a->at, a->length};
    for (uint32_t look = 0; look < 1000; look++) {
        if (transport_proves(e->transport, e->other, &range, &a->proof))
            return 0;
        e->unproven++;
    }
    return -EBADMSG;
}

static int log_write_echo(void *end)
{
    struct rdma_log_write *e = end;
    struct transport_received in;
    struct announcement a = {.length = 0};
    int rc = 0;
    uint32_t got = transport_receive(e->transport, &in, 1);
    if (got != 0 && in.head_length == sizeof a)
        memcpy(&a, in.head, sizeof a);
    transport_release(e->transport);
    if (a.length != 0)
        rc = prove(e, &a);
    if (rc == 0 && a.length != 0)
        announce(e, &a);
    complete_all(e);
    return rc != 0 ? rc : (int)got;
}

/* It is the caller's. */
static void log_write_close(void *end)
{
    (void)end;
}

const struct transport_link rdma_log_write_link = {.send = log_write_send,
                                                   .take = log_write_take,
                                                   .echo = log_write_echo,
                                                   .close = log_write_close};
