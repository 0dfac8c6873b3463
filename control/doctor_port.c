/* What the port of DPDK is, by a program that opens it. */
#include "control/doctor.h"
#include "control/doctor_read.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES 4096u
#define WAIT_MS                                                                                    \
    180000 /* for small pages behind a slow IOMMU, links that come up, and the self-test */

/* ---- who has it ---- */

struct user_search {
    const char *root;
    uint32_t found;
    bool uses;
};

static bool map_take(void *context, const char *line)
{
    struct user_search *s = context;
    s->uses = strstr(line, "/dpdk/dunlin-") != NULL;
    return !s->uses;
}

static bool process_take(void *context, const char *name)
{
    struct user_search *s = context;
    char path[DOCTOR_PATH_BYTES], word[DOCTOR_NAME_BYTES];
    if (name[0] < '1' || name[0] > '9')
        return true;
    (void)snprintf(path, sizeof path, "proc/%s/comm", name);
    if (!doctor_word(s->root, path, word, sizeof word) || strcmp(word, "dunlind") != 0)
        return true;
    (void)snprintf(path, sizeof path, "proc/%s/maps", name);
    /* Why one that cannot be read counts, too: to be wrong the other way would take its port from it. */
    if (!doctor_lines(s->root, path, map_take, s) || s->uses)
        s->found = (uint32_t)strtoul(name, NULL, 10);
    return s->found == 0;
}

static uint32_t user_find(const char *root)
{
    struct user_search s = {.root = root};
    (void)doctor_entries(root, "proc", process_take, &s);
    return s.found;
}

/* ---- the answer ---- */

static void word_read(const json_t *o, const char *name, char *word, size_t bytes)
{
    const char *value = json_string_value(json_object_get(o, name));
    doctor_name(word, bytes, value != NULL ? value : "");
}

static void text_read(const json_t *o, const char *name, char *text, size_t bytes)
{
    const char *value = json_string_value(json_object_get(o, name));
    (void)snprintf(text, bytes, "%s", value != NULL ? value : "");
}

static uint32_t number_read(const json_t *o, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(o, name));
    return value > 0 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

static bool truth_read(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

void doctor_port_parse(struct doctor_port *port, const char *text)
{
    json_t *o = json_loads(text, 0, NULL);
    const json_t *chain = json_object_get(o, "chain");
    const json_t *socket = json_object_get(o, "socket");
    port->opened = json_is_string(json_object_get(o, "driver"));
    text_read(o, "step", port->step, sizeof port->step);
    text_read(o, "meaning", port->meaning, sizeof port->meaning);
    if (!port->opened && port->step[0] == '\0') {
        (void)snprintf(port->step, sizeof port->step, "program");
        (void)snprintf(port->meaning, sizeof port->meaning, "it told nothing");
    }
    word_read(o, "driver", port->driver, sizeof port->driver);
    port->mtu = number_read(o, "mtu");
    port->queues = number_read(o, "queues");
    port->speed_mbps = number_read(o, "speed_mbps");
    port->socket = json_is_integer(socket) ? (int32_t)json_integer_value(socket) : -1;
    port->huge_pages = truth_read(o, "huge_pages");
    port->multi_segs = truth_read(o, "multi_segs");
    port->sums_out = truth_read(o, "ip_out") && truth_read(o, "udp_out");
    port->sums_in = truth_read(o, "ip_in") && truth_read(o, "udp_in");
    port->steered = truth_read(o, "steered");
    port->interrupts = truth_read(o, "interrupts");
    port->link_up = truth_read(o, "link_up");
    port->chain_known = json_is_object(chain);
    port->chain_state = number_read(chain, "state");
    text_read(chain, "name", port->chain, sizeof port->chain);
    port->neighbours = number_read(chain, "neighbours_known");
    json_decref(o);
}

/* ---- the program ---- */

/* Beside this one. */
static bool program_find(char *path, size_t bytes)
{
    static const char name[] = "dunlin-port";
    ssize_t length = readlink("/proc/self/exe", path, bytes - sizeof name);
    if (length <= 0)
        return false;
    path[length] = '\0';
    char *last = strrchr(path, '/');
    if (last == NULL)
        return false;
    memcpy(last + 1, name, sizeof name);
    return access(path, X_OK) == 0;
}

static pid_t program_start(const char *path, const struct doctor_facts *facts, int out)
{
    char *arguments[6] = {(char *)path};
    uint32_t count = 1;
    if (facts->config_path != NULL) {
        arguments[count++] = "--config";
        arguments[count++] = (char *)facts->config_path;
    }
    if (facts->port.device_said) {
        arguments[count++] = "--port";
        arguments[count++] = (char *)facts->port.device;
    }
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (dup2(out, STDOUT_FILENO) >= 0)
        (void)execv(path, arguments);
    _exit(127);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* of this clock it cannot fail */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until its end, or WAIT_MS: then what it said by then. */
static void answer_read(int fd, char text[ANSWER_BYTES])
{
    size_t used = 0;
    int64_t end = now_ms() + WAIT_MS, left;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (used < ANSWER_BYTES - 1 && (left = end - now_ms()) > 0) {
        if (poll(&ready, 1, (int)left) <= 0)
            continue;
        ssize_t got = read(fd, text + used, ANSWER_BYTES - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    text[used] = '\0';
}

/* Last line of it is the answer; it is killed if it did not end. */
static bool program_ask(const struct doctor_facts *facts, char text[ANSWER_BYTES])
{
    char path[DOCTOR_PATH_BYTES];
    int ends[2];
    if (!program_find(path, sizeof path) || pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid = program_start(path, facts, ends[1]);
    (void)close(ends[1]);
    if (pid > 0) {
        answer_read(ends[0], text);
        (void)kill(pid, SIGKILL); /* one that ended does not mind */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    (void)close(ends[0]);
    return pid > 0;
}

void doctor_port_read(struct doctor_facts *facts, const char *root)
{
    char text[ANSWER_BYTES];
    struct doctor_port *port = &facts->port;
    port->asked = true;
    port->user = user_find(root);
    if (port->user != 0)
        return;
    if (!program_ask(facts, text))
        text[0] = '\0';
    doctor_port_parse(port, text);
}
