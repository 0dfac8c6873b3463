/* order_build - nodes of the ordered index built anew: order.h. */
#include "engine/order_edit.h"

/* Two nodes that are joined fill no more than this, so that one more key does not split them again. */
#define JOINED_WORDS_MAX (ORDER_NODE_WORDS * 3 / 4)

/* Why copies: a node is built in private memory and stored in one go over what it was built from. */
struct image {
    uint64_t words[ORDER_NODE_WORDS];
};

/* An entry, its key in three pieces where its node keeps it. */
struct view {
    const uint8_t *prefix, *rest;
    uint64_t first; /* the bytes behind the prefix, as they lie in memory */
    uint32_t prefix_length;
    uint32_t length; /* of the whole key; 0: first of an inner node */
    uint32_t payload;
};

/* Entries in order, of two nodes at most. */
struct views {
    uint32_t count;
    struct view at[2 * ORDER_NODE_ENTRIES + 2];
};

static void image_take(struct image *i, const struct order_node *n)
{
    for (uint32_t w = 0; w < ORDER_NODE_WORDS; w++)
        i->words[w] = order_word(n, w);
}

static struct view view_of_entry(const struct image *i, const struct order_meta *m, uint32_t entry)
{
    uint32_t at = order_base(m) + 2 * entry;
    uint64_t head = i->words[at + 1];
    bool keyless = m->level != 0 && entry == 0;
    return (struct view){
        .prefix = (const uint8_t *)&i->words[ORDER_HEAD_WORDS],
        .rest = (const uint8_t *)&i->words[order_head_heap(head) % ORDER_NODE_WORDS],
        .first = __builtin_bswap64(i->words[at]),
        .prefix_length = keyless ? 0 : m->prefix_length,
        .length = keyless ? 0 : m->prefix_length + order_head_length(head),
        .payload = order_head_payload(head),
    };
}

static struct view view_of_item(const struct order_item *item)
{
    struct view v = {
        .rest = item->key.bytes + 8, .length = item->key.length, .payload = item->payload};
    memcpy(&v.first, item->key.bytes, sizeof v.first);
    return v;
}

static void views_add(struct views *v, const struct image *i, const struct order_meta *m)
{
    for (uint32_t entry = 0; entry < m->count; entry++)
        v->at[v->count++] = view_of_entry(i, m, entry);
}

/* The part of [from, to) of a key that a piece of it, which begins at start, has. */
static void piece_copy(const uint8_t *piece, uint32_t start, uint32_t length,
                       const uint32_t range[2], uint8_t *to)
{
    uint32_t first = range[0] > start ? range[0] : start;
    uint32_t last = range[1] < start + length ? range[1] : start + length;
    if (first < last)
        memcpy(to + (first - range[0]), piece + (first - start), last - first);
}

static void view_copy(const struct view *v, uint32_t from, uint32_t length, uint8_t *to)
{
    const uint32_t range[2] = {from, from + length};
    uint32_t p = v->prefix_length;
    piece_copy(v->prefix, 0, p, range, to);
    piece_copy((const uint8_t *)&v->first, p, 8, range, to);
    if (range[1] > p + 8)
        piece_copy(v->rest, p + 8, range[1] - (p + 8), range, to);
}

static void view_key(const struct view *v, struct order_key *k)
{
    view_copy(v, 0, v->length, k->bytes);
    k->length = v->length;
    memset(k->bytes + k->length, 0, 9);
}

static uint32_t common_length(const struct view *a, const struct view *b)
{
    struct order_key one, other;
    view_key(a, &one);
    view_key(b, &other);
    uint32_t length = 0, shorter = a->length < b->length ? a->length : b->length;
    while (length < shorter && one.bytes[length] == other.bytes[length])
        length++;
    return length;
}

/* ---- building ---- */

/* Views [first, last) as a node of this level. */
struct part {
    const struct views *views;
    uint32_t first, last, level, prefix_length;
};

static struct part part_of(const struct views *v, uint32_t first, uint32_t last, uint32_t level)
{
    struct part p = {.views = v, .first = first, .last = last, .level = level};
    uint32_t keyed = first + (level != 0);
    if (keyed < last)
        p.prefix_length = common_length(&v->at[keyed], &v->at[last - 1]);
    return p;
}

static bool is_keyless(const struct part *p, uint32_t i)
{
    return p->level != 0 && i == p->first;
}

static uint32_t part_words(const struct part *p)
{
    uint32_t words = ORDER_HEAD_WORDS + (p->prefix_length + 7) / 8;
    for (uint32_t i = p->first; i < p->last; i++)
        words += is_keyless(p, i) ? 2 : order_key_words(p->views->at[i].length - p->prefix_length);
    return words;
}

static void entry_build(const struct part *p, uint32_t i, struct image *to, struct order_meta *m)
{
    const struct view *v = &p->views->at[i];
    uint32_t length = is_keyless(p, i) ? 0 : v->length - p->prefix_length;
    uint32_t at = order_base(m) + 2 * m->count++;
    uint8_t suffix[LIMIT_KEY_BYTES + 16];
    view_copy(v, p->prefix_length, length, suffix);
    memset(suffix + length, 0, 8);
    m->heap -= order_heap_words(length);
    memcpy(&to->words[m->heap], suffix + 8, 8 * (size_t)order_heap_words(length));
    memcpy(&to->words[at], suffix, sizeof to->words[at]);
    to->words[at] = __builtin_bswap64(to->words[at]);
    to->words[at + 1] = order_head_make(v->payload, m->heap, length);
}

/* Store a part as node n, which is open. */
static void part_store(const struct part *p, struct order_node *n)
{
    struct image to;
    struct order_meta m = {
        .prefix_length = p->prefix_length, .heap = ORDER_NODE_WORDS, .level = p->level};
    ASSERT(part_words(p) <= ORDER_NODE_WORDS && p->last > p->first);
    uint32_t base = order_base(&m);
    if (base > ORDER_HEAD_WORDS) {
        to.words[base - 1] = 0;
        view_copy(&p->views->at[p->last - 1], 0, p->prefix_length,
                  (uint8_t *)&to.words[ORDER_HEAD_WORDS]);
    }
    for (uint32_t i = p->first; i < p->last; i++)
        entry_build(p, i, &to, &m);
    to.words[1] = order_meta_word(&m);
    for (uint32_t w = 1; w < base + 2 * m.count; w++)
        order_word_set(n, w, to.words[w]);
    for (uint32_t w = m.heap; w < ORDER_NODE_WORDS; w++)
        order_word_set(n, w, to.words[w]);
}

void order_build_leaf(struct order_node *n, const struct order_item *item)
{
    struct views v; /* not zeroed, as below: filled as far as count says */
    v.count = 1;
    v.at[0] = view_of_item(item);
    struct part p = part_of(&v, 0, 1, 0);
    part_store(&p, n);
}

void order_build_root(struct order_node *n, uint32_t level, uint32_t left,
                      const struct order_item *right)
{
    struct views v;
    v.count = 2;
    v.at[0] = (struct view){.payload = left};
    v.at[1] = view_of_item(right);
    struct part p = part_of(&v, 0, 2, level);
    part_store(&p, n);
}

/* ---- splitting ---- */

/* Where to split views of which pos is new: behind the others where it comes last, since keys often come
 * in order; before them where only that leaves them the prefix they need to fit; else in the middle. */
static uint32_t split_at(const struct views *v, uint32_t level, uint32_t pos, bool shares)
{
    uint32_t first = level != 0;
    if (pos + 1 == v->count)
        return pos;
    if (!shares)
        return first + 1;
    uint32_t all = 0, words = 0, i = 0;
    for (uint32_t j = 0; j < v->count; j++)
        all += order_key_words(v->at[j].length - v->at[j].prefix_length);
    while (i + 1 < v->count && words < all / 2) {
        words += order_key_words(v->at[i].length - v->at[i].prefix_length);
        i++;
    }
    return i;
}

/* The key that the right one of two nodes begins with in their parent: of leaves no longer than it must be
 * to tell it from the last one on the left. */
static void split_key(const struct views *v, uint32_t level, uint32_t at, struct order_key *k)
{
    view_key(&v->at[at], k);
    if (level != 0)
        return;
    k->length = common_length(&v->at[at - 1], &v->at[at]) + 1;
    memset(k->bytes + k->length, 0, 9);
}

bool order_build_put(struct order_edit *e, struct order_node *n, uint32_t pos,
                     const struct order_item *item, struct order_item *split)
{
    struct image from;
    struct views v;
    image_take(&from, n);
    struct order_meta m = order_meta_of(from.words[1]);
    bool shares = order_prefix_compare(n, &m, &item->key) == 0;
    v.count = 0;
    views_add(&v, &from, &m);
    memmove(&v.at[pos + 1], &v.at[pos], (v.count - pos) * sizeof v.at[0]);
    v.at[pos] = view_of_item(item);
    if (shares) {
        /* Why: the sizes in split_at are those behind the prefix that all have. */
        v.at[pos].prefix = item->key.bytes;
        v.at[pos].prefix_length = m.prefix_length;
        memcpy(&v.at[pos].first, item->key.bytes + m.prefix_length, sizeof v.at[pos].first);
        v.at[pos].rest = item->key.bytes + m.prefix_length + 8;
    }
    v.count++;
    struct part whole = part_of(&v, 0, v.count, m.level);
    if (part_words(&whole) <= ORDER_NODE_WORDS) {
        part_store(&whole, n);
        return false;
    }
    uint32_t at = split_at(&v, m.level, pos, shares);
    struct part left = part_of(&v, 0, at, m.level), right = part_of(&v, at, v.count, m.level);
    split_key(&v, m.level, at, &split->key);
    split->payload = order_node_take(e);
    part_store(&right, order_node_at(e->order, split->payload));
    part_store(&left, n);
    return true;
}

/* ---- joining ---- */

bool order_build_join(struct order_edit *e, const struct order_node *parent, uint32_t pos)
{
    struct order *o = e->order;
    struct image above, left, right;
    struct views v;
    image_take(&above, parent);
    struct order_meta m = order_meta_of(above.words[1]);
    struct view entry = view_of_entry(&above, &m, pos + 1);
    uint32_t into = view_of_entry(&above, &m, pos).payload;
    image_take(&left, order_node_at(o, into));
    image_take(&right, order_node_at(o, entry.payload));
    struct order_meta one = order_meta_of(left.words[1]), other = order_meta_of(right.words[1]);
    v.count = 0;
    views_add(&v, &left, &one);
    views_add(&v, &right, &other);
    ASSERT(v.count > one.count);
    if (one.level != 0) {
        uint32_t child = v.at[one.count].payload;
        v.at[one.count] = entry;
        v.at[one.count].payload = child;
    }
    struct part joined = part_of(&v, 0, v.count, one.level);
    if (part_words(&joined) > JOINED_WORDS_MAX)
        return false;
    order_edit_open(e, order_node_at(o, into));
    part_store(&joined, order_node_at(o, into));
    order_node_give(e, entry.payload);
    return true;
}
