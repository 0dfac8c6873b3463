/* What a shard holds, and that it never fills up: whatever sizes are written, for however long, a
 * write is taken in the end or refused by quota, and a delete always makes room. */
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEYS_MAX 8192u

struct model {
    struct fixture f;
    uint64_t version[KEYS_MAX]; /* 0: not there */
    uint32_t length[KEYS_MAX];
    uint64_t seed;
    uint64_t written; /* bytes */
    uint32_t refused, stuck;
    uint8_t *value;
};

static struct model m;

static void model_open(uint64_t quota_bytes, uint32_t frames, uint64_t seed)
{
    uint8_t *value = m.value;
    memset(&m, 0, sizeof m);
    m.value = value != NULL ? value : malloc(LIMIT_VALUE_BYTES);
    m.seed = seed;
    fixture_open(&m.f, &(struct fixture_config){
                           .quota_bytes = quota_bytes,
                           .shard_count = 1,
                           .frames_per_shard = frames,
                       });
}

/* Passes that a write may be put back before we call the shard stuck. */
#define PATIENCE 20000u

static int write_patiently(uint32_t key, bool put, uint32_t length, uint64_t version)
{
    char name[32];
    uint32_t name_length = fixture_key(key, name);
    for (unsigned i = 0; i < PATIENCE; i++) {
        fixture_value(key, version, m.value, length);
        int r = put ? fixture_put(&m.f, name, name_length, m.value, length)
                    : fixture_delete(&m.f, name, name_length);
        if (r != -EAGAIN)
            return r;
        fixture_commit(&m.f);
        (void)fixture_maintain(&m.f);
    }
    m.stuck++;
    return -EAGAIN;
}

static void model_put(uint32_t key, uint32_t length, uint64_t version)
{
    int r = write_patiently(key, true, length, version);
    if (r == 0) {
        m.version[key] = version;
        m.length[key] = length;
        m.written += record_bytes(0, 8, length);
    } else if (r == RING_QUOTA) {
        m.refused++;
    } else if (m.stuck == 0) {
        CU_ASSERT_EQUAL(r, 0);
    }
}

static void model_delete(uint32_t key)
{
    int r = write_patiently(key, false, 0, 0);
    if (m.stuck == 0)
        CU_ASSERT_EQUAL(r, 0);
    m.version[key] = 0;
}

static bool model_key_agrees(uint32_t key)
{
    char name[32];
    struct read_found found;
    int r = fixture_read(&m.f, name, fixture_key(key, name), &found);
    if (r != (m.version[key] != 0))
        return false;
    if (r == 0)
        return true;
    read_copy(&found, m.value, LIMIT_VALUE_BYTES);
    return found.value_length == m.length[key] &&
           fixture_value_is(key, m.version[key], m.value, found.value_length);
}

static uint32_t model_disagreements(uint32_t keys)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < keys; i++)
        wrong += !model_key_agrees(i);
    return wrong;
}

static void expect_live_bytes(void)
{
    static uint32_t live[FIXTURE_FRAMES];
    memset(live, 0, sizeof live);
    CU_ASSERT_EQUAL(m.f.shard->live_bytes, fixture_live_bytes(&m.f, live));
    uint32_t differ = 0;
    uint64_t difference = 0;
    for (uint32_t i = 0; i < layout_frame_count(&m.f.geometry); i++) {
        uint32_t said = atomic_load_explicit(&m.f.directory[i].bytes_live, memory_order_relaxed);
        differ += said != live[i];
        difference += said - live[i];
    }
    CU_ASSERT(differ <= 1); /* the segment with the epoch record */
    CU_ASSERT_EQUAL(difference, record_bytes(32, 0, 0));
}

/* How long the values of a run are. */
enum sizes { SIZES_EMPTY, SIZES_TINY, SIZES_MIDDLE, SIZES_HALF, SIZES_LARGEST, SIZES_MIXED };

static uint32_t size_of(enum sizes sizes)
{
    uint32_t most = m.f.shard->value_bytes_max;
    switch (sizes) {
    case SIZES_EMPTY:
        return 0;
    case SIZES_TINY:
        return fixture_below(&m.seed, 9);
    case SIZES_MIDDLE:
        return fixture_below(&m.seed, 2000);
    case SIZES_HALF:
        return most / 2 + 400;
    case SIZES_LARGEST:
        return most;
    default:
        return size_of((enum sizes)fixture_below(&m.seed, SIZES_MIXED));
    }
}

static void fill_and_churn(uint64_t quota, uint32_t frames, enum sizes sizes, uint32_t keys,
                           uint64_t arenas)
{
    model_open(quota, frames, quota + frames + sizes);
    struct model *t = &m;
    uint64_t arena = (uint64_t)t->f.geometry.frames_per_shard << t->f.geometry.segment_shift;
    uint64_t version = 0;
    uint64_t goal = arena * arenas;
    for (uint32_t i = 0; m.written < goal && m.stuck == 0; i++) {
        uint32_t key = fixture_below(&m.seed, keys);
        if (fixture_below(&m.seed, 8) == 0 && m.version[key] != 0)
            model_delete(key);
        else
            model_put(key, size_of(sizes), ++version);
        if (fixture_below(&m.seed, 16) == 0) {
            fixture_commit(&m.f);
            (void)fixture_maintain(&m.f);
        }
        if (i % 2048 == 0)
            expect_live_bytes();
        if (m.refused > 4000)
            break;
    }
    CU_ASSERT_EQUAL(m.stuck, 0);
    fixture_settle(&m.f);
    expect_live_bytes();
    CU_ASSERT_EQUAL(model_disagreements(keys), 0);
    fixture_close(&m.f);
}

static void a_shard_of_eight_frames_takes_writes_for_ever(void)
{
    for (enum sizes s = SIZES_EMPTY; s <= SIZES_MIXED; s++) {
        fill_and_churn(UINT64_C(2) << 20, 8, s, 40, 50);
        fill_and_churn(UINT64_C(2) << 20, 8, s, 4000, 50);
    }
}

static void a_larger_shard_takes_writes_for_ever(void)
{
    for (enum sizes s = SIZES_EMPTY; s <= SIZES_MIXED; s++)
        fill_and_churn(UINT64_C(4) << 20, 0, s, KEYS_MAX, 20);
}

/* Fill with new keys until the quota says no; then each delete must be taken, and make room. */
static void fill_up(uint64_t quota, uint32_t frames, enum sizes sizes)
{
    model_open(quota, frames, sizes);
    uint32_t keys = 0;
    while (m.refused == 0 && m.stuck == 0 && keys < KEYS_MAX) {
        model_put(keys, size_of(sizes), keys + 1);
        keys += m.refused == 0;
    }
    CU_ASSERT(m.refused != 0 || keys == KEYS_MAX);
    CU_ASSERT(keys >= 1);
    fixture_settle(&m.f);
    CU_ASSERT_EQUAL(model_disagreements(keys), 0);
    /* overwriting what is there by as much goes on, or is refused; it does not hang */
    for (uint32_t i = 0; i < 4 * keys + 100 && m.stuck == 0; i++) {
        uint32_t key = fixture_below(&m.seed, keys);
        model_put(key, m.length[key], 100000 + i);
    }
    for (uint32_t i = 0; i < (keys + 1) / 2 && m.stuck == 0; i++)
        model_delete(i);
    fixture_settle(&m.f);
    m.refused = 0;
    if (m.stuck == 0)
        model_put(0, m.length[0] / 2, 999999);
    CU_ASSERT_EQUAL(m.refused, 0);
    CU_ASSERT_EQUAL(m.stuck, 0);
    fixture_settle(&m.f);
    CU_ASSERT_EQUAL(model_disagreements(keys), 0);
    expect_live_bytes();
    fixture_close(&m.f);
}

static void a_full_shard_refuses_by_quota_and_recovers_after_deletes(void)
{
    for (enum sizes s = SIZES_EMPTY; s <= SIZES_MIXED; s++) {
        fill_up(UINT64_C(2) << 20, 8, s);
        fill_up(UINT64_C(2) << 20, 0, s);
        fill_up(UINT64_C(4) << 20, 0, s);
    }
}

static void sessions_do_not_wedge_a_full_shard(void)
{
    uint8_t *value = m.value;
    memset(&m, 0, sizeof m);
    m.value = value != NULL ? value : malloc(LIMIT_VALUE_BYTES);
    fixture_open(&m.f, &(struct fixture_config){
                           .quota_bytes = UINT64_C(2) << 20,
                           .shard_count = 1,
                           .frames_per_shard = 8,
                           .sessions_max = LIMIT_SESSIONS,
                       });
    uint32_t keys = 0;
    while (m.refused == 0 && m.stuck == 0 && keys < KEYS_MAX) {
        model_put(keys, 300, keys + 1);
        keys += m.refused == 0;
    }
    uint32_t opened = 0;
    int last = 0;
    for (uint64_t i = 1; i <= LIMIT_SESSIONS; i++) {
        uint64_t id[2] = {i, i};
        struct shard_origin origin = {.operation = RING_SESSION_OPEN};
        unsigned tries = 0;
        do {
            last = shard_session_open(m.f.shard, &origin, (const uint8_t *)id, 1, 1);
            fixture_commit(&m.f);
            (void)fixture_maintain(&m.f);
        } while (last == -EAGAIN && ++tries < PATIENCE);
        m.stuck += last == -EAGAIN;
        opened += last == 0;
        if (last != 0)
            break;
    }
    CU_ASSERT(last == 0 || last == RING_QUOTA);
    CU_ASSERT(opened >= 16);
    for (uint32_t i = 0; i < keys && m.stuck == 0; i++)
        model_delete(i);
    CU_ASSERT_EQUAL(m.stuck, 0);
    fixture_settle(&m.f);
    CU_ASSERT_EQUAL(model_disagreements(keys), 0);
    expect_live_bytes();
    fixture_close(&m.f);
}

/* Control cannot make more chunks: the arena is what there is. */
static void a_missing_chunk_is_refused_by_quota(void)
{
    uint8_t *value = m.value;
    memset(&m, 0, sizeof m);
    m.value = value != NULL ? value : malloc(LIMIT_VALUE_BYTES);
    fixture_open(&m.f, &(struct fixture_config){
                           .quota_bytes = UINT64_C(8) << 20,
                           .shard_count = 1,
                           .chunks = 1,
                       });
    uint32_t keys = 0;
    char name[32];
    int r = 0;
    while (r == 0 && keys < KEYS_MAX) {
        r = fixture_put(&m.f, name, fixture_key(keys, name), m.value, 2000);
        keys += r == 0;
        fixture_commit(&m.f);
        (void)fixture_maintain(&m.f);
    }
    CU_ASSERT_EQUAL(r, -EAGAIN); /* the chunk is on its way */
    CU_ASSERT_EQUAL(atomic_load_explicit(m.f.chunks_wanted, memory_order_relaxed), 2);
    atomic_store_explicit(&m.f.header->chunk_limit, 1, memory_order_relaxed);
    r = write_patiently(keys, true, 2000, 1);
    CU_ASSERT_EQUAL(r, RING_QUOTA);
    CU_ASSERT_EQUAL(write_patiently(0, false, 0, 0), 0);
    CU_ASSERT_EQUAL(m.stuck, 0);
    atomic_store_explicit(&m.f.header->chunk_limit, m.f.geometry.chunk_count_max,
                          memory_order_relaxed);
    atomic_store_explicit(&m.f.header->chunk_count, 2, memory_order_release);
    CU_ASSERT_EQUAL(write_patiently(keys, true, 2000, 1), 0);
    fixture_close(&m.f);
}

/* Half a segment and a header: each has a segment to itself, and is charged for it, and hardly more. */
static void what_leaves_half_a_segment_empty_is_charged_for_it(void)
{
    model_open(UINT64_C(8) << 20, 0, 11);
    const struct shard *s = m.f.shard;
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    uint32_t before = frames_available(&s->frames);
    uint64_t charged = s->live_charge;
    CU_ASSERT_EQUAL_FATAL(segment, 128u << 10);
    for (uint32_t key = 0; key < 20; key++)
        model_put(key, 64u << 10, 1);
    uint64_t taken = (before - frames_available(&s->frames)) * segment;
    charged = s->live_charge - charged;
    CU_ASSERT(taken >= 19 * segment && taken <= 21 * segment);
    CU_ASSERT(charged >= 20 * segment && charged <= 20 * (segment + segment / 128));
    fixture_close(&m.f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_shard_of_eight_frames_takes_writes_for_ever),
    UNIT_TEST(a_larger_shard_takes_writes_for_ever),
    UNIT_TEST(a_full_shard_refuses_by_quota_and_recovers_after_deletes),
    UNIT_TEST(sessions_do_not_wedge_a_full_shard),
    UNIT_TEST(a_missing_chunk_is_refused_by_quota),
    UNIT_TEST(what_leaves_half_a_segment_empty_is_charged_for_it),
};
UNIT_MAIN("shard_space", tests)
