/* order_edit - one change of the ordered index, for the files of its writer only (order.h): the nodes
 * that it touches, and how they are rebuilt, split and joined (order_build.c). */
#ifndef DUNLIN_ENGINE_ORDER_EDIT_H
#define DUNLIN_ENGINE_ORDER_EDIT_H

#include "engine/order.h"

/* A node, the one beside it and a new one at each level, and a new root. */
#define ORDER_EDIT_NODES (3u * ORDER_LEVELS_MAX + 1)

struct order_edit {
    struct order *order;
    uint32_t count;
    struct order_node *nodes[ORDER_EDIT_NODES];
};

/* What is to be an entry: of a leaf a key's hash, of an inner node a child and where it begins. */
struct order_item {
    struct order_key key;
    uint32_t payload;
};

static inline struct order_node *order_node_at(const struct order *o, uint32_t number)
{
    return (struct order_node *)(void *)(o->arena + ((uint64_t)number << ORDER_NODE_SHIFT));
}

/* Before the first store to a node of this change. */
void order_edit_open(struct order_edit *e, struct order_node *n);

static ALWAYS_INLINE void order_word_set(struct order_node *n, uint32_t i, uint64_t word)
{
    /* relaxed: the version publishes it */
    atomic_store_explicit(&n->words[i], word, memory_order_relaxed);
}

/* A node for use, open; there is one.  And one that nothing leads to any more. */
uint32_t order_node_take(struct order_edit *e);
void order_node_give(struct order_edit *e, uint32_t number);

/* A new leaf of one key, or a new inner node of two children. */
void order_build_leaf(struct order_node *n, const struct order_item *item);
void order_build_root(struct order_node *n, uint32_t level, uint32_t left,
                      const struct order_item *right);

/* Put an item at place pos of a node that it does not simply fit into: the node is built anew, or split.
 * Returns false, or true: split is the entry for its parent, of the new node to its right. */
MUST_USE bool order_build_put(struct order_edit *e, struct order_node *n, uint32_t pos,
                              const struct order_item *item, struct order_item *split);

/* Join the children pos and pos + 1 of a parent in the former, if they fill less than most of one node.
 * Returns true: the latter is given up, its entry is to be taken out. */
MUST_USE bool order_build_join(struct order_edit *e, const struct order_node *parent, uint32_t pos);

#endif
