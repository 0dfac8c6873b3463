/* shards - what `dunlin shards` prints: every shard of the node, as one JSON object.
 *
 * Control thread.  Reads boards and what the cluster's side tells, one after the other.  Keys are stable;
 * more may come:
 *
 *   node      its id
 *   shards [{space, shard, lcore, log, leader (0: nobody), epoch, role: "leader"|"follower",
 *            state: "active"|"pending"|"moving"|"lost", lsn_start, lsn_committed, lsn_end (as strings, since
 *            they do not fit a double), keys, live_bytes,
 *            lag [{node, bytes}]: what each other node lacks of it; if it is led here and was looked at,
 *            voters, learners: nodes; none while it is not decided who they are, or its space was dropped}]
 *   lsn_* are what this node shows: of a shard that others lead, end and commit follow.  lsn_start is that of the
 *   log when its space was made: it tells a space from one that is made again in its place.  Of a node alone
 *   every shard is active and led here. */
#ifndef DUNLIN_CONTROL_SHARDS_H
#define DUNLIN_CONTROL_SHARDS_H

#include "control/server.h"

/* The text, ending with 0, owned by the caller (free); NULL: no memory.  admin NULL: the node is alone, or one
 * of several in this process.  The thread is known to rcu.h, and offline. */
char *shards_json(const struct node *node, const struct server_admin *admin);

#endif
