/* fleet_speed - how fast to replay: as fast as commands stay quick.
 *
 * Pure.  Each period the supervisor tells what it saw; the answer is the speed of the virtual clock for
 * the next one.  Additive increase, multiplicative decrease (Chiu and Jain, 1989), after a doubling
 * start like TCP's, with two signals: the 99th percentile of command latency above the limit, and a
 * fleet that falls behind its clock, whose nominal speed then means nothing. */
#ifndef DUNLIN_BENCH_FLEET_SPEED_H
#define DUNLIN_BENCH_FLEET_SPEED_H

#include "engine/base.h"

#define FLEET_SPEED_MIN 1.0
#define FLEET_SPEED_MAX 10000000.0
#define FLEET_SPEED_SAMPLES 100u /* fewer commands than that say nothing about a 99th percentile */

struct fleet_speed {
    double speed;      /* recorded seconds per second */
    uint64_t limit_ns; /* of the 99th percentile */
    double step;       /* of an increase, once it has fallen */
    bool has_fallen;
};

/* What was seen in a period. */
struct fleet_seen {
    uint64_t command_count;
    uint64_t p99_ns;
    double achieved; /* recorded seconds that the slowest agent advanced per second; 0: unknown */
};

void fleet_speed_init(struct fleet_speed *s, double speed, uint64_t limit_ns);
double fleet_speed_next(struct fleet_speed *s, const struct fleet_seen *seen);

#endif
