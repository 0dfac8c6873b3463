#include "bench/fleet_check.h"

#include "bench/geohash.h"
#include "engine/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECENT_HOLDS 16u

/* Versions in (from, until] are not accounted for yet. */
struct gap {
    uint64_t from, until;
    uint64_t owner_from;  /* after the write that made from */
    uint64_t owner_until; /* before the write that expected until */
};

struct hold {
    uint64_t owner, ns_from, ns_until;
};

struct fleet_sector {
    uint64_t start;
    uint64_t lsn, owner; /* end of the chain */
    struct gap *gaps;
    struct fleet_entry *unknowns;
    uint32_t cell;
    uint32_t gap_count, gap_room, unknown_count, unknown_room;
    uint32_t hold_count;
    uint64_t ns_judged; /* holds that ended before may be forgotten */
    struct hold holds[RECENT_HOLDS];
};

struct owner_name {
    char text[FLEET_OWNER_BYTES];
};

static struct owner_name name(const struct fleet_check *c, uint64_t owner)
{
    struct owner_name n;
    if (c->hooks.name != NULL)
        c->hooks.name(c->hooks.context, owner, n.text);
    else
        (void)snprintf(n.text, sizeof(n.text), "%" PRIx64, owner);
    return n;
}

__attribute__((format(printf, 4, 5))) static void report(struct fleet_check *c,
                                                         enum fleet_violation kind,
                                                         const struct fleet_sector *s,
                                                         const char *format, ...)
{
    char text[FLEET_VIOLATION_BYTES];
    char cell[GEOHASH_CHARACTERS];
    va_list arguments;
    geohash_text(s->cell, cell);
    int n = snprintf(text, sizeof(text), "sector %.*s: ", (int)sizeof(cell), cell);
    va_start(arguments, format);
    (void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, arguments);
    va_end(arguments);
    c->counts[kind]++;
    c->hooks.on_violation(c->hooks.context, kind, text);
}

void fleet_check_init(struct fleet_check *c, const struct fleet_check_hooks *hooks)
{
    *c = (struct fleet_check){.hooks = *hooks};
}

void fleet_check_fini(struct fleet_check *c)
{
    for (uint64_t i = 0; i < c->sector_room; i++) {
        if (c->sectors[i] != NULL) {
            free(c->sectors[i]->gaps);
            free(c->sectors[i]->unknowns);
            free(c->sectors[i]);
        }
    }
    free(c->sectors);
    *c = (struct fleet_check){0};
}

static uint64_t place(const struct fleet_check *c, uint64_t start, uint32_t cell)
{
    uint64_t key[2] = {start, cell};
    uint64_t at = hash_key(key, sizeof(key)) & (c->sector_room - 1);
    while (c->sectors[at] != NULL &&
           (c->sectors[at]->start != start || c->sectors[at]->cell != cell))
        at = (at + 1) & (c->sector_room - 1);
    return at;
}

static int grow(struct fleet_check *c)
{
    struct fleet_sector **old = c->sectors;
    uint64_t old_room = c->sector_room;
    uint64_t room = old_room == 0 ? 1024 : old_room * 2;
    struct fleet_sector **sectors = calloc(room, sizeof(struct fleet_sector *));
    if (sectors == NULL)
        return -ENOMEM;
    c->sectors = sectors;
    c->sector_room = room;
    for (uint64_t i = 0; i < old_room; i++) {
        if (old[i] != NULL)
            c->sectors[place(c, old[i]->start, old[i]->cell)] = old[i];
    }
    free(old);
    return 0;
}

static int sector_of(struct fleet_check *c, const struct fleet_entry *e, struct fleet_sector **s)
{
    if (c->sector_count * 2 >= c->sector_room && grow(c) != 0)
        return -ENOMEM;
    uint64_t at = place(c, e->start, e->cell);
    if (c->sectors[at] == NULL) {
        c->sectors[at] = calloc(1, sizeof(*c->sectors[at]));
        if (c->sectors[at] == NULL)
            return -ENOMEM;
        c->sectors[at]->start = e->start;
        c->sectors[at]->cell = e->cell;
        c->sector_count++;
    }
    *s = c->sectors[at];
    return 0;
}

/* The write that made lsn left owner_after; the one that expected it found owner_before. */
static void join(struct fleet_check *c, struct fleet_sector *s, uint64_t lsn, uint64_t owner_after,
                 uint64_t owner_before)
{
    if (owner_after != owner_before)
        report(c, FLEET_VIOLATION_OWNERS, s,
               "version %" PRIu64 " made the owner %s, but the next write found %s", lsn,
               name(c, owner_after).text, name(c, owner_before).text);
}

static int gap_add(struct fleet_sector *s, struct gap gap)
{
    if (s->gap_count == s->gap_room) {
        uint32_t room = s->gap_room == 0 ? 4 : s->gap_room * 2;
        struct gap *gaps = realloc(s->gaps, room * sizeof(*gaps));
        if (gaps == NULL)
            return -ENOMEM;
        s->gaps = gaps;
        s->gap_room = room;
    }
    s->gaps[s->gap_count++] = gap;
    return 0;
}

/* A write inside a gap leaves a gap on each side, or closes it there. */
static int fill(struct fleet_check *c, struct fleet_sector *s, uint32_t index,
                const struct fleet_entry *e)
{
    struct gap gap = s->gaps[index];
    int error = 0;
    s->gaps[index] = s->gaps[--s->gap_count];
    if (gap.from == e->lsn_expected)
        join(c, s, gap.from, gap.owner_from, e->owner_before);
    else
        error =
            gap_add(s, (struct gap){gap.from, e->lsn_expected, gap.owner_from, e->owner_before});
    if (gap.until == e->lsn)
        join(c, s, gap.until, e->owner_after, gap.owner_until);
    else if (error == 0)
        error = gap_add(s, (struct gap){e->lsn, gap.until, e->owner_after, gap.owner_until});
    return error;
}

static int add_write(struct fleet_check *c, struct fleet_sector *s, const struct fleet_entry *e)
{
    c->writes++;
    if (e->lsn <= e->lsn_expected) {
        report(c, FLEET_VIOLATION_VERSION_FELL, s,
               "a write of %s that expected version %" PRIu64 " got %" PRIu64,
               name(c, e->owner_after != 0 ? e->owner_after : e->owner_before).text,
               e->lsn_expected, e->lsn);
        return 0;
    }
    if (e->lsn_expected >= s->lsn) {
        int error = 0;
        if (e->lsn_expected == s->lsn)
            join(c, s, s->lsn, s->owner, e->owner_before);
        else
            error = gap_add(s, (struct gap){s->lsn, e->lsn_expected, s->owner, e->owner_before});
        s->lsn = e->lsn;
        s->owner = e->owner_after;
        return error;
    }
    for (uint32_t i = 0; i < s->gap_count; i++) {
        if (s->gaps[i].from <= e->lsn_expected && e->lsn <= s->gaps[i].until)
            return fill(c, s, i, e);
    }
    report(c, FLEET_VIOLATION_VERSION_TWICE, s,
           "the write of owner %s -> %s that expected version %" PRIu64 " and got %" PRIu64
           " succeeded, but another write lies in between",
           name(c, e->owner_before).text, name(c, e->owner_after).text, e->lsn_expected, e->lsn);
    return 0;
}

static void add_hold(struct fleet_check *c, struct fleet_sector *s, const struct fleet_entry *e)
{
    uint32_t oldest = 0;
    if (e->ns_from < s->ns_judged)
        c->unjudged++;
    for (uint32_t i = 0; i < s->hold_count; i++) {
        const struct hold *h = &s->holds[i];
        if (h->owner != e->owner_before && e->ns_from < h->ns_until && h->ns_from < e->ns_until)
            report(c, FLEET_VIOLATION_OVERLAP, s,
                   "%s had it from %" PRIu64 " to %" PRIu64 " ns and %s from %" PRIu64
                   " to %" PRIu64,
                   name(c, h->owner).text, h->ns_from, h->ns_until, name(c, e->owner_before).text,
                   e->ns_from, e->ns_until);
        if (h->ns_until < s->holds[oldest].ns_until)
            oldest = i;
    }
    if (s->hold_count < RECENT_HOLDS)
        oldest = s->hold_count++;
    else
        s->ns_judged = max_u64(s->ns_judged, s->holds[oldest].ns_until);
    s->holds[oldest] = (struct hold){e->owner_before, e->ns_from, e->ns_until};
}

static int add_unknown(struct fleet_check *c, struct fleet_sector *s, const struct fleet_entry *e)
{
    c->unknowns++;
    if (s->unknown_count == s->unknown_room) {
        uint32_t room = s->unknown_room == 0 ? 4 : s->unknown_room * 2;
        struct fleet_entry *unknowns = realloc(s->unknowns, room * sizeof(*unknowns));
        if (unknowns == NULL)
            return -ENOMEM;
        s->unknowns = unknowns;
        s->unknown_room = room;
    }
    s->unknowns[s->unknown_count++] = *e;
    return 0;
}

static const char *const findings[FLEET_FINDING_COUNT] = {
    [0] = "an unnamed finding",
    [FLEET_FINDING_VERSION_FELL] = "its version fell",
    [FLEET_FINDING_TORN] = "its value is not whole, or of another key",
    [FLEET_FINDING_MISSING] = "an acknowledged put is missing",
    [FLEET_FINDING_NOT_ACKNOWLEDGED] = "its value is not the one acknowledged",
    [FLEET_FINDING_NOT_VISIBLE] = "a linearizable read is older than an acknowledgement before it",
    [FLEET_FINDING_UNDELETED] = "it is there although its deletion was acknowledged",
    [FLEET_FINDING_STOLEN] = "its sector was written by somebody else while it held it",
    [FLEET_FINDING_VIEW] = "a view of it changed although its release said it was safe",
    [FLEET_FINDING_REPLICA_VERSION] = "its replica has another version than the first node",
    [FLEET_FINDING_REPLICA_VALUE] = "its replica has the version, but not the value",
    [FLEET_FINDING_WATCH_VERSION] = "a watch gave out no newer version",
    [FLEET_FINDING_WATCH_SKIPPED] = "a watch left a write out",
    [FLEET_FINDING_WATCH_MISSED] = "a watch did not give out the last write",
    [FLEET_FINDING_WATCH_REMAINS] = "a watch did not give out that it was deleted",
    [FLEET_FINDING_WATCH_FOREIGN] = "a watch gave it out that had not asked for it",
    [FLEET_FINDING_WATCH_BROKEN] = "a watch cannot go on",
};

static void add_finding(struct fleet_check *c, const struct fleet_entry *e)
{
    char text[FLEET_VIOLATION_BYTES], cell[GEOHASH_CHARACTERS] = "none", node[24] = "";
    if (e->cell != GEOHASH_NONE)
        geohash_text(e->cell, cell);
    if (e->node != 0)
        (void)snprintf(node, sizeof(node), " at node %u", e->node + 1u);
    (void)snprintf(text, sizeof(text),
                   "agent %s (sector %.*s)%s: %s: expected version %" PRIu64 ", found %" PRIu64,
                   name(c, e->owner_before).text, (int)sizeof(cell), cell, node,
                   findings[e->detail < FLEET_FINDING_COUNT ? e->detail : 0], e->lsn_expected,
                   e->lsn);
    c->counts[FLEET_VIOLATION_FINDING]++;
    c->hooks.on_violation(c->hooks.context, FLEET_VIOLATION_FINDING, text);
}

int fleet_check_entry(struct fleet_check *c, const struct fleet_entry *entry)
{
    struct fleet_sector *s;
    if (entry->kind == FLEET_ENTRY_FINDING) {
        add_finding(c, entry);
        return 0;
    }
    int error = sector_of(c, entry, &s);
    if (error != 0)
        return error;
    if (entry->owner_before != 0 && entry->ns_until != 0)
        add_hold(c, s, entry);
    if (entry->kind == FLEET_ENTRY_WRITE)
        return add_write(c, s, entry);
    return entry->kind == FLEET_ENTRY_UNKNOWN ? add_unknown(c, s, entry) : 0;
}

/* A write of unknown fate that expected this version. */
static const struct fleet_entry *unknown_at(const struct fleet_sector *s, uint64_t lsn)
{
    for (uint32_t i = 0; i < s->unknown_count; i++) {
        if (s->unknowns[i].lsn_expected == lsn)
            return &s->unknowns[i];
    }
    return NULL;
}

static void judge_final(struct fleet_check *c, struct fleet_sector *s, struct fleet_final final)
{
    if (final.lsn < s->lsn) {
        report(c, FLEET_VIOLATION_LOST, s,
               "version %" PRIu64 " was acknowledged, but the newest is %" PRIu64, s->lsn,
               final.lsn);
    } else if (final.lsn > s->lsn) {
        if (unknown_at(s, s->lsn) != NULL)
            c->explained++;
        else
            report(c, FLEET_VIOLATION_FOREIGN, s,
                   "the newest version is %" PRIu64 ", nobody wrote after %" PRIu64, final.lsn,
                   s->lsn);
    } else if (final.owner != s->owner) {
        report(c, FLEET_VIOLATION_OWNERS, s, "the chain ends with owner %s, but the value says %s",
               name(c, s->owner).text, name(c, final.owner).text);
    }
}

int fleet_check_final(struct fleet_check *c, uint64_t start, fleet_find_final *find, void *context)
{
    for (uint64_t i = 0; i < c->sector_room; i++) {
        struct fleet_sector *s = c->sectors[i];
        struct fleet_final final = {0};
        if (s == NULL || s->start != start)
            continue;
        int error = find(context, s->cell, &final);
        if (error != 0)
            return error;
        judge_final(c, s, final);
    }
    return 0;
}

static void judge_hole(struct fleet_check *c, struct fleet_sector *s, const struct gap *gap)
{
    if (unknown_at(s, gap->from) != NULL)
        c->explained++;
    else
        report(c, FLEET_VIOLATION_HOLE, s,
               "a write found version %" PRIu64 ", but nobody wrote between it and %" PRIu64,
               gap->until, gap->from);
}

void fleet_check_holes(struct fleet_check *c)
{
    for (uint64_t i = 0; i < c->sector_room; i++) {
        struct fleet_sector *s = c->sectors[i];
        for (uint32_t g = 0; s != NULL && g < s->gap_count; g++)
            judge_hole(c, s, &s->gaps[g]);
    }
}

uint64_t fleet_check_violations(const struct fleet_check *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < FLEET_VIOLATION_COUNT; i++)
        sum += c->counts[i];
    return sum;
}
