#include "bench/plain.h"

#include "bench/keys.h"

#define GROUP 32u /* operations timed together, as many as a batched get has */
#define HUGE_PAGE (UINT64_C(1) << 21)

static uint64_t *line_of(const struct plain *p, uint64_t number)
{
    uint64_t lines = p->index.bytes / CACHE_LINE;
    /* spread over all lines: the number is a permuted one already */
    uint64_t line = (number * UINT64_C(0x9e3779b97f4a7c15) >> 32) * lines >> 32;
    return (uint64_t *)(void *)(p->index.base + line * CACHE_LINE);
}

int plain_open(struct plain *p, const struct plain_shape *shape, double ticks_per_ns)
{
    *p = (struct plain){.shape = *shape, .chained = true};
    uint64_t count = UINT64_C(1) << shape->key_bits;
    uint64_t index_bytes = align_up(shape->index_bytes, HUGE_PAGE);
    uint64_t record_bytes = align_up(count * shape->record_bytes, HUGE_PAGE);
    p->dependent_sampler = sampler_new(GROUP, ticks_per_ns);
    p->lines_sampler = sampler_new(GROUP, ticks_per_ns);
    int rc = -ENOMEM;
    if (p->dependent_sampler == NULL || p->lines_sampler == NULL)
        goto fail_samplers;
    rc = memory_create(&p->index, "bench-index", index_bytes, MEMORY_SHARED, true, NULL);
    if (rc != 0)
        goto fail_samplers;
    rc = memory_create(&p->records, "bench-records", record_bytes, MEMORY_SHARED, true, NULL);
    if (rc != 0)
        goto fail_index;
    for (uint64_t line = 0; line < index_bytes / CACHE_LINE; line++)
        ((uint64_t *)(void *)p->index.base)[line * 8] =
            (uint64_t)keys_shuffle(line * 7, shape->key_bits) * shape->record_bytes;
    for (uint64_t i = 0; i < record_bytes / 8; i++)
        ((uint64_t *)(void *)p->records.base)[i] = i;
    return 0;
fail_index:
    memory_destroy(&p->index, false);
fail_samplers:
    sampler_delete(p->dependent_sampler);
    sampler_delete(p->lines_sampler);
    return rc;
}

void plain_close(struct plain *p)
{
    memory_destroy(&p->records, false);
    memory_destroy(&p->index, false);
    sampler_delete(p->dependent_sampler);
    sampler_delete(p->lines_sampler);
}

static ALWAYS_INLINE void read_two(struct plain *p, uint64_t *buffer)
{
    uint64_t wait = p->chained ? keys_wait_for(buffer[0]) : 0;
    uint32_t number = keys_shuffle(p->position++ + wait, p->shape.key_bits);
    uint64_t offset = *line_of(p, number);
    memcpy(buffer, p->records.base + offset + p->shape.value_offset, KEYS_VALUE_BYTES);
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

int plain_measure_dependent(void *context, uint64_t duration_ns, double *value)
{
    struct plain *p = context;
    struct sampler *s = p->dependent_sampler;
    uint64_t buffer[KEYS_VALUE_BYTES / 8] = {0};
    bool more;
    sampler_start(s, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++)
            read_two(p, buffer);
        more = sampler_add(s, from, sampler_now());
    } while (more);
    *value = sampler_finish(s);
    return 0;
}

static ALWAYS_INLINE uint64_t read_lines(struct plain *p)
{
    uint32_t number = keys_shuffle(p->position++, p->shape.key_bits);
    uint64_t sum = *line_of(p, number);
    uint64_t record_lines = p->records.bytes / CACHE_LINE;
    const uint8_t *records = p->records.base;
    for (uint32_t i = 0; i < p->shape.record_lines; i++) {
        uint64_t mixed = (number + 1 + i * UINT64_C(0x100000001)) * UINT64_C(0xd6e8feb86659fd93);
        uint64_t line = (mixed >> 32) * record_lines >> 32;
        uint64_t word;
        memcpy(&word, records + line * CACHE_LINE, sizeof word);
        sum += word;
    }
    return sum;
}

int plain_measure_lines(void *context, uint64_t duration_ns, double *value)
{
    struct plain *p = context;
    struct sampler *s = p->lines_sampler;
    uint64_t sum = 0;
    bool more;
    sampler_start(s, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++)
            sum += read_lines(p);
        more = sampler_add(s, from, sampler_now());
    } while (more);
    __asm__ volatile("" : : "r"(sum));
    *value = sampler_finish(s);
    return 0;
}
