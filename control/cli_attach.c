#include "control/cli.h"
#include "engine/limits.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cli_socket(const struct cli *c)
{
    const char *name = c->socket != NULL ? c->socket : getenv("DUNLIN_SOCKET");
    return name != NULL && name[0] != 0 ? name : DUNLIN_SOCKET_DEFAULT;
}

int cli_fail_by(const struct cli *c, int error)
{
    const char *space = c->operand_count > 0 ? c->operands[0] : "";
    const char *socket = cli_socket(c);
    switch (error) {
    case -ENOTCONN:
        return cli_fail(CLI_UNAVAILABLE,
                        "%s: no answer from a daemon at %s; see that dunlind runs there and, in "
                        "its log, what its start waits for, then try again",
                        c->command, socket);
    case -EPROTO:
        return cli_fail(CLI_UNAVAILABLE,
                        "%s: the daemon at %s speaks another version; update it or dunlin",
                        c->command, socket);
    case -EACCES:
        return cli_fail(CLI_REFUSED,
                        "%s %s: access refused to this user; ask for it in the access list of the "
                        "space",
                        c->command, space);
    case -EDQUOT:
        return cli_fail(CLI_REFUSED,
                        "%s %s: the space is full; delete something or raise its quota", c->command,
                        space);
    case -EUSERS:
        return cli_fail(CLI_REFUSED,
                        "%s: no place for one more agent or session; try again later, or raise "
                        "the limit",
                        c->command);
    case -EMSGSIZE:
        return cli_fail(CLI_USAGE, "%s: key or value is too long for space %s", c->command, space);
    case -EINVAL:
        return cli_fail(CLI_USAGE,
                        "%s: bad argument (an empty key, a name too long, or a --retry of "
                        "another key)",
                        c->command);
    case -EOPNOTSUPP:
        return cli_fail(CLI_REFUSED,
                        "%s %s: a node of the cluster runs an older release that does not know it; "
                        "update that one",
                        c->command, space);
    default:
        return cli_fail(CLI_UNAVAILABLE, "%s: %s", c->command, strerror(-error));
    }
}

int cli_attach(const struct cli *c, struct dunlin **handle)
{
    const struct dunlin_options options = {.socket = c->socket,
                                           .timeout_ns = c->timeout_ms * NS_PER_MS};
    int error = dunlin_open(&options, handle);
    if (error == -EACCES)
        return cli_fail(
            CLI_REFUSED,
            "%s: access refused to this user by the permissions of %s; ask the daemon's "
            "administrator",
            c->command, cli_socket(c));
    return error != 0 ? cli_fail_by(c, error) : CLI_DONE;
}

int cli_flushed(int exit_code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return exit_code;
    return cli_fail(CLI_UNAVAILABLE, "cannot write to standard output: %s", strerror(errno));
}

int cli_json_bytes(json_t *o, const char *name, const char *encoding, const void *bytes,
                   size_t length)
{
    if (cli_is_text(bytes, length))
        return json_object_set_new(o, name, json_stringn(bytes, length));
    char *encoded = cli_base64(bytes, length);
    int error = encoded != NULL ? json_object_set_new(o, name, json_string(encoded)) : -1;
    free(encoded);
    return error == 0 ? json_object_set_new(o, encoding, json_string("base64")) : -1;
}

int cli_print_json(json_t *object, int exit_code)
{
    if (object == NULL)
        return cli_fail(CLI_UNAVAILABLE, "out of memory");
    (void)json_dumpf(object, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputc('\n', stdout);
    json_decref(object);
    return cli_flushed(exit_code);
}
