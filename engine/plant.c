#include "engine/plant.h"

#include <string.h>

static const char *const names[PLANT_COUNT] = {
    [PLANT_NONE] = "none",
    [PLANT_COMPARE_IGNORED] = "compare-ignored",
    [PLANT_ACK_BEFORE_APPEND] = "ack-before-append",
    [PLANT_REUSE_BEFORE_GRACE] = "reuse-before-grace",
};

#ifdef DUNLIN_PLANT
enum plant plant_active = PLANT_NONE;
#endif

const char *plant_name(enum plant plant)
{
    return (unsigned)plant < PLANT_COUNT ? names[plant] : NULL;
}

int plant_set(const char *name)
{
    for (unsigned i = 0; i < PLANT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
#ifdef DUNLIN_PLANT
            plant_active = (enum plant)i;
            return 0;
#else
            return -ENOTSUP;
#endif
        }
    }
    return -ENOENT;
}
