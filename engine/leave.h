/* leave - a shard moves out of the last chunks of its arena, so that control can give them back.
 *
 * Pure; a part of shard.h.  Control names the chunks in the space's header (layout_leave); each shard sees
 * that in its next housekeeping and
 *   refuses  if what is left were too small for it, so that it would ask for the next chunk again at once;
 *            where tombstones may be why, not before all its segments were cleaned, which forgets those: with
 *            memory to spare no cleaner came to them.  Why not each time: what it copies stands against an
 *            eighth at least that was deleted since; or
 *   leaves   a bounded step a pass: it cleans until some frames are free elsewhere; from then on none there
 *            is taken any more (frames.h); pages of the index and nodes of the ordered one are copied
 *            elsewhere and what leads to them is swung; segments of live records are cleaned before all
 *            others; segments of the log's tail are copied byte for byte, so that the tail stays whole for
 *            cursors and peers, and then what leads to their records is swung as if they were cleaned
 *            (clean.h).  Frames retire through reclaim.h like all.
 * and answers on its board when it has nothing there.  When all have, control takes the chunks; where one
 * refuses, or wants more memory meanwhile, it gives up, and the shards use what is there again.
 *
 * A chunk of that number may be made again.  Agents that mapped the older one must not take what they find
 * there for the newer.  What keeps them from it:
 *   L1  control has raised the header's arena_generation since the older one was left, before it makes the
 *       newer; a shard stores that generation on its board, counts the reclaim counter up (release), and only
 *       then takes a frame there, which it stamps with that count or a later one
 *   L2  a reader loads the board's generation after R1 (acquire) and compares it with the header's as it was
 *       when it mapped what it has: if the board's is newer, it maps anew and begins again
 *   A reader that met the older generation at L2 has an R1 from before the count of L1.  What leads to a frame
 *   of the newer chunk was stored after that, so at R6 it finds the counter changed, and the frame's stamp
 *   above its R1: the read is void.
 *
 * Source: Rosenblum and Ousterhout (clean.h); Waldspurger, "Memory Resource Management in VMware ESX Server"
 * (OSDI 2002), section 3, for memory that is asked back from those who use it. */
#ifndef DUNLIN_ENGINE_LEAVE_H
#define DUNLIN_ENGINE_LEAVE_H

#include "engine/base.h"
#include "engine/frames.h"
#include "engine/reclaim.h"

struct shard;

struct leave {
    uint64_t deletes; /* committed since all segments were last cleaned for this */
    uint32_t sweep;   /* segments to be cleaned before it is judged again; 0: none */
};

/* Whether leave_step has anything to do. */
static ALWAYS_INLINE bool leave_is_due(const struct frames *f)
{
    /* relaxed: leave_step loads it again */
    return UNLIKELY(f->leave_chunk != UINT32_MAX ||
                    f->leave_seen != atomic_load_explicit(&f->header->leave, memory_order_relaxed));
}

/* One bounded step.  True: call again in the next pass.  False, and yet not answered: what is there waits for
 * others (a commit, a peer, a reader, memory); call again now and then. */
MUST_USE bool leave_step(struct shard *s, const struct reclaim_now *now);

#endif
