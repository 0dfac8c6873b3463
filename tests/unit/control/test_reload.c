/* The configuration read again, by hand, by a signal and by who asks at the socket; and what a service manager
 * hears meanwhile. */
#include "control/reload.h"
#include "control/reload_ask.h"
#include "control/service.h"

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT "node: {name: roost, id: 7}\nagents: {rate: %s}\nspaces:\n  - {name: open, id: %s}\n"

static struct fixture f;
static struct config running;
static struct reload reload;
static char path[96];
static int certificates_result;
static uint32_t certificates_asked;

static int certificates(void *context, FILE *errors)
{
    CU_ASSERT_PTR_EQUAL(context, &f);
    certificates_asked++;
    if (certificates_result != 0)
        (void)fprintf(errors, "certificate: bad\n");
    return certificates_result;
}

static void write_config(const char *rate, const char *space)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fprintf(file, TEXT, rate, space);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void write_text(const char *head, const char *rest)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fprintf(file, "%s%s", head, rest);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void open_all(void)
{
    fixture_open(&f);
    certificates_asked = 0;
    certificates_result = 0;
    (void)snprintf(path, sizeof path, "%s/run/yaml", f.directory);
    write_config("100", "1");
    CU_ASSERT_EQUAL_FATAL(config_load(path, &running, stderr), 0);
    reload = (struct reload){.path = path,
                             .running = &running,
                             .node = &f.node,
                             .certificates = certificates,
                             .context = &f};
}

static void close_all(void)
{
    (void)unlink(path);
    fixture_close(&f);
}

static char *text;
static size_t length;

/* text is what it reports. */
static int run(void)
{
    free(text);
    FILE *report = open_memstream(&text, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(report);
    int result = reload_run(&reload, report);
    CU_ASSERT_EQUAL(fclose(report), 0);
    return result;
}

static uint64_t rate_told(void)
{
    return atomic_load_explicit(&f.node.limit.rate, memory_order_relaxed);
}

static bool has(const char *what)
{
    return strstr(text, what) != NULL;
}

static void what_can_change_changes(void)
{
    open_all();
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT(has(": 0 changed, 0 kept, certificates: loaded\n"));
    CU_ASSERT_EQUAL(rate_told(), 0); /* nothing was to be told */
    write_config("200", "1");
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT(has("/run/yaml:2:10: agents.rate changed\n"));
    CU_ASSERT_EQUAL(rate_told(), 200);
    CU_ASSERT_EQUAL(f.node.config.agent_rate, 200);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT(has(": 0 changed, 0 kept"));
    CU_ASSERT_EQUAL(certificates_asked, 3);
    close_all();
}

static void what_cannot_is_named_again_and_again(void)
{
    open_all();
    write_config("200", "2");
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(run(), 1);
        CU_ASSERT(has("/run/yaml:4:18: spaces[0].id differs"));
    }
    CU_ASSERT_EQUAL(rate_told(), 200);
    CU_ASSERT_EQUAL(running.spaces[0].id, 1);
    certificates_result = -EINVAL;
    CU_ASSERT_EQUAL(run(), 2);
    CU_ASSERT(has("certificate: bad\n") && has("certificates: kept\n"));
    close_all();
}

/* What the nodes of a cluster keep among themselves: said, and no restart is due. */
static void what_the_cluster_keeps_needs_no_restart(void)
{
    static const char head[] =
        "node: {name: roost, id: 1}\nspaces:\n  - {name: open, id: 1}\ncluster:\n  name: flock\n"
        "  key_file: /k\n  control: {directory: /d, certificate: /c, key: /k, authority: /a}\n";
    static const char nodes[] = "  nodes:\n    - {id: 1, address: \"10.0.0.1:1\"}\n"
                                "    - {id: 2, address: \"10.0.0.2:1\"}\n";
    static const char others[] =
        "  replicas: 5\n  nodes:\n    - {id: 1, address: \"10.0.0.1:1\", zone: a}\n"
        "    - {id: 2, address: \"10.0.0.2:1\", weight: 7}\n"
        "    - {id: 3, address: \"10.0.0.3:1\"}\n";
    open_all();
    write_text(head, nodes);
    CU_ASSERT_EQUAL_FATAL(config_load(path, &running, stderr), 0);
    write_text(head, others);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT(has("cluster.replicas differs from what runs, which the nodes keep"));
    CU_ASSERT(has("cluster.nodes differs from what runs, which the nodes keep"));
    CU_ASSERT(has("cluster.nodes[0].zone differs from what runs, which the nodes keep"));
    CU_ASSERT(has("cluster.nodes[1].weight differs from what runs, which the nodes keep"));
    CU_ASSERT(has(": 0 changed, 0 kept"));
    write_text(head, "  copy_rate: 1MiB\n  nodes:\n    - {id: 1, address: \"10.0.0.1:1\"}\n"
                     "    - {id: 2, address: \"10.0.0.2:2\"}\n");
    CU_ASSERT_EQUAL(run(), 2);
    CU_ASSERT(has("cluster.copy_rate differs from what runs; it stays"));
    CU_ASSERT(has("cluster.nodes[1].address differs from what runs; it stays"));
    close_all();
}

static void a_file_with_faults_changes_nothing(void)
{
    open_all();
    write_config("many", "1");
    CU_ASSERT_EQUAL(run(), -EINVAL);
    CU_ASSERT(has("/run/yaml:2:16: 'many' for rate;") && has("nothing was changed"));
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(run(), -ENOENT);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(run(), -EINVAL);
    CU_ASSERT_EQUAL(certificates_asked, 0);
    CU_ASSERT_EQUAL(rate_told(), 0);
    reload.path = NULL;
    CU_ASSERT_EQUAL(run(), -EOPNOTSUPP);
    close_all();
}

/* ---- at the socket ---- */

static int run_asked(void *context, FILE *report)
{
    return reload_run(context, report);
}

static const struct server_reload asked = {.run = run_asked, .context = &reload};

struct child {
    bool ended;
    int status;
};

static bool has_ended(void *context)
{
    struct child *c = context;
    int now;
    if (c->ended || waitpid(-1, &now, WNOHANG) <= 0)
        return c->ended;
    *c = (struct child){true, WIFEXITED(now) ? WEXITSTATUS(now) : -1};
    return true;
}

/* Another process asks, while the loop of the server goes on.  Returns its exit status; what it said is in text. */
static int ask_as(uid_t uid)
{
    struct child asking = {false, -1};
    FILE *out = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    (void)chmod(f.directory, 0755);
    pid_t child = fork();
    if (child == 0) {
        int code = setuid(uid) == 0 ? reload_ask(f.path, out, out) : 99;
        _exit(fflush(out) == 0 ? code : 98);
    }
    CU_ASSERT(fixture_wait(&f, has_ended, &asking));
    free(text);
    text = calloc(1, 4096);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    rewind(out);
    (void)!fread(text, 1, 4095, out);
    (void)fclose(out);
    return asking.status;
}

static void who_asks_is_told_all_of_it(void)
{
    open_all();
    CU_ASSERT_EQUAL(ask_as(geteuid()), 3);
    CU_ASSERT(has("cannot read its configuration again"));
    server_set_reload(f.server, &asked);
    CU_ASSERT_EQUAL(ask_as(geteuid()), 0);
    write_config("300", "1");
    CU_ASSERT_EQUAL(ask_as(geteuid()), 0);
    CU_ASSERT(has("agents.rate changed") && has("1 changed, 0 kept"));
    CU_ASSERT_EQUAL(rate_told(), 300);
    write_config("300", "3");
    CU_ASSERT_EQUAL(ask_as(geteuid()), 1);
    write_config("-1", "3");
    CU_ASSERT_EQUAL(ask_as(geteuid()), 2);
    CU_ASSERT(has("'-1' for rate"));
    if (geteuid() == 0)
        CU_ASSERT_EQUAL(ask_as(1000), 5);
    close_all();
    CU_ASSERT_EQUAL(reload_ask("/nonexistent/socket", stdout, stderr), 3);
}

/* ---- a service ---- */

static struct service service;
static int manager;
static char manager_path[96];

static void manager_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(manager_path, sizeof manager_path, "%s/run/notify", f.directory);
    memcpy(address.sun_path, manager_path, strlen(manager_path));
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(manager, (const struct sockaddr *)&address, sizeof address), 0);
    (void)setenv("NOTIFY_SOCKET", manager_path, 1);
    (void)setenv("WATCHDOG_USEC", "40000", 1);
    CU_ASSERT_EQUAL_FATAL(service_open(&service, &f.loop, &reload), 0);
}

static void manager_close(void)
{
    service_close(&service);
    service_close(&service); /* once is enough, twice no harm */
    fixture_pump(&f);
    CU_ASSERT_EQUAL(service.handles_open, 0);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)close(manager);
    (void)unlink(manager_path);
}

struct hearing {
    const char *state;
    bool heard;
};

static bool is_heard(void *context)
{
    struct hearing *h = context;
    char heard[64] = "";
    if (!h->heard)
        (void)!recv(manager, heard, sizeof heard - 1, 0);
    h->heard = h->heard || strcmp(heard, h->state) == 0;
    return h->heard;
}

/* Whether that comes, whatever else does before. */
static bool hears(const char *state)
{
    struct hearing h = {.state = state};
    return fixture_wait(&f, is_heard, &h);
}

static void lcores_alive(uint64_t age_ns)
{
    uint64_t now = clock_ticks(f.node.clock_kind);
    uint64_t ticks = clock_ns_to_ticks(age_ns, f.node.ticks_per_s);
    for (uint32_t i = 0; i < f.node.config.lcore_count; i++)
        atomic_store_explicit(&f.node.shared->lcores[i].ticks_alive, now - ticks,
                              memory_order_relaxed);
}

static uint64_t control_silent_ns;

static uint64_t silent_ns(void *context)
{
    (void)context;
    return control_silent_ns;
}

static void a_service_says_that_it_lives_while_it_does(void)
{
    uint64_t silent;
    open_all();
    manager_open();
    CU_ASSERT_FALSE(is_heard(&(struct hearing){.state = "READY=1"}));
    lcores_alive(0);
    service_ready(&service);
    CU_ASSERT(hears("READY=1"));
    CU_ASSERT(hears("WATCHDOG=1"));
    lcores_alive(60 * NS_PER_S);
    CU_ASSERT_STRING_EQUAL(service_stuck(&service, &silent), "lcore");
    CU_ASSERT(silent >= 60 * NS_PER_S);
    lcores_alive(0);
    service.silent_ns = silent_ns;
    CU_ASSERT_PTR_NULL(service_stuck(&service, &silent));
    control_silent_ns = 60 * NS_PER_S;
    CU_ASSERT_STRING_EQUAL(service_stuck(&service, &silent), "control_log");
    CU_ASSERT_EQUAL(silent, control_silent_ns);
    service_stopping(&service);
    CU_ASSERT(hears("STOPPING=1"));
    manager_close();
    close_all();
}

static bool has_told(void *context)
{
    return rate_told() == *(uint64_t *)context;
}

static void a_hangup_is_a_reload_once_it_serves(void)
{
    uint64_t rate = 400;
    open_all();
    service_hold();
    manager_open();
    write_config("400", "1");
    CU_ASSERT_EQUAL(raise(SIGHUP), 0);
    fixture_pump(&f);
    CU_ASSERT_EQUAL(rate_told(), 0); /* held */
    service_ready(&service);
    CU_ASSERT(fixture_wait(&f, has_told, &rate));
    CU_ASSERT_EQUAL(certificates_asked, 1);
    manager_close();
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_can_change_changes),
    UNIT_TEST(what_cannot_is_named_again_and_again),
    UNIT_TEST(what_the_cluster_keeps_needs_no_restart),
    UNIT_TEST(a_file_with_faults_changes_nothing),
    UNIT_TEST(who_asks_is_told_all_of_it),
    UNIT_TEST(a_service_says_that_it_lives_while_it_does),
    UNIT_TEST(a_hangup_is_a_reload_once_it_serves),
};
UNIT_MAIN("reload", tests)
