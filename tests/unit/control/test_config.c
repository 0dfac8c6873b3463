/* The configuration: what a good file gives, what each bad one is told, and that no bytes at all do
 * harm.  Faults are compared whole, with their places. */
#include "control/config.h"
#include "control/config_table.h"
#include "engine/agent/dunlin.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MINIMAL "node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\n"
#define SPACE(text) "node: {name: n, id: 1}\nspaces:\n  - name: s\n    id: 1\n" text
#define NODE(text) "node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\n" text
#define NAME_EXPECTED                                                                              \
    "expected a name: a letter, then letters, digits, '-', '_' or '.', at most 31 bytes"
#define SPACE_KEYS                                                                                 \
    "name, id, consistency, durability, shards, quota, partition_prefix, value_max, sessions, "    \
    "session_ttl, read, write"
#define ROOT_KEYS "node, socket, lcores, times, lease, spaces"

/* What a call said, to be freed by said_free. */
struct said {
    int rc;
    char *text;
    size_t size;
};

static struct said parse(const void *bytes, size_t size, struct config *out)
{
    struct said s = {0};
    FILE *errors = open_memstream(&s.text, &s.size);
    s.rc = config_parse("t.yaml", bytes, size, out, errors);
    (void)fclose(errors);
    return s;
}

static struct said load(const char *path, struct config *out)
{
    struct said s = {0};
    FILE *errors = open_memstream(&s.text, &s.size);
    s.rc = config_load(path, out, errors);
    (void)fclose(errors);
    return s;
}

static void said_free(struct said *s)
{
    free(s->text);
}

/* Every fault is one line "FILE:LINE:COLUMN: found; expected what". */
static bool well_formed(const struct said *s)
{
    if ((s->rc == 0) != (s->size == 0))
        return false;
    for (const char *line = s->text; *line != '\0';) {
        size_t row, column;
        int used = 0;
        const char *end = strchr(line, '\n');
        if (end == NULL || sscanf(line, "t.yaml:%zu:%zu: %n", &row, &column, &used) != 2)
            return false;
        if (used == 0 || memmem(line, (size_t)(end - line), "; expected ", 11) == NULL)
            return false;
        for (const char *p = line; p < end; p++)
            if (*p < ' ' || *p > '~')
                return false;
        line = end + 1;
    }
    return true;
}

static void expect(const void *bytes, size_t size, int rc, const char *text)
{
    static struct config c;
    struct said s = parse(bytes, size, &c);
    if (s.rc != rc || strcmp(s.text, text) != 0)
        (void)fprintf(stderr, "\n--- file\n%.400s\n--- wanted %d\n%s--- got %d\n%s",
                      (const char *)bytes, rc, text, s.rc, s.text);
    CU_ASSERT_EQUAL(s.rc, rc);
    CU_ASSERT_STRING_EQUAL(s.text, text);
    CU_ASSERT(well_formed(&s));
    said_free(&s);
}

static void good(const char *text, struct config *out)
{
    struct said s = parse(text, strlen(text), out);
    if (s.rc != 0)
        (void)fprintf(stderr, "\n%s", s.text);
    CU_ASSERT_EQUAL(s.rc, 0);
    CU_ASSERT_EQUAL(s.size, 0);
    said_free(&s);
}

/* ---- good files ------------------------------------------------------------------------------ */

static void example_is_good(void)
{
    static struct config c;
    struct said s = load(CONFIG_EXAMPLE, &c);
    if (s.rc != 0)
        (void)fprintf(stderr, "\n%s", s.text);
    CU_ASSERT_EQUAL_FATAL(s.rc, 0);
    said_free(&s);
    CU_ASSERT_STRING_EQUAL(c.node.name, "roost-1");
    CU_ASSERT_EQUAL(c.socket_mode, 0660);
    CU_ASSERT_EQUAL_FATAL(c.space_count, 2);
    const struct space_config *airspace = &c.spaces[0], *fleet = &c.spaces[1];
    CU_ASSERT_STRING_EQUAL(airspace->name, "airspace");
    CU_ASSERT_EQUAL(airspace->value_bytes_max, 64 << 10);
    CU_ASSERT(airspace->read.everyone);
    CU_ASSERT(!airspace->write.everyone);
    CU_ASSERT_EQUAL(airspace->write.uid_count, 2);
    CU_ASSERT_EQUAL(airspace->write.uids[1], 1001);
    CU_ASSERT_STRING_EQUAL(fleet->name, "fleet");
    CU_ASSERT_EQUAL(fleet->id, 2);
}

/* The line of the example that explains a key: its first "key:", commented out or not; indented
 * unless it is a key of the file itself. */
static bool example_line(const char *example, const char *key, bool nested, char line[256])
{
    char wanted[64];
    (void)snprintf(wanted, sizeof(wanted), "%s:", key);
    for (const char *p = example; *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n') {
        const char *word = p + strspn(p, " #-");
        if (strncmp(word, wanted, strlen(wanted)) != 0 || (word != p) != nested)
            continue;
        (void)snprintf(line, 256, "%.*s", (int)strcspn(p, "\n"), p);
        return true;
    }
    return false;
}

static void example_explains(const char *example, const struct config_key *keys)
{
    char line[256];
    for (const struct config_key *k = keys; k->name != NULL; k++) {
        bool found = example_line(example, k->name, keys != config_root, line);
        if (!found)
            (void)fprintf(stderr, "\nthe example does not explain %s\n", k->name);
        CU_ASSERT(found);
        if (k->kind == CONFIG_SECTION || k->kind == CONFIG_SPACES)
            example_explains(example, k->keys);
        else if (found && k->fallback != NULL && k != &config_lcores[CONFIG_LCORES_COUNT])
            CU_ASSERT_PTR_NOT_NULL(strstr(line, k->fallback));
    }
}

static void example_explains_every_key(void)
{
    static char example[1 << 16];
    FILE *f = fopen(CONFIG_EXAMPLE, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    size_t size = fread(example, 1, sizeof(example) - 1, f);
    (void)fclose(f);
    CU_ASSERT(size > 0 && size < sizeof(example) - 1);
    example_explains(example, config_root);
}

static void absent_keys_have_their_defaults(void)
{
    static struct config c;
    struct space_config wanted;
    space_config_default(&wanted);
    good(MINIMAL, &c);
    CU_ASSERT_EQUAL(c.node.id, 1);
    CU_ASSERT_EQUAL(c.node.lcore_count, 1);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        CU_ASSERT_EQUAL(c.node.lcore_cpus[i], -1);
    CU_ASSERT_EQUAL(c.cpu_count, 0);
    CU_ASSERT(!c.node.spin);
    CU_ASSERT(!c.node.lease_virtual);
    CU_ASSERT_EQUAL(c.node.lease_ns, 50 * NS_PER_MS);
    CU_ASSERT_EQUAL(c.node.heartbeat_ns, 100 * NS_PER_MS);
    CU_ASSERT_EQUAL(c.node.view_ns, NS_PER_S);
    CU_ASSERT_STRING_EQUAL(c.socket_path, DUNLIN_SOCKET_DEFAULT);
    CU_ASSERT_EQUAL(c.socket_mode, 0600);
    CU_ASSERT_EQUAL_FATAL(c.space_count, 1);
    const struct space_config *s = &c.spaces[0];
    CU_ASSERT_EQUAL(s->consistency, wanted.consistency);
    CU_ASSERT_EQUAL(s->durability, wanted.durability);
    CU_ASSERT_EQUAL(s->shard_count, wanted.shard_count);
    CU_ASSERT_EQUAL(s->quota_bytes, wanted.quota_bytes);
    CU_ASSERT_EQUAL(s->partition_prefix, wanted.partition_prefix);
    CU_ASSERT_EQUAL(s->value_bytes_max, wanted.value_bytes_max);
    CU_ASSERT_EQUAL(s->sessions_max, wanted.sessions_max);
    CU_ASSERT_EQUAL(s->session_ttl_ns, wanted.session_ttl_ns);
}

static void access_is_closed_unless_opened(void)
{
    static struct config c;
    good(MINIMAL, &c);
    CU_ASSERT(!space_access_allows(&c.spaces[0].read, 1000, 1001));
    CU_ASSERT(!space_access_allows(&c.spaces[0].write, 1000, 1001));
    CU_ASSERT(space_access_allows(&c.spaces[0].write, 1001, 1001));
    CU_ASSERT(space_access_allows(&c.spaces[0].write, 0, 1001));
    good(SPACE("    read: any\n    write: [1000, 4294967294]\n"), &c);
    CU_ASSERT(space_access_allows(&c.spaces[0].read, 1000, 1001));
    CU_ASSERT(space_access_allows(&c.spaces[0].write, 1000, 1001));
    CU_ASSERT(space_access_allows(&c.spaces[0].write, 4294967294u, 1001));
    CU_ASSERT(!space_access_allows(&c.spaces[0].write, 1002, 1001));
    good(SPACE("    read: []\n"), &c);
    CU_ASSERT(!space_access_allows(&c.spaces[0].read, 1000, 1001));
}

static void every_key_arrives(void)
{
    static struct config c;
    good("\xef\xbb\xbf"
         "# a byte order mark and CRLF ends\r\n"
         "node: {id: 4294967295, name: \"A.b-c_9\"}\r\n"
         "socket: {path: '/run/a \"b\" \\ c', mode: 0777}\r\n"
         "lcores: {count: 16, spin: true}\r\n"
         "times: {lease: 5ms, heartbeat: 1s, view: 1min}\r\n"
         "lease: virtual\r\n"
         "spaces:\r\n"
         "- {name: a, id: 64, consistency: strong, durability: none, shards: 1, quota: 1023GiB,\r\n"
         "   partition_prefix: 512, value_max: 1B, sessions: 4096, session_ttl: 720h,\r\n"
         "   read: [0], write: any}\r\n"
         "- {name: b, id: 1, quota: 1048576KiB, session_ttl: 1000000us}\r\n",
         &c);
    CU_ASSERT_STRING_EQUAL(c.node.name, "A.b-c_9");
    CU_ASSERT_EQUAL(c.node.id, UINT32_MAX);
    CU_ASSERT_STRING_EQUAL(c.socket_path, "/run/a \"b\" \\ c");
    CU_ASSERT_EQUAL(c.socket_mode, 0777);
    CU_ASSERT_EQUAL(c.node.lcore_count, 16);
    CU_ASSERT(c.node.spin);
    CU_ASSERT(c.node.lease_virtual);
    CU_ASSERT_EQUAL(c.node.lease_ns, 5 * NS_PER_MS);
    CU_ASSERT_EQUAL(c.node.heartbeat_ns, NS_PER_S);
    CU_ASSERT_EQUAL(c.node.view_ns, 60 * NS_PER_S);
    CU_ASSERT_EQUAL_FATAL(c.space_count, 2);
    CU_ASSERT_EQUAL(c.spaces[0].id, 64);
    CU_ASSERT_EQUAL(c.spaces[0].shard_count, 1);
    CU_ASSERT_EQUAL(c.spaces[0].quota_bytes, UINT64_C(1023) << 30);
    CU_ASSERT_EQUAL(c.spaces[0].partition_prefix, 512);
    CU_ASSERT_EQUAL(c.spaces[0].value_bytes_max, 1);
    CU_ASSERT_EQUAL(c.spaces[0].sessions_max, 4096);
    CU_ASSERT_EQUAL(c.spaces[0].session_ttl_ns, 720 * 3600 * NS_PER_S);
    CU_ASSERT_EQUAL(c.spaces[0].read.uid_count, 1);
    CU_ASSERT(c.spaces[0].write.everyone);
    CU_ASSERT_EQUAL(c.spaces[1].quota_bytes, UINT64_C(1) << 30);
    CU_ASSERT_EQUAL(c.spaces[1].session_ttl_ns, NS_PER_S);
}

static void cpus_pin_lcores(void)
{
    static struct config c;
    char text[256];
    uint64_t cpu = 0;
    while (!config_cpu_usable(cpu))
        cpu++;
    (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d]}\n"), (int)cpu);
    good(text, &c);
    CU_ASSERT_EQUAL(c.node.lcore_count, 1);
    CU_ASSERT_EQUAL(c.cpu_count, 1);
    CU_ASSERT_EQUAL(c.node.lcore_cpus[0], (int32_t)cpu);
    CU_ASSERT_EQUAL(c.node.lcore_cpus[1], -1);
    (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d], count: 2}\n"), (int)cpu);
    expect(text, strlen(text), -EINVAL,
           "t.yaml:3:16: 1 cpus for a count of 2; expected one for each, or no count\n");
}

/* ---- bad files ------------------------------------------------------------------------------- */

static const struct bad {
    const char *text, *faults;
} bad_files[] = {
    {"", "t.yaml:0:0: an empty file; expected a configuration\n"},
    {"# nothing\n\n", "t.yaml:0:0: an empty file; expected a configuration\n"},
    {"- a\n", "t.yaml:1:1: a list for the file; expected a mapping of keys\n"},
    {"---\n", "t.yaml:2:1: nothing for the file; expected a mapping of keys\n"},
    {"{}\n", "t.yaml:1:1: no key 'node' in the file; expected a mapping of keys\n"
             "t.yaml:1:1: no key 'spaces' in the file; expected a list of 1 to 64 spaces\n"},
    {"node:\nspaces: 7\n", "t.yaml:1:6: nothing for node; expected a mapping of keys\n"
                           "t.yaml:2:9: '7' for spaces; expected a list of 1 to 64 spaces\n"},
    {"node: {}\nspaces: []\n",
     "t.yaml:1:7: no key 'name' in node; " NAME_EXPECTED "\n"
     "t.yaml:1:7: no key 'id' in node; expected a whole number from 1 to 4294967295\n"
     "t.yaml:2:9: 0 entries in spaces; expected a list of 1 to 64 spaces\n"},
    {"node: {name: n, id: 1}\nspaces: [{}, x, [y]]\n",
     "t.yaml:2:10: no key 'name' in a space; " NAME_EXPECTED "\n"
     "t.yaml:2:10: no key 'id' in a space; expected a whole number from 1 to 64\n"
     "t.yaml:2:14: 'x' for spaces; expected the keys of a space\n"
     "t.yaml:2:17: a list for spaces; expected the keys of a space\n"},
    /* keys */
    {NODE("zone: a\nspace: {a: [b, {c: d}]}\n"),
     "t.yaml:3:1: unknown key 'zone' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:4:1: unknown key 'space' in the file; expected " ROOT_KEYS "\n"},
    {SPACE("    color: red\n    QUOTA: 1GiB\n"),
     "t.yaml:5:5: unknown key 'color' in a space; expected " SPACE_KEYS "\n"
     "t.yaml:6:5: unknown key 'QUOTA' in a space; expected " SPACE_KEYS "\n"},
    {NODE("lease: real\nlease: virtual\n"),
     "t.yaml:4:1: key 'lease' again, first in line 3; expected it once\n"},
    {NODE("? [a]\n: b\n? {c: d}\n"),
     "t.yaml:3:3: a list as a key in the file; expected " ROOT_KEYS "\n"
     "t.yaml:5:3: a mapping as a key in the file; expected " ROOT_KEYS "\n"},
    /* names */
    {"node: {name: 9n, id: 1}\nspaces: [{name: a b, id: 1}, {name: \"n\\0m\", id: 2}]\n",
     "t.yaml:1:14: '9n' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: 'a b' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:37: 'n\\x00m' in quotes for name; " NAME_EXPECTED "\n"},
    {"node: {name: abcdefghijklmnopqrstuvwxyz012345, id: 1}\nspaces: [{name: \xc3\xa4, id: 1}]\n",
     "t.yaml:1:14: 'abcdefghijklmnopqrstuvwxyz012345' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: '\\xc3\\xa4' for name; " NAME_EXPECTED "\n"},
    {"node: {name: ~, id: 1}\nspaces: [{name: [a], id: 1}, {name: '', id: 2}]\n",
     "t.yaml:1:14: nothing for name; " NAME_EXPECTED "\n"
     "t.yaml:2:17: a list for name; " NAME_EXPECTED "\n"
     "t.yaml:2:37: '' in quotes for name; " NAME_EXPECTED "\n"},
    /* numbers */
    {SPACE("    shards: 0\n    sessions: 4097\n    partition_prefix: 513\n"),
     "t.yaml:5:13: '0' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '4097' for sessions; expected a whole number from 1 to 4096\n"
     "t.yaml:7:23: '513' for partition_prefix; expected a whole number from 0 to 512\n"},
    {SPACE("    shards: 010\n    sessions: 0x10\n    partition_prefix: -1\n"),
     "t.yaml:5:13: '010' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '0x10' for sessions; expected a whole number from 1 to 4096\n"
     "t.yaml:7:23: '-1' for partition_prefix; expected a whole number from 0 to 512\n"},
    {SPACE("    shards: 1.5\n    sessions: 99999999999999999999999999\n    partition_prefix: "
           "\"4\"\n"),
     "t.yaml:5:13: '1.5' for shards; expected a whole number from 1 to 1024\n"
     "t.yaml:6:15: '99999999999999999999999999' for sessions; expected a whole number from 1 to "
     "4096\n"
     "t.yaml:7:23: '4' in quotes for partition_prefix; expected a whole number from 0 to 512\n"},
    /* sizes, durations */
    {SPACE("    quota: 64\n    value_max: 64kb\n    session_ttl: 10m\n"),
     "t.yaml:5:12: '64' for quota; expected a size with its unit (B, KiB, MiB, GiB, TiB) from 2MiB "
     "to 1023GiB\n"
     "t.yaml:6:16: '64kb' for value_max; expected a size with its unit (B, KiB, MiB, GiB, TiB) "
     "from "
     "0B to 1MiB\n"
     "t.yaml:7:18: '10m' for session_ttl; expected a duration with its unit (ns, us, ms, s, min, "
     "h) "
     "from 1s to 720h\n"},
    {SPACE("    quota: 1TiB\n    value_max: 2MiB\n    session_ttl: 0s\n"),
     "t.yaml:5:12: '1TiB' for quota; expected a size with its unit (B, KiB, MiB, GiB, TiB) from "
     "2MiB to 1023GiB\n"
     "t.yaml:6:16: '2MiB' for value_max; expected a size with its unit (B, KiB, MiB, GiB, TiB) "
     "from "
     "0B to 1MiB\n"
     "t.yaml:7:18: '0s' for session_ttl; expected a duration with its unit (ns, us, ms, s, min, h) "
     "from 1s to 720h\n"},
    {SPACE("    quota: 18446744073709551615TiB\n"),
     "t.yaml:5:12: '18446744073709551615TiB' for quota; expected a size with its unit (B, KiB, "
     "MiB, "
     "GiB, TiB) from 2MiB to 1023GiB\n"},
    {NODE("times: {lease: 4ms, heartbeat: 1.5s, view: 2min}\n"),
     "t.yaml:3:16: '4ms' for lease; expected a duration with its unit (ns, us, ms, s, min, h) from "
     "5ms to 1min\n"
     "t.yaml:3:32: '1.5s' for heartbeat; expected a duration with its unit (ns, us, ms, s, min, h) "
     "from 1ms to 1min\n"
     "t.yaml:3:44: '2min' for view; expected a duration with its unit (ns, us, ms, s, min, h) from "
     "1ms to 1min\n"},
    /* words */
    {SPACE("    consistency: causal\n    durability: sync\n"),
     "t.yaml:5:18: consistency 'causal' is not in this version; expected strong\n"
     "t.yaml:6:17: durability 'sync' is not in this version; expected none\n"},
    {SPACE("    consistency: eventual\n    durability: async\n"),
     "t.yaml:5:18: consistency 'eventual' is not in this version; expected strong\n"
     "t.yaml:6:17: durability 'async' is not in this version; expected none\n"},
    {SPACE("    consistency: aggregate\n    durability: fsync\n"),
     "t.yaml:5:18: consistency 'aggregate' is not in this version; expected strong\n"
     "t.yaml:6:17: 'fsync' for durability; expected none\n"},
    {NODE("lease: imaginary\nlcores: {spin: yes}\n"),
     "t.yaml:3:8: 'imaginary' for lease; expected real or virtual\n"
     "t.yaml:4:16: 'yes' for spin; expected true or false\n"},
    /* socket */
    {NODE("socket: {path: run/x, mode: 660}\n"),
     "t.yaml:3:16: 'run/x' for path; expected an absolute path of a file, printable ASCII, at most "
     "107 bytes\n"
     "t.yaml:3:29: '660' for mode; expected permissions in octal, from 0600 to 0777\n"},
    {NODE("socket: {path: /run/, mode: 0060}\n"),
     "t.yaml:3:16: '/run/' for path; expected an absolute path of a file, printable ASCII, at most "
     "107 bytes\n"
     "t.yaml:3:29: '0060' for mode; expected permissions in octal, from 0600 to 0777\n"},
    {NODE("socket: {path: /"
          "ppppppppppppppppppppppppppppppppppppppppppppppppppppp"
          "ppppppppppppppppppppppppppppppppppppppppppppppppppppp"
          "p, mode: 0680}\n"),
     "t.yaml:3:16: '/ppppppppppppppppppppppppppppppppppppppppppppppp...' for path; expected an "
     "absolute path of a file, printable ASCII, at most 107 bytes\n"
     "t.yaml:3:132: '0680' for mode; expected permissions in octal, from 0600 to 0777\n"},
    /* lists */
    {NODE("lcores: {count: 17, cpus: []}\n"),
     "t.yaml:3:17: '17' for count; expected a whole number from 1 to 16\n"
     "t.yaml:3:27: 0 entries in cpus; expected a list of 1 to 16 CPUs\n"},
    {SPACE("    read: [any, 1, 1]\n    write: 1000\n"),
     "t.yaml:5:12: 'any' for read; expected a numeric user id from 0 to 4294967294\n"
     "t.yaml:5:20: 1 twice in read; expected different ones\n"
     "t.yaml:6:12: '1000' for write; expected any, or a list of at most 16 numeric user ids\n"},
    {SPACE("    read: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]\n    write: {a: b}\n"),
     "t.yaml:5:11: 17 entries in read; expected any, or a list of at most 16 numeric user ids\n"
     "t.yaml:6:12: a mapping for write; expected any, or a list of at most 16 numeric user ids\n"},
    {SPACE("    read: [4294967295]\n    write: \"any\"\n"),
     "t.yaml:5:12: '4294967295' for read; expected a numeric user id from 0 to 4294967294\n"
     "t.yaml:6:12: 'any' in quotes for write; expected any, or a list of at most 16 numeric user "
     "ids\n"},
    /* between keys */
    {SPACE("  - name: s\n    id: 1\n  - id: 2\n    name: s\n"),
     "t.yaml:5:11: space name 's' again, first in line 3; expected another\n"
     "t.yaml:6:9: space id 1 again, first in line 4; expected another\n"
     "t.yaml:8:11: space name 's' again, first in line 3; expected another\n"},
    {SPACE("    quota: 2MiB\n    value_max: 1MiB\n    shards: 1024\n"),
     "t.yaml:5:12: quota of 2MiB is too small for 1024 shards; expected at least 584MiB, or fewer "
     "shards\n"},
    {SPACE("    shards: 1024\n"), "t.yaml:5:13: quota of 256MiB is too small for 1024 shards; "
                                  "expected at least 584MiB, or fewer "
                                  "shards\n"},
    /* well-formed YAML that is not for us */
    {"node: &n {name: n, id: 1}\nspaces: [{name: s, id: 1}]\nsocket: *n\n",
     "t.yaml:1:7: anchor 'n'; expected the value itself: no anchors or aliases here\n"
     "t.yaml:3:9: alias 'n'; expected the value itself: no anchors or aliases here\n"},
    {NODE("<<: {a: b}\nlease: !!str real\n*a : b\n"),
     "t.yaml:3:1: unknown key '<<' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:4:8: tag 'tag:yaml.org,2002:str'; expected the value alone: no tags here\n"
     "t.yaml:5:1: alias 'a'; expected the value itself: no anchors or aliases here\n"},
    {MINIMAL "---\n" MINIMAL, "t.yaml:3:1: a second document; expected one\n"},
    {NODE("x: [[[[[[[[1]]]]]]]]\n"),
     "t.yaml:3:1: unknown key 'x' in the file; expected " ROOT_KEYS "\n"
     "t.yaml:3:11: more than 8 lists or mappings inside each other; expected fewer\n"},
    /* not YAML */
    {"node: {name: n\nspaces: 7\n",
     "t.yaml:1:14: 'n spaces' for name; " NAME_EXPECTED "\n"
     "t.yaml:2:7: did not find expected ',' or '}' while parsing a flow mapping; expected YAML\n"},
    {"lease: no\nnode:\n\tname: a\n",
     "t.yaml:1:8: 'no' for lease; expected real or virtual\n"
     "t.yaml:3:1: found character that cannot start any token while scanning for the next token; "
     "expected YAML\n"},
    {"node: \"abc\n",
     "t.yaml:2:1: found unexpected end of stream while scanning a quoted scalar; expected YAML\n"},
    {"%YAML 9.9\n---\n{}\n", "t.yaml:1:1: found incompatible YAML document; expected YAML\n"},
};

static void bad_files_are_told_every_fault(void)
{
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++)
        expect(bad_files[i].text, strlen(bad_files[i].text), -EINVAL, bad_files[i].faults);
}

static void a_refused_file_changes_nothing(void)
{
    static struct config c, before;
    memset(&c, 0x5a, sizeof(c));
    memcpy(&before, &c, sizeof(c));
    struct said s = parse("node: 1\n", 8, &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    CU_ASSERT_EQUAL(memcmp(&c, &before, sizeof(c)), 0);
    said_free(&s);
}

/* What a fault names as enough is enough. */
static void the_quota_named_is_accepted(void)
{
    static const int shards[] = {1, 3, 16, 100, 511, 1024};
    static struct config c;
    char text[256];
    for (size_t i = 0; i < sizeof(shards) / sizeof(shards[0]); i++) {
        uint64_t mib = space_quota_min((uint32_t)shards[i]) >> 20;
        (void)snprintf(text, sizeof(text), SPACE("    shards: %d\n    quota: %dMiB\n"), shards[i],
                       (int)mib);
        good(text, &c);
        CU_ASSERT_EQUAL(c.spaces[0].quota_bytes, mib << 20);
        if (mib <= 2)
            continue;
        (void)snprintf(text, sizeof(text), SPACE("    shards: %d\n    quota: %dB\n"), shards[i],
                       (int)(mib << 20) - 1);
        struct said s = parse(text, strlen(text), &c);
        CU_ASSERT_EQUAL(s.rc, -EINVAL);
        (void)snprintf(text, sizeof(text), "expected at least %dMiB", (int)mib);
        CU_ASSERT_PTR_NOT_NULL(strstr(s.text, text));
        said_free(&s);
    }
}

/* The same for the longest value, whose limit follows from quota and shards. */
static void the_value_max_named_is_accepted(void)
{
    static struct config c;
    char text[256];
    const char *too_long = SPACE("    shards: 16\n    quota: 256MiB\n    value_max: 1MiB\n");
    struct said s = parse(too_long, strlen(too_long), &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    const char *named = strstr(s.text, "t.yaml:7:16: value_max of 1MiB does not fit a segment");
    named = named == NULL ? NULL : strstr(named, "at most ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(named);
    unsigned long most = strtoul(named + 8, NULL, 10);
    said_free(&s);
    (void)snprintf(text, sizeof(text),
                   SPACE("    shards: 16\n    quota: 256MiB\n    value_max: %luB\n"), most);
    good(text, &c);
    CU_ASSERT_EQUAL(c.spaces[0].value_bytes_max, most);
    (void)snprintf(text, sizeof(text),
                   SPACE("    shards: 16\n    quota: 256MiB\n    value_max: %luB\n"), most + 1);
    s = parse(text, strlen(text), &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    said_free(&s);
}

static size_t line_count(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

/* 64 spaces fit; each one more is a fault of its own; past 100 faults it stops and says so. */
static void counts_are_bounded(void)
{
    static struct config c;
    static char text[1 << 16];
    size_t used = (size_t)snprintf(text, sizeof(text), "node: {name: n, id: 1}\nspaces:\n");
    for (int i = 1; i <= 64; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "- {name: s%d, id: %d}\n", i, i);
    good(text, &c);
    CU_ASSERT_EQUAL(c.space_count, 64);
    CU_ASSERT_STRING_EQUAL(c.spaces[63].name, "s64");
    (void)snprintf(text + used, sizeof(text) - used, "- {name: s65, id: 1}\n");
    expect(text, strlen(text), -EINVAL,
           "t.yaml:3:1: 65 entries in spaces; expected a list of 1 to 64 spaces\n"
           "t.yaml:67:19: space id 1 again, first in line 3; expected another\n");
    used = 0;
    for (int i = 0; i < 2000; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "k%d: 1\n", i);
    struct said s = parse(text, used, &c);
    CU_ASSERT_EQUAL(s.rc, -EINVAL);
    CU_ASSERT_EQUAL(line_count(s.text), CONFIG_FAULTS_MAX + 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.text, "the rest is not shown"));
    CU_ASSERT(well_formed(&s));
    said_free(&s);
}

/* ---- bytes that are no text ------------------------------------------------------------------ */

static void bytes_that_are_no_text_are_placed(void)
{
    static const char nul[] = "node:\n  na\0me: x\n";
    static const char latin[] = "node:\n  \xc3\xa4: \xe4 \n";
    static const char utf16[] = "\xff\xfe{\0}\0";
    static const char cut[] = "a: \xe2\x82";
    expect(nul, sizeof(nul) - 1, -EINVAL,
           "t.yaml:2:5: control characters are not allowed (0x00); expected text in UTF-8\n");
    expect(latin, sizeof(latin) - 1, -EINVAL,
           "t.yaml:2:7: invalid trailing UTF-8 octet (0x20); expected text in UTF-8\n");
    expect(utf16, sizeof(utf16) - 1, -EINVAL,
           "t.yaml:1:1: invalid leading UTF-8 octet (0xff); expected text in UTF-8\n");
    expect(cut, sizeof(cut) - 1, -EINVAL,
           "t.yaml:1:4: incomplete UTF-8 octet sequence; expected text in UTF-8\n");
}

static void repeated_bytes_end_soon(void)
{
    static const char *const units[] = {"[",   "{",     "{a: ", "- ",  "? ",  "a: ", "&a ", "*a ",
                                        "!",   "\"\\0", "'",    "#",   " ",   "\n",  "%",   "a,",
                                        "-\n", "---\n", "\r\n", "|\n", "[a,", ": ",  "\t",  "a"};
    static struct config c;
    char *text = malloc(CONFIG_FILE_BYTES_MAX);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t unit = strlen(units[i]);
        for (size_t j = 0; j < CONFIG_FILE_BYTES_MAX; j++)
            text[j] = units[i][j % unit];
        struct said s = parse(text, CONFIG_FILE_BYTES_MAX, &c);
        CU_ASSERT_EQUAL(s.rc, -EINVAL);
        CU_ASSERT(well_formed(&s));
        said_free(&s);
    }
    free(text);
}

static char *example_read(size_t *size)
{
    char *text = malloc(1 << 16);
    FILE *f = fopen(CONFIG_EXAMPLE, "r");
    CU_ASSERT_FATAL(text != NULL && f != NULL);
    *size = fread(text, 1, 1 << 16, f);
    (void)fclose(f);
    return text;
}

/* A good file cut anywhere, and with any byte replaced: a configuration or well-formed faults. */
static void damage_gives_faults(void)
{
    static const char replacements[] = {'\0', '\n', ':', '{', '-', '"', '0', '\xff'};
    static struct config c;
    size_t size, refused = 0;
    char *text = example_read(&size);
    for (size_t i = 0; i < size; i++) {
        struct said s = parse(text, i, &c);
        CU_ASSERT((s.rc == 0 || s.rc == -EINVAL) && well_formed(&s));
        said_free(&s);
        char kept = text[i];
        text[i] = replacements[i % sizeof(replacements)];
        s = parse(text, size, &c);
        CU_ASSERT((s.rc == 0 || s.rc == -EINVAL) && well_formed(&s));
        refused += s.rc != 0;
        said_free(&s);
        text[i] = kept;
    }
    CU_ASSERT(refused > size / 8);
    free(text);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char directory[64], file_path[96];

static void write_file(const char *text, size_t size)
{
    FILE *f = fopen(file_path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fwrite(text, 1, size, f), size);
    CU_ASSERT_EQUAL(fclose(f), 0);
}

static void expect_file(const char *path, int rc, const char *fault)
{
    static struct config c;
    char wanted[256];
    struct said s = load(path, &c);
    (void)snprintf(wanted, sizeof(wanted), "%s:0:0: %s\n", path, fault);
    CU_ASSERT_EQUAL(s.rc, rc);
    CU_ASSERT_STRING_EQUAL(s.text, fault[0] == '\0' ? "" : wanted);
    said_free(&s);
}

/* As root no mode hides a file, so another user is played. */
static void expect_unreadable(void)
{
    bool root = geteuid() == 0;
    CU_ASSERT_EQUAL(chmod(file_path, 0), 0);
    CU_ASSERT_EQUAL(chmod(directory, 0711), 0);
    if (root)
        CU_ASSERT_EQUAL_FATAL(seteuid(65534), 0);
    expect_file(file_path, -EACCES, "not readable: Permission denied; expected a regular file");
    if (root)
        CU_ASSERT_EQUAL_FATAL(seteuid(0), 0);
}

static void directory_make(void)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(directory, sizeof(directory), "%s/dunlin-config-XXXXXX",
                   base != NULL && strlen(base) < 32 ? base : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    (void)snprintf(file_path, sizeof(file_path), "%s/file", directory);
}

static void files_that_are_none_are_refused(void)
{
    directory_make();
    expect_file(directory, -EISDIR, "not readable: Is a directory; expected a regular file");
    expect_file(file_path, -ENOENT,
                "not readable: No such file or directory; expected a regular file");
    expect_file("/dev/null", -EINVAL, "a device, pipe or socket; expected a regular file");
    CU_ASSERT_EQUAL(mkfifo(file_path, 0600), 0);
    expect_file(file_path, -EINVAL, "a device, pipe or socket; expected a regular file");
    CU_ASSERT_EQUAL(unlink(file_path), 0);
    CU_ASSERT_EQUAL(symlink(file_path, file_path), 0);
    expect_file(file_path, -ELOOP,
                "not readable: Too many levels of symbolic links; expected a regular file");
    CU_ASSERT_EQUAL(unlink(file_path), 0);
    write_file(MINIMAL, sizeof(MINIMAL) - 1);
    expect_unreadable();
    CU_ASSERT_EQUAL(unlink(file_path), 0);
    CU_ASSERT_EQUAL(rmdir(directory), 0);
}

static void file_size_is_bounded(void)
{
    char *text = malloc(CONFIG_FILE_BYTES_MAX + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, '#', CONFIG_FILE_BYTES_MAX + 1);
    memcpy(text, MINIMAL, sizeof(MINIMAL) - 1);
    directory_make();
    write_file(text, CONFIG_FILE_BYTES_MAX);
    expect_file(file_path, 0, "");
    write_file(text, CONFIG_FILE_BYTES_MAX + 1);
    expect_file(file_path, -EFBIG, "more than 1MiB; expected at most 1MiB");
    CU_ASSERT_EQUAL(unlink(file_path), 0);
    CU_ASSERT_EQUAL(rmdir(directory), 0);
    free(text);
}

static void a_strange_file_name_stays_one_line(void)
{
    static struct config c;
    struct said s = load("/nowhere\n\x1b[2J", &c);
    CU_ASSERT_EQUAL(s.rc, -ENOENT);
    CU_ASSERT_STRING_EQUAL(s.text, "/nowhere??[2J:0:0: not readable: No such file or directory; "
                                   "expected a regular file\n");
    said_free(&s);
}

static const struct unit_test tests[] = {
    UNIT_TEST(example_is_good),
    UNIT_TEST(example_explains_every_key),
    UNIT_TEST(absent_keys_have_their_defaults),
    UNIT_TEST(access_is_closed_unless_opened),
    UNIT_TEST(every_key_arrives),
    UNIT_TEST(cpus_pin_lcores),
    UNIT_TEST(bad_files_are_told_every_fault),
    UNIT_TEST(a_refused_file_changes_nothing),
    UNIT_TEST(the_quota_named_is_accepted),
    UNIT_TEST(the_value_max_named_is_accepted),
    UNIT_TEST(counts_are_bounded),
    UNIT_TEST(bytes_that_are_no_text_are_placed),
    UNIT_TEST(repeated_bytes_end_soon),
    UNIT_TEST(damage_gives_faults),
    UNIT_TEST(files_that_are_none_are_refused),
    UNIT_TEST(file_size_is_bounded),
    UNIT_TEST(a_strange_file_name_stays_one_line),
};
UNIT_MAIN("config", tests)
