#include "tests/unit/control/raft_disk_fixture.h"
#include "control/raft_disk_snapshot.h"
#include "tests/unit/control/raft_disk_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- data ---- */

static void item_fill(const struct disk_item *item, uint8_t *bytes)
{
    for (uint32_t i = 0; i < item->length; i++)
        bytes[i] = (uint8_t)(item->seed * 37 + i * 7 + (i >> 8));
}

static bool item_is(const struct disk_item *item, const struct raft_buffer *buffer)
{
    const uint8_t *bytes = buffer->base;
    if (buffer->len != item->length)
        return false;
    for (uint32_t i = 0; i < item->length; i++) {
        if (bytes[i] != (uint8_t)(item->seed * 37 + i * 7 + (i >> 8)))
            return false;
    }
    return true;
}

/* ---- the model ---- */

static void model_step(struct disk_model *m, const struct disk_step *s)
{
    switch (s->kind) {
    case STEP_ENTRY:
        ASSERT(s->number == m->next && m->next < DISK_INDICES);
        m->log[m->next++] = s->item;
        break;
    case STEP_TRUNCATE:
        m->next = s->number;
        break;
    case STEP_SNAPSHOT:
        m->snapshot_index = s->number;
        m->snapshot = s->item;
        if (s->item.type != 0 && s->number > s->item.type)
            m->keep = max_u64(m->keep, s->number - s->item.type + 1);
        break;
    case STEP_RESET:
        m->base = m->next = m->keep = s->number;
        break;
    case STEP_TERM:
        m->term = s->number;
        m->vote = 0;
        break;
    case STEP_VOTE:
        m->vote = s->number;
        break;
    }
}

struct loaded {
    raft_term term;
    raft_id vote;
    struct raft_snapshot *snapshot;
    raft_index first;
    struct raft_entry *entries;
    size_t count;
};

static void loaded_free(struct loaded *l)
{
    for (size_t i = 0; i < l->count; i++)
        raft_free(l->entries[i].batch);
    raft_free(l->entries);
    raft_disk_snapshot_free(l->snapshot);
}

static bool snapshot_is(const struct disk_model *m, const struct raft_snapshot *s)
{
    if (s == NULL || m->snapshot_index == 0)
        return s == NULL && m->snapshot_index == 0;
    return s->index == m->snapshot_index && s->term == m->snapshot.term && s->n_bufs == 1 &&
           item_is(&m->snapshot, &s->bufs[0]) && s->configuration.n == 2 &&
           s->configuration_index == 1 && s->configuration.servers[1].id == 9 &&
           s->configuration.servers[1].role == RAFT_STANDBY &&
           strcmp(s->configuration.servers[1].address, "node 9") == 0;
}

/* Whether the log that the model has continues its snapshot. */
static bool model_fits(const struct disk_model *m)
{
    uint64_t s = m->snapshot_index;
    if (s == 0 || m->base == s + 1)
        return true;
    return m->base <= s && s < m->next && m->log[s].term == m->snapshot.term;
}

static bool model_is(const struct disk_model *m, const struct loaded *l)
{
    uint64_t base = m->base, next = m->next, keep = m->keep;
    if (l->term != m->term || l->vote != m->vote || !snapshot_is(m, l->snapshot))
        return false;
    if (!model_fits(m))
        base = next = keep = m->snapshot_index + 1;
    if (l->first < base || l->first > keep || l->first > m->snapshot_index + 1 ||
        l->first + l->count != next)
        return false;
    for (size_t i = 0; i < l->count; i++) {
        const struct disk_item *item = &m->log[l->first + i];
        const struct raft_entry *e = &l->entries[i];
        if (e->term != item->term || e->type != item->type || !item_is(item, &e->buf))
            return false;
    }
    return true;
}

/* ---- open and close ---- */

static void on_failed(void *context, int status)
{
    struct disk_fixture *f = context;
    f->failed = status;
    f->answers_by_then = f->answers;
}

void disk_begin(struct disk_fixture *f)
{
    memset(f, 0, sizeof *f);
    shim_directory_make(f->path);
    f->model.base = f->model.keep = f->model.next = f->next = 1;
    ASSERT(uv_loop_init(&f->loop) == 0);
}

void disk_end(struct disk_fixture *f)
{
    if (f->disk != NULL)
        disk_close(f);
    ASSERT(uv_loop_close(&f->loop) == 0);
    shim_directory_remove(f->path);
}

static int open_at(uv_loop_t *loop, const char *path, struct disk_fixture *f,
                   struct raft_disk **disk)
{
    const struct raft_disk_config config = {.loop = loop,
                                            .directory = path,
                                            .cluster = DISK_CLUSTER,
                                            .node = DISK_NODE,
                                            .failed = f != NULL ? on_failed : NULL,
                                            .context = f};
    return raft_disk_open(disk, &config);
}

int disk_open(struct disk_fixture *f)
{
    f->failed = 0;
    return open_at(&f->loop, f->path, f, &f->disk);
}

static void on_closed(void *context)
{
    *(bool *)context = true;
}

static void close_at(uv_loop_t *loop, struct raft_disk *disk)
{
    bool is_closed = false;
    raft_disk_close(disk, on_closed, &is_closed);
    ASSERT(!is_closed);
    while (!is_closed)
        (void)uv_run(loop, UV_RUN_ONCE);
}

void disk_close(struct disk_fixture *f)
{
    close_at(&f->loop, f->disk);
    f->disk = NULL;
    ASSERT(f->open_count == 0);
}

void disk_wait(struct disk_fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    ASSERT(f->open_count == 0);
}

/* ---- what is asked for ---- */

static struct disk_step *step_add(struct disk_fixture *f, enum disk_step_kind kind, uint64_t number)
{
    struct disk_step *s = &f->steps[f->step_count++];
    ASSERT(f->step_count <= DISK_STEPS);
    *s = (struct disk_step){.kind = kind, .number = number};
    return s;
}

/* They happened, up to and with the last one of that index. */
static void steps_happened(struct disk_fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        model_step(&f->model, &f->steps[i]);
    f->step_count -= count;
    memmove(f->steps, f->steps + count, f->step_count * sizeof f->steps[0]);
}

/* They did not, perhaps: nobody may rely on them. */
static void answered(struct disk_fixture *f, int status, unsigned steps_before, unsigned steps)
{
    f->answers++;
    f->open_count--;
    f->status = status;
    if (status == 0)
        steps_happened(f, steps_before + steps);
}

struct append {
    struct raft_io_append request; /* first */
    struct disk_fixture *fixture;
    struct raft_entry *entries;
    unsigned count;
    uint64_t first;
};

/* Why by looking: what came before may have been answered already, or be a truncation, which never is. */
static unsigned steps_until_entry(const struct disk_fixture *f, uint64_t first)
{
    unsigned i = 0;
    while (i < f->step_count && !(f->steps[i].kind == STEP_ENTRY && f->steps[i].number == first))
        i++;
    return i;
}

static void on_append(struct raft_io_append *request, int status)
{
    struct append *a = (struct append *)request;
    struct disk_fixture *f = a->fixture;
    f->answered_first = a->first;
    answered(f, status, steps_until_entry(f, a->first), a->count);
    for (unsigned i = 0; i < a->count; i++)
        free(a->entries[i].buf.base);
    free(a->entries);
    free(a);
}

int disk_append(struct disk_fixture *f, unsigned count, uint64_t term, uint32_t seed,
                uint32_t length)
{
    struct append *a = calloc(1, sizeof *a);
    ASSERT(a != NULL);
    *a = (struct append){.fixture = f, .count = count, .first = f->next};
    a->entries = calloc(count, sizeof *a->entries);
    ASSERT(a->entries != NULL);
    for (unsigned i = 0; i < count; i++) {
        struct disk_step *s = step_add(f, STEP_ENTRY, f->next++);
        s->item = (struct disk_item){
            .term = term, .seed = seed + i, .length = length, .type = RAFT_COMMAND};
        a->entries[i] = (struct raft_entry){
            .term = term,
            .type = RAFT_COMMAND,
            .buf = {.base = malloc(length + 1), .len = length},
        };
        ASSERT(a->entries[i].buf.base != NULL);
        item_fill(&s->item, a->entries[i].buf.base);
    }
    f->open_count++;
    return raft_disk_append(f->disk, &a->request, a->entries, count, on_append);
}

int disk_truncate(struct disk_fixture *f, uint64_t index)
{
    (void)step_add(f, STEP_TRUNCATE, index);
    f->next = index;
    return raft_disk_truncate(f->disk, index);
}

struct put {
    struct raft_io_snapshot_put request; /* first */
    struct disk_fixture *fixture;
    struct raft_snapshot snapshot;
    struct raft_buffer buffers[2];
};

static void on_put(struct raft_io_snapshot_put *request, int status)
{
    struct put *p = (struct put *)request;
    struct disk_fixture *f = p->fixture;
    unsigned i = 0;
    while (i < f->step_count &&
           !(f->steps[i].kind == STEP_SNAPSHOT && f->steps[i].number == p->snapshot.index))
        i++;
    bool is_reset = i + 1 < f->step_count && f->steps[i + 1].kind == STEP_RESET;
    answered(f, status, i, 1u + is_reset);
    free(p->buffers[0].base);
    free(p->buffers[1].base);
    raft_configuration_close(&p->snapshot.configuration);
    free(p);
}

static void put_fill(struct put *p, const struct disk_item *item)
{
    uint8_t *bytes = malloc(item->length + 1);
    uint32_t half = item->length / 2;
    struct raft_configuration *c = &p->snapshot.configuration;
    ASSERT(bytes != NULL);
    item_fill(item, bytes);
    /* Why two: a state machine may give several. */
    p->buffers[0] = (struct raft_buffer){.base = malloc(half + 1), .len = half};
    p->buffers[1] =
        (struct raft_buffer){.base = malloc(item->length - half + 1), .len = item->length - half};
    ASSERT(p->buffers[0].base != NULL && p->buffers[1].base != NULL);
    memcpy(p->buffers[0].base, bytes, half);
    memcpy(p->buffers[1].base, bytes + half, item->length - half);
    free(bytes);
    p->snapshot.bufs = p->buffers;
    p->snapshot.n_bufs = 2;
    p->snapshot.configuration_index = 1;
    raft_configuration_init(c);
    ASSERT(raft_configuration_add(c, DISK_NODE, "node 3", RAFT_VOTER) == 0);
    ASSERT(raft_configuration_add(c, 9, "node 9", RAFT_STANDBY) == 0);
}

int disk_snapshot(struct disk_fixture *f, uint64_t index, uint64_t term, unsigned trailing,
                  uint32_t length)
{
    struct put *p = calloc(1, sizeof *p);
    struct disk_step *s = step_add(f, STEP_SNAPSHOT, index);
    ASSERT(p != NULL);
    s->item = (struct disk_item){
        .term = term, .seed = (uint32_t)index * 5, .length = length, .type = (uint16_t)trailing};
    p->fixture = f;
    p->snapshot.index = index;
    p->snapshot.term = term;
    put_fill(p, &s->item);
    if (trailing == 0) {
        (void)step_add(f, STEP_RESET, index + 1);
        f->next = index + 1;
    }
    f->open_count++;
    return raft_disk_snapshot_put(f->disk, trailing, &p->request, &p->snapshot, on_put);
}

/* Why all steps: a term is written only while nothing waits, so that it is the last one. */
int disk_term(struct disk_fixture *f, uint64_t term)
{
    (void)step_add(f, STEP_TERM, term);
    int code = raft_disk_set_term(f->disk, term);
    if (code == 0)
        steps_happened(f, f->step_count);
    return code;
}

int disk_vote(struct disk_fixture *f, uint64_t vote)
{
    (void)step_add(f, STEP_VOTE, vote);
    int code = raft_disk_set_vote(f->disk, vote);
    if (code == 0)
        steps_happened(f, f->step_count);
    return code;
}

/* ---- what it holds ---- */

static int load(struct raft_disk *d, struct loaded *l)
{
    *l = (struct loaded){0};
    return raft_disk_load(d, &l->term, &l->vote, &l->snapshot, &l->first, &l->entries, &l->count);
}

int disk_holds(struct disk_fixture *f, const char *path, int *code)
{
    struct raft_disk *disk;
    struct loaded l;
    struct disk_model *m = malloc(sizeof *m);
    uv_loop_t loop;
    int happened = -1;
    ASSERT(m != NULL && uv_loop_init(&loop) == 0);
    *code = open_at(&loop, path, NULL, &disk);
    ASSERT(*code == 0);
    *code = load(disk, &l);
    if (*code != 0)
        fprintf(stderr, "%s\n", raft_disk_error(disk));
    *m = f->model;
    for (unsigned i = 0; *code == 0 && happened < 0 && i <= f->step_count; i++) {
        if (model_is(m, &l))
            happened = (int)i;
        else if (i < f->step_count)
            model_step(m, &f->steps[i]);
    }
    if (*code == 0)
        loaded_free(&l);
    close_at(&loop, disk);
    ASSERT(uv_loop_close(&loop) == 0);
    free(m);
    return *code == 0 ? happened : -2;
}

bool disk_loads_model(struct disk_fixture *f)
{
    struct loaded l;
    if (load(f->disk, &l) != 0)
        return false;
    bool is_same = model_is(&f->model, &l);
    loaded_free(&l);
    return is_same;
}
