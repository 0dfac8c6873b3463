/* Replicas equal: the last check, when nobody writes any more.  See fleet.h. */
#include "bench/fleet.h"
#include "bench/fleet_copy.h"

#include "bench/geohash.h"
#include "engine/clock.h"

#include <time.h>

#define CATCH_UP_NS (10 * NS_PER_S) /* for all keys together */
#define AGAIN_NS NS_PER_MS

/* A key, and its spaces at the first node and at the other. */
struct subject {
    struct dunlin_space *first, *other;
    struct fleet_key key;
    struct fleet_entry entry; /* to be completed when there is a difference */
};

static int take(struct dunlin_space *space, const struct fleet_key *key, struct fleet_copy *copy)
{
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    int error = dunlin_get(space, key->bytes, key->length, copy->value, sizeof(copy->value), &read);
    copy->lsn = error == 0 ? read.version.lsn : 0;
    copy->length = error == 0 ? read.length : 0;
    return error == -ENOENT ? 0 : error;
}

/* Until they are equal, or there is no more time: one look is always made. */
static int compare(struct fleet_controller *c, struct subject *s, uint64_t until_ns)
{
    struct timespec pause = {.tv_nsec = (long)AGAIN_NS};
    struct fleet_copy first, other;
    int finding;
    int error = take(s->first, &s->key, &first);
    for (;;) {
        if (error == 0)
            error = take(s->other, &s->key, &other);
        if (error != 0)
            return error;
        finding = fleet_copy_compare(&first, &other);
        if (finding == 0 || clock_boottime_ns() >= until_ns)
            break;
        (void)nanosleep(&pause, NULL); /* a signal shortens it: looked again all the same */
    }
    c->compared++;
    if (finding == 0)
        return 0;
    s->entry.detail = (uint16_t)finding;
    s->entry.lsn_expected = first.lsn;
    s->entry.lsn = other.lsn;
    return fleet_check_entry(c->check, &s->entry);
}

static int compare_sectors(struct fleet_controller *c, struct subject *s, uint64_t until_ns)
{
    int error = 0;
    s->entry.owner_before = 0;
    for (uint32_t i = 0; error == 0 && i < c->cell_count; i++) {
        s->entry.cell = c->cells[i];
        fleet_key_sector(&s->key, c->fleet->run, c->cells[i]);
        error = compare(c, s, until_ns);
    }
    return error;
}

static int compare_telemetry(struct fleet_controller *c, struct subject *s, uint64_t until_ns)
{
    int error = 0;
    s->entry.cell = GEOHASH_NONE;
    for (uint32_t life = 0; life < c->fleet->life_count; life++) {
        const struct fleet_region *r = c->fleet->regions[life];
        for (uint32_t i = 0; error == 0 && i < r->slot_count; i++) {
            /* acquire: S2 */
            uint64_t owner =
                atomic_load_explicit(&fleet_region_slots(r)[i].owner, memory_order_acquire);
            if (owner == 0)
                continue;
            s->entry.owner_before = owner;
            fleet_key_telemetry(&s->key, c->fleet->run, c->fleet->sources, owner);
            error = compare(c, s, until_ns);
        }
    }
    return error;
}

static int compare_node(struct fleet_controller *c, uint32_t node, uint64_t until_ns)
{
    struct fleet_seat seat;
    int error = fleet_attach(c->fleet, node, node == 0, &seat);
    if (error != 0)
        return error;
    struct subject s = {
        .first = c->seat.sectors,
        .other = seat.sectors,
        .entry = {.kind = FLEET_ENTRY_FINDING,
                  .node = (uint8_t)node,
                  .start = fleet_start(c->fleet, c->seat.handle)},
    };
    error = compare_sectors(c, &s, until_ns);
    s.first = c->seat.telemetry;
    s.other = seat.telemetry;
    if (error == 0)
        error = compare_telemetry(c, &s, until_ns);
    fleet_detach(&seat);
    return error;
}

int fleet_replicas_judge(struct fleet_controller *c)
{
    uint64_t until_ns = clock_boottime_ns() + CATCH_UP_NS;
    int error = 0;
    for (uint32_t node = 1; error == 0 && node < c->fleet->node_count; node++)
        if (fleet_is_member(c->fleet, node))
            error = compare_node(c, node, until_ns);
    return error;
}
