#include "engine/order_edit.h"
#include "engine/plant.h"

/* A node that is filled less is joined with one beside it. */
#define JOIN_BELOW_WORDS (ORDER_NODE_WORDS / 4)

/* A frame of which no larger part is in use is left: its nodes go to the others, so many in a pass. */
#define SPARSE_SHARE 4u
#define SPARSE_NODES 8u

#define LEAF_PREFETCH_BYTES (ORDER_NODE_BYTES * 5 / 8)

/* ---- frames and nodes ---- */

/* Of a frame of nodes the directory keeps, for the writer alone: in lsn_start the first of the nodes that
 * were given up, + 1 (each names the next in its word 1), in bytes_used where those begin that were never
 * used, in bytes_live what is in use. */
static struct layout_frame *entry_of(const struct order *o, uint32_t frame)
{
    return &o->frames->directory[frame];
}

static uint32_t frame_shift(const struct order *o)
{
    return o->frames->header->geometry.segment_shift;
}

static uint32_t nodes_per_frame(const struct order *o)
{
    return 1u << (frame_shift(o) - ORDER_NODE_SHIFT);
}

static uint32_t live_of(const struct layout_frame *f)
{
    /* relaxed: this lcore's own, others only look */
    return atomic_load_explicit(&f->bytes_live, memory_order_relaxed);
}

static void live_set(struct layout_frame *f, uint32_t bytes)
{
    atomic_store_explicit(&f->bytes_live, bytes, memory_order_relaxed);
}

uint32_t order_frames_for(const struct order *o, uint32_t splits)
{
    uint32_t wanted = order_nodes_for(o, splits), nodes = nodes_per_frame(o);
    return o->free_count < wanted ? (wanted - o->free_count + nodes - 1) / nodes : 0;
}

int order_make_room_slowly(struct order *o, uint32_t splits)
{
    if (o->levels + ORDER_LEVELS_KEPT > ORDER_LEVELS_MAX)
        return -ENOSPC;
    while (o->free_count < order_nodes_for(o, splits)) {
        uint32_t frame;
        if (frames_available(o->frames) <= FRAMES_KEPT ||
            frames_take(o->frames, FRAME_ORDER, 0, &frame) != 0)
            return -EAGAIN;
        o->list[o->frame_count + o->leaving] = o->list[o->frame_count];
        o->list[o->frame_count++] = frame;
        o->free_count += nodes_per_frame(o);
    }
    return 0;
}

/* A frame with a node that is free; there is one. */
static uint32_t frame_with_room(struct order *o)
{
    uint32_t full = 1u << frame_shift(o);
    for (uint32_t i = 0; live_of(entry_of(o, o->list[o->current])) == full; i++) {
        ASSERT(i < o->frame_count);
        o->current = o->current + 1 < o->frame_count ? o->current + 1 : 0;
    }
    return o->list[o->current];
}

uint32_t order_node_take(struct order_edit *e)
{
    struct order *o = e->order;
    ASSERT(o->free_count != 0);
    uint32_t frame = frame_with_room(o);
    struct layout_frame *f = entry_of(o, frame);
    uint64_t given = atomic_load_explicit(&f->lsn_start, memory_order_relaxed);
    uint32_t number = (uint32_t)given - 1;
    o->free_count--;
    live_set(f, live_of(f) + ORDER_NODE_BYTES);
    if (given != 0) {
        uint64_t next = order_word(order_node_at(o, number), 1);
        atomic_store_explicit(&f->lsn_start, next, memory_order_relaxed);
    } else {
        uint32_t used = atomic_load_explicit(&f->bytes_used, memory_order_relaxed);
        number = (uint32_t)((((uint64_t)frame << frame_shift(o)) + used) >> ORDER_NODE_SHIFT);
        atomic_store_explicit(&f->bytes_used, used + ORDER_NODE_BYTES, memory_order_relaxed);
        /* Why 0 suffices: nobody was led here since the frame was stamped. */
        order_word_set(order_node_at(o, number), 0, 0);
    }
    order_edit_open(e, order_node_at(o, number));
    return number;
}

/* Place in the list of a frame that is being left; UINT32_MAX: it is none. */
static uint32_t leaving_place(const struct order *o, uint32_t frame)
{
    for (uint32_t i = o->frame_count; i < o->frame_count + o->leaving; i++)
        if (o->list[i] == frame)
            return i;
    return UINT32_MAX;
}

void order_node_give(struct order_edit *e, uint32_t number)
{
    struct order *o = e->order;
    struct order_node *n = order_node_at(o, number);
    uint32_t frame = number >> (frame_shift(o) - ORDER_NODE_SHIFT);
    struct layout_frame *f = entry_of(o, frame);
    order_edit_open(e, n);
    order_word_set(n, 1, atomic_load_explicit(&f->lsn_start, memory_order_relaxed));
    atomic_store_explicit(&f->lsn_start, (uint64_t)number + 1, memory_order_relaxed);
    live_set(f, live_of(f) - ORDER_NODE_BYTES);
    o->emptied |= live_of(f) <= (1u << frame_shift(o)) / SPARSE_SHARE;
    o->free_count += LIKELY(o->leaving == 0) || leaving_place(o, frame) == UINT32_MAX;
}

/* Frames that are being left, and of which no node is in use any more. */
static void left_retire(struct order *o, struct reclaim *reclaim, const struct reclaim_now *now)
{
    for (uint32_t i = o->frame_count; i < o->frame_count + o->leaving;) {
        if (live_of(entry_of(o, o->list[i])) != 0) {
            i++;
            continue;
        }
        reclaim_retire(reclaim, o->list[i], now);
        o->list[i] = o->list[o->frame_count + --o->leaving];
    }
}

/* Take a frame out of those in use: the list has no holes. */
static void list_remove(struct order *o, uint32_t place)
{
    o->list[place] = o->list[--o->frame_count];
    o->list[o->frame_count] = o->list[o->frame_count + o->leaving];
    o->current = 0;
}

/* Leave the frame with the fewest nodes in use, if they are few and the others have room for them, and as
 * much again.  False: there is none. */
static bool sparse_leave(struct order *o)
{
    uint32_t nodes = nodes_per_frame(o), fewest = nodes / SPARSE_SHARE + 1, place = 0;
    for (uint32_t i = 0; i < o->frame_count; i++) {
        uint32_t live = live_of(entry_of(o, o->list[i])) >> ORDER_NODE_SHIFT;
        if (live < fewest && live != 0) {
            fewest = live;
            place = i;
        }
    }
    if (fewest > nodes / SPARSE_SHARE ||
        o->free_count < nodes + fewest + nodes / SPARSE_SHARE + order_nodes_for(o, 1))
        return false;
    order_leave(o, place);
    return true;
}

bool order_step(struct order *o, struct reclaim *reclaim, const struct reclaim_now *now)
{
    if (LIKELY(!o->emptied))
        return false;
    o->emptied = false;
    uint32_t nodes = nodes_per_frame(o);
    for (uint32_t i = 0; i < o->frame_count;) {
        bool spare = o->root == 0 || o->free_count >= nodes + order_nodes_for(o, 1);
        if (!spare || live_of(entry_of(o, o->list[i])) != 0) {
            i++;
            continue;
        }
        reclaim_retire(reclaim, o->list[i], now);
        list_remove(o, i);
        o->free_count -= nodes;
    }
    left_retire(o, reclaim, now);
    if (o->leaving == 0 && !sparse_leave(o))
        return false;
    o->emptied = true;
    return order_leave_step(o, SPARSE_NODES) >= 0;
}

/* ---- a change ---- */

void order_edit_open(struct order_edit *e, struct order_node *n)
{
    uint64_t version = order_word(n, 0);
    if ((version & 1) != 0 || PLANTED(NODE_VERSION_SKIPPED))
        return;
    ASSERT(e->count < ORDER_EDIT_NODES);
    e->nodes[e->count++] = n;
    order_word_set(n, 0, version + 1);
    /* O1: pairs with the reader's fence (O2 in scan.c): who finds a word that is stored from here on
     * finds the version changed, and what was stored before, the tombstone horizon above all */
    atomic_thread_fence(memory_order_release);
}

/* O3: release, pairs with the reader's first load of a version */
static void edit_close(const struct order_edit *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        atomic_store_explicit(&e->nodes[i]->words[0], order_word(e->nodes[i], 0) + 1,
                              memory_order_release);
}

static void root_set(struct order *o, uint32_t root)
{
    o->root = root;
    if (!o->unshown)
        /* release: the node is whole, or odd */
        atomic_store_explicit(&o->board->order_root, root, memory_order_release);
}

void order_show(struct order *o)
{
    o->unshown = false;
    root_set(o, o->root);
}

uint32_t order_abandon(struct order *o, uint32_t *frames)
{
    uint32_t count = o->frame_count + o->leaving;
    for (uint32_t i = 0; i < count; i++)
        frames[i] = o->list[i];
    /* relaxed: written by this thread.  Why only then: the board may name another one by now. */
    if (o->root != 0 &&
        atomic_load_explicit(&o->board->order_root, memory_order_relaxed) == o->root)
        atomic_store_explicit(&o->board->order_root, LAYOUT_ORDER_GIVEN_UP, memory_order_release);
    o->root = o->levels = o->free_count = o->frame_count = o->leaving = o->current = 0;
    return count;
}

/* ---- the way to a key ---- */

struct way {
    struct order_node *nodes[ORDER_LEVELS_MAX]; /* by level */
    uint32_t places[ORDER_LEVELS_MAX]; /* in them; of the leaf: where the key is, or goes */
    bool found;
};

static struct order_meta meta_of(const struct order_node *n)
{
    return order_meta_of(order_word(n, 1));
}

static uint32_t payload_of(const struct order_node *n, const struct order_meta *m, uint32_t i)
{
    return order_head_payload(order_word(n, order_base(m) + 2 * i + 1));
}

/* The entries of a leaf of usual keys.  Why all: a search looks at some of them, each a miss that the next
 * one waits for, and what comes in moves half of them. */
static void leaf_prefetch(const struct order_node *n)
{
    for (uint32_t at = 0; at < LEAF_PREFETCH_BYTES; at += CACHE_LINE)
        PREFETCH_WRITE((const uint8_t *)n + at);
}

static void way_find(const struct order *o, const struct order_key *k, struct way *w)
{
    uint32_t number = o->root - 1;
    for (uint32_t level = o->levels; level-- != 0;) {
        struct order_node *n = order_node_at(o, number);
        struct order_meta m = meta_of(n);
        w->nodes[level] = n;
        if (level == 0) {
            w->places[0] = order_find(n, &m, 0, k, &w->found);
            return;
        }
        w->places[level] = order_find_child(n, &m, k);
        number = payload_of(n, &m, w->places[level]);
        if (level == 1)
            leaf_prefetch(order_node_at(o, number));
    }
}

static uint32_t words_free(const struct order_meta *m)
{
    return m->heap - order_base(m) - 2 * m->count;
}

uint32_t order_key_words(uint32_t length)
{
    return 2 + order_heap_words(length);
}

/* Why 4 where the prefix differs: all keys of the leaf get longer then, and the halves that a split for
 * one of the others leaves may have to split once more each. */
uint32_t order_splits_for(const struct order *o, const void *key, uint32_t length, uint32_t words)
{
    struct order_key k;
    struct way w;
    if (!o->enabled || o->root == 0)
        return 1;
    order_key_set(&k, key, length);
    way_find(o, &k, &w);
    struct order_meta m = meta_of(w.nodes[0]);
    if (order_prefix_compare(w.nodes[0], &m, &k) != 0)
        return 4;
    return words_free(&m) + m.garbage < words;
}

/* ---- one entry more ---- */

/* Whether it goes in as the node is: the key begins with the prefix, and there is room. */
static bool item_fits(const struct order_node *n, const struct order_meta *m,
                      const struct order_item *item)
{
    return order_prefix_compare(n, m, &item->key) == 0 &&
           order_key_words(item->key.length - m->prefix_length) <= words_free(m);
}

static void item_put(struct order_node *n, struct order_meta *m, uint32_t pos,
                     const struct order_item *item)
{
    uint32_t base = order_base(m), at = m->prefix_length;
    uint32_t length = item->key.length - at;
    m->heap -= order_heap_words(length);
    for (uint32_t w = 0; w < order_heap_words(length); w++) {
        uint64_t word;
        memcpy(&word, item->key.bytes + at + 8 * ((size_t)w + 1), sizeof word);
        order_word_set(n, m->heap + w, word);
    }
    for (uint32_t i = base + 2 * m->count; i-- > base + 2 * pos;)
        order_word_set(n, i + 2, order_word(n, i));
    order_word_set(n, base + 2 * pos, order_key_word(&item->key, at));
    order_word_set(n, base + 2 * pos + 1, order_head_make(item->payload, m->heap, length));
    m->count++;
    order_word_set(n, 1, order_meta_word(m));
}

static void root_grow(struct order_edit *e, const struct order_item *right)
{
    struct order *o = e->order;
    ASSERT(o->levels < ORDER_LEVELS_MAX);
    uint32_t number = order_node_take(e);
    order_build_root(order_node_at(o, number), o->levels, o->root - 1, right);
    o->levels++;
    root_set(o, number + 1);
}

static void first_insert(struct order_edit *e, const struct order_item *item)
{
    uint32_t number = order_node_take(e);
    order_build_leaf(order_node_at(e->order, number), item);
    e->order->levels = 1;
    root_set(e->order, number + 1);
}

static void insert(struct order_edit *e, struct order_item *item)
{
    struct order *o = e->order;
    struct way w;
    struct order_item split;
    way_find(o, &item->key, &w);
    for (uint32_t level = 0; !w.found; level++) {
        if (level == o->levels) {
            root_grow(e, item);
            return;
        }
        struct order_node *n = w.nodes[level];
        struct order_meta m = meta_of(n);
        uint32_t pos = w.places[level] + (level != 0);
        order_edit_open(e, n);
        if (LIKELY(item_fits(n, &m, item))) {
            item_put(n, &m, pos, item);
            return;
        }
        if (!order_build_put(e, n, pos, item, &split))
            return;
        *item = split;
    }
}

void order_insert(struct order *o, const void *key, uint32_t length, uint32_t hash)
{
    if (!o->enabled)
        return;
    struct order_edit e; /* not zeroed: the list is as long as count says */
    struct order_item item;
    e.order = o;
    e.count = 0;
    item.payload = hash;
    order_key_set(&item.key, key, length);
    if (UNLIKELY(o->root == 0))
        first_insert(&e, &item);
    else
        insert(&e, &item);
    edit_close(&e);
}

/* ---- one entry less ---- */

/* Returns the entries that are left. */
static uint32_t item_remove(struct order_node *n, uint32_t pos)
{
    struct order_meta m = meta_of(n);
    uint32_t base = order_base(&m);
    m.garbage += order_heap_words(order_head_length(order_word(n, base + 2 * pos + 1)));
    m.count--;
    for (uint32_t i = base + 2 * pos; i < base + 2 * m.count; i++)
        order_word_set(n, i, order_word(n, i + 2));
    if (m.level != 0 && pos == 0 && m.count != 0) {
        /* The first of an inner node has no key. */
        uint64_t head = order_word(n, base + 1);
        m.garbage += order_heap_words(order_head_length(head));
        order_word_set(n, base, 0);
        order_word_set(n, base + 1, order_head_make(order_head_payload(head), 0, 0));
    }
    order_word_set(n, 1, order_meta_word(&m));
    return m.count;
}

/* A root with one child is none. */
static void root_shrink(struct order_edit *e)
{
    struct order *o = e->order;
    while (o->levels > 1) {
        const struct order_node *n = order_node_at(o, o->root - 1);
        struct order_meta m = meta_of(n);
        if (m.count != 1)
            return;
        uint32_t child = payload_of(n, &m, 0), number = o->root - 1;
        root_set(o, child + 1);
        o->levels--;
        order_node_give(e, number);
    }
}

/* Whether the node at places[level + 1] of its parent was joined; the parent loses entry *pos then. */
static bool join(struct order_edit *e, const struct way *w, uint32_t level, uint32_t *pos)
{
    struct order_meta m = meta_of(w->nodes[level]), above = meta_of(w->nodes[level + 1]);
    uint32_t place = w->places[level + 1];
    if (ORDER_NODE_WORDS - words_free(&m) - m.garbage >= JOIN_BELOW_WORDS)
        return false;
    *pos = place + 1;
    if (*pos < above.count && order_build_join(e, w->nodes[level + 1], place))
        return true;
    *pos = place;
    return place != 0 && order_build_join(e, w->nodes[level + 1], place - 1);
}

static void erase(struct order_edit *e, const struct way *w)
{
    struct order *o = e->order;
    uint32_t pos = w->places[0];
    for (uint32_t level = 0;; level++) {
        order_edit_open(e, w->nodes[level]);
        bool empty = item_remove(w->nodes[level], pos) == 0;
        if (level + 1 == o->levels) {
            if (empty) {
                uint32_t number = o->root - 1;
                root_set(o, 0);
                o->levels = 0;
                order_node_give(e, number);
            }
            break;
        }
        if (empty) {
            struct order_meta above = meta_of(w->nodes[level + 1]);
            pos = w->places[level + 1];
            order_node_give(e, payload_of(w->nodes[level + 1], &above, pos));
        } else if (!join(e, w, level, &pos)) {
            break;
        }
    }
    root_shrink(e);
}

void order_erase(struct order *o, const void *key, uint32_t length)
{
    if (!o->enabled)
        return;
    struct order_edit e;
    struct order_key k;
    struct way w = {.found = false};
    e.order = o;
    e.count = 0;
    order_key_set(&k, key, length);
    if (o->root != 0)
        way_find(o, &k, &w);
    if (UNLIKELY(!w.found))
        return;
    erase(&e, &w);
    edit_close(&e);
}

/* ---- nodes that go to other frames ---- */

static uint32_t nodes_free(const struct order *o, uint32_t frame)
{
    return nodes_per_frame(o) - (live_of(entry_of(o, frame)) >> ORDER_NODE_SHIFT);
}

void order_leave(struct order *o, uint32_t place)
{
    uint32_t frame = o->list[place];
    o->free_count -= nodes_free(o, frame);
    list_remove(o, place);
    o->list[o->frame_count + o->leaving++] = frame;
    o->emptied = true; /* it may be so already */
}

void order_leave_end(struct order *o)
{
    for (; o->leaving != 0; o->leaving--)
        o->free_count += nodes_free(o, o->list[o->frame_count++]);
}

/* Some key that lies below a node. */
static void key_below(const struct order *o, const struct order_node *n, struct order_key *k)
{
    struct order_meta m = meta_of(n);
    while (m.level != 0) {
        n = order_node_at(o, payload_of(n, &m, 0));
        m = meta_of(n);
    }
    bool is_whole = order_key_load(n, &m, 0, k);
    ASSERT(is_whole);
}

/* The same node in another place, and its parent, or the board, leads there. */
static void node_move(struct order *o, uint32_t number)
{
    struct order_node *from = order_node_at(o, number);
    uint32_t level = meta_of(from).level;
    struct order_edit e;
    struct order_key k;
    struct way w;
    e.order = o;
    e.count = 0;
    key_below(o, from, &k);
    way_find(o, &k, &w);
    ASSERT(w.nodes[level] == from);
    uint32_t to = order_node_take(&e);
    for (uint32_t i = 1; i < ORDER_NODE_WORDS; i++)
        order_word_set(order_node_at(o, to), i, order_word(from, i));
    if (level + 1 == o->levels) {
        root_set(o, to + 1);
    } else {
        struct order_node *above = w.nodes[level + 1];
        struct order_meta m = meta_of(above);
        uint32_t at = order_base(&m) + 2 * w.places[level + 1] + 1;
        order_edit_open(&e, above);
        order_word_set(above, at, (order_word(above, at) & ~(uint64_t)UINT32_MAX) | to);
    }
    order_node_give(&e, number);
    edit_close(&e);
}

#define FRAME_NODES_MAX (1u << (LIMIT_SEGMENT_SHIFT_MAX - ORDER_NODE_SHIFT))

/* Nodes of a frame that are not in use, a bit each: those never used, and those given up. */
static void unused_mark(const struct order *o, uint32_t frame, uint64_t bits[FRAME_NODES_MAX / 64])
{
    const struct layout_frame *f = entry_of(o, frame);
    uint32_t first = frame << (frame_shift(o) - ORDER_NODE_SHIFT);
    uint32_t used = atomic_load_explicit(&f->bytes_used, memory_order_relaxed) >> ORDER_NODE_SHIFT;
    memset(bits, 0, FRAME_NODES_MAX / 8);
    for (uint32_t i = used; i < nodes_per_frame(o); i++)
        bits[i / 64] |= UINT64_C(1) << i % 64;
    for (uint64_t next = atomic_load_explicit(&f->lsn_start, memory_order_relaxed); next != 0;
         next = order_word(order_node_at(o, (uint32_t)next - 1), 1)) {
        uint32_t i = (uint32_t)next - 1 - first;
        bits[i / 64] |= UINT64_C(1) << i % 64;
    }
}

/* Returns 1: count is used up; 0: none of it is in use any more; or -EAGAIN. */
static int frame_leave(struct order *o, uint32_t frame, uint32_t *count)
{
    uint64_t unused[FRAME_NODES_MAX / 64];
    unused_mark(o, frame, unused);
    for (uint32_t i = 0; i < nodes_per_frame(o); i++) {
        if ((unused[i / 64] >> i % 64 & 1) != 0)
            continue;
        if (*count == 0)
            return 1;
        --*count;
        if (order_make_room(o, 1) != 0)
            return -EAGAIN;
        node_move(o, (frame << (frame_shift(o) - ORDER_NODE_SHIFT)) + i);
    }
    return 0;
}

int order_leave_step(struct order *o, uint32_t count)
{
    for (uint32_t i = o->frame_count; i < o->frame_count + o->leaving; i++) {
        int result = frame_leave(o, o->list[i], &count);
        if (result != 0)
            return result;
    }
    return 0;
}
