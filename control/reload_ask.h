/* reload_ask - asks the daemon at a socket to read its configuration again: reload.h.
 *
 * Lines that it reports go to out, what kept it from answering to errors.  Waits for the answer, at most
 * RELOAD_ASK_NS.  Returns the exit code:
 *   0  all is as the files say
 *   1  something stays as it was: a restart is due, or a certificate cannot be used
 *   2  the daemon's file has faults: nothing was changed
 *   3  no daemon is there, it does not answer, or it is of a release that does not know this
 *   5  it refuses this user: only root and the daemon's own may */
#ifndef DUNLIN_CONTROL_RELOAD_ASK_H
#define DUNLIN_CONTROL_RELOAD_ASK_H

#include "engine/base.h"

#include <stdio.h>

#define RELOAD_ASK_NS (30 * NS_PER_S)

int reload_ask(const char *socket_path, FILE *out, FILE *errors);

#endif
