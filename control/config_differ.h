/* config_differ - which keys of two configurations differ, and where a key stands in a file.
 *
 * No I/O, and nothing is kept.  Keys are named by their path: agents.rate, cluster.nodes[2].address, where entries of a list count from
 * 0.  Of lists with different numbers of entries the list itself is one difference, and then their entries as far
 * as both have them. */
#ifndef DUNLIN_CONTROL_CONFIG_DIFFER_H
#define DUNLIN_CONTROL_CONFIG_DIFFER_H

#include "control/config.h"

#define CONFIG_KEY_BYTES 96u /* with the final 0 */

/* Calls found for every key that differs, in the order of the table of keys.  Both came from config_load. */
void config_differ(const struct config *before, const struct config *after,
                   void (*found)(void *context, const char *key), void *context);

struct config_place {
    size_t line, column; /* from 1; 0: nothing of it is there */
};

/* Where a key stands in bytes that config_parse accepted; one that is left out, where what it belongs to does.
 * Returns 0 or -ENOMEM. */
MUST_USE int config_locate(const uint8_t *bytes, size_t size, const char *key,
                           struct config_place *place);

#endif
