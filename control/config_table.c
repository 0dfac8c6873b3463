#include "control/config_table.h"

#include "control/config_address.h"
#include "dataplane/frame.h"
#include "dataplane/pacing.h"
#include "engine/agent/dunlin.h"

#include <string.h>

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define MEMBER(type, member) .offset = offsetof(type, member), .bytes = sizeof(((type *)0)->member)
#define IN_CONFIG(member) MEMBER(struct config, member)
#define IN_SPACE(member) MEMBER(struct space_config, member)
#define IN_MEMBER(member) MEMBER(struct config_node, member)
#define NAME_LIMITS .min = 1, .max = LIMIT_NAME_BYTES - 1
#define CPUS_MAX 8192u
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define HOUR_NS (3600 * NS_PER_S)

static const struct config_word clock_words[] = {
    {.text = "real", .value = 0}, {.text = "virtual", .value = 1}, {.text = NULL}};

static const struct config_word lost_words[] = {
    {.text = "stop", .value = 0}, {.text = "reopen", .value = 1}, {.text = NULL}};

static const struct config_word consistency_words[] = {
    {.text = "strong", .value = SPACE_STRONG},
    {.text = "causal", .value = SPACE_CAUSAL, .later = true},
    {.text = "eventual", .value = SPACE_EVENTUAL, .later = true},
    {.text = "aggregate", .value = SPACE_AGGREGATE, .later = true},
    {.text = NULL}};

static const struct config_word durability_words[] = {
    {.text = "none", .value = SPACE_DURABILITY_NONE},
    {.text = "async", .value = SPACE_DURABILITY_ASYNC, .later = true},
    {.text = "sync", .value = SPACE_DURABILITY_SYNC, .later = true},
    {.text = NULL}};

const struct config_key config_node_keys[] = {[CONFIG_NODE_NAME] = {.name = "name",
                                                                    .kind = CONFIG_NAME,
                                                                    .required = true,
                                                                    NAME_LIMITS,
                                                                    IN_CONFIG(node.name)},
                                              [CONFIG_NODE_ID] = {.name = "id",
                                                                  .kind = CONFIG_COUNT,
                                                                  .required = true,
                                                                  .min = 1,
                                                                  .max = UINT32_MAX,
                                                                  IN_CONFIG(node.id)},
                                              {.name = NULL}};

static const struct config_key socket_keys[] = {{.name = "path",
                                                 .kind = CONFIG_PATH,
                                                 .fallback = DUNLIN_SOCKET_DEFAULT,
                                                 .min = 2,
                                                 .max = CONFIG_SOCKET_PATH_BYTES - 1,
                                                 IN_CONFIG(socket_path)},
                                                {.name = "mode",
                                                 .kind = CONFIG_MODE,
                                                 .fallback = "0600",
                                                 .min = 0600,
                                                 .max = 0777,
                                                 IN_CONFIG(socket_mode)},
                                                {.name = NULL}};

/* The fallback 0 of count lies outside its limits on purpose: it says "as many as cpus names, else
 * one", and nobody can write it. */
const struct config_key config_lcores[] = {
    [CONFIG_LCORES_COUNT] = {.name = "count",
                             .kind = CONFIG_COUNT,
                             .fallback = "0",
                             .min = 1,
                             .max = LIMIT_LCORES,
                             IN_CONFIG(node.lcore_count)},
    [CONFIG_LCORES_CPUS] = {.name = "cpus",
                            .kind = CONFIG_CPUS,
                            .max = CPUS_MAX - 1,
                            .entries_min = 1,
                            .entries_max = LIMIT_LCORES,
                            .offset = offsetof(struct config, node.lcore_cpus),
                            .count_offset = offsetof(struct config, cpu_count),
                            .bytes = sizeof(int32_t)},
    [CONFIG_LCORES_SPIN] =
        {.name = "spin", .kind = CONFIG_BOOL, .fallback = "false", .max = 1, IN_CONFIG(node.spin)},
    {.name = NULL}};

static const struct config_key times_keys[] = {{.name = "lease",
                                                .kind = CONFIG_DURATION,
                                                .fallback = "50ms",
                                                .min = 5 * NS_PER_MS,
                                                .max = 60 * NS_PER_S,
                                                IN_CONFIG(node.lease_ns)},
                                               {.name = "heartbeat",
                                                .kind = CONFIG_DURATION,
                                                .fallback = "100ms",
                                                .min = 1 * NS_PER_MS,
                                                .max = 60 * NS_PER_S,
                                                IN_CONFIG(node.heartbeat_ns)},
                                               {.name = "view",
                                                .kind = CONFIG_DURATION,
                                                .fallback = "100ms",
                                                .min = 1 * NS_PER_MS,
                                                .max = 60 * NS_PER_S,
                                                IN_CONFIG(node.view_ns)},
                                               {.name = NULL}};

/* Above it an interval of a few ticks would be rounded too far. */
#define AGENT_RATE_MAX UINT64_C(10000000)

static const struct config_key agents_keys[] = {
    {.name = "rate",
     .kind = CONFIG_COUNT,
     .fallback = "0",
     .max = AGENT_RATE_MAX,
     IN_CONFIG(node.agent_rate)},
    {.name = "burst",
     .kind = CONFIG_COUNT,
     .fallback = "0",
     .max = AGENT_RATE_MAX,
     IN_CONFIG(node.agent_burst)},
    {.name = "all", .kind = CONFIG_BOOL, .fallback = "false", .max = 1, IN_CONFIG(node.agents_all)},
    {.name = NULL}};

const struct config_key config_space[] = {
    [CONFIG_SPACE_NAME] =
        {.name = "name", .kind = CONFIG_NAME, .required = true, NAME_LIMITS, IN_SPACE(name)},
    [CONFIG_SPACE_ID] = {.name = "id",
                         .kind = CONFIG_COUNT,
                         .required = true,
                         .min = 1,
                         .max = LIMIT_SPACES,
                         IN_SPACE(id)},
    [CONFIG_SPACE_CONSISTENCY] = {.name = "consistency",
                                  .kind = CONFIG_WORD,
                                  .fallback = "strong",
                                  .words = consistency_words,
                                  IN_SPACE(consistency)},
    [CONFIG_SPACE_DURABILITY] = {.name = "durability",
                                 .kind = CONFIG_WORD,
                                 .fallback = "none",
                                 .words = durability_words,
                                 IN_SPACE(durability)},
    [CONFIG_SPACE_SHARDS] = {.name = "shards",
                             .kind = CONFIG_COUNT,
                             .fallback = "16",
                             .min = 1,
                             .max = LIMIT_SHARDS,
                             IN_SPACE(shard_count)},
    [CONFIG_SPACE_QUOTA] = {.name = "quota",
                            .kind = CONFIG_SIZE,
                            .fallback = "256MiB",
                            .min = MIB << 1,
                            .max = (UINT64_C(1) << LIMIT_ARENA_SHIFT) - GIB,
                            IN_SPACE(quota_bytes)},
    [CONFIG_SPACE_PARTITION_PREFIX] = {.name = "partition_prefix",
                                       .kind = CONFIG_COUNT,
                                       .fallback = "0",
                                       .max = LIMIT_KEY_BYTES,
                                       IN_SPACE(partition_prefix)},
    [CONFIG_SPACE_VALUE_MAX] = {.name = "value_max",
                                .kind = CONFIG_SIZE,
                                .fallback = "0B",
                                .max = LIMIT_VALUE_BYTES,
                                IN_SPACE(value_bytes_max)},
    [CONFIG_SPACE_SESSIONS] = {.name = "sessions",
                               .kind = CONFIG_COUNT,
                               .fallback = "1024",
                               .min = 1,
                               .max = LIMIT_SESSIONS,
                               IN_SPACE(sessions_max)},
    [CONFIG_SPACE_SESSION_TTL] = {.name = "session_ttl",
                                  .kind = CONFIG_DURATION,
                                  .fallback = "10min",
                                  .min = NS_PER_S,
                                  .max = 720 * HOUR_NS,
                                  IN_SPACE(session_ttl_ns)},
    [CONFIG_SPACE_HISTORY] = {.name = "history",
                              .kind = CONFIG_COUNT,
                              .fallback = "1",
                              .min = 1,
                              .max = LIMIT_VERSION_WALK,
                              IN_SPACE(history)},
    [CONFIG_SPACE_HISTORY_TIME] = {.name = "history_time",
                                   .kind = CONFIG_DURATION,
                                   .fallback = "0ns",
                                   .max = 720 * HOUR_NS,
                                   IN_SPACE(history_ns)},
    [CONFIG_SPACE_ORDERED] =
        {.name = "ordered", .kind = CONFIG_BOOL, .fallback = "true", .max = 1, IN_SPACE(ordered)},
    [CONFIG_SPACE_READ] = {.name = "read",
                           .kind = CONFIG_ACCESS,
                           .max = UINT32_MAX - 1,
                           .entries_max = LIMIT_ACCESS_RULES,
                           IN_SPACE(read)},
    [CONFIG_SPACE_WRITE] = {.name = "write",
                            .kind = CONFIG_ACCESS,
                            .max = UINT32_MAX - 1,
                            .entries_max = LIMIT_ACCESS_RULES,
                            IN_SPACE(write)},
    {.name = NULL}};

const struct config_key config_member[] = {
    [CONFIG_MEMBER_ID] = {.name = "id",
                          .kind = CONFIG_COUNT,
                          .required = true,
                          .min = 1,
                          .max = UINT32_MAX,
                          IN_MEMBER(id)},
    [CONFIG_MEMBER_ADDRESS] = {.name = "address",
                               .kind = CONFIG_ADDRESS,
                               .required = true,
                               .offset = offsetof(struct config_node, address),
                               .bytes = sizeof(uint8_t)},
    {.name = NULL}};

const struct config_key config_cluster_keys[] = {
    {.name = "name", .kind = CONFIG_NAME, .required = true, NAME_LIMITS, IN_CONFIG(cluster.name)},
    {.name = "coordinator",
     .kind = CONFIG_PATH,
     .required = true,
     .min = 2,
     .max = CONFIG_PATH_BYTES - 1,
     IN_CONFIG(cluster.coordinator_path)},
    {.name = "key_file",
     .kind = CONFIG_PATH,
     .required = true,
     .min = 2,
     .max = CONFIG_PATH_BYTES - 1,
     IN_CONFIG(cluster.key_path)},
    {.name = "encrypt",
     .kind = CONFIG_BOOL,
     .fallback = "true",
     .max = 1,
     IN_CONFIG(cluster.encrypt)},
    {.name = "frame",
     .kind = CONFIG_SIZE,
     .fallback = "1400B",
     .min = FRAME_BYTES_MIN,
     .max = FRAME_BYTES_MAX,
     IN_CONFIG(cluster.frame_bytes)},
    {.name = "wire",
     .kind = CONFIG_COUNT,
     .fallback = "3",
     .min = FRAME_VERSION_LOWEST,
     .max = FRAME_VERSION_HIGHEST,
     IN_CONFIG(cluster.wire_version)},
    {.name = "rate",
     .kind = CONFIG_SIZE,
     .fallback = "0B",
     .max = PACING_RATE_MAX,
     IN_CONFIG(cluster.rate)},
    {.name = "lost",
     .kind = CONFIG_WORD,
     .fallback = "stop",
     .words = lost_words,
     IN_CONFIG(cluster.lost_reopens)},
    {.name = "nodes",
     .kind = CONFIG_ENTRIES,
     .required = true,
     .keys = config_member,
     .entry = "a node of the cluster",
     .entries_min = 2,
     .entries_max = LIMIT_VOTERS,
     .offset = offsetof(struct config, cluster.nodes),
     .count_offset = offsetof(struct config, cluster.node_count),
     .bytes = sizeof(struct config_node)},
    {.name = NULL}};

const struct config_key config_root[] = {
    {.name = "node", .kind = CONFIG_SECTION, .required = true, .keys = config_node_keys},
    {.name = "socket", .kind = CONFIG_SECTION, .keys = socket_keys},
    {.name = "lcores", .kind = CONFIG_SECTION, .keys = config_lcores},
    {.name = "times", .kind = CONFIG_SECTION, .keys = times_keys},
    {.name = "agents", .kind = CONFIG_SECTION, .keys = agents_keys},
    {.name = "lease",
     .kind = CONFIG_WORD,
     .fallback = "real",
     .words = clock_words,
     IN_CONFIG(node.lease_virtual)},
    {.name = "cluster", .kind = CONFIG_SECTION, .optional = true, .keys = config_cluster_keys},
    {.name = "spaces",
     .kind = CONFIG_ENTRIES,
     .required = true,
     .keys = config_space,
     .entry = "a space",
     .entries_min = 1,
     .entries_max = LIMIT_SPACES,
     .offset = offsetof(struct config, spaces),
     .count_offset = offsetof(struct config, space_count),
     .bytes = sizeof(struct space_config)},
    {.name = NULL}};

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: config_number_text takes the first that divides. */
static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", GIB}, {"MiB", MIB}, {"KiB", KIB}, {"B", 1}, {NULL, 0}};
static const struct unit duration_units[] = {{"h", HOUR_NS},  {"min", 60 * NS_PER_S},
                                             {"s", NS_PER_S}, {"ms", NS_PER_MS},
                                             {"us", 1000},    {"ns", 1},
                                             {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum config_kind kind)
{
    return kind == CONFIG_SIZE ? size_units : kind == CONFIG_DURATION ? duration_units : no_units;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Digits of one base from the start of text; *used says how many, UINT64_MAX stands for overflow.
 */
static uint64_t digits(const char *text, size_t size, uint32_t base, size_t *used)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < size && is_digit(text[i]) && (uint32_t)(text[i] - '0') < base; i++) {
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            number = UINT64_MAX;
    }
    *used = i;
    return number;
}

/* Why no leading zero: YAML 1.1 reads 010 as eight, people as ten. */
static int number_of(enum config_kind kind, const char *text, size_t size, uint64_t *number)
{
    size_t used;
    uint64_t count = digits(text, size, 10, &used);
    if (used == 0 || (used > 1 && text[0] == '0'))
        return -EINVAL;
    for (const struct unit *u = units_of(kind); u->name != NULL; u++) {
        if (strlen(u->name) != size - used || memcmp(u->name, text + used, size - used) != 0)
            continue;
        if (count == UINT64_MAX || __builtin_mul_overflow(count, u->factor, number))
            return -ERANGE;
        return 0;
    }
    return -EINVAL;
}

static int mode_of(const char *text, size_t size, uint64_t *number)
{
    size_t used;
    if (size != 4 || text[0] != '0')
        return -EINVAL;
    *number = digits(text, size, 8, &used);
    return used == size ? 0 : -EINVAL;
}

static int bool_of(const char *text, size_t size, uint64_t *number)
{
    *number = size == 4 && memcmp(text, "true", 4) == 0;
    return *number == 1 || (size == 5 && memcmp(text, "false", 5) == 0) ? 0 : -EINVAL;
}

static int word_of(const struct config_word *words, const char *text, size_t size, uint64_t *number)
{
    for (const struct config_word *w = words; w->text != NULL; w++) {
        if (strlen(w->text) == size && memcmp(w->text, text, size) == 0) {
            *number = w->value;
            return w->later ? -ENOTSUP : 0;
        }
    }
    return -EINVAL;
}

static int name_check(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool inner = is_digit(text[i]) || text[i] == '-' || text[i] == '_' || text[i] == '.';
        if (!is_letter(text[i]) && (i == 0 || !inner))
            return -EINVAL;
    }
    return 0;
}

static int path_check(const char *text, size_t size)
{
    if (size == 0 || text[0] != '/' || text[size - 1] == '/')
        return -EINVAL;
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return -EINVAL;
    return 0;
}

int config_scalar(const struct config_key *key, const char *text, size_t size, uint64_t *number)
{
    struct sockaddr_storage address;
    int rc;
    *number = 0;
    switch (key->kind) {
    case CONFIG_ADDRESS:
        return config_address_parse(text, size, &address);
    case CONFIG_NAME:
    case CONFIG_PATH:
        rc = key->kind == CONFIG_NAME ? name_check(text, size) : path_check(text, size);
        if (rc != 0)
            return rc;
        return size < key->min || size > key->max ? -ERANGE : 0;
    case CONFIG_BOOL:
        return bool_of(text, size, number);
    case CONFIG_WORD:
        return word_of(key->words, text, size, number);
    case CONFIG_MODE:
        rc = mode_of(text, size, number);
        break;
    default:
        rc = number_of(key->kind, text, size, number);
        break;
    }
    if (rc != 0)
        return rc;
    return *number < key->min || *number > key->max ? -ERANGE : 0;
}

void config_number_text(enum config_kind kind, uint64_t number, char text[CONFIG_NUMBER_BYTES])
{
    const struct unit *u = units_of(kind);
    while (u->factor != 1 && (number == 0 || number % u->factor != 0))
        u++;
    (void)snprintf(text, CONFIG_NUMBER_BYTES, "%llu%s", (unsigned long long)(number / u->factor),
                   u->name);
}

static void words_expected(const struct config_word *words, char *text, size_t size)
{
    size_t used = 0;
    for (const struct config_word *w = words; w->text != NULL && used < size; w++)
        if (!w->later)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : " or ",
                                     w->text);
}

static void range_expected(const struct config_key *key, const char *what, char *text, size_t size)
{
    char low[CONFIG_NUMBER_BYTES], high[CONFIG_NUMBER_BYTES];
    config_number_text(key->kind, key->min, low);
    config_number_text(key->kind, key->max, high);
    (void)snprintf(text, size, "%s from %s to %s", what, low, high);
}

void config_entry_expected(const struct config_key *key, char *text, size_t size)
{
    char cpus[128];
    switch (key->kind) {
    case CONFIG_CPUS:
        config_cpus_text(cpus, sizeof(cpus));
        (void)snprintf(text, size, "a CPU that this process may use (%s)", cpus);
        break;
    case CONFIG_ACCESS:
        range_expected(key, "a numeric user id", text, size);
        break;
    default:
        (void)snprintf(text, size, "the keys of %s", key->entry);
        break;
    }
}

void config_expected(const struct config_key *key, char *text, size_t size)
{
    switch (key->kind) {
    case CONFIG_NAME:
        (void)snprintf(text, size,
                       "a name: a letter, then letters, digits, '-', '_' or '.', at most %u bytes",
                       (unsigned)key->max);
        break;
    case CONFIG_PATH:
        (void)snprintf(text, size, "an absolute path of a file, printable ASCII, at most %u bytes",
                       (unsigned)key->max);
        break;
    case CONFIG_MODE:
        (void)snprintf(text, size, "permissions in octal, from %04o to %04o", (unsigned)key->min,
                       (unsigned)key->max);
        break;
    case CONFIG_COUNT:
        range_expected(key, "a whole number", text, size);
        break;
    case CONFIG_SIZE:
        range_expected(key, "a size with its unit (B, KiB, MiB, GiB, TiB)", text, size);
        break;
    case CONFIG_DURATION:
        range_expected(key, "a duration with its unit (ns, us, ms, s, min, h)", text, size);
        break;
    case CONFIG_BOOL:
        (void)snprintf(text, size, "true or false");
        break;
    case CONFIG_WORD:
        words_expected(key->words, text, size);
        break;
    case CONFIG_CPUS:
        (void)snprintf(text, size, "a list of %u to %u CPUs", key->entries_min, key->entries_max);
        break;
    case CONFIG_ACCESS:
        (void)snprintf(text, size, "any, or a list of at most %u numeric user ids",
                       key->entries_max);
        break;
    case CONFIG_SECTION:
        (void)snprintf(text, size, "a mapping of keys");
        break;
    case CONFIG_ENTRIES:
        (void)snprintf(text, size, "a list of %u to %u %s", key->entries_min, key->entries_max,
                       key->name);
        break;
    case CONFIG_ADDRESS:
        (void)snprintf(text, size,
                       "the numeric address and port of one node, like 10.0.0.1:7700 or "
                       "\"[fd00::1]:7700\"");
        break;
    }
}

/* Why not cpu_set_t alone: it ends at 1,024 CPUs, and the kernel refuses a set that is too small.
 */
struct cpus {
    cpu_set_t sets[CPUS_MAX / CPU_SETSIZE];
};

static bool cpu_is_set(const struct cpus *c, size_t cpu)
{
    return CPU_ISSET_S(cpu, sizeof(c->sets), c->sets);
}

/* No answer of the kernel is an empty set: every CPU is then refused, by name. */
static struct cpus cpus_usable(void)
{
    struct cpus c = {0};
    if (sched_getaffinity(0, sizeof(c.sets), c.sets) != 0)
        c = (struct cpus){0};
    return c;
}

bool config_cpu_usable(uint64_t cpu)
{
    struct cpus c = cpus_usable();
    return cpu < CPUS_MAX && cpu_is_set(&c, (size_t)cpu);
}

void config_cpus_text(char *text, size_t size)
{
    struct cpus c = cpus_usable();
    size_t used = 0;
    (void)snprintf(text, size, "none");
    for (size_t first = 0; first < CPUS_MAX && used < size; first++) {
        if (!cpu_is_set(&c, first))
            continue;
        size_t last = first;
        while (last + 1 < CPUS_MAX && cpu_is_set(&c, last + 1))
            last++;
        used += (size_t)snprintf(text + used, size - used, last == first ? "%s%zu" : "%s%zu-%zu",
                                 used == 0 ? "" : ",", first, last);
        first = last;
    }
}
