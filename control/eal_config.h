/* eal_config - starts DPDK's environment as a configuration says.  Edge, by control. */
#ifndef DUNLIN_CONTROL_EAL_CONFIG_H
#define DUNLIN_CONTROL_EAL_CONFIG_H

#include "control/config.h"

/* As dpdk_eal_start, with the arguments of the file, and those of the command line behind them.  Unless they say which
 * devices DPDK may have, that is the port's, and no other card of the machine; unless they say how much memory, that is
 * what its port takes for so many lcores. */
MUST_USE int eal_config_start(const struct config_dpdk *dpdk, uint32_t lcore_count);

#endif
