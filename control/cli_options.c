#include "control/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char help_text[] =
    "usage: dunlin [--socket PATH] [--timeout MS] [--json] COMMAND\n"
    "\n"
    "  put SPACE KEY VALUE      write, and print the version; VALUE - reads standard input\n"
    "      --if-version V       only if V is the newest version; 0: only if there is no such key\n"
    "      --retry NAME         repeat the write of that name (exit 6 printed it), safely\n"
    "  get SPACE KEY            print the value\n"
    "      --linearizable       the newest, or fail (the default for strong spaces)\n"
    "      --local              what this machine has\n"
    "      --max-age MS         exit 4 if this machine is not sure of it for longer than that\n"
    "  del SPACE KEY            delete, and print the version; --if-version and --retry as for "
    "put\n"
    "  status                   what the daemon says of itself\n"
    "  nodes                    the servers of its cluster\n"
    "  move NODE [SPACE [SHARD]]  have a node lead all shards, those of a space, or one, and wait\n"
    "                           until it does, --timeout or 10 s at most\n"
    "      --no-wait            only ask for it\n"
    "  key                      print a fresh line for the key_file of a cluster\n"
    "\n"
    "The daemon's socket is PATH, else $DUNLIN_SOCKET, else " DUNLIN_SOCKET_DEFAULT ".\n"
    "After -- everything is an operand.\n"
    "\n"
    "Exit: 0 done, 1 not found or the condition did not hold, 2 usage or bad input, 3 "
    "unavailable,\n"
    "4 stale, 5 refused, 6 fate unknown (prints the write's name).\n";

int cli_fail(int exit_code, const char *format, ...)
{
    va_list arguments;
    (void)fputs("dunlin: ", stderr);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is two lines above */
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    return exit_code;
}

/* ---- which option belongs where ---- */

enum option {
    OPTION_SOCKET,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_IF_VERSION,
    OPTION_RETRY,
    OPTION_LINEARIZABLE,
    OPTION_LOCAL,
    OPTION_MAX_AGE,
    OPTION_NO_WAIT,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_LATER,
    OPTION_COUNT
};

#define BIT(option) (1u << (option))
#define EVERYWHERE (BIT(OPTION_SOCKET) | BIT(OPTION_TIMEOUT) | BIT(OPTION_JSON) | BIT(OPTION_HELP))
#define OF_WRITES (EVERYWHERE | BIT(OPTION_IF_VERSION) | BIT(OPTION_RETRY))
#define OF_READS                                                                                   \
    (EVERYWHERE | BIT(OPTION_LINEARIZABLE) | BIT(OPTION_LOCAL) | BIT(OPTION_MAX_AGE) |             \
     BIT(OPTION_LATER))

static const struct {
    const char *name;
    enum option option;
    bool takes_value;
} options[] = {
    {"--socket", OPTION_SOCKET, true},    {"--timeout", OPTION_TIMEOUT, true},
    {"--json", OPTION_JSON, false},       {"--if-version", OPTION_IF_VERSION, true},
    {"--retry", OPTION_RETRY, true},      {"--linearizable", OPTION_LINEARIZABLE, false},
    {"--local", OPTION_LOCAL, false},     {"--max-age", OPTION_MAX_AGE, true},
    {"--no-wait", OPTION_NO_WAIT, false}, {"--help", OPTION_HELP, false},
    {"--version", OPTION_VERSION, false}, {"--at", OPTION_LATER, true},
};

static const struct {
    const char *name;
    const char *operands; /* NULL: a later version has it */
    int operands_min, operands_max;
    uint32_t options;
} commands[] = {
    {"put", "SPACE KEY VALUE", 3, 3, OF_WRITES},
    {"get", "SPACE KEY", 2, 2, OF_READS},
    {"del", "SPACE KEY", 2, 2, OF_WRITES},
    {"status", "no operands", 0, 0, EVERYWHERE},
    {"nodes", "no operands", 0, 0, EVERYWHERE},
    {"move", "NODE [SPACE [SHARD]]", 1, 3, EVERYWHERE | BIT(OPTION_NO_WAIT)},
    {"key", "no operands", 0, 0, BIT(OPTION_HELP)},
    {"scan", NULL, 0, 0, 0},
    {"watch", NULL, 0, 0, 0},
    {"txn", NULL, 0, 0, 0},
    {"add", NULL, 0, 0, 0},
    {"rem", NULL, 0, 0, 0},
    {"members", NULL, 0, 0, 0},
    {"incr", NULL, 0, 0, 0},
    {"append", NULL, 0, 0, 0},
    {"read", NULL, 0, 0, 0},
    {"ack", NULL, 0, 0, 0},
    {"lease", NULL, 0, 0, 0},
    {"shards", NULL, 0, 0, 0},
    {"spaces", NULL, 0, 0, 0},
    {"space", NULL, 0, 0, 0},
    {"node", NULL, 0, 0, 0},
    {"snapshot", NULL, 0, 0, 0},
    {"restore", NULL, 0, 0, 0},
    {"recover", NULL, 0, 0, 0},
    {"top", NULL, 0, 0, 0},
    {"doctor", NULL, 0, 0, 0},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ---- parsing ---- */

struct parse {
    struct cli *c;
    char **arguments; /* NULL at the end */
    uint32_t given;   /* bit per option */
    bool operands_only;
};

/* Milliseconds that still fit nanoseconds. */
static int take_ms(const char *name, const char *text, uint64_t *ms)
{
    if (cli_number_parse(text, UINT64_MAX / NS_PER_MS / 2, ms) == 0)
        return 0;
    return cli_fail(CLI_USAGE, "%s: '%s' is not a number of milliseconds", name, text);
}

static int apply(struct cli *c, enum option option, const char *name, const char *value)
{
    switch (option) {
    case OPTION_SOCKET:
        c->socket = value;
        return 0;
    case OPTION_TIMEOUT:
        if (strcmp(value, "0") == 0)
            return cli_fail(CLI_USAGE, "--timeout: 0 would let nothing succeed; give at least 1");
        return take_ms(name, value, &c->timeout_ms);
    case OPTION_JSON:
        c->json = true;
        return 0;
    case OPTION_IF_VERSION:
        c->has_if_version = true;
        if (cli_version_parse(value, &c->if_version) == 0)
            return 0;
        return cli_fail(CLI_USAGE,
                        "--if-version: '%s' is no version; give one as put and get print it, "
                        "or 0 for \"must not exist\"",
                        value);
    case OPTION_RETRY:
        c->has_retry = true;
        if (cli_write_id_parse(value, &c->retry) == 0)
            return 0;
        return cli_fail(CLI_USAGE,
                        "--retry: '%s' is no name of a write; give it as exit 6 printed it", value);
    case OPTION_LINEARIZABLE:
        c->linearizable = true;
        return 0;
    case OPTION_LOCAL:
        c->local = true;
        return 0;
    case OPTION_NO_WAIT:
        c->no_wait = true;
        return 0;
    case OPTION_MAX_AGE:
        c->has_max_age = true;
        return take_ms(name, value, &c->max_age_ms);
    default:
        return 0; /* judged once the command is known */
    }
}

static int take_option(struct parse *p)
{
    const char *argument = *p->arguments++;
    const char *equals = strchr(argument, '=');
    size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    for (size_t i = 0; i < COUNT(options); i++) {
        if (strlen(options[i].name) != length || strncmp(options[i].name, argument, length) != 0)
            continue;
        const char *value = equals != NULL ? equals + 1 : NULL;
        if (!options[i].takes_value && value != NULL)
            return cli_fail(CLI_USAGE, "%s takes no value", options[i].name);
        if (options[i].takes_value && value == NULL) {
            if (*p->arguments == NULL)
                return cli_fail(CLI_USAGE, "%s needs a value", options[i].name);
            value = *p->arguments++;
        }
        p->given |= BIT(options[i].option);
        return apply(p->c, options[i].option, options[i].name, value != NULL ? value : "");
    }
    return cli_fail(CLI_USAGE, "unknown option %s; see dunlin --help", argument);
}

static int take_operand(struct parse *p)
{
    struct cli *c = p->c;
    const char *operand = *p->arguments++;
    if (c->command == NULL)
        c->command = operand;
    else if (c->operand_count < CLI_OPERANDS_MAX)
        c->operands[c->operand_count++] = operand;
    else
        c->operand_count = CLI_OPERANDS_MAX + 1; /* too many for any command */
    return 0;
}

static int take_arguments(struct parse *p)
{
    int exit_code = 0;
    while (exit_code == 0 && *p->arguments != NULL) {
        const char *argument = *p->arguments;
        if (!p->operands_only && strcmp(argument, "--") == 0) {
            p->operands_only = true;
            p->arguments++;
        } else if (!p->operands_only && strncmp(argument, "--", 2) == 0) {
            exit_code = take_option(p);
        } else {
            exit_code = take_operand(p);
        }
    }
    return exit_code;
}

static int check_options(const struct parse *p, uint32_t allowed)
{
    for (size_t i = 0; i < COUNT(options); i++)
        if ((p->given & ~allowed & BIT(options[i].option)) != 0)
            return cli_fail(CLI_USAGE, "%s has no option %s", p->c->command, options[i].name);
    if ((p->given & BIT(OPTION_LATER)) != 0)
        return cli_fail(CLI_USAGE, "get --at: not in this version");
    if (p->c->linearizable && p->c->local)
        return cli_fail(CLI_USAGE, "--linearizable and --local exclude each other");
    return 0;
}

static int check_command(const struct parse *p)
{
    const struct cli *c = p->c;
    for (size_t i = 0; i < COUNT(commands); i++) {
        if (strcmp(commands[i].name, c->command) != 0)
            continue;
        if (commands[i].operands == NULL)
            return cli_fail(CLI_USAGE, "%s: not in this version", c->command);
        if (c->operand_count < commands[i].operands_min ||
            c->operand_count > commands[i].operands_max)
            return cli_fail(CLI_USAGE, "%s takes %s; see dunlin --help", c->command,
                            commands[i].operands);
        return check_options(p, commands[i].options);
    }
    return cli_fail(CLI_USAGE, "unknown command '%s'; see dunlin --help", c->command);
}

int cli_parse(struct cli *c, int argc, char **argv, int *exit_code)
{
    *c = (struct cli){0};
    struct parse p = {.c = c, .arguments = argv + (argc > 0 ? 1 : 0)};
    *exit_code = take_arguments(&p);
    if (*exit_code != 0)
        return -1;
    if ((p.given & (BIT(OPTION_HELP) | BIT(OPTION_VERSION))) != 0) {
        (void)fputs((p.given & BIT(OPTION_HELP)) != 0 ? help_text
                                                      : "dunlin " DUNLIN_VERSION_STRING "\n",
                    stdout);
        return -1;
    }
    *exit_code = c->command != NULL ? check_command(&p)
                                    : cli_fail(CLI_USAGE, "no command; see dunlin --help");
    return *exit_code != 0 ? -1 : 0;
}
