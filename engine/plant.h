/* plant - known bugs that a build with -Dplant=true can switch on by name, to see that the checks of
 * the demo, the simulator and the tests fail.  In every other build PLANTED() is the constant false.
 * Set before any thread starts; constant afterwards. */
#ifndef DUNLIN_ENGINE_PLANT_H
#define DUNLIN_ENGINE_PLANT_H

#include "engine/base.h"

enum plant {
    PLANT_NONE = 0,
    PLANT_COMPARE_IGNORED,    /* a compare always holds */
    PLANT_ACK_BEFORE_APPEND,  /* one write in 64 is acknowledged and dropped */
    PLANT_REUSE_BEFORE_GRACE, /* memory is reused without grace period, pins or stamp */
    PLANT_COUNT
};

#ifdef DUNLIN_PLANT
extern enum plant plant_active;
#define PLANTED(name) UNLIKELY(plant_active == PLANT_##name)
#else
#define PLANTED(name) false
#endif

/* Name of a plant as people type it, NULL above PLANT_COUNT - 1. */
const char *plant_name(enum plant plant);

/* Switch one on.  Returns 0, -ENOENT (no such name), -ENOTSUP (not a -Dplant=true build). */
MUST_USE int plant_set(const char *name);

#endif
