#include "control/raft_calls.h"

#include "engine/clock.h"

#include <pthread.h>
#include <stdlib.h>

struct call {
    struct raft_proposal proposal; /* its data is the call */
    struct raft_calls *calls;
    struct call *next; /* that the loop has not taken */
    uint8_t *bytes;
    bool is_waited_for;
    /* under the mutex */
    bool is_done;
    int status;
    int64_t result;
};

struct raft_calls {
    void (*wake_loop)(void *context);
    void (*wake_control)(void *context);
    void *context;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t ended;  /* a call that is waited for */
    struct call *first;
    bool is_submitted; /* one that is not waited for is under way */
};

static void call_free(struct call *call)
{
    free(call->bytes);
    free(call);
}

static void on_done(struct raft_proposal *p, int status, int64_t result)
{
    struct call *call = p->data;
    struct raft_calls *c = call->calls;
    bool is_waited_for = call->is_waited_for;
    pthread_mutex_lock(&c->mutex);
    call->status = status;
    call->result = result;
    call->is_done = true;
    c->is_submitted = c->is_submitted && is_waited_for;
    if (is_waited_for)
        pthread_cond_broadcast(&c->ended);
    pthread_mutex_unlock(&c->mutex);
    if (is_waited_for)
        return; /* it is the waiter's */
    call_free(call);
    c->wake_control(c->context);
}

static struct call *call_make(struct raft_calls *c, const struct coordinator_command *command,
                              uint64_t wait_ns)
{
    size_t length = coordinator_command_bytes(command);
    struct call *call = calloc(1, sizeof *call);
    uint8_t *bytes = malloc(length);
    if (call == NULL || bytes == NULL) {
        free(call);
        free(bytes);
        return NULL;
    }
    coordinator_command_encode(command, bytes);
    call->proposal = (struct raft_proposal){.bytes = bytes,
                                            .length = length,
                                            .deadline_ns = clock_boottime_ns() + wait_ns,
                                            .done = on_done,
                                            .data = call};
    call->calls = c;
    call->bytes = bytes;
    return call;
}

/* Under the mutex. */
static void hand_over(struct raft_calls *c, struct call *call)
{
    call->next = c->first;
    c->first = call;
    c->wake_loop(c->context);
}

int raft_calls_submit(struct raft_calls *c, const struct coordinator_command *command,
                      uint64_t wait_ns)
{
    struct call *call = call_make(c, command, wait_ns);
    if (call == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&c->mutex);
    bool is_busy = c->is_submitted;
    c->is_submitted = true;
    if (!is_busy)
        hand_over(c, call);
    pthread_mutex_unlock(&c->mutex);
    if (is_busy)
        call_free(call);
    return is_busy ? -EBUSY : 0;
}

int64_t raft_calls_ask(struct raft_calls *c, const struct coordinator_command *command,
                       uint64_t wait_ns)
{
    struct call *call = call_make(c, command, wait_ns);
    if (call == NULL)
        return -ENOMEM;
    call->is_waited_for = true;
    pthread_mutex_lock(&c->mutex);
    hand_over(c, call);
    /* The loop ends each at its deadline, so this waits for no longer. */
    while (!call->is_done)
        pthread_cond_wait(&c->ended, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    int64_t result = call->status != 0 ? call->status : call->result;
    call_free(call);
    return result == -ESHUTDOWN ? -ETIMEDOUT : result;
}

void raft_calls_take(struct raft_calls *c, struct raft_proposals *proposals)
{
    pthread_mutex_lock(&c->mutex);
    struct call *call = c->first;
    c->first = NULL;
    pthread_mutex_unlock(&c->mutex);
    while (call != NULL) {
        struct call *next = call->next; /* it may be done, and gone, before we look again */
        raft_proposals_add(proposals, &call->proposal);
        call = next;
    }
}

int raft_calls_open(struct raft_calls **calls, void (*wake_loop)(void *context),
                    void (*wake_control)(void *context), void *context)
{
    struct raft_calls *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->wake_loop = wake_loop;
    c->wake_control = wake_control;
    c->context = context;
    int error = pthread_mutex_init(&c->mutex, NULL);
    if (error == 0)
        error = pthread_cond_init(&c->ended, NULL);
    if (error != 0) {
        free(c);
        return -error;
    }
    *calls = c;
    return 0;
}

void raft_calls_close(struct raft_calls *c)
{
    if (c == NULL)
        return;
    ASSERT(c->first == NULL && !c->is_submitted);
    (void)pthread_cond_destroy(&c->ended);
    (void)pthread_mutex_destroy(&c->mutex);
    free(c);
}
