#include "tests/sim/control_world.h"

#include "engine/plant.h"
#include "tests/unit/engine/coroutine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct control_world *control_world;

/* ---- random numbers, counts, words ---- */

/* Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014). */
uint64_t control_random(void)
{
    uint64_t z = control_world->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t control_below(uint64_t bound)
{
    return control_random() % bound;
}

bool control_chance(uint32_t percent)
{
    return control_below(100) < percent;
}

void control_count(enum control_happening what)
{
    control_world->totals.counts[what]++;
}

void control_trace(const char *format, ...)
{
    va_list list;
    if (!control_world->trace)
        return;
    printf("%10.3f ", (double)control_world->now_ns / (double)NS_PER_MS);
    if (control_world->current != NULL)
        printf("node %u ", control_world->nodes[control_world->current->node].id);
    va_start(list, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line above */
    (void)vprintf(format, list);
    va_end(list);
    (void)putchar('\n');
}

void control_break(const char *what, const char *format, ...)
{
    struct control_world *w = control_world;
    va_list list;
    if (w->broken != NULL)
        return;
    w->broken = what;
    va_start(list, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line above */
    (void)vsnprintf(w->broken_detail, sizeof w->broken_detail, format, list);
    va_end(list);
    control_trace("%s does not hold: %s", what, w->broken_detail);
}

/* ---- clocks ---- */

uint64_t control_clock_ns(const struct control_node *n)
{
    int64_t now = (int64_t)control_world->now_ns;
    return n->clock_ns + (uint64_t)(now + now * n->ppm / 1000000);
}

uint64_t control_clock_at(const struct control_node *n, uint64_t clock_ns)
{
    uint64_t now = control_clock_ns(n);
    uint64_t left = clock_ns > now ? clock_ns - now : 0;
    return control_world->now_ns + left + left / 1000;
}

/* ---- events: a heap, by time and order ---- */

static bool is_before(const struct control_event *a, const struct control_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void event_push(const struct control_event *e)
{
    struct control_world *w = control_world;
    if (w->event_count == w->event_room) {
        w->event_room = w->event_room != 0 ? 2 * w->event_room : 256;
        w->events = realloc(w->events, w->event_room * sizeof w->events[0]);
        ASSERT(w->events != NULL);
    }
    uint32_t at = w->event_count++;
    for (; at != 0 && is_before(e, &w->events[(at - 1) / 2]); at = (at - 1) / 2)
        w->events[at] = w->events[(at - 1) / 2];
    w->events[at] = *e;
}

static struct control_event event_pop(void)
{
    struct control_world *w = control_world;
    struct control_event first = w->events[0], last = w->events[--w->event_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->event_count)
            break;
        if (child + 1 < w->event_count && is_before(&w->events[child + 1], &w->events[child]))
            child++;
        if (!is_before(&w->events[child], &last))
            break;
        w->events[at] = w->events[child];
        at = child;
    }
    if (w->event_count != 0)
        w->events[at] = last;
    return first;
}

void control_event_add(const struct control_event *e)
{
    struct control_event added = *e;
    added.at_ns = max_u64(e->at_ns, control_world->now_ns);
    added.order = ++control_world->order;
    event_push(&added);
}

void control_event_own(uint64_t delay_ns, void (*run)(const struct control_event *e),
                       uint64_t number)
{
    const struct control_process *p = control_world->current;
    control_event_add(&(struct control_event){.at_ns = control_world->now_ns + delay_ns,
                                              .process = p->uid,
                                              .node = p->node,
                                              .is_loop = true,
                                              .run = run,
                                              .number = number});
}

/* ---- one after the other ---- */

static void current_set(struct control_process *p)
{
    control_world->current = p;
    control_heap_use(p != NULL ? &p->heap : NULL);
}

/* A loop that was away for a moment finds more than one thing to do in its next turn. */
static bool is_one_turn(const struct control_process *p, uint64_t now_ns)
{
    const struct control_world *w = control_world;
    return w->event_count != 0 && w->events[0].process == p->uid && w->events[0].is_loop &&
           w->events[0].at_ns <= now_ns + 100000 && control_chance(50);
}

static void process_end(struct control_node *n);

static void process_run(const struct control_event *e, struct control_process *p)
{
    struct control_node *n = &control_world->nodes[e->node];
    current_set(p);
    e->run(e);
    if (e->is_loop && !is_one_turn(p, control_world->now_ns)) {
        control_loop_turn_end(p);
        control_check_turn(p);
    }
    current_set(NULL);
    if (n->process == p && p->thread == NULL)
        process_end(n);
}

static void event_run(struct control_event *e)
{
    struct control_node *n = &control_world->nodes[e->node];
    if (e->process == 0) {
        e->run(e);
    } else if (n->process != NULL && n->process->uid == e->process) {
        if (n->frozen_until_ns > control_world->now_ns) {
            e->at_ns = n->frozen_until_ns;
            control_event_add(e);
            return;
        }
        process_run(e, n->process);
    }
    free(e->data);
}

void control_run_until(uint64_t until_ns)
{
    struct control_world *w = control_world;
    while (w->broken == NULL && w->event_count != 0 && w->events[0].at_ns <= until_ns) {
        struct control_event e = event_pop();
        w->now_ns = max_u64(w->now_ns, e.at_ns);
        event_run(&e);
    }
    if (w->broken == NULL)
        w->now_ns = max_u64(w->now_ns, until_ns);
}

/* ---- processes ---- */

void control_process_begin(struct control_node *n)
{
    struct control_world *w = control_world;
    struct control_process *p = calloc(1, sizeof *p);
    ASSERT(n->process == NULL && p != NULL);
    p->uid = ++w->uid;
    p->node = (uint32_t)(n - w->nodes);
    /* Starts count milliseconds, so the clock cannot give one twice; but it may have stood still. */
    if (!PLANTED(START_REUSED) || n->start_last == 0)
        n->start_last = max_u64(n->start_last + 1, 1000000 + w->now_ns / NS_PER_MS);
    p->start = n->start_last;
    n->process = p;
    p->thread = coroutine_make(control_thread_run, p);
    current_set(p);
    control_trace("starts as %llu", (unsigned long long)p->start);
    control_thread_wake(p);
    current_set(NULL);
}

void control_process_forget(struct control_process *p)
{
    if (p->voter != NULL)
        *control_world->nodes[p->node].bound = *p->voter;
    p->voter = NULL;
    p->holder = NULL;
    p->machine = NULL;
    p->raft = NULL;
}

static void process_free(struct control_node *n)
{
    struct control_process *p = n->process;
    n->process = NULL;
    control_heap_free_all(&p->heap);
    if (p->thread != NULL)
        coroutine_free(p->thread);
    free(p);
}

static void process_end(struct control_node *n)
{
    struct control_process *p = n->process;
    current_set(p);
    control_process_forget(p);
    control_free(p->state);
    if (p->heap.first != NULL)
        control_break("memory is freed by who ends", "node %u", n->id);
    control_trace("ends");
    current_set(NULL);
    process_free(n);
    control_fault_ended(n);
}

void control_process_kill(struct control_node *n, bool is_power)
{
    struct control_process *p = n->process;
    control_process_forget(p);
    current_set(p);
    if (p->disk != NULL)
        control_store_crash(n->store, p->disk);
    control_trace("is killed");
    current_set(NULL);
    if (p->net != NULL)
        control_mesh_dead(n, is_power);
    n->frozen_until_ns = 0;
    process_free(n);
}
