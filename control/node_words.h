/* node_words - what a node that is added is to be, in the words of the configuration and judged by its table
 * (config_table.h): a line KEY=VALUE for each key, like "address=10.0.0.4:7700\nzone=hall-2\n".
 *
 * Pure: any thread, any text. */
#ifndef DUNLIN_CONTROL_NODE_WORDS_H
#define DUNLIN_CONTROL_NODE_WORDS_H

#include "engine/base.h"
#include "engine/limits.h"

#define NODE_WORDS_BYTES 1024u /* with the final 0 */
#define NODE_WORDS_FAULT_BYTES 320u
#define NODE_WORDS_ADDRESS_BYTES 64u

struct node_words {
    uint32_t weight;
    char zone[LIMIT_NAME_BYTES]; /* "": none */
    /* As config_address_parse takes them. */
    char address[NODE_WORDS_ADDRESS_BYTES];
    char control[NODE_WORDS_ADDRESS_BYTES];
};

/* Every key of a node in the configuration but its id; address is needed, control is by default the same.
 * Returns 0, or -EINVAL with what is wrong in fault, for people, and *w of no use. */
MUST_USE int node_words_read(struct node_words *w, const char *words,
                             char fault[NODE_WORDS_FAULT_BYTES]);

#endif
