/* attach_protocol - the messages of the daemon's Unix socket, between libdunlin and control/server.
 *
 * SOCK_SEQPACKET: one answer per request, in order.  Integers native (it is one machine).
 * Descriptors travel as SCM_RIGHTS with the answer that names them, in the order given there.  The
 * peer's credentials are SO_PEERCRED of the connection.  The connection is the attachment: when it
 * ends, the agent is gone, its ring memory is unmapped and its pins count no more.
 * Any malformed request is answered ATTACH_EPROTO and the connection closed. */
#ifndef DUNLIN_ENGINE_AGENT_ATTACH_PROTOCOL_H
#define DUNLIN_ENGINE_AGENT_ATTACH_PROTOCOL_H

#include "engine/layout.h"
#include "engine/ring.h"

enum attach_kind {
    ATTACH_HELLO = 1,  /* fds: node file, doorbell, agent file, then one eventfd per lcore */
    ATTACH_SPACE = 2,  /* fds: space file */
    ATTACH_CHUNK = 3,  /* fds: chunk */
    ATTACH_STATUS = 4, /* fds: memfd with status_bytes of JSON text */
    ATTACH_CLOCK = 5,  /* no fds */
    ATTACH_MOVE = 6,   /* no fds; of root and of the daemon's own uid */
    ATTACH_NODES = 7,  /* fds: as STATUS, of the cluster */
    ATTACH_WATCH = 8,  /* no fds; from now on who sleeps on watch_round is woken by commits */
    ATTACH_SHARDS = 9, /* fds: as STATUS, of every shard */
};

#define ATTACH_SHARDS_ALL UINT32_MAX

#define ATTACH_MESSAGE_MAX 512u
#define ATTACH_FDS_MAX (3u + LIMIT_LCORES)

struct attach_request {
    uint32_t kind;
    uint32_t shard;               /* MOVE: of the space, or ATTACH_SHARDS_ALL */
    uint64_t fingerprint;         /* HELLO: LAYOUT_FINGERPRINT */
    uint32_t request_bytes;       /* HELLO: 0 or power of two within LIMIT_RING_BYTES_* */
    uint32_t completion_bytes;    /* HELLO */
    uint32_t bulk_bytes;          /* HELLO: 0 or up to LIMIT_BULK_BYTES_MAX */
    uint32_t space_id;            /* CHUNK */
    uint32_t chunk;               /* CHUNK */
    uint32_t node;                /* MOVE: id of the one that is to lead */
    char space[LIMIT_NAME_BYTES]; /* SPACE, MOVE: ends with 0; MOVE: empty for all of them */
};

struct attach_answer {
    uint32_t kind;
    int32_t error; /* 0 or -errno: -EPROTO fingerprint or form, -EACCES, -ENOENT no such space,
                      node, shard, or no such chunk yet, -EUSERS no free agent slot, -ENOMEM;
                      MOVE, NODES: -EOPNOTSUPP the node is alone; MOVE: -EAGAIN a shard has no
                      leader yet, or what the coordinator says */
    uint32_t fd_count;
    union {
        uint32_t agent_slot;  /* HELLO */
        uint32_t shard_count; /* MOVE: that are to move */
    };
    uint64_t start;        /* HELLO: number of this start of the daemon */
    uint64_t clock_ticks;  /* HELLO, CLOCK: daemon's clock, in ticks of the node file's kind, read
                              while answering: the agent brackets it with two readings of its own */
    uint64_t bytes;        /* all with one fd: size of the memory behind it */
    uint32_t space_id;     /* SPACE */
    uint32_t writable;     /* SPACE: 1 if this peer may write */
    struct ring_file file; /* HELLO: geometry of the agent file (its pins are not used) */
};

#endif
