/* `dunlin spaces` and `dunlin shards`. */
#include "control/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "?";
}

/* The list of that name in what the daemon says; NULL: *exit_code says why, by its message.  The caller frees
 * it. */
static json_t *list_get(const struct cli *c, cli_text_source *source, const char *name,
                        int *exit_code)
{
    struct dunlin *handle;
    int error;
    *exit_code = cli_attach(c, &handle);
    if (*exit_code != CLI_DONE)
        return NULL;
    json_t *all = cli_object_get(handle, source, &error);
    dunlin_close(handle);
    json_t *list = json_incref(json_object_get(all, name));
    json_decref(all);
    if (list == NULL)
        *exit_code = cli_fail_by(c, error != 0 ? error : -EPROTO);
    return list;
}

/* ---- spaces ---- */

/* "any", the uids, or "-": root and the daemon's user alone. */
static void access_print(const json_t *access)
{
    size_t i;
    const json_t *uid;
    if (json_is_string(access)) {
        (void)printf(" %s", json_string_value(access));
        return;
    }
    if (json_array_size(access) == 0)
        (void)printf(" -");
    json_array_foreach(access, i, uid)(void)
        printf("%s%" PRId64, i == 0 ? " " : ",", (int64_t)json_integer_value(uid));
}

static void space_print(const json_t *s)
{
    (void)printf("%-20s %3" PRId64 " %-10s %6" PRId64 " %12" PRId64 " %14" PRId64 " %14" PRId64
                 " %14" PRId64 " %7" PRId64,
                 text_at(s, "name"), (int64_t)cli_number_at(s, "id"), text_at(s, "consistency"),
                 (int64_t)cli_number_at(s, "shards"), (int64_t)cli_number_at(s, "keys"),
                 (int64_t)cli_number_at(s, "live_bytes"), (int64_t)cli_number_at(s, "used_bytes"),
                 (int64_t)cli_number_at(s, "quota_bytes"), (int64_t)cli_number_at(s, "history"));
    access_print(json_object_get(s, "read"));
    access_print(json_object_get(s, "write"));
    (void)printf("\n");
}

int cli_spaces(const struct cli *c)
{
    int exit_code;
    json_t *spaces = list_get(c, dunlin_status_json, "spaces", &exit_code);
    if (spaces == NULL)
        return exit_code;
    if (c->json)
        return cli_print_json(json_pack("{s:o}", "spaces", spaces), CLI_DONE);
    size_t i;
    const json_t *s;
    (void)printf("%-20s %3s %-10s %6s %12s %14s %14s %14s %7s read write\n", "space", "id", "keeps",
                 "shards", "keys", "live bytes", "used bytes", "quota bytes", "history");
    json_array_foreach(spaces, i, s) space_print(s);
    json_decref(spaces);
    return cli_flushed(CLI_DONE);
}

/* ---- shards ---- */

/* Of the node that is furthest behind; "-": nobody can tell here. */
static const char *lag_text(const json_t *lag, char text[24])
{
    size_t i;
    const json_t *peer;
    json_int_t most = 0;
    json_array_foreach(lag, i, peer) if (cli_number_at(peer, "bytes") > most) most =
        cli_number_at(peer, "bytes");
    (void)snprintf(text, 24, "-");
    if (json_array_size(lag) != 0)
        (void)snprintf(text, 24, "%" PRId64, (int64_t)most);
    return text;
}

static void shard_print(const json_t *s)
{
    char lag[24];
    (void)printf("%-20s %5" PRId64 " %10" PRId64 " %20" PRId64
                 " %-8s %-7s %20s %20s %10s %10" PRId64 " %14" PRId64 " %5" PRId64 "\n",
                 text_at(s, "space"), (int64_t)cli_number_at(s, "shard"),
                 (int64_t)cli_number_at(s, "leader"), (int64_t)cli_number_at(s, "epoch"),
                 text_at(s, "role"), text_at(s, "state"), text_at(s, "lsn_committed"),
                 text_at(s, "lsn_end"), lag_text(json_object_get(s, "lag"), lag),
                 (int64_t)cli_number_at(s, "keys"), (int64_t)cli_number_at(s, "live_bytes"),
                 (int64_t)cli_number_at(s, "lcore"));
}

/* Those of a space; they are freed.  NULL: no memory. */
static json_t *shards_of(json_t *shards, const char *space)
{
    size_t i;
    json_t *s;
    json_t *chosen = json_array();
    bool whole = chosen != NULL;
    json_array_foreach(shards, i, s) if (strcmp(text_at(s, "space"), space) == 0) whole =
        whole && json_array_append(chosen, s) == 0;
    json_decref(shards);
    if (whole)
        return chosen;
    json_decref(chosen);
    return NULL;
}

int cli_shards(const struct cli *c)
{
    int exit_code;
    const char *space = c->operands[0];
    json_t *shards = list_get(c, dunlin_shards_json, "shards", &exit_code);
    if (shards == NULL)
        return exit_code;
    if (space != NULL)
        shards = shards_of(shards, space);
    if (space != NULL && shards != NULL && json_array_size(shards) == 0) {
        json_decref(shards);
        return cli_fail(CLI_NOT_FOUND,
                        "shards: there is no space '%s'; dunlin spaces lists those there are",
                        space);
    }
    if (c->json || shards == NULL)
        return cli_print_json(json_pack("{s:o}", "shards", shards), CLI_DONE);
    size_t i;
    const json_t *s;
    (void)printf("%-20s %5s %10s %20s %-8s %-7s %20s %20s %10s %10s %14s %5s\n", "space", "shard",
                 "leader", "epoch", "role", "state", "committed", "log end", "lag bytes", "keys",
                 "live bytes", "lcore");
    json_array_foreach(shards, i, s) shard_print(s);
    json_decref(shards);
    return cli_flushed(CLI_DONE);
}
