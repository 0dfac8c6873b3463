#include "dataplane/node_space.h"

#include "engine/shard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(LIMIT_SHARDS <= 1u << NODE_LOG_SPACE_SHIFT, "a shard's number fits");

/* Chunks that the quota allows; the geometry has room for what it may be raised to. */
static uint32_t chunks_of_quota(const struct node_space *s)
{
    return (uint32_t)min_u64(s->config.quota_bytes >> s->geometry.chunk_shift,
                             s->geometry.chunk_count_max);
}

static void space_file_format(const struct node *n, struct node_space *s)
{
    struct layout_space *header = s->header;
    header->magic = LAYOUT_MAGIC_SPACE;
    header->fingerprint = LAYOUT_FINGERPRINT;
    header->start = n->start;
    header->bytes = s->file.bytes;
    header->geometry = s->geometry;
    header->id = s->config.id;
    header->consistency = s->config.consistency;
    header->partition_prefix = s->config.partition_prefix;
    header->value_bytes_max = space_value_max(&s->config, &s->geometry);
    header->ordered = s->config.ordered;
    memcpy(header->name, s->config.name, sizeof(header->name));
    /* relaxed: nobody else has the file yet */
    atomic_store_explicit(&header->chunk_limit, chunks_of_quota(s), memory_order_relaxed);
}

static int space_file_create(const struct node *n, struct node_space *s)
{
    int error = memory_create(&s->file, "dunlin-space", layout_space_bytes(&s->geometry),
                              MEMORY_READ_ONLY, true, NULL);
    if (error != 0)
        return error;
    uint8_t *base = s->file.base;
    s->header = (struct layout_space *)(void *)base;
    s->boards = (struct layout_board *)(void *)(base + layout_board_offset(0));
    s->directory = (struct layout_frame *)(void *)(base + layout_directory_offset(&s->geometry));
    space_file_format(n, s);
    return 0;
}

/* ---- chunks ---- */

static void mapped_set(struct node_space *s, uint32_t chunk, bool is_mapped)
{
    uint64_t bit = UINT64_C(1) << chunk % 64;
    /* relaxed, both: node_chunk_is_mapped says what orders it; control alone writes */
    uint64_t word = atomic_load_explicit(&s->mapped[chunk / 64], memory_order_relaxed);
    word = is_mapped ? word | bit : word & ~bit;
    atomic_store_explicit(&s->mapped[chunk / 64], word, memory_order_relaxed);
}

static void watch_made(const struct node *n, struct node_space *s, uint32_t chunk)
{
    if (n->watch.made != NULL && n->watch.made(n->watch.context, s, chunk))
        mapped_set(s, chunk, true);
}

static void watch_gone(const struct node *n, struct node_space *s, uint32_t chunk)
{
    if (!node_chunk_is_mapped(s, chunk))
        return;
    mapped_set(s, chunk, false);
    n->watch.gone(n->watch.context, s, chunk);
}

typedef void watch_tell(const struct node *n, struct node_space *s, uint32_t chunk);

/* s: NULL is none. */
static void watch_space(const struct node *n, struct node_space *s, watch_tell *tell)
{
    for (uint32_t i = 0; s != NULL && i < LIMIT_CHUNKS; i++)
        if (s->chunks[i].fd >= 0)
            tell(n, s, i);
}

static void watch_each(const struct node *n, watch_tell *tell)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        watch_space(n, n->spaces[id], tell);
    watch_space(n, n->dropped, tell);
}

void node_watch(struct node *n, const struct node_watch *w)
{
    n->watch = *w;
    watch_each(n, watch_made);
}

void node_watch_end(struct node *n)
{
    watch_each(n, watch_gone);
    n->watch = (struct node_watch){.made = NULL};
}

void node_chunk_destroy(struct node *n, struct node_space *s, uint32_t chunk)
{
    watch_gone(n, s, chunk);
    memory_destroy(&s->chunks[chunk], true);
}

static int chunk_create(const struct node *n, struct node_space *s, uint32_t chunk)
{
    uint64_t bytes = UINT64_C(1) << s->geometry.chunk_shift;
    uint8_t *at = s->arena + ((uint64_t)chunk << s->geometry.chunk_shift);
    int error = memory_create(&s->chunks[chunk], "dunlin-chunk", bytes, MEMORY_READ_ONLY, true, at);
    if (error != 0)
        return error;
    watch_made(n, s, chunk);
    uint32_t generation = atomic_load_explicit(&s->header->arena_generation, memory_order_relaxed);
    atomic_store_explicit(layout_chunk_generation(s->header, chunk), generation,
                          memory_order_relaxed);
    /* release: whoever sees the count finds the chunk mapped (frames_take, agents), and its generation */
    atomic_store_explicit(&s->header->chunk_count, chunk + 1, memory_order_release);
    return 0;
}

/* Chunks that hold the least number of frames of every shard. */
static uint32_t chunks_at_start(const struct layout_geometry *g)
{
    uint64_t frames = (uint64_t)LIMIT_SHARD_FRAMES_MIN * g->shard_count;
    return (uint32_t)min_u64((frames + g->frames_per_chunk - 1) / g->frames_per_chunk,
                             g->chunk_count_max);
}

int node_chunks_grow(struct node *n, struct node_space *s)
{
    struct layout_space *header = s->header;
    /* relaxed: a number; who raised it woke us afterwards */
    uint32_t wanted = atomic_load_explicit(&s->chunks_wanted, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&header->chunk_count, memory_order_relaxed);
    uint32_t last = (uint32_t)min_u64(wanted, chunks_of_quota(s));
    int made = 0;
    int error = 0;
    for (uint32_t chunk = count; chunk < last && error == 0; chunk++) {
        error = chunk_create(n, s, chunk);
        made += error == 0 ? 1 : 0;
    }
    uint32_t limit = error == 0 ? chunks_of_quota(s) : count + (uint32_t)made;
    atomic_store_explicit(&header->chunk_limit, limit, memory_order_relaxed);
    return error == 0 ? made : error;
}

void node_space_quota(struct node_space *s, uint64_t quota_bytes)
{
    s->config.quota_bytes = quota_bytes;
    /* relaxed: a bound that control moves now and then; a late look only delays */
    atomic_store_explicit(&s->header->chunk_limit, chunks_of_quota(s), memory_order_relaxed);
}

/* Why (shard + id): spaces of one shard each are spread over the lcores, too. */
static void board_format(const struct node *n, const struct node_space *s, uint32_t shard)
{
    struct layout_board *board = &s->boards[shard];
    board->lcore = (uint16_t)((shard + s->config.id) % n->config.lcore_count);
    board->log = s->config.id << NODE_LOG_SPACE_SHIFT | shard;
    /* relaxed: nobody else has the file yet; every lcore renews one lease for all that it leads */
    atomic_store_explicit(&board->lease_cell, board->lcore * LIMIT_LEASE_CELLS_PER_LCORE,
                          memory_order_relaxed);
}

static int shard_make(const struct node *n, struct node_space *s, uint32_t shard)
{
    struct layout_board *board = &s->boards[shard];
    struct shard_config config = {
        .header = s->header,
        .directory = s->directory,
        .board = board,
        .arena = s->arena,
        .chunks_wanted = &s->chunks_wanted,
        .counters = &n->shared->counters[board->lcore],
        .number = shard,
        .log = board->log,
        .sessions_max = s->config.sessions_max,
        .value_bytes_max = s->header->value_bytes_max,
        .session_ttl_ns = s->config.session_ttl_ns,
        .lsn_start = s->lsn_start,
        .epoch = n->config.replicated ? 0 : n->start,
        .clock_ns = clock_realtime_ns(),
        .history = s->config.history,
        .history_ns = s->config.history_ns,
        .ordered = s->config.ordered,
    };
    int error = shard_init(s->shards[shard], &config);
    if (error == 0)
        shard_grant(s->shards[shard], atomic_load_explicit(&n->lsn_ceiling, memory_order_relaxed));
    return error;
}

static int shards_make(const struct node *n, struct node_space *s)
{
    uint64_t stride = align_up(shard_bytes(&s->geometry, s->config.sessions_max), CACHE_LINE);
    uint64_t bytes = align_up(stride * s->config.shard_count, PAGE);
    /* Why mmap: zeroed, and the pages of sessions that never come are never there. */
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    s->shard_memory = memory;
    s->shard_memory_bytes = bytes;
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        s->shards[i] = (struct shard *)(void *)(s->shard_memory + i * stride);
        board_format(n, s, i);
        int error = shard_make(n, s, i);
        if (error != 0)
            return error;
    }
    return 0;
}

static int space_make(struct node *n, struct node_space *s)
{
    int error = space_geometry(&s->config, &s->geometry);
    if (error == 0)
        error = space_file_create(n, s);
    if (error == 0)
        error = memory_reserve(&s->arena, layout_arena_bytes(&s->geometry));
    if (error != 0)
        return error;
    atomic_store_explicit(&s->chunks_wanted, chunks_at_start(&s->geometry), memory_order_relaxed);
    int made = node_chunks_grow(n, s);
    return made < 0 ? made : shards_make(n, s);
}

int node_space_add(struct node *n, const struct space_config *config)
{
    return node_space_add_at(n, config, n->lsn_start);
}

int node_space_add_at(struct node *n, const struct space_config *config, uint64_t lsn_start)
{
    if (config->id < 1 || config->id > LIMIT_SPACES || config->name[0] == 0 ||
        memchr(config->name, 0, sizeof(config->name)) == NULL)
        return -EINVAL;
    if (n->spaces[config->id] != NULL || node_space_find(n, config->name) != NULL)
        return -EEXIST;
    if (n->dropped != NULL && n->dropped->config.id == config->id)
        return -EBUSY;
    struct node_space *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->config = *config;
    s->lsn_start = lsn_start;
    s->file.fd = -1;
    for (uint32_t i = 0; i < LIMIT_CHUNKS; i++)
        s->chunks[i].fd = -1;
    int error = space_make(n, s);
    if (error != 0) {
        node_space_free(n, s);
        return error;
    }
    n->spaces[config->id] = s;
    return 0;
}

void node_space_free(struct node *n, struct node_space *s)
{
    if (s == NULL)
        return;
    if (s->shard_memory != NULL)
        (void)munmap(s->shard_memory, s->shard_memory_bytes);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        free(s->parts[i]);
    for (uint32_t i = 0; i < LIMIT_CHUNKS; i++)
        node_chunk_destroy(n, s, i);
    memory_unreserve(s->arena, layout_arena_bytes(&s->geometry));
    memory_destroy(&s->file, false);
    free(s);
}
