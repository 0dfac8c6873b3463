#include "bench/fleet_speed.h"

#define FALL 0.8           /* factor in debt */
#define START_RISE 1.5     /* factor before the first fall */
#define FAR_RISE 1.15      /* factor, far from the ceiling on either side */
#define NEAR_BELOW 0.8     /* of the ceiling: from here ... */
#define NEAR_ABOVE 1.2     /* ... to here it is near */
#define NEAR_RISE 0.02     /* of the ceiling */
#define FORGET 0.7         /* a fall far below the ceiling lowers it no more than to this share */
#define KEEP_UP 0.8        /* achieved below this share of the speed: it falls behind */
#define RICH 0.5           /* of all the credit there can be */
#define CREDIT_PERIODS 8.0 /* of commands: older luck does not count, nor older debt */

void fleet_speed_init(struct fleet_speed *s, double speed)
{
    *s = (struct fleet_speed){.speed = speed};
}

static double clamp(double value, double low, double high)
{
    if (value < low)
        return low;
    return value < high ? value : high;
}

static void fall(struct fleet_speed *s, double to)
{
    double forgotten = s->ceiling * FORGET;
    s->ceiling = s->speed > forgotten ? s->speed : forgotten;
    s->speed = to;
}

/* Why rich counts: at the true limit what is paid in is taken out again; credit that grows says
 * that the fall was an accident. */
static void rise(struct fleet_speed *s, bool rich)
{
    if (s->ceiling <= 0)
        s->speed *= START_RISE;
    else if (!rich && s->speed > s->ceiling * NEAR_BELOW && s->speed < s->ceiling * NEAR_ABOVE)
        s->speed += s->ceiling * NEAR_RISE;
    else
        s->speed *= FAR_RISE;
}

double fleet_speed_next(struct fleet_speed *s, const struct fleet_seen *seen)
{
    double paid = (double)seen->command_count * FLEET_SPEED_SHARE;
    bool ours = seen->cpu_share >= FLEET_SPEED_CPU_MIN;
    double slow = ours ? (double)seen->slow_count : 0;
    /* Nothing moves: the daemon is away.  What comes afterwards is as unknown as before. */
    if (seen->command_count == 0 && seen->achieved <= 0)
        return s->speed;
    s->credit = clamp(s->credit + paid - slow, -paid * CREDIT_PERIODS, paid * CREDIT_PERIODS);
    if (slow > paid && s->credit < 0)
        fall(s, s->speed * FALL);
    else if (seen->achieved > 0 && seen->achieved < s->speed * KEEP_UP)
        fall(s, seen->achieved > s->speed * FALL ? seen->achieved : s->speed * FALL);
    else if (slow <= paid && s->credit >= 0)
        rise(s, s->credit > paid * CREDIT_PERIODS * RICH);
    s->speed = clamp(s->speed, FLEET_SPEED_MIN, FLEET_SPEED_MAX);
    return s->speed;
}
