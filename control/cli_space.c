/* `dunlin space create`, `alter`, `drop`. */
#include "control/cli.h"
#include "engine/clock.h"
#include "engine/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SERVE_WAIT_MS UINT64_C(10000)
#define SERVE_LOOK_NS (20 * NS_PER_MS)

static const char *name_of(const struct cli *c)
{
    return c->operands[1];
}

static int fail(const struct cli *c, const char *why)
{
    return cli_fail(CLI_REFUSED, "space %s: %s", c->operands[0], why);
}

/* Returns the exit code, with a message. */
static int fail_by(const struct cli *c, int error)
{
    switch (error) {
    case -EACCES:
        return fail(c, "access refused to this user; root and the user of the daemon may");
    case -EEXIST:
        return fail(c,
                    "there is a space of that name, or with that id, or it is being dropped at a "
                    "node that is down; see dunlin spaces, and give another --id or name");
    case -ENOENT:
        return cli_fail(CLI_NOT_FOUND,
                        "space %s: there is no space '%s'; dunlin spaces lists those there are",
                        c->operands[0], name_of(c));
    case -EPERM:
        return fail(c, "it is a space of the configuration; change that, on all nodes, and start "
                       "them again");
    case -EINVAL:
        return cli_fail(CLI_USAGE, "space %s: the daemon does not take it; see dunlin --help",
                        c->operands[0]);
    case -ENOSPC:
        return cli_fail(CLI_USAGE,
                        "space %s: the quota is too small for so many shards, or there are %u "
                        "spaces; give --quota, or fewer --shards",
                        c->operands[0], LIMIT_SPACES);
    case -EDQUOT:
        return fail(c, "the quota is above the quota_max that it was made with");
    case -EOPNOTSUPP:
        return fail(c, "this daemon makes no spaces while it runs: it is a dunlind dev of several "
                       "nodes; give them by its --spaces, or make them at one with --nodes 1");
    case -ENOMEM:
        return cli_fail(CLI_UNAVAILABLE, "space %s: there is no memory for it", c->operands[0]);
    case -EBUSY:
        return cli_fail(CLI_UNAVAILABLE,
                        "space %s: the control log does not answer: see dunlin nodes that most of "
                        "its voters are up, and dunlin spaces whether it was done",
                        c->operands[0]);
    case -EBADMSG:
        return fail(c, "the control log's leader runs an older release that does not know it; "
                       "update that one");
    default:
        return cli_fail_by(c, error);
    }
}

/* ---- waiting until it is served ---- */

/* Shards of the space that have no active leader; -1: it is not there yet. */
static int64_t pending_of(const struct cli *c, const json_t *all)
{
    size_t i;
    const json_t *s;
    int64_t pending = 0, count = 0;
    json_array_foreach(json_object_get(all, "shards"), i, s)
    {
        if (strcmp(cli_text_at(s, "space"), name_of(c)) != 0)
            continue;
        count++;
        pending += strcmp(cli_text_at(s, "state"), "active") != 0;
    }
    return count != 0 ? pending : -1;
}

static int wait_served(const struct cli *c, struct dunlin *handle, uint64_t until)
{
    for (;;) {
        int error;
        json_t *all = cli_object_get(handle, dunlin_shards_json, &error);
        int64_t pending = error == 0 ? pending_of(c, all) : -1;
        json_decref(all);
        if (error != 0)
            return cli_fail_by(c, error);
        if (pending == 0)
            return CLI_DONE;
        if (clock_boottime_ns() >= until)
            return cli_fail(
                CLI_UNAVAILABLE,
                "space create: it is not served yet: a node has not made it; it goes on "
                "by itself, see dunlin nodes and dunlin shards %s",
                name_of(c));
        cli_rest(SERVE_LOOK_NS);
    }
}

/* ---- the verbs ---- */

/* The space of that name, the caller's to free, or NULL: there is none, or nobody says (*error). */
static json_t *space_get(const struct cli *c, struct dunlin *handle, int *error)
{
    size_t i;
    json_t *s, *found = NULL;
    json_t *all = cli_object_get(handle, dunlin_status_json, error);
    json_array_foreach(json_object_get(all, "spaces"), i, s)
    {
        if (strcmp(cli_text_at(s, "name"), name_of(c)) == 0)
            found = json_incref(s);
    }
    json_decref(all);
    return found;
}

/* Its id, 0: there is none; or -errno: nobody says. */
static int id_of(const struct cli *c, struct dunlin *handle)
{
    int error;
    json_t *s = space_get(c, handle, &error);
    int id = error != 0 ? error : s != NULL ? (int)cli_number_at(s, "id") : 0;
    json_decref(s);
    return id;
}

static int print(const struct cli *c, const char *what, int id)
{
    if (c->json)
        return cli_print_json(json_pack("{s:s, s:I}", "space", name_of(c), "id", (json_int_t)id),
                              CLI_DONE);
    (void)printf("space %s %s, id %d\n", name_of(c), what, id);
    return cli_flushed(CLI_DONE);
}

/* Why by the same table before it is sent: it says what was expected. */
static int words_judge(const struct cli *c, const char *words, enum space_words_use use,
                       struct space_config *config)
{
    char fault[SPACE_WORDS_FAULT_BYTES];
    if (space_words_apply(config, words, use, fault) == 0)
        return CLI_DONE;
    return cli_fail(CLI_USAGE, "space %s: %s", c->operands[0], fault);
}

/* There was none of that name, and there is one.  Its id, if it may be ours that was made and not said; or -EEXIST. */
static int id_of_ours(const struct cli *c, struct dunlin *handle, const struct space_config *ours)
{
    int error;
    json_t *s = space_get(c, handle, &error);
    bool is_ours = s != NULL && (c->id == 0 || (uint64_t)cli_number_at(s, "id") == c->id) &&
                   cli_number_at(s, "shards") == ours->shard_count &&
                   (uint64_t)cli_number_at(s, "quota_bytes") == ours->quota_bytes;
    int id = is_ours ? (int)cli_number_at(s, "id") : -EEXIST;
    json_decref(s);
    return id;
}

static int create(const struct cli *c, struct dunlin *handle)
{
    char words[SPACE_WORDS_BYTES];
    struct space_config config;
    uint64_t until = cli_until_ns(c, SERVE_WAIT_MS);
    int length = snprintf(words, sizeof words, "name=%s\n%s", name_of(c), c->words);
    if (length < 0 || (size_t)length >= sizeof words)
        return cli_fail(CLI_USAGE, "space create: too many words");
    int exit_code = words_judge(c, words, SPACE_WORDS_CREATE, &config);
    if (exit_code != CLI_DONE)
        return exit_code;
    struct cli_asking asking = {.until_ns = until};
    int id, before = id_of(c, handle);
    do
        id = dunlin_space_create(handle, name_of(c), (uint32_t)c->id, words);
    while (cli_asks_again(&asking, id));
    if (id == -EEXIST && asking.was_busy && before == 0)
        id = id_of_ours(c, handle, &config);
    if (id < 0)
        return fail_by(c, id);
    exit_code = c->no_wait ? CLI_DONE : wait_served(c, handle, until);
    return exit_code == CLI_DONE ? print(c, "created", id) : exit_code;
}

static int alter(const struct cli *c, struct dunlin *handle)
{
    struct space_config config;
    int exit_code = words_judge(c, c->words, SPACE_WORDS_ALTER, &config);
    if (exit_code != CLI_DONE)
        return exit_code;
    struct cli_asking asking = {.until_ns = cli_until_ns(c, SERVE_WAIT_MS)};
    int id;
    do
        id = dunlin_space_alter(handle, name_of(c), c->words);
    while (cli_asks_again(&asking, id));
    return id < 0 ? fail_by(c, id) : print(c, "altered", id);
}

/* Why it is looked at before it is asked for again: another one of that name may have been made meanwhile. */
static int drop_it(const struct cli *c, struct dunlin *handle)
{
    struct cli_asking asking = {.until_ns = cli_until_ns(c, SERVE_WAIT_MS)};
    int before = id_of(c, handle);
    for (;;) {
        int id = dunlin_space_drop(handle, name_of(c));
        /* Why that: one of the configuration is refused before the log is asked; this one goes, and is still listed. */
        if (asking.was_busy && (id == -ENOENT || id == -EPERM))
            return before;
        if (before <= 0 || !cli_asks_again(&asking, id))
            return id;
        int now = id_of(c, handle);
        if (now >= 0 && now != before)
            return before;
    }
}

static int drop(const struct cli *c, struct dunlin *handle)
{
    if (!c->yes)
        return cli_fail(CLI_USAGE,
                        "space drop: this forgets '%s' and all that is in it, on all nodes; say so "
                        "with --yes",
                        name_of(c));
    int id = drop_it(c, handle);
    return id < 0 ? fail_by(c, id) : print(c, "dropped", id);
}

int cli_space(const struct cli *c)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *c, struct dunlin *handle);
        bool takes_words;
    } verbs[] = {{"create", create, true}, {"alter", alter, true}, {"drop", drop, false}};
    const char *name = name_of(c);
    if (name[0] == '\0' || strlen(name) >= LIMIT_NAME_BYTES || strchr(name, '\n') != NULL)
        return cli_fail(CLI_USAGE, "space: '%s' is no name of a space", name);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        struct dunlin *handle;
        if (strcmp(verbs[i].name, c->operands[0]) != 0)
            continue;
        if (!verbs[i].takes_words && c->words[0] != '\0')
            return cli_fail(CLI_USAGE, "space %s has no such option; see dunlin --help",
                            c->operands[0]);
        int exit_code = cli_attach(c, &handle);
        if (exit_code != CLI_DONE)
            return exit_code;
        exit_code = verbs[i].run(c, handle);
        dunlin_close(handle);
        return exit_code;
    }
    return cli_fail(CLI_USAGE, "space: '%s' is none of create, alter, drop", c->operands[0]);
}
