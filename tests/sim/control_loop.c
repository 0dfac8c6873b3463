/* What the product asks of libuv, of threads, descriptors and clocks: control_seams.h. */
#include "tests/sim/control_seams.h"
#include "tests/sim/control_world.h"

#include "control/logline.h"
#include "tests/unit/engine/coroutine.h"

#include <stdio.h>

#define LATE_NS UINT64_C(200000) /* a timer is, by up to */

static struct control_process *own(void)
{
    ASSERT(control_world->current != NULL);
    return control_world->current;
}

static struct control_node *own_node(void)
{
    return &control_world->nodes[own()->node];
}

/* ---- clock and random numbers ---- */

uint64_t seam_clock_ns(void)
{
    return control_clock_ns(own_node());
}

ssize_t seam_random(void *bytes, size_t length)
{
    uint64_t random = control_random();
    ASSERT(length <= sizeof random);
    memcpy(bytes, &random, length);
    return (ssize_t)length;
}

/* ---- the thread ---- */

static void on_resume(const struct control_event *e)
{
    struct control_process *p = own();
    (void)e;
    p->is_woken = false;
    if (coroutine_resume(p->thread))
        return;
    coroutine_free(p->thread);
    p->thread = NULL;
}

static void on_slept(const struct control_event *e)
{
    if (e->number == own()->sleeps)
        on_resume(e);
}

void control_thread_wake(struct control_process *p)
{
    if (p->is_woken)
        return;
    p->is_woken = true;
    control_event_add(
        &(struct control_event){.at_ns = control_world->now_ns + control_below(100000),
                                .process = p->uid,
                                .node = p->node,
                                .run = on_resume});
}

void control_thread_sleep(struct control_process *p, uint64_t ns)
{
    const struct control_node *n = own_node();
    p->sleeps++;
    control_event_add(
        &(struct control_event){.at_ns = control_clock_at(n, control_clock_ns(n) + ns),
                                .process = p->uid,
                                .node = p->node,
                                .run = on_slept,
                                .number = p->sleeps});
    coroutine_yield(p->thread);
    p->sleeps++;
    p->is_signalled = false;
}

void seam_cond_wait(void)
{
    coroutine_yield(own()->thread);
}

void seam_cond_broadcast(void)
{
    control_thread_wake(own());
}

int seam_eventfd(void)
{
    return 3;
}

ssize_t seam_fd_write(void)
{
    own()->is_signalled = true;
    control_thread_wake(own());
    return sizeof(uint64_t);
}

/* ---- handles ---- */

static struct control_handle *find(const void *handle)
{
    struct control_process *p = own();
    uint32_t i = 0;
    while (i < CONTROL_HANDLES_MAX && p->handles[i].handle != handle)
        i++;
    ASSERT(i < CONTROL_HANDLES_MAX);
    return &p->handles[i];
}

void seam_handle_init(void *handle)
{
    *find(NULL) = (struct control_handle){.handle = handle};
}

void seam_loop_init(uv_loop_t *loop)
{
    (void)loop; /* the process has one */
}

static bool is_loop_over(const struct control_process *p)
{
    for (uint32_t i = 0; i < CONTROL_HANDLES_MAX; i++)
        if (p->handles[i].handle != NULL)
            return false;
    return p->net == NULL && p->disk == NULL;
}

int seam_loop_close(void)
{
    return is_loop_over(own()) ? 0 : -EBUSY;
}

void seam_thread_join(void)
{
    while (!is_loop_over(own()))
        coroutine_yield(own()->thread);
    control_process_forget(own());
}

void seam_async_init(uv_async_t *handle, uv_async_cb callback)
{
    seam_handle_init(handle);
    struct control_handle *h = find(handle);
    h->kind = HANDLE_ASYNC;
    h->async = callback;
}

static void on_async(const struct control_event *e)
{
    for (uint32_t i = 0; i < CONTROL_HANDLES_MAX; i++) {
        struct control_handle *h = &own()->handles[i];
        if (h->handle != NULL && h->kind == HANDLE_ASYNC && h->is_active && !h->is_closing) {
            h->is_active = false;
            h->async(h->handle);
        }
    }
    (void)e;
}

/* One that was sent already is sent. */
void seam_async_send(uv_async_t *handle)
{
    struct control_handle *h = find(handle);
    if (h->is_active)
        return;
    h->is_active = true;
    control_event_own(control_below(50000), on_async, 0);
}

void seam_check_start(uv_check_t *handle, uv_check_cb callback)
{
    struct control_handle *h = find(handle);
    h->kind = HANDLE_CHECK;
    h->is_active = true;
    h->check = callback;
}

static void on_timer(const struct control_event *e)
{
    for (uint32_t i = 0; i < CONTROL_HANDLES_MAX; i++) {
        struct control_handle *h = &own()->handles[i];
        if (h->handle == NULL || h->kind != HANDLE_TIMER || h->generation != e->number)
            continue;
        if (!h->is_active || h->is_closing)
            return;
        h->is_active = false;
        if (h->repeat_ms != 0)
            seam_timer_start(h->handle, h->timer, h->repeat_ms, h->repeat_ms);
        h->timer(h->handle);
        return;
    }
}

void seam_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t timeout_ms,
                      uint64_t repeat_ms)
{
    struct control_handle *h = find(handle);
    struct control_process *p = own();
    uint64_t due_ms = seam_clock_ns() / NS_PER_MS + timeout_ms;
    h->kind = HANDLE_TIMER;
    h->is_active = true;
    h->timer = callback;
    h->repeat_ms = repeat_ms;
    h->generation = ++p->generation;
    h->due_ms = due_ms;
    uint64_t at = control_clock_at(own_node(), due_ms * NS_PER_MS) + control_below(LATE_NS);
    if (!control_world->is_quiet && control_chance(1))
        at += control_below(20 * NS_PER_MS); /* others run on the machine */
    control_event_add(&(struct control_event){.at_ns = at,
                                              .process = p->uid,
                                              .node = p->node,
                                              .is_loop = true,
                                              .run = on_timer,
                                              .number = h->generation});
}

void seam_timer_stop(uv_timer_t *handle)
{
    find(handle)->is_active = false;
}

uint64_t seam_timer_due_in(const uv_timer_t *handle)
{
    const struct control_handle *h = find(handle);
    uint64_t now_ms = seam_clock_ns() / NS_PER_MS;
    return h->is_active && h->due_ms > now_ms ? h->due_ms - now_ms : 0;
}

static void on_nothing(const struct control_event *e)
{
    (void)e; /* the end of the turn is what it is about */
}

void seam_close(uv_handle_t *handle, uv_close_cb callback)
{
    struct control_handle *h = find(handle);
    ASSERT(!h->is_closing);
    h->is_closing = true;
    h->is_active = false;
    h->closed = callback;
    control_event_own(0, on_nothing, 0);
}

/* As a loop's turn ends: checks, then handles that close. */
void control_loop_turn_end(struct control_process *p)
{
    for (uint32_t i = 0; i < CONTROL_HANDLES_MAX; i++) {
        struct control_handle *h = &p->handles[i];
        if (h->handle != NULL && h->kind == HANDLE_CHECK && h->is_active)
            h->check(h->handle);
    }
    for (uint32_t i = 0; i < CONTROL_HANDLES_MAX; i++) {
        struct control_handle *h = &p->handles[i];
        if (h->handle == NULL || !h->is_closing)
            continue;
        const struct control_handle closed = *h;
        *h = (struct control_handle){.handle = NULL};
        if (closed.closed != NULL)
            closed.closed(closed.handle);
    }
    if (is_loop_over(p))
        control_thread_wake(p);
}

/* ---- what the checks look at ---- */

void seam_voter_init(struct leader_lease_voter *v, const struct leader_lease_voter_config *config,
                     uint64_t now)
{
    leader_lease_voter_init(v, config, now);
    own()->voter = v;
}

void seam_holder_init(struct leader_lease_holder *h)
{
    own()->holder = h;
}

void seam_machine_init(struct raft_machine *m)
{
    own()->machine = m;
}

int seam_raft_init(struct raft *r, struct raft_io *io, struct raft_fsm *fsm, raft_id id,
                   const char *address)
{
    struct control_process *p = own();
    p->raft = r;
    p->sequence = 0;
    if (p->reboots++ != 0)
        control_count(CONTROL_REOPENED);
    return raft_init(r, io, fsm, id, address);
}

/* ---- lines of the log ---- */

void logline_write(enum log_level level, const char *event, const struct log_field *fields,
                   size_t count)
{
    char text[400];
    size_t at = 0;
    (void)level;
    for (size_t i = 0; i < count && at < sizeof text - 1; i++) {
        const struct log_field *f = &fields[i];
        int n =
            f->text != NULL
                ? snprintf(text + at, sizeof text - at, " %s=\"%s\"", f->name, f->text)
                : snprintf(text + at, sizeof text - at, " %s=%lld", f->name, (long long)f->number);
        at = min_u64(sizeof text - 1, at + (size_t)n);
    }
    text[at] = 0;
    control_trace("%s%s", event, text);
    if (strcmp(event, "control_member") == 0 && strcmp(fields[1].text, "voter") == 0)
        control_count(CONTROL_VOTERS_MADE);
    if (strcmp(event, "control_member") == 0 && strcmp(fields[1].text, "removed") == 0)
        control_count(CONTROL_MEMBERS_REMOVED);
    if (strcmp(event, "control_leader") == 0 && count != 0 && fields[0].number != 0)
        control_count(CONTROL_LEADERS);
}
