/* Pages of the ordered index against the map: model.h. */
#include "engine/scan.h"
#include "tests/unit/engine/model.h"

#include <stdlib.h>

#define BUFFER_BYTES (1u << 17)

static const struct model *sorting;

static int by_name(const void *a, const void *b)
{
    const struct model_key *one = &sorting->keys[*(const uint32_t *)a];
    const struct model_key *other = &sorting->keys[*(const uint32_t *)b];
    return strcmp(one->name, other->name);
}

/* Numbers of the keys, by name; they are the same in every run. */
static const uint32_t *sorted(const struct model *m)
{
    static uint32_t numbers[MODEL_KEYS + MODEL_SUMS];
    if (sorting == NULL) {
        sorting = m;
        for (uint32_t i = 0; i < MODEL_KEYS + MODEL_SUMS; i++)
            numbers[i] = i;
        qsort(numbers, MODEL_KEYS + MODEL_SUMS, sizeof numbers[0], by_name);
    }
    return numbers;
}

static bool is_below(const struct model_key *key, const struct order_key *k)
{
    uint32_t shorter = key->length < k->length ? key->length : k->length;
    int compared = memcmp(key->name, k->bytes, shorter);
    return compared != 0 ? compared < 0 : key->length < k->length;
}

static void page_check(struct model *m, const struct scan_page *page, const struct order_key *from,
                       uint64_t lsn)
{
    const uint32_t *numbers = sorted(m);
    const struct scan_entry *e = (const void *)page->buffer;
    uint32_t left = page->count;
    for (uint32_t i = 0; i < MODEL_KEYS + MODEL_SUMS; i++) {
        const struct model_key *key = &m->keys[numbers[i]];
        const struct model_version *v = model_at(m, numbers[i], lsn);
        if (v == NULL || is_below(key, from) || (!page->done && !is_below(key, &page->from)))
            continue;
        MODEL_CHECK(m, left != 0 && e->key_length == key->length);
        MODEL_CHECK(m, memcmp(scan_entry_key(e), key->name, key->length) == 0);
        /* A sum's length is not kept. */
        MODEL_CHECK(m, e->lsn == v->lsn && (v->length == 0 || e->value_length == v->length));
        e = scan_entry_next(e, page->keys_only);
        left--;
    }
    MODEL_CHECK(m, left == 0);
}

void model_check_page(struct model *m, const struct fixture *f)
{
    alignas(8) static uint8_t buffer[BUFFER_BYTES];
    static struct scan_page page;
    struct read_point p;
    const struct model_key *after = &m->keys[model_some_key(m)];
    page = (struct scan_page){
        .buffer = buffer,
        .capacity = BUFFER_BYTES,
        .count_max = 1 + model_below(m, 300),
        .keys_only = model_below(m, 2) == 0,
    };
    scan_begin(&page, "k", 1, after->name, model_below(m, 4) != 0 ? after->length : 0);
    struct order_key from = page.from;
    if (scan_read(&page, &f->space, &p) != 0)
        return;
    m->counts.pages++;
    page_check(m, &page, &from, p.lsn);
}
