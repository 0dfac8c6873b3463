#include "bench/fleet_speed.h"

#define FALL 0.8       /* factor when commands are too slow */
#define RISE 0.03      /* step, as a share of the speed it fell from */
#define START_RISE 1.5 /* factor before the first fall */
#define KEEP_UP 0.8    /* achieved below this share of the speed: it falls behind */

void fleet_speed_init(struct fleet_speed *s, double speed, uint64_t limit_ns)
{
    *s = (struct fleet_speed){.speed = speed, .limit_ns = limit_ns, .step = speed * RISE};
}

static double clamp(double speed)
{
    if (speed < FLEET_SPEED_MIN)
        return FLEET_SPEED_MIN;
    return speed < FLEET_SPEED_MAX ? speed : FLEET_SPEED_MAX;
}

double fleet_speed_next(struct fleet_speed *s, const struct fleet_seen *seen)
{
    /* Nothing moves: the daemon is away.  What comes afterwards is as unknown as before. */
    if (seen->command_count == 0 && seen->achieved <= 0)
        return s->speed;
    bool slow = seen->command_count >= FLEET_SPEED_SAMPLES && seen->p99_ns > s->limit_ns;
    bool behind = seen->achieved > 0 && seen->achieved < s->speed * KEEP_UP;
    if (slow || behind) {
        double fallen = s->speed * FALL;
        s->step = s->speed * RISE;
        s->has_fallen = true;
        /* Why not below what was achieved when only behind: that much it can do. */
        if (!slow && seen->achieved > fallen)
            fallen = seen->achieved;
        s->speed = clamp(fallen);
    } else {
        s->speed = clamp(s->has_fallen ? s->speed + s->step : s->speed * START_RISE);
    }
    return s->speed;
}
