/* config_table - every key of the configuration with its kind and limits, and what a scalar means.
 *
 *   config_table.c   the keys
 *   config_scalar.c  the form of each kind
 *
 * The one place that knows them.  config_check.c checks a file against it, config.c derives the
 * schema of libcyaml from it.  Internal to config. */
#ifndef DUNLIN_CONTROL_CONFIG_TABLE_H
#define DUNLIN_CONTROL_CONFIG_TABLE_H

#include "control/config.h"

#include <sched.h>

enum config_kind {
    CONFIG_NAME,     /* a letter, then letters, digits, '-', '_', '.' */
    CONFIG_PATH,     /* absolute, printable ASCII */
    CONFIG_MODE,     /* file permissions, octal with its leading 0 */
    CONFIG_COUNT,    /* whole number */
    CONFIG_SIZE,     /* whole number and B, KiB, MiB, GiB, TiB */
    CONFIG_DURATION, /* whole number and ns, us, ms, s, min, h */
    CONFIG_BOOL,     /* true, false */
    CONFIG_WORD,     /* one of words */
    CONFIG_CPUS,     /* list of different CPUs that this process may use */
    CONFIG_ACCESS,   /* any, or a list of different uids */
    CONFIG_SECTION,  /* keys of its own */
    CONFIG_ENTRIES,  /* list of mappings with keys of their own */
    CONFIG_ADDRESS,  /* config_address.h */
    CONFIG_IPV4,     /* numeric, kept as text */
    CONFIG_TEXT,     /* printable ASCII */
};

struct config_word {
    const char *text; /* NULL ends the list */
    uint32_t value;
    bool later; /* a word of a later version: refused by name */
};

struct config_key {
    const char *name; /* NULL ends the table */
    enum config_kind kind;
    bool required;
    bool optional;        /* left out it has no value, a section none of its keys */
    const char *fallback; /* scalars: the value of an absent key, as it would be written */
    uint64_t min, max;    /* number, or an entry of a list; bytes of text */
    uint32_t entries_min, entries_max;
    const struct config_word *words;
    const struct config_key *keys;
    const char *entry;           /* CONFIG_ENTRIES: what one of them is called */
    size_t offset, count_offset; /* in struct config, space_config or config_node */
    uint32_t bytes;              /* of the member there, or of one entry of a list */
};

/* Its value is text, which may stand in quotes. */
static inline bool config_is_text(const struct config_key *key)
{
    return key->kind == CONFIG_NAME || key->kind == CONFIG_PATH || key->kind == CONFIG_IPV4 ||
           key->kind == CONFIG_TEXT;
}

#define CONFIG_CPUS_MAX 8192u

/* Numbers of the keys that are checked together: their places in the tables below. */
enum { CONFIG_NODE_NAME, CONFIG_NODE_ID };
enum {
    CONFIG_MEMBER_ID,
    CONFIG_MEMBER_ADDRESS,
    CONFIG_MEMBER_CONTROL,
    CONFIG_MEMBER_ZONE,
    CONFIG_MEMBER_WEIGHT,
    CONFIG_MEMBER_KEYS,
};
enum {
    CONFIG_CLUSTER_NAME,
    CONFIG_CLUSTER_CONTROL,
    CONFIG_CLUSTER_FRAME,
    CONFIG_CLUSTER_TRANSPORT,
    CONFIG_CLUSTER_DPDK,
};
enum { CONFIG_DPDK_MTU, CONFIG_DPDK_PORT, CONFIG_DPDK_EAL };
enum { CONFIG_LCORES_COUNT, CONFIG_LCORES_CPUS, CONFIG_LCORES_SPIN };
enum {
    CONFIG_SPACE_NAME,
    CONFIG_SPACE_ID,
    CONFIG_SPACE_CONSISTENCY,
    CONFIG_SPACE_DURABILITY,
    CONFIG_SPACE_SHARDS,
    CONFIG_SPACE_QUOTA,
    CONFIG_SPACE_QUOTA_MAX,
    CONFIG_SPACE_PARTITION_PREFIX,
    CONFIG_SPACE_VALUE_MAX,
    CONFIG_SPACE_SESSIONS,
    CONFIG_SPACE_SESSION_TTL,
    CONFIG_SPACE_HISTORY,
    CONFIG_SPACE_HISTORY_TIME,
    CONFIG_SPACE_ORDERED,
    CONFIG_SPACE_READ,
    CONFIG_SPACE_WRITE,
    CONFIG_SECTION_KEYS_MAX, /* no section has more */
};

extern const struct config_key config_root[];
extern const struct config_key config_node_keys[];
extern const struct config_key config_cluster_keys[];
extern const struct config_key config_dpdk_keys[];
extern const struct config_key config_member[]; /* of cluster.nodes */
extern const struct config_key config_lcores[];
extern const struct config_key config_space[];

/* ---- config_scalar.c ---- */

/* What a scalar says: a number in base units (bytes, nanoseconds, the value of a word, 0 or 1), or
 * text, which is then as written.  Returns 0 or
 *   -EINVAL   not of the key's form
 *   -ERANGE   of its form but outside its limits
 *   -ENOTSUP  a word of a later version */
MUST_USE int config_scalar(const struct config_key *key, const char *text, size_t size,
                           uint64_t *number);

/* What the key expects, as the second half of a fault; cut to size. */
void config_expected(const struct config_key *key, char *text, size_t size);
/* The same for one entry of its list. */
void config_entry_expected(const struct config_key *key, char *text, size_t size);

/* "256MiB", "10min": number in the largest unit that divides it; at most CONFIG_NUMBER_BYTES. */
#define CONFIG_NUMBER_BYTES 32u
void config_number_text(enum config_kind kind, uint64_t number, char text[CONFIG_NUMBER_BYTES]);

/* May this process use the CPU?  The set as the kernel gives it, as ranges: "0-3,8". */
bool config_cpu_usable(uint64_t cpu);
void config_cpus_text(char *text, size_t size);

#endif
