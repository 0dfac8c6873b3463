/* config_check - the first pass over a configuration: every fault, and the canonical form.
 *
 * Internal to config. */
#ifndef DUNLIN_CONTROL_CONFIG_CHECK_H
#define DUNLIN_CONTROL_CONFIG_CHECK_H

#include "control/config.h"

/* The longest configuration that has no fault is well below: 64 spaces of about 1 KiB each. */
#define CONFIG_TEXT_BYTES (1u << 17)
struct config_text {
    size_t used; /* zero at first */
    bool
        spaces_only; /* the caller's: the file may leave out its node, which is then a made-up one */
    char bytes[CONFIG_TEXT_BYTES];
};

/* Check bytes against config_table.h.  Each fault is a line on errors, in the form config.h tells;
 * name stands for FILE.  In canonical: the configuration as flow-style YAML with every key of the
 * table present but for an optional section that the file leaves out, numbers in base units; of use
 * only if 0 is returned.
 * Returns 0, -EINVAL (faults, reported) or -ENOMEM (reported). */
MUST_USE int config_check(const char *name, const uint8_t *bytes, size_t size, FILE *errors,
                          struct config_text *canonical);

#endif
