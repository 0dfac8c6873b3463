/* The agent process: replays its rows, tells telemetry, collects completions.  See fleet_agent.h.
 */
#include "bench/fleet_agent.h"

#include "engine/clock.h"
#include "engine/ring.h"

#include <stdlib.h>
#include <time.h>

#define ROWS_PER_PASS 64u
#define COMPLETIONS 256u
#define COMMAND_NAP_NS 50000u /* while a command waits to be tried again */
#define NAP_MIN_NS NS_PER_MS  /* rows are taken together: a wake-up costs more than a row */
#define NAP_MAX_NS (50 * NS_PER_MS)
#define CPU_PERIOD_NS (20 * NS_PER_MS)
#define DRAIN_NS (5 * NS_PER_S) /* at the end, for what is in flight */

void fleet_todo(struct fleet_process *p, uint32_t flyer)
{
    if (!p->flyers[flyer].queued) {
        p->flyers[flyer].queued = true;
        p->todo[p->todo_count++] = flyer;
    }
}

void fleet_refused(struct fleet_process *p, int error)
{
    fleet_count(p->region, FLEET_REFUSED, 1);
    /* relaxed: only for the summary */
    atomic_store_explicit(&p->region->last_refusal, error, memory_order_relaxed);
}

static void fifo_push(struct fleet_fifo *f, uint32_t item)
{
    ASSERT(f->count < f->room);
    f->items[(f->head + f->count++) % f->room] = item;
}

static uint32_t fifo_pop(struct fleet_fifo *f)
{
    uint32_t item = f->items[f->head];
    f->head = (f->head + 1) % f->room;
    f->count--;
    return item;
}

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* relaxed: its writer reads it */
}

static void set_state(struct fleet_slot *slot, enum fleet_slot_state state)
{
    atomic_store_explicit(&slot->state, state, memory_order_release); /* S1 */
}

/* ---- agents come and go ---- */

static bool flyer_start(struct fleet_process *p, struct fleet_identity id, uint32_t *flyer)
{
    if (p->free_count == 0)
        return false;
    *flyer = p->free[--p->free_count];
    struct fleet_flyer *f = &p->flyers[*flyer];
    struct fleet_slot *slot = &p->slots[*flyer];
    *f = (struct fleet_flyer){.owner = fleet_owner(id), .cell = GEOHASH_NONE, .queued = f->queued};
    fleet_key_telemetry(&f->key, p->fleet->run, p->fleet->sources, f->owner);
    fleet_slot_set(&slot->number_submitted, 0);
    fleet_slot_set(&slot->number_acked, 0);
    fleet_slot_set(&slot->lsn_acked, 0);
    atomic_store_explicit(&slot->cell_held, GEOHASH_NONE, memory_order_release);      /* S1 */
    atomic_store_explicit(&slot->cell_claiming, GEOHASH_NONE, memory_order_release);  /* S1 */
    atomic_store_explicit(&slot->cell_releasing, GEOHASH_NONE, memory_order_release); /* S1 */
    set_state(slot, FLEET_SLOT_FLYING);
    fleet_slot_set(&slot->owner, f->owner);
    p->flyer_of[id.source][id.agent] = *flyer + 1;
    fleet_count(p->region, FLEET_AGENTS_STARTED, 1);
    return true;
}

/* Its telemetry, after all its puts are answered and again before it is deleted. */
static int flyer_verify(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_slot *slot = &p->slots[flyer];
    struct fleet_telemetry_state state;
    struct fleet_mismatch m = {.cell = GEOHASH_NONE, .owner = p->flyers[flyer].owner};
    uint64_t lsn = load(&slot->lsn_acked);
    int error = fleet_telemetry_get(p->fleet, p->seat.telemetry, m.owner, &state);
    if (error != 0 && error != -EBADMSG)
        return error;
    m.expected = lsn;
    m.found = state.lsn;
    if (error == -EBADMSG)
        m.finding = FLEET_FINDING_TORN;
    else if (state.lsn < lsn)
        m.finding = FLEET_FINDING_MISSING;
    else if (!fleet_telemetry_agrees(&p->slots[flyer], &state))
        m.finding = FLEET_FINDING_NOT_ACKNOWLEDGED;
    else
        return 0;
    fleet_journal_finding(p->region, p->start, &m);
    return 0;
}

/* The oldest of the ended agents: verify, then delete its telemetry.  Returns false: not now. */
static bool flyer_retire(struct fleet_process *p)
{
    uint32_t flyer = p->retiring.items[p->retiring.head];
    struct fleet_flyer *f = &p->flyers[flyer];
    struct dunlin_write write = {.operation = DUNLIN_DELETE,
                                 .key = f->key.bytes,
                                 .key_length = f->key.length,
                                 .context = fleet_request(FLEET_DELETE, flyer, 0)};
    if (flyer_verify(p, flyer) != 0)
        return false;
    set_state(&p->slots[flyer], FLEET_SLOT_DELETING);
    int error = dunlin_submit(p->seat.telemetry, &write);
    if (error != 0) {
        set_state(&p->slots[flyer], FLEET_SLOT_LINGERING);
        if (error != -EAGAIN && error != -ENOTCONN)
            fleet_refused(p, error);
        return false;
    }
    (void)fifo_pop(&p->retiring);
    return true;
}

static void delete_complete(struct fleet_process *p, uint32_t flyer, int result)
{
    struct fleet_slot *slot = &p->slots[flyer];
    if (result == 0 || result == -ENOENT) {
        if (result == -ENOENT && load(&slot->lsn_acked) != 0) {
            struct fleet_mismatch m = {FLEET_FINDING_MISSING, GEOHASH_NONE, p->flyers[flyer].owner,
                                       load(&slot->lsn_acked), 0};
            fleet_journal_finding(p->region, p->start, &m);
        }
        set_state(slot, FLEET_SLOT_DELETED);
        fleet_count(p->region, FLEET_RETIRED, 1);
    } else if (result == -EOWNERDEAD || result == -ENOTCONN) {
        fleet_count(p->region, FLEET_UNKNOWN, 1);
    } else {
        fleet_refused(p, result);
    }
    fifo_push(&p->deleted, flyer);
    if (p->deleted.count > FLEET_REMEMBERED) {
        uint32_t oldest = fifo_pop(&p->deleted);
        fleet_slot_set(&p->slots[oldest].owner, 0);
        p->free[p->free_count++] = oldest;
    }
}

/* Flown to its end and nothing of it in flight: it lingers, then its telemetry is deleted. */
static void flyer_settle(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    if (!f->ended || f->retiring || f->put_in_flight != 0 || !fleet_command_is_idle(f))
        return;
    f->retiring = true;
    set_state(&p->slots[flyer], FLEET_SLOT_LINGERING);
    fleet_count(p->region, FLEET_AGENTS_ENDED, 1);
    fifo_push(&p->retiring, flyer);
}

static void run_todo(struct fleet_process *p)
{
    uint32_t count = p->todo_count;
    p->todo_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t flyer = p->todo[i];
        p->flyers[flyer].queued = false;
        if (fleet_command_advance(p, flyer))
            fleet_todo(p, flyer);
        else
            flyer_settle(p, flyer);
    }
    while (p->retiring.count > FLEET_LINGER && flyer_retire(p))
        continue;
}

/* ---- rows ---- */

static int put_row(struct fleet_process *p, uint32_t flyer, const struct fleet_source *s,
                   const struct fleet_row *row)
{
    char value[FLEET_VALUE_BYTES];
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    uint64_t number = load(&slot->number_submitted) + 1;
    size_t length = fleet_value_make(value, &f->key, clock_boottime_ns(), number,
                                     (struct csv_text){s->text + row->text, row->text_length});
    struct dunlin_write write = {.operation = DUNLIN_PUT,
                                 .key = f->key.bytes,
                                 .key_length = f->key.length,
                                 .value = value,
                                 .value_length = length,
                                 .context = fleet_request(FLEET_PUT, flyer, number)};
    fleet_slot_set(&slot->number_submitted, number);
    int error = dunlin_submit(p->seat.telemetry, &write);
    if (error != 0) {
        fleet_slot_set(&slot->number_submitted, number - 1);
        return error;
    }
    f->put_in_flight++;
    fleet_count(p->region, FLEET_RING_BYTES, ring_request_bytes(0, f->key.length, length));
    return 0;
}

/* One row.  Returns false if it must wait: nothing of it is done then. */
static bool fly(struct fleet_process *p, uint32_t source, const struct fleet_row *row)
{
    const struct fleet_source *s = &p->fleet->sources[source];
    uint32_t flyer = p->flyer_of[source][row->agent];
    struct fleet_identity id = {source, row->agent, p->cursors[source].repetition, p->region->life};
    if (flyer != 0)
        flyer--;
    else if (!flyer_start(p, id, &flyer))
        return false;
    struct fleet_flyer *f = &p->flyers[flyer];
    bool moves = f->cell != row->cell;
    bool leaves = (row->flags & FLEET_ROW_LEAVES) != 0;
    if ((moves || leaves) && !fleet_command_is_idle(f))
        return false;
    int error = put_row(p, flyer, s, row);
    if (error == -EAGAIN || error == -ENOTCONN)
        return false;
    if (error != 0)
        fleet_refused(p, error);
    fleet_count(p->region, FLEET_ROWS, 1);
    f->leaving = leaves;
    f->ended = (row->flags & FLEET_ROW_LAST) != 0;
    if (f->ended)
        p->flyer_of[source][row->agent] = 0;
    if (moves)
        fleet_command_begin(p, flyer, row->cell);
    if (moves || leaves) {
        if (fleet_command_advance(p, flyer))
            fleet_todo(p, flyer);
    }
    return true;
}

static int64_t cursor_due_us(const struct fleet_process *p, uint32_t source)
{
    const struct fleet_cursor *c = &p->cursors[source];
    const struct fleet_source *s = &p->fleet->sources[source];
    if (c->first == c->end)
        return INT64_MAX; /* owns nobody of this source */
    return (int64_t)c->repetition * s->period_us + s->rows[s->order[c->at]].time_us;
}

static void cursor_step(struct fleet_cursor *c)
{
    if (++c->at == c->end) {
        c->at = c->first;
        c->repetition = (c->repetition + 1) % FLEET_REPETITIONS_MAX;
    }
}

/* First row at or after a time. */
static void cursor_seek(struct fleet_process *p, uint32_t source, int64_t us)
{
    struct fleet_cursor *c = &p->cursors[source];
    const struct fleet_source *s = &p->fleet->sources[source];
    c->first = s->order_start[p->region->process];
    c->end = s->order_start[p->region->process + 1];
    c->at = c->first;
    c->repetition = (uint32_t)(us / s->period_us);
    while (c->first != c->end && cursor_due_us(p, source) < us)
        cursor_step(c);
}

/* Rows that are due, a bounded number.  Returns true if more could be done at once. */
static bool fly_due(struct fleet_process *p, int64_t now_us, int64_t *next_us)
{
    bool more = false;
    *next_us = INT64_MAX;
    for (uint32_t source = 0; source < p->fleet->source_count; source++) {
        struct fleet_cursor *c = &p->cursors[source];
        const struct fleet_source *s = &p->fleet->sources[source];
        int64_t due_us = cursor_due_us(p, source);
        uint32_t n = 0;
        while (due_us <= now_us && n < ROWS_PER_PASS && fly(p, source, &s->rows[s->order[c->at]])) {
            cursor_step(c);
            due_us = cursor_due_us(p, source);
            n++;
        }
        more |= n == ROWS_PER_PASS;
        *next_us = due_us < *next_us ? due_us : *next_us;
    }
    return more;
}

/* ---- completions ---- */

static void put_complete(struct fleet_process *p, uint32_t flyer,
                         const struct dunlin_completion *done)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    f->put_in_flight--;
    if (done->result == 0) {
        uint64_t before = load(&slot->lsn_acked);
        if (done->version.lsn <= before) {
            struct fleet_mismatch m = {FLEET_FINDING_VERSION_FELL, GEOHASH_NONE, f->owner, before,
                                       done->version.lsn};
            fleet_journal_finding(p->region, p->start, &m);
        }
        fleet_slot_set(&slot->number_acked, done->context % FLEET_NUMBERS);
        fleet_slot_set(&slot->lsn_acked, done->version.lsn);
        fleet_count(p->region, FLEET_UPDATES, 1);
    } else if (done->result == -EOWNERDEAD || done->result == -ENOTCONN) {
        fleet_count(p->region, FLEET_UNKNOWN, 1);
    } else {
        fleet_refused(p, done->result);
    }
    fleet_count(p->region, FLEET_PUTS_FAILED, done->result != 0);
    if (f->ended)
        flyer_settle(p, flyer);
}

static void complete(struct fleet_process *p, const struct dunlin_completion *done)
{
    uint32_t flyer = done->context >> 40 & (FLEET_FLYERS_MAX - 1);
    switch ((enum fleet_request)(done->context >> 62)) {
    case FLEET_PUT:
        put_complete(p, flyer, done);
        return;
    case FLEET_DELETE:
        delete_complete(p, flyer, done->result);
        return;
    case FLEET_CLAIM:
    case FLEET_RELEASE:
        fleet_command_complete(p, flyer, done);
        return;
    }
}

/* Collect.  restarted: what looks like an answer may come from the daemon that lost its memory. */
static size_t collect(struct fleet_process *p, uint64_t timeout_ns, bool restarted)
{
    struct dunlin_completion done[COMPLETIONS];
    size_t n = dunlin_poll(p->seat.handle, done, COMPLETIONS, timeout_ns);
    restarted |= fleet_start(p->fleet, p->seat.handle) != p->start;
    for (size_t i = 0; i < n; i++) {
        if (restarted)
            done[i].result = -EOWNERDEAD;
        complete(p, &done[i]);
    }
    return n;
}

/* The daemon is another: its memory is lost, and with it all that was acknowledged. */
static void start_again(struct fleet_process *p)
{
    atomic_store_explicit(&p->region->start, 0, memory_order_release); /* S1 */
    while (dunlin_in_flight(p->seat.handle) > 0)
        (void)collect(p, NS_PER_MS, true);
    p->start = fleet_start(p->fleet, p->seat.handle);
    fleet_count(p->region, FLEET_RESTARTS, 1);
    for (uint32_t i = 0; i < FLEET_MEMORY; i++)
        p->memory[i].lsn = 0;
    for (uint32_t i = 0; i < p->region->slot_count; i++) {
        if (load(&p->slots[i].owner) == 0)
            continue;
        fleet_slot_set(&p->slots[i].number_acked, 0);
        fleet_slot_set(&p->slots[i].lsn_acked, 0);
        fleet_command_forget(p, i);
    }
    atomic_store_explicit(&p->region->start, p->start, memory_order_release); /* S1 */
}

/* ---- the loop ---- */

/* A process that has nothing to say would not notice that its daemon is another: any call does, and
 * a read in place costs next to nothing. */
static void look_for_daemon(struct fleet_process *p)
{
    struct fleet_sector_state state;
    int error = fleet_sector_get(p->fleet, p->seat.sectors, 0, &state);
    if (error != 0 && error != -ENOTCONN && error != -EBADMSG)
        fleet_refused(p, error);
}

static void nap(struct fleet_process *p, int64_t wait_us, bool blocked)
{
    /* relaxed: a speed that may be old by one change */
    uint64_t speed = atomic_load_explicit(&p->fleet->shared->clock.us_per_s, memory_order_relaxed);
    double wait_ns = (double)wait_us / (double)max_u64(speed, 1) * 1e9;
    uint64_t ns = wait_ns < NAP_MAX_NS ? max_u64((uint64_t)wait_ns, NAP_MIN_NS) : NAP_MAX_NS;
    if (p->todo_count > 0)
        ns = COMMAND_NAP_NS;
    if (dunlin_in_flight(p->seat.handle) > 0 && (p->commands > 0 || blocked)) {
        (void)collect(p, ns, false);
        return;
    }
    /* Why not in dunlin_poll: nobody waits for telemetry's completions; taken together they cost a
     * wake-up less for each. */
    struct timespec sleep = {.tv_nsec = (long)ns};
    (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
    if (dunlin_in_flight(p->seat.handle) > 0)
        (void)collect(p, 0, false);
    else
        look_for_daemon(p);
}

/* For the supervisor, who slows down only what uses the machine. */
static void tell_cpu(struct fleet_process *p)
{
    struct timespec used;
    if (p->now_ns < p->cpu_told_ns + CPU_PERIOD_NS ||
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
        return;
    uint64_t ns = (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    fleet_count(p->region, FLEET_CPU_NS, ns - fleet_counted(p->region, FLEET_CPU_NS));
    p->cpu_told_ns = p->now_ns;
}

static void pass(struct fleet_process *p)
{
    int64_t next_us;
    p->now_ns = clock_boottime_ns();
    int64_t now_us = fleet_clock_us(&p->fleet->shared->clock, p->now_ns);
    bool more = fly_due(p, now_us, &next_us);
    bool blocked = !more && next_us <= now_us;
    /* relaxed: progress for the supervisor's eyes */
    atomic_store_explicit(&p->region->virtual_us, next_us, memory_order_relaxed);
    run_todo(p);
    tell_cpu(p);
    if (more)
        (void)collect(p, 0, false);
    else
        nap(p, next_us > now_us ? next_us - now_us : 0, blocked);
    if (fleet_start(p->fleet, p->seat.handle) != p->start)
        start_again(p);
}

/* No new rows: until all that was begun is answered. */
static void drain(struct fleet_process *p)
{
    uint64_t until = clock_boottime_ns() + DRAIN_NS;
    do {
        p->now_ns = clock_boottime_ns();
        run_todo(p);
        (void)collect(p, COMMAND_NAP_NS, false);
        if (fleet_start(p->fleet, p->seat.handle) != p->start)
            start_again(p);
    } while (p->now_ns < until && (p->commands > 0 || dunlin_in_flight(p->seat.handle) > 0));
    for (uint32_t i = 0; i < p->region->slot_count; i++) {
        struct fleet_slot *slot = &p->slots[i];
        uint32_t cell = atomic_load_explicit(&slot->cell_held, memory_order_relaxed); /* own */
        if (load(&slot->owner) == 0 || cell == GEOHASH_NONE)
            continue;
        struct fleet_entry held = {.start = p->start,
                                   .kind = FLEET_ENTRY_HELD,
                                   .cell = cell,
                                   .owner_before = load(&slot->owner),
                                   .ns_from = load(&slot->ns_held),
                                   .ns_until = clock_boottime_ns()};
        fleet_journal_put(p->region, &held);
    }
}

static int prepare(struct fleet_process *p)
{
    uint32_t slots = p->region->slot_count;
    p->flyers = calloc(slots, sizeof(*p->flyers));
    p->free = calloc(slots, sizeof(*p->free));
    p->todo = calloc(slots, sizeof(*p->todo));
    p->retiring = (struct fleet_fifo){calloc(slots, sizeof(uint32_t)), 0, 0, slots};
    p->deleted = (struct fleet_fifo){calloc(slots, sizeof(uint32_t)), 0, 0, slots};
    if (p->flyers == NULL || p->free == NULL || p->todo == NULL || p->retiring.items == NULL ||
        p->deleted.items == NULL)
        return -ENOMEM;
    for (uint32_t i = slots; i-- > 0;)
        p->free[p->free_count++] = i;
    int64_t now_us = fleet_clock_us(&p->fleet->shared->clock, clock_boottime_ns());
    for (uint32_t source = 0; source < p->fleet->source_count; source++) {
        p->flyer_of[source] = calloc(p->fleet->sources[source].agent_count, sizeof(uint32_t));
        if (p->flyer_of[source] == NULL)
            return -ENOMEM;
        cursor_seek(p, source, now_us);
    }
    return 0;
}

int fleet_agent_main(const struct fleet *f, struct fleet_region *region)
{
    struct fleet_process *p = calloc(1, sizeof(*p));
    struct dunlin_info info;
    if (p == NULL)
        return 1;
    p->fleet = f;
    p->region = region;
    p->slots = fleet_region_slots(region);
    if (fleet_attach(f, fleet_node_of(f, region->process), true, &p->seat) != 0 || prepare(p) != 0)
        return 1;
    p->start = fleet_start(p->fleet, p->seat.handle);
    atomic_store_explicit(&region->start, p->start, memory_order_release); /* S1 */
    /* relaxed: a flag that is looked at again and again */
    while (atomic_load_explicit(&f->shared->stop, memory_order_relaxed) == 0)
        pass(p);
    drain(p);
    dunlin_info(p->seat.handle, &info);
    fleet_count(region, FLEET_ATTACHED, info.attached_count);
    fleet_detach(&p->seat);
    return 0; /* memory: the process ends here */
}
