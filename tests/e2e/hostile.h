/* hostile - a stranger's agent that does what no honest one does, beside a good one that must not
 * notice: its reads stay correct, none of its operations hangs, its p99 stays within 2x.
 *
 *   hostile.c         the cases one after the other, and what else must hold; see good.h
 *   hostile_memory.c  attacks on the descriptors that were passed
 *   hostile_ring.c    attacks through rings, doorbell, pins and eventfds
 *   hostile_socket.c  attacks on the socket, and with more agents and sessions than there is room
 *
 * Spaces: "shared" anybody may read and write, "secret" root alone, "flood" anybody (small). */
#ifndef DUNLIN_TESTS_E2E_HOSTILE_H
#define DUNLIN_TESTS_E2E_HOSTILE_H

#include "tests/e2e/e2e.h"
#include "tests/e2e/raw.h"

#define HOSTILE_SHARED "shared"
#define HOSTILE_SECRET "secret"
#define HOSTILE_FLOOD "flood"

/* ---- attacks ---- */

struct hostile {
    const char *socket_path;
    pid_t daemon_pid;
    uint64_t seed;
    uint64_t until_ns;             /* attacks that go on and on end then; CLOCK_BOOTTIME */
    struct dunlin_write_id victim; /* a write of the good agent */
    struct raw_session session;    /* an open session of root's, in HOSTILE_SHARED */
    char session_key[32];          /* a key in its shard */
};

static inline bool hostile_goes_on(const struct hostile *h)
{
    return clock_boottime_ns() < h->until_ns;
}

/* Each runs in a process of its own as the stranger; what it finds wrong it reports by e2e_fail. */
void attack_reopen(struct hostile *h);
void attack_map_writable(struct hostile *h);
void attack_resize(struct hostile *h);
void attack_punch(struct hostile *h);
void attack_write(struct hostile *h);
void attack_seal(struct hostile *h);
void attack_daemon(struct hostile *h);

void attack_doorbell_clear(struct hostile *h);
void attack_doorbell_set(struct hostile *h);
void attack_random_bytes(struct hostile *h);
void attack_positions(struct hostile *h);
void attack_heads(struct hostile *h);
void attack_fields(struct hostile *h);
void attack_items(struct hostile *h);
void attack_sessions(struct hostile *h);
void attack_retry(struct hostile *h);
void attack_pins(struct hostile *h);
void attack_never_consume(struct hostile *h);
void attack_eventfd(struct hostile *h);
void attack_quota(struct hostile *h);

void attack_connect(struct hostile *h);
void attack_garbage(struct hostile *h);
void attack_deaf(struct hostile *h);
void attack_denied(struct hostile *h);
void attack_crowd(struct hostile *h);
void attack_session_flood(struct hostile *h);

/* Honest work at full speed: what any neighbour costs. */
void attack_none(struct hostile *h);

/* Attach or die; the whole space or die. */
void hostile_attach(const struct hostile *h, struct raw *r, uint32_t bulk_bytes);
void hostile_space(struct raw *r, const char *name, struct raw_space *s);

#endif
