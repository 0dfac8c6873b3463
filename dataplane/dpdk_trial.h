/* dpdk_trial - has a port that no endpoint uses show whether it sends chained frames (dpdk_chain.h).
 *
 * Edge; control's thread, which waits meanwhile.  It asks neighbours for their stations and has one of them answer
 * echo requests; nothing else is sent. */
#ifndef DUNLIN_DATAPLANE_DPDK_TRIAL_H
#define DUNLIN_DATAPLANE_DPDK_TRIAL_H

#include "dataplane/dpdk_chain.h"

struct dpdk_trial_config {
    uint32_t address; /* own, host order */
    uint8_t prefix;   /* bits of it that all on the link share */
    uint32_t gateway; /* for others; 0: there is none */
    uint32_t neighbour_count;
    const uint32_t *neighbours; /* host order; asked in turn */
    uint64_t wait_ns;           /* until it ends, whatever is known then */
};

struct dpdk_trial {
    enum dpdk_chain_state state;
    uint32_t neighbours_known; /* those that said their station */
    uint64_t answers;          /* to echo requests */
};

/* Returns 0, also where nothing was proven; or
 *   -EINVAL  config is out of bounds
 *   -ENOMEM.
 * What the port still holds stays mapped: close it next. */
MUST_USE int dpdk_trial_run(struct dpdk_port *port, const struct dpdk_trial_config *config,
                            struct dpdk_trial *result);

#endif
