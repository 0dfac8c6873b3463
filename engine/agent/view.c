#include "engine/agent/agent.h"

#include <string.h>

/* What dunlin_view.internal holds. */
enum { VIEW_ATTACHMENT, VIEW_PIN, VIEW_FRAME, VIEW_STAMP };

static int pin_free(const struct attachment *a)
{
    for (int pin = 0; pin < (int)LIMIT_PINS; pin++)
        if ((a->pins_held & 1u << pin) == 0)
            return pin;
    return -EAGAIN;
}

static void pin_store(struct attachment *a, int pin, uint64_t word)
{
    /* release, so that what was read through a view is read before its pin ends; V1 has its own
     * fence */
    atomic_store_explicit(&a->pins->pin[pin], word, memory_order_release);
}

static const struct layout_frame *frame_of(const struct dunlin_space *space, uint64_t frame)
{
    return &space->read.directory[frame];
}

static uint64_t stamp_of(const struct layout_frame *frame)
{
    /* relaxed: V1 and the fence in dunlin_release order it */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&frame->stamp, memory_order_relaxed);
}

#define VIEW_AGAIN 1
#define VIEW_MAP 2
#define VIEW_LEASE 3

/* One attempt: find, pin, then see that the pin came in time.  Returns 0 (pinned), -ENOENT, -ESTALE
 * (pinned, unless there is no value), or VIEW_*.
 * Why the clock first: the pin lapses view_ns after its segment began to retire, which is later. */
static int view_once(struct dunlin_space *space, const struct read_key *k, int pin, bool leased,
                     struct dunlin_view *view)
{
    struct attachment *a = space->handle->now;
    const struct read_space *s = &space->read;
    struct read_point p;
    struct read_found found;
    view->deadline_ns = clock_boottime_ns() + a->node->view_ns;
    read_begin(&p, s, k->shard);
    int result = read_find(&p, s, k, &found);
    if (result < 0)
        return result == -EFAULT ? VIEW_MAP : VIEW_AGAIN;
    if (result == 1) {
        pin_store(a, pin, ring_pin_make(space->id, found.frame));
        atomic_thread_fence(memory_order_seq_cst); /* V1 */
    }
    if (!read_validate(&p, s, result == 0) ||
        (result == 1 && !read_pin_holds(&p, s, found.frame))) {
        pin_store(a, pin, 0);
        space->reads_retried++;
        return VIEW_AGAIN;
    }
    view->value = NULL;
    view->read.length = 0;
    view->read.version = (struct dunlin_version){0};
    view->read.epoch = get_epoch(&p);
    if (result == 1) {
        a->pins_held |= 1u << pin; /* before judging, which may find another daemon */
        view->value = found.value;
        view->read.length = found.value_length;
        view->read.version = (struct dunlin_version){.log = p.board->log, .lsn = found.lsn};
        const struct layout_frame *frame = frame_of(space, found.frame);
        view->internal[VIEW_ATTACHMENT] = (uintptr_t)a;
        view->internal[VIEW_PIN] = (uint64_t)pin;
        view->internal[VIEW_FRAME] = (uintptr_t)frame;
        view->internal[VIEW_STAMP] = stamp_of(frame);
    }
    int judged = 0;
    if (leased)
        judged = agent_get_judge(space, &p, &view->read);
    if (judged == -EAGAIN) {
        if (result == 1)
            a->pins_held &= ~(1u << pin);
        pin_store(a, pin, 0);
        return VIEW_LEASE;
    }
    space->reads_in_place += 1;
    return result == 1 || judged != 0 ? judged : -ENOENT;
}

/* No lease: have the owner answer, then look in place.  What its answer reflects is committed, so
 * the board shows it.  Returns VIEW_AGAIN, or -ENOTCONN. */
static int view_unleased(struct dunlin_space *space, const struct read_key *k)
{
    struct dunlin *d = space->handle;
    const struct get_target nowhere = {.capacity = 0};
    struct dunlin_read read;
    if (!agent_attach_look(d))
        return -ENOTCONN;
    agent_attach_clock(d, d->now);
    int error = agent_ask_get(space, k, &nowhere, &read);
    return error == 0 || error == -ENOENT || error == -ENOBUFS ? VIEW_AGAIN : error;
}

int dunlin_view(struct dunlin_space *space, const void *key, size_t key_length,
                struct dunlin_view *view)
{
    int error = get_check_key(key, key_length);
    if (error != 0 || space == NULL || view == NULL)
        return error != 0 ? error : -EINVAL;
    uint64_t attached_count = space->handle->attached_count;
    bool leased = true;
    view->internal[VIEW_ATTACHMENT] = 0;
    for (unsigned i = 0; i < LIMIT_READ_RETRIES; i++) {
        struct read_key k;
        int result = space->bound ? 0 : agent_space_again(space);
        if (result != 0)
            return result;
        int pin = pin_free(space->handle->now);
        if (pin < 0)
            return pin;
        read_key_init(&k, &space->read, key, key_length);
        /* An answer of the daemon before says nothing of this one. */
        leased = leased || space->handle->attached_count != attached_count;
        result = view_once(space, &k, pin, leased, view);
        if (result == VIEW_MAP && agent_space_map_more(space) != 0)
            return agent_attached(space->handle) ? -EAGAIN : -ENOTCONN;
        if (result == VIEW_LEASE) {
            attached_count = space->handle->attached_count;
            result = view_unleased(space, &k);
            leased = false;
        }
        if (result <= 0)
            return result;
    }
    return -EAGAIN;
}

int dunlin_release(struct dunlin_space *space, struct dunlin_view *view)
{
    if (space == NULL || view == NULL || view->internal[VIEW_ATTACHMENT] == 0)
        return -EINVAL;
    struct attachment *a = (void *)(uintptr_t)view->internal[VIEW_ATTACHMENT];
    const struct layout_frame *frame = (const void *)(uintptr_t)view->internal[VIEW_FRAME];
    int pin = (int)view->internal[VIEW_PIN];
    /* What was read through the view was read before the stamp is (as R5). */
    atomic_thread_fence(memory_order_acquire);
    bool good = stamp_of(frame) == view->internal[VIEW_STAMP];
    pin_store(a, pin, 0);
    a->pins_held &= ~(1u << pin);
    view->value = NULL;
    memset(view->internal, 0, sizeof view->internal);
    agent_attach_view_gone(space->handle, a);
    return good ? 0 : -ESTALE;
}
