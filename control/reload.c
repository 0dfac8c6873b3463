#include "control/reload.h"

#include "control/config_differ.h"
#include "control/logline.h"
#include "control/read_all.h"
#include "dataplane/agent_rate.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reloading {
    struct reload *reload;
    FILE *report; /* NULL: none */
    const uint8_t *bytes;
    size_t size;
    int changed, kept;
};

/* ---- the file ---- */

/* To be freed; NULL: *error says why. */
static uint8_t *file_read(const char *path, size_t *size, int *error)
{
    struct stat st;
    uint8_t *bytes = NULL;
    /* Why O_NONBLOCK: a FIFO without a writer would hold us for ever before it could be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *error = fd < 0 || fstat(fd, &st) != 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    if (*error == 0)
        bytes = malloc(CONFIG_FILE_BYTES_MAX + 1);
    if (bytes != NULL) {
        ssize_t n = read_all(fd, bytes, CONFIG_FILE_BYTES_MAX + 1);
        *error = n < 0 ? (int)n : 0;
        *size = n < 0 ? 0 : (size_t)n;
    } else if (*error == 0) {
        *error = -ENOMEM;
    }
    if (fd >= 0)
        (void)close(fd);
    if (*error == 0)
        return bytes;
    free(bytes);
    return NULL;
}

static int failed(const struct reload *r, FILE *report, int error)
{
    log_event(LOG_ERROR, "reload_failed", LOG_TEXT("path", r->path), LOG_ERRNO(error),
              LOG_TEXT("node", r->node->config.name));
    if (report != NULL)
        (void)fprintf(report, "%s: nothing was changed\n", r->path);
    return error;
}

/* ---- what differs ---- */

static bool is_agents(const char *key)
{
    return strncmp(key, "agents.", strlen("agents.")) == 0;
}

static bool ends_with(const char *key, const char *end)
{
    size_t length = strlen(key), tail = strlen(end);
    return length >= tail && strcmp(key + length - tail, end) == 0;
}

/* What a cluster takes from the configurations when it begins; from then on it is the nodes' own. */
static bool is_clusters(const char *key)
{
    const char *nodes = "cluster.nodes";
    if (strcmp(key, nodes) == 0 || strcmp(key, "cluster.replicas") == 0)
        return true;
    return strncmp(key, nodes, strlen(nodes)) == 0 &&
           (ends_with(key, "].zone") || ends_with(key, "].weight"));
}

static void on_difference(void *context, const char *key)
{
    struct reloading *r = context;
    struct config_place at;
    /* Why the result does not matter: without memory the place is 0:0, and the key is named all the same. */
    (void)!config_locate(r->bytes, r->size, key, &at);
    bool is_changed = is_agents(key), is_kept = !is_changed && !is_clusters(key);
    r->changed += is_changed ? 1 : 0;
    r->kept += is_kept ? 1 : 0;
    if (r->report != NULL)
        (void)fprintf(r->report, "%s:%zu:%zu: %s %s\n", r->reload->path, at.line, at.column, key,
                      is_changed ? "changed"
                      : is_kept  ? "differs from what runs; it stays as it was until a restart"
                                 : "differs from what runs, which the nodes keep among themselves");
    if (is_kept)
        log_event(LOG_WARN, "reload_kept", LOG_TEXT("key", key), LOG_NUMBER("line", at.line),
                  LOG_TEXT("node", r->reload->node->config.name));
}

static void agents_change(struct reload *r, const struct config *fresh)
{
    const struct node_config *now = &fresh->node;
    r->running->node.agent_rate = now->agent_rate;
    r->running->node.agent_burst = now->agent_burst;
    r->running->node.agents_all = now->agents_all;
    agent_rate_set(r->node, now->agent_rate, now->agent_burst, now->agents_all);
}

/* The word for the sum. */
static const char *certificates_load(struct reloading *r)
{
    const struct reload *reload = r->reload;
    if (reload->certificates == NULL)
        return "none";
    FILE *errors = r->report != NULL ? r->report : stderr;
    int error = reload->certificates(reload->context, errors);
    r->kept += error != 0 ? 1 : 0;
    return error == 0 ? "loaded" : "kept";
}

static int change(struct reloading *r)
{
    struct config fresh;
    struct reload *reload = r->reload;
    int error = config_parse(reload->path, r->bytes, r->size, &fresh,
                             r->report != NULL ? r->report : stderr);
    if (error != 0)
        return failed(reload, r->report, error);
    config_differ(reload->running, &fresh, on_difference, r);
    if (r->changed != 0)
        agents_change(reload, &fresh);
    const char *certificates = certificates_load(r);
    log_event(LOG_INFO, "reloaded", LOG_TEXT("path", reload->path),
              LOG_NUMBER("changed", r->changed), LOG_NUMBER("kept", r->kept),
              LOG_TEXT("certificates", certificates), LOG_TEXT("node", reload->node->config.name));
    if (r->report != NULL)
        (void)fprintf(r->report, "%s: %d changed, %d kept, certificates: %s\n", reload->path,
                      r->changed, r->kept, certificates);
    return r->kept;
}

int reload_run(struct reload *r, FILE *report)
{
    int error = -EOPNOTSUPP;
    struct reloading reloading = {.reload = r, .report = report};
    if (r->path == NULL)
        return error;
    uint8_t *bytes = file_read(r->path, &reloading.size, &error);
    if (bytes == NULL)
        return failed(r, report, error);
    reloading.bytes = bytes;
    int result = change(&reloading);
    free(bytes);
    return result;
}
