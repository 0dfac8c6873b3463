/* sim_search - whether a history of operations is linearizable, found out by search: no LSN, epoch or
 * log is looked at, so it knows nothing that the core could have got wrong.
 *
 * What operations do, sim_model.h says.  A transaction is one operation on several keys, a read in place
 * one like any other, and so is the expiry of a key, between when its ttl was over and when it was
 * committed.  An operation without an answer takes effect at any time after its invocation, or never; the
 * version it made is unknown until somebody shows it, as are those of a transaction but for the last that
 * it made.
 *
 * Source: Wing, Gong, "Testing and Verifying Concurrent Objects" (J. Parallel Distrib. Comput. 17,
 * 1993), the search; Lowe, "Testing for Linearizability" (Concurr. Comput. 29(4), 2017), what was tried
 * (which operations are done, and the state they leave) is remembered; Horn, Kroening, "Faster
 * Linearizability Checking via P-Compositionality" (FORTE 2015), each shard by itself, since no
 * operation touches two. */
#ifndef DUNLIN_TESTS_SIM_SIM_SEARCH_H
#define DUNLIN_TESTS_SIM_SIM_SEARCH_H

#include "tests/sim/sim_model.h"

#define SIM_SEARCH_ANSWERED 4096u /* operations of one shard with an answer */
#define SIM_SEARCH_UNANSWERED 64u /* and without */
/* Under way at the same time: a reader that is descheduled is there for long. */
#define SIM_SEARCH_WORDS 16u
#define SIM_SEARCH_ABREAST (64u * SIM_SEARCH_WORDS)
#define SIM_SEARCH_MEMORY (1u << 16) /* states remembered; above three quarters of it: undecided */

enum sim_search_result {
    SIM_SEARCH_LINEARIZABLE,
    SIM_SEARCH_NOT_LINEARIZABLE,
    SIM_SEARCH_UNDECIDED, /* more operations, or more states, than there is room for */
};

/* Which operations are done: the answered ones below base, those from there on a bit each, and the
 * unanswered ones a bit each. */
struct sim_search_done {
    uint32_t base;
    uint64_t window[SIM_SEARCH_WORDS], unanswered;
};

/* One operation after another was chosen, deepest first; a level of it. */
struct sim_search_level {
    struct sim_search_done done;
    struct sim_model_state state;
    uint64_t window[SIM_SEARCH_WORDS], unanswered; /* may be next, and were not tried */
};

struct sim_search_entry {
    struct sim_search_done done;
    struct sim_model_state state;
    uint32_t run; /* entries of earlier runs count for nothing */
};

/* Memory of a search, all of it; zeroed once, then reused. */
struct sim_search {
    /* the answered ones by invocation; from SIM_SEARCH_ANSWERED on the others */
    struct sim_operation operations[SIM_SEARCH_ANSWERED + SIM_SEARCH_UNANSWERED];
    uint32_t answered, unanswered;
    bool no_room;
    uint32_t run, remembered;
    struct sim_search_level levels[SIM_SEARCH_ANSWERED + SIM_SEARCH_UNANSWERED + 1];
    struct sim_search_entry memory[SIM_SEARCH_MEMORY];
};

/* All of history, in any order, that touches keys of a shard.  returned 0, or a status that is neither success, a
 * condition that did not hold nor "not found": no answer. */
enum sim_search_result sim_search_shard(struct sim_search *q, const struct sim_operation *history,
                                        uint32_t count, uint32_t shard);

/* Each shard of a simulated history, reads in place included, up to the answer that is the last there is room for: what was under
 * way then need not have taken effect, what was invoked later cannot matter.  What clients still wait
 * for is without an answer.  Returns false, and the shard, if one is not linearizable; one that is
 * undecided counts as good, and in *undecided. */
bool sim_search(const struct sim *s, uint32_t *shard, uint32_t *undecided);

#endif
