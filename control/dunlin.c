/* dunlin - the command line of a node's daemon: put, get, del, watch, status, nodes,
 * spaces, shards, top, move, node, recover, key, authority, doctor.
 * COMMANDS of the README. */
#include "control/cli.h"

#include <string.h>

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *c);
    } commands[] = {
        {"put", cli_put},         {"get", cli_get},
        {"del", cli_delete},      {"watch", cli_watch},
        {"status", cli_status},   {"nodes", cli_nodes},
        {"move", cli_move},       {"key", cli_key},
        {"spaces", cli_spaces},   {"shards", cli_shards},
        {"scan", cli_scan},       {"txn", cli_txn},
        {"incr", cli_incr},       {"lease", cli_lease},
        {"space", cli_space},     {"authority", cli_authority},
        {"top", cli_top},         {"node", cli_node},
        {"recover", cli_recover}, {"doctor", cli_doctor},
    };
    struct cli c;
    int exit_code;
    if (cli_parse(&c, argc, argv, &exit_code) != 0)
        return exit_code;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, c.command) == 0)
            return commands[i].run(&c);
    return CLI_USAGE; /* cli_parse knows no other */
}
