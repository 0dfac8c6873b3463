#include "control/cli.h"
#include "control/cli_txn_text.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* JSON of the largest transaction: base64 of its values, and names. */
#define TEXT_BYTES_MAX ((size_t)2 * LIMIT_TRANSACTION_BYTES)

/* ---- what both can meet ---- */

static int fail_write(const struct cli *c, int error)
{
    switch (error) {
    case -EDOM:
        return cli_fail(CLI_USAGE,
                        "%s %s: a value that is to be added to is no whole number; "
                        "nothing was changed",
                        c->command, c->operands[0]);
    case -ERANGE:
        return cli_fail(CLI_USAGE, "%s %s: the sum is too large for 64 bits; nothing was changed",
                        c->command, c->operands[0]);
    case -EXDEV:
        return cli_fail(CLI_USAGE,
                        "%s %s: the keys lie in several shards; give those that belong "
                        "together the same partition in braces, like seat{flight7}/12A",
                        c->command, c->operands[0]);
    case -EOPNOTSUPP:
        return cli_fail(CLI_REFUSED,
                        "%s %s: a node of the cluster runs an older release that does "
                        "not know it; update that one",
                        c->command, c->operands[0]);
    default:
        return cli_fail_by(c, error);
    }
}

static const char *version_text(char text[CLI_VERSION_BYTES], struct dunlin_version version)
{
    if (version.lsn == 0)
        return "0";
    cli_version_print(text, version);
    return text;
}

/* ---- incr ---- */

static int take_delta(const struct cli *c, int64_t *delta)
{
    const char *text = c->operands[2];
    uint64_t size;
    bool negative = *text == '-';
    uint64_t largest = (uint64_t)INT64_MAX + negative;
    if (cli_number_parse(text + negative, largest, &size) != 0)
        return cli_fail(CLI_USAGE, "incr: '%s' is not a whole number of 64 bits", text);
    *delta = (int64_t)(negative ? 0 - size : size);
    return CLI_DONE;
}

static int report_sum(const struct cli *c, struct dunlin *handle, struct dunlin_space *space,
                      int error, const struct dunlin_completion *sum)
{
    char text[CLI_VERSION_BYTES];
    if (error == -EOWNERDEAD)
        return cli_fate_unknown(c, handle);
    if (error == -EDOM || error == -ERANGE || error == -EOPNOTSUPP)
        return fail_write(c, error);
    if (error != 0)
        return cli_fail_at_key(c, handle, space, error);
    if (c->json)
        return cli_print_json(json_pack("{s:I, s:s}", "value", (json_int_t)sum->number, "version",
                                        version_text(text, sum->version)),
                              CLI_DONE);
    (void)printf("%" PRId64 "\n", sum->number);
    return cli_flushed(CLI_DONE);
}

int cli_incr(const struct cli *c)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_completion sum = {.number = 0};
    struct dunlin_write w = {
        .operation = DUNLIN_INCREMENT, .key = c->operands[1], .key_length = strlen(c->operands[1])};
    int exit_code = take_delta(c, &w.delta);
    if (exit_code == CLI_DONE)
        exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code != CLI_DONE)
        return exit_code;
    int error =
        c->has_retry
            ? dunlin_retry_increment(space, &c->retry, &w, &sum.number, &sum.version)
            : dunlin_increment(space, w.key, w.key_length, w.delta, &sum.number, &sum.version);
    exit_code = report_sum(c, handle, space, error, &sum);
    dunlin_close(handle);
    return exit_code;
}

/* ---- txn ---- */

static int read_stdin(char **text, size_t *length)
{
    *text = malloc(TEXT_BYTES_MAX + 1);
    if (*text == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    *length = fread(*text, 1, TEXT_BYTES_MAX + 1, stdin);
    if (ferror(stdin) != 0)
        return cli_fail(CLI_USAGE, "txn: cannot read standard input: %s", strerror(errno));
    if (*length > TEXT_BYTES_MAX)
        return cli_fail(CLI_USAGE, "txn: standard input is longer than %zu bytes", TEXT_BYTES_MAX);
    return CLI_DONE;
}

/* A version names a log, too: one of another key's log is none that this key can have, which an LSN that
 * there never is says to the daemon. */
static void other_logs_look(struct cli_txn *t, struct dunlin_space *space)
{
    for (size_t i = 0; i < t->transaction.condition_count; i++) {
        struct dunlin_condition *condition = &t->conditions[i];
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        if (t->logs[i] == 0)
            continue;
        int error = dunlin_get(space, condition->key, condition->key_length, NULL, 0, &read);
        if ((error == 0 || error == -ENOBUFS) && read.version.log != t->logs[i])
            condition->expected = UINT64_MAX;
    }
}

static int print_transaction(const struct cli *c, bool succeeded, const char *version)
{
    if (c->json)
        return cli_print_json(
            json_pack("{s:b, s:s?}", "succeeded", (int)succeeded, "version", version), CLI_DONE);
    if (version != NULL)
        (void)printf("%s\n", version);
    return cli_flushed(CLI_DONE);
}

static int report_transaction(const struct cli *c, const struct dunlin *handle, int error,
                              const struct dunlin_transaction_result *result)
{
    char text[CLI_VERSION_BYTES];
    bool is_void = error == -ECANCELED;
    if (error == -EOWNERDEAD)
        return cli_fate_unknown(c, handle);
    if (error != 0 && !is_void)
        return fail_write(c, error);
    bool succeeded = !is_void && result->branch == 1;
    int exit_code =
        print_transaction(c, succeeded, is_void ? NULL : version_text(text, result->version));
    if (exit_code != CLI_DONE || succeeded)
        return exit_code;
    return cli_fail(CLI_NOT_FOUND,
                    is_void ? "txn %s: a condition does not hold; nothing was done"
                            : "txn %s: a condition does not hold; what stands "
                              "under \"else\" was done",
                    c->operands[0]);
}

static int run(const struct cli *c, struct cli_txn *t)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_transaction_result result = {.branch = 0};
    int exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code != CLI_DONE)
        return exit_code;
    /* Why not when it is repeated: what it asked the first time is what counts. */
    if (!c->has_retry)
        other_logs_look(t, space);
    int error = c->has_retry ? dunlin_retry_transaction(space, &c->retry, &t->transaction, &result)
                             : dunlin_transaction(space, &t->transaction, &result);
    exit_code = report_transaction(c, handle, error, &result);
    dunlin_close(handle);
    return exit_code;
}

int cli_txn(const struct cli *c)
{
    struct cli_txn *t = calloc(1, sizeof *t);
    char fault[CLI_TXN_FAULT_BYTES], *text = NULL;
    size_t length = 0;
    if (t == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    int exit_code = read_stdin(&text, &length);
    if (exit_code == CLI_DONE) {
        int error = cli_txn_parse(t, text, length, fault);
        exit_code = error == 0         ? run(c, t)
                    : error == -ENOMEM ? cli_fail(CLI_UNAVAILABLE, "out of memory")
                                       : cli_fail(CLI_USAGE, "txn: standard input: %s", fault);
        cli_txn_free(t);
    }
    free(text);
    free(t);
    return exit_code;
}
