#include "engine/scan.h"

/* Entries that are looked up together; the buckets of two such groups and the records of one are on the
 * way while one is read. */
#define GROUP 16u

/* A leaf as it was at one moment. */
struct leaf {
    struct order_node node; /* copy of what is in use */
    struct order_meta meta;
    const struct order_key *from; /* what is looked for */
    uint32_t first;               /* entry */
    bool has_high;                /* else it is the last one */
    struct order_key high;        /* all its keys are below */
};

void scan_begin(struct scan_page *page, const void *prefix, uint32_t prefix_length,
                const void *after, uint32_t after_length)
{
    order_key_set(&page->prefix, prefix, prefix_length);
    page->from = page->prefix;
    page->done = false;
    uint32_t shorter = prefix_length < after_length ? prefix_length : after_length;
    int compared = shorter != 0 ? memcmp(after, prefix, shorter) : 0;
    if (after_length == 0 || compared < 0 || (compared == 0 && after_length < prefix_length))
        return;
    page->done = compared > 0;
    order_key_set(&page->from, after, after_length);
    order_key_after(&page->from);
}

/* ---- the leaf ---- */

static const struct order_node *node_at(struct read_point *p, const struct read_space *s,
                                        uint64_t number)
{
    uint64_t offset = number << ORDER_NODE_SHIFT;
    if (UNLIKELY(offset + ORDER_NODE_BYTES > s->mapped_bytes))
        return NULL;
    if (LIKELY(p->frame_count < READ_FRAMES_MAX))
        p->frames[p->frame_count] = (uint32_t)(offset >> s->geometry.segment_shift);
    p->frame_count++;
    return (const struct order_node *)(const void *)(s->arena + offset);
}

static uint64_t version_of(const struct order_node *n)
{
    /* acquire, pairs with O3 */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&n->words[0], memory_order_acquire);
}

/* O2: all that was loaded of the node, and of those before it, since its version was, is of that. */
static bool version_is(const struct order_node *n, uint64_t version)
{
    atomic_thread_fence(memory_order_acquire);
    return order_word(n, 0) == version && (version & 1) == 0;
}

static uint64_t root_of(const struct read_point *p)
{
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&p->board->order_root,
                                memory_order_acquire);
}

static int leaf_copy(const struct order_node *n, uint64_t version, struct leaf *l)
{
    const struct order_meta *m = &l->meta;
    bool equal;
    for (uint32_t w = ORDER_HEAD_WORDS; w < order_base(m) + 2 * m->count; w++)
        atomic_store_explicit(&l->node.words[w], order_word(n, w), memory_order_relaxed);
    for (uint32_t w = m->heap; w < ORDER_NODE_WORDS; w++)
        atomic_store_explicit(&l->node.words[w], order_word(n, w), memory_order_relaxed);
    if (!version_is(n, version))
        return -EAGAIN;
    l->first = order_find(&l->node, m, 0, l->from, &equal);
    return 0;
}

/* From a node, whose version was loaded before it was known to be the right one, to the child that holds
 * l->from.  Returns NULL: -EAGAIN or -EFAULT in *error. */
static const struct order_node *child_of(struct read_point *p, const struct read_space *s,
                                         const struct order_node *n, struct leaf *l, int *error)
{
    const struct order_meta *m = &l->meta;
    uint32_t i = order_find_child(n, m, l->from);
    uint32_t child = order_head_payload(order_word(n, order_base(m) + 2 * i + 1));
    *error = -EAGAIN;
    if (i + 1 < m->count) {
        l->has_high = true;
        if (!order_key_load(n, m, i + 1, &l->high))
            return NULL;
    }
    n = node_at(p, s, child);
    if (UNLIKELY(n == NULL))
        *error = -EFAULT;
    return n;
}

/* The leaf that holds from, if any.  Each node's version is loaded before the one above it is checked
 * again: then it was the right node when its version was that. */
static int leaf_find(struct read_point *p, const struct read_space *s, const struct order_key *from,
                     struct leaf *l)
{
    uint64_t root = root_of(p);
    l->meta = (struct order_meta){.count = 0};
    l->from = from;
    l->first = 0;
    l->has_high = false;
    /* Why here: once for the whole page. */
    if (UNLIKELY(read_is_stale(p, s)))
        return -EFAULT;
    if (root == LAYOUT_ORDER_EMPTY)
        return 0;
    if (UNLIKELY(root == LAYOUT_ORDER_GIVEN_UP))
        return -EAGAIN;
    const struct order_node *n = node_at(p, s, root - 1);
    if (n == NULL)
        return -EFAULT;
    uint64_t version = version_of(n);
    if (root_of(p) != root)
        return -EAGAIN;
    for (uint32_t above = ORDER_LEVELS_MAX;; above = l->meta.level) {
        int error;
        l->meta = order_meta_of(order_word(n, 1));
        if (!order_meta_sound(&l->meta) || l->meta.level >= above)
            return -EAGAIN;
        if (l->meta.level == 0)
            return leaf_copy(n, version, l);
        const struct order_node *child = child_of(p, s, n, l, &error);
        uint64_t version_child = child != NULL ? version_of(child) : 0;
        if (!version_is(n, version))
            return -EAGAIN;
        if (child == NULL)
            return error;
        n = child;
        version = version_child;
    }
}

/* ---- its keys and records ---- */

/* A walk over a leaf's entries. */
struct walk {
    const struct leaf *leaf;
    uint32_t base;   /* word of the first entry */
    uint32_t end;    /* entry behind the last that is looked at */
    bool inside;     /* all keys of the leaf begin with the page's prefix */
    uint32_t bucket; /* first entry whose bucket is not on the way yet, and whose record */
    uint32_t record;
    struct read_group group;
    uint32_t hashes[ORDER_NODE_ENTRIES];
    uint64_t slots[ORDER_NODE_ENTRIES];
};

static void walk_begin(struct walk *w, const struct leaf *l, const struct scan_page *page)
{
    uint64_t *words = w->group.key.words;
    w->leaf = l;
    w->base = order_base(&l->meta);
    w->end = (uint32_t)min_u64(l->meta.count, l->first + (uint64_t)page->count_max);
    w->bucket = w->record = l->first;
    w->group.hashes = w->hashes;
    w->group.slots = w->slots;
    w->group.keys_only = page->keys_only;
    w->group.key.shard = page->shard;
    for (uint32_t i = 0; i < (l->meta.prefix_length + 7) / 8; i++)
        words[i] = order_word(&l->node, ORDER_HEAD_WORDS + i);
    w->inside = page->prefix.length <= l->meta.prefix_length &&
                memcmp(words, page->prefix.bytes, page->prefix.length) == 0;
    for (uint32_t i = l->first; i < w->end; i++)
        w->hashes[i] = order_head_payload(order_word(&l->node, w->base + 2 * i + 1));
}

/* Have what entry i takes on the way. */
static void walk_ahead(struct walk *w, struct read_point *p, const struct read_space *s, uint32_t i)
{
    if (LIKELY(i + GROUP < w->record || w->record == w->end))
        return;
    while (w->record <= i + GROUP && w->record < w->end) {
        uint32_t bucket = (uint32_t)min_u64(w->record + 2 * GROUP, w->end);
        uint32_t record = (uint32_t)min_u64(w->record + GROUP, w->end);
        read_group_buckets(p, s, &w->group, w->bucket, bucket);
        read_group_slots(p, s, &w->group, w->record, record);
        w->bucket = bucket;
        w->record = record;
    }
}

/* Why not order_key_load: the prefix stands there already, and most keys end in the first word. */
static void walk_key(struct walk *w, uint32_t i)
{
    const struct leaf *l = w->leaf;
    struct read_key *k = &w->group.key;
    uint64_t head = order_word(&l->node, w->base + 2 * i + 1), word;
    uint32_t length = order_head_length(head), heap = order_head_heap(head);
    uint8_t *to = (uint8_t *)k->words + l->meta.prefix_length;
    word = __builtin_bswap64(order_word(&l->node, w->base + 2 * i));
    memcpy(to, &word, sizeof word);
    for (uint32_t n = 0; n < order_heap_words(length); n++) {
        word = order_word(&l->node, heap + n);
        memcpy(to + 8 * ((size_t)n + 1), &word, sizeof word);
    }
    memset(to + length, 0, 8);
    k->length = l->meta.prefix_length + length;
    k->hash = order_head_payload(head);
}

static bool begins_with(const void *key, uint32_t length, const struct order_key *prefix)
{
    return length >= prefix->length && memcmp(key, prefix->bytes, prefix->length) == 0;
}

/* The entry at the end of the buffer.  False: it does not fit. */
static bool entry_put(struct scan_page *page, uint64_t *used, const struct read_key *k,
                      const struct read_found *found)
{
    uint64_t key_bytes = align_up(k->length, 8);
    uint64_t value_bytes = page->keys_only ? 0 : align_up(found->value_length, 8);
    uint64_t bytes = sizeof(struct scan_entry) + key_bytes + value_bytes;
    if (bytes > page->capacity - *used) {
        page->wanted = bytes;
        return false;
    }
    struct scan_entry *e = (void *)(page->buffer + *used);
    *e = (struct scan_entry){
        .lsn = found->lsn, .key_length = k->length, .value_length = found->value_length};
    uint64_t *to = (uint64_t *)(e + 1);
    for (uint32_t i = 0; i < key_bytes / 8; i++)
        to[i] = k->words[i];
    if (!page->keys_only)
        read_copy(found, to + key_bytes / 8, found->value_length);
    *used += bytes;
    return true;
}

/* What a page came to. */
struct outcome {
    uint64_t used, last;
    uint32_t count;
    bool done;  /* a key behind the range was met */
    bool ended; /* before the leaf did: at the key of the walk */
};

/* Returns 0, -EAGAIN or -EFAULT. */
static int leaf_read(struct scan_page *page, const struct read_space *s, struct read_point *p,
                     struct walk *w, struct outcome *o)
{
    const struct read_key *k = &w->group.key;
    read_group_begin(p, s, &w->group);
    for (uint32_t i = w->leaf->first; i < w->leaf->meta.count; i++) {
        struct read_found found;
        walk_ahead(w, p, s, i);
        walk_key(w, i);
        o->done = !w->inside && !begins_with(k->words, k->length, &page->prefix);
        o->ended = i == w->end;
        if (o->done || o->ended)
            return 0;
        int result = read_group_find(p, s, &w->group, i, &found);
        if (result < 0)
            return result;
        if (result == 0)
            continue;
        uint64_t at = o->used;
        o->ended = !entry_put(page, &o->used, k, &found);
        if (o->ended)
            return 0;
        o->last = at;
        o->count++;
    }
    return 0;
}

/* The page is good: the next one begins behind it. */
static void page_on(struct scan_page *page, const struct walk *w, const struct outcome *o)
{
    const struct leaf *l = w->leaf;
    page->count = o->count;
    page->used = o->used;
    page->last = o->last;
    if (o->ended)
        order_key_set(&page->from, w->group.key.words, w->group.key.length);
    else if (o->done || !l->has_high || !begins_with(l->high.bytes, l->high.length, &page->prefix))
        page->done = true;
    else
        page->from = l->high;
}

int scan_read(struct scan_page *page, const struct read_space *s, struct read_point *p)
{
    struct leaf l; /* not zeroed: 4 KiB, of which a leaf uses what meta says */
    struct walk w;
    struct outcome o = {.count = 0};
    page->count = 0;
    page->used = page->wanted = 0;
    read_begin(p, s, page->shard);
    int error = page->done ? 0 : leaf_find(p, s, &page->from, &l);
    if (error != 0 || page->done)
        return error;
    walk_begin(&w, &l, page);
    error = leaf_read(page, s, p, &w, &o);
    if (error != 0)
        return error;
    /* Why as a miss: what it does not hold is an answer, too. */
    if (!read_validate(p, s, true))
        return -EAGAIN;
    if (o.ended && o.count == 0 && page->wanted != 0)
        return -ENOBUFS;
    page_on(page, &w, &o);
    return 0;
}
