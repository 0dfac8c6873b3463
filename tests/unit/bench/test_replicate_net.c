/* The baselines of the replicate bench over sockets do what they are measured for, and a measurement counts
 * what it says. */
#include "bench/bench.h"
#include "bench/net_options.h"
#include "bench/replicate_net_raft.h"
#include "bench/replicate_net_raw.h"
#include "bench/replicate_net_redis.h"
#include "engine/hash.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define KEYS 2000u
#define DURATION_NS (20 * NS_PER_MS)

static const struct net_cpus one_cpu = {.count = 1};

static char directory[] = "/tmp/dunlin-test.XXXXXX";

const char *bench_directory(void)
{
    return directory;
}

static void cpus_are_numbers_with_commas(void)
{
    static const char *const bad[] = {"", ",", "1,", "1,,2", "-1", "1024", "a", "1 ", " 1"};
    struct net_cpus cpus;
    CU_ASSERT_EQUAL(net_cpus_parse("3", &cpus), 0);
    CU_ASSERT_EQUAL(net_cpu(&cpus, 2), 3);
    CU_ASSERT_EQUAL(net_cpus_parse("0,2,5", &cpus), 0);
    CU_ASSERT_EQUAL(cpus.count, 3);
    CU_ASSERT_EQUAL(net_cpu(&cpus, 0), 0);
    CU_ASSERT_EQUAL(net_cpu(&cpus, 2), 5);
    CU_ASSERT_EQUAL(net_cpu(&cpus, 3), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(net_cpus_parse(bad[i], &cpus), -EINVAL);
    char most[2 * NET_CPUS_MAX + 2];
    for (uint32_t i = 0; i <= NET_CPUS_MAX; i++)
        memcpy(&most[(size_t)2 * i], "1,", 2);
    most[2 * NET_CPUS_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(net_cpus_parse(most, &cpus), -EINVAL);
    most[2 * NET_CPUS_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(net_cpus_parse(most, &cpus), 0);
    CU_ASSERT_EQUAL(cpus.count, NET_CPUS_MAX);
}

/* left: arguments that it did not take. */
static int options_of(const char *text, struct net_options *options, int *left)
{
    static char words[128];
    char *list[16] = {words}, *at;
    int count = 1;
    (void)snprintf(words, sizeof words, "%s", text);
    for (char *word = strtok_r(words, " ", &at); word != NULL; word = strtok_r(NULL, " ", &at))
        list[count++] = word;
    int rc = net_options_take(&count, list, options);
    *left = count - 1;
    return rc;
}

static void options_of_the_network_are_taken_and_judged(void)
{
    static const char *const bad[] = {"--transport",
                                      "--transport tcp",
                                      "--port",
                                      "--cpus a",
                                      "--port a --port b --port c --port d",
                                      "--device"};
    struct net_options o;
    int left;
    CU_ASSERT_EQUAL(
        options_of("--json --transport dpdk --seconds 3 --port a,x=1 --port b", &o, &left), 0);
    CU_ASSERT_EQUAL(left, 3);
    CU_ASSERT_EQUAL(o.transport, NET_DPDK);
    CU_ASSERT_EQUAL(o.port_count, 2);
    CU_ASSERT_STRING_EQUAL(o.ports[0], "a,x=1");
    CU_ASSERT_STRING_EQUAL(o.ports[1], "b");
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP | NET_DPDK, 2), 0);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP | NET_DPDK, 3), -EINVAL);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP, 2), -EINVAL);
    CU_ASSERT_EQUAL(options_of("--json", &o, &left), 0);
    CU_ASSERT_EQUAL(o.transport, NET_UNSAID);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP, 2), 0);
    CU_ASSERT_EQUAL(options_of("--transport udp --port a --port b", &o, &left), 0);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP | NET_DPDK, 2), -EINVAL);
    CU_ASSERT_EQUAL(options_of("--transport rdma --device rxe0", &o, &left), 0);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_STRING_EQUAL(o.device, "rxe0");
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_RDMA, 2), 0);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP | NET_DPDK, 2), -EINVAL);
    CU_ASSERT_EQUAL(options_of("--transport udp --device rxe0", &o, &left), 0);
    CU_ASSERT_EQUAL(net_options_judge(&o, NET_UDP | NET_RDMA, 2), -EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(options_of(bad[i], &o, &left), -EINVAL);
}

/* What a counted client was given. */
struct counted {
    uint64_t batches, operations;
    uint32_t key_errors;
    int error;
};

static int count_batch(void *client, const struct net_write *writes, uint32_t count)
{
    struct counted *c = client;
    c->batches++;
    c->operations += count;
    for (uint32_t i = 0; i < count; i++)
        c->key_errors += memcmp(writes[i].key, "bench-k:", 8) != 0;
    return c->error;
}

static void a_measurement_counts_whole_batches(void)
{
    struct counted counted = {.error = 0};
    struct net_side *s = calloc(1, sizeof *s);
    struct net_values v = {0};
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    s->write = count_batch;
    s->client = &counted;
    s->key_count = KEYS;
    CU_ASSERT_EQUAL(net_side_fill(s, 64), 0);
    CU_ASSERT_EQUAL(counted.operations, KEYS);
    CU_ASSERT_EQUAL(net_side_measure(s, 8, DURATION_NS, &v), 0);
    CU_ASSERT_EQUAL(counted.operations - KEYS, s->position);
    CU_ASSERT_EQUAL(s->position % 8, 0);
    CU_ASSERT_EQUAL(counted.key_errors, 0);
    CU_ASSERT(v.cpu_ns > 0 && v.rate > 0 && v.p50_ns <= v.p99_ns);
    CU_ASSERT(histogram_count(&s->latency) >= 8);
    CU_ASSERT(histogram_count(&s->latency) < counted.batches); /* the warm ones do not count */
    net_side_reset(s);
    CU_ASSERT_EQUAL(histogram_count(&s->latency), 0);
    counted.error = -EPIPE;
    CU_ASSERT_EQUAL(net_side_measure(s, 8, DURATION_NS, &v), -EPIPE);
    free(s);
}

static void libraft_has_every_write_in_every_process(void)
{
    static const uint32_t batches[] = {1, 8, NET_BATCH_MAX};
    struct net_raft r;
    struct net_side *s = calloc(1, sizeof *s);
    struct net_values v;
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    CU_ASSERT_EQUAL_FATAL(net_raft_open(&r, &one_cpu, KEYS), 0);
    CU_ASSERT_FALSE(net_raft_agrees(&r, KEYS)); /* nobody has anything */
    s->write = net_raft_write;
    s->client = &r;
    s->key_count = KEYS;
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        s->pids[s->pid_count++] = r.pids[i];
    CU_ASSERT_EQUAL(net_side_fill(s, NET_BATCH_MAX), 0);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        CU_ASSERT_EQUAL(net_side_measure(s, batches[i], DURATION_NS, &v), 0);
    CU_ASSERT_TRUE(net_raft_agrees(&r, KEYS));
    struct raft_command c = {.value = {1}};
    keys_text(7, c.key);
    c.hash = hash_key(c.key, KEYS_LENGTH);
    memset(c.value, 0xff, sizeof c.value);
    CU_ASSERT_EQUAL(raft_table_put(&r.tables[2], &c), 0);
    CU_ASSERT_FALSE(net_raft_agrees(&r, KEYS));
    net_raft_close(&r);
    free(s);
}

static void a_datagram_comes_back_from_the_echoes(void)
{
    for (int has_front = 0; has_front < 2; has_front++) {
        struct net_raw r;
        const struct net_write write = {.key = "bench-k:aaaaaaa"};
        uint32_t failed = 0;
        CU_ASSERT_EQUAL_FATAL(net_raw_open(&r, &one_cpu, has_front != 0), 0);
        for (uint32_t i = 0; i < 100; i++)
            failed += net_raw_write(&r, &write, 1) != 0;
        CU_ASSERT_EQUAL(failed, 0);
        net_raw_close(&r);
    }
}

static bool is_done(const char *reply, uint32_t count, uint32_t replicas)
{
    return net_redis_is_done(reply, strlen(reply), count, replicas);
}

static void a_reply_of_redis_is_read_to_its_end(void)
{
    CU_ASSERT_TRUE(is_done("+OK\r\n:1\r\n", 1, 1));
    CU_ASSERT_TRUE(is_done("+OK\r\n+OK\r\n:2\r\n", 2, 1));
    CU_ASSERT_FALSE(is_done("+OK\r\n:0\r\n", 1, 1));
    CU_ASSERT_FALSE(is_done("+OK\r\n:1\r\n", 1, 2));
    CU_ASSERT_FALSE(is_done("+OK\r\n:1\r\n", 2, 1));
    CU_ASSERT_FALSE(is_done("-ERR\r:1\r\n", 1, 1));
    CU_ASSERT_FALSE(is_done("+OK\r\n:1\r\r", 1, 1));
    CU_ASSERT_FALSE(is_done("+OK\r\n:11\n", 1, 1));
}

/* Passes without asking anything of a Redis that is not there. */
static void redis_has_every_write_at_a_replica(void)
{
    struct net_redis r;
    int rc = net_redis_open(&r, &one_cpu);
    if (rc == -ENOENT) {
        (void)printf("skipped: no Redis on this machine\n");
    } else {
        struct net_write writes[NET_BATCH_MAX];
        memset(writes, 0, sizeof writes);
        for (uint32_t i = 0; i < NET_BATCH_MAX; i++)
            keys_text(i, writes[i].key);
        CU_ASSERT_EQUAL_FATAL(rc, 0);
        CU_ASSERT_EQUAL(net_redis_write(&r, writes, 1), 0);
        CU_ASSERT_EQUAL(net_redis_write(&r, writes, NET_BATCH_MAX), 0);
        net_end(r.pids[1]);
        net_end(r.pids[2]);
        r.pids[1] = r.pids[2] = 0;
        CU_ASSERT_NOT_EQUAL(net_redis_write(&r, writes, 1), 0); /* nobody else has it */
    }
    net_redis_close(&r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(cpus_are_numbers_with_commas),
    UNIT_TEST(options_of_the_network_are_taken_and_judged),
    UNIT_TEST(a_measurement_counts_whole_batches),
    UNIT_TEST(libraft_has_every_write_in_every_process),
    UNIT_TEST(a_datagram_comes_back_from_the_echoes),
    UNIT_TEST(a_reply_of_redis_is_read_to_its_end),
    UNIT_TEST(redis_has_every_write_at_a_replica),
};

int main(int argc, char **argv)
{
    if (mkdtemp(directory) == NULL)
        return 1;
    int code = unit_main("replicate_net", tests, sizeof tests / sizeof tests[0], argc, argv);
    static const char *const left[] = {"redis0.log",  "redis1.log",  "redis2.log",
                                       "redis0.sock", "redis1.sock", "redis2.sock"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        char path[96];
        (void)snprintf(path, sizeof path, "%s/%s", directory, left[i]);
        (void)unlink(path);
    }
    (void)rmdir(directory);
    return code;
}
