/* raft_repair - what libraft 0.15 gets wrong about configurations that change, put right from outside.
 *
 *   taken back   A change that was appended and then overwritten by another leader's entries is taken back
 *                from the log's entry of the configuration before, wherever that is; it may be in a snapshot
 *                by now.  And one that was on the disk when libraft started counts as committed, so it is not taken
 *                back at all.  Here it is, before libraft sees the entries that overwrite it.
 *   late         A follower goes by a change in its log once that is on its disk.  One that was elected meanwhile
 *                would lead by the configuration before, for ever.  Here it goes by it as it gets it.
 *   votes        Who is no voter in its own configuration refuses to vote, though the candidate's makes it one: a
 *                promotion that one voter of one has in its log would never end.  Here it answers as a voter does, also
 *                when it has not heard its leader for an election timeout: as a standby it would believe in it for ever.
 *   snapshots    A snapshot gets the newest configuration, even one of an entry behind it, which may yet be taken back.
 *                Here it gets the one of its own index.
 *   demotions    Who holds a change that takes its vote, and with it a longer log than those that keep theirs, may not vote for
 *                them, and has to stand for election without counting itself.  libraft cannot: with a leader that had
 *                not written the change, nobody would be elected any more.  Here it gets the change once that is
 *                committed: until then it votes, and those that stay are enough to commit it.
 *   alone        A voter that is alone in its newest configuration leads without an election, in the term that it has.
 *                Who goes by an older configuration stands for election in the next one, whenever it likes; then neither
 *                listens to the other, for ever.  And in the term that it finds on its disk it may have sent what it had
 *                not synced when it ended, which others would hold under the index and term of something else.  So it
 *                begins with a new term, here and there.
 *   installing   While a snapshot from its leader is being written, its log ends with that already, and its configuration is
 *                the one before it: who is elected by that may lack what is committed.  Here it does not stand.
 *   in earnest   A candidate that has once asked for votes does not ask any more, before, whether it would get them, and
 *                so takes a new term with every round.  Here it asks before each.
 *
 *   failed       Entries of an append that failed are taken out of the log from their index on, whatever is there by then: if
 *                another leader's entries had them taken out before, it runs wild, or drops what is another's.  Here such
 *                an append counts as written, of which libraft finds that nothing is left.
 *
 * Memory by libraft's allocator.  Thread: the loop's.
 * Source: Ongaro (2014), 4.1: a server processes requests without its current configuration; it uses the newest
 * configuration in its log, committed or not; 4.2.2: who has no vote in it may be needed as a candidate until it is
 * committed; 9.6, for the question before an election; raft.h. */
#ifndef DUNLIN_CONTROL_RAFT_REPAIR_H
#define DUNLIN_CONTROL_RAFT_REPAIR_H

#include "engine/base.h"

#include <raft.h>

struct raft_repair {
    struct raft_configuration base; /* of the newest snapshot */
    raft_index base_index;          /* of its entry; 0: there is none */
};

void raft_repair_init(struct raft_repair *r);
void raft_repair_fini(struct raft_repair *r);

/* What libraft is about to start with; snapshot: NULL if there is none.  Returns 0 or RAFT_NOMEM. */
MUST_USE int raft_repair_loaded(struct raft_repair *r, const struct raft_snapshot *snapshot);

/* Whether self is the only voter of the newest configuration in that; n entries. */
bool raft_repair_is_alone(const struct raft_repair *r, const struct raft_entry *entries, size_t n,
                          raft_id self);

/* Where its log ends, and whether an entry is in it still. */
raft_index raft_repair_last(const struct raft *raft);
bool raft_repair_has(const struct raft *raft, raft_index index, raft_term term);

/* Before libraft gets entries.  Returns 0, or RAFT_NOMEM: drop them. */
MUST_USE int raft_repair_receive(const struct raft_repair *r, struct raft *raft,
                                 const struct raft_append_entries *a);

/* How many of its first entries a message of a leader's may take to a node.  Why the rest may wait: libraft finds out that
 * they are not there, and sends them again. */
unsigned raft_repair_sent(const struct raft *raft, raft_id node,
                          const struct raft_append_entries *a);

/* Before a tick.  is_earnest: a candidate's next round does not begin with the question; false from then on.  Returns 0, or a code
 * of the disk: libraft is not to be ticked. */
MUST_USE int raft_repair_tick(struct raft *raft, raft_time now_ms, bool *is_earnest);

/* Around a candidate's question: own role is a voter's meanwhile.  Before returns what after is to be given. */
int raft_repair_asked(struct raft *raft);
void raft_repair_answered(struct raft *raft, int role);

/* When it has got them.  Why the result does not matter: without memory libraft does it later. */
void raft_repair_received(struct raft *raft);

/* Before a snapshot of raft's own (raft->snapshot.pending) goes to the disk.  Returns 0 or RAFT_NOMEM. */
MUST_USE int raft_repair_taken(struct raft_repair *r, struct raft *raft);
/* Before one goes to the disk that came from another node.  Likewise. */
MUST_USE int raft_repair_installed(struct raft_repair *r, const struct raft_snapshot *snapshot);

/* A change that libraft takes for uncommitted, and whose entry is gone, or committed: libraft forgets it. */
void raft_repair_look(struct raft *raft);

#endif
