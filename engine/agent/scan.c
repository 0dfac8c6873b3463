/* scan - the keys of a space in their order: a page of each shard at a time (engine/scan.h), merged.
 *
 * The smallest key is given out next, then its part goes on; a part that is at the end of its page reads
 * the next one.  Which is the smallest, merge.h says by the eight bytes of each key that follow what all
 * keys of the pages have in common. */
#include "engine/scan.h"
#include "engine/agent/agent.h"
#include "engine/agent/merge.h"
#include "engine/hash.h"

#include <stdlib.h>

#define PAGE_BYTES_MIN (1u << 13) /* room for a page of each shard ... */
#define PAGE_BYTES_MAX (1u << 16)
#define PAGES_BYTES (1u << 20) /* ... and of all, roughly */
#define COUNT_FIRST 16u        /* a short scan is not to read much more than it gives */
#define COUNT_MAX 256u

/* One shard. */
struct part {
    struct scan_page page;
    const struct scan_entry *entry; /* it is at */
    const struct scan_entry *last;  /* of the page */
    uint32_t left;                  /* entries of the page, this one included */
    uint64_t rank;                  /* of its key: the bytes behind what is common, as a number */
    uint64_t rank_next;             /* of the entry behind it: known before it is needed */
    /* LINEARIZABLE, not 0: a page at or above it is new enough, by RING_POSITION */
    uint64_t lsn_floor;
    uint64_t lsn_wait;   /* not 0: so is the next page, by what a follower had not seen committed */
    uint64_t epoch_wait; /* of lsn_wait: the next epoch may have cut that */
    uint64_t epoch, age_ns;
    int stale;
    uint32_t log;
};

struct dunlin_scan {
    struct dunlin_space *space;
    enum dunlin_mode mode;
    uint64_t max_age_ns;
    bool keys_only;
    bool begun, ended;
    uint32_t shard_count, partition_prefix; /* of the space that it began in */
    uint32_t count;                         /* parts */
    struct merge merge;
    uint32_t
        common_length; /* bytes that all keys of the parts' pages, from where they are, begin with */
    uint32_t page_count; /* read since that was found anew */
    uint8_t common[LIMIT_KEY_BYTES];
    struct part parts[];
};

/* ---- the order ---- */

/* The bytes of a key from there on, filled up with zeros.  Why the last eight, shifted: a copy whose length
 * the compiler does not know is a call. */
static uint64_t rank_of(const struct scan_entry *e, uint32_t from)
{
    const uint8_t *key = scan_entry_key(e);
    uint32_t behind = e->key_length - from;
    uint64_t rank = 0;
    if (behind >= 8) {
        memcpy(&rank, key + from, 8);
        return __builtin_bswap64(rank);
    }
    if (LIKELY(behind != 0 && e->key_length >= 8)) {
        memcpy(&rank, key + e->key_length - 8, 8);
        return __builtin_bswap64(rank) << (64 - 8 * behind);
    }
    memcpy(&rank, key + from, behind);
    return __builtin_bswap64(rank);
}

static uint64_t part_rank(const void *context, uint32_t i)
{
    const struct dunlin_scan *s = context;
    return s->parts[i].left != 0 ? s->parts[i].rank : UINT64_MAX;
}

static bool part_before(const void *context, uint32_t a, uint32_t b)
{
    const struct dunlin_scan *s = context;
    if (s->parts[a].left == 0 || s->parts[b].left == 0)
        return s->parts[a].left != 0;
    const struct scan_entry *one = s->parts[a].entry, *other = s->parts[b].entry;
    uint32_t shorter = one->key_length < other->key_length ? one->key_length : other->key_length;
    int compared = memcmp(scan_entry_key(one), scan_entry_key(other), shorter);
    return compared != 0 ? compared < 0 : one->key_length < other->key_length;
}

static void rank_next(const struct dunlin_scan *s, struct part *p)
{
    if (LIKELY(p->left > 1))
        p->rank_next = rank_of(scan_entry_next(p->entry, s->keys_only), s->common_length);
}

/* The key has what is common, or that gets shorter. */
static void common_with(struct dunlin_scan *s, const struct scan_entry *e)
{
    const uint8_t *key = scan_entry_key(e);
    uint32_t length = e->key_length < s->common_length ? e->key_length : s->common_length, i = 0;
    while (i < length && key[i] == s->common[i])
        i++;
    s->common_length = i;
}

/* Find anew what is common, and with it all ranks. */
static void order_anew(struct dunlin_scan *s)
{
    bool any = false;
    s->page_count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct part *p = &s->parts[i];
        if (p->left == 0)
            continue;
        if (!any) {
            s->common_length = p->entry->key_length;
            memcpy(s->common, scan_entry_key(p->entry), s->common_length);
        }
        any = true;
        common_with(s, p->entry);
        common_with(s, p->last);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct part *p = &s->parts[i];
        if (p->left == 0)
            continue;
        p->rank = rank_of(p->entry, s->common_length);
        rank_next(s, p);
    }
    merge_build(&s->merge);
}

/* The first part has a new page, or has ended. */
static void order_page(struct dunlin_scan *s, struct part *p)
{
    uint32_t length = s->common_length;
    if (p->left != 0) {
        common_with(s, p->entry);
        common_with(s, p->last);
    }
    /* Why also where it got no shorter: it may have got longer, since keys are met in order. */
    if (s->common_length != length || ++s->page_count >= s->count) {
        order_anew(s);
        return;
    }
    if (p->left != 0) {
        p->rank = rank_of(p->entry, length);
        rank_next(s, p);
    }
    merge_next(&s->merge, p->left != 0 ? p->rank : UINT64_MAX);
}

/* ---- a page ---- */

#define PAGE_GOOD 0
#define PAGE_AGAIN 1 /* it changed meanwhile, or is to be read anew */
#define PAGE_MAP 2   /* it lies in memory that is not mapped yet */
#define PAGE_ROOM 3  /* no entry fits the buffer */
#define PAGE_WAIT 4  /* what it must hold is not committed here yet */
#define PAGE_ASK 5   /* linearizable, and no lease covers it */

/* R7, and what follows where it does not hold.  Returns 0, PAGE_*, or -ESTALE. */
static int page_judge(struct dunlin_scan *s, struct part *p, const struct read_point *point)
{
    struct dunlin_space *space = s->space;
    struct dunlin_read read = {.mode = s->mode, .max_age_ns = s->max_age_ns};
    uint64_t floor = max_u64(p->lsn_floor, p->lsn_wait);
    if (s->mode == DUNLIN_LINEARIZABLE && floor != 0) {
        p->age_ns = 0;
        p->stale = 0;
        return point->lsn >= floor ? PAGE_GOOD : PAGE_WAIT;
    }
    int judged = agent_get_judge(space, point, &read);
    p->age_ns = read.age_ns;
    p->stale = read.stale;
    if (judged != -EAGAIN)
        return judged;
    p->lsn_wait = agent_get_floor(space, point);
    return p->lsn_wait != 0 ? PAGE_WAIT : PAGE_ASK;
}

/* Why the wait is given up: what was met above the commit LSN may never be committed. */
static void epoch_look(struct part *p, const struct read_space *r)
{
    const struct layout_board *board = &r->boards[p->page.shard];
    /* acquire: before the page is read, so what it meets is of this epoch or of one that is seen next time */
    uint64_t epoch =
        atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&board->epoch, memory_order_acquire);
    p->lsn_wait = epoch == p->epoch_wait ? p->lsn_wait : 0;
    p->epoch_wait = epoch;
}

static int page_once(struct dunlin_scan *s, struct part *p)
{
    struct dunlin_space *space = s->space;
    const struct read_space *r = &space->read;
    struct order_key from;
    struct read_point point;
    bool done = p->page.done;
    from.length = p->page.from.length;
    memcpy(from.bytes, p->page.from.bytes, from.length + 9u);
    epoch_look(p, r);
    int result = scan_read(&p->page, r, &point);
    if (UNLIKELY(result != 0)) {
        space->reads_retried += result == -EAGAIN;
        return result == -EFAULT ? PAGE_MAP : result == -ENOBUFS ? PAGE_ROOM : PAGE_AGAIN;
    }
    p->log = point.board->log;
    p->epoch = get_epoch(&point);
    result = page_judge(s, p, &point);
    if (LIKELY(result == 0)) {
        p->lsn_wait = 0;
        return PAGE_GOOD;
    }
    p->page.done = done;
    p->page.from = from;
    return result;
}

static int room_make(struct part *p)
{
    uint8_t *buffer = realloc(p->page.buffer, p->page.wanted);
    if (buffer == NULL)
        return -ENOMEM;
    p->page.buffer = buffer;
    p->page.capacity = p->page.wanted;
    return 0;
}

/* Whether the space is still dealt to its shards as it was when the scan began. */
static int space_check(const struct dunlin_scan *s)
{
    if (!s->space->bound) {
        int error = agent_space_again(s->space);
        if (error != 0)
            return error;
    }
    const struct read_space *r = &s->space->read;
    return r->geometry.shard_count == s->shard_count &&
                   r->partition_prefix == s->partition_prefix && s->space->ordered
               ? 0
               : -ENOTCONN;
}

/* What to do about a page that is none.  Returns 0: try again. */
static int page_help(struct dunlin_scan *s, struct part *p, int what, const struct waiter *w)
{
    struct dunlin *d = s->space->handle;
    switch (what) {
    case PAGE_MAP:
        return agent_space_map_more(s->space) == 0 || agent_attach_look(d) ? 0 : -ENOTCONN;
    case PAGE_ROOM:
        return room_make(p);
    case PAGE_ASK:
        return agent_get_unleased(s->space, p->page.shard, &p->lsn_floor);
    case PAGE_WAIT:
        return agent_wait_pause(d, w, WAIT_ANY_LCORE) ? 0 : -ENOTCONN;
    default:
        /* Why fewer: fewer segments are touched, and less may change meanwhile. */
        p->page.count_max = p->page.count_max > 1 ? p->page.count_max / 2 : 1;
        cpu_relax();
        return 0;
    }
}

/* Read on until there is an entry, or nothing more.  Returns 0 or an error. */
static int part_fill(struct dunlin_scan *s, struct part *p)
{
    const struct waiter w =
        agent_wait_begin(s->space->handle, s->space->handle->options.timeout_ns);
    p->page.count_max = p->left == 0 && p->entry == NULL ? COUNT_FIRST : p->page.count_max;
    p->left = p->page.count = 0;
    for (uint32_t i = 1; !p->page.done; i++) {
        int result = space_check(s);
        if (result != 0)
            return result;
        result = page_once(s, p);
        if (LIKELY(result == PAGE_GOOD)) {
            s->space->reads_in_place += p->page.count;
            p->page.count_max = (uint32_t)min_u64(2 * (uint64_t)p->page.count_max, COUNT_MAX);
            if (p->page.count != 0)
                break;
            continue;
        }
        if (result > 0)
            result = page_help(s, p, result, &w);
        if (result == 0 && i % LIMIT_READ_RETRIES == 0 &&
            !agent_wait_pause(s->space->handle, &w, WAIT_ANY_LCORE))
            result = -ENOTCONN;
        if (result != 0)
            return result;
    }
    p->left = p->page.count;
    p->entry = (const void *)p->page.buffer;
    p->last = (const void *)(p->page.buffer + p->page.last);
    return 0;
}

/* ---- all parts ---- */

static int begin(struct dunlin_scan *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct part *p = &s->parts[i];
        int error = p->left == 0 ? part_fill(s, p) : 0;
        if (error != 0)
            return error;
    }
    order_anew(s);
    s->begun = true;
    return 0;
}

/* The part that the last entry came from goes on. */
static int go_on(struct dunlin_scan *s)
{
    struct part *p = &s->parts[s->merge.first];
    if (LIKELY(p->left > 1)) {
        p->left--;
        p->entry = scan_entry_next(p->entry, s->keys_only);
        p->rank = p->rank_next;
        merge_next(&s->merge, p->rank);
        rank_next(s, p);
        return 0;
    }
    int error = part_fill(s, p);
    if (error == 0)
        order_page(s, p);
    return error;
}

int dunlin_scan_next(struct dunlin_scan *scan, struct dunlin_scan_entry *entry)
{
    if (scan == NULL || entry == NULL)
        return -EINVAL;
    int error = !scan->begun ? begin(scan) : !scan->ended ? go_on(scan) : 0;
    if (UNLIKELY(error != 0))
        return error;
    const struct part *p = &scan->parts[scan->merge.first];
    scan->ended = p->left == 0;
    if (UNLIKELY(scan->ended))
        return -ENOENT;
    const struct scan_entry *e = p->entry;
    *entry = (struct dunlin_scan_entry){
        .key = scan_entry_key(e),
        .key_length = e->key_length,
        .value = scan->keys_only ? NULL : scan_entry_value(e),
        .value_length = e->value_length,
        .version = {.log = p->log, .lsn = e->lsn},
        .epoch = p->epoch,
        .age_ns = p->age_ns,
        .stale = p->stale,
    };
    return 0;
}

/* ---- beginning and ending ---- */

static bool options_are_sound(const struct dunlin_scan_options *o)
{
    return (o->prefix != NULL || o->prefix_length == 0) &&
           (o->after != NULL || o->after_length == 0) && o->after_length <= LIMIT_KEY_BYTES &&
           (o->mode == DUNLIN_LINEARIZABLE || o->mode == DUNLIN_LOCAL);
}

/* The one shard that all keys with this prefix are in, or the number of shards: none is.  Why only where
 * the prefix has the braces: keys that go on with some are dealt by those. */
static uint32_t shard_of(const struct read_space *r, const struct dunlin_scan_options *o)
{
    const char *part = o->prefix;
    if (o->prefix_length != 0)
        (void)hash_partition_part(o->prefix, o->prefix_length, 0, &part);
    if (part == o->prefix)
        return r->geometry.shard_count;
    return hash_shard(o->prefix, o->prefix_length, hash_key(o->prefix, o->prefix_length),
                      r->partition_prefix, r->geometry.shard_count);
}

static int part_open(struct part *p, const struct dunlin_scan *s,
                     const struct dunlin_scan_options *o)
{
    p->page.keys_only = s->keys_only;
    p->page.capacity = min_u64(max_u64(PAGES_BYTES / s->count, PAGE_BYTES_MIN), PAGE_BYTES_MAX);
    p->page.buffer = malloc(p->page.capacity);
    scan_begin(&p->page, o->prefix, (uint32_t)o->prefix_length, o->after,
               (uint32_t)o->after_length);
    return p->page.buffer != NULL ? 0 : -ENOMEM;
}

int dunlin_scan_open(struct dunlin_space *space, const struct dunlin_scan_options *options,
                     struct dunlin_scan **scan)
{
    static const struct dunlin_scan_options all = {.mode = DUNLIN_LINEARIZABLE};
    const struct dunlin_scan_options *o = options != NULL ? options : &all;
    if (space == NULL || scan == NULL || !options_are_sound(o))
        return -EINVAL;
    if (o->prefix_length > LIMIT_KEY_BYTES)
        return -EMSGSIZE;
    int error = space->bound ? 0 : agent_space_again(space);
    if (error != 0)
        return error;
    if (!space->ordered)
        return -EOPNOTSUPP;
    const struct read_space *r = &space->read;
    uint32_t only = shard_of(r, o);
    uint32_t count = only < r->geometry.shard_count ? 1 : r->geometry.shard_count;
    struct dunlin_scan *s = calloc(1, sizeof *s + count * sizeof s->parts[0]);
    if (s == NULL)
        return -ENOMEM;
    s->space = space;
    s->mode = o->mode;
    s->max_age_ns = o->max_age_ns;
    s->keys_only = o->keys_only != 0;
    s->shard_count = r->geometry.shard_count;
    s->partition_prefix = r->partition_prefix;
    s->count = count;
    s->merge =
        (struct merge){.count = count, .rank = part_rank, .before = part_before, .context = s};
    s->merge.losers = calloc(merge_size(count), sizeof s->merge.losers[0]);
    error = s->merge.losers != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        s->parts[i].page.shard = count == 1 && only < s->shard_count ? only : i;
        error = part_open(&s->parts[i], s, o);
    }
    if (error != 0) {
        dunlin_scan_close(s);
        return error;
    }
    *scan = s;
    return 0;
}

void dunlin_scan_close(struct dunlin_scan *scan)
{
    if (scan == NULL)
        return;
    for (uint32_t i = 0; i < scan->count; i++)
        free(scan->parts[i].page.buffer);
    free(scan->merge.losers);
    free(scan);
}
