/* Which keys of two configurations differ, and where they stand. */
#include "control/config_differ.h"

#include "tests/unit/unit.h"

#define CONTROL "{directory: /d, certificate: /c, key: /k, authority: /a}"

static const char first[] = "node: {name: a, id: 1}\n"                        /* 1 */
                            "socket:\n"                                       /* 2 */
                            "  path: /run/x.sock\n"                           /* 3 */
                            "agents: {rate: 10, burst: 20}\n"                 /* 4 */
                            "cluster:\n"                                      /* 5 */
                            "  name: flock\n"                                 /* 6 */
                            "  key_file: /etc/key\n"                          /* 7 */
                            "  control: " CONTROL "\n"                        /* 8 */
                            "  nodes:\n"                                      /* 9 */
                            "    - {id: 1, address: \"10.0.0.1:7700\"}\n"     /* 10 */
                            "    - {id: 2, address: \"10.0.0.2:7700\"}\n"     /* 11 */
                            "spaces:\n"                                       /* 12 */
                            "  - {name: s, id: 1, quota: 16MiB, read: [5]}\n" /* 13 */
                            "  - name: t\n"                                   /* 14 */
                            "    id: 2\n";                                    /* 15 */

static char keys[512];

static void on_key(void *context, const char *key)
{
    (void)context;
    (void)snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s ", key);
}

static struct config parsed(const char *text)
{
    struct config c;
    CU_ASSERT_EQUAL_FATAL(config_parse("test", (const uint8_t *)text, strlen(text), &c, stderr), 0);
    return c;
}

/* first with one text in the place of another. */
static const char *with(const char *old, const char *new)
{
    static char text[sizeof first + 256];
    const char *at = strstr(first, old);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - first), first, new, at + strlen(old));
    return text;
}

static const char *differ(const char *text)
{
    struct config before = parsed(first), after = parsed(text);
    keys[0] = '\0';
    config_differ(&before, &after, on_key, NULL);
    return keys;
}

static void the_same_has_no_differences(void)
{
    CU_ASSERT_STRING_EQUAL(differ(first), "");
    CU_ASSERT_STRING_EQUAL(differ(with("rate: 10, burst: 20", "burst: 20, rate: 10")), "");
    CU_ASSERT_STRING_EQUAL(differ(with("quota: 16MiB", "quota: 16384KiB")), "");
}

static void each_kind_of_key_is_told(void)
{
    CU_ASSERT_STRING_EQUAL(differ(with("name: a", "name: b")), "node.name ");
    CU_ASSERT_STRING_EQUAL(differ(with("/run/x.sock", "/run/y.sock\n  mode: 0660")),
                           "socket.path socket.mode ");
    CU_ASSERT_STRING_EQUAL(differ(with("rate: 10", "rate: 11")), "agents.rate ");
    CU_ASSERT_STRING_EQUAL(differ(with("10.0.0.2:7700", "10.0.0.2:7701")),
                           "cluster.nodes[1].address ");
    CU_ASSERT_STRING_EQUAL(differ(with("read: [5]", "read: [5, 6]")), "spaces[0].read ");
    CU_ASSERT_STRING_EQUAL(differ(with("read: [5]", "read: any")), "spaces[0].read ");
    CU_ASSERT_STRING_EQUAL(differ(with("agents:", "lcores: {count: 2}\nagents:")), "lcores.count ");
    CU_ASSERT_STRING_EQUAL(differ(with("agents:", "lease: virtual\nagents:")), "lease ");
    CU_ASSERT_STRING_EQUAL(
        differ(
            with(CONTROL, "{directory: /e, certificate: /f, key: /g, authority: /h, lease: 1s}")),
        "cluster.control.directory cluster.control.certificate cluster.control.key "
        "cluster.control.authority cluster.control.lease ");
    CU_ASSERT_STRING_EQUAL(differ(with("{id: 2,", "{id: 2, zone: east, weight: 7,")),
                           "cluster.nodes[1].zone cluster.nodes[1].weight ");
    CU_ASSERT_STRING_EQUAL(differ(with("  name: flock", "  name: flock\n  replicas: 5\n"
                                                        "  copy_rate: 1GiB")),
                           "cluster.replicas cluster.copy_rate ");
}

static void a_list_of_another_length_is_told_itself(void)
{
    CU_ASSERT_STRING_EQUAL(differ(with("  - name: t\n    id: 2\n", "")), "spaces ");
    CU_ASSERT_STRING_EQUAL(
        differ(with("spaces:\n", "    - {id: 3, address: \"10.0.0.3:7700\"}\nspaces:\n")),
        "cluster.nodes ");
}

static void place_is(const char *key, size_t line, size_t column)
{
    struct config_place at;
    CU_ASSERT_EQUAL(config_locate((const uint8_t *)first, strlen(first), key, &at), 0);
    if (at.line != line || at.column != column)
        (void)fprintf(stderr, "%s is at %zu:%zu\n", key, at.line, at.column);
    CU_ASSERT_EQUAL(at.line, line);
    CU_ASSERT_EQUAL(at.column, column);
}

static void keys_are_found(void)
{
    place_is("node.id", 1, 17);
    place_is("socket.path", 3, 3);
    place_is("agents.burst", 4, 20);
    place_is("cluster.nodes[1].address", 11, 15);
    place_is("spaces[0].quota", 13, 22);
    place_is("spaces[1].id", 15, 5);
    place_is("spaces", 12, 1);
}

/* The nearest thing that is there. */
static void keys_that_are_left_out_are_where_they_would_be(void)
{
    place_is("socket.mode", 2, 1);
    place_is("spaces[1].quota", 14, 5);
    place_is("cluster.control.lease", 8, 3);
    place_is("cluster.replicas", 5, 1);
    place_is("lcores.count", 0, 0);
    place_is("clust", 0, 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_same_has_no_differences),
    UNIT_TEST(each_kind_of_key_is_told),
    UNIT_TEST(a_list_of_another_length_is_told_itself),
    UNIT_TEST(keys_are_found),
    UNIT_TEST(keys_that_are_left_out_are_where_they_would_be),
};
UNIT_MAIN("config_differ", tests)
