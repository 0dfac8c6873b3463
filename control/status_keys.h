/* status_keys - the keys that a node is asked for most, as JSON: `hot_keys` of status.h.
 *
 * Control thread.  Of the newest HOT_KEYS_TOP of each lcore, as last shown, the HOT_KEYS_TOP that were noted
 * most often:
 *   [{space, key (base64 when not UTF-8, then "encoding": "base64"), lcore, share, share_most}]
 *   share: what part of the operations of its lcore it got lately, at least; share_most: at most. */
#ifndef DUNLIN_CONTROL_STATUS_KEYS_H
#define DUNLIN_CONTROL_STATUS_KEYS_H

#include "dataplane/node.h"

#include <jansson.h>

/* A new array; NULL: no memory. */
json_t *status_keys(const struct node *n);

#endif
