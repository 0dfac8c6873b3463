#include "engine/agent/agent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool geometry_valid(const struct layout_geometry *g)
{
    if (g->segment_shift < LIMIT_SEGMENT_SHIFT_MIN || g->segment_shift > LIMIT_SEGMENT_SHIFT_MAX ||
        g->chunk_shift < LIMIT_CHUNK_SHIFT_MIN || g->chunk_shift > LIMIT_CHUNK_SHIFT_MAX ||
        g->chunk_shift < g->segment_shift)
        return false;
    return g->shard_count >= 1 && g->shard_count <= LIMIT_SHARDS && g->chunk_count_max >= 1 &&
           g->chunk_count_max <= LIMIT_CHUNKS && g->frames_per_chunk >= 1 &&
           g->frames_per_shard >= 1 &&
           g->frames_per_chunk <= 1u << (g->chunk_shift - g->segment_shift) &&
           (uint64_t)g->chunk_count_max << g->chunk_shift <= UINT64_C(1) << LIMIT_ARENA_SHIFT;
}

static bool header_valid(const struct layout_space *h, uint64_t bytes, const struct attachment *a)
{
    if (h->magic != LAYOUT_MAGIC_SPACE || h->fingerprint != LAYOUT_FINGERPRINT ||
        h->start != a->start || h->bytes > bytes || h->id == 0 || h->id > LIMIT_SPACES ||
        !geometry_valid(&h->geometry) || layout_space_bytes(&h->geometry) > h->bytes)
        return false;
    const struct layout_board *boards = (const void *)((const uint8_t *)h + layout_board_offset(0));
    for (uint32_t shard = 0; shard < h->geometry.shard_count; shard++)
        if (boards[shard].lcore >= a->lcore_count)
            return false;
    return true;
}

int agent_space_map(struct attachment *a, const char *name, struct mapping *m, uint64_t deadline_ns)
{
    struct attach_request request = {.kind = ATTACH_SPACE};
    struct attach_answer answer;
    uint8_t *at = NULL;
    int fd = -1;
    memcpy(request.space, name, strlen(name) + 1);
    int error = agent_link_exchange(a, &request, &answer, &fd, deadline_ns);
    if (error != 0)
        return error;
    error = memory_map(&at, fd, max_u64(answer.bytes, PAGE), MEMORY_READ_ONLY, false, NULL);
    if (error != 0)
        return error;
    *m = (struct mapping){.header = (const void *)at,
                          .file_bytes = max_u64(answer.bytes, PAGE),
                          .writable = answer.writable != 0};
    if (!header_valid(m->header, m->file_bytes, a) || m->header->id != answer.space_id) {
        agent_space_unmap(m);
        return -EPROTO;
    }
    m->generation = atomic_load_explicit(&m->header->arena_generation, memory_order_acquire);
    m->arena_bytes = (uint64_t)m->header->geometry.chunk_count_max
                     << m->header->geometry.chunk_shift;
    error = memory_reserve(&m->arena, m->arena_bytes);
    if (error != 0) {
        m->arena = NULL;
        agent_space_unmap(m);
    }
    return error;
}

void agent_space_unmap(struct mapping *m)
{
    if (m->header == NULL)
        return;
    memory_unreserve(m->arena, m->arena_bytes);
    (void)munmap((void *)(uintptr_t)m->header, m->file_bytes);
    *m = (struct mapping){.header = NULL};
}

void agent_space_bind(struct dunlin_space *space, struct attachment *a)
{
    const struct mapping *m = &a->mappings[space->number];
    const struct layout_space *h = m->header;
    space->bound = h != NULL;
    space->in_place = false;
    space->writable = false;
    if (h == NULL)
        return;
    const uint8_t *file = (const uint8_t *)h;
    space->read = (struct read_space){
        .arena = m->arena,
        .mapped_bytes = (uint64_t)m->chunk_count << h->geometry.chunk_shift,
        .arena_generation = m->generation,
        .geometry = h->geometry,
        .boards = (const void *)(file + layout_board_offset(0)),
        .directory = (const void *)(file + layout_directory_offset(&h->geometry)),
        .node = a->node,
        .partition_prefix = h->partition_prefix,
    };
    space->in_place = a->clock_good && a->node->lease_virtual == 0;
    space->writable = m->writable;
    space->id = h->id;
    space->value_bytes_max = h->value_bytes_max;
    space->ordered = h->ordered != 0;
}

/* Why not while any view is held: its program may still read there, though nothing says that it is right. */
static void unmap_above(struct attachment *a, struct mapping *m)
{
    uint32_t shift = m->header->geometry.chunk_shift;
    a->rest_mapped |= a->pins_held != 0;
    if (a->pins_held != 0 || m->chunks_mapped == m->chunk_count)
        return;
    memory_unmap(m->arena + ((uint64_t)m->chunk_count << shift),
                 (uint64_t)(m->chunks_mapped - m->chunk_count) << shift);
    m->chunks_mapped = m->chunk_count;
}

void agent_space_unmap_rest(struct attachment *a)
{
    a->rest_mapped = false;
    for (uint32_t i = 0; i < LIMIT_SPACES; i++)
        if (a->mappings[i].header != NULL)
            unmap_above(a, &a->mappings[i]);
}

/* Of what is mapped, forget what is there no more, or was made again since: the last ones.  False: all of
 * it is as it was. */
static bool forget_gone(struct attachment *a, struct mapping *m)
{
    const struct layout_space *h = m->header;
    /* acquire: who finds this generation finds no count from before it */
    uint32_t generation = atomic_load_explicit(&h->arena_generation, memory_order_acquire);
    if (generation == m->generation)
        return false;
    /* acquire: control stored the count after the chunk's generation */
    uint32_t exist = atomic_load_explicit(&h->chunk_count, memory_order_acquire);
    m->chunk_count = (uint32_t)min_u64(m->chunk_count, exist);
    while (m->chunk_count != 0 &&
           (int32_t)(atomic_load_explicit(layout_chunk_generation(h, m->chunk_count - 1),
                                          memory_order_relaxed) -
                     m->generation) > 0)
        m->chunk_count--;
    m->generation = generation;
    unmap_above(a, m);
    return true;
}

int agent_space_map_more(struct dunlin_space *space)
{
    struct dunlin *d = space->handle;
    struct attachment *a = d->now;
    struct mapping *m = &a->mappings[space->number];
    const struct layout_geometry *g = &m->header->geometry;
    bool changed = forget_gone(a, m);
    uint32_t before = m->chunk_count;
    space->read.mapped_bytes = (uint64_t)m->chunk_count << g->chunk_shift;
    space->read.arena_generation = m->generation;
    /* acquire: control stored the count after the chunk was made */
    uint32_t exist = atomic_load_explicit(&m->header->chunk_count, memory_order_acquire);
    uint64_t deadline_ns = clock_boottime_ns() + min_u64(d->options.timeout_ns, AGENT_EXCHANGE_NS);
    int error = 0;
    if (!agent_attached(d))
        return changed ? 0 : -ENOTCONN;
    while (error == 0 && m->chunk_count < exist && m->chunk_count < g->chunk_count_max) {
        const struct attach_request request = {
            .kind = ATTACH_CHUNK, .space_id = space->id, .chunk = m->chunk_count};
        struct attach_answer answer;
        uint8_t *at = NULL;
        int fd = -1;
        error = agent_link_exchange(a, &request, &answer, &fd, deadline_ns);
        if (error == 0)
            error = memory_map(&at, fd, UINT64_C(1) << g->chunk_shift, MEMORY_READ_ONLY, false,
                               m->arena + ((uint64_t)m->chunk_count << g->chunk_shift));
        if (error == 0)
            m->chunk_count++;
        m->chunks_mapped = (uint32_t)max_u64(m->chunks_mapped, m->chunk_count);
    }
    space->read.mapped_bytes = (uint64_t)m->chunk_count << g->chunk_shift;
    if (error != 0)
        error = agent_attach_error(d, error);
    if (changed || m->chunk_count > before)
        return 0;
    return error != 0 ? error : -ENOTCONN;
}

int agent_space_again(struct dunlin_space *space)
{
    struct dunlin *d = space->handle;
    uint64_t now = clock_boottime_ns();
    if (!agent_attach_look(d))
        return -ENOTCONN;
    if (space->bound)
        return 0;
    if (now < d->bind_ns || !agent_space_leave(space))
        return -ENOENT;
    d->bind_ns = now + AGENT_TRY_MAX_NS;
    int error = agent_space_map(d->now, space->name, &d->now->mappings[space->number],
                                now + AGENT_EXCHANGE_NS);
    if (error != 0)
        return agent_attach_error(d, error);
    agent_space_bind(space, d->now);
    return space->writable ? agent_session_prepare(space) : 0;
}

static struct dunlin_space *space_known(const struct dunlin *d, const char *name)
{
    for (uint32_t i = 0; i < d->space_count; i++)
        if (strcmp(d->spaces[i]->name, name) == 0)
            return d->spaces[i];
    return NULL;
}

/* The daemon must be there: wait for it as long as any synchronous call does. */
static int attach_wait(struct dunlin *d)
{
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    while (!agent_attached(d))
        if (!agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    return 0;
}

int dunlin_space(struct dunlin *handle, const char *name, struct dunlin_space **space)
{
    if (handle == NULL || name == NULL || space == NULL || name[0] == 0 ||
        strlen(name) >= LIMIT_NAME_BYTES)
        return -EINVAL;
    *space = space_known(handle, name);
    if (*space != NULL)
        return (*space)->bound ? 0 : agent_space_again(*space);
    if (handle->space_count == LIMIT_SPACES)
        return -ENOENT;
    int error = agent_attach_look(handle) ? 0 : attach_wait(handle);
    if (error != 0)
        return error;
    struct dunlin_space *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->handle = handle;
    s->number = handle->space_count;
    memcpy(s->name, name, strlen(name) + 1);
    struct mapping *m = &handle->now->mappings[s->number];
    error = agent_space_map(handle->now, name, m, clock_boottime_ns() + handle->options.timeout_ns);
    if (error == 0) {
        agent_space_bind(s, handle->now);
        error = s->writable ? agent_session_prepare(s) : 0;
    }
    if (error != 0) {
        agent_space_unmap(m);
        free(s);
        return agent_attach_error(handle, error);
    }
    handle->spaces[handle->space_count++] = s;
    *space = s;
    return 0;
}
