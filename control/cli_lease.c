#include "control/cli.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* dunlin lease VERB SPACE KEY.  The commands see SPACE and KEY as operands 0 and 1. */
struct lease_call {
    struct cli c;
    struct dunlin *handle;
    struct dunlin_space *space;
    size_t key_length;
};

static const char *key_of(const struct lease_call *l)
{
    return l->c.operands[1];
}

/* ---- what is printed ---- */

static int print_lease(const struct lease_call *l, const struct dunlin_lease *lease, bool show)
{
    char version[CLI_VERSION_BYTES];
    uint64_t ttl_ms = lease->ttl_ns / NS_PER_MS;
    cli_version_print(version, lease->version);
    if (l->c.json) {
        bool is_text = cli_is_text(lease->owner, strlen(lease->owner));
        char token[24];
        /* Why text: it is a version's LSN, and many readers of JSON round numbers of this size. */
        (void)snprintf(token, sizeof token, "%" PRIu64, lease->token);
        return cli_print_json(json_pack("{s:s?, s:s, s:I, s:s}", "owner",
                                        is_text ? lease->owner : NULL, "token", token, "ttl_ms",
                                        (json_int_t)ttl_ms, "version", version),
                              CLI_DONE);
    }
    if (show)
        (void)printf("%s token %" PRIu64 " ttl %" PRIu64 " ms version %s\n", lease->owner,
                     lease->token, ttl_ms, version);
    else
        (void)printf("%" PRIu64 "\n", lease->token);
    return cli_flushed(CLI_DONE);
}

/* Somebody else's, or none: say whose. */
static int refused(const struct lease_call *l)
{
    struct dunlin_lease holder;
    int error = dunlin_lease_show(l->space, key_of(l), l->key_length, &holder);
    if (error == 0)
        return cli_fail(CLI_NOT_FOUND,
                        "%s %s %s: held by '%s', token %" PRIu64 "; try again when it is released "
                        "or its ttl of %" PRIu64 " ms is over",
                        l->c.command, l->c.operands[0], key_of(l), holder.owner, holder.token,
                        holder.ttl_ns / NS_PER_MS);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    error = dunlin_get(l->space, key_of(l), l->key_length, NULL, 0, &read);
    if (error == 0 || error == -ENOBUFS)
        return cli_fail(CLI_NOT_FOUND, "%s %s %s: the key holds a value that is no lease",
                        l->c.command, l->c.operands[0], key_of(l));
    return cli_fail(CLI_NOT_FOUND, "%s %s %s: nobody holds it %s", l->c.command, l->c.operands[0],
                    key_of(l), l->c.has_token ? "under that token any more" : "now: try again");
}

static int failed(const struct lease_call *l, int error)
{
    switch (error) {
    case -ECANCELED:
        return refused(l);
    case -ENOENT:
        return cli_fail(CLI_NOT_FOUND, "%s %s %s: nobody holds it", l->c.command, l->c.operands[0],
                        key_of(l));
    case -EOWNERDEAD:
        return cli_fail(CLI_FATE_UNKNOWN,
                        "%s %s %s: nobody knows if it was applied; dunlin lease show tells who "
                        "holds it now",
                        l->c.command, l->c.operands[0], key_of(l));
    default:
        return cli_fail_at_key(&l->c, l->handle, l->space, error);
    }
}

/* ---- the verbs ---- */

static int acquire(const struct lease_call *l)
{
    char host[DUNLIN_OWNER_MAX + 1] = {0};
    const char *owner = l->c.owner;
    if (owner == NULL) {
        if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0)
            return cli_fail(CLI_USAGE, "lease acquire: this machine has no name; give --owner");
        owner = host;
    }
    struct dunlin_lease lease;
    int error = dunlin_lease_acquire(l->space, key_of(l), l->key_length, owner,
                                     l->c.ttl_ms * NS_PER_MS, &lease);
    return error == 0 ? print_lease(l, &lease, false) : failed(l, error);
}

static int renew(const struct lease_call *l)
{
    struct dunlin_lease lease = {.token = l->c.token};
    int error =
        dunlin_lease_renew(l->space, key_of(l), l->key_length, l->c.ttl_ms * NS_PER_MS, &lease);
    if (error != 0)
        return failed(l, error);
    if (l->c.json && dunlin_lease_show(l->space, key_of(l), l->key_length, &lease) != 0)
        return failed(l, -ECANCELED); /* gone again already */
    return print_lease(l, &lease, false);
}

static int release(const struct lease_call *l)
{
    struct dunlin_version version;
    char text[CLI_VERSION_BYTES];
    int error = dunlin_lease_release(l->space, key_of(l), l->key_length, l->c.token, &version);
    if (error != 0)
        return failed(l, error);
    cli_version_print(text, version);
    if (l->c.json)
        return cli_print_json(json_pack("{s:s}", "version", text), CLI_DONE);
    (void)printf("%s\n", text);
    return cli_flushed(CLI_DONE);
}

static int show(const struct lease_call *l)
{
    struct dunlin_lease lease;
    int error = dunlin_lease_show(l->space, key_of(l), l->key_length, &lease);
    return error == 0 ? print_lease(l, &lease, true) : failed(l, error);
}

static const struct {
    const char *name, *command;
    int (*run)(const struct lease_call *l);
    bool wants_ttl, wants_token, may_own;
} verbs[] = {
    {"acquire", "lease acquire", acquire, true, false, true},
    {"renew", "lease renew", renew, true, true, false},
    {"release", "lease release", release, false, true, false},
    {"show", "lease show", show, false, false, false},
};

static int check(const struct cli *c, size_t verb)
{
    const char *command = verbs[verb].command;
    if (c->has_ttl != verbs[verb].wants_ttl)
        return cli_fail(CLI_USAGE, "%s %s --ttl MS", command, c->has_ttl ? "has no" : "needs");
    if (c->has_token != verbs[verb].wants_token)
        return cli_fail(CLI_USAGE, "%s %s --token T", command, c->has_token ? "has no" : "needs");
    if (c->owner != NULL && !verbs[verb].may_own)
        return cli_fail(CLI_USAGE, "%s has no --owner NAME", command);
    return CLI_DONE;
}

int cli_lease(const struct cli *c)
{
    size_t verb = 0, count = sizeof verbs / sizeof verbs[0];
    while (verb < count && strcmp(verbs[verb].name, c->operands[0]) != 0)
        verb++;
    if (verb == count)
        return cli_fail(CLI_USAGE, "lease: '%s' is none of acquire, renew, release and show",
                        c->operands[0]);
    int exit_code = check(c, verb);
    if (exit_code != CLI_DONE)
        return exit_code;
    struct lease_call l = {.c = *c, .key_length = strlen(c->operands[2])};
    l.c.command = verbs[verb].command;
    l.c.operands[0] = c->operands[1];
    l.c.operands[1] = c->operands[2];
    l.c.operands[2] = NULL;
    exit_code = cli_attach_space(&l.c, &l.handle, &l.space);
    if (exit_code != CLI_DONE)
        return exit_code;
    exit_code = verbs[verb].run(&l);
    dunlin_close(l.handle);
    return exit_code;
}
