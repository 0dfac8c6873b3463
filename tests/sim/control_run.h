/* control_run - the scenario `control` of dunlin-sim: see control_world.h. */
#ifndef DUNLIN_TESTS_SIM_CONTROL_RUN_H
#define DUNLIN_TESTS_SIM_CONTROL_RUN_H

#include "engine/base.h"

#define CONTROL_RUN_NAME "control"
#define CONTROL_RUN_TEXT "the control planes of a cluster: libraft, leader leases, who leads what"

struct control_run {
    uint64_t seed, seeds;
    bool trace, is_planted;
    void (*begin)(uint64_t seed); /* of each */
};

/* Prints what was found and how often what happened.  Returns the exit code of the program. */
int control_run(const struct control_run *run);

#endif
