#include "control/cli.h"

#include "engine/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_line(const struct cli *c, const struct dunlin_scan_entry *e)
{
    char version[CLI_VERSION_BYTES];
    cli_version_print(version, e->version);
    (void)fwrite(e->key, 1, e->key_length, stdout);
    if (!c->keys) {
        (void)putchar(' ');
        (void)fwrite(e->value, 1, e->value_length, stdout);
    }
    (void)printf(" %s\n", version);
    return ferror(stdout) == 0 ? CLI_DONE : cli_flushed(CLI_DONE);
}

static int print_json(const struct cli *c, const struct dunlin_info *info,
                      const struct dunlin_scan_entry *e)
{
    char version[CLI_VERSION_BYTES];
    cli_version_print(version, e->version);
    json_t *age =
        e->age_ns == UINT64_MAX ? json_null() : json_real((double)e->age_ns / (double)NS_PER_MS);
    json_t *o =
        json_pack("{s:s, s:I, s:o, s:b, s:i}", "version", version, "epoch", (json_int_t)e->epoch,
                  "age_ms", age, "stale", e->stale, "node", (int)info->node_id);
    if (o != NULL &&
        (cli_json_bytes(o, "key", "key_encoding", e->key, e->key_length) != 0 ||
         (!c->keys && cli_json_bytes(o, "value", "encoding", e->value, e->value_length) != 0))) {
        json_decref(o);
        o = NULL;
    }
    return cli_print_json(o, CLI_DONE);
}

static int fail(const struct cli *c, int error)
{
    switch (error) {
    case -EOPNOTSUPP:
        return cli_fail(CLI_REFUSED,
                        "scan %s: the space keeps no order (ordered: false in its configuration), "
                        "or the leader of a shard runs an older release",
                        c->operands[0]);
    case -ESTALE:
        return cli_fail(CLI_STALE,
                        "scan %s: older than --max-age allows; the daemon at %s is slow or gone",
                        c->operands[0], cli_socket(c));
    default:
        return cli_fail_by(c, error);
    }
}

/* Up to --limit entries.  What was printed stands also where the rest fails. */
static int print_all(const struct cli *c, struct dunlin *handle, struct dunlin_scan *scan)
{
    struct dunlin_scan_entry e;
    struct dunlin_info info;
    uint64_t count = 0;
    int error = 0, exit_code = CLI_DONE;
    dunlin_info(handle, &info);
    while (exit_code == CLI_DONE && (c->limit == 0 || count < c->limit) &&
           (error = dunlin_scan_next(scan, &e)) == 0) {
        exit_code = c->json ? print_json(c, &info, &e) : print_line(c, &e);
        count++;
    }
    if (exit_code == CLI_DONE && error != 0 && error != -ENOENT)
        exit_code = fail(c, error);
    if (exit_code == CLI_DONE && count == 0)
        exit_code = cli_fail(CLI_NOT_FOUND, "scan %s: there is no such key", c->operands[0]);
    return cli_flushed(exit_code);
}

int cli_scan(const struct cli *c)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_scan *scan;
    const char *prefix = c->operand_count > 1 ? c->operands[1] : "";
    const char *after = c->after != NULL ? c->after : "";
    /* Why 0 becomes 1 ns: as in cli_get. */
    const struct dunlin_scan_options options = {
        .prefix = prefix,
        .prefix_length = strlen(prefix),
        .after = after,
        .after_length = strlen(after),
        .mode = c->local ? DUNLIN_LOCAL : DUNLIN_LINEARIZABLE,
        .max_age_ns = c->has_max_age ? max_u64(c->max_age_ms * NS_PER_MS, 1) : 0,
        .keys_only = c->keys,
    };
    int exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code != CLI_DONE)
        return exit_code;
    int error = dunlin_scan_open(space, &options, &scan);
    if (error == 0) {
        exit_code = print_all(c, handle, scan);
        dunlin_scan_close(scan);
    } else {
        exit_code = fail(c, error);
    }
    dunlin_close(handle);
    return exit_code;
}
