#include "control/cli.h"

#include "engine/base.h"
#include "engine/topic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 64u
#define WAIT_NS (1000 * NS_PER_MS)
#define POSITION_BYTES (42u * LIMIT_SHARDS + 1u)

static const char *const kinds[] = {
    [DUNLIN_EVENT_PUT] = "put", [DUNLIN_EVENT_DELETE] = "delete", [DUNLIN_EVENT_EXPIRE] = "expire"};

/* ---- printing ---- */

static void print_line(const struct dunlin_event *e)
{
    char version[CLI_VERSION_BYTES];
    cli_version_print(version, e->version);
    (void)printf("%s %s ", kinds[e->kind], version);
    (void)fwrite(e->key, 1, e->key_length, stdout);
    if (e->kind == DUNLIN_EVENT_PUT) {
        (void)putchar(' ');
        (void)fwrite(e->value, 1, e->value_length, stdout);
    }
    (void)putchar('\n');
}

static int print_json(const struct dunlin_event *e)
{
    char version[CLI_VERSION_BYTES];
    cli_version_print(version, e->version);
    json_t *o = json_pack("{s:s, s:s, s:b, s:f}", "event", kinds[e->kind], "version", version,
                          "last", e->last, "time", (double)e->clock_ns / (double)NS_PER_S);
    if (o != NULL && (cli_json_bytes(o, "key", "key_encoding", e->key, e->key_length) != 0 ||
                      (e->kind == DUNLIN_EVENT_PUT &&
                       cli_json_bytes(o, "value", "encoding", e->value, e->value_length) != 0))) {
        json_decref(o);
        o = NULL;
    }
    return cli_print_json(o, CLI_DONE);
}

static int print_event(const struct cli *c, const struct dunlin_event *e)
{
    if (c->json)
        return print_json(e);
    print_line(e);
    return CLI_DONE;
}

/* What was missed is gone: where it goes on, as a line with --resume, else as the last word. */
static int report_lag(const struct cli *c, const struct dunlin_watch *watch)
{
    uint64_t missed;
    char *position = malloc(POSITION_BYTES);
    if (position == NULL || dunlin_watch_position(watch, position, POSITION_BYTES) < 0) {
        free(position);
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    }
    dunlin_watch_lagged(watch, NULL, &missed);
    if (c->json)
        (void)printf("{\"event\":\"lagged\",\"from\":\"%s\",\"missed_bytes\":%" PRIu64 "}\n",
                     position, missed);
    else
        (void)printf(c->resume ? "lagged %s\n" : "%s\n", position);
    free(position);
    int exit_code = CLI_DONE;
    if (!c->resume)
        exit_code =
            cli_fail(CLI_COMPACTED,
                     "watch %s %s: %" PRIu64 " bytes of the log are not kept any more; read "
                     "what matters, then go on with --from what is printed",
                     c->operands[0], c->operands[1], missed);
    return cli_flushed(exit_code);
}

/* ---- watching ---- */

static int watch_open(const struct cli *c, struct dunlin_space *space, struct dunlin_watch **watch)
{
    const char *text = c->operands[1];
    size_t length = strlen(text);
    bool pattern = topic_has_wildcard(text, length);
    const struct dunlin_watch_options options = {
        .prefix = pattern ? NULL : text,
        .prefix_length = length,
        .pattern = pattern ? text : NULL,
        .pattern_length = length,
        .from = c->from,
    };
    int error = dunlin_watch_open(space, &options, watch);
    if (error == -EINVAL)
        return cli_fail(CLI_USAGE,
                        "watch %s %s: no such pattern (> stands last), or no such position "
                        "in this space as --from says",
                        c->operands[0], text);
    return error != 0 ? cli_fail_by(c, error) : CLI_DONE;
}

/* Up to *left events, those of one call.  Sets *left to what is left of it. */
static int print_some(const struct cli *c, struct dunlin_watch *watch, uint64_t *left)
{
    struct dunlin_event events[EVENTS];
    size_t most = *left < EVENTS ? (size_t)*left : EVENTS;
    int64_t count = dunlin_watch_next(watch, events, most, WAIT_NS);
    if (count == -ENODATA)
        return report_lag(c, watch);
    if (count == -ENOTCONN || count == -ENOENT)
        return CLI_DONE; /* it goes on when the daemon is back */
    if (count < 0)
        return cli_fail_by(c, (int)count);
    int exit_code = CLI_DONE;
    for (int64_t i = 0; i < count && exit_code == CLI_DONE; i++)
        exit_code = print_event(c, &events[i]);
    *left -= (uint64_t)count;
    return exit_code == CLI_DONE ? cli_flushed(CLI_DONE) : exit_code;
}

int cli_watch(const struct cli *c)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_watch *watch = NULL;
    uint64_t left = c->count != 0 ? c->count : UINT64_MAX;
    int exit_code = cli_attach_space(c, &handle, &space);
    if (exit_code != CLI_DONE)
        return exit_code;
    exit_code = watch_open(c, space, &watch);
    while (exit_code == CLI_DONE && left != 0)
        exit_code = print_some(c, watch, &left);
    dunlin_watch_close(watch);
    dunlin_close(handle);
    return exit_code;
}
