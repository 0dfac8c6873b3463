/* The observer: a process that only reads, in place, what the others write.
 *
 * Each burst it polls a few keys without pause: a change it sees there became visible since it
 * looked last, so now minus the value's stamp is the time from submission to visible (and what the
 * scheduler adds).  Between bursts it sleeps, so that on few cores it does not become the load.
 * Checks: versions never fall; values are whole; a read that is linearizable reflects what was
 * acknowledged before it began; a view whose release says it was safe did not change. */
#include "bench/fleet.h"

#include "bench/fleet_random.h"
#include "bench/geohash.h"
#include "engine/clock.h"
#include "engine/hash.h"

#include <stdlib.h>
#include <time.h>

#define KEYS 16u
#define CHOICES 256u /* slots looked at to find them */
#define BURST_NS 150000u
#define SLEEP_NS (2 * NS_PER_MS)
#define VIEWS 6u /* at a time */
#define VIEW_MIN_NS NS_PER_MS
#define VIEW_SPREAD_NS (200u * 1000000u)
#define SEEN 4096u

/* A slot as it was before a read. */
struct target {
    const struct fleet_region *region;
    const struct fleet_slot *slot;
    uint64_t start, owner, lsn_acked;
    uint64_t lsn; /* seen so far; 0: not there */
    struct fleet_key key;
    char value[FLEET_VALUE_BYTES];
};

/* A value that is held in place. */
struct held {
    bool is_held;
    int before; /* of fleet_value_parse, when the view began */
    size_t length;
    uint64_t until_ns;
    struct dunlin_view view;
    struct target target;
};

struct observer {
    const struct fleet *fleet;
    struct fleet_region *region;
    struct dunlin *handle;
    struct dunlin_space *telemetry, *sectors;
    uint64_t random;
    struct target targets[KEYS];
    struct held held[VIEWS];
    struct {
        uint64_t owner, lsn, start;
    } seen[SEEN];
};

static uint64_t word(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_acquire); /* S2 */
}

static void found(struct observer *o, const struct target *t, enum fleet_finding finding,
                  uint64_t expected, uint64_t lsn)
{
    struct fleet_mismatch m = {finding, GEOHASH_NONE, t->owner, expected, lsn};
    fleet_journal_finding(o->region, t->start, &m);
}

static uint32_t state_of(const struct target *t)
{
    return atomic_load_explicit(&t->slot->state, memory_order_acquire); /* S2 */
}

/* Some agent; flying: one that is told of now.  Order: owners never repeat and the words of a slot
 * are reset while it has none, so what lies between two equal owners belongs to it. */
static bool choose(struct observer *o, struct target *t, bool flying)
{
    uint32_t life = (uint32_t)fleet_random_below(&o->random, o->fleet->life_count);
    t->region = o->fleet->regions[life];
    t->start = word(&t->region->start);
    uint32_t at = (uint32_t)fleet_random_below(&o->random, t->region->slot_count);
    t->slot = &fleet_region_slots(t->region)[at];
    t->owner = word(&t->slot->owner);
    t->lsn_acked = word(&t->slot->lsn_acked);
    t->lsn = 0;
    uint32_t state = state_of(t);
    return t->owner != 0 && t->start != 0 && t->start == fleet_start(o->handle) &&
           (flying ? state == FLEET_SLOT_FLYING : fleet_slot_state_is_live(state)) &&
           word(&t->slot->owner) == t->owner;
}

/* What was said of the target before a read still held after it. */
static bool still(const struct observer *o, const struct target *t)
{
    return fleet_slot_state_is_live(state_of(t)) && word(&t->slot->owner) == t->owner &&
           word(&t->region->start) == t->start &&
           atomic_load_explicit(&t->region->is_dead, memory_order_acquire) == 0 && /* D2 */
           fleet_start(o->handle) == t->start;
}

/* Versions of an owner as seen by this process, over all bursts. */
static void remember(struct observer *o, const struct target *t, uint64_t lsn)
{
    uint64_t at = hash_key(&t->owner, sizeof(t->owner)) % SEEN;
    if (o->seen[at].owner == t->owner && o->seen[at].start == t->start && lsn < o->seen[at].lsn)
        found(o, t, FLEET_FINDING_VERSION_FELL, o->seen[at].lsn, lsn);
    o->seen[at].owner = t->owner;
    o->seen[at].start = t->start;
    o->seen[at].lsn = lsn;
}

/* One answer.  A change since the last look is a sample of propagation. */
static void judge(struct observer *o, struct target *t, const struct dunlin_get_entry *entry,
                  bool sample)
{
    uint64_t now = clock_boottime_ns(), stamp_ns, number, lsn = entry->read.version.lsn;
    bool linearizable = entry->read.mode == DUNLIN_LINEARIZABLE;
    if (entry->result == -ENOENT && linearizable && t->lsn_acked != 0 && still(o, t))
        found(o, t, FLEET_FINDING_MISSING, t->lsn_acked, 0);
    if (entry->result != 0 || lsn == t->lsn || !still(o, t))
        return;
    if (fleet_value_parse(t->value, entry->read.length, &t->key, &stamp_ns, &number) != 0) {
        found(o, t, FLEET_FINDING_TORN, t->lsn, lsn);
        return;
    }
    if (lsn < t->lsn)
        found(o, t, FLEET_FINDING_VERSION_FELL, t->lsn, lsn);
    else if (linearizable && lsn < t->lsn_acked)
        found(o, t, FLEET_FINDING_NOT_VISIBLE, t->lsn_acked, lsn);
    remember(o, t, lsn);
    t->lsn = lsn;
    if (sample)
        histogram_add(&o->region->latency, now > stamp_ns ? now - stamp_ns : 0);
}

static void burst(struct observer *o)
{
    struct dunlin_get_entry entries[KEYS] = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < CHOICES && n < KEYS; i++)
        n += choose(o, &o->targets[n], true);
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        struct target *t = &o->targets[i];
        fleet_key_telemetry(&t->key, o->fleet->run, o->fleet->sources, t->owner);
        entries[i] = (struct dunlin_get_entry){.key = t->key.bytes,
                                               .key_length = t->key.length,
                                               .buffer = t->value,
                                               .capacity = sizeof(t->value)};
    }
    enum dunlin_mode mode = fleet_random(&o->random) & 1 ? DUNLIN_LOCAL : DUNLIN_LINEARIZABLE;
    uint64_t until = clock_boottime_ns() + BURST_NS;
    for (bool first = true; first || clock_boottime_ns() < until; first = false) {
        for (uint32_t i = 0; i < n; i++)
            entries[i].read = (struct dunlin_read){.mode = mode};
        if (dunlin_get_many(o->telemetry, entries, n) != 0)
            return;
        for (uint32_t i = 0; i < n; i++)
            judge(o, &o->targets[i], &entries[i], !first);
        fleet_count(o->region, FLEET_READS, n);
    }
}

/* A held sector stands with its owner and version as long as its slot says so. */
static void look_at_sector(struct observer *o)
{
    struct target t;
    struct fleet_sector_state state;
    if (!choose(o, &t, true))
        return;
    uint32_t cell = atomic_load_explicit(&t.slot->cell_held, memory_order_acquire); /* S2 */
    uint64_t lsn = word(&t.slot->lsn_held);
    if (cell == GEOHASH_NONE || !still(o, &t) ||
        atomic_load_explicit(&t.slot->cell_held, memory_order_acquire) != cell) /* S2 */
        return;
    int error = fleet_sector_get(o->fleet, o->sectors, cell, &state);
    fleet_count(o->region, FLEET_READS, 1);
    if ((error != 0 && error != -EBADMSG) || !still(o, &t) || word(&t.slot->lsn_held) != lsn ||
        atomic_load_explicit(&t.slot->cell_held, memory_order_acquire) != cell) /* S2 */
        return;
    struct fleet_mismatch m = {FLEET_FINDING_TORN, cell, t.owner, lsn, state.lsn};
    if (error == 0)
        m.finding = state.lsn < lsn ? FLEET_FINDING_NOT_VISIBLE : FLEET_FINDING_STOLEN;
    if (error != 0 || state.lsn != lsn || state.owner != t.owner)
        fleet_journal_finding(o->region, t.start, &m);
}

static void view_end(struct observer *o, struct held *h)
{
    uint64_t stamp_ns, number;
    uint64_t lsn = h->view.read.version.lsn;
    int after = fleet_value_parse(h->view.value, h->length, &h->target.key, &stamp_ns, &number);
    h->is_held = false;
    if (dunlin_release(o->telemetry, &h->view) != 0)
        return; /* held too long, and told so */
    fleet_count(o->region, FLEET_VIEWS, 1);
    if (h->before != 0 || after != 0)
        found(o, &h->target, FLEET_FINDING_VIEW, lsn, lsn);
}

static void view_begin(struct observer *o, struct held *h)
{
    uint64_t stamp_ns, number;
    struct target *t = &h->target;
    if (!choose(o, t, false))
        return;
    fleet_key_telemetry(&t->key, o->fleet->run, o->fleet->sources, t->owner);
    h->view = (struct dunlin_view){.read = {.mode = DUNLIN_LOCAL}};
    if (dunlin_view(o->telemetry, t->key.bytes, t->key.length, &h->view) != 0)
        return;
    h->is_held = true;
    h->length = h->view.read.length;
    h->before = fleet_value_parse(h->view.value, h->length, &t->key, &stamp_ns, &number);
    h->until_ns =
        clock_boottime_ns() + VIEW_MIN_NS + fleet_random_below(&o->random, VIEW_SPREAD_NS);
}

/* Values held in place for a while: long enough for the memory around them to be cleaned and
 * reused. */
static void look_at_views(struct observer *o)
{
    uint64_t now = clock_boottime_ns();
    for (uint32_t i = 0; i < VIEWS; i++) {
        if (!o->held[i].is_held)
            view_begin(o, &o->held[i]);
        else if (now >= o->held[i].until_ns)
            view_end(o, &o->held[i]);
    }
}

int fleet_observer_main(const struct fleet *f)
{
    struct timespec sleep = {.tv_nsec = (long)SLEEP_NS};
    struct observer *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return 1;
    o->fleet = f;
    o->region = fleet_region_observer(f);
    o->random = f->options.seed;
    if (fleet_attach(f, &o->handle, &o->telemetry, &o->sectors) != 0)
        return 1;
    /* relaxed: a flag that is looked at again and again */
    while (atomic_load_explicit(&f->shared->stop, memory_order_relaxed) == 0) {
        burst(o);
        for (uint32_t i = 0; i < 4; i++)
            look_at_sector(o);
        look_at_views(o);
        (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
    }
    dunlin_close(o->handle);
    return 0;
}
