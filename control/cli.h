/* cli - what the files of the command `dunlin` share: its options and the way it fails.
 *
 * Exit codes and output are a contract that scripts rest on: every error goes to stderr and says
 * what happened, to what, and what to do. */
#ifndef DUNLIN_CONTROL_CLI_H
#define DUNLIN_CONTROL_CLI_H

#include "control/cli_text.h"
#include "control/space_words.h"

#include <jansson.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_NOT_FOUND = 1, /* or the condition did not hold */
    CLI_USAGE = 2,     /* or bad input, or not in this version */
    CLI_UNAVAILABLE = 3,
    CLI_STALE = 4,
    CLI_REFUSED = 5,
    CLI_FATE_UNKNOWN = 6,
    CLI_COMPACTED = 7, /* prints the version to restart from */
};

#define CLI_OPERANDS_MAX 3

/* Of dunlin authority. */
struct cli_authority_options {
    uint32_t given; /* a bit for each, for the verbs to judge */
    const char *cluster, *name, *out;
    uint32_t node, days;
    bool force;
};

/* Of dunlin doctor. */
struct cli_doctor_options {
    const char *config, *port; /* NULL: none */
    bool dpdk, rdma;
};

struct cli {
    const char *command;
    const char *operands[CLI_OPERANDS_MAX]; /* NULL: not given */
    int operand_count;
    const char *socket;  /* NULL: DUNLIN_SOCKET, else the default */
    uint64_t timeout_ms; /* 0: the library's default */
    bool json;
    bool linearizable, local, no_wait;
    bool has_max_age, has_if_version, has_retry, has_at;
    uint64_t max_age_ms;
    struct dunlin_version if_version, at;
    struct dunlin_write_id retry;
    const char *from; /* of a watch; NULL: now.  A node, of recover; NULL: the best */
    uint64_t count;   /* events, then it ends; 0: it does not */
    bool resume;      /* after a lag */
    bool has_ttl, has_token;
    uint64_t ttl_ms, token;
    const char *owner;    /* of a lease; NULL: this machine's name */
    bool region, regions; /* a region's lease, of those of all regions */
    const char *zone;     /* that region; NULL: the zone of the daemon's node */
    const char *key;      /* where operand 1 is not all of the key; else NULL */
    size_t key_length;
    const char *after;    /* of a scan: only what comes behind this key; NULL: all */
    bool keys;            /* a scan without values */
    uint64_t limit;       /* entries of a scan; 0: all */
    bool once;            /* one frame of top */
    uint32_t interval_ms; /* of top; 0: the default */
    bool yes;
    bool undo;                     /* of node drain */
    bool accept_loss;              /* of recover */
    uint64_t id;                   /* of a space; 0: any */
    char words[SPACE_WORDS_BYTES]; /* what a space, or a node, is to be */
    struct cli_authority_options authority;
    struct cli_doctor_options doctor;
};

/* Each returns the exit code. */
int cli_put(const struct cli *c);
int cli_get(const struct cli *c);
int cli_delete(const struct cli *c);
int cli_txn(const struct cli *c);
int cli_incr(const struct cli *c);
int cli_watch(const struct cli *c);
int cli_scan(const struct cli *c);
int cli_lease(const struct cli *c);
int cli_status(const struct cli *c);
int cli_nodes(const struct cli *c);
int cli_spaces(const struct cli *c);
int cli_shards(const struct cli *c);
int cli_space(const struct cli *c);
int cli_node(const struct cli *c);
int cli_recover(const struct cli *c);
int cli_top(const struct cli *c);
int cli_move(const struct cli *c);
int cli_key(const struct cli *c);
int cli_authority(const struct cli *c);
int cli_doctor(const struct cli *c);

/* ---- cli_attach.c ---- */

/* Path of the daemon's socket, as given or by default. */
const char *cli_socket(const struct cli *c);

/* Attach to it.  Returns CLI_DONE and *handle, for dunlin_close; else it failed by a message. */
MUST_USE int cli_attach(const struct cli *c, struct dunlin **handle);

/* What an error of libdunlin means that means the same for every command: message and exit code. */
int cli_fail_by(const struct cli *c, int error);

/* As cli_fail_by, of the key in operands 0 and 1, once attached: the message says who did not answer, as far as
 * the daemon knows. */
int cli_fail_at_key(const struct cli *c, struct dunlin *handle, struct dunlin_space *space,
                    int error);

/* All of stdout is written: exit_code; or the message and exit code that it is not. */
int cli_flushed(int exit_code);
/* Bytes under a name, in base64 when they are no UTF-8; encoding is the name that says so then.  Returns 0,
 * or -1: out of memory. */
MUST_USE int cli_json_bytes(json_t *o, const char *name, const char *encoding, const void *bytes,
                            size_t length);
/* An object as one line on stdout; it is freed.  NULL: out of memory. */
int cli_print_json(json_t *object, int exit_code);

/* ---- cli_data.c ---- */

/* Attach, and open the space that operand 0 names.  As cli_attach. */
MUST_USE int cli_attach_space(const struct cli *c, struct dunlin **handle,
                              struct dunlin_space **space);
/* Nobody knows if the last write was applied: print its name, or that it is forgotten. */
int cli_fate_unknown(const struct cli *c, const struct dunlin *handle);

/* ---- cli_admin.c ---- */

/* A JSON text of the daemon, read; NULL: *error says why. */
typedef int64_t cli_text_source(struct dunlin *handle, char *buffer, size_t capacity);
json_t *cli_object_get(struct dunlin *handle, cli_text_source *source, int *error);
/* What is under a name; 0 and "": nothing, or something else. */
json_int_t cli_number_at(const json_t *object, const char *name);
const char *cli_text_at(const json_t *object, const char *name);
/* As cli_fail_by, of a command that only a cluster carries out. */
int cli_fail_of_cluster(const struct cli *c, int error);

/* Between two looks, or two tries.  A signal shortens it. */
void cli_rest(uint64_t ns);
/* CLOCK_BOOTTIME when --timeout, or wait_ms without one, is over. */
uint64_t cli_until_ns(const struct cli *c, uint64_t wait_ms);

/* A change of the cluster that is asked for until the control log answers. */
struct cli_asking {
    uint64_t until_ns; /* CLOCK_BOOTTIME */
    bool was_busy;     /* it may have been done already, and not been said */
};

/* Whether it is to be asked for once more, after a rest: result is -EBUSY, and there is time. */
MUST_USE bool cli_asks_again(struct cli_asking *a, int64_t result);

/* ---- cli_authority.c ---- */

/* One of its options, by name.  Returns 0 or the exit code. */
MUST_USE int cli_authority_option(struct cli *c, const char *name, const char *value);

/* ---- cli_doctor.c ---- */

/* Likewise. */
MUST_USE int cli_doctor_option(struct cli *c, const char *name, const char *value);

/* ---- cli_options.c ---- */

/* Fills c from the arguments.  Returns 0, or -1 with *exit_code when there is nothing more to do.
 */
MUST_USE int cli_parse(struct cli *c, int argc, char **argv, int *exit_code);

/* "dunlin: ..." and a line end to stderr; returns exit_code. */
__attribute__((format(printf, 2, 3))) int cli_fail(int exit_code, const char *format, ...);

#endif
