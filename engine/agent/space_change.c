/* Spaces that come and go while an agent is attached. */
#include "engine/agent/agent.h"

#include <stdlib.h>
#include <string.h>

/* ---- one that was dropped ---- */

bool agent_space_gone(struct dunlin_space *space)
{
    const struct mapping *m = &space->handle->now->mappings[space->number];
    if (m->header == NULL)
        return false;
    /* acquire: stored before any board gave up its right to read (node_change.c) */
    if (atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&m->header->dropped,
                             memory_order_acquire) == 0)
        return false;
    space->bound = false;
    return true;
}

int agent_space_error(struct dunlin_space *space, uint32_t status)
{
    bool gone = status == RING_UNAVAILABLE && space != NULL && agent_space_gone(space);
    return gone ? -ENOENT : agent_status_error(status);
}

/* Why not while it opens: the answer to that would be taken for the next session's. */
static bool is_answered(const struct agent_session *s)
{
    return s->sent == 0 && s->state != SESSION_OPENING && s->state != SESSION_CLOSING;
}

void agent_space_unsent(struct agent_session *s)
{
    if (is_answered(s))
        agent_session_fail_all(s->space->handle, s, -ENOENT);
}

static bool is_quiet(const struct dunlin_space *space)
{
    bool quiet = true;
    for (uint32_t shard = 0; shard < space->session_count; shard++)
        quiet = quiet && is_answered(&space->sessions[shard]);
    return quiet;
}

/* Why what is mapped of it stays so until the attachment goes: a view or a scan may still be in it. */
bool agent_space_leave(struct dunlin_space *space)
{
    struct dunlin *d = space->handle;
    struct mapping *m = &d->now->mappings[space->number];
    if (m->header == NULL)
        return true;
    agent_complete_all(d);
    struct mapping_left *left = is_quiet(space) ? malloc(sizeof *left) : NULL;
    if (left == NULL)
        return false;
    *left = (struct mapping_left){.mapping = *m, .next = d->now->left};
    d->now->left = left;
    *m = (struct mapping){.header = NULL};
    agent_space_bind(space, d->now);
    for (uint32_t shard = 0; shard < space->session_count; shard++)
        agent_session_fail_all(d, &space->sessions[shard], -ENOENT);
    agent_policy_give_up(space);
    return true;
}

void agent_space_left_free(struct attachment *a)
{
    while (a->left != NULL) {
        struct mapping_left *left = a->left;
        a->left = left->next;
        agent_space_unmap(&left->mapping);
        free(left);
    }
}

/* ---- what administrators ask for ---- */

static int change(struct dunlin *d, struct attach_request *request, const char *name,
                  const char *words)
{
    struct attach_answer answer;
    if (d == NULL || name == NULL || name[0] == 0 || strlen(name) >= LIMIT_NAME_BYTES ||
        (words != NULL && strlen(words) >= ATTACH_WORDS_BYTES))
        return -EINVAL;
    memcpy(request->space, name, strlen(name));
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    int error = agent_handle_attached(d, &w);
    if (error != 0)
        return error;
    const struct attach_message message = {.request = request, .words = words};
    error =
        agent_attach_error(d, agent_link_exchange_words(d->now, &message, &answer, w.deadline_ns));
    return error != 0 ? error : (int)answer.space_id;
}

int dunlin_space_create(struct dunlin *handle, const char *name, uint32_t id, const char *words)
{
    struct attach_request request = {.kind = ATTACH_SPACE_CREATE, .space_id = id};
    return words == NULL || id > LIMIT_SPACES ? -EINVAL : change(handle, &request, name, words);
}

int dunlin_space_alter(struct dunlin *handle, const char *name, const char *words)
{
    struct attach_request request = {.kind = ATTACH_SPACE_ALTER};
    return words == NULL ? -EINVAL : change(handle, &request, name, words);
}

int dunlin_space_drop(struct dunlin *handle, const char *name)
{
    struct attach_request request = {.kind = ATTACH_SPACE_DROP};
    return change(handle, &request, name, NULL);
}
