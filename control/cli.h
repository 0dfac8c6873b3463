/* cli - what the files of the command `dunlin` share: its options and the way it fails.
 *
 * Exit codes and output are a contract that scripts rest on: every error goes to stderr and says
 * what happened, to what, and what to do. */
#ifndef DUNLIN_CONTROL_CLI_H
#define DUNLIN_CONTROL_CLI_H

#include "control/cli_text.h"

#include <jansson.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_NOT_FOUND = 1, /* or the condition did not hold */
    CLI_USAGE = 2,     /* or bad input, or not in this version */
    CLI_UNAVAILABLE = 3,
    CLI_STALE = 4,
    CLI_REFUSED = 5,
    CLI_FATE_UNKNOWN = 6,
};

#define CLI_OPERANDS_MAX 3

struct cli {
    const char *command;
    const char *operands[CLI_OPERANDS_MAX]; /* NULL: not given */
    int operand_count;
    const char *socket;  /* NULL: DUNLIN_SOCKET, else the default */
    uint64_t timeout_ms; /* 0: the library's default */
    bool json;
    bool linearizable, local, no_wait;
    bool has_max_age, has_if_version, has_retry;
    uint64_t max_age_ms;
    struct dunlin_version if_version;
    struct dunlin_write_id retry;
};

/* Each returns the exit code. */
int cli_put(const struct cli *c);
int cli_get(const struct cli *c);
int cli_delete(const struct cli *c);
int cli_status(const struct cli *c);
int cli_nodes(const struct cli *c);
int cli_move(const struct cli *c);
int cli_key(const struct cli *c);

/* ---- cli_attach.c ---- */

/* Path of the daemon's socket, as given or by default. */
const char *cli_socket(const struct cli *c);

/* Attach to it.  Returns CLI_DONE and *handle, for dunlin_close; else it failed by a message. */
MUST_USE int cli_attach(const struct cli *c, struct dunlin **handle);

/* What an error of libdunlin means that means the same for every command: message and exit code. */
int cli_fail_by(const struct cli *c, int error);

/* All of stdout is written: exit_code; or the message and exit code that it is not. */
int cli_flushed(int exit_code);
/* An object as one line on stdout; it is freed.  NULL: out of memory. */
int cli_print_json(json_t *object, int exit_code);

/* ---- cli_options.c ---- */

/* Fills c from the arguments.  Returns 0, or -1 with *exit_code when there is nothing more to do.
 */
MUST_USE int cli_parse(struct cli *c, int argc, char **argv, int *exit_code);

/* "dunlin: ..." and a line end to stderr; returns exit_code. */
__attribute__((format(printf, 2, 3))) int cli_fail(int exit_code, const char *format, ...);

#endif
