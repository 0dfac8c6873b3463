/* node_arena - gives the last chunks of a space's arena back when the space needs them no more.
 *
 * Control thread.  A space that has written next to nothing for NODE_ARENA_QUIET_NS is asked to leave its
 * last chunks (engine/leave.h), an eighth of them at a time; when all its shards have, they are unmapped and
 * closed.  Their memory is the system's again when every agent has let go of them, which libdunlin does when
 * it next reads the space.  It is given up when a shard refuses, or wants more memory meanwhile, or takes too
 * long; then nothing is asked for NODE_ARENA_PAUSE_NS.  Chunks above a quota that was lowered are asked for
 * at once.
 *
 * Memory order: A1 header.leave (release, control) -> leave_step (acquire, lcore).  A2 board.leave_answer
 *   (release, lcore) -> here (acquire): nothing of the shard is there.  A3 chunk_count, then
 *   arena_generation, then header.leave (release each) -> lcores and agents (acquire). */
#ifndef DUNLIN_DATAPLANE_NODE_ARENA_H
#define DUNLIN_DATAPLANE_NODE_ARENA_H

#include "dataplane/node.h"

#define NODE_ARENA_QUIET_NS (20 * NS_PER_S)
#define NODE_ARENA_LEAVE_NS (10 * NS_PER_S)
#define NODE_ARENA_PAUSE_NS (60 * NS_PER_S)

/* One look, before node_chunks_grow; about once a second.  now_ns: CLOCK_BOOTTIME.  Returns how many chunks
 * went. */
uint32_t node_arena_step(struct node *n, struct node_space *s, uint64_t now_ns);

/* Ask for chunks from this one on now, whatever was written; tests. */
void node_arena_leave(struct node *n, struct node_space *s, uint32_t chunk, uint64_t now_ns);

#endif
