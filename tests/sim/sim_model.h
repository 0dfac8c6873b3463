/* sim_model - what the keys of a shard are to those who use them: registers, numbers and leases, and what
 * an operation, with the answer that it got, may do to them.
 *
 * Pure; it knows no LSN, epoch or log.  A version is opaque: a write gives it, a read shows it, a compare
 * names it, and all that counts is whether two are equal (0: nothing is there); so is a lease's token.
 * One that nobody has shown yet is learned from who shows it first.  Used by the search, where much is
 * unknown, and by the replay of a log, where nothing is. */
#ifndef DUNLIN_TESTS_SIM_SIM_MODEL_H
#define DUNLIN_TESTS_SIM_SIM_MODEL_H

#include "tests/sim/sim.h"

#define SIM_MODEL_KEYS (SIM_KEYS / SIM_SHARDS)

/* What stands at a key, and at all of a shard. */
struct sim_model_value {
    uint64_t version; /* 0: nobody has shown it */
    uint64_t value;   /* its first bytes */
    uint64_t token;   /* of a lease; 0: nobody has shown it */
    bool there, leased;
};
struct sim_model_state {
    struct sim_model_value keys[SIM_MODEL_KEYS];
};

static inline struct sim_model_value *sim_model_at(struct sim_model_state *state, uint32_t key)
{
    return &state->keys[key / SIM_SHARDS];
}

bool sim_model_equal(const struct sim_model_state *a, const struct sim_model_state *b);

/* It says what happened. */
bool sim_model_is_answered(const struct sim_operation *o);

/* Carry an operation out.  False: it would have been answered otherwise, and the state counts for
 * nothing.  Without an answer: with the effect that it may have, of a transaction that may do either,
 * with that which its number says. */
bool sim_model_step(const struct sim_operation *o, struct sim_model_state *state);

/* It says what is to be done if its conditions do not hold. */
bool sim_model_has_else(const struct sim_operation *o);

/* What a value counts as: the number that it is the text of, or its first bytes, of which the last says
 * that it is none. */
#define SIM_NO_NUMBER (UINT64_C(0xa) << 60)
uint64_t sim_model_value(const void *bytes, uint64_t length);
/* False: it is no number.  Why none begins as those that are none: sums stay near 0 and both ends. */
bool sim_model_number(uint64_t value, int64_t *number);

#endif
