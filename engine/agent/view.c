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
#define VIEW_WAIT 4

/* One attempt: find, pin, then see that the pin came in time.  floor: 0, or what is seen at or above it is
 * new enough.  Returns 0 (pinned), -ENOENT, -ESTALE (pinned, unless there is no value), or VIEW_*.
 * Why the clock first: the pin lapses view_ns after its segment began to retire, which is later. */
static int view_once(struct dunlin_space *space, const struct read_key *k, int pin, uint64_t floor,
                     struct dunlin_view *view)
{
    struct attachment *a = space->handle->now;
    const struct read_space *s = &space->read;
    struct read_point p;
    struct read_found found;
    view->deadline_ns = clock_boottime_ns() + a->node->view_ns;
    read_begin(&p, s, k->shard);
    if (UNLIKELY(p.lsn < floor))
        return VIEW_WAIT;
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
    view->read.age_ns = 0;
    view->read.stale = 0;
    if (LIKELY(floor == 0))
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

/* No lease: have the leader say up to where all is committed, then look in place.  Why not just look then:
 * this machine may be behind it.  Returns VIEW_AGAIN, -ENOTCONN, or -EAGAIN: it cannot say. */
static int view_unleased(struct dunlin_space *space, uint32_t shard, uint64_t *floor)
{
    struct dunlin *d = space->handle;
    if (!agent_attach_look(d))
        return -ENOTCONN;
    agent_attach_clock(d, d->now);
    int error = agent_ask_position(space, shard, floor);
    return error == 0 ? VIEW_AGAIN : error == -EOPNOTSUPP ? -EAGAIN : error;
}

int dunlin_view(struct dunlin_space *space, const void *key, size_t key_length,
                struct dunlin_view *view)
{
    int error = get_check_key(key, key_length);
    if (error != 0 || space == NULL || view == NULL || view->read.at.lsn != 0)
        return error != 0 ? error : -EINVAL;
    struct dunlin *d = space->handle;
    uint64_t attached_count = d->attached_count, floor = 0;
    struct waiter w; /* while floor is not 0 */
    int result = 0;
    view->internal[VIEW_ATTACHMENT] = 0;
    for (unsigned i = 0; i < LIMIT_READ_RETRIES; i += result != VIEW_WAIT) {
        struct read_key k;
        result = space->bound ? 0 : agent_space_again(space);
        if (result != 0)
            return result;
        int pin = pin_free(d->now);
        if (pin < 0)
            return pin;
        read_key_init(&k, &space->read, key, key_length);
        /* An answer of the daemon before says nothing of this one. */
        if (d->attached_count != attached_count)
            floor = 0;
        result = view_once(space, &k, pin, floor, view);
        if (result == VIEW_MAP && agent_space_map_more(space) != 0)
            return agent_attached(d) ? -EAGAIN : -ENOTCONN;
        if (result == VIEW_WAIT && !agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
        if (result == VIEW_LEASE) {
            attached_count = d->attached_count;
            w = agent_wait_begin(d, d->options.timeout_ns);
            result = view_unleased(space, k.shard, &floor);
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
    if (UNLIKELY(a->rest_mapped) && a->pins_held == 0)
        agent_space_unmap_rest(a);
    view->value = NULL;
    memset(view->internal, 0, sizeof view->internal);
    agent_attach_view_gone(space->handle, a);
    return good ? 0 : -ESTALE;
}
