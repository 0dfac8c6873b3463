/* fleet_check - no sector ever had two owners, and nothing acknowledged is missing: the proof.
 *
 * Pure but for memory.  Entries of all journals go in, in any order; what is wrong comes out.
 * A successful compare-and-set that expected version e and got v says that the sector had no other
 * version between e and v.  So per sector the writes are intervals (e, v] that must not overlap and
 * together form one chain from 0 to the final version; where one ends the next begins, and both
 * must agree who the owner is there.  Versions not yet seen are gaps; most close when another
 * journal is read; at the end one may only stand where a write of unknown fate expected just its
 * lower end. Besides, by the clock alone: the times that two owners had a sector for sure never
 * overlap. Memory grows with sectors and open gaps, not with writes. After a restart of the daemon
 * a sector is another sector: its memory was lost (part A). */
#ifndef DUNLIN_BENCH_FLEET_CHECK_H
#define DUNLIN_BENCH_FLEET_CHECK_H

#include "bench/fleet_journal.h"
#include "engine/base.h"

enum fleet_violation {
    FLEET_VIOLATION_VERSION_FELL,  /* a write got no higher version than it expected */
    FLEET_VIOLATION_VERSION_TWICE, /* two successful writes expected the same version */
    FLEET_VIOLATION_OWNERS,        /* neighbours in the chain disagree about the owner */
    FLEET_VIOLATION_OVERLAP,       /* two owners at the same time */
    FLEET_VIOLATION_HOLE,          /* versions that no known or unknown write explains */
    FLEET_VIOLATION_LOST,          /* the final version is below an acknowledged one */
    FLEET_VIOLATION_FOREIGN,       /* the final version is one that nobody wrote */
    FLEET_VIOLATION_FINDING,       /* reported by a process */
    FLEET_VIOLATION_COUNT
};

#define FLEET_VIOLATION_BYTES 512u
#define FLEET_OWNER_BYTES 112u

/* What the check needs from outside; kept by value. */
struct fleet_check_hooks {
    void (*on_violation)(void *context, enum fleet_violation kind, const char *text);
    /* Writes an owner's name and a final 0; NULL: owners are printed as numbers. */
    void (*name)(void *context, uint64_t owner, char name[FLEET_OWNER_BYTES]);
    void *context;
};

struct fleet_sector;
struct fleet_check {
    struct fleet_check_hooks hooks;
    struct fleet_sector **sectors; /* open addressing by (start, cell) */
    uint64_t sector_count, sector_room;
    uint64_t counts[FLEET_VIOLATION_COUNT];
    uint64_t writes, unknowns;
    uint64_t explained; /* holes that a write of unknown fate explains */
    uint64_t unjudged;  /* holds that came too late to be compared with all of their time */
};

void fleet_check_init(struct fleet_check *c, const struct fleet_check_hooks *hooks);
void fleet_check_fini(struct fleet_check *c);

/* Take an entry.  Returns 0 or -ENOMEM: the check is no longer complete. */
MUST_USE int fleet_check_entry(struct fleet_check *c, const struct fleet_entry *entry);

/* Every journal is read.  Calls visit for each sector of this daemon's start; visit finds out the
 * sector's final version and owner (version 0: the key does not exist) or returns a negative errno,
 * which ends it. */
struct fleet_final {
    uint64_t lsn, owner;
};
typedef int fleet_find_final(void *context, uint32_t cell, struct fleet_final *final);
MUST_USE int fleet_check_final(struct fleet_check *c, uint64_t start, fleet_find_final *find,
                               void *context);

/* Afterwards: judge the holes that are left, of all starts. */
void fleet_check_holes(struct fleet_check *c);

uint64_t fleet_check_violations(const struct fleet_check *c);

#endif
