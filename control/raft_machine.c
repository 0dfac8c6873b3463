#include "control/raft_machine.h"

#include "control/coordinator_text.h"
#include "control/logline.h"

#include <stdlib.h>
#include <string.h>

/* Why 0 for what is refused: raft has done its part, and every node refuses it alike. */
static int machine_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct raft_machine *m = fsm->data;
    struct coordinator_command command;
    int error = coordinator_command_decode(&command, buffer->base, buffer->len);
    if (error != 0) {
        m->error = -EPROTO;
        return RAFT_MALFORMED;
    }
    int64_t done = coordinator_command_apply(&m->state, &command);
    if (done == -ENOMEM)
        return RAFT_NOMEM;
    m->is_changed = m->is_changed || done > 0;
    m->applied(m->context, &command, done);
    *result = (void *)(intptr_t)done;
    return 0;
}

static int machine_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count)
{
    const struct raft_machine *m = fsm->data;
    char *text = NULL;
    size_t length = 0;
    if (m->state != NULL && coordinator_print(m->state, &text, &length) != 0)
        return RAFT_NOMEM;
    struct raft_buffer *buffer = raft_malloc(sizeof *buffer);
    void *bytes = raft_malloc(length + 1);
    if (buffer == NULL || bytes == NULL) {
        raft_free(buffer);
        raft_free(bytes);
        free(text);
        return RAFT_NOMEM;
    }
    if (length != 0)
        memcpy(bytes, text, length);
    ((char *)bytes)[length] = 0; /* as snapshots end: one of nothing is not of no bytes */
    free(text);
    *buffer = (struct raft_buffer){.base = bytes, .len = length + 1};
    *buffers = buffer;
    *count = 1;
    return 0;
}

static int machine_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    struct raft_machine *m = fsm->data;
    struct coordinator_state *s = NULL;
    struct coordinator_fault fault = {.text = ""};
    if (buffer->len == 0)
        return RAFT_MALFORMED;
    if (buffer->len > 1) {
        int error = coordinator_parse(buffer->base, buffer->len - 1, &s, &fault);
        if (error != 0) {
            log_event(LOG_ERROR, "control_snapshot_refused", LOG_ERRNO(error),
                      LOG_TEXT("where", fault.text));
            return error == -ENOMEM ? RAFT_NOMEM : RAFT_MALFORMED;
        }
    }
    free(m->state);
    m->state = s;
    m->is_changed = true;
    raft_free(buffer->base);
    return 0;
}

void raft_machine_init(struct raft_machine *m)
{
    *m = (struct raft_machine){.fsm = {.version = 1,
                                       .apply = machine_apply,
                                       .snapshot = machine_snapshot,
                                       .restore = machine_restore}};
    m->fsm.data = m;
}

void raft_machine_reset(struct raft_machine *m)
{
    free(m->state);
    m->state = NULL;
    m->error = 0;
}

struct coordinator_state *raft_machine_copy(const struct raft_machine *m)
{
    if (m->state == NULL)
        return NULL;
    size_t bytes = coordinator_state_bytes(m->state->shard_count);
    struct coordinator_state *copy = malloc(bytes);
    if (copy != NULL)
        memcpy(copy, m->state, bytes);
    return copy;
}
