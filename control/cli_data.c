#include "control/cli.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- attaching ---- */

int cli_attach_space(const struct cli *c, struct dunlin **handle, struct dunlin_space **space)
{
    int exit_code = cli_attach(c, handle);
    if (exit_code != CLI_DONE)
        return exit_code;
    int error = dunlin_space(*handle, c->operands[0], space);
    if (error == 0)
        return CLI_DONE;
    if (error == -ENOENT)
        exit_code = cli_fail(CLI_NOT_FOUND,
                             "%s: there is no space '%s'; dunlin status lists those there are",
                             c->command, c->operands[0]);
    else
        exit_code = cli_fail_by(c, error);
    dunlin_close(*handle);
    return exit_code;
}

/* ---- put, del ---- */

/* The value of put: an operand, or all of standard input.  *owned is to be freed. */
static int take_value(const struct cli *c, const char **value, size_t *length, char **owned)
{
    *owned = NULL;
    *value = c->operands[2];
    *length = strlen(*value);
    if (strcmp(*value, "-") != 0)
        return CLI_DONE;
    *owned = malloc(LIMIT_VALUE_BYTES + 1);
    if (*owned == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    *length = fread(*owned, 1, LIMIT_VALUE_BYTES + 1, stdin);
    *value = *owned;
    if (ferror(stdin) != 0)
        return cli_fail(CLI_USAGE, "put: cannot read standard input: %s", strerror(errno));
    if (*length > LIMIT_VALUE_BYTES)
        return cli_fail(CLI_USAGE, "put: standard input is longer than %u bytes",
                        LIMIT_VALUE_BYTES);
    return CLI_DONE;
}

static int print_version(const struct cli *c, struct dunlin_version version)
{
    char text[CLI_VERSION_BYTES];
    cli_version_print(text, version);
    if (c->json)
        return cli_print_json(json_pack("{s:s}", "version", text), CLI_DONE);
    (void)printf("%s\n", text);
    return cli_flushed(CLI_DONE);
}

static int condition_failed(const struct cli *c, struct dunlin_version found)
{
    char text[CLI_VERSION_BYTES] = "none";
    if (!c->has_if_version)
        return cli_fail(CLI_NOT_FOUND,
                        "%s %s %s: a lease is held under that key; dunlin lease show tells by whom",
                        c->command, c->operands[0], c->operands[1]);
    if (found.lsn != 0)
        cli_version_print(text, found);
    return cli_fail(CLI_NOT_FOUND,
                    "%s %s %s: the condition did not hold, the newest version is %s; read it, then "
                    "decide",
                    c->command, c->operands[0], c->operands[1], text);
}

int cli_fate_unknown(const struct cli *c, const struct dunlin *handle)
{
    struct dunlin_write_id id;
    char text[CLI_WRITE_ID_BYTES];
    const char *key = c->operands[1] != NULL ? c->operands[1] : "(several keys)";
    bool is_named = dunlin_last_write(handle, &id) == 0;
    if (c->has_retry && !is_named)
        return cli_fail(
            CLI_FATE_UNKNOWN,
            "%s %s %s: the daemon has forgotten that session; read before you write again",
            c->command, c->operands[0], key);
    if (!is_named)
        return cli_fail(CLI_FATE_UNKNOWN, "%s: fate unknown; read before you write again",
                        c->command);
    cli_write_id_print(text, &id);
    (void)printf(c->json ? "{\"retry\":\"%s\"}\n" : "%s\n", text);
    return cli_flushed(cli_fail(
        CLI_FATE_UNKNOWN, "%s %s %s: nobody knows if it was applied; repeat it with --retry %s",
        c->command, c->operands[0], key, text));
}

static int report_write(const struct cli *c, struct dunlin *handle, struct dunlin_space *space,
                        int error, struct dunlin_version version)
{
    switch (error) {
    case 0:
        return print_version(c, version);
    case -ENOENT:
        return cli_fail(CLI_NOT_FOUND, "%s %s %s: there is no such key", c->command, c->operands[0],
                        c->operands[1]);
    case -ECANCELED:
        return condition_failed(c, version);
    case -EOWNERDEAD:
        return cli_fate_unknown(c, handle);
    default:
        return cli_fail_at_key(c, handle, space, error);
    }
}

/* A version names a log, too: one of another key's log cannot be this key's newest. */
static bool is_of_other_log(const struct cli *c, struct dunlin_space *space,
                            struct dunlin_version *found)
{
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    if (!c->has_if_version || c->has_retry || c->if_version.lsn == 0)
        return false;
    int error = dunlin_get(space, c->operands[1], strlen(c->operands[1]), NULL, 0, &read);
    *found = read.version;
    return (error == 0 || error == -ENOBUFS) && read.version.log != c->if_version.log;
}

static int write_value(const struct cli *c, const struct dunlin_write *wanted)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_version version = {0};
    struct dunlin_write w = *wanted;
    w.key = c->operands[1];
    w.key_length = strlen(c->operands[1]);
    w.compare = c->has_if_version;
    w.expected_lsn = c->if_version.lsn;
    int exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code != CLI_DONE)
        return exit_code;
    int error;
    if (is_of_other_log(c, space, &version))
        error = -ECANCELED;
    else if (c->has_retry)
        error = dunlin_retry(space, &c->retry, &w, &version);
    else if (w.ttl_ns != 0)
        error = dunlin_apply(space, &w, &version);
    else if (w.operation == DUNLIN_PUT)
        error = w.compare != 0
                    ? dunlin_put_if(space, w.key, w.key_length, w.value, w.value_length,
                                    w.expected_lsn, &version)
                    : dunlin_put(space, w.key, w.key_length, w.value, w.value_length, &version);
    else
        error = w.compare != 0
                    ? dunlin_delete_if(space, w.key, w.key_length, w.expected_lsn, &version)
                    : dunlin_delete(space, w.key, w.key_length, &version);
    exit_code = report_write(c, handle, space, error, version);
    dunlin_close(handle);
    return exit_code;
}

int cli_put(const struct cli *c)
{
    struct dunlin_write w = {.operation = DUNLIN_PUT, .ttl_ns = c->ttl_ms * NS_PER_MS};
    const char *value;
    char *owned;
    int exit_code = take_value(c, &value, &w.value_length, &owned);
    w.value = value;
    if (exit_code == CLI_DONE)
        exit_code = write_value(c, &w);
    free(owned);
    return exit_code;
}

int cli_delete(const struct cli *c)
{
    const struct dunlin_write w = {.operation = DUNLIN_DELETE};
    return write_value(c, &w);
}

/* ---- get ---- */

static int print_value(const char *value, size_t length, int exit_code)
{
    (void)fwrite(value, 1, length, stdout);
    /* Why only for people: a file gets the value's bytes and no other. */
    if (isatty(STDOUT_FILENO))
        (void)fputc('\n', stdout);
    return cli_flushed(exit_code);
}

static int print_value_json(const struct dunlin *handle, const char *value,
                            const struct dunlin_read *read, int exit_code)
{
    char version[CLI_VERSION_BYTES];
    struct dunlin_info info;
    bool text = cli_is_text(value, read->length);
    char *encoded = text ? NULL : cli_base64(value, read->length);
    if (!text && encoded == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    cli_version_print(version, read->version);
    dunlin_info(handle, &info);
    json_t *o = json_pack("{s:s%, s:s, s:I, s:b, s:i}", "value", text ? value : encoded,
                          text ? read->length : strlen(encoded), "version", version, "epoch",
                          (json_int_t)read->epoch, "stale", read->stale, "node", (int)info.node_id);
    json_t *age = read->age_ns == UINT64_MAX ? json_null()
                                             : json_real((double)read->age_ns / (double)NS_PER_MS);
    free(encoded);
    if (o == NULL || json_object_set_new(o, "age_ms", age) != 0 ||
        (!text && json_object_set_new(o, "encoding", json_string("base64")) != 0)) {
        json_decref(o);
        o = NULL;
    }
    return cli_print_json(o, exit_code);
}

static int report_compacted(const struct cli *c, struct dunlin_version oldest)
{
    char at[CLI_VERSION_BYTES], kept[CLI_VERSION_BYTES];
    cli_version_print(at, c->at);
    cli_version_print(kept, oldest);
    if (oldest.lsn == 0)
        return cli_fail(CLI_COMPACTED,
                        "get %s %s: what it was at %s is not kept, or that version is of another "
                        "shard; get it without --at",
                        c->operands[0], c->operands[1], at);
    (void)printf(c->json ? "{\"oldest\":\"%s\"}\n" : "%s\n", kept);
    return cli_flushed(cli_fail(CLI_COMPACTED,
                                "get %s %s: what it was at %s is not kept any more; the oldest "
                                "version kept is %s",
                                c->operands[0], c->operands[1], at, kept));
}

/* error: 0, -ENOENT, -ESTALE or -ENODATA. */
static int report_read(const struct cli *c, const struct dunlin *handle, int error,
                       const char *value, const struct dunlin_read *read)
{
    int exit_code = CLI_DONE;
    if (error == -ENODATA)
        return report_compacted(c, read->version);
    if (error == -ENOENT)
        return cli_fail(CLI_NOT_FOUND, "get %s %s: there is no such key%s", c->operands[0],
                        c->operands[1], c->has_at ? " at that version" : "");
    if (error == -ESTALE)
        exit_code = cli_fail(CLI_STALE,
                             "get %s %s: older than --max-age allows; the daemon at %s is "
                             "slow or gone",
                             c->operands[0], c->operands[1], cli_socket(c));
    if (read->version.lsn == 0)
        return exit_code; /* stale, and there is no such key as far as this machine knows */
    return c->json ? print_value_json(handle, value, read, exit_code)
                   : print_value(value, read->length, exit_code);
}

int cli_get(const struct cli *c)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    /* Why 0 becomes 1 ns: to the library 0 means any age. */
    struct dunlin_read read = {
        .mode = c->local ? DUNLIN_LOCAL : DUNLIN_LINEARIZABLE,
        .max_age_ns = c->has_max_age ? max_u64(c->max_age_ms * NS_PER_MS, 1) : 0,
        .at = c->at,
    };
    char *value = malloc(LIMIT_VALUE_BYTES);
    if (value == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    int exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code == CLI_DONE) {
        int error = dunlin_get(space, c->operands[1], strlen(c->operands[1]), value,
                               LIMIT_VALUE_BYTES, &read);
        exit_code = error == 0 || error == -ENOENT || error == -ESTALE || error == -ENODATA
                        ? report_read(c, handle, error, value, &read)
                        : cli_fail_at_key(c, handle, space, error);
        dunlin_close(handle);
    }
    free(value);
    return exit_code;
}
