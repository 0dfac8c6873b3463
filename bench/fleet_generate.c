#include "bench/fleet_data.h"

#include "bench/fleet_random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SPARSE_AGENTS 600u
#define SPARSE_SPAN_S 28800
#define SPARSE_STEP_S 10
#define CROWD_AGENTS 50u
#define CROWD_SPAN_S 500
#define CROWD_BLOCK_M 90.0 /* streets of the town form a grid */

#define METRES_PER_DEGREE 111320.0

struct mover {
    int64_t from_s, until_s;
    double lat, lon;
    double speed;   /* m/s */
    double course;  /* degrees */
    double to_turn; /* metres to the next corner, crowd only */
    char name[8];
};

/* Sparse: flights of 20 to 60 minutes somewhere over middle Europe. */
static void start_flight(struct mover *m, uint32_t i, uint64_t *random)
{
    m->from_s = (int64_t)fleet_random_below(random, SPARSE_SPAN_S - 1200);
    m->from_s -= m->from_s % SPARSE_STEP_S;
    m->until_s = m->from_s + 1200 + (int64_t)fleet_random_below(random, 2400);
    m->lat = fleet_random_between(random, 45.0, 48.5);
    m->lon = fleet_random_between(random, 5.0, 11.0);
    m->speed = fleet_random_between(random, 190, 260);
    m->course = fleet_random_between(random, 0, 360);
    (void)snprintf(m->name, sizeof(m->name), "%06x", 0x400000u + i * 2654435u % 0x3fffffu);
}

/* Crowd: vehicles in a few streets, most of them there for minutes. */
static void start_drive(struct mover *m, uint32_t i, uint64_t *random)
{
    m->from_s = (int64_t)fleet_random_below(random, CROWD_SPAN_S - 120);
    m->until_s = m->from_s + 120 + (int64_t)fleet_random_below(random, 260);
    m->lat = fleet_random_between(random, 37.977, 37.991);
    m->lon = fleet_random_between(random, 23.722, 23.742);
    m->speed = fleet_random_between(random, 3, 14);
    m->course = 90.0 * (double)fleet_random_below(random, 4);
    m->to_turn = fleet_random_between(random, 10, CROWD_BLOCK_M);
    (void)snprintf(m->name, sizeof(m->name), "v%03u", i);
}

static void move(struct mover *m, double seconds)
{
    double radians = m->course * M_PI / 180, metres = m->speed * seconds;
    m->lat += metres * cos(radians) / METRES_PER_DEGREE;
    m->lon += metres * sin(radians) / (METRES_PER_DEGREE * cos(m->lat * M_PI / 180));
}

/* At a corner: straight on, or left or right; never out of town. */
static void turn(struct mover *m, double seconds, uint64_t *random)
{
    m->to_turn -= m->speed * seconds;
    if (m->to_turn > 0)
        return;
    m->to_turn += CROWD_BLOCK_M;
    if (m->lat > 37.991 || m->lat < 37.977 || m->lon > 23.742 || m->lon < 23.722)
        m->course = fmod(m->course + 180, 360);
    else
        m->course = fmod(m->course + 90.0 * (double)(3 + fleet_random_below(random, 3)), 360);
}

static int report(struct fleet_source *s, const struct mover *m, int64_t time_s, bool crowd)
{
    char value[64];
    int n =
        crowd ? snprintf(value, sizeof(value), "%.1f", m->speed * 3.6)
              : snprintf(value, sizeof(value), "36000,%.1f,%.1f,0", m->speed * 1.943844, m->course);
    struct csv_row row = {
        .time_us = time_s * 1000000,
        .lat_e7 = (int32_t)lround(m->lat * 1e7),
        .lon_e7 = (int32_t)lround(m->lon * 1e7),
        .agent = {m->name, 0},
        .value = {value, (size_t)n},
    };
    while (m->name[row.agent.length] != 0)
        row.agent.length++;
    return fleet_source_add(s, &row);
}

int fleet_source_generate(struct fleet_source *s, enum fleet_kind kind, uint64_t seed,
                          uint32_t process_count)
{
    bool crowd = kind == FLEET_CROWD;
    uint32_t count = crowd ? CROWD_AGENTS : SPARSE_AGENTS;
    int64_t span_s = crowd ? CROWD_SPAN_S : SPARSE_SPAN_S, step_s = crowd ? 1 : SPARSE_STEP_S;
    uint64_t random = seed ^ (crowd ? 0x63726f7764u : 0x737061727365u);
    struct mover *movers = calloc(count, sizeof(*movers));
    int error = movers == NULL ? -ENOMEM : 0;
    (void)snprintf(s->label, sizeof(s->label), "generated %s, seed %llu",
                   crowd ? "crowd" : "sparse", (unsigned long long)seed);
    for (uint32_t i = 0; error == 0 && i < count; i++)
        (crowd ? start_drive : start_flight)(&movers[i], i, &random);
    for (int64_t t = 0; error == 0 && t <= span_s; t += step_s) {
        for (uint32_t i = 0; error == 0 && i < count; i++) {
            if (t < movers[i].from_s || t > movers[i].until_s)
                continue;
            error = report(s, &movers[i], t, crowd);
            move(&movers[i], (double)step_s);
            if (crowd)
                turn(&movers[i], (double)step_s, &random);
        }
    }
    free(movers);
    return error != 0 ? error : fleet_source_finish(s, false, process_count);
}
