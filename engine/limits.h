/* limits - every bound of the system in one place.  What exceeds one is refused by name. */
#ifndef DUNLIN_ENGINE_LIMITS_H
#define DUNLIN_ENGINE_LIMITS_H

#define LIMIT_NAME_BYTES 32u       /* names of nodes, spaces, zones, with the final 0 */
#define LIMIT_SPACES 64u           /* per node */
#define LIMIT_SHARDS 1024u         /* per space */
#define LIMIT_LCORES 16u           /* polling threads per node */
#define LIMIT_PROCESS_NODES 7u     /* that one process serves (dunlind dev) */
#define LIMIT_NODES 64u            /* of a cluster */
#define LIMIT_AGENTS 2048u         /* attached to one node at a time */
#define LIMIT_AGENTS_PER_UID 1536u /* of one uid that is neither root nor the daemon's own */
#define LIMIT_ACCESS_RULES 16u     /* uids or gids named by one access list */

#define LIMIT_KEY_BYTES 512u
#define LIMIT_EXTENSION_BYTES 4096u  /* all extensions of one record */
#define LIMIT_VALUE_BYTES (1u << 20) /* further limited to what fits one segment */

#define LIMIT_SEGMENT_SHIFT_MIN 16u /* 64 KiB */
#define LIMIT_SEGMENT_SHIFT_MAX 21u /* 2 MiB */
#define LIMIT_CHUNK_SHIFT_MIN 21u   /* 2 MiB */
#define LIMIT_CHUNK_SHIFT_MAX 30u   /* 1 GiB */
#define LIMIT_CHUNKS 1024u          /* per space */
#define LIMIT_ARENA_SHIFT 40u       /* offsets in an arena fit 40 bits */
/* 3 log segments, 2 x 2 index pages, 2 of the ordered index, 1 for the cleaner */
#define LIMIT_SHARD_FRAMES_MIN 10u

#define LIMIT_INDEX_PAGES 448u /* of one index table: buckets and their overflow */
#define LIMIT_INDEX_CHAIN 8u   /* buckets a lookup walks */
#define LIMIT_VERSION_WALK 64u /* versions of a key a reader walks */
#define LIMIT_READ_RETRIES 16u /* of an in-place read before it goes through the ring */

#define LIMIT_VOTERS 7u /* of one shard */
#define LIMIT_PEERS 8u  /* voters and learners of one shard */
/* Sets of voters for which an lcore leads shards at a time.  Why so many: with itself, any two of six other
 * nodes, in 15 ways; and while one of these restarts, the same again. */
#define LIMIT_RIGHTS 32u
#define LIMIT_LEASE_CELLS_PER_LCORE (LIMIT_RIGHTS + LIMIT_NODES)
#define LIMIT_LEASE_CELLS (LIMIT_LCORES * LIMIT_LEASE_CELLS_PER_LCORE)
#define LIMIT_EPOCHS 64u         /* entries of an epoch table; older ones are forgotten */
#define LIMIT_LAND_RANGES 16u    /* gaps a follower keeps track of; more are asked for again */
#define LIMIT_LAND_SEGMENTS 2u   /* segments that may get bytes ahead of the log's end */
#define LIMIT_GRANTS 4u          /* segments of a shard that its leader may write to: grant.h */
#define LIMIT_GRANTS_HELD 16u    /* of its peers, by the leader of a shard */
#define LIMIT_PENDING 1024u      /* operations of a shard appended and not yet committed */
#define LIMIT_SESSIONS 4096u     /* per shard */
#define LIMIT_SESSION_WINDOW 64u /* operations of a session in flight per shard (W) */
/* keys of one transaction: writes of either branch, conditions */
#define LIMIT_TRANSACTION_RECORDS 64u
#define LIMIT_TRANSACTION_BYTES LIMIT_VALUE_BYTES /* of them, packed; a branch fits one segment */

#define LIMIT_TTL_NS_MIN 1000000ull                         /* of a value: 1 ms */
#define LIMIT_TTL_NS_MAX (10ull * 365 * 86400 * 1000000000) /* ten years */
#define LIMIT_LEASE_OWNER_BYTES 64u                         /* name of who holds a user lease */

#define LIMIT_PINS 8u                   /* views an agent holds at a time */
#define LIMIT_RING_BYTES_MIN (1u << 12) /* one direction of one agent and lcore */
#define LIMIT_RING_BYTES_MAX (1u << 24)
#define LIMIT_BULK_BYTES_MAX (1u << 26)
#define LIMIT_AGENT_OPERATIONS 1024u      /* a handle has unanswered or uncollected */
#define LIMIT_POLICY_KEYS 65536u          /* of which a handle lets a write wait, per space */
#define LIMIT_AGENT_COPY_BYTES (1u << 18) /* least room for copies of unanswered writes */
#define LIMIT_BATCH 64u                   /* messages an lcore takes from a ring in one go */
#define LIMIT_FORWARDS 4096u              /* operations of an lcore that wait for other leaders */
#define LIMIT_FORWARD_BUFFERS 64u /* their values under way from an lcore: one datagram each */
#define LIMIT_FORWARD_PARTS 4u    /* of a value longer than a datagram, on the way at a time */
#define LIMIT_FORWARD_PUTS 8u     /* such values that a leader puts together at a time */
#define LIMIT_LOG_WRITES 2048u    /* of an lcore under way */
#define LIMIT_GET_BATCH 64u       /* keys of one batched get */

#endif
