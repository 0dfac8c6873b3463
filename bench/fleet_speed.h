/* fleet_speed - how fast to replay: as fast as commands stay quick.
 *
 * Pure.  Each period the supervisor tells what it saw; the answer is the speed of the virtual clock
 * for the next one.  What is wanted is a percentile over the whole run, so it is kept as a budget:
 * each command pays in FLEET_SPEED_SHARE, each one slower than the limit takes out 1.  While there
 * is credit the speed rises; in debt it falls (additive increase, multiplicative decrease: Chiu and
 * Jain, 1989), steeply below the speed at which it last fell and gently near it (as CUBIC does, RFC
 * 9438). A fleet that falls behind its clock is slowed down to what it achieves; one that hardly
 * uses the machine is not slowed down for what others do to it. */
#ifndef DUNLIN_BENCH_FLEET_SPEED_H
#define DUNLIN_BENCH_FLEET_SPEED_H

#include "engine/base.h"

#define FLEET_SPEED_MIN 10.0
#define FLEET_SPEED_CPU_MIN                                                                        \
    0.15 /* of the machine: using less, it is not us who make commands slow */
#define FLEET_SPEED_MAX 10000000.0
#define FLEET_SPEED_SHARE 0.008 /* of commands may be slow; below the 0.01 of a 99th percentile */

struct fleet_speed {
    double speed;   /* recorded seconds per second */
    double ceiling; /* at which it fell; 0: never */
    double credit;  /* commands that may still be slow; negative: debt */
};

/* What was seen in a period. */
struct fleet_seen {
    uint64_t command_count;
    uint64_t slow_count; /* of them, slower than the limit */
    double achieved;     /* recorded seconds that the slowest process advanced per second */
    double cpu_share;    /* of the machine's processors that the agents used, 0 .. 1 */
};

void fleet_speed_init(struct fleet_speed *s, double speed);
double fleet_speed_next(struct fleet_speed *s, const struct fleet_seen *seen);

#endif
