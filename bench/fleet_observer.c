/* The observer: a process that only reads, in place, what the others write, at every node.
 *
 * Each burst it polls a few keys at all nodes several times without pause: a change it sees there became visible
 * since it looked last, so now minus the value's stamp is the time from submission to visible (and
 * what the scheduler adds); that of the last node to show it is the time to the farthest.  Between
 * bursts it sleeps, so that on few cores it does not become the load.  A node that is added is asked
 * from when it serves, one that is removed no more.
 * Checks: what fleet_look.h says of versions; values are whole; a held sector stands; a view whose
 * release says it was safe did not change. */
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
#define ROUNDS 3u /* at least: where reads are slow, a single one would see no change */
#define SLEEP_NS (2 * NS_PER_MS)
#define VIEWS 6u /* at a time */
#define VIEW_MIN_NS NS_PER_MS
#define VIEW_SPREAD_NS (200u * 1000000u)
#define SEEN 4096u
#define REFUSED_NS NS_PER_S

/* A slot as it was before a read. */
struct target {
    const struct fleet_region *region;
    const struct fleet_slot *slot;
    uint64_t start, owner;
    struct fleet_look look; /* of this burst */
    uint32_t asked_mask;    /* nodes asked in it: what is new there became visible since */
    uint32_t wrong_mask;    /* nodes whose answers were found wrong in it: once is enough */
    struct fleet_key key;
    char value[FLEET_VALUE_BYTES];
};

/* A value that is held in place. */
struct held {
    bool is_held;
    int before; /* of fleet_value_parse, when the view began */
    uint32_t node;
    size_t length;
    uint64_t until_ns;
    struct dunlin_view view;
    struct target target;
};

/* One node. */
struct outlook {
    struct fleet_seat seat;
    struct fleet_region *region;
    uint64_t start; /* of its daemon when we came */
    /* A node that does not answer linearizable reads (it has no lease now) costs a timeout for each
     * key: it is let alone for a while, and then asked for one key first. */
    bool answers;
    uint64_t ask_again_ns;
};

struct observer {
    const struct fleet *fleet;
    struct outlook nodes[FLEET_NODES_MAX];
    uint32_t open_mask; /* nodes that we came to */
    uint32_t mask;      /* of these, those that are asked */
    uint64_t random;
    struct target targets[KEYS];
    struct held held[VIEWS];
    struct {
        uint64_t owner, start;
        struct fleet_look look;
    } seen[SEEN]; /* over all bursts */
};

static uint64_t word(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_acquire); /* S2 */
}

static void found(const struct outlook *at, const struct target *t, enum fleet_finding finding,
                  uint64_t expected, uint64_t lsn)
{
    struct fleet_mismatch m = {finding, GEOHASH_NONE, t->owner, expected, lsn};
    fleet_journal_finding(at->region, t->start, &m);
}

static void refused(struct outlook *at)
{
    at->answers = false;
    at->ask_again_ns = clock_boottime_ns() + REFUSED_NS;
    fleet_count(at->region, FLEET_READS_REFUSED, 1);
}

/* A read was answered. */
static void answered(struct outlook *at, bool linearizable)
{
    at->answers = at->answers || linearizable;
    fleet_count(at->region, FLEET_READS_LINEARIZABLE, linearizable);
}

static uint32_t some_node(struct observer *o)
{
    uint32_t node;
    do /* Why this ends: the first node is always asked. */
        node = (uint32_t)fleet_random_below(&o->random, o->fleet->node_count);
    while ((o->mask & 1u << node) == 0);
    return node;
}

static uint32_t state_of(const struct target *t)
{
    return atomic_load_explicit(&t->slot->state, memory_order_acquire); /* S2 */
}

/* What was acknowledged by a start of the first node's daemon, it still has; the others are those
 * that we came to. */
static bool daemons_stand(const struct observer *o, uint64_t start)
{
    for (uint32_t i = fleet_is_cluster(o->fleet) ? 0 : 1; i < o->fleet->node_count; i++)
        if ((o->mask & 1u << i) != 0 &&
            fleet_start_of_daemon(o->nodes[i].seat.handle) != o->nodes[i].start)
            return false;
    return fleet_start(o->fleet, o->nodes[0].seat.handle) == start;
}

/* A node of a cluster that came back without its memory may show older versions than before, until it has
 * caught up. */
static void take_newcomers(struct observer *o)
{
    for (uint32_t i = 0; fleet_is_cluster(o->fleet) && i < o->fleet->node_count; i++) {
        if ((o->mask & 1u << i) == 0)
            continue;
        uint64_t start = fleet_start_of_daemon(o->nodes[i].seat.handle);
        if (start == o->nodes[i].start)
            continue;
        o->nodes[i].start = start;
        for (uint32_t k = 0; k < SEEN; k++)
            o->seen[k].look.lsn[i] = o->seen[k].look.lsn_aged[i] = 0;
    }
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
    t->look = (struct fleet_look){.lsn_acked = word(&t->slot->lsn_acked)};
    t->asked_mask = t->wrong_mask = 0;
    uint32_t state = state_of(t);
    return t->owner != 0 && t->start != 0 && daemons_stand(o, t->start) &&
           (flying ? state == FLEET_SLOT_FLYING : fleet_slot_state_is_live(state)) &&
           word(&t->slot->owner) == t->owner;
}

/* What was said of the target before a read still held after it. */
static bool still(const struct observer *o, const struct target *t)
{
    return fleet_slot_state_is_live(state_of(t)) && word(&t->slot->owner) == t->owner &&
           word(&t->region->start) == t->start &&
           atomic_load_explicit(&t->region->is_dead, memory_order_acquire) == 0 && /* D2 */
           daemons_stand(o, t->start);
}

/* What is known of an owner from earlier bursts. */
static struct fleet_look *look_of(struct observer *o, const struct target *t)
{
    uint64_t at = hash_key(&t->owner, sizeof(t->owner)) % SEEN;
    if (o->seen[at].owner != t->owner || o->seen[at].start != t->start) {
        o->seen[at].owner = t->owner;
        o->seen[at].start = t->start;
        o->seen[at].look = (struct fleet_look){0};
    }
    return &o->seen[at].look;
}

/* One answer.  A change since the last look is a sample of propagation. */
static void judge(struct observer *o, uint32_t node, struct target *t,
                  const struct dunlin_get_entry *entry)
{
    uint64_t now = clock_boottime_ns(), stamp_ns = 0, number, expected;
    struct outlook *at = &o->nodes[node];
    struct fleet_answer a = {.node = node, .linearizable = entry->read.mode == DUNLIN_LINEARIZABLE};
    a.aged = !a.linearizable && entry->read.age_ns != 0;
    if (entry->result == 0)
        a.lsn = entry->read.version.lsn;
    else if (entry->result != -ENOENT) {
        refused(at);
        return;
    }
    answered(at, a.linearizable);
    bool sample = (t->asked_mask & 1u << node) != 0;
    t->asked_mask |= 1u << node;
    struct fleet_look *earlier = look_of(o, t);
    int finding = fleet_look_judge(&t->look, &a, &expected);
    if (finding == 0)
        finding = fleet_look_judge(earlier, &a, &expected);
    if ((finding == 0 && a.lsn == t->look.lsn[node]) || (t->wrong_mask & 1u << node) != 0 ||
        !still(o, t))
        return;
    if (a.lsn != 0 &&
        fleet_value_parse(t->value, entry->read.length, &t->key, &stamp_ns, &number) != 0)
        finding = FLEET_FINDING_TORN;
    if (finding != 0) {
        t->wrong_mask |= 1u << node;
        found(at, t, (enum fleet_finding)finding, expected, a.lsn);
        return;
    }
    (void)fleet_look_take(earlier, &a, o->mask);
    bool farthest = fleet_look_take(&t->look, &a, o->mask);
    uint64_t passed_ns = now > stamp_ns ? now - stamp_ns : 0;
    if (sample)
        histogram_add(&at->region->latency, passed_ns);
    if (sample && farthest)
        histogram_add(&o->fleet->shared->farthest, passed_ns);
}

static uint32_t keys_to_ask(const struct outlook *at, enum dunlin_mode mode, uint32_t count)
{
    if (mode == DUNLIN_LOCAL || at->answers)
        return count;
    return clock_boottime_ns() >= at->ask_again_ns ? 1 : 0;
}

static void burst(struct observer *o)
{
    struct dunlin_get_entry entries[KEYS] = {0};
    uint32_t n = 0;
    take_newcomers(o);
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
    for (uint32_t round = 0; round < ROUNDS || clock_boottime_ns() < until; round++) {
        for (uint32_t node = 0; node < o->fleet->node_count; node++) {
            if ((o->mask & 1u << node) == 0)
                continue;
            uint32_t count = keys_to_ask(&o->nodes[node], mode, n);
            for (uint32_t i = 0; i < count; i++)
                entries[i].read = (struct dunlin_read){.mode = mode};
            if (dunlin_get_many(o->nodes[node].seat.telemetry, entries, count) != 0)
                return;
            for (uint32_t i = 0; i < count; i++)
                judge(o, node, &o->targets[i], &entries[i]);
            fleet_count(o->nodes[node].region, FLEET_READS, count);
        }
    }
}

/* A held sector stands with its owner and version as long as its slot says so. */
static void look_at_sector(struct observer *o)
{
    struct target t;
    struct fleet_sector_state state;
    struct outlook *at = &o->nodes[some_node(o)];
    if (!choose(o, &t, true) || keys_to_ask(at, DUNLIN_LINEARIZABLE, 1) == 0)
        return;
    uint32_t cell = atomic_load_explicit(&t.slot->cell_held, memory_order_acquire); /* S2 */
    uint64_t lsn = word(&t.slot->lsn_held);
    if (cell == GEOHASH_NONE || !still(o, &t) ||
        atomic_load_explicit(&t.slot->cell_held, memory_order_acquire) != cell) /* S2 */
        return;
    int error = fleet_sector_get(o->fleet, at->seat.sectors, cell, &state);
    fleet_count(at->region, FLEET_READS, 1);
    if (error != 0 && error != -EBADMSG)
        refused(at);
    else
        answered(at, true);
    if ((error != 0 && error != -EBADMSG) || !still(o, &t) || word(&t.slot->lsn_held) != lsn ||
        atomic_load_explicit(&t.slot->cell_held, memory_order_acquire) != cell) /* S2 */
        return;
    struct fleet_mismatch m = {FLEET_FINDING_TORN, cell, t.owner, lsn, state.lsn};
    if (error == 0)
        m.finding = state.lsn < lsn ? FLEET_FINDING_NOT_VISIBLE : FLEET_FINDING_STOLEN;
    if (error != 0 || state.lsn != lsn || state.owner != t.owner)
        fleet_journal_finding(at->region, t.start, &m);
}

static void view_end(struct observer *o, struct held *h)
{
    uint64_t stamp_ns, number;
    uint64_t lsn = h->view.read.version.lsn;
    struct outlook *at = &o->nodes[h->node];
    int after = fleet_value_parse(h->view.value, h->length, &h->target.key, &stamp_ns, &number);
    h->is_held = false;
    if (dunlin_release(at->seat.telemetry, &h->view) != 0)
        return; /* held too long, and told so */
    fleet_count(at->region, FLEET_VIEWS, 1);
    if (h->before != 0 || after != 0)
        found(at, &h->target, FLEET_FINDING_VIEW, lsn, lsn);
}

static void view_begin(struct observer *o, struct held *h)
{
    uint64_t stamp_ns, number;
    struct target *t = &h->target;
    if (!choose(o, t, false))
        return;
    fleet_key_telemetry(&t->key, o->fleet->run, o->fleet->sources, t->owner);
    h->view = (struct dunlin_view){.read = {.mode = DUNLIN_LOCAL}};
    h->node = some_node(o);
    if (dunlin_view(o->nodes[h->node].seat.telemetry, t->key.bytes, t->key.length, &h->view) != 0)
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

/* Those that are in the cluster now.  Returns 0, or as fleet_attach. */
static int nodes_open(struct observer *o)
{
    const uint32_t members = fleet_members(o->fleet); /* M2 */
    for (uint32_t i = 0; i < o->fleet->node_count; i++) {
        struct outlook *at = &o->nodes[i];
        if ((members & ~o->open_mask & 1u << i) == 0)
            continue;
        at->region = fleet_region_observer(o->fleet, i);
        int error = fleet_attach(o->fleet, i, i == 0, &at->seat);
        if (error != 0)
            return error;
        at->start = fleet_start_of_daemon(at->seat.handle);
        o->open_mask |= 1u << i;
    }
    o->mask = members;
    return 0;
}

static void nodes_close(struct observer *o)
{
    for (uint32_t i = 0; i < o->fleet->node_count; i++) {
        struct outlook *at = &o->nodes[i];
        struct dunlin_info info;
        if ((o->open_mask & 1u << i) == 0)
            continue;
        dunlin_info(at->seat.handle, &info);
        fleet_count(at->region, FLEET_READS_IN_PLACE, info.reads_in_place);
        fleet_count(at->region, FLEET_READS_BY_RING, info.reads_by_ring);
        fleet_detach(&at->seat);
    }
}

static int observe(struct observer *o)
{
    struct timespec sleep = {.tv_nsec = (long)SLEEP_NS};
    int error = 0;
    /* relaxed: a flag that is looked at again and again */
    while (atomic_load_explicit(&o->fleet->shared->stop, memory_order_relaxed) == 0 &&
           (error = nodes_open(o)) == 0) {
        burst(o);
        for (uint32_t i = 0; i < 4; i++)
            look_at_sector(o);
        look_at_views(o);
        (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
    }
    return error;
}

int fleet_observer_main(const struct fleet *f)
{
    struct observer *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return 1;
    o->fleet = f;
    o->random = f->options.seed;
    int error = observe(o);
    nodes_close(o);
    free(o);
    return error == 0 ? 0 : 1;
}
