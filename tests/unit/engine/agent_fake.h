/* agent_fake - a daemon for the tests of libdunlin: a thread that serves the socket and the rings
 * of one agent at a time, and does on request what a real one does only when it dies or lies.
 *
 * It keeps sessions exactly as the protocol says (contiguous sequences, results, fate unknown), so
 * that a write that is applied twice, or out of order, shows.  It never polls: only a doorbell and
 * an eventfd wake it, so that a missing one shows, too.  Reads in place find nothing here and go by
 * the ring. One space, "fake".  The test's thread changes the knobs while it holds the lock. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_AGENT_FAKE_H
#define DUNLIN_TESTS_UNIT_ENGINE_AGENT_FAKE_H

#include "engine/agent/attach_protocol.h"
#include "engine/agent/dunlin.h"
#include "engine/memory.h"

#include <pthread.h>

#define FAKE_SHARDS 4u
#define FAKE_SESSIONS 64u
#define FAKE_APPLIED 65536u
#define FAKE_KEYS 256u
#define FAKE_VALUE_MAX (1u << 20)

enum fake_hello {
    FAKE_HELLO_GOOD,
    FAKE_HELLO_SILENT,      /* never answers */
    FAKE_HELLO_ERROR,       /* answers hello_error */
    FAKE_HELLO_FINGERPRINT, /* its node file is of another version */
    FAKE_HELLO_GEOMETRY,    /* ring sizes that are none */
    FAKE_HELLO_FEW_FDS,
    FAKE_HELLO_UNSEALED, /* an agent file that could shrink */
    FAKE_HELLO_CLOSE,    /* hangs up */
};

struct fake_session {
    uint8_t id[16];
    uint32_t shard;
    uint64_t lsn;
    uint64_t applied; /* sequence */
    struct {
        uint32_t status;
        uint64_t lsn;
    } results[LIMIT_SESSION_WINDOW];
};

struct fake_applied { /* what went into the log, in order */
    uint8_t session[16];
    uint32_t shard;
    uint64_t sequence;
    char key[32];
};

struct fake {
    /* knobs */
    enum fake_hello hello;
    int hello_error;
    bool frozen;            /* leaves requests in the ring */
    bool deaf;              /* leaves the socket alone, too */
    uint32_t slow_ms;       /* before it answers what comes behind a HELLO */
    bool withhold;          /* applies writes and does not answer */
    uint32_t refuse_status; /* of the refuse_count next writes behind the refuse_after next ones */
    uint32_t refuse_after, refuse_count;
    bool refuse_cut;        /* refused by RING_RETRY they were appended and cut */
    bool refuse_stays;      /* and turn up in the log after all */
    bool not_led;           /* leads no shard: RING_RETRY for all that asks for one */
    uint32_t close_retries; /* of the next RING_SESSION_CLOSE: RING_RETRY */
    bool forge_tag;         /* the next completion is for nobody */
    bool writable;
    bool space_gone;
    uint64_t clock_offset; /* of its clock from the machine's */
    uint32_t sessions_max;

    /* what happened */
    uint32_t hellos, requests, session_opens, session_closes;
    uint32_t applied_count;
    struct fake_applied applied[FAKE_APPLIED];
    char last_value[FAKE_VALUE_MAX];
    uint32_t last_value_length;

    /* its own */
    char directory[64], path[96];
    uint64_t start, lsn;
    uint32_t lcore_count, bulk_bytes;
    int listener, connection, wake;
    bool stop;
    bool alive; /* it has a thread and files */
    pthread_t thread;
    pthread_mutex_t lock;
    struct memory node, doorbell, space, file;
    struct ring_file geometry;
    int event_fds[LIMIT_LCORES];
    struct {
        struct ring request, completion;
    } lanes[LIMIT_LCORES];
    struct fake_session sessions[FAKE_SESSIONS];
    uint32_t session_count;
    struct {
        char key[32], value[64];
        uint64_t lsn;
    } keys[FAKE_KEYS];
    uint32_t key_count;
};

/* A running fake with its socket in a fresh directory.  Fatal to the test if it cannot. */
struct fake *fake_make(uint32_t lcore_count);
void fake_free(struct fake *f);

/* Die: the connection and the socket are gone, memory too as far as it is the fake's. */
void fake_kill(struct fake *f);
/* Live again as the next start, without sessions and keys. */
void fake_restart(struct fake *f);
/* Drop the connection only: the same start, which still knows its sessions. */
void fake_hang_up(struct fake *f);

/* Change a knob or look at what happened. */
void fake_lock(struct fake *f);
void fake_unlock(struct fake *f); /* and wake it */

/* What it counts, seen under the lock. */
uint32_t fake_read(struct fake *f, const uint32_t *count);
/* The value of the last write that was applied. */
bool fake_last_value_is(struct fake *f, const void *value, size_t length);

/* An attached handle with its space.  timeout_ms of its synchronous calls. */
struct dunlin *fake_attach(struct fake *f, uint64_t timeout_ms, struct dunlin_space **space);

/* No (session, shard, sequence) twice, contiguous from 1. */
bool fake_applied_once(struct fake *f);
/* How often a key was applied. */
unsigned fake_applied_key(struct fake *f, const char *key);

#endif
