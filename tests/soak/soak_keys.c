/* Keys that one writer alone changes, so that it knows what each must hold: of 8 bytes to 64 KiB,
 * overwritten, deleted, expired by their ttl, and read in every way there is. */
#include "tests/soak/soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 4u  /* versions that are remembered: as many as the space keeps */
#define BURST 8u /* puts in flight at once */
#define TTL_EVERY 8u
#define TTL_REST 16u /* of a key that is still there, so many are read for each that is written */
#define NAME_BYTES 16u
#define HELD_EVERY 16u /* so many views are held for a while, */
#define HELD_MS 60u    /* less than they may be */

/* A change of a key. */
struct change {
    struct dunlin_version version;
    uint64_t sequence;
    uint64_t previous; /* LSN of the change before */
    uint32_t length;
    bool there; /* false: deleted */
};

struct key {
    char name[NAME_BYTES];
    uint32_t id;
    uint64_t sequence;
    struct change kept[KEPT]; /* the newest first; lsn 0: none */
    uint64_t until_ns;        /* of a key with a ttl: it stays at least till then; 0: no ttl */
};

struct writer {
    struct soak_thread t; /* first: threads get its address */
    struct key keys[SOAK_KEYS];
    uint8_t *values; /* BURST values that are written */
    uint8_t *got;    /* BURST that are read */
    uint8_t *wanted;
};

static struct writer writers[SOAK_NODES];

/* ---- values ---- */

struct head {
    uint64_t sequence, previous;
    uint32_t id, length;
};

static void value_make(void *value, const struct head *head)
{
    uint8_t *at = value;
    uint64_t state = head->sequence * 0x10001u + head->id;
    memcpy(at, head, min_u64(sizeof *head, head->length));
    for (size_t done = sizeof *head; done < head->length; done += sizeof state) {
        uint64_t word = e2e_random(&state);
        memcpy(at + done, &word, min_u64(sizeof word, head->length - done));
    }
}

bool soak_value_check(uint32_t id, const void *value, size_t length, uint64_t *previous)
{
    static _Thread_local uint8_t wanted[SOAK_VALUE_MAX];
    struct head head = {0};
    *previous = 0;
    if (length < sizeof head.sequence || length > SOAK_VALUE_MAX)
        return false;
    memcpy(&head, value, min_u64(sizeof head, length));
    if (length < sizeof head)
        return true;
    if (head.id != id || head.length != length)
        return false;
    value_make(wanted, &head);
    *previous = head.previous;
    return memcmp(wanted, value, length) == 0;
}

/* ---- what must be there ---- */

static bool is_ttl(const struct key *k)
{
    return k->id % TTL_EVERY == TTL_EVERY - 1;
}

static void changed(struct key *k, const struct change *change)
{
    memmove(&k->kept[1], &k->kept[0], (KEPT - 1) * sizeof k->kept[0]);
    k->kept[0] = *change;
    k->kept[0].previous = k->kept[1].version.lsn;
}

static bool is_value(struct writer *w, const struct key *k, const struct change *c,
                     const struct dunlin_get_entry *e)
{
    const struct head head = {
        .sequence = c->sequence, .previous = c->previous, .id = k->id, .length = c->length};
    if (e->read.length != c->length)
        return false;
    value_make(w->wanted, &head);
    return memcmp(w->wanted, e->buffer, c->length) == 0;
}

/* What a read of a key, begun after its last write was answered, found. */
static void judge(struct writer *w, struct key *k, const struct dunlin_get_entry *e,
                  const char *how)
{
    const struct change *c = &k->kept[0];
    if (soak_unavailable(e->result))
        return;
    if (e->result == -ENOENT) {
        if (c->there && (k->until_ns == 0 || clock_boottime_ns() < k->until_ns))
            e2e_fail("%s by %s at node %u is not there; put at lsn %llu", k->name, how,
                     w->t.node + 1, (unsigned long long)c->version.lsn);
        if (c->there && k->until_ns != 0) {
            /* Why: from now on it must stay away, though nobody knows the LSN of its expiry. */
            k->kept[0].there = false;
            soak_count(SOAK_TTL_GONE);
        }
        return;
    }
    if (e->result != 0)
        e2e_fail("%s by %s at node %u: %s", k->name, how, w->t.node + 1, strerror(-e->result));
    else if (!c->there)
        e2e_fail("%s by %s at node %u is there, lsn %llu; gone since lsn %llu", k->name, how,
                 w->t.node + 1, (unsigned long long)e->read.version.lsn,
                 (unsigned long long)c->version.lsn);
    else if (e->read.version.lsn != c->version.lsn || !is_value(w, k, c, e))
        e2e_fail("%s by %s at node %u: lsn %llu, length %zu; put at %llu, length %u", k->name, how,
                 w->t.node + 1, (unsigned long long)e->read.version.lsn, e->read.length,
                 (unsigned long long)c->version.lsn, c->length);
}

/* ---- one key ---- */

static struct dunlin_get_entry entry_of(struct writer *w, const struct key *k, uint32_t place)
{
    return (struct dunlin_get_entry){.key = k->name,
                                     .key_length = strlen(k->name),
                                     .buffer = w->got + (size_t)place * SOAK_VALUE_MAX,
                                     .capacity = SOAK_VALUE_MAX};
}

static void get_one(struct writer *w, struct key *k, const char *how)
{
    struct dunlin_get_entry e = entry_of(w, k, 0);
    e.result = dunlin_get(w->t.space, e.key, e.key_length, e.buffer, e.capacity, &e.read);
    judge(w, k, &e, how);
}

/* ---- writing ---- */

/* Why the less of two: so that all versions that are kept stay well below the quota. */
static uint32_t length_of(struct soak_thread *t)
{
    uint64_t step = UINT64_C(8) << min_u64(soak_below(t, 14), soak_below(t, 14));
    return (uint32_t)min_u64(step + soak_below(t, step), SOAK_VALUE_MAX);
}

/* The next change of a key: a put of a length, or with 0 a delete. */
static struct change change_next(struct key *k, uint32_t length)
{
    return (struct change){.sequence = ++k->sequence,
                           .previous = k->kept[0].version.lsn,
                           .length = length,
                           .there = length != 0};
}

static struct dunlin_write write_of(struct key *k, const struct change *c, void *value)
{
    const struct head head = {
        .sequence = c->sequence, .previous = c->previous, .id = k->id, .length = c->length};
    if (c->there)
        value_make(value, &head);
    return (struct dunlin_write){.operation = c->there ? DUNLIN_PUT : DUNLIN_DELETE,
                                 .key = k->name,
                                 .key_length = strlen(k->name),
                                 .value = c->there ? value : NULL,
                                 .value_length = c->length};
}

/* What became of it. */
static void written(struct writer *w, struct key *k, struct change *c, int result)
{
    if (soak_unavailable(result))
        return;
    if (result == 0) {
        changed(k, c);
        soak_count(c->there ? SOAK_PUTS : SOAK_DELETES);
    } else if (result != -ENOENT || c->there || k->kept[0].there) {
        e2e_fail("%s of %s at node %u: %s", c->there ? "put" : "delete", k->name, w->t.node + 1,
                 strerror(-result));
    }
}

static struct key *any_key(struct writer *w, bool ttl)
{
    uint64_t group = soak_below(&w->t, SOAK_KEYS / TTL_EVERY);
    uint64_t in_group = ttl ? TTL_EVERY - 1 : soak_below(&w->t, TTL_EVERY - 1);
    return &w->keys[group * TTL_EVERY + in_group];
}

static void write_one(struct writer *w, uint32_t length)
{
    struct key *k = any_key(w, false);
    struct change c = change_next(k, length);
    struct dunlin_write write = write_of(k, &c, w->values);
    written(w, k, &c, soak_write(&w->t, &write, NULL, &c.version));
}

static void do_put(struct writer *w)
{
    write_one(w, length_of(&w->t));
}

static void do_delete(struct writer *w)
{
    write_one(w, 0);
}

static void do_put_ttl(struct writer *w)
{
    struct key *k = any_key(w, true);
    if (k->kept[0].there && soak_below(&w->t, TTL_REST) != 0) { /* so that some run out */
        get_one(w, k, "get");
        return;
    }
    struct change c = change_next(k, length_of(&w->t));
    struct dunlin_write write = write_of(k, &c, w->values);
    write.ttl_ns = (1 + soak_below(&w->t, 400)) * NS_PER_MS;
    uint64_t begun_ns = clock_boottime_ns();
    int error = soak_write(&w->t, &write, NULL, &c.version);
    written(w, k, &c, error);
    if (error == 0) {
        k->until_ns = begun_ns + write.ttl_ns;
        soak_count(SOAK_TTL_PUTS);
    }
}

struct burst {
    struct dunlin_write writes[BURST];
    struct dunlin_write_id ids[BURST];
    struct change changes[BURST];
    struct key *keys[BURST];
    uint32_t count;
};

static void collect(struct writer *w, struct burst *b)
{
    struct dunlin_completion done[BURST];
    while (dunlin_in_flight(w->t.handle) > 0) {
        size_t n = dunlin_poll(w->t.handle, done, BURST, NS_PER_S);
        for (size_t i = 0; i < n; i++) {
            uint32_t at = (uint32_t)done[i].context;
            int result = done[i].result;
            b->changes[at].version = done[i].version;
            if (result == -EOWNERDEAD)
                result = soak_retry(&w->t, &b->ids[at], &b->writes[at], &b->changes[at].version);
            written(w, b->keys[at], &b->changes[at], result);
        }
    }
}

/* Several at once, of different keys. */
static void do_burst(struct writer *w)
{
    struct burst b = {0};
    uint32_t first = (uint32_t)soak_below(&w->t, SOAK_KEYS);
    for (uint32_t i = 0; i < BURST; i++) {
        struct key *k = &w->keys[(first + i) % SOAK_KEYS];
        uint32_t n = b.count;
        if (is_ttl(k))
            continue;
        b.keys[n] = k;
        b.changes[n] = change_next(k, length_of(&w->t));
        b.writes[n] = write_of(k, &b.changes[n], w->values + (size_t)n * SOAK_VALUE_MAX);
        b.writes[n].context = n;
        int error = dunlin_submit(w->t.space, &b.writes[n]);
        if (error == -EAGAIN || soak_unavailable(error))
            break;
        if (error != 0 || dunlin_last_write(w->t.handle, &b.ids[n]) != 0)
            e2e_fail("submit of %s at node %u: %s", k->name, w->t.node + 1, strerror(-error));
        b.count++;
    }
    collect(w, &b);
    soak_count(SOAK_BURSTS);
}

/* ---- reading ---- */

static void do_get(struct writer *w)
{
    get_one(w, &w->keys[soak_below(&w->t, SOAK_KEYS)], "get");
    soak_count(SOAK_GETS);
}

static void do_batch(struct writer *w)
{
    struct dunlin_get_entry entries[BURST];
    uint32_t first = (uint32_t)soak_below(&w->t, SOAK_KEYS);
    for (uint32_t i = 0; i < BURST; i++)
        entries[i] = entry_of(w, &w->keys[(first + i) % SOAK_KEYS], i);
    if (dunlin_get_many(w->t.space, entries, BURST) != 0)
        e2e_fail("a batched get at node %u is refused", w->t.node + 1);
    for (uint32_t i = 0; i < BURST; i++)
        judge(w, &w->keys[(first + i) % SOAK_KEYS], &entries[i], "batched get");
    soak_count(SOAK_BATCHES);
}

static void do_view(struct writer *w)
{
    struct key *k = &w->keys[soak_below(&w->t, SOAK_KEYS)];
    struct dunlin_get_entry e = entry_of(w, k, 0);
    struct dunlin_view view = {.read.mode = DUNLIN_LINEARIZABLE};
    int error = dunlin_view(w->t.space, e.key, e.key_length, &view);
    if (error == 0) {
        if (soak_below(&w->t, HELD_EVERY) == 0)
            e2e_sleep_ms(soak_below(&w->t, HELD_MS));
        memcpy(e.buffer, view.value, min_u64(view.read.length, SOAK_VALUE_MAX));
        error = dunlin_release(w->t.space, &view);
    }
    if (error == -EAGAIN ||
        error == -ESTALE) /* not to be pinned, or we were not run for too long */
        return;
    e.result = error;
    e.read = view.read;
    judge(w, k, &e, "view");
    soak_count(SOAK_VIEWS);
}

/* One of the last versions: all of them are kept, but where a snapshot took their place, and but for what
 * a deleted key was: its tombstone may be gone. */
static void do_read_at(struct writer *w)
{
    struct key *k = any_key(w, false);
    uint32_t back = (uint32_t)soak_below(&w->t, KEPT);
    const struct change *c = &k->kept[back];
    struct dunlin_get_entry e = entry_of(w, k, 0);
    if (c->version.lsn == 0)
        return;
    e.read.at = c->version;
    e.result = dunlin_get(w->t.space, e.key, e.key_length, e.buffer, e.capacity, &e.read);
    if (soak_unavailable(e.result))
        return;
    if (e.result == -ENODATA && (back > 0 || !c->there)) {
        soak_count(SOAK_COMPACTED);
        return;
    }
    if (c->there ? e.result != 0 || !is_value(w, k, c, &e) : e.result != -ENOENT)
        e2e_fail("%s at lsn %llu, %u versions ago, at node %u: %s, length %zu; was %u", k->name,
                 (unsigned long long)c->version.lsn, back, w->t.node + 1, strerror(-e.result),
                 e.read.length, c->length);
    soak_count(SOAK_READS_AT);
}

/* One key that a scan found; returns its number, or SOAK_KEYS. */
static uint32_t scanned(struct writer *w, const struct dunlin_scan_entry *entry, uint32_t from)
{
    for (uint32_t i = from; i < SOAK_KEYS; i++) {
        struct key *k = &w->keys[i];
        if (strlen(k->name) != entry->key_length ||
            memcmp(k->name, entry->key, entry->key_length) != 0)
            continue;
        struct dunlin_get_entry e = entry_of(w, k, 0);
        e.read.version = entry->version;
        e.read.length = entry->value_length;
        memcpy(e.buffer, entry->value, min_u64(entry->value_length, SOAK_VALUE_MAX));
        judge(w, k, &e, "scan");
        return i;
    }
    e2e_fail("a scan at node %u gives %.*s, out of order or never written", w->t.node + 1,
             (int)entry->key_length, (const char *)entry->key);
    return SOAK_KEYS;
}

static void do_scan(struct writer *w)
{
    char prefix[NAME_BYTES];
    int length = snprintf(prefix, sizeof prefix, "k/%u/", w->t.node);
    const struct dunlin_scan_options options = {.prefix = prefix, .prefix_length = (size_t)length};
    const struct dunlin_get_entry none = {.result = -ENOENT};
    struct dunlin_scan_entry entry;
    struct dunlin_scan *scan;
    uint32_t next = 0;
    int error = dunlin_scan_open(w->t.space, &options, &scan);
    if (error != 0) {
        if (!soak_unavailable(error))
            e2e_fail("a scan at node %u: %s", w->t.node + 1, strerror(-error));
        return;
    }
    while (next <= SOAK_KEYS && (error = dunlin_scan_next(scan, &entry)) == 0) {
        uint32_t found = scanned(w, &entry, next);
        for (; next < found && found < SOAK_KEYS; next++)
            judge(w, &w->keys[next], &none, "scan");
        next = found + 1;
    }
    for (; error == -ENOENT && next < SOAK_KEYS; next++)
        judge(w, &w->keys[next], &none, "scan");
    dunlin_scan_close(scan);
    if (error == -ENOENT)
        soak_count(SOAK_SCANS);
    else if (!soak_unavailable(error))
        e2e_fail("a scan at node %u: %s", w->t.node + 1, strerror(-error));
}

/* ---- the run ---- */

static void *writer_run(void *context)
{
    static void (*const steps[])(struct writer *) = {
        do_put,   do_put,   do_put, do_delete,  do_burst, do_burst, do_burst,
        do_batch, do_batch, do_get, do_read_at, do_scan,  do_view,  do_put_ttl,
    };
    struct writer *w = context;
    while (!soak_over())
        steps[soak_below(&w->t, sizeof steps / sizeof steps[0])](w);
    return NULL;
}

void soak_keys_begin(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        struct writer *w = &writers[n];
        w->values = e2e_shared((size_t)BURST * SOAK_VALUE_MAX);
        w->got = e2e_shared((size_t)BURST * SOAK_VALUE_MAX);
        w->wanted = e2e_shared(SOAK_VALUE_MAX);
        for (uint32_t i = 0; i < SOAK_KEYS; i++) {
            w->keys[i].id = n * SOAK_KEYS + i;
            (void)snprintf(w->keys[i].name, NAME_BYTES, "k/%u/%02u", n, i);
        }
        soak_start(&w->t, n, writer_run);
    }
}

void soak_keys_end(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        soak_join(&writers[n].t);
}

void soak_keys_check(struct soak_thread *t)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        struct writer *w = &writers[n];
        w->t = *t;
        for (uint32_t i = 0; i < SOAK_KEYS; i++)
            get_one(w, &w->keys[i], "last get");
    }
}

struct dunlin_version soak_keys_last(uint32_t writer, uint32_t key)
{
    return writers[writer].keys[key].kept[0].version;
}
