#include "tests/unit/engine/model.h"

#include "engine/hash.h"
#include "engine/number.h"

#include <stdlib.h>

#define CANDIDATES 1000000u /* looked through for keys with the same hash */

uint32_t model_below(struct model *m, uint32_t n)
{
    return fixture_below(&m->random, n);
}

/* Some keys are written far more often than others. */
uint32_t model_some_key(struct model *m)
{
    return model_below(m, model_below(m, 3) == 0 ? 40 : m->keys_in_use);
}

/* ---- keys ---- */

struct candidate {
    uint32_t hash, number;
};

static int by_hash(const void *a, const void *b)
{
    const struct candidate *one = a, *other = b;
    return (one->hash > other->hash) - (one->hash < other->hash);
}

static void key_make(struct model_key *k, uint32_t number)
{
    k->length = (uint32_t)snprintf(k->name, sizeof k->name, "k%u", number);
    ASSERT(k->length < 12);
    k->hash = hash_key(k->name, k->length);
}

/* Numbers of keys that share their hash, found once: pairs, one after the other. */
static uint32_t pairs_find(uint32_t *numbers, uint32_t room)
{
    struct candidate *all = malloc(CANDIDATES * sizeof *all);
    struct model_key k;
    uint32_t count = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(all);
    for (uint32_t i = 0; all != NULL && i < CANDIDATES; i++) {
        key_make(&k, i);
        all[i] = (struct candidate){.hash = (uint32_t)k.hash, .number = i};
    }
    qsort(all, CANDIDATES, sizeof *all, by_hash);
    for (uint32_t i = 1; i < CANDIDATES && count + 2 <= room; i++) {
        if (all[i].hash != all[i - 1].hash)
            continue;
        numbers[count++] = all[i - 1].number;
        numbers[count++] = all[i].number;
    }
    free(all);
    return count;
}

static void keys_make(struct model *m)
{
    static uint32_t numbers[MODEL_KEYS], pairs;
    if (pairs == 0)
        pairs = pairs_find(numbers, MODEL_KEYS);
    for (uint32_t i = 0; i < MODEL_KEYS; i++)
        key_make(&m->keys[i], i < pairs ? numbers[i] : CANDIDATES + i);
    for (uint32_t i = MODEL_KEYS; i < MODEL_KEYS + MODEL_SUMS; i++)
        key_make(&m->keys[i], CANDIDATES + i);
}

/* ---- the map ---- */

void model_add(struct model *m, uint32_t number, struct model_version v)
{
    struct model_key *k = &m->keys[number];
    if (k->count == k->room) {
        k->room = k->room != 0 ? 2 * k->room : 4;
        k->versions = realloc(k->versions, k->room * sizeof *k->versions);
        ASSERT(k->versions != NULL);
    }
    k->versions[k->count++] = v;
}

const struct model_version *model_at(const struct model *m, uint32_t number, uint64_t lsn)
{
    const struct model_key *k = &m->keys[number];
    for (uint32_t i = k->count; i-- > 0;)
        if (k->versions[i].lsn_end <= lsn)
            return k->versions[i].version != 0 ? &k->versions[i] : NULL;
    return NULL;
}

const struct model_version *model_newest(const struct model *m, uint32_t number)
{
    return model_at(m, number, UINT64_MAX);
}

static void session_forget_above(struct model_session *s, uint64_t lsn)
{
    if (s->lsn >= lsn) {
        s->lsn = s->sequence = 0;
        s->lsn_close = 0;
    }
    if (s->lsn == 0 && s->lsn_close > lsn) { /* that it was closed is undone */
        s->lsn = s->lsn_old;
        s->lsn_close = 0;
    }
    while (s->lsn != 0 && s->sequence != 0 &&
           s->outcomes[s->sequence % MODEL_OUTCOMES].lsn_end > lsn)
        s->sequence--;
}

void model_forget(struct model *m, uint64_t lsn)
{
    for (uint32_t i = 0; i < MODEL_KEYS + MODEL_SUMS; i++) {
        struct model_key *k = &m->keys[i];
        while (k->count != 0 && k->versions[k->count - 1].lsn_end > lsn)
            k->count--;
    }
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++)
        session_forget_above(&m->sessions[i], lsn);
}

/* ---- checks ---- */

void model_check_value(struct model *m, uint32_t number, const struct model_version *v,
                       const uint8_t *value, uint32_t length)
{
    int64_t sum = v->sum + 1;
    uint64_t version;
    if (v->length == 0) {
        MODEL_CHECK(m, number_parse(value, length, &sum) == 0 && sum == v->sum);
        return;
    }
    memcpy(&version, value, sizeof version);
    MODEL_CHECK(m, length == v->length && version == v->version);
    MODEL_CHECK(m, fixture_value_is(number, version, value + 8, length - 8));
}

#define READ_TRIES 3u

void model_check_key(struct model *m, const struct fixture *f, uint32_t number)
{
    static uint8_t value[MODEL_VALUE_MAX];
    struct read_key k;
    struct read_point p;
    struct read_found found = {.lsn = 0};
    int result = -EAGAIN;
    bool good = false;
    read_key_init(&k, &f->space, m->keys[number].name, m->keys[number].length);
    for (uint32_t i = 0; i < READ_TRIES && !good; i++) {
        read_begin(&p, &f->space, 0);
        result = read_find(&p, &f->space, &k, &found);
        if (result == 1)
            read_copy(&found, value, sizeof value);
        good = result >= 0 && read_validate(&p, &f->space, result == 0);
    }
    if (!good)
        return;
    m->counts.reads++;
    const struct model_version *v = model_at(m, number, p.lsn);
    MODEL_CHECK(m, result == (v != NULL));
    if (v == NULL)
        return;
    MODEL_CHECK(m, found.lsn == v->lsn);
    model_check_value(m, number, v, value, found.value_length);
}

void model_check_all(struct model *m)
{
    for (uint32_t i = 0; i < MODEL_KEYS + MODEL_SUMS; i++) {
        model_check_key(m, &m->nodes[0], i);
        model_check_key(m, &m->nodes[1], i);
    }
    model_check_live(m, &m->nodes[0]);
    model_check_live(m, &m->nodes[1]);
}

void model_check_live(struct model *m, const struct fixture *f)
{
    if (f->shard->install.beside == INSTALL_NONE && f->shard->lsn_visible == 0)
        MODEL_CHECK(m, f->shard->live_bytes == fixture_live_bytes(f, NULL));
}

/* ---- a run ---- */

struct model *model_open(uint64_t seed, const struct model_policy *policy)
{
    static const uint64_t quotas[] = {3, 5, 10}; /* MiB */
    struct model *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    m->seed = m->random = seed;
    m->epoch = 1;
    m->policy = *policy;
    keys_make(m);
    const struct fixture_config config = {
        .quota_bytes = quotas[model_below(m, 3)] << 20,
        .shard_count = 1,
        .sessions_max = MODEL_SESSIONS + 2,
        .ordered = true,
        .history = policy->history,
        .history_ns = policy->history_ns,
    };
    for (uint32_t i = 0; i < 2; i++) {
        fixture_open(&m->nodes[i], &config);
        m->nodes[i].now.context = &m->nodes[i];
        shard_grant(m->nodes[i].shard, UINT64_C(1) << 40);
    }
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++)
        m->sessions[i].id[0] = (uint8_t)(i + 1);
    m->committed = m->nodes[0].shard->lsn_committed;
    return m;
}

void model_close(struct model *m)
{
    for (uint32_t i = 0; i < MODEL_KEYS + MODEL_SUMS; i++)
        free(m->keys[i].versions);
    fixture_close(&m->nodes[0]);
    fixture_close(&m->nodes[1]);
    free(m);
}
