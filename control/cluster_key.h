/* cluster_key - the file of secrets that all nodes of a cluster share.
 *
 * Lines of text:
 *   ID HEX     key id 1 .. 65535, one space or more, FRAME_SECRET_BYTES bytes as hex digits
 *   # comment, and empty lines
 * The first line seals what is sent, all of them open what comes.  To change a secret: the new line
 * second on every node, then first on every node, then without the old one.
 *
 * Who reads the file is the cluster, so it is refused unless it belongs to root or to this process'
 * user and nobody else may read or write it.  No message quotes its content, and no copy of a
 * secret stays in memory but the caller's.
 *
 * A fault is one line:   FILE:LINE:COLUMN: what was found; expected what
 * 0:0 is the file as a whole.
 *
 * Called before the daemon starts its threads; nothing is kept between calls. */
#ifndef DUNLIN_CONTROL_CLUSTER_KEY_H
#define DUNLIN_CONTROL_CLUSTER_KEY_H

#include "dataplane/transport_udp.h"

#include <stdio.h>

#define CLUSTER_KEY_FILE_BYTES_MAX 4096u
#define CLUSTER_KEY_LINE_BYTES (sizeof("65535 \n") + 2 * (size_t)FRAME_SECRET_BYTES)

/* Read the file into secrets, FRAME_SECRETS_MAX of them, in its order.  Returns 0 and *count, 1 or
 * more, or with both untouched, each told on errors
 *   -EINVAL  no regular file, or its content has a fault: the first one
 *   -EPERM   others than its owner may read or write it, or its owner is a stranger
 *   -EFBIG   more than CLUSTER_KEY_FILE_BYTES_MAX
 *   or what open and read say (-ENOENT, -EACCES ...). */
MUST_USE int cluster_key_load(const char *path, struct transport_framed_secret secrets[],
                              uint32_t *count, FILE *errors);

/* A fresh line for such a file, its key id drawn as well as the secret: few enough collide for the
 * load to tell.  The caller wipes it (explicit_bzero).  Returns 0 or -errno of getrandom. */
MUST_USE int cluster_key_line(char line[CLUSTER_KEY_LINE_BYTES]);

#endif
