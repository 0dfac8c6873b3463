/* The configuration: what a good file gives, what each key's default is, and which files are read
 * at all. */
#include "dataplane/frame.h"
#include "engine/agent/dunlin.h"
#include "tests/unit/control/config_said.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- good files ---- */

static void expect_ipv4(const struct config_node *n, uint32_t id, const char *host, uint16_t port)
{
    const struct sockaddr_in *a = (const void *)&n->address;
    CU_ASSERT_EQUAL(n->id, id);
    CU_ASSERT_EQUAL(a->sin_family, AF_INET);
    CU_ASSERT_EQUAL(ntohs(a->sin_port), port);
    CU_ASSERT_EQUAL(a->sin_addr.s_addr, inet_addr(host));
}

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

static char example_alone[1 << 16], example_cluster[1 << 16];

static void example_explains(const char *example, const struct config_key *keys)
{
    char line[256];
    for (const struct config_key *k = keys; k->name != NULL; k++) {
        const char *where = k->keys == config_cluster_keys ? example_cluster : example;
        bool found = example_line(where, k->name, keys != config_root, line);
        if (!found)
            (void)fprintf(stderr, "\nthe example does not explain %s\n", k->name);
        CU_ASSERT(found);
        if (k->kind == CONFIG_SECTION || k->kind == CONFIG_ENTRIES)
            example_explains(where, k->keys);
        else if (found && k->fallback != NULL && k != &config_lcores[CONFIG_LCORES_COUNT])
            CU_ASSERT_PTR_NOT_NULL(strstr(line, k->fallback));
    }
}

static void example_read(const char *path, char text[1 << 16])
{
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    size_t size = fread(text, 1, (1 << 16) - 1, f);
    (void)fclose(f);
    CU_ASSERT(size > 0 && size < (1 << 16) - 1);
    text[size] = '\0';
}

static void example_explains_every_key(void)
{
    example_read(CONFIG_EXAMPLE, example_alone);
    example_read(CONFIG_EXAMPLE_CLUSTER, example_cluster);
    example_explains(example_alone, config_root);
}

static void transport_past_the_kernel(void)
{
    static const char text[] = CLUSTER(
        "{id: 2, address: 10.0.0.2:7700}",
        "  transport: dpdk\n  dpdk: {port: \"net_af_xdp0,iface=a\", eal: \"--no-huge -m 128\", "
        "gateway: 10.0.0.254, prefix: 16, mtu: 9000B}\n");
    static struct config c;
    CU_ASSERT_EQUAL_FATAL(config_parse("t.yaml", (const uint8_t *)text, strlen(text), &c, stderr),
                          0);
    CU_ASSERT_EQUAL(c.cluster.transport, CONFIG_TRANSPORT_DPDK);
    CU_ASSERT_STRING_EQUAL(c.cluster.dpdk.port, "net_af_xdp0,iface=a");
    CU_ASSERT_STRING_EQUAL(c.cluster.dpdk.eal, "--no-huge -m 128");
    CU_ASSERT_STRING_EQUAL(c.cluster.dpdk.gateway, "10.0.0.254");
    CU_ASSERT_EQUAL(c.cluster.dpdk.prefix, 16);
    CU_ASSERT_EQUAL(c.cluster.dpdk.mtu, 9000);
}

/* It needs no section, and takes addresses of either family; a section of DPDK is not looked at. */
static void transport_into_memory(void)
{
    static const char *const texts[] = {
        CLUSTER("{id: 2, address: 10.0.0.2:7700}", "  transport: rdma\n  encrypt: false\n"),
        CLUSTER("{id: 2, address: 10.0.0.2:7700}",
                "  transport: rdma\n  encrypt: false\n  dpdk: {port: p, mtu: 600B}\n"),
        "node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\ncluster: {name: c, " CONTROL ", "
        "transport: rdma, encrypt: false,\n  nodes: [{id: 1, address: \"[fd00::1]:1\"}, {id: 2, "
        "address: \"[fd00::2]:1\"}]}\n"};
    static struct config c;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        good(texts[i], &c);
        CU_ASSERT_EQUAL(c.cluster.transport, CONFIG_TRANSPORT_RDMA);
        CU_ASSERT(!c.cluster.encrypt);
        CU_ASSERT_EQUAL(c.cluster.rdma.ack_timeout_ns, 16 * NS_PER_MS);
    }
    good(CLUSTER("{id: 2, address: 10.0.0.2:7700}",
                 "  transport: rdma\n  rdma: {ack_timeout: 1500ms}\n"),
         &c);
    CU_ASSERT_EQUAL(c.cluster.rdma.ack_timeout_ns, 1500 * NS_PER_MS);
}

static void example_of_a_cluster_is_good(void)
{
    static struct config c;
    struct said s = load(CONFIG_EXAMPLE_CLUSTER, &c);
    if (s.rc != 0)
        (void)fprintf(stderr, "\n%s", s.text);
    CU_ASSERT_EQUAL_FATAL(s.rc, 0);
    said_free(&s);
    CU_ASSERT(c.node.replicated);
    CU_ASSERT_STRING_EQUAL(c.cluster.name, "flock");
    CU_ASSERT_EQUAL(c.cluster.replicas, 3);
    CU_ASSERT_EQUAL(c.node.copy_rate, 0);
    CU_ASSERT_STRING_EQUAL(c.cluster.nodes[0].zone, "hall-1");
    CU_ASSERT_EQUAL(c.cluster.nodes[0].weight, 100);
    CU_ASSERT_STRING_EQUAL(c.cluster.nodes[2].zone, "hall-2");
    CU_ASSERT_STRING_EQUAL(c.cluster.control.directory, "/var/lib/dunlin/control");
    CU_ASSERT_STRING_EQUAL(c.cluster.control.certificate_path, "/etc/dunlin/node-1.crt");
    CU_ASSERT_STRING_EQUAL(c.cluster.control.key_path, "/etc/dunlin/node-1.key");
    CU_ASSERT_STRING_EQUAL(c.cluster.control.authority_path, "/etc/dunlin/authority.crt");
    CU_ASSERT_EQUAL(c.cluster.control.lease_ns, 50 * NS_PER_MS);
    CU_ASSERT_EQUAL(
        ((struct sockaddr_in *)(void *)&c.cluster.nodes[0].control_address)->sin_addr.s_addr,
        htonl(0x0a000101));
    CU_ASSERT_EQUAL(c.cluster.nodes[1].control_address.ss_family, AF_UNSPEC);
    CU_ASSERT_STRING_EQUAL(c.cluster.key_path, "/etc/dunlin/flock.key");
    CU_ASSERT_EQUAL(c.cluster.transport, CONFIG_TRANSPORT_UDP);
    CU_ASSERT(c.cluster.encrypt);
    CU_ASSERT_EQUAL(c.cluster.frame_bytes, 1400);
    CU_ASSERT_EQUAL(c.cluster.rate, 0);
    CU_ASSERT_EQUAL_FATAL(c.cluster.node_count, 3);
    expect_ipv4(&c.cluster.nodes[2], 3, "10.0.0.3", 7700);
}

static void cluster_is_absent_unless_given(void)
{
    static struct config c;
    static const struct config_cluster none;
    good(MINIMAL, &c);
    CU_ASSERT(!c.node.replicated);
    CU_ASSERT_EQUAL(memcmp(&c.cluster, &none, sizeof(none)), 0);
    good(CLUSTER("{id: 2, address: 127.0.0.1:1}", ""), &c);
    CU_ASSERT(c.node.replicated);
    CU_ASSERT_EQUAL(c.cluster.transport, CONFIG_TRANSPORT_UDP);
    CU_ASSERT(c.cluster.encrypt);
    CU_ASSERT_EQUAL(c.cluster.frame_bytes, 1400);
    CU_ASSERT_EQUAL(c.cluster.rate, 0);
    CU_ASSERT_EQUAL(c.cluster.wire_version, FRAME_VERSION_HIGHEST);
    CU_ASSERT_EQUAL(c.cluster.replicas, 3);
    CU_ASSERT_EQUAL(c.node.copy_rate, 0);
    CU_ASSERT_STRING_EQUAL(c.cluster.nodes[1].zone, "");
    CU_ASSERT_EQUAL(c.cluster.nodes[1].weight, 100);
    CU_ASSERT(!c.cluster.lost_reopens);
    CU_ASSERT_EQUAL_FATAL(c.cluster.node_count, 2);
    expect_ipv4(&c.cluster.nodes[0], 1, "10.0.0.1", 7700);
    expect_ipv4(&c.cluster.nodes[1], 2, "127.0.0.1", 1);
}

static void every_key_of_a_cluster_arrives(void)
{
    static struct config c;
    struct in6_addr host;
    good("node: {name: n, id: 4294967295}\nspaces: [{name: s, id: 1}]\nlcores: {count: 16}\n"
         "cluster:\n  nodes:\n"
         "  - {id: 7, address: \"[2001:db8::7]:65520\"}\n"
         "  - {id: 4294967295, address: '[::1]:1', zone: north, weight: 1000}\n"
         "  - {address: \"[2001:db8::7]:65504\", id: 1}\n"
         "  rate: 1TiB\n  wire: 1\n  frame: 8952B\n  encrypt: false\n  lost: reopen\n"
         "  key_file: '/k \"y\"'\n  " CONTROL "\n  name: A.b-c_9\n  replicas: 7\n"
         "  copy_rate: 64MiB\n",
         &c);
    CU_ASSERT_STRING_EQUAL(c.cluster.name, "A.b-c_9");
    CU_ASSERT_EQUAL(c.cluster.replicas, 7);
    CU_ASSERT_EQUAL(c.node.copy_rate, UINT64_C(64) << 20);
    CU_ASSERT_STRING_EQUAL(c.cluster.nodes[1].zone, "north");
    CU_ASSERT_EQUAL(c.cluster.nodes[1].weight, 1000);
    CU_ASSERT_EQUAL(c.cluster.nodes[2].weight, 100);
    CU_ASSERT_STRING_EQUAL(c.cluster.key_path, "/k \"y\"");
    CU_ASSERT(!c.cluster.encrypt);
    CU_ASSERT(c.cluster.lost_reopens);
    CU_ASSERT_EQUAL(c.cluster.frame_bytes, 8952);
    CU_ASSERT_EQUAL(c.cluster.rate, UINT64_C(1) << 40);
    CU_ASSERT_EQUAL(c.cluster.wire_version, 1);
    CU_ASSERT_EQUAL_FATAL(c.cluster.node_count, 3);
    CU_ASSERT_EQUAL(c.cluster.nodes[1].id, UINT32_MAX);
    const struct sockaddr_in6 *a = (const void *)&c.cluster.nodes[0].address;
    CU_ASSERT_EQUAL(inet_pton(AF_INET6, "2001:db8::7", &host), 1);
    CU_ASSERT_EQUAL(a->sin6_family, AF_INET6);
    CU_ASSERT_EQUAL(ntohs(a->sin6_port), 65520);
    CU_ASSERT_EQUAL(memcmp(&a->sin6_addr, &host, sizeof(host)), 0);
    CU_ASSERT_EQUAL(a->sin6_scope_id, 0);
}

/* Spaces alone are wanted: whose node it is does not matter then. */
static void spaces_of_a_cluster_can_be_read_alone(void)
{
    static struct config c;
    char path[] = "/tmp/dunlin-config-spaces-XXXXXX", *text = NULL;
    size_t size = 0;
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    const char *file = strchr(CLUSTER("{id: 2, address: 127.0.0.1:1}", ""), '\n') + 1;
    CU_ASSERT_EQUAL(write(fd, file, strlen(file)), (ssize_t)strlen(file));
    FILE *errors = open_memstream(&text, &size);
    CU_ASSERT_EQUAL(config_load_spaces(path, &c, errors), 0);
    (void)fclose(errors);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(c.space_count, 1);
    free(text);
    CU_ASSERT_EQUAL(unlink(path), 0);
    (void)close(fd);
}

static void absent_keys_have_their_defaults(void)
{
    static struct config c;
    struct space_config wanted;
    space_config_default(&wanted);
    good("\xef\xbb\xbf" MINIMAL, &c);
    CU_ASSERT_EQUAL(c.node.id, 1);
    CU_ASSERT_EQUAL(c.node.lcore_count, 1);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        CU_ASSERT_EQUAL(c.node.lcore_cpus[i], -1);
    CU_ASSERT_EQUAL(c.cpu_count, 0);
    CU_ASSERT(!c.node.spin);
    CU_ASSERT(!c.node.lease_virtual);
    CU_ASSERT_EQUAL(c.node.lease_ns, 50 * NS_PER_MS);
    CU_ASSERT_EQUAL(c.node.heartbeat_ns, 100 * NS_PER_MS);
    CU_ASSERT_EQUAL(c.node.view_ns, 100 * NS_PER_MS);
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

static void agents_are_unbounded_unless_bounded(void)
{
    static struct config c;
    good(NODE(""), &c);
    CU_ASSERT_EQUAL(c.node.agent_rate, 0);
    CU_ASSERT_EQUAL(c.node.agent_burst, 0);
    CU_ASSERT(!c.node.agents_all);
    good(NODE("agents: {rate: 10000000, burst: 7, all: true}\n"), &c);
    CU_ASSERT_EQUAL(c.node.agent_rate, 10000000);
    CU_ASSERT_EQUAL(c.node.agent_burst, 7);
    CU_ASSERT(c.node.agents_all);
}

static void cpus_pin_lcores(void)
{
    static struct config c;
    char text[256];
    int cpu = (int)first_cpu();
    (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d]}\n"), cpu);
    good(text, &c);
    CU_ASSERT_EQUAL(c.node.lcore_count, 1);
    CU_ASSERT_EQUAL(c.cpu_count, 1);
    CU_ASSERT_EQUAL(c.node.lcore_cpus[0], cpu);
    CU_ASSERT_EQUAL(c.node.lcore_cpus[1], -1);
    for (int other = cpu + 1; other < CPU_SETSIZE; other++) {
        if (!config_cpu_usable((uint64_t)other))
            continue;
        (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d, %d]}\n"), other, cpu);
        good(text, &c);
        CU_ASSERT_EQUAL(c.node.lcore_count, 2);
        CU_ASSERT_EQUAL(c.node.lcore_cpus[0], other);
        CU_ASSERT_EQUAL(c.node.lcore_cpus[1], cpu);
        break;
    }
    (void)snprintf(text, sizeof(text), NODE("lcores: {cpus: [%d], count: 2}\n"), cpu);
    expect(text, strlen(text), -EINVAL,
           "t.yaml:3:16: 1 cpus for a count of 2; expected one for each, or no count\n");
}

/* ---- files ---- */

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

static void directory_remove(void)
{
    if (directory[0] != '\0') {
        (void)unlink(file_path);
        (void)rmdir(directory);
    }
}

static void interrupted(int signal_number)
{
    directory_remove();
    _exit(128 + signal_number);
}

/* Why a signal handler: what is interrupted leaves nothing behind either. */
static void directory_make(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    const char *base = getenv("TMPDIR");
    (void)snprintf(directory, sizeof(directory), "%s/dunlin-config-XXXXXX",
                   base != NULL && strlen(base) < 32 ? base : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    (void)snprintf(file_path, sizeof(file_path), "%s/file", directory);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)signal(signals[i], interrupted);
}

static void files_that_are_none_are_refused(void)
{
    directory_make();
    expect_file(directory, -EISDIR, "not readable: Is a directory; expected a regular file");
    expect_file(file_path, -ENOENT,
                "not readable: No such file or directory; expected a regular file");
    expect_file("/proc/self/mem", -EIO,
                "not readable: Input/output error; expected a regular file");
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
    directory_remove();
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
    directory_remove();
    free(text);
}

/* The next allocation but `left` fails; only those of control/config*.c pass here (linked with
 * --wrap), those of the libraries do not. */
static int allocations_left = -1;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

static void no_memory_is_named(void)
{
    static struct config c;
    for (int i = 0; i < 4; i++) {
        struct said s = {0};
        FILE *errors = open_memstream(&s.text, &s.size);
        allocations_left = i;
        s.rc = config_load(CONFIG_EXAMPLE, &c, errors);
        allocations_left = -1;
        (void)fclose(errors);
        CU_ASSERT_EQUAL(s.rc, i < 3 ? -ENOMEM : 0);
        CU_ASSERT_EQUAL(line_count(s.text), i < 3 ? 1 : 0);
        CU_ASSERT(i == 3 || strstr(s.text, "emory") != NULL);
        said_free(&s);
    }
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
    UNIT_TEST(example_of_a_cluster_is_good),
    UNIT_TEST(transport_past_the_kernel),
    UNIT_TEST(transport_into_memory),
    UNIT_TEST(cluster_is_absent_unless_given),
    UNIT_TEST(every_key_of_a_cluster_arrives),
    UNIT_TEST(spaces_of_a_cluster_can_be_read_alone),
    UNIT_TEST(absent_keys_have_their_defaults),
    UNIT_TEST(access_is_closed_unless_opened),
    UNIT_TEST(every_key_arrives),
    UNIT_TEST(agents_are_unbounded_unless_bounded),
    UNIT_TEST(cpus_pin_lcores),
    UNIT_TEST(files_that_are_none_are_refused),
    UNIT_TEST(file_size_is_bounded),
    UNIT_TEST(no_memory_is_named),
    UNIT_TEST(a_strange_file_name_stays_one_line),
};
UNIT_MAIN("config", tests)
