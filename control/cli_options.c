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
    "      --region [ZONE]      with any of these, behind KEY: the lease that a region has of the "
    "key, by itself;\n"
    "                           ZONE: by default that of the daemon's node\n"
    "      --regions            lease show: a line ZONE OWNER ... for each region that holds it\n"
    "  status                   what the daemon says of itself\n"
    "  nodes                    the servers of its cluster\n"
    "  spaces                   its spaces: policy, access, memory\n"
    "  shards [SPACE]           who leads each shard, how far its log is, who is behind\n"
    "  space create NAME        make a space, and wait until it is served; root and the daemon's "
    "user\n"
    "      --quota SIZE --quota-max SIZE --shards N --history N --history-time TIME --ordered "
    "BOOL\n"
    "      --session-ttl TIME --sessions N --value-max SIZE --partition-prefix N --read "
    "any|UID,...\n"
    "      --write any|UID,...  the keys of a space in the configuration, with their defaults\n"
    "      --id N               by default one that is free; --no-wait: only ask for it\n"
    "  space alter NAME         --quota (up to its quota-max), --history, --history-time,\n"
    "                           --session-ttl, --read, --write\n"
    "  space drop NAME --yes    and all that is in it\n"
    "  top                      the same, live on a terminal: nodes, spaces, shards, redundancy\n"
    "      --interval MS        between two looks; 1000\n"
    "      --once               one frame as text\n"
    "  move NODE [SPACE [SHARD]]  have a node lead all shards, those of a space, or one, and wait\n"
    "                           until it does, --timeout or 10 s at most\n"
    "      --no-wait            only ask for it\n"
    "  key                      print a fresh line for the key_file of a cluster\n";

/* Why apart: a compiler need not take a longer string. */
static const char help_end[] =
    "  node add ID --address HOST:PORT      let a node come to the cluster; root and the daemon's "
    "user\n"
    "      --control HOST:PORT --zone ZONE --weight N   as in the configuration\n"
    "  node drain ID            have it vote and lead no more, and wait until that is so, "
    "--timeout or\n"
    "                           2 min at most; --undo: it may again\n"
    "  node remove ID           have it leave the cluster, and wait until it has; its daemon ends\n"
    "      --no-wait            only ask for it\n"
    "  recover SPACE [SHARD] --accept-loss  begin shards again whose majority is lost for good, "
    "from what\n"
    "                           those that are up hold; --from NODE: from what that one holds\n"
    "  authority create DIR --cluster NAME  make a cluster's own certificate authority\n"
    "  authority issue DIR --node ID        make a node's key and certificate\n"
    "      --name NAME --days N --out DIR   its common name; 730; where they go (DIR)\n"
    "      --force                          in the place of files that are there\n"
    "  authority show FILE      whose certificate it is, and until when\n"
    "  doctor                   what of this machine slows a node down, why, and what mends it\n"
    "      --config FILE --transport NAME       for that node; udp, dpdk or rdma; exit 1: a fault\n"
    "      --port DEVICE                        and that port of DPDK, if nobody has it\n"
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
    OPTION_REGION, /* and --regions */
    OPTION_LIMIT,
    OPTION_AFTER,
    OPTION_KEYS,
    OPTION_POLICY, /* each key of a space */
    OPTION_ID,
    OPTION_YES,
    OPTION_NODE, /* each key of a node */
    OPTION_UNDO,
    OPTION_ACCEPT_LOSS,
    OPTION_AUTHORITY, /* each of dunlin authority */
    OPTION_DOCTOR,    /* each of dunlin doctor */
    OPTION_INTERVAL,
    OPTION_ONCE,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COUNT
};

#define INTERVAL_MS_MIN 50u
#define INTERVAL_MS_MAX 60000u

#define BIT(option) (1u << (option))
_Static_assert(OPTION_COUNT <= 32, "a bit for each");
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
    bool takes_value; /* but for that of --region, which may be missing */
} options[] = {
    {"--socket", OPTION_SOCKET, true},
    {"--timeout", OPTION_TIMEOUT, true},
    {"--json", OPTION_JSON, false},
    {"--if-version", OPTION_IF_VERSION, true},
    {"--retry", OPTION_RETRY, true},
    {"--linearizable", OPTION_LINEARIZABLE, false},
    {"--local", OPTION_LOCAL, false},
    {"--max-age", OPTION_MAX_AGE, true},
    {"--from", OPTION_FROM, true},
    {"--count", OPTION_COUNT_OF, true},
    {"--resume", OPTION_RESUME, false},
    {"--no-wait", OPTION_NO_WAIT, false},
    {"--help", OPTION_HELP, false},
    {"--version", OPTION_VERSION, false},
    {"--at", OPTION_AT, true},
    {"--ttl", OPTION_TTL, true},
    {"--token", OPTION_TOKEN, true},
    {"--owner", OPTION_OWNER, true},
    {"--region", OPTION_REGION, false},
    {"--regions", OPTION_REGION, false},
    {"--limit", OPTION_LIMIT, true},
    {"--after", OPTION_AFTER, true},
    {"--keys", OPTION_KEYS, false},
    {"--id", OPTION_ID, true},
    {"--yes", OPTION_YES, false},
    {"--address", OPTION_NODE, true},
    {"--control", OPTION_NODE, true},
    {"--zone", OPTION_NODE, true},
    {"--weight", OPTION_NODE, true},
    {"--undo", OPTION_UNDO, false},
    {"--accept-loss", OPTION_ACCEPT_LOSS, false},
    {"--consistency", OPTION_POLICY, true},
    {"--durability", OPTION_POLICY, true},
    {"--shards", OPTION_POLICY, true},
    {"--quota", OPTION_POLICY, true},
    {"--quota-max", OPTION_POLICY, true},
    {"--partition-prefix", OPTION_POLICY, true},
    {"--value-max", OPTION_POLICY, true},
    {"--sessions", OPTION_POLICY, true},
    {"--session-ttl", OPTION_POLICY, true},
    {"--history", OPTION_POLICY, true},
    {"--history-time", OPTION_POLICY, true},
    {"--ordered", OPTION_POLICY, true},
    {"--read", OPTION_POLICY, true},
    {"--write", OPTION_POLICY, true},
    {"--cluster", OPTION_AUTHORITY, true},
    {"--node", OPTION_AUTHORITY, true},
    {"--name", OPTION_AUTHORITY, true},
    {"--days", OPTION_AUTHORITY, true},
    {"--out", OPTION_AUTHORITY, true},
    {"--force", OPTION_AUTHORITY, false},
    {"--config", OPTION_DOCTOR, true},
    {"--transport", OPTION_DOCTOR, true},
    {"--port", OPTION_DOCTOR, true},
    {"--interval", OPTION_INTERVAL, true},
    {"--once", OPTION_ONCE, false},
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
     EVERYWHERE | BIT(OPTION_TTL) | BIT(OPTION_TOKEN) | BIT(OPTION_OWNER) | BIT(OPTION_REGION)},
    {"status", "no operands", 0, 0, EVERYWHERE},
    {"nodes", "no operands", 0, 0, EVERYWHERE},
    {"spaces", "no operands", 0, 0, EVERYWHERE},
    {"shards", "[SPACE]", 0, 1, EVERYWHERE},
    {"top", "no operands", 0, 0,
     (EVERYWHERE & ~BIT(OPTION_JSON)) | BIT(OPTION_INTERVAL) | BIT(OPTION_ONCE)},
    {"move", "NODE [SPACE [SHARD]]", 1, 3, EVERYWHERE | BIT(OPTION_NO_WAIT)},
    {"space", "VERB NAME", 2, 2,
     EVERYWHERE | BIT(OPTION_POLICY) | BIT(OPTION_ID) | BIT(OPTION_YES) | BIT(OPTION_NO_WAIT)},
    {"node", "VERB ID", 2, 2,
     EVERYWHERE | BIT(OPTION_NODE) | BIT(OPTION_UNDO) | BIT(OPTION_NO_WAIT)},
    {"recover", "SPACE [SHARD]", 1, 2,
     EVERYWHERE | BIT(OPTION_FROM) | BIT(OPTION_ACCEPT_LOSS) | BIT(OPTION_NO_WAIT)},
    {"key", "no operands", 0, 0, BIT(OPTION_HELP)},
    {"authority", "VERB and DIR or FILE", 2, 2,
     BIT(OPTION_JSON) | BIT(OPTION_HELP) | BIT(OPTION_AUTHORITY)},
    {"doctor", "no operands", 0, 0, BIT(OPTION_JSON) | BIT(OPTION_HELP) | BIT(OPTION_DOCTOR)},
    {"add", NULL, 0, 0, 0},
    {"rem", NULL, 0, 0, 0},
    {"members", NULL, 0, 0, 0},
    {"append", NULL, 0, 0, 0},
    {"read", NULL, 0, 0, 0},
    {"ack", NULL, 0, 0, 0},
    {"snapshot", NULL, 0, 0, 0},
    {"restore", NULL, 0, 0, 0},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ---- parsing ---- */

struct parse {
    struct cli *c;
    char **arguments;                /* NULL at the end */
    uint32_t given;                  /* bit per option */
    const char *names[OPTION_COUNT]; /* under which it was given, last */
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

/* --quota-max 1GiB becomes a line quota_max=1GiB; --id, --yes. */
static int apply_space(struct cli *c, enum option option, const char *name, const char *value)
{
    size_t used = strlen(c->words), key = strlen(name) - 2;
    switch (option) {
    case OPTION_ID:
        if (cli_number_parse(value, LIMIT_SPACES, &c->id) == 0 && c->id != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--id: '%s' is not a number from 1 to %u", value, LIMIT_SPACES);
    case OPTION_YES:
        c->yes = true;
        return 0;
    default:
        if (strchr(value, '\n') != NULL || used + key + strlen(value) + 3 > sizeof c->words)
            return cli_fail(CLI_USAGE, "%s: '%s' is too long", name, value);
        (void)sprintf(c->words + used, "%s=%s\n", name + 2, value);
        for (char *at = c->words + used; *at != '='; at++)
            *at = *at == '-' ? '_' : *at;
        return 0;
    }
}

/* --interval, --once. */
static int apply_top(struct cli *c, enum option option, const char *value)
{
    uint64_t ms = 0;
    c->once = c->once || option == OPTION_ONCE;
    if (option == OPTION_ONCE)
        return 0;
    if (cli_number_parse(value, INTERVAL_MS_MAX, &ms) != 0 || ms < INTERVAL_MS_MIN)
        return cli_fail(CLI_USAGE, "--interval: '%s' is not a number of milliseconds from %u to %u",
                        value, INTERVAL_MS_MIN, INTERVAL_MS_MAX);
    c->interval_ms = (uint32_t)ms;
    return 0;
}

/* Those that take no value. */
static bool apply_flag(struct cli *c, enum option option)
{
    switch (option) {
    case OPTION_JSON:
        c->json = true;
        return true;
    case OPTION_LINEARIZABLE:
        c->linearizable = true;
        return true;
    case OPTION_LOCAL:
        c->local = true;
        return true;
    case OPTION_NO_WAIT:
        c->no_wait = true;
        return true;
    case OPTION_RESUME:
        c->resume = true;
        return true;
    case OPTION_UNDO:
        c->undo = true;
        return true;
    case OPTION_ACCEPT_LOSS:
        c->accept_loss = true;
        return true;
    default:
        return false;
    }
}

static int apply(struct cli *c, enum option option, const char *name, const char *value)
{
    if (apply_flag(c, option))
        return 0;
    switch (option) {
    case OPTION_INTERVAL:
    case OPTION_ONCE:
        return apply_top(c, option, value);
    case OPTION_POLICY:
    case OPTION_NODE:
    case OPTION_ID:
    case OPTION_YES:
        return apply_space(c, option, name, value);
    case OPTION_AUTHORITY:
        return cli_authority_option(c, name, value);
    case OPTION_DOCTOR:
        return cli_doctor_option(c, name, value);
    case OPTION_SOCKET:
        c->socket = value;
        return 0;
    case OPTION_TIMEOUT:
        if (strcmp(value, "0") == 0)
            return cli_fail(CLI_USAGE, "--timeout: 0 would let nothing succeed; give at least 1");
        return take_ms(name, value, &c->timeout_ms);
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
    case OPTION_FROM:
        c->from = value;
        return 0;
    case OPTION_COUNT_OF:
        if (cli_number_parse(value, UINT64_MAX, &c->count) == 0 && c->count != 0)
            return 0;
        return cli_fail(CLI_USAGE, "--count: '%s' is not a number of events above 0", value);
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

/* --region, --regions: the zone is what is behind the =, or the word behind it where KEY is given already, so that
 * it is none of VERB, SPACE and KEY. */
static int take_region(struct parse *p, const char *name, const char *value)
{
    struct cli *c = p->c;
    if (strcmp(name, "--regions") == 0) {
        c->regions = true;
        return value == NULL ? 0 : cli_fail(CLI_USAGE, "--regions takes no value");
    }
    c->region = true;
    if (value == NULL && c->operand_count == CLI_OPERANDS_MAX && *p->arguments != NULL &&
        strncmp(*p->arguments, "--", 2) != 0)
        value = *p->arguments++;
    c->zone = value;
    if (value == NULL || (value[0] != 0 && strlen(value) <= DUNLIN_ZONE_MAX))
        return 0;
    return cli_fail(CLI_USAGE, "--region: the name of a zone has 1 to %u bytes", DUNLIN_ZONE_MAX);
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
        if (options[i].option == OPTION_REGION) {
            p->given |= BIT(OPTION_REGION);
            p->names[OPTION_REGION] = options[i].name;
            return take_region(p, options[i].name, value);
        }
        if (!options[i].takes_value && value != NULL)
            return cli_fail(CLI_USAGE, "%s takes no value", options[i].name);
        if (options[i].takes_value && value == NULL) {
            if (*p->arguments == NULL)
                return cli_fail(CLI_USAGE, "%s needs a value", options[i].name);
            value = *p->arguments++;
        }
        p->given |= BIT(options[i].option);
        p->names[options[i].option] = options[i].name;
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
    for (uint32_t i = 0; i < OPTION_COUNT; i++)
        if ((p->given & ~allowed & BIT(i)) != 0)
            return cli_fail(CLI_USAGE, "%s has no option %s", p->c->command, p->names[i]);
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
        bool helps = (p.given & BIT(OPTION_HELP)) != 0;
        (void)fputs(helps ? help_text : "dunlin " DUNLIN_VERSION_STRING "\n", stdout);
        (void)fputs(helps ? help_end : "", stdout);
        return -1;
    }
    *exit_code = c->command != NULL ? check_command(&p)
                                    : cli_fail(CLI_USAGE, "no command; see dunlin --help");
    return *exit_code != 0 ? -1 : 0;
}
