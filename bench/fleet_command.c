/* Commands: claims and releases of sectors.  See fleet_agent.h. */
#include "bench/fleet_agent.h"

#include "engine/clock.h"
#include "engine/ring.h"

#define UNAVAILABLE_WAIT_NS NS_PER_MS
#define FROM_MEMORY_SHARE 4u /* one agent in so many */

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* relaxed: its writer reads it */
}

static uint32_t load_cell(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* relaxed: its writer reads it */
}

static void set_cell(_Atomic uint32_t *word, uint32_t cell)
{
    atomic_store_explicit(word, cell, memory_order_release); /* S1 */
}

static void set_phase(struct fleet_process *p, struct fleet_command *c, enum fleet_phase phase)
{
    if (c->phase == FLEET_IDLE && phase != FLEET_IDLE)
        p->commands++;
    else if (c->phase != FLEET_IDLE && phase == FLEET_IDLE)
        p->commands--;
    c->phase = phase;
}

static void remember(struct fleet_process *p, uint32_t cell, uint64_t lsn)
{
    uint32_t at = (cell * 2654435761u >> 16) % FLEET_MEMORY;
    p->memory[at].cell = cell;
    p->memory[at].lsn = lsn;
}

static uint64_t recall(const struct fleet_process *p, uint32_t cell)
{
    uint32_t at = (cell * 2654435761u >> 16) % FLEET_MEMORY;
    return p->memory[at].cell == cell ? p->memory[at].lsn : 0;
}

/* Writes owner into the command's cell under the version it expects.  Returns as dunlin_submit. */
static int submit(struct fleet_process *p, uint32_t flyer, struct fleet_command *c,
                  enum fleet_request request, uint64_t owner)
{
    char value[FLEET_VALUE_BYTES];
    struct fleet_key key;
    fleet_key_sector(&key, p->fleet->run, c->cell);
    c->ns_submitted = clock_boottime_ns();
    const struct fleet_sector_state state = {c->lsn_expected, owner, c->ns_submitted};
    size_t length = fleet_value_make_sector(value, &key, p->fleet->sources, &state);
    struct dunlin_write write = {
        .operation = DUNLIN_PUT,
        .key = key.bytes,
        .key_length = key.length,
        .value = value,
        .value_length = length,
        .compare = 1,
        .expected_lsn = c->lsn_expected,
        .context = fleet_request(request, flyer, 0),
    };
    int error = dunlin_submit(p->seat.sectors, &write);
    if (error == 0)
        fleet_count(p->region, FLEET_RING_BYTES, ring_request_bytes(0, key.length, length));
    return error;
}

/* What became of a submit that did not go out: later, or never.  Returns true if never. */
static bool put_off(struct fleet_process *p, struct fleet_command *c, int error)
{
    if (error == -EAGAIN || error == -ENOTCONN) {
        c->ns_next = error == -EAGAIN ? 0 : p->now_ns + UNAVAILABLE_WAIT_NS;
        return false;
    }
    fleet_refused(p, error);
    return true;
}

/* ---- release ---- */

static void release_submit(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_command *c = &p->flyers[flyer].release;
    struct fleet_slot *slot = &p->slots[flyer];
    fleet_slot_set(&slot->lsn_releasing, c->lsn_expected);
    set_cell(&slot->cell_releasing, c->cell);
    set_cell(&slot->cell_held, GEOHASH_NONE);
    int error = submit(p, flyer, c, FLEET_RELEASE, 0);
    if (error == 0) {
        set_phase(p, c, FLEET_IN_FLIGHT);
        return;
    }
    set_cell(&slot->cell_held, c->cell);
    set_cell(&slot->cell_releasing, GEOHASH_NONE);
    /* Why no end: a sector that cannot be given back stays held, and the run says why. */
    if (put_off(p, c, error))
        c->ns_next = p->now_ns + NS_PER_S;
}

static void release_done(struct fleet_process *p, uint32_t flyer)
{
    set_cell(&p->slots[flyer].cell_releasing, GEOHASH_NONE);
    set_phase(p, &p->flyers[flyer].release, FLEET_IDLE);
}

static void journal_hold(struct fleet_process *p, struct fleet_entry *e, uint32_t flyer)
{
    e->ns_from = load(&p->slots[flyer].ns_held);
    e->ns_until = p->flyers[flyer].release.ns_submitted;
}

static void release_complete(struct fleet_process *p, uint32_t flyer,
                             const struct dunlin_completion *done)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_command *c = &f->release;
    struct fleet_entry e = {.start = p->start,
                            .cell = c->cell,
                            .owner_before = f->owner,
                            .lsn_expected = c->lsn_expected,
                            .lsn = done->version.lsn};
    if (done->result == 0) {
        e.kind = FLEET_ENTRY_WRITE;
        journal_hold(p, &e, flyer);
        fleet_journal_put(p->region, &e);
        fleet_count(p->region, FLEET_RELEASES, 1);
        remember(p, c->cell, done->version.lsn);
        release_done(p, flyer);
    } else if (done->result == -EOWNERDEAD) {
        e.kind = FLEET_ENTRY_UNKNOWN;
        journal_hold(p, &e, flyer);
        fleet_journal_put(p->region, &e);
        fleet_count(p->region, FLEET_UNKNOWN, 1);
        set_phase(p, c, FLEET_TO_RESOLVE);
    } else if (done->result == -ECANCELED) {
        struct fleet_mismatch m = {FLEET_FINDING_STOLEN, c->cell, f->owner, c->lsn_expected,
                                   done->version.lsn};
        fleet_journal_finding(p->region, p->start, &m);
        release_done(p, flyer);
    } else {
        set_cell(&p->slots[flyer].cell_held, c->cell);
        set_cell(&p->slots[flyer].cell_releasing, GEOHASH_NONE);
        set_phase(p, c, FLEET_TO_SUBMIT);
        c->ns_next = p->now_ns + NS_PER_S;
        if (done->result != -ENOTCONN)
            fleet_refused(p, done->result);
    }
}

/* ---- claim ---- */

static void claim_over(struct fleet_process *p, uint32_t flyer, bool granted)
{
    struct fleet_command *c = &p->flyers[flyer].claim;
    set_cell(&p->slots[flyer].cell_claiming, GEOHASH_NONE);
    set_phase(p, c, FLEET_IDLE);
    fleet_count(p->region, FLEET_CLAIMS, 1);
    fleet_count(p->region, granted ? FLEET_GRANTED : FLEET_DIVERTED, 1);
    if (c->met_conflict)
        fleet_count(p->region, FLEET_CONFLICTS, 1);
    uint64_t took_ns = clock_boottime_ns() - c->ns_begin;
    histogram_add(&p->region->latency, took_ns);
    /* acquire: K2 */
    uint32_t kills = atomic_load_explicit(&p->fleet->shared->kill_count, memory_order_acquire);
    /* relaxed: own, read when this process has ended */
    if (kills != 0 && took_ns > load(&p->region->longest_ns[kills - 1]))
        atomic_store_explicit(&p->region->longest_ns[kills - 1], took_ns, memory_order_relaxed);
}

static void claim_granted(struct fleet_process *p, uint32_t flyer, uint64_t lsn)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    fleet_slot_set(&slot->lsn_held, lsn);
    fleet_slot_set(&slot->ns_held, clock_boottime_ns());
    set_cell(&slot->cell_held, f->claim.cell);
    claim_over(p, flyer, true);
}

/* Not this time: once more a little later, or divert. */
static void claim_retry(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_command *c = &p->flyers[flyer].claim;
    set_cell(&p->slots[flyer].cell_claiming, GEOHASH_NONE);
    if (++c->tries >= FLEET_CLAIM_TRIES) {
        claim_over(p, flyer, false);
        return;
    }
    set_phase(p, c, FLEET_TO_SUBMIT);
    c->ns_next = p->now_ns + ((uint64_t)FLEET_CLAIM_BACKOFF_NS << c->tries);
}

/* Which version to expect.  Returns true if there is one to try. */
static bool claim_look(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_command *c = &f->claim;
    struct fleet_sector_state state;
    c->from_memory = c->tries == 0 && f->owner % FROM_MEMORY_SHARE == 0;
    if (c->from_memory) {
        c->lsn_expected = recall(p, c->cell);
        return true;
    }
    int error = fleet_sector_get(p->fleet, p->seat.sectors, c->cell, &state);
    if (error == -EBADMSG) {
        struct fleet_mismatch m = {FLEET_FINDING_TORN, c->cell, f->owner, 0, state.lsn};
        fleet_journal_finding(p->region, p->start, &m);
        claim_over(p, flyer, false);
    } else if (error == -ENOTCONN) {
        c->ns_next = p->now_ns + UNAVAILABLE_WAIT_NS;
    } else if (error != 0) {
        fleet_refused(p, error);
        claim_over(p, flyer, false);
    } else if (state.owner != 0) {
        c->met_conflict = true;
        claim_retry(p, flyer);
    } else {
        c->lsn_expected = state.lsn;
        return true;
    }
    return false;
}

static void claim_submit(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    if (!fleet_journal_has_room(p->region) || !claim_look(p, flyer))
        return;
    fleet_slot_set(&slot->lsn_claiming, f->claim.lsn_expected);
    set_cell(&slot->cell_claiming, f->claim.cell);
    int error = submit(p, flyer, &f->claim, FLEET_CLAIM, f->owner);
    if (error == 0) {
        set_phase(p, &f->claim, FLEET_IN_FLIGHT);
        return;
    }
    set_cell(&slot->cell_claiming, GEOHASH_NONE);
    if (put_off(p, &f->claim, error))
        claim_over(p, flyer, false);
}

static void claim_complete(struct fleet_process *p, uint32_t flyer,
                           const struct dunlin_completion *done)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_command *c = &f->claim;
    struct fleet_entry e = {.start = p->start,
                            .cell = c->cell,
                            .owner_after = f->owner,
                            .lsn_expected = c->lsn_expected,
                            .lsn = done->version.lsn};
    if (done->result == 0) {
        e.kind = FLEET_ENTRY_WRITE;
        fleet_journal_put(p->region, &e);
        claim_granted(p, flyer, done->version.lsn);
    } else if (done->result == -EOWNERDEAD) {
        e.kind = FLEET_ENTRY_UNKNOWN;
        fleet_journal_put(p->region, &e);
        fleet_count(p->region, FLEET_UNKNOWN, 1);
        set_phase(p, c, FLEET_TO_RESOLVE);
    } else if (done->result == -ECANCELED) {
        /* From memory it was only a guess; seen free and then refused, another was quicker. */
        fleet_count(p->region, FLEET_COMPARES_FAILED, 1);
        c->met_conflict |= !c->from_memory;
        claim_retry(p, flyer);
    } else if (done->result == -ENOTCONN) {
        set_cell(&p->slots[flyer].cell_claiming, GEOHASH_NONE);
        set_phase(p, c, FLEET_TO_SUBMIT);
        c->ns_next = p->now_ns + UNAVAILABLE_WAIT_NS;
    } else {
        fleet_refused(p, done->result);
        claim_over(p, flyer, false);
    }
}

/* ---- fate unknown ---- */

static void resolved(struct fleet_process *p, uint32_t flyer, bool is_claim)
{
    if (is_claim)
        claim_over(p, flyer, false);
    else
        release_done(p, flyer);
}

static void resolve(struct fleet_process *p, uint32_t flyer, bool is_claim)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_command *c = is_claim ? &f->claim : &f->release;
    struct fleet_sector_state state;
    int error = fleet_sector_get(p->fleet, p->seat.sectors, c->cell, &state);
    c->ns_next = p->now_ns + UNAVAILABLE_WAIT_NS;
    if (error == -EBADMSG) {
        struct fleet_mismatch m = {FLEET_FINDING_TORN, c->cell, f->owner, 0, state.lsn};
        fleet_journal_finding(p->region, p->start, &m);
        resolved(p, flyer, is_claim);
    } else if (error != 0) {
        if (error != -ENOTCONN)
            fleet_refused(p, error);
    } else if (is_claim && state.owner == f->owner && state.stamp_ns == c->ns_submitted) {
        struct fleet_entry e = {.start = p->start,
                                .kind = FLEET_ENTRY_WRITE,
                                .cell = c->cell,
                                .owner_after = f->owner,
                                .lsn_expected = c->lsn_expected,
                                .lsn = state.lsn};
        fleet_journal_put(p->region, &e);
        claim_granted(p, flyer, state.lsn);
    } else if (state.lsn == c->lsn_expected) {
        if (submit(p, flyer, c, is_claim ? FLEET_CLAIM : FLEET_RELEASE, 0) == 0)
            set_phase(p, c, FLEET_FENCING);
    } else {
        resolved(p, flyer, is_claim);
    }
}

static void fence_complete(struct fleet_process *p, uint32_t flyer, bool is_claim,
                           const struct dunlin_completion *done)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_command *c = is_claim ? &f->claim : &f->release;
    struct fleet_entry e = {.start = p->start,
                            .kind = FLEET_ENTRY_WRITE,
                            .cell = c->cell,
                            .owner_before = is_claim ? 0 : f->owner,
                            .lsn_expected = c->lsn_expected,
                            .lsn = done->version.lsn};
    if (done->result == 0) {
        fleet_journal_put(p->region, &e);
        fleet_count(p->region, FLEET_FENCED, 1);
        resolved(p, flyer, is_claim);
        return;
    }
    if (done->result == -EOWNERDEAD) {
        e.kind = FLEET_ENTRY_UNKNOWN;
        fleet_journal_put(p->region, &e);
    } else if (done->result != -ECANCELED && done->result != -ENOTCONN) {
        fleet_refused(p, done->result);
    }
    set_phase(p, c, FLEET_TO_RESOLVE);
    c->ns_next = p->now_ns;
}

/* ---- steering ---- */

void fleet_command_begin(struct fleet_process *p, uint32_t flyer, uint32_t cell)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    uint32_t held = load_cell(&slot->cell_held);
    uint64_t now = clock_boottime_ns();
    ASSERT(f->claim.phase == FLEET_IDLE && f->release.phase == FLEET_IDLE);
    f->cell = cell;
    if (held != GEOHASH_NONE) {
        f->release = (struct fleet_command){
            .cell = held, .lsn_expected = load(&slot->lsn_held), .ns_begin = now};
        set_phase(p, &f->release, FLEET_TO_SUBMIT);
    }
    if (cell != GEOHASH_NONE) {
        f->claim = (struct fleet_command){.cell = cell, .ns_begin = now};
        set_phase(p, &f->claim, FLEET_TO_SUBMIT);
    }
}

bool fleet_command_advance(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    if (f->leaving && f->claim.phase == FLEET_IDLE && f->release.phase == FLEET_IDLE) {
        f->leaving = false;
        fleet_command_begin(p, flyer, GEOHASH_NONE);
    }
    if (f->release.phase == FLEET_TO_SUBMIT && p->now_ns >= f->release.ns_next)
        release_submit(p, flyer);
    else if (f->release.phase == FLEET_TO_RESOLVE && p->now_ns >= f->release.ns_next)
        resolve(p, flyer, false);
    if (f->claim.phase == FLEET_TO_SUBMIT && p->now_ns >= f->claim.ns_next)
        claim_submit(p, flyer);
    else if (f->claim.phase == FLEET_TO_RESOLVE && p->now_ns >= f->claim.ns_next)
        resolve(p, flyer, true);
    return f->release.phase == FLEET_TO_SUBMIT || f->release.phase == FLEET_TO_RESOLVE ||
           f->claim.phase == FLEET_TO_SUBMIT || f->claim.phase == FLEET_TO_RESOLVE ||
           (f->leaving && f->claim.phase == FLEET_IDLE && f->release.phase == FLEET_IDLE);
}

void fleet_command_complete(struct fleet_process *p, uint32_t flyer,
                            const struct dunlin_completion *done)
{
    bool is_claim = done->context >> 62 == FLEET_CLAIM;
    struct fleet_flyer *f = &p->flyers[flyer];
    enum fleet_phase phase = is_claim ? f->claim.phase : f->release.phase;
    ASSERT(phase == FLEET_IN_FLIGHT || phase == FLEET_FENCING);
    if (phase == FLEET_FENCING)
        fence_complete(p, flyer, is_claim, done);
    else if (is_claim)
        claim_complete(p, flyer, done);
    else
        release_complete(p, flyer, done);
    fleet_todo(p, flyer);
}

void fleet_command_forget(struct fleet_process *p, uint32_t flyer)
{
    struct fleet_flyer *f = &p->flyers[flyer];
    struct fleet_slot *slot = &p->slots[flyer];
    set_cell(&slot->cell_held, GEOHASH_NONE);
    f->cell = GEOHASH_NONE;
    /* Why a claim is looked at again and not forgotten: the library may have sent it to the new
     * daemon before anybody noticed that there is one.  A release cannot have matched there. */
    if (f->release.phase != FLEET_IDLE)
        release_done(p, flyer);
    if (f->claim.phase == FLEET_TO_SUBMIT)
        claim_over(p, flyer, false);
    fleet_todo(p, flyer);
}
