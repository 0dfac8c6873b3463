/* What a cursor gives out of a log that stands still; the moving one is model_cursor.c's and
 * test_cursor_interleaved.c's. */
#include "engine/cursor.h"
#include "engine/land.h"
#include "tests/unit/engine/transaction_items.h"

#define SEGMENT (UINT64_C(1) << 16)

static struct fixture f;
static alignas(8) uint8_t bytes[1u << 17];
static struct topic everything;

static void open(void)
{
    fixture_open(&f, &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20, .shard_count = 1});
    shard_grant(f.shard, UINT64_C(1) << 40);
    CU_ASSERT_EQUAL_FATAL(topic_prefix(&everything, NULL, 0), 0);
}

/* Number of records in the batch; names of their keys follow each other in text. */
static uint32_t keys_of(const struct cursor_batch *b, char *text)
{
    uint32_t count = 0;
    text[0] = 0;
    for (uint64_t at = 0; at < b->length;) {
        struct record h;
        if (b->bytes[at + 5] == RECORD_PAD) { /* the mark of an end */
            at += record_step(b->bytes + at, &h);
            continue;
        }
        count++;
        CU_ASSERT_TRUE_FATAL(record_check(b->bytes + at, b->length - at, &h) > 0);
        const struct record *r = (const void *)(b->bytes + at);
        (void)snprintf(text + strlen(text), 32, "%.*s%s ", (int)h.key_length,
                       (const char *)record_key(r), h.kind == RECORD_TOMBSTONE ? "-" : "");
        at += record_size(&h);
    }
    return count;
}

/* All up to what is committed, as one text; what the last call returned in *result. */
static void drain(struct cursor *c, const struct topic *t, char *text, int *result)
{
    struct cursor_batch b = {.bytes = bytes, .capacity = sizeof bytes};
    text[0] = 0;
    while ((*result = cursor_read(c, &f.space, t, &b)) == 1)
        (void)keys_of(&b, text + strlen(text));
}

static void put_text(const char *key, const char *value)
{
    CU_ASSERT_EQUAL_FATAL(
        fixture_put(&f, key, (uint32_t)strlen(key), value, (uint32_t)strlen(value)), 0);
}

static void what_is_committed_comes_in_order_and_once(void)
{
    char text[256];
    int result;
    open();
    struct cursor c = {.start = CURSOR_OLDEST}, now = {.start = CURSOR_NOW};
    drain(&now, &everything, text, &result);
    CU_ASSERT_EQUAL(result, 0);
    put_text("a", "1");
    put_text("b", "2");
    fixture_commit(&f);
    put_text("c", "3");
    CU_ASSERT_TRUE(cursor_has_more(&c, &f.space));
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "a b ");
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_FALSE(cursor_has_more(&c, &f.space));
    CU_ASSERT_EQUAL(fixture_delete(&f, "a", 1), 0);
    fixture_commit(&f);
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "c a- ");
    drain(&now, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "a b c a- ");
    fixture_close(&f);
}

static void only_keys_that_match_come(void)
{
    char text[256];
    int result;
    open();
    struct topic t;
    static const char *const keys[] = {"air/1/x", "air/22222222/x", "air/1/y",
                                       "sea/1/x", "air/",           "ai"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        put_text(keys[i], "v");
    fixture_commit(&f);
    CU_ASSERT_EQUAL_FATAL(topic_pattern(&t, "air/*/x", 7), 0);
    struct cursor c = {.start = CURSOR_OLDEST};
    drain(&c, &t, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "air/1/x air/22222222/x ");
    CU_ASSERT_EQUAL_FATAL(topic_prefix(&t, "air/", 4), 0);
    c = (struct cursor){.start = CURSOR_OLDEST};
    drain(&c, &t, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "air/1/x air/22222222/x air/1/y air/ ");
    CU_ASSERT_EQUAL_FATAL(topic_prefix(&t, "air/22222222", 12), 0);
    c = (struct cursor){.start = CURSOR_OLDEST};
    drain(&c, &t, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "air/22222222/x ");
    fixture_close(&f);
}

static void a_version_is_a_place_to_begin(void)
{
    char text[256];
    int result;
    open();
    uint64_t at[3];
    struct shard_answer answer;
    put_text("before", "x");
    fixture_commit(&f);
    fixture_answers(&f);
    CU_ASSERT_EQUAL(transaction_done(&f, &answer, ITEMS_OF(put("a", "1"), put("b", "2"))), RING_OK);
    at[0] = version_of(&f, "a");
    at[1] = version_of(&f, "b");
    put_text("c", "3");
    fixture_commit(&f);
    at[2] = version_of(&f, "c");
    static const char *const expected[] = {"a b c ", "a b c ", "c "};
    for (unsigned i = 0; i < 3; i++) {
        struct cursor c = {.lsn = at[i], .start = CURSOR_SEEK};
        drain(&c, &everything, text, &result);
        CU_ASSERT_STRING_EQUAL(text, expected[i]);
        c = (struct cursor){.lsn = at[i] + 8, .start = CURSOR_SEEK}; /* inside of it */
        drain(&c, &everything, text, &result);
        CU_ASSERT_STRING_EQUAL(text, expected[i]);
    }
    struct cursor ahead = {.lsn = f.shard->log.lsn_end + 64, .start = CURSOR_SEEK};
    drain(&ahead, &everything, text, &result);
    CU_ASSERT_EQUAL(result, 0);
    fixture_close(&f);
}

static void a_transaction_comes_whole_or_not_at_all(void)
{
    open();
    char text[512];
    struct shard_answer answer;
    struct cursor c = {.start = CURSOR_NOW};
    struct cursor_batch b = {.bytes = bytes, .capacity = 0};
    CU_ASSERT_EQUAL(cursor_read(&c, &f.space, &everything, &b), 0);
    CU_ASSERT_EQUAL(transaction_done(&f, &answer, many(0, 10, 100), 10), RING_OK);
    unsigned tries = 0;
    int result;
    while ((result = cursor_read(&c, &f.space, &everything, &b)) == -ENOBUFS) {
        CU_ASSERT_EQUAL(b.length, 0);
        CU_ASSERT_TRUE_FATAL(b.needed > b.capacity && b.needed <= sizeof bytes && tries++ < 20);
        b.capacity = b.needed;
    }
    CU_ASSERT_EQUAL(result, 1);
    CU_ASSERT_TRUE(tries > 1);
    CU_ASSERT_EQUAL(keys_of(&b, text), 10);
    CU_ASSERT_EQUAL(c.lsn, f.shard->log.lsn_end);
    fixture_close(&f);
}

/* A stride ends where a transaction does, and a batch where the next one does not fit. */
static void a_small_batch_is_filled_again_and_again(void)
{
    open();
    char key[32], text[4096];
    static uint8_t value[600];
    for (uint32_t i = 0; i < 300; i++)
        CU_ASSERT_EQUAL_FATAL(fixture_put(&f, key, fixture_key(i, key), value, sizeof value), 0);
    fixture_commit(&f);
    struct cursor c = {.start = CURSOR_OLDEST};
    struct cursor_batch b = {.bytes = bytes, .capacity = 2048};
    uint32_t count = 0, reads = 0;
    int result;
    while ((result = cursor_read(&c, &f.space, &everything, &b)) == 1) {
        CU_ASSERT(b.length <= b.capacity);
        count += keys_of(&b, text);
        reads++;
    }
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT_EQUAL(count, 300);
    CU_ASSERT(reads > 100);
    fixture_close(&f);
}

static void sessions_epochs_and_failed_conditions_are_no_events(void)
{
    char text[256];
    int result;
    static const uint8_t id[SESSION_ID_BYTES] = {1};
    open();
    struct shard_origin nobody = {.operation = 0};
    CU_ASSERT_EQUAL(shard_session_open(f.shard, &nobody, id, 7, 0), 0);
    fixture_commit(&f);
    struct shard_write w = fixture_write_of(&f, RING_PUT, "k", 1);
    w.session_slot = 0;
    w.session = f.shard->sessions.entries[0].lsn_opened;
    w.uid = 7;
    w.sequence = 1;
    w.value = "v";
    w.value_length = 1;
    w.compare = true;
    w.expected_lsn = 1;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0); /* a void */
    fixture_commit(&f);
    CU_ASSERT_EQUAL(shard_session_close(f.shard, &nobody, id, 7, 0), 0);
    fixture_commit(&f);
    put_text("k", "v");
    fixture_commit(&f);
    struct cursor c = {.start = CURSOR_OLDEST};
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "k ");
    CU_ASSERT_EQUAL(result, 0);
    fixture_close(&f);
}

/* Write so much that the log's beginning is cleaned. */
static void wrap(void)
{
    static uint8_t value[5000];
    for (uint32_t i = 0; i < 2000; i++) {
        while (fixture_put(&f, "w", 1, value, sizeof value) != 0)
            (void)fixture_maintain(&f);
        fixture_commit(&f);
        (void)fixture_maintain(&f);
    }
}

static void who_falls_behind_is_told_where_the_tail_begins(void)
{
    char text[64];
    int result;
    open();
    put_text("a", "1");
    fixture_commit(&f);
    struct cursor c = {.start = CURSOR_OLDEST};
    struct cursor_batch b = {.bytes = bytes, .capacity = sizeof bytes};
    CU_ASSERT_EQUAL(cursor_read(&c, &f.space, &everything, &b), 1); /* it sought */
    struct cursor before = c;
    wrap();
    CU_ASSERT_EQUAL(cursor_read(&c, &f.space, &everything, &b), -ENODATA);
    CU_ASSERT_EQUAL(c.lsn, before.lsn);
    CU_ASSERT_EQUAL(cursor_read(&c, &f.space, &everything, &b), -ENODATA); /* not only once */
    uint64_t missed = cursor_resume(&c, &f.space);
    uint64_t available;
    CU_ASSERT_EQUAL(missed, c.lsn - before.lsn);
    CU_ASSERT_TRUE(missed != 0 && c.lsn < f.shard->lsn_committed);
    CU_ASSERT_PTR_NOT_NULL(log_bytes_at(&f.shard->log, c.lsn, &available));
    /* Why not held: what is older is not. */
    CU_ASSERT_PTR_NULL(log_bytes_at(&f.shard->log, c.lsn - SEGMENT, &available));
    uint32_t count = 0;
    while ((result = cursor_read(&c, &f.space, &everything, &b)) == 1)
        count += b.length != 0;
    CU_ASSERT_EQUAL(result, 0);
    CU_ASSERT(count > 1);
    CU_ASSERT_EQUAL(c.lsn, f.shard->lsn_committed);
    put_text("z", "1");
    fixture_commit(&f);
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "z ");
    fixture_close(&f);
}

static void a_jump_of_the_lsns_is_a_lag(void)
{
    char text[64];
    int result;
    open();
    put_text("a", "1");
    fixture_commit(&f);
    struct cursor c = {.start = CURSOR_OLDEST};
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "a ");
    CU_ASSERT_EQUAL_FATAL(shard_epoch_lossy(f.shard, 2, f.shard->log.lsn_end + 7 * SEGMENT, 0), 0);
    put_text("b", "2");
    fixture_commit(&f);
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(result, -ENODATA);
    CU_ASSERT(cursor_resume(&c, &f.space) >= 6 * SEGMENT);
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "b ");
    CU_ASSERT_EQUAL(result, 0);
    fixture_close(&f);
}

static void what_is_not_mapped_is_asked_for(void)
{
    char text[64];
    int result;
    open();
    put_text("a", "1");
    fixture_commit(&f);
    struct cursor c = {.start = CURSOR_OLDEST};
    f.space.mapped_bytes = 0;
    drain(&c, &everything, text, &result);
    CU_ASSERT_EQUAL(result, -EFAULT);
    f.space.mapped_bytes = (uint64_t)f.geometry.chunk_count_max << f.geometry.chunk_shift;
    drain(&c, &everything, text, &result);
    CU_ASSERT_STRING_EQUAL(text, "a ");
    fixture_close(&f);
}

/* No walk leaves what is committed, whatever stands there; and damage ends in a word, not in a loop. */
static void damaged_memory_is_said_to_be_so(void)
{
    uint64_t seed = 5;
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < 300; i++) {
        open();
        char key[32];
        static uint8_t value[300];
        for (uint32_t n = 0; n < 40; n++)
            CU_ASSERT_EQUAL_FATAL(
                fixture_put(&f, key, fixture_key(n, key), value, fixture_below(&seed, 300)), 0);
        fixture_commit(&f);
        uint64_t available, start = f.shard->log.lsn_origin;
        uint8_t *log = (uint8_t *)(uintptr_t)log_bytes_at(&f.shard->log, start, &available);
        log[fixture_below(&seed, (uint32_t)available)] ^= (uint8_t)(1u << fixture_below(&seed, 8));
        struct cursor c = {.start = CURSOR_OLDEST};
        struct cursor_batch b = {.bytes = bytes, .capacity = sizeof bytes};
        int result;
        uint32_t turn = 0;
        do {
            result = cursor_read(&c, &f.space, &everything, &b);
            CU_ASSERT_TRUE_FATAL(turn++ < 100);
        } while (result == 1 || result == -EAGAIN);
        CU_ASSERT_TRUE(result == 0 || result == -EBADMSG);
        damaged += result == -EBADMSG;
        fixture_close(&f);
    }
    CU_ASSERT(damaged > 10);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_committed_comes_in_order_and_once),
    UNIT_TEST(only_keys_that_match_come),
    UNIT_TEST(a_version_is_a_place_to_begin),
    UNIT_TEST(a_transaction_comes_whole_or_not_at_all),
    UNIT_TEST(a_small_batch_is_filled_again_and_again),
    UNIT_TEST(sessions_epochs_and_failed_conditions_are_no_events),
    UNIT_TEST(who_falls_behind_is_told_where_the_tail_begins),
    UNIT_TEST(a_jump_of_the_lsns_is_a_lag),
    UNIT_TEST(what_is_not_mapped_is_asked_for),
    UNIT_TEST(damaged_memory_is_said_to_be_so),
};
UNIT_MAIN("cursor", tests)
