#include "control/space_keeper.h"

#include "control/logline.h"
#include "control/read_all.h"
#include "control/space_words.h"
#include "dataplane/node_change.h"

#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <unistd.h>

/* ---- the file ---- */

static int file_read(struct space_keeper *k)
{
    uint8_t bytes[SPACE_LIST_BYTES_MAX + 1];
    int fd = open(k->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    ssize_t length = read_all(fd, bytes, sizeof bytes);
    (void)close(fd);
    return length < 0 ? (int)length : space_list_decode(&k->list, bytes, (uint64_t)length);
}

static int directory_sync(const struct space_keeper *k)
{
    char copy[CONFIG_PATH_BYTES];
    memcpy(copy, k->path, sizeof copy);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* Why EINVAL is none: some file systems sync no directory, and need not. */
    int error = fsync(fd) == 0 || errno == EINVAL ? 0 : -errno;
    (void)close(fd);
    return error;
}

static int bytes_write(int fd, const uint8_t *bytes, uint32_t length)
{
    for (uint32_t done = 0; done < length;) {
        ssize_t count = write(fd, bytes + done, length - done);
        if (count < 0 && errno != EINTR)
            return -errno;
        done += count > 0 ? (uint32_t)count : 0;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Source: Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014). */
static int file_write(const struct space_keeper *k, const struct space_list *list)
{
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    uint32_t length = space_list_encode(list, bytes);
    (void)unlink(k->path_new);
    int fd = open(k->path_new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int error = bytes_write(fd, bytes, length);
    (void)close(fd);
    if (error == 0 && rename(k->path_new, k->path) != 0)
        error = -errno;
    if (error != 0)
        (void)unlink(k->path_new);
    return error != 0 ? error : directory_sync(k);
}

static int list_replace(struct space_keeper *k, const struct space_list *next)
{
    int error = file_write(k, next);
    if (error == 0)
        k->list = *next;
    return error;
}

/* ---- what is asked for ---- */

int space_keeper_policy(const struct space_list *l, const struct node *node, const char *name,
                        struct space_config *config)
{
    const struct space_entry *e = space_list_find(l, name);
    if (e == NULL)
        return node_space_find(node, name) != NULL ? -EPERM : -ENOENT;
    *config = e->config;
    return 0;
}

static uint64_t lsn_highest(const struct node_space *s)
{
    uint64_t highest = s->lsn_start;
    for (uint32_t i = 0; i < s->config.shard_count; i++)
        /* relaxed: no lcore has it any more */
        highest =
            max_u64(highest, atomic_load_explicit(&s->boards[i].lsn_end, memory_order_relaxed));
    return highest;
}

static int create(void *context, const struct space_config *config)
{
    struct space_keeper *k = context;
    struct space_list next = k->list;
    if (node_space_find(k->node, config->name) != NULL)
        return -EEXIST;
    int id = space_list_create(&next, config, k->node->lsn_start, k->taken);
    if (id < 0)
        return id;
    (void)space_list_serve(&next, (uint32_t)id);
    const struct space_entry *e = space_list_at(&next, (uint32_t)id);
    int error = list_replace(k, &next);
    if (error == 0)
        error = node_space_add_online(k->node, &e->config, e->lsn_start, k->own_uid);
    if (error == 0) {
        log_event(LOG_INFO, "space_created", LOG_TEXT("space", config->name), LOG_NUMBER("id", id),
                  LOG_TEXT("node", k->node->config.name));
        return id;
    }
    /* Why the result does not matter: a restart meets the same lack, or makes it. */
    if (space_list_drop(&next, (uint32_t)id) == 0 && space_list_forget(&next, (uint32_t)id))
        (void)!list_replace(k, &next);
    return error;
}

static int alter(void *context, const char *name, const char *words)
{
    struct space_keeper *k = context;
    char fault[SPACE_WORDS_FAULT_BYTES];
    struct space_list next = k->list;
    struct space_config config;
    int error = space_keeper_policy(&k->list, k->node, name, &config);
    if (error == 0)
        error = space_words_apply(&config, words, SPACE_WORDS_ALTER, fault);
    if (error == 0)
        error = space_list_alter(&next, &config);
    if (error == 0)
        error = list_replace(k, &next);
    if (error != 0)
        return error;
    node_space_alter(k->node, k->node->spaces[config.id], &config, k->own_uid);
    log_event(LOG_INFO, "space_altered", LOG_TEXT("space", name),
              LOG_TEXT("node", k->node->config.name));
    return (int)config.id;
}

static int drop(void *context, const char *name)
{
    struct space_keeper *k = context;
    struct space_list next = k->list;
    struct space_config config;
    int error = space_keeper_policy(&k->list, k->node, name, &config);
    if (error != 0)
        return error;
    struct node_space *s = k->node->spaces[config.id];
    error = space_list_drop(&next, config.id);
    if (error == 0 && space_list_forget(&next, config.id)) {
        /* Why room for more: its logs grow until the lcores have let go of it. */
        next.lsn_floor = max_u64(next.lsn_floor, lsn_highest(s) + NODE_LSN_GRANT / 4);
        error = list_replace(k, &next);
    }
    if (error != 0)
        return error;
    node_space_drop(k->node, s, k->own_uid);
    log_event(LOG_INFO, "space_dropped", LOG_TEXT("space", name),
              LOG_TEXT("node", k->node->config.name));
    return (int)config.id;
}

/* ---- open and join ---- */

static uint32_t conflicts_report(const struct space_keeper *k, const struct config *config,
                                 FILE *errors)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->space_count; i++) {
        const struct space_config *c = &config->spaces[i];
        const struct space_entry *e = space_list_find(&k->list, c->name);
        if (e == NULL)
            e = space_list_at(&k->list, c->id);
        if (e == NULL)
            continue;
        (void)fprintf(errors,
                      "%s: it has a space '%s' with the id %u, made while the daemon ran; the "
                      "configuration has '%s' with %u: give that another name and id, or drop the "
                      "other one first\n",
                      k->path, e->config.name, e->config.id, c->name, c->id);
        count++;
    }
    return count;
}

int space_keeper_open(struct space_keeper *k, const struct config *config, FILE *errors)
{
    *k = (struct space_keeper){.own_uid = (uint32_t)geteuid()};
    k->admin = (struct server_spaces){.create = create, .alter = alter, .drop = drop, .context = k};
    (void)snprintf(k->path, sizeof k->path, "%s.spaces", config->socket_path);
    (void)snprintf(k->path_new, sizeof k->path_new, "%s.spaces.new", config->socket_path);
    for (uint32_t i = 0; i < config->space_count; i++)
        k->taken |= UINT64_C(1) << (config->spaces[i].id - 1);
    int error = file_read(k);
    if (error != 0)
        (void)fprintf(errors, "%s: the spaces that were made while the daemon ran: %s\n", k->path,
                      error == -EBADMSG ? "it is damaged, or no such file" : strerror(-error));
    else if (conflicts_report(k, config, errors) != 0)
        error = -EEXIST;
    return error;
}

int space_keeper_join(struct space_keeper *k, struct node *node)
{
    k->node = node;
    for (uint32_t i = 0; i < k->list.count; i++) {
        int error = node_space_add(node, &k->list.entries[i].config);
        if (error != 0) {
            log_event(LOG_ERROR, "space_failed", LOG_TEXT("space", k->list.entries[i].config.name),
                      LOG_ERRNO(error), LOG_TEXT("node", node->config.name));
            return error;
        }
    }
    return 0;
}
