/* install_world - a leader that goes on writing, and a follower that takes its snapshots over while
 * it is read: what the tests of install.h share.  Checks with CUnit's asserts. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_INSTALL_WORLD_H
#define DUNLIN_TESTS_UNIT_ENGINE_INSTALL_WORLD_H

#include "engine/snapshot.h"
#include "tests/unit/engine/history.h"

#define PIECE_MAX (1u << 14)
#define OPEN_READS 16u

/* A read in place that is still going on. */
struct install_read {
    bool open;
    uint32_t number;
    int result;
    struct read_point point;
    struct read_found found;
};

struct install_world {
    struct fixture leader, follower;
    struct history *h;
    uint64_t seed;
    uint64_t id;
    uint64_t lsn_shown; /* highest commit LSN on the follower's board so far */
    uint8_t *piece;
    struct install_read reads[OPEN_READS];
    uint64_t reads_good, reads_hidden; /* validated; those of them while the log was catching up */
    uint64_t waited, discarded;
};

extern const struct fixture_config install_config;

void install_world_open(struct install_world *w, uint64_t seed,
                        const struct fixture_config *follower);
void install_world_close(struct install_world *w);

/* Reads that begin and end at any two moments, judged by the history; and what is shown never falls. */
void install_reads_go_on(struct install_world *w);

/* Commit what the leader has committed and is here; answers; one pass of housekeeping. */
void install_follower_maintain(struct install_world *w);
/* One range of the leader's log, of random length. */
void install_ship(struct install_world *w);
/* Land all of the leader's log, which at first goes on growing by up to so many writes a turn. */
void install_catch_up(struct install_world *w, uint32_t writes);

/* Keys, sessions, epochs, and what is live. */
void install_check_equal(struct install_world *w);

/* Begin to install under the next id. */
void install_world_begin(struct install_world *w);
/* Hand a piece over until it is taken; it arrives damaged and twice as well.  What install_piece
 * returned last. */
int install_hand_over(struct install_world *w, const struct snapshot_piece *p);
/* A whole snapshot, while both go on, up to so many writes a piece.  Afterwards the log is at S0. */
void install_take_snapshot(struct install_world *w, uint32_t writes);

#endif
