#include "control/dev.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

static struct config configs[DEV_NODES_MAX];

/* What dev_configure says of a spaces file with this text; its faults in said. */
static char said[1024];
static int configure(const char *text, uint32_t node_count)
{
    char path[] = "/tmp/dunlin-test-XXXXXX";
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    CU_ASSERT_EQUAL(close(fd), 0);
    FILE *errors = fmemopen(said, sizeof(said), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    const struct dev_options o = {.node_count = node_count, .spaces = path};
    int error = dev_configure(&o, "/run/nest", configs, errors);
    CU_ASSERT_EQUAL(fclose(errors), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);
    return error;
}

static void each_node_is_its_own(void)
{
    const struct dev_options o = {.node_count = DEV_NODES_MAX};
    char name[16], path[64];
    CU_ASSERT_EQUAL_FATAL(dev_configure(&o, "/run/nest", configs, stderr), 0);
    for (uint32_t i = 0; i < DEV_NODES_MAX; i++) {
        const struct config *c = &configs[i];
        (void)snprintf(name, sizeof(name), "node%u", i + 1);
        (void)snprintf(path, sizeof(path), "/run/nest/node%u.sock", i + 1);
        CU_ASSERT_STRING_EQUAL(c->node.name, name);
        CU_ASSERT_EQUAL(c->node.id, i + 1);
        CU_ASSERT_STRING_EQUAL(c->socket_path, path);
        CU_ASSERT_EQUAL(c->socket_mode, 0600);
        CU_ASSERT_EQUAL(c->node.lcore_count, 1);
        CU_ASSERT_EQUAL(c->node.lcore_cpus[0], -1);
        CU_ASSERT_FALSE(c->node.spin);
        CU_ASSERT_EQUAL(c->node.lease_ns, 50 * NS_PER_MS);
        CU_ASSERT_EQUAL_FATAL(c->space_count, 2);
        CU_ASSERT_STRING_EQUAL(c->spaces[0].name, "airspace");
        CU_ASSERT_STRING_EQUAL(c->spaces[1].name, "fleet");
        CU_ASSERT_FALSE(c->spaces[0].read.everyone);
    }
}

static void a_file_may_be_spaces_alone(void)
{
    CU_ASSERT_EQUAL_FATAL(
        configure("spaces:\n  - {name: pond, id: 7, shards: 2, quota: 16MiB, read: any}\n", 2), 0);
    CU_ASSERT_STRING_EQUAL(said, "");
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(configs[i].node.id, i + 1);
        CU_ASSERT_EQUAL_FATAL(configs[i].space_count, 1);
        CU_ASSERT_STRING_EQUAL(configs[i].spaces[0].name, "pond");
        CU_ASSERT_EQUAL(configs[i].spaces[0].id, 7);
        CU_ASSERT_EQUAL(configs[i].spaces[0].shard_count, 2);
        CU_ASSERT_TRUE(configs[i].spaces[0].read.everyone);
    }
}

static void of_a_whole_file_the_spaces_count(void)
{
    CU_ASSERT_EQUAL_FATAL(configure("node: {name: roost, id: 44}\n"
                                    "socket: {path: /elsewhere/socket, mode: 0666}\n"
                                    "lcores: {count: 3, spin: true}\n"
                                    "times: {lease: 5ms}\n"
                                    "spaces:\n"
                                    "  - {name: pond, id: 7}\n",
                                    1),
                          0);
    CU_ASSERT_STRING_EQUAL(configs[0].node.name, "node1");
    CU_ASSERT_EQUAL(configs[0].node.id, 1);
    CU_ASSERT_STRING_EQUAL(configs[0].socket_path, "/run/nest/node1.sock");
    CU_ASSERT_EQUAL(configs[0].socket_mode, 0600);
    CU_ASSERT_EQUAL(configs[0].node.lcore_count, 1);
    CU_ASSERT_FALSE(configs[0].node.spin);
    CU_ASSERT_EQUAL(configs[0].node.lease_ns, 50 * NS_PER_MS);
    CU_ASSERT_STRING_EQUAL(configs[0].spaces[0].name, "pond");
}

static void faults_have_their_line(void)
{
    CU_ASSERT_EQUAL(configure("spaces:\n  - name: pond\n    id: 7\n    colour: green\n", 3),
                    -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, ":4:5: "));
    /* What is there is checked, whether it counts or not. */
    CU_ASSERT_EQUAL(configure("node: {name: roost}\nspaces: [{name: pond, id: 7}]\n", 3), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "no key 'id'"));
    CU_ASSERT_EQUAL(configure("node: {name: roost, id: 1}\n", 3), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "no key 'spaces'"));
    CU_ASSERT_EQUAL(configure("", 3), -EINVAL);
    const struct dev_options o = {.node_count = 1, .spaces = "/proc/dunlin-test/none"};
    FILE *errors = fmemopen(said, sizeof(said), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    CU_ASSERT_EQUAL(dev_configure(&o, "/run/nest", configs, errors), -ENOENT);
    CU_ASSERT_EQUAL(fclose(errors), 0);
}

static void a_node_alone_still_needs_its_name(void)
{
    static const char text[] = "spaces: [{name: pond, id: 7}]\n";
    FILE *errors = fmemopen(said, sizeof(said), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    CU_ASSERT_EQUAL(
        config_parse("t.yaml", (const uint8_t *)text, strlen(text), &configs[0], errors), -EINVAL);
    CU_ASSERT_EQUAL(fclose(errors), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "no key 'node'"));
}

static void a_socket_must_fit_its_address(void)
{
    const struct dev_options o = {.node_count = 1};
    char directory[CONFIG_SOCKET_PATH_BYTES];
    size_t fits = CONFIG_SOCKET_PATH_BYTES - 1 - strlen("/node1.sock");
    memset(directory, 'a', sizeof(directory));
    directory[0] = '/';
    directory[fits] = '\0';
    CU_ASSERT_EQUAL(dev_configure(&o, directory, configs, stderr), 0);
    directory[fits] = 'a';
    directory[fits + 1] = '\0';
    CU_ASSERT_EQUAL(dev_configure(&o, directory, configs, stderr), -ENAMETOOLONG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_node_is_its_own),
    UNIT_TEST(a_file_may_be_spaces_alone),
    UNIT_TEST(of_a_whole_file_the_spaces_count),
    UNIT_TEST(faults_have_their_line),
    UNIT_TEST(a_node_alone_still_needs_its_name),
    UNIT_TEST(a_socket_must_fit_its_address),
};
UNIT_MAIN("dev", tests)
