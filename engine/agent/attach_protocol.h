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
    ATTACH_WATCH = 8,  /* no fds; from now on who sleeps on a watch_round is woken by commits */
    ATTACH_SHARDS = 9, /* fds: as STATUS, of every shard */
    /* No fds; of root and of the daemon's own uid.  Words follow CREATE and ALTER: a text as space_words.h has it,
     * ended with 0. */
    ATTACH_SPACE_CREATE = 10,
    ATTACH_SPACE_ALTER = 11,
    ATTACH_SPACE_DROP = 12,
    ATTACH_RELOAD = 13, /* fds: as STATUS, lines of text; of root and of the daemon's own uid */
    /* No fds; of root and of the daemon's own uid.  Words follow ADD: a text as node_words.h has it, ended with
     * 0. */
    ATTACH_NODE_ADD = 14,
    ATTACH_NODE_DRAIN = 15,
    ATTACH_NODE_UNDRAIN = 16,
    ATTACH_NODE_REMOVE = 17,
    ATTACH_RECOVER = 18,
};

#define ATTACH_SHARDS_ALL UINT32_MAX

#define ATTACH_WORDS_BYTES 1024u /* with the final 0 */
#define ATTACH_MESSAGE_MAX 1536u
#define ATTACH_FDS_MAX (3u + LIMIT_LCORES)

struct attach_request {
    uint32_t kind;
    uint32_t shard;            /* MOVE, RECOVER: of the space, or ATTACH_SHARDS_ALL */
    uint64_t fingerprint;      /* HELLO: LAYOUT_FINGERPRINT */
    uint32_t request_bytes;    /* HELLO: 0 or power of two within LIMIT_RING_BYTES_* */
    uint32_t completion_bytes; /* HELLO */
    uint32_t bulk_bytes;       /* HELLO: 0 or up to LIMIT_BULK_BYTES_MAX */
    uint32_t space_id;         /* CHUNK; SPACE_CREATE: 0, or the id that it is to have */
    uint32_t chunk;            /* CHUNK */
    uint32_t
        node; /* MOVE: id of the one that is to lead; NODE_*: that is meant; RECOVER: whose log it is
                      to be, 0: the best there is */
    /* SPACE, MOVE, SPACE_*, RECOVER: ends with 0; MOVE: empty for all of them */
    char space[LIMIT_NAME_BYTES];
};
_Static_assert(sizeof(struct attach_request) + ATTACH_WORDS_BYTES <= ATTACH_MESSAGE_MAX,
               "room for both");

struct attach_answer {
    uint32_t kind;
    int32_t error; /* 0 or -errno: -EPROTO fingerprint or form, -EACCES, -ENOENT no such space,
                      node, shard, or no such chunk yet, -EUSERS no free agent slot, -ENOMEM;
                      MOVE, NODES: -EOPNOTSUPP the node is alone; MOVE: -EAGAIN a shard has no
                      leader yet, or what the coordinator says; SPACE_*, NODE_*, RECOVER: as
                      dunlin.h says */
    uint32_t fd_count;
    union {
        uint32_t agent_slot;  /* HELLO */
        uint32_t shard_count; /* MOVE: that are to move; RECOVER: that are recovered */
        int32_t reloaded; /* RELOAD: what did not change though it should, or -errno of the file */
    };
    uint64_t start;        /* HELLO: number of this start of the daemon */
    uint64_t clock_ticks;  /* HELLO, CLOCK: daemon's clock, in ticks of the node file's kind, read
                              while answering: the agent brackets it with two readings of its own */
    uint64_t bytes;        /* all with one fd: size of the memory behind it */
    uint32_t space_id;     /* SPACE, SPACE_* */
    uint32_t writable;     /* SPACE: 1 if this peer may write */
    struct ring_file file; /* HELLO: geometry of the agent file (its pins are not used) */
};

#endif
