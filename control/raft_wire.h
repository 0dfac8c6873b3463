/* raft_wire - messages of libraft 0.15 between two nodes, as bytes and back.
 *
 * One message, integers little-endian and unaligned:
 *   u8 version, u8 type (RAFT_IO_*), u16 zero, u32 count, then by type
 *   APPEND_ENTRIES         u64 term, previous index, previous term, committed index;
 *                          count times {u64 term, u32 length, u16 type, u16 zero}; the entries' data
 *   APPEND_ENTRIES_RESULT  u64 term, rejected, last index
 *   REQUEST_VOTE           u64 term, candidate, last index, last term; u8 disrupt_leader, pre_vote
 *   REQUEST_VOTE_RESULT    u64 term; u8 vote_granted, pre_vote (enum raft_tribool)
 *   INSTALL_SNAPSHOT       u64 term, last index, last term, index of the configuration, length of the
 *                          data; count servers {u64 id, u16 address length, u8 role, u8 zero, the
 *                          address}; the data
 *   TIMEOUT_NOW            u64 term, last index, last term
 * count is 0 where there is nothing to count.  Who sent a message is known from its connection, so it
 * does not stand in it; a candidate that is not the sender is refused.
 *
 * What is decoded has the form that libraft relies on: types of entries and roles that it knows, data
 * of a change that its own decoder, which checks no bound, stays inside of.  Whether indexes and terms
 * are true is not judged: the sender is a node of the cluster.
 *
 * No I/O, no clock; memory by libraft's allocator, since libraft frees what is decoded.  Any thread.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), figures 3.1, 5.3; raft.h. */
#ifndef DUNLIN_CONTROL_RAFT_WIRE_H
#define DUNLIN_CONTROL_RAFT_WIRE_H

#include "engine/base.h"

#include <raft.h>
#include <sys/uio.h>

#define RAFT_WIRE_VERSION 1u
#define RAFT_WIRE_ENTRIES_MAX (1u << 20) /* of one message */
#define RAFT_WIRE_SERVERS_MAX 1024u      /* of the configuration in a snapshot */
#define RAFT_WIRE_ADDRESS_BYTES 256u     /* of one server, without a final 0 */

/* A message as control_net_send takes it: what stands before the data is memory of its own, the data
 * stay where the message has them, so it is good for as long as they are. */
struct raft_wire {
    struct iovec *pieces;
    unsigned count;
};

/* Returns 0 and *w, for raft_wire_free, or with nothing to free
 *   -EINVAL    no type of libraft's
 *   -EMSGSIZE  more entries, servers or bytes of an address than the limits above, or an entry of
 *              4 GiB: it can never be sent
 *   -ENOMEM */
MUST_USE int raft_wire_encode(struct raft_wire *w, const struct raft_message *m);
void raft_wire_free(struct raft_wire *w);

/* The message that came from the node server_id, whose address libraft is to know as server_address
 * (it stays the caller's).  Bytes need not outlive the call.  Returns 0 and *m, to hand to libraft's
 * recv callback, which frees what it holds; or with nothing to free
 *   -EPROTONOSUPPORT  another version than ours
 *   -EBADMSG          not a message: drop it, and the connection
 *   -ENOMEM           drop it: libraft sends it again */
MUST_USE int raft_wire_decode(const uint8_t *bytes, size_t length, raft_id server_id,
                              const char *server_address, struct raft_message *m);

/* Free what a decoded message holds, for one that is not handed to libraft. */
void raft_wire_message_free(struct raft_message *m);

#endif
