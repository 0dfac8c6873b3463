/* What the supervisor does with the data itself: frees, judges, cleans.  See fleet.h. */
#include "bench/fleet.h"

#include "bench/geohash.h"
#include "engine/clock.h"

#include <stdlib.h>

#define ATTEMPTS 16u
#define BURST 128u

/* One sector that a dead agent had to do with. */
struct remains {
    uint64_t owner;
    uint64_t start;
    uint64_t lsn_expected; /* of its last write there; of the claim that holds it: its version */
    uint64_t ns_held;      /* 0: unknown */
    uint32_t cell;
    bool may_be_applied; /* a write was submitted and not seen answered */
};

static int tell(struct fleet_controller *c, const struct remains *r,
                const struct fleet_entry *outcome)
{
    struct fleet_entry e = *outcome;
    e.start = r->start;
    e.cell = r->cell;
    return fleet_check_entry(c->check, &e);
}

/* Write "free" under a version.  Returns 0, -EAGAIN: look again, or an error to pass on. */
static int free_at(struct fleet_controller *c, const struct remains *r,
                   const struct fleet_sector_state *state)
{
    char value[FLEET_VALUE_BYTES];
    struct fleet_key key;
    struct dunlin_version version;
    struct fleet_entry e = {
        .kind = FLEET_ENTRY_WRITE, .owner_before = state->owner, .lsn_expected = state->lsn};
    uint64_t now = clock_boottime_ns();
    fleet_key_sector(&key, c->fleet->run, r->cell);
    const struct fleet_sector_state nobody = {state->lsn, 0, now};
    size_t length = fleet_value_make_sector(value, &key, c->fleet->sources, &nobody);
    int error =
        dunlin_put_if(c->seat.sectors, key.bytes, key.length, value, length, state->lsn, &version);
    if (error == -ECANCELED)
        return -EAGAIN;
    if (error == -EOWNERDEAD)
        e.kind = FLEET_ENTRY_UNKNOWN;
    else if (error != 0)
        return error;
    e.lsn = version.lsn;
    if (state->owner != 0 && r->ns_held != 0) {
        e.ns_from = r->ns_held;
        e.ns_until = now;
    }
    *(state->owner != 0 ? &c->freed : &c->fenced) += error == 0;
    int told = tell(c, r, &e);
    return told != 0 ? told : error == 0 ? 0 : -EAGAIN;
}

static int settle(struct fleet_controller *c, const struct remains *r)
{
    struct fleet_sector_state state;
    int error = 0;
    if (r->may_be_applied) {
        struct fleet_entry unknown = {.kind = FLEET_ENTRY_UNKNOWN, .lsn_expected = r->lsn_expected};
        if ((error = tell(c, r, &unknown)) != 0)
            return error;
    }
    for (uint32_t i = 0; i < ATTEMPTS; i++) {
        error = fleet_sector_get(c->fleet, c->seat.sectors, r->cell, &state);
        if (error != 0)
            return error;
        /* Another's by now, or already free and past the version that the dead agent expected. */
        if (state.owner != r->owner &&
            !(r->may_be_applied && state.owner == 0 && state.lsn == r->lsn_expected))
            return 0;
        error = free_at(c, r, &state);
        if (error != -EAGAIN)
            return error;
    }
    return error;
}

static uint64_t word(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_acquire); /* S2 */
}

static uint32_t cell_word(const _Atomic uint32_t *from)
{
    return atomic_load_explicit(from, memory_order_acquire); /* S2 */
}

static int adopt_slot(struct fleet_controller *c, uint64_t start, const struct fleet_slot *slot)
{
    uint64_t owner = word(&slot->owner);
    struct remains all[] = {
        {.cell = cell_word(&slot->cell_releasing),
         .lsn_expected = word(&slot->lsn_releasing),
         .ns_held = word(&slot->ns_held),
         .may_be_applied = true},
        {.cell = cell_word(&slot->cell_held),
         .lsn_expected = word(&slot->lsn_held),
         .ns_held = word(&slot->ns_held)},
        {.cell = cell_word(&slot->cell_claiming),
         .lsn_expected = word(&slot->lsn_claiming),
         .may_be_applied = true},
    };
    for (size_t i = 0; owner != 0 && i < sizeof(all) / sizeof(all[0]); i++) {
        all[i].owner = owner;
        all[i].start = start;
        int error = all[i].cell == GEOHASH_NONE ? 0 : settle(c, &all[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

int fleet_controller_adopt(struct fleet_controller *c, const struct fleet_region *dead)
{
    uint64_t start = word(&dead->start);
    /* Of an older start nothing is left that could be freed. */
    if (start != fleet_start(c->fleet, c->seat.handle))
        return 0;
    for (uint32_t i = 0; i < dead->slot_count; i++) {
        int error = adopt_slot(c, start, &fleet_region_slots(dead)[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

/* ---- judging ---- */

static int judge_slot(struct fleet_controller *c, uint64_t start, const struct fleet_slot *slot)
{
    uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire); /* S2 */
    struct fleet_telemetry_state found;
    struct fleet_entry e = {.kind = FLEET_ENTRY_FINDING,
                            .start = start,
                            .cell = GEOHASH_NONE,
                            .owner_before = word(&slot->owner),
                            .lsn_expected = word(&slot->lsn_acked)};
    if (e.owner_before == 0)
        return 0;
    int error = fleet_telemetry_get(c->fleet, c->seat.telemetry, e.owner_before, &found);
    if (error != 0 && error != -EBADMSG)
        return error;
    e.lsn = found.lsn;
    if (error == -EBADMSG)
        e.detail = FLEET_FINDING_TORN;
    else if (state == FLEET_SLOT_DELETED && found.lsn != 0)
        e.detail = FLEET_FINDING_UNDELETED;
    else if (fleet_slot_state_is_live(state) && found.lsn < e.lsn_expected)
        e.detail = FLEET_FINDING_MISSING;
    else if (fleet_slot_state_is_live(state) && !fleet_telemetry_agrees(slot, &found))
        e.detail = FLEET_FINDING_NOT_ACKNOWLEDGED;
    else
        return 0;
    return fleet_check_entry(c->check, &e);
}

static int find_final(void *context, uint32_t cell, struct fleet_final *final)
{
    struct fleet_controller *c = context;
    struct fleet_sector_state state;
    int error = fleet_sector_get(c->fleet, c->seat.sectors, cell, &state);
    if (error == -EBADMSG) {
        struct fleet_entry e = {.kind = FLEET_ENTRY_FINDING,
                                .detail = FLEET_FINDING_TORN,
                                .cell = cell,
                                .lsn = state.lsn};
        error = fleet_check_entry(c->check, &e);
    }
    final->lsn = state.lsn;
    final->owner = state.owner;
    if (c->cell_count == c->cell_room) {
        uint32_t room = c->cell_room == 0 ? 1024 : c->cell_room * 2;
        uint32_t *cells = realloc(c->cells, room * sizeof(*cells));
        if (cells == NULL)
            return -ENOMEM;
        c->cells = cells;
        c->cell_room = room;
    }
    c->cells[c->cell_count++] = cell;
    return error;
}

int fleet_controller_judge(struct fleet_controller *c)
{
    uint64_t start = fleet_start(c->fleet, c->seat.handle);
    int error = 0;
    for (uint32_t life = 0; error == 0 && life < c->fleet->life_count; life++) {
        const struct fleet_region *r = c->fleet->regions[life];
        if (word(&r->start) != start)
            continue;
        for (uint32_t i = 0; error == 0 && i < r->slot_count; i++)
            error = judge_slot(c, start, &fleet_region_slots(r)[i]);
    }
    if (error == 0)
        error = fleet_check_final(c->check, start, find_final, c);
    fleet_check_holes(c->check);
    return error;
}

/* ---- cleaning ---- */

static int collect(struct fleet_controller *c, size_t until)
{
    struct dunlin_completion done[BURST];
    int error = 0;
    while (dunlin_in_flight(c->seat.handle) > until) {
        size_t n = dunlin_poll(c->seat.handle, done, BURST, NS_PER_MS);
        for (size_t i = 0; i < n; i++) {
            if (done[i].result != 0 && done[i].result != -ENOENT)
                error = done[i].result;
        }
    }
    return error;
}

static int delete_key(struct fleet_controller *c, struct dunlin_space *space,
                      const struct fleet_key *key)
{
    struct dunlin_write write = {
        .operation = DUNLIN_DELETE, .key = key->bytes, .key_length = key->length};
    int error;
    while ((error = dunlin_submit(space, &write)) == -EAGAIN) {
        if ((error = collect(c, dunlin_in_flight(c->seat.handle) / 2)) != 0)
            return error;
    }
    return error;
}

int fleet_controller_clean(struct fleet_controller *c)
{
    struct fleet_key key;
    int error = 0;
    for (uint32_t i = 0; error == 0 && i < c->cell_count; i++) {
        fleet_key_sector(&key, c->fleet->run, c->cells[i]);
        error = delete_key(c, c->seat.sectors, &key);
    }
    for (uint32_t life = 0; error == 0 && life < c->fleet->life_count; life++) {
        const struct fleet_region *r = c->fleet->regions[life];
        for (uint32_t i = 0; error == 0 && i < r->slot_count; i++) {
            uint64_t owner = word(&fleet_region_slots(r)[i].owner);
            if (owner == 0)
                continue;
            fleet_key_telemetry(&key, c->fleet->run, c->fleet->sources, owner);
            error = delete_key(c, c->seat.telemetry, &key);
        }
    }
    int left = collect(c, 0);
    return error != 0 ? error : left;
}
