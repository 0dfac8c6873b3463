#include "control/config_address.h"
#include "control/config_table.h"

#include <arpa/inet.h>
#include <string.h>

#define HOUR_NS (3600 * NS_PER_S)

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: config_number_text takes the first that divides. */
static const struct unit size_units[] = {{"TiB", UINT64_C(1) << 40},
                                         {"GiB", UINT64_C(1) << 30},
                                         {"MiB", UINT64_C(1) << 20},
                                         {"KiB", UINT64_C(1) << 10},
                                         {"B", 1},
                                         {NULL, 0}};
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

static int text_check(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < ' ' || text[i] > '~')
            return -EINVAL;
    return 0;
}

static int ipv4_check(const char *text, size_t size)
{
    char copy[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    if (size < sizeof copy)
        memcpy(copy, text, size);
    return inet_pton(AF_INET, copy, &address) == 1 ? 0 : -EINVAL;
}

static int path_check(const char *text, size_t size)
{
    if (size == 0 || text[0] != '/' || text[size - 1] == '/')
        return -EINVAL;
    return text_check(text, size);
}

static int form_check(enum config_kind kind, const char *text, size_t size)
{
    switch (kind) {
    case CONFIG_NAME:
        return name_check(text, size);
    case CONFIG_PATH:
        return path_check(text, size);
    case CONFIG_IPV4:
        return ipv4_check(text, size);
    default:
        return text_check(text, size);
    }
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
    case CONFIG_IPV4:
    case CONFIG_TEXT:
        rc = form_check(key->kind, text, size);
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

static const struct config_word *word_next(const struct config_word *w)
{
    while (w->text != NULL && w->later)
        w++;
    return w->text != NULL ? w : NULL;
}

static void words_expected(const struct config_word *words, char *text, size_t size)
{
    const struct config_word *next;
    size_t used = 0;
    for (const struct config_word *w = word_next(words); w != NULL && used < size; w = next) {
        next = word_next(w + 1);
        const char *between = used == 0 ? "" : next != NULL ? ", " : " or ";
        used += (size_t)snprintf(text + used, size - used, "%s%s", between, w->text);
    }
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
    case CONFIG_IPV4:
        (void)snprintf(text, size, "a numeric IPv4 address, like 10.0.0.1");
        break;
    case CONFIG_TEXT:
        (void)snprintf(text, size, "printable ASCII, %u to %u bytes", (unsigned)key->min,
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
    cpu_set_t sets[CONFIG_CPUS_MAX / CPU_SETSIZE];
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
    return cpu < CONFIG_CPUS_MAX && cpu_is_set(&c, (size_t)cpu);
}

void config_cpus_text(char *text, size_t size)
{
    struct cpus c = cpus_usable();
    size_t used = 0;
    (void)snprintf(text, size, "none");
    for (size_t first = 0; first < CONFIG_CPUS_MAX && used < size; first++) {
        if (!cpu_is_set(&c, first))
            continue;
        size_t last = first;
        while (last + 1 < CONFIG_CPUS_MAX && cpu_is_set(&c, last + 1))
            last++;
        used += (size_t)snprintf(text + used, size - used, last == first ? "%s%zu" : "%s%zu-%zu",
                                 used == 0 ? "" : ",", first, last);
        first = last;
    }
}
