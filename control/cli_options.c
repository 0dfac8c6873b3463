#include "control/cli.h"
#include "engine/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char help_text[] =
    "usage: dunlin [--socket PATH] [--timeout MS] [--json] COMMAND\n"
    "\n"
    "  put SPACE KEY VALUE      write, and print the version; VALUE - reads standard input\n"
    "      --if-version V       only if V is the newest version; 0: only if there is no such key\n"
    "      --retry NAME         repeat the write of that name (exit 6 printed it), safely\n"
    "      --ttl MS             the value goes by itself after that\n"
    "  get SPACE KEY            print the value\n"
    "      --linearizable       the newest, or fail (the default for strong spaces)\n"
    "      --local              what this machine has\n"
    "      --max-age MS         exit 4 if this machine is not sure of it for longer than that\n"
    "      --at VERSION         as it was when the write of that version was visible; exit 7 if "
    "that "
    "is\n"
    "                           not kept any more (prints the oldest version that is)\n"
    "  del SPACE KEY            delete, and print the version; --if-version and --retry as for "
    "put\n"
    "  incr SPACE KEY N         add N to a number, and print what it is now; --retry as for put\n"
    "  txn SPACE                carry out the JSON transaction on standard input, and print its "
    "version:\n"
    "                           {\"compare\": [...], \"then\": [...], \"else\": [...]}; exit 1 if "
    "the\n"
    "                           compares do not hold; --retry as for put\n"
    "  scan SPACE [PREFIX]      print the keys that begin with PREFIX, in order: a line KEY VALUE "
    "VERSION "
    "each\n"
    "      --limit N            end after N\n"
    "      --after KEY          only what comes behind KEY\n"
    "      --keys               without the values; --linearizable, --local, --max-age as for get\n"
    "  watch SPACE PREFIX       print what is written, as it is committed; a PREFIX in which a "
    "level, as "
    "/\n"
    "                           separates them, is * (any one), or the last is > (the rest), is a "
    "pattern\n"
    "      --from VERSION       from that version on, or: oldest (kept), now (the default)\n"
    "      --count N            end after N events\n"
    "      --resume             what is not kept any more is a line, not the end with exit 7\n"
    "  lease acquire SPACE KEY --ttl MS [--owner NAME]  hold a key that nobody holds, print its "
    "token;\n"
    "                           exit 1, and who, if it is held; NAME: by default this machine's\n"
    "  lease renew SPACE KEY --token T --ttl MS         hold it on for MS from now\n"
    "  lease release SPACE KEY --token T                give it up\n"
    "  lease show SPACE KEY     who holds it: exit 1 if nobody does\n"
    "  status                   what the daemon says of itself\n"
    "  nodes                    the servers of its cluster\n"
    "  spaces                   its spaces: policy, access, memory\n"
    "  shards [SPACE]           who leads each shard, how far its log is, who is behind\n"
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
    "4 stale, 5 refused, 6 fate unknown (prints the write's name), 7 compacted (prints the version "
    "to\n"
    "restart from).\n";

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
    OPTION_AT,
    OPTION_FROM,
    OPTION_COUNT_OF,
    OPTION_RESUME,
    OPTION_TTL,
    OPTION_TOKEN,
    OPTION_OWNER,
    OPTION_LIMIT,
    OPTION_AFTER,
    OPTION_KEYS,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

#define BIT(option) (1u << (option))
#define EVERYWHERE (BIT(OPTION_SOCKET) | BIT(OPTION_TIMEOUT) | BIT(OPTION_JSON) | BIT(OPTION_HELP))
#define OF_WRITES (EVERYWHERE | BIT(OPTION_IF_VERSION) | BIT(OPTION_RETRY))
#define OF_READS                                                                                   \
    (EVERYWHERE | BIT(OPTION_LINEARIZABLE) | BIT(OPTION_LOCAL) | BIT(OPTION_MAX_AGE) |             \
     BIT(OPTION_AT))
#define OF_SCANS                                                                                   \
    (EVERYWHERE | BIT(OPTION_LINEARIZABLE) | BIT(OPTION_LOCAL) | BIT(OPTION_MAX_AGE) |             \
     BIT(OPTION_LIMIT) | BIT(OPTION_AFTER) | BIT(OPTION_KEYS))

static const struct {
    const char *name;
    enum option option;
    bool takes_value;
} options[] = {
    {"--socket", OPTION_SOCKET, true},  {"--timeout", OPTION_TIMEOUT, true},
    {"--json", OPTION_JSON, false},     {"--if-version", OPTION_IF_VERSION, true},
    {"--retry", OPTION_RETRY, true},    {"--linearizable", OPTION_LINEARIZABLE, false},
    {"--local", OPTION_LOCAL, false},   {"--max-age", OPTION_MAX_AGE, true},
    {"--from", OPTION_FROM, true},      {"--count", OPTION_COUNT_OF, true},
    {"--resume", OPTION_RESUME, false}, {"--no-wait", OPTION_NO_WAIT, false},
    {"--help", OPTION_HELP, false},     {"--version", OPTION_VERSION, false},
    {"--at", OPTION_AT, true},          {"--ttl", OPTION_TTL, true},
    {"--token", OPTION_TOKEN, true},    {"--owner", OPTION_OWNER, true},
    {"--limit", OPTION_LIMIT, true},    {"--after", OPTION_AFTER, true},
    {"--keys", OPTION_KEYS, false},
};

static const struct {
    const char *name;
    const char *operands; /* NULL: a later version has it */
    int operands_min, operands_max;
    uint32_t options;
} commands[] = {
    {"put", "SPACE KEY VALUE", 3, 3, OF_WRITES | BIT(OPTION_TTL)},
    {"get", "SPACE KEY", 2, 2, OF_READS},
    {"del", "SPACE KEY", 2, 2, OF_WRITES},
    {"incr", "SPACE KEY N", 3, 3, EVERYWHERE | BIT(OPTION_RETRY)},
    {"txn", "SPACE", 1, 1, EVERYWHERE | BIT(OPTION_RETRY)},
    {"scan", "SPACE [PREFIX]", 1, 2, OF_SCANS},
    {"watch", "SPACE PREFIX", 2, 2,
     EVERYWHERE | BIT(OPTION_FROM) | BIT(OPTION_COUNT_OF) | BIT(OPTION_RESUME)},
    {"lease", "VERB SPACE KEY", 3, 3,
     EVERYWHERE | BIT(OPTION_TTL) | BIT(OPTION_TOKEN) | BIT(OPTION_OWNER)},
    {"status", "no operands", 0, 0, EVERYWHERE},
    {"nodes", "no operands", 0, 0, EVERYWHERE},
    {"spaces", "no operands", 0, 0, EVERYWHERE},
    {"shards", "[SPACE]", 0, 1, EVERYWHERE},
    {"move", "NODE [SPACE [SHARD]]", 1, 3, EVERYWHERE | BIT(OPTION_NO_WAIT)},
    {"key", "no operands", 0, 0, BIT(OPTION_HELP)},
    {"add", NULL, 0, 0, 0},
    {"rem", NULL, 0, 0, 0},
    {"members", NULL, 0, 0, 0},
    {"append", NULL, 0, 0, 0},
    {"read", NULL, 0, 0, 0},
    {"ack", NULL, 0, 0, 0},
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

/* --ttl, --token, --owner. */
static int apply_lease(struct cli *c, enum option option, const char *value)
{
    const uint64_t ttl_ms_max = LIMIT_TTL_NS_MAX / NS_PER_MS;
    switch (option) {
    case OPTION_TTL:
        c->has_ttl = true;
        if (cli_number_parse(value, ttl_ms_max, &c->ttl_ms) == 0 && c->ttl_ms != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--ttl: '%s' is not a number of milliseconds from 1 to %llu",
                        value, (unsigned long long)ttl_ms_max);
    case OPTION_TOKEN:
        c->has_token = true;
        if (cli_number_parse(value, INT64_MAX, &c->token) == 0 && c->token != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--token: '%s' is no token; give it as lease acquire printed it",
                        value);
    default:
        c->owner = value;
        if (value[0] != 0 && strlen(value) <= LIMIT_LEASE_OWNER_BYTES)
            return 0;
        return cli_fail(CLI_USAGE, "--owner: a name has 1 to %u bytes", LIMIT_LEASE_OWNER_BYTES);
    }
}

/* --limit, --after, --keys. */
static int apply_scan(struct cli *c, enum option option, const char *value)
{
    switch (option) {
    case OPTION_LIMIT:
        if (cli_number_parse(value, UINT64_MAX, &c->limit) == 0 && c->limit != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--limit: '%s' is not a number of keys above 0", value);
    case OPTION_AFTER:
        c->after = value;
        if (value[0] != 0 && strlen(value) <= LIMIT_KEY_BYTES)
            return 0;
        return cli_fail(CLI_USAGE, "--after: a key has 1 to %u bytes", LIMIT_KEY_BYTES);
    default:
        c->keys = true;
        return 0;
    }
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
    case OPTION_AT:
        c->has_at = true;
        if (cli_version_parse(value, &c->at) == 0 && c->at.lsn != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--at: '%s' is no version; give one as put and get print it",
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
    case OPTION_FROM:
        c->from = value;
        return 0;
    case OPTION_COUNT_OF:
        if (cli_number_parse(value, UINT64_MAX, &c->count) == 0 && c->count != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--count: '%s' is not a number of events above 0", value);
    case OPTION_RESUME:
        c->resume = true;
        return 0;
    case OPTION_TTL:
    case OPTION_TOKEN:
    case OPTION_OWNER:
        return apply_lease(c, option, value);
    case OPTION_LIMIT:
    case OPTION_AFTER:
    case OPTION_KEYS:
        return apply_scan(c, option, value);
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
    if (p->c->has_at && (p->c->linearizable || p->c->local || p->c->has_max_age))
        return cli_fail(CLI_USAGE, "--at is the same everywhere: no --linearizable, --local, "
                                   "--max-age with it");
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
