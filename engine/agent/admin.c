#include "engine/agent/agent.h"

#include <string.h>
#include <sys/mman.h>

/* One request to control and its answer, attaching first if need be.  fd: as agent_link_exchange.
 * */
static int exchange(struct dunlin *d, const struct attach_request *request,
                    struct attach_answer *answer, int *fd)
{
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    int error = agent_handle_attached(d, &w);
    if (error != 0)
        return error;
    return agent_attach_error(d, agent_link_exchange(d->now, request, answer, fd, w.deadline_ns));
}

/* A text that control makes, ended with 0.  Returns its length or -errno. */
static int64_t text_ask(struct dunlin *d, uint32_t kind, char *buffer, size_t capacity)
{
    const struct attach_request request = {.kind = kind};
    struct attach_answer answer;
    uint8_t *at = NULL;
    int fd = -1;
    if (d == NULL || (buffer == NULL && capacity != 0))
        return -EINVAL;
    int error = exchange(d, &request, &answer, &fd);
    if (error != 0)
        return error;
    error = memory_map(&at, fd, max_u64(answer.bytes, 1), MEMORY_READ_ONLY, false, NULL);
    if (error != 0)
        return error;
    if (answer.bytes < capacity) {
        memcpy(buffer, at, answer.bytes);
        buffer[answer.bytes] = 0;
    }
    (void)munmap(at, max_u64(answer.bytes, 1));
    return answer.bytes < capacity ? (int64_t)answer.bytes : -ENOBUFS;
}

int64_t dunlin_status_json(struct dunlin *handle, char *buffer, size_t capacity)
{
    return text_ask(handle, ATTACH_STATUS, buffer, capacity);
}

int64_t dunlin_nodes_json(struct dunlin *handle, char *buffer, size_t capacity)
{
    return text_ask(handle, ATTACH_NODES, buffer, capacity);
}

int64_t dunlin_shards_json(struct dunlin *handle, char *buffer, size_t capacity)
{
    return text_ask(handle, ATTACH_SHARDS, buffer, capacity);
}

int64_t dunlin_move(struct dunlin *handle, uint32_t node, const char *space, uint32_t shard)
{
    struct attach_request request = {.kind = ATTACH_MOVE, .node = node, .shard = shard};
    struct attach_answer answer;
    size_t length = space != NULL ? strlen(space) : 0;
    if (handle == NULL || node == 0 || length >= LIMIT_NAME_BYTES ||
        (shard != DUNLIN_SHARDS_ALL && (length == 0 || shard >= LIMIT_SHARDS)))
        return -EINVAL;
    if (length != 0)
        memcpy(request.space, space, length);
    int error = exchange(handle, &request, &answer, NULL);
    return error != 0 ? error : (int64_t)answer.shard_count;
}

/* ---- nodes that come and go ---- */

static int node_change(struct dunlin *d, const struct attach_request *request, const char *words)
{
    struct attach_answer answer;
    if (d == NULL || request->node == 0 ||
        (words != NULL && strnlen(words, ATTACH_WORDS_BYTES) == ATTACH_WORDS_BYTES))
        return -EINVAL;
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    int error = agent_handle_attached(d, &w);
    if (error != 0)
        return error;
    const struct attach_message message = {.request = request, .words = words};
    return agent_attach_error(d,
                              agent_link_exchange_words(d->now, &message, &answer, w.deadline_ns));
}

int dunlin_node_add(struct dunlin *handle, uint32_t node, const char *words)
{
    const struct attach_request request = {.kind = ATTACH_NODE_ADD, .node = node};
    return words == NULL ? -EINVAL : node_change(handle, &request, words);
}

int dunlin_node_drain(struct dunlin *handle, uint32_t node, int undo)
{
    const struct attach_request request = {
        .kind = undo != 0 ? ATTACH_NODE_UNDRAIN : ATTACH_NODE_DRAIN, .node = node};
    return node_change(handle, &request, NULL);
}

int dunlin_node_remove(struct dunlin *handle, uint32_t node)
{
    const struct attach_request request = {.kind = ATTACH_NODE_REMOVE, .node = node};
    return node_change(handle, &request, NULL);
}

int64_t dunlin_recover(struct dunlin *handle, const char *space, uint32_t shard, uint32_t from)
{
    struct attach_request request = {.kind = ATTACH_RECOVER, .node = from, .shard = shard};
    struct attach_answer answer;
    size_t length = space != NULL ? strlen(space) : 0;
    if (handle == NULL || length == 0 || length >= LIMIT_NAME_BYTES ||
        (shard != DUNLIN_SHARDS_ALL && shard >= LIMIT_SHARDS))
        return -EINVAL;
    memcpy(request.space, space, length);
    int error = exchange(handle, &request, &answer, NULL);
    return error != 0 ? error : (int64_t)answer.shard_count;
}

int64_t dunlin_shard(const struct dunlin_space *space, const void *key, size_t key_length)
{
    struct read_key k;
    int error = get_check_key(key, key_length);
    if (error != 0 || space == NULL)
        return error != 0 ? error : -EINVAL;
    if (!space->bound)
        return -ENOTCONN;
    read_key_init(&k, &space->read, key, key_length);
    return k.shard;
}
