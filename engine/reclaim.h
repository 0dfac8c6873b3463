/* reclaim - when the memory of a segment or index page may be used again.
 *
 * Pure; the shard's lcore only.  The caller has removed every reference that leads into the frame
 * (slot, link, page number, root).  Then, in this order:
 *   W2  the frame is marked RETIRING, seq_cst fence, and the pins are looked at: a reader that pins
 *       later sees the mark (V1 in read.h) and lets go;
 *   W3  readers inside the daemon pass a grace period (a ticket of the lcore's, rcu.h), and views that
 *       were pinned end or lapse (view time), and every transport has let go of it (which does not lapse:
 *       a NIC reads when it likes), and every peer that may write into it has returned its grant
 *       (grant.h);
 *   W4  the frame is stamped with the next count, the count goes to the board (release), release fence:
 *       whoever read bytes that are written later finds the new count or stamp at R6.
 * Only then is the frame free.  The mark is more than DESIGN section 3 asks: with the stamp alone a
 * reader could set its pin after the writer's look and validate before the writer's stamp. */
#ifndef DUNLIN_ENGINE_RECLAIM_H
#define DUNLIN_ENGINE_RECLAIM_H

#include "engine/base.h"
#include "engine/frames.h"
#include "engine/grant.h"
#include "engine/layout.h"

struct reclaim_entry {
    uint64_t ticket;         /* grace period that must be over */
    uint64_t ticks_deadline; /* pins lapse; 0: none was seen */
    uint32_t frame;
};

struct reclaim {
    struct layout_board *board;
    struct frames *frames;
    struct reclaim_entry *entries; /* capacity frames_per_shard */
    uint32_t count;
    const struct grants *grants; /* of the shard; NULL: nobody writes here */
};

/* What the lcore knows when it calls. */
struct reclaim_now {
    uint64_t ticks;
    uint64_t view_ticks;
    uint64_t ticket_next; /* a grace period that begins after this call */
    uint64_t ticket_done; /* the newest one that is over */
    bool (*pinned)(void *context, uint32_t frame);
    bool (*held)(void *context, uint32_t frame); /* by a transport; NULL: no transport reads here */
    void *context;
};

void reclaim_init(struct reclaim *r, struct layout_board *board, struct frames *frames,
                  struct reclaim_entry *memory);

/* W2.  The frame will be given back to frames. */
void reclaim_retire(struct reclaim *r, uint32_t frame, const struct reclaim_now *now);

/* W3, W4 for what is due; a pinned frame holds up no other.  Returns how many frames became free. */
uint32_t reclaim_step(struct reclaim *r, const struct reclaim_now *now);

/* Frames that will come back by themselves: retired and not in quarantine for a peer. */
uint32_t reclaim_coming(const struct reclaim *r);

#endif
