#include "control/cli.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* dunlin lease VERB SPACE KEY.  The commands see SPACE and KEY as operands 0 and 1, and the key of the lease, which
 * may be that of a region, in c.key. */
struct lease_call {
    struct cli c;
    struct dunlin *handle;
    struct dunlin_space *space;
    char key[DUNLIN_KEY_MAX];
    char zone[DUNLIN_ZONE_MAX + 1];                      /* "": none */
    char subject[DUNLIN_KEY_MAX + DUNLIN_ZONE_MAX + 16]; /* the key, as messages name it */
};

/* ---- what is printed ---- */

static json_t *lease_json(const struct dunlin_lease *lease, const char *zone)
{
    char version[CLI_VERSION_BYTES], token[24];
    bool is_text = cli_is_text(lease->owner, strlen(lease->owner));
    cli_version_print(version, lease->version);
    /* Why text: it is a version's LSN, and many readers of JSON round numbers of this size. */
    (void)snprintf(token, sizeof token, "%" PRIu64, lease->token);
    json_t *o =
        json_pack("{s:s?, s:s, s:I, s:s}", "owner", is_text ? lease->owner : NULL, "token", token,
                  "ttl_ms", (json_int_t)(lease->ttl_ns / NS_PER_MS), "version", version);
    if (o != NULL && zone[0] != 0 && json_object_set_new(o, "region", json_string(zone)) != 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

static void print_line(const struct dunlin_lease *lease)
{
    char version[CLI_VERSION_BYTES];
    cli_version_print(version, lease->version);
    (void)printf("%s token %" PRIu64 " ttl %" PRIu64 " ms version %s\n", lease->owner, lease->token,
                 lease->ttl_ns / NS_PER_MS, version);
}

static int print_lease(const struct lease_call *l, const struct dunlin_lease *lease, bool show)
{
    if (l->c.json)
        return cli_print_json(lease_json(lease, l->zone), CLI_DONE);
    if (show)
        print_line(lease);
    else
        (void)printf("%" PRIu64 "\n", lease->token);
    return cli_flushed(CLI_DONE);
}

/* Somebody else's, or none: say whose. */
static int refused(const struct lease_call *l)
{
    struct dunlin_lease holder;
    int error = dunlin_lease_show(l->space, l->key, l->c.key_length, &holder);
    if (error == 0)
        return cli_fail(CLI_NOT_FOUND,
                        "%s %s %s: held by '%s', token %" PRIu64 "; try again when it is released "
                        "or its ttl of %" PRIu64 " ms is over",
                        l->c.command, l->c.operands[0], l->subject, holder.owner, holder.token,
                        holder.ttl_ns / NS_PER_MS);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    error = dunlin_get(l->space, l->key, l->c.key_length, NULL, 0, &read);
    if (error == 0 || error == -ENOBUFS)
        return cli_fail(CLI_NOT_FOUND, "%s %s %s: the key holds a value that is no lease",
                        l->c.command, l->c.operands[0], l->subject);
    return cli_fail(CLI_NOT_FOUND, "%s %s %s: nobody holds it %s", l->c.command, l->c.operands[0],
                    l->subject, l->c.has_token ? "under that token any more" : "now: try again");
}

static int failed(const struct lease_call *l, int error)
{
    switch (error) {
    case -ECANCELED:
        return refused(l);
    case -ENOENT:
        return cli_fail(CLI_NOT_FOUND, "%s %s %s: nobody holds it", l->c.command, l->c.operands[0],
                        l->subject);
    case -EOWNERDEAD:
        return cli_fail(CLI_FATE_UNKNOWN,
                        "%s %s %s: nobody knows if it was applied; dunlin lease show tells who "
                        "holds it now",
                        l->c.command, l->c.operands[0], l->subject);
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
    int error = dunlin_lease_acquire(l->space, l->key, l->c.key_length, owner,
                                     l->c.ttl_ms * NS_PER_MS, &lease);
    return error == 0 ? print_lease(l, &lease, false) : failed(l, error);
}

static int renew(const struct lease_call *l)
{
    struct dunlin_lease lease = {.token = l->c.token};
    int error =
        dunlin_lease_renew(l->space, l->key, l->c.key_length, l->c.ttl_ms * NS_PER_MS, &lease);
    if (error != 0)
        return failed(l, error);
    if (l->c.json && dunlin_lease_show(l->space, l->key, l->c.key_length, &lease) != 0)
        return failed(l, -ECANCELED); /* gone again already */
    return print_lease(l, &lease, false);
}

static int release(const struct lease_call *l)
{
    struct dunlin_version version;
    char text[CLI_VERSION_BYTES];
    int error = dunlin_lease_release(l->space, l->key, l->c.key_length, l->c.token, &version);
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
    int error = dunlin_lease_show(l->space, l->key, l->c.key_length, &lease);
    return error == 0 ? print_lease(l, &lease, true) : failed(l, error);
}

/* The entry's key is that of a region, and begins with l->key.  Returns 0, 1 if it is no lease, or -errno. */
static int print_region(const struct lease_call *l, const struct dunlin_scan_entry *e)
{
    char zone[DUNLIN_ZONE_MAX + 1] = {0};
    struct dunlin_lease lease;
    size_t length = e->key_length - l->c.key_length;
    if (length == 0 || length > DUNLIN_ZONE_MAX)
        return 1;
    memcpy(zone, (const char *)e->key + l->c.key_length, length);
    /* Why again: a scan tells no token.  Who let go meanwhile holds it no more. */
    int error = dunlin_lease_show(l->space, e->key, e->key_length, &lease);
    if (error != 0)
        return error == -ENOENT ? 1 : error;
    if (l->c.json)
        return cli_print_json(lease_json(&lease, zone), 0) == 0 ? 0 : -EIO;
    (void)printf("%s ", zone);
    print_line(&lease);
    return 0;
}

static int show_regions(const struct lease_call *l)
{
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    uint64_t count = 0;
    const struct dunlin_scan_options options = {
        .prefix = l->key, .prefix_length = l->c.key_length, .keys_only = 1};
    int error = dunlin_scan_open(l->space, &options, &scan);
    if (error == -EOPNOTSUPP)
        return cli_fail(CLI_REFUSED,
                        "%s %s %s: the space keeps no order to list regions by; name one with "
                        "--region ZONE",
                        l->c.command, l->c.operands[0], l->subject);
    if (error != 0)
        return failed(l, error);
    while (error >= 0 && (error = dunlin_scan_next(scan, &e)) == 0) {
        error = print_region(l, &e);
        count += error == 0 ? 1 : 0;
    }
    dunlin_scan_close(scan);
    if (error != -ENOENT)
        return error == -EIO ? CLI_UNAVAILABLE : failed(l, error);
    return count == 0 ? failed(l, -ENOENT) : cli_flushed(CLI_DONE);
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
    if (c->regions && (verbs[verb].run != show || c->region))
        return cli_fail(CLI_USAGE, "--regions is for lease show, and without --region");
    return CLI_DONE;
}

/* ---- which key ---- */

/* The zone that --region names, or that of the node. */
static int zone_choose(struct lease_call *l)
{
    if (l->c.zone != NULL) {
        (void)snprintf(l->zone, sizeof l->zone, "%s", l->c.zone);
        return CLI_DONE;
    }
    int64_t length = dunlin_zone(l->handle, l->zone, sizeof l->zone);
    if (length < 0)
        return cli_fail_by(&l->c, (int)length);
    if (length == 0)
        return cli_fail(CLI_USAGE,
                        "%s: the node of the daemon at %s has no zone; give --region ZONE",
                        l->c.command, cli_socket(&l->c));
    return CLI_DONE;
}

static int key_choose(struct lease_call *l)
{
    const char *key = l->c.operands[1];
    size_t length = strlen(key);
    int exit_code = l->c.region ? zone_choose(l) : CLI_DONE;
    if (exit_code != CLI_DONE)
        return exit_code;
    (void)snprintf(l->subject, sizeof l->subject, "%s%s%s", key,
                   l->c.region    ? " of region "
                   : l->c.regions ? " of all regions"
                                  : "",
                   l->zone);
    l->c.key = l->key;
    l->c.key_length = length;
    if (l->c.region || l->c.regions) {
        int64_t made =
            dunlin_region_key(key, length, l->c.region ? l->zone : NULL, l->key, sizeof l->key);
        if (made == -EINVAL && length != 0)
            return cli_fail(CLI_USAGE,
                            "%s: '%s' is no name of a zone: a letter, then letters, digits, '-', "
                            "'_' or '.'",
                            l->c.command, l->zone);
        if (made < 0)
            return cli_fail_by(&l->c, (int)made);
        l->c.key_length = (size_t)made;
        return CLI_DONE;
    }
    if (length > sizeof l->key)
        return cli_fail_by(&l->c, -EMSGSIZE);
    memcpy(l->key, key, length);
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
    struct lease_call l = {.c = *c};
    l.c.command = verbs[verb].command;
    l.c.operands[0] = c->operands[1];
    l.c.operands[1] = c->operands[2];
    l.c.operands[2] = NULL;
    exit_code = cli_attach_space(&l.c, &l.handle, &l.space);
    if (exit_code != CLI_DONE)
        return exit_code;
    exit_code = key_choose(&l);
    if (exit_code == CLI_DONE)
        exit_code = c->regions ? show_regions(&l) : verbs[verb].run(&l);
    dunlin_close(l.handle);
    return exit_code;
}
