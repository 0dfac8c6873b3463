/* order - the keys of a shard in their order: writer's side.
 *
 * Pure; the shard's lcore only.  Readers go by scan.h and never wait.
 * A B+tree in the space's arena, in nodes of 4 KiB (order_node.h) of frames that are FRAME_ORDER; the
 * board names its root.  It mirrors the hash index: a key is in it exactly while it has a slot there,
 * so that both change at the same places, and whether the key is visible, and with which record, is for
 * the index to say.  (DESIGN section 3 has derived state change with the commit.  This changes with the
 * index, when a record is appended: memory for it may be refused only while the write can still be put
 * back.  A cut takes a key out again that it takes out of the index.)
 *
 * Readers are told by versions: every node that a change touches is odd from its first store until all of
 * the change is made (O1), so a reader that finds two nodes of its way unchanged between them has seen
 * one tree.  Nodes that are given up are used again as nodes only; a frame of which all nodes are given
 * up retires through reclaim.h.
 * Source: Lehman and Yao, "Efficient Locking for Concurrent Operations on B-Trees" (TODS 1981), and
 * OLFIT (order_node.h), here with one writer: no locks, and no links between neighbours. */
#ifndef DUNLIN_ENGINE_ORDER_H
#define DUNLIN_ENGINE_ORDER_H

#include "engine/base.h"
#include "engine/frames.h"
#include "engine/layout.h"
#include "engine/order_node.h"
#include "engine/reclaim.h"

/* Made by its initializer, with board, frames, arena, list, enabled and unshown; it takes no memory before
 * the first key. */
struct order {
    struct layout_board *board;
    struct frames *frames;
    uint8_t *arena;
    uint32_t *list; /* its frames; the caller's, room for frames_per_shard */
    uint32_t frame_count;
    uint32_t current;    /* place in the list: nodes come from there */
    uint32_t root;       /* number of the node + 1; 0: no key */
    uint32_t levels;     /* 0: no key */
    uint32_t free_count; /* nodes of its frames that are not in use; of those that are left, none */
    uint32_t leaving;    /* frames that are being left: in the list, behind the others */
    bool enabled;        /* else the shard keeps no order, and nothing here does anything */
    bool unshown;        /* being built: the board does not name it */
    bool emptied;        /* a frame may be without a node in use */
};

/* Levels that the splits of one transaction never add. */
#define ORDER_LEVELS_KEPT 4u

/* Nodes that must be free so that so many leaves can split. */
static inline uint32_t order_nodes_for(const struct order *o, uint32_t splits)
{
    return splits * (o->levels + 1) + 1;
}

/* Leaves that may have to split for this key when it comes with others: words of node memory that all of
 * them take together (order_key_words). */
uint32_t order_splits_for(const struct order *o, const void *key, uint32_t length, uint32_t words);
uint32_t order_key_words(uint32_t length);

/* Have memory for so many splits; one key needs one at most.  Returns 0, or
 *   -EAGAIN  no frame now, as index_make_room
 *   -ENOSPC  the tree is as high as it may be. */
MUST_USE int order_make_room_slowly(struct order *o, uint32_t splits);
MUST_USE static ALWAYS_INLINE int order_make_room(struct order *o, uint32_t splits)
{
    if (LIKELY(!o->enabled || (o->free_count >= order_nodes_for(o, splits) &&
                               o->levels + ORDER_LEVELS_KEPT <= ORDER_LEVELS_MAX)))
        return 0;
    return order_make_room_slowly(o, splits);
}

/* A key that is not in it, for which there is room.  Nothing is done where it is in it, and by the next
 * where it is not.  Why no assertion: a follower finds a key's slot by hash and version, so a leader that lies
 * can have the second of two keys with one hash take over the first one's slot, and a look at the key that
 * stands there would cost a miss per write (measured: three times the time of a replicated one). */
void order_insert(struct order *o, const void *key, uint32_t length, uint32_t hash);

/* A key that is in it.  Needs no memory. */
void order_erase(struct order *o, const void *key, uint32_t length);

/* Retire frames without a node in use, but for what the next key may need, and move the last nodes out of those
 * that are nearly empty: a few in a call, which returns true while there may be more to do. */
bool order_step(struct order *o, struct reclaim *reclaim, const struct reclaim_now *now);

/* Leave a frame of the list: no node is taken there any more, order_leave_step moves those that are in use
 * elsewhere, and order_step retires it when none is.  Any frame of it may be left; what is asked of that frame
 * by whoever asks is theirs to judge. */
void order_leave(struct order *o, uint32_t place);
/* Move up to count nodes out of the frames that are being left, 4 KiB each.  Returns 1: there may be more to
 * move; 0: there is none; -EAGAIN: no frame now. */
MUST_USE int order_leave_step(struct order *o, uint32_t count);
/* Use them again instead. */
void order_leave_end(struct order *o);

/* Frames that it would take for so many splits; and what it takes next, which the quota counts as it does
 * frame_count. */
uint32_t order_frames_for(const struct order *o, uint32_t splits);
static inline uint32_t order_frames_wanted(const struct order *o)
{
    return o->enabled && o->free_count < order_nodes_for(o, 1) ? 1 : 0;
}

/* ---- a second one beside the one that readers use (install.h) ---- */

/* The board names it from now on. */
void order_show(struct order *o);
/* Take all frames from it, which the caller retires: they go to frames.  Returns how many.  It is
 * empty then, and no reader finds its way into it any more. */
uint32_t order_abandon(struct order *o, uint32_t *frames);

#endif
