/* A follower lands what a leader wrote, in any order and with losses, and cuts what did not last.
 */
#include "engine/hash.h"
#include "engine/land.h"
#include "engine/pending.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEYS 400u
#define ROUNDS 1500u
#define VALUE_BYTES 300u

static const struct fixture_config small = {
    .quota_bytes = UINT64_C(2) << 20,
    .shard_count = 1,
    .sessions_max = 16,
};

/* What the leader's keys hold: version 0 is none. */
struct model {
    uint64_t versions[KEYS];
    uint32_t lengths[KEYS];
};

static void write_some(struct fixture *leader, struct model *m, uint64_t *seed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        uint8_t value[VALUE_BYTES];
        uint32_t number = fixture_below(seed, KEYS);
        uint32_t key_length = fixture_key(number, key);
        if (fixture_below(seed, 8) == 0) {
            if (fixture_delete(leader, key, key_length) == 0)
                m->versions[number] = 0;
            continue;
        }
        uint64_t version = fixture_random(seed) | 1;
        uint32_t length = fixture_below(seed, VALUE_BYTES);
        fixture_value(number, version, value, length);
        if (fixture_put(leader, key, key_length, value, length) == 0) {
            m->versions[number] = version;
            m->lengths[number] = length;
        }
    }
}

static void check_equal(const struct fixture *f, const struct model *m)
{
    for (uint32_t number = 0; number < KEYS; number++) {
        char key[32];
        uint8_t value[VALUE_BYTES];
        uint32_t key_length = fixture_key(number, key);
        struct read_found found;
        int result = fixture_read(f, key, key_length, &found);
        CU_ASSERT_EQUAL(result, m->versions[number] != 0);
        if (result != 1 || m->versions[number] == 0)
            continue;
        read_copy(&found, value, sizeof value);
        CU_ASSERT_EQUAL(found.value_length, m->lengths[number]);
        CU_ASSERT(fixture_value_is(number, m->versions[number], value, m->lengths[number]));
    }
}

/* Bytes of the leader's log at lsn, at most length, within what is retained. */
static uint64_t ship(const struct fixture *leader, struct fixture *follower, uint64_t lsn,
                     uint64_t length, int *result)
{
    uint64_t available = 0;
    const uint8_t *bytes = log_bytes_at(&leader->shard->log, lsn, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    length = min_u64(length, available);
    *result = land_bytes(follower->shard, lsn, bytes, length);
    return length;
}

static void maintain(struct fixture *f)
{
    fixture_commit(f);
    (void)fixture_maintain(f);
}

/* Ship until the follower has all that the leader has: random pieces, a third of them lost, some
 * twice. */
static void catch_up(struct fixture *leader, struct fixture *follower, uint64_t *seed)
{
    for (uint32_t turn = 0; follower->shard->log.lsn_end != leader->shard->log.lsn_end; turn++) {
        struct land_range missing;
        CU_ASSERT_FATAL(turn < 100000);
        bool any = land_missing(follower->shard, leader->shard->log.lsn_end, &missing);
        uint64_t lsn = any ? missing.lsn_start : follower->shard->log.lsn_end;
        if (fixture_below(seed, 4) == 0)
            lsn += 8 * (uint64_t)fixture_below(seed, 4000); /* ahead of the gap */
        if (any && lsn < leader->shard->log.lsn_end && fixture_below(seed, 3) != 0) {
            int result;
            (void)ship(leader, follower, lsn, 8 + 8 * (uint64_t)fixture_below(seed, 2000), &result);
            CU_ASSERT(result >= 0 || result == -EAGAIN);
        }
        int checked = land_check(follower->shard);
        CU_ASSERT(checked >= 0 || checked == -EAGAIN);
        maintain(follower);
    }
}

static void follower_equals_leader_whatever_the_order(void)
{
    for (uint64_t run = 1; run <= 5; run++) {
        struct fixture leader, follower;
        struct model m = {.versions = {0}};
        uint64_t seed = run;
        fixture_open(&leader, &small);
        fixture_open(&follower, &small);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            leader.shard->lsn_kept = follower.shard->log.lsn_end;
            write_some(&leader, &m, &seed, fixture_below(&seed, 40));
            maintain(&leader);
            if (fixture_below(&seed, 4) == 0)
                catch_up(&leader, &follower, &seed);
        }
        catch_up(&leader, &follower, &seed);
        check_equal(&leader, &m);
        check_equal(&follower, &m);
        CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
        /* more was written than the arena holds, on both */
        CU_ASSERT(fixture_counter(&follower, COUNTER_SEGMENTS_FREED) > 10);
        fixture_close(&leader);
        fixture_close(&follower);
    }
}

static void damaged_bytes_are_dropped_and_asked_for_again(void)
{
    struct fixture leader, follower;
    struct model m = {.versions = {0}};
    uint64_t seed = 7;
    fixture_open(&leader, &small);
    fixture_open(&follower, &small);
    write_some(&leader, &m, &seed, 100);
    uint64_t start = follower.shard->log.lsn_end;
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&leader.shard->log, start, &available);
    uint8_t *copy = malloc(available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    for (uint32_t i = 0; i < 2000; i++) {
        memcpy(copy, bytes, available);
        uint64_t at = fixture_below(&seed, (uint32_t)available);
        copy[at] ^= (uint8_t)(1u << fixture_below(&seed, 8));
        CU_ASSERT(land_bytes(follower.shard, start, copy, available) >= 0);
        int result = land_check(follower.shard);
        /* what is indexed lies before the damage; nothing behind it */
        CU_ASSERT(result == -EBADMSG || result >= 0);
        CU_ASSERT(follower.shard->log.lsn_end <= start + at);
        CU_ASSERT_EQUAL(land_cut(follower.shard, start, &follower.now), 0);
        fixture_settle(&follower);
    }
    free(copy);
    catch_up(&leader, &follower, &seed);
    fixture_settle(&leader);
    check_equal(&follower, &m);
    fixture_close(&leader);
    fixture_close(&follower);
}

static void a_cut_takes_back_what_was_not_committed(void)
{
    for (uint64_t run = 1; run <= 40; run++) {
        struct fixture leader, follower;
        struct model kept = {.versions = {0}};
        uint64_t seed = run;
        fixture_open(&leader, &small);
        fixture_open(&follower, &small);
        write_some(&leader, &kept, &seed, 200 + fixture_below(&seed, 1500));
        maintain(&leader);
        catch_up(&leader, &follower, &seed);
        /* what stays is in part not committed, with several versions of a key in one segment */
        write_some(&leader, &kept, &seed, 200);
        uint64_t cut = leader.shard->log.lsn_end;

        /* the leader dies with a tail that only one follower has */
        struct fixture state = leader;
        uint8_t *saved = fixture_save(&leader);
        struct model lost = kept;
        for (uint32_t i = 1 + fixture_below(&seed, 6); i != 0; i--)
            write_some(&leader, &lost, &seed, 100);
        leader.shard->lsn_kept = cut;
        while (follower.shard->log.lsn_end != leader.shard->log.lsn_end) {
            int result;
            struct land_range missing;
            if (land_missing(follower.shard, leader.shard->log.lsn_end, &missing))
                (void)ship(&leader, &follower, missing.lsn_start, 1 << 16, &result);
            if (land_check(follower.shard) < 0)
                break;
        }
        CU_ASSERT(follower.shard->log.lsn_end > cut);
        CU_ASSERT_EQUAL(land_cut(follower.shard, cut, &follower.now), 0);
        CU_ASSERT_EQUAL(follower.shard->log.lsn_end, cut);
        maintain(&follower);
        check_equal(&follower, &kept);
        CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));

        /* another leader goes on from there with other bytes at the same LSNs */
        leader = state;
        fixture_restore(&leader, saved);
        free(saved);
        write_some(&leader, &kept, &seed, 300);
        maintain(&leader);
        catch_up(&leader, &follower, &seed);
        check_equal(&follower, &kept);
        CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
        fixture_close(&leader);
        fixture_close(&follower);
    }
}

static void only_whole_aligned_ranges_within_reach_are_placed(void)
{
    struct fixture follower;
    uint8_t bytes[64] = {0};
    fixture_open(&follower, &small);
    uint64_t end = follower.shard->log.lsn_end;
    uint64_t segment = UINT64_C(1) << follower.geometry.segment_shift;
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end + 4, bytes, 8), -EINVAL);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end, bytes, 12), -EINVAL);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end, bytes, 0), -EINVAL);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end, bytes, segment + 8), -EINVAL);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, UINT64_MAX - 7, bytes, 64), -EINVAL);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end + segment, bytes, 8), 0);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end + 2 * segment, bytes, 8), 0);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end + 3 * segment, bytes, 8), -EAGAIN);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end - 8, bytes, 8), 0);
    fixture_close(&follower);
}

/* Ranges in order, broken off anywhere: every record but the last, broken one is judged as it is
 * copied, and what lands counts for the cleaner. */
static void records_broken_between_ranges_are_judged_as_they_come(void)
{
    struct fixture leader, follower;
    struct model m = {.versions = {0}};
    uint64_t seed = 11, at;
    fixture_open(&leader, &small);
    fixture_open(&follower, &small);
    write_some(&leader, &m, &seed, 600);
    at = follower.shard->log.lsn_end;
    while (at != leader.shard->log.lsn_end) {
        int result;
        uint64_t appended = follower.shard->bytes_appended, end = follower.shard->log.lsn_end;
        at += ship(&leader, &follower, at, 8 + 8 * (uint64_t)fixture_below(&seed, 120), &result);
        CU_ASSERT_EQUAL(result, 1);
        uint64_t judged = follower.shard->landing.lsn_judged;
        CU_ASSERT(land_check(follower.shard) >= 0);
        CU_ASSERT_EQUAL(follower.shard->log.lsn_end, judged);
        CU_ASSERT_EQUAL(follower.shard->bytes_appended - appended,
                        follower.shard->log.lsn_end - end);
        fixture_commit(&follower);
        fixture_answers(&follower);
    }
    CU_ASSERT_EQUAL(follower.shard->log.lsn_end, leader.shard->log.lsn_end);
    fixture_settle(&leader);
    fixture_settle(&follower);
    check_equal(&follower, &m);
    fixture_close(&leader);
    fixture_close(&follower);
}

/* What was judged is forgotten with what was dropped: other bytes at the same LSNs are judged anew. */
static void a_drop_forgets_what_was_judged(void)
{
    struct fixture leader, follower;
    struct model m = {.versions = {0}};
    uint64_t seed = 12;
    fixture_open(&leader, &small);
    fixture_open(&follower, &small);
    write_some(&leader, &m, &seed, 100);
    uint64_t start = follower.shard->log.lsn_end, available;
    const uint8_t *bytes = log_bytes_at(&leader.shard->log, start, &available);
    uint8_t *copy = malloc(available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, bytes, available);
    copy[available - 8] ^= 1; /* in the last record */
    CU_ASSERT_EQUAL(land_bytes(follower.shard, start, copy, available), 1);
    uint64_t judged = follower.shard->landing.lsn_judged;
    CU_ASSERT(judged > start && judged < start + available);
    CU_ASSERT_EQUAL(land_cut(follower.shard, start, &follower.now), 0);
    memcpy(copy, bytes, available);
    copy[70] ^= 1; /* in the first */
    CU_ASSERT_EQUAL(land_bytes(follower.shard, start, copy, available), 1);
    CU_ASSERT_EQUAL(land_check(follower.shard), -EBADMSG);
    CU_ASSERT_EQUAL(follower.shard->log.lsn_end, start);
    free(copy);
    fixture_close(&leader);
    fixture_close(&follower);
}

#define LONG_RECORDS LIMIT_TRANSACTION_RECORDS
#define LONG_BYTES 144u

/* One transaction of so many records, as a leader at lsn would write it, and its bytes. */
static uint64_t long_transaction(const struct fixture *f, uint32_t count, uint8_t *bytes)
{
    uint64_t lsn = f->shard->log.lsn_end;
    for (uint32_t i = 0; i < count; i++) {
        char key[LIMIT_KEY_BYTES];
        uint8_t value[LONG_BYTES - RECORD_HEADER_BYTES];
        uint32_t length = fixture_key(i, key);
        struct record h = {
            .format = RECORD_FORMAT,
            .kind = RECORD_DATA,
            .flags = i + 1 == count ? RECORD_FLAG_TRANSACTION_END : 0,
            .operation = RING_PUT,
            .log = f->shard->log.number,
            .value_length = (uint32_t)(LONG_BYTES - record_bytes(0, length, 0)),
            .key_length = (uint16_t)length,
            .hash = (uint32_t)hash_key(key, length),
            .lsn = lsn + (uint64_t)i * LONG_BYTES,
            .hybrid_clock = i + 1,
        };
        fixture_value(i, 1, value, h.value_length);
        struct record_parts parts = {.key = key, .value = value};
        record_write(bytes + (size_t)i * LONG_BYTES, &h, &parts);
    }
    return (uint64_t)count * LONG_BYTES;
}

static void a_long_transaction_is_landed_whole_or_not_at_all(void)
{
    static alignas(8) uint8_t bytes[LONG_RECORDS * LONG_BYTES];
    for (unsigned damaged = 0; damaged < 2; damaged++) {
        struct fixture f;
        fixture_open(&f, &small);
        uint64_t start = f.shard->log.lsn_end, keys = f.shard->index.key_count;
        (void)long_transaction(&f, LONG_RECORDS, bytes);
        bytes[50 * LONG_BYTES + 80] ^= (uint8_t)damaged;
        CU_ASSERT_EQUAL(land_bytes(f.shard, start, bytes, sizeof bytes - 8), 1);
        CU_ASSERT_EQUAL(land_check(f.shard), damaged ? -EBADMSG : 0);
        CU_ASSERT_EQUAL(f.shard->log.lsn_end, start);
        CU_ASSERT_EQUAL(f.shard->index.key_count, keys);
        if (!damaged) {
            CU_ASSERT_EQUAL(land_bytes(f.shard, start, bytes, sizeof bytes), 1);
            CU_ASSERT_EQUAL(land_check(f.shard), 1);
            CU_ASSERT_EQUAL(f.shard->log.lsn_end, start + sizeof bytes);
            CU_ASSERT_EQUAL(f.shard->index.key_count, keys + LONG_RECORDS);
            fixture_settle(&f);
            CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
        }
        fixture_close(&f);
    }
}

/* No leader writes it, and no follower could ever apply it: it stays nothing, and others are taken. */
static void a_transaction_of_too_many_records_is_refused(void)
{
    static alignas(8) uint8_t bytes[400 * LONG_BYTES];
    const uint32_t counts[] = {LIMIT_TRANSACTION_RECORDS + 1, 2 * LIMIT_TRANSACTION_RECORDS, 400};
    struct fixture f;
    fixture_open(&f, &small);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint64_t keys = f.shard->index.key_count;
        CU_ASSERT_EQUAL(fixture_put(&f, &i, sizeof i, "", 0), 0);
        uint64_t start = f.shard->log.lsn_end;
        uint64_t length = long_transaction(&f, counts[i], bytes);
        CU_ASSERT_EQUAL(land_bytes(f.shard, start, bytes, length), 1);
        CU_ASSERT_EQUAL(land_check(f.shard), -EPROTO);
        CU_ASSERT_EQUAL(f.shard->log.lsn_end, start);
        CU_ASSERT_EQUAL(f.shard->landing.lsn_received, start);
        CU_ASSERT_EQUAL(f.shard->index.key_count, keys + 1);
        CU_ASSERT_EQUAL(f.shard->pending_tail - f.shard->pending_applied, 1);
        fixture_settle(&f);
        CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    }
    fixture_close(&f);
}

/* All that the leader has, without a commit. */
static void land_all(struct fixture *leader, struct fixture *follower)
{
    while (follower->shard->log.lsn_whole != leader->shard->log.lsn_whole) {
        int result;
        uint64_t lsn = max_u64(follower->shard->log.lsn_end, follower->shard->landing.lsn_received);
        (void)ship(leader, follower, lsn, UINT64_MAX / 2, &result);
        CU_ASSERT_EQUAL_FATAL(result, 1);
        CU_ASSERT_FATAL(land_check(follower->shard) >= 0);
    }
}

static const uint8_t session_id[SESSION_ID_BYTES] = {9};

static uint64_t session_of(struct fixture *f)
{
    uint32_t slot = session_find(&f->shard->sessions, session_id);
    return slot != SESSION_NONE ? f->shard->sessions.entries[slot].lsn_opened : 0;
}

/* The leader opens a session, and closes it and opens its id again; the follower has the latter two, and
 * does not know that they are committed.  Returns the LSN of the first and of the second. */
static void session_again(struct fixture *leader, struct fixture *follower, uint64_t lsn[2])
{
    const struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    fixture_open(leader, &small);
    fixture_open(follower, &small);
    CU_ASSERT_EQUAL(shard_session_open(leader->shard, &origin, session_id, 5, 0), 0);
    fixture_commit(leader);
    lsn[0] = session_of(leader);
    /* so much that the segment of the first is cleaned while both are there */
    struct model m = {.versions = {0}};
    uint64_t seed = 3;
    for (unsigned i = 0; i < 20; i++) {
        leader->shard->lsn_kept = follower->shard->log.lsn_whole;
        write_some(leader, &m, &seed, 200);
        maintain(leader);
        land_all(leader, follower);
        fixture_commit(follower);
        fixture_answers(follower);
    }
    CU_ASSERT_EQUAL(shard_session_close(leader->shard, &origin, session_id, 5, 0), 0);
    CU_ASSERT_EQUAL(shard_session_open(leader->shard, &origin, session_id, 5, 0), -EAGAIN);
    fixture_commit(leader);
    CU_ASSERT_EQUAL(shard_session_open(leader->shard, &origin, session_id, 5, 0), 0);
    lsn[1] = session_of(leader);
    land_all(leader, follower);
    CU_ASSERT(lsn[0] != 0 && lsn[1] > lsn[0]);
    CU_ASSERT_EQUAL(session_of(follower), lsn[1]);
    CU_ASSERT_EQUAL(session_find_lsn(&follower->shard->sessions, lsn[0], SESSION_NONE), 0);
}

static void clean_all(struct fixture *f)
{
    for (unsigned i = 0; i < 200; i++) {
        f->shard->starved = true; /* the cleaner works without need */
        (void)fixture_maintain(f);
    }
}

static void an_id_opened_again_behind_its_expiry_is_found_at_a_follower(void)
{
    struct fixture leader, follower;
    uint64_t lsn[2];
    session_again(&leader, &follower, lsn);
    clean_all(&follower);
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_commit(&follower);
    CU_ASSERT_EQUAL(session_of(&follower), lsn[1]);
    CU_ASSERT_EQUAL(session_find_lsn(&follower.shard->sessions, lsn[0], SESSION_NONE),
                    SESSION_NONE);
    CU_ASSERT_EQUAL(follower.shard->sessions.used, 1);
    clean_all(&follower);
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_close(&leader);
    fixture_close(&follower);
}

static void a_cut_gives_an_id_back_to_the_session_before(void)
{
    struct fixture leader, follower;
    uint64_t lsn[2];
    session_again(&leader, &follower, lsn);
    CU_ASSERT_EQUAL(land_cut(follower.shard, follower.shard->lsn_committed, &follower.now), 0);
    CU_ASSERT_EQUAL(session_of(&follower), lsn[0]);
    CU_ASSERT_EQUAL(follower.shard->sessions.used, 1);
    CU_ASSERT_PTR_NOT_NULL(session_get(&follower.shard->sessions, lsn[0], 0, 5)); /* it lives */
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_close(&leader);
    fixture_close(&follower);
}

/* A session that is about to be forgotten does nothing more, whatever a leader writes of it. */
static void nothing_is_taken_of_a_session_behind_its_expiry(void)
{
    for (unsigned run = 0; run < 2; run++) {
        struct fixture leader, follower;
        const struct shard_origin origin = {.operation = RING_SESSION_OPEN};
        fixture_open(&leader, &small);
        fixture_open(&follower, &small);
        CU_ASSERT_EQUAL(shard_session_open(leader.shard, &origin, session_id, 5, 0), 0);
        fixture_commit(&leader);
        uint64_t opened = session_of(&leader);
        CU_ASSERT_EQUAL(shard_session_close(leader.shard, &origin, session_id, 5, 0), 0);
        land_all(&leader, &follower);
        uint64_t end = follower.shard->log.lsn_end, available;
        leader.shard->sessions.entries[0].expiring = false; /* no leader of ours does */
        struct shard_write w = fixture_write_of(&leader, RING_PUT, "k", 1);
        w.session_slot = 0;
        w.uid = 5;
        w.session = opened;
        w.sequence = 1;
        if (run == 0)
            CU_ASSERT_EQUAL(shard_session_close(leader.shard, &origin, session_id, 5, 0), 0);
        if (run == 1)
            CU_ASSERT_EQUAL(shard_write(leader.shard, &w), 0);
        const uint8_t *bytes = log_bytes_at(&leader.shard->log, end, &available);
        CU_ASSERT_EQUAL(land_bytes(follower.shard, end, bytes, available), 1);
        CU_ASSERT_EQUAL(land_check(follower.shard), -EBADMSG);
        CU_ASSERT_EQUAL(follower.shard->log.lsn_end, end);
        fixture_commit(&follower);
        CU_ASSERT_EQUAL(follower.shard->sessions.used, 0);
        CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
        fixture_close(&leader);
        fixture_close(&follower);
    }
}

/* Where the version before is named, the hash alone finds the slot: another key must not take it over. */
static void a_key_that_its_hash_is_not_of_is_refused(void)
{
    struct fixture leader, follower;
    static alignas(8) uint8_t bytes[4096];
    fixture_open(&leader, &small);
    fixture_open(&follower, &small);
    CU_ASSERT_EQUAL(fixture_put(&leader, "k", 1, "1", 1), 0);
    land_all(&leader, &follower);
    CU_ASSERT_EQUAL(fixture_put(&leader, "k", 1, "2", 1), 0);
    uint64_t end = follower.shard->log.lsn_end, available, at = 0;
    const uint8_t *from = log_bytes_at(&leader.shard->log, end, &available);
    CU_ASSERT_FATAL(from != NULL && available <= sizeof bytes);
    memcpy(bytes, from, available);
    struct record h;
    while (record_step(bytes + at, &h) != 0 && h.kind == RECORD_PAD)
        at += record_step(bytes + at, &h);
    CU_ASSERT(h.lsn_previous != 0);
    const struct record_parts parts = {.key = "z", .value = "2"};
    record_write(bytes + at, &h, &parts);
    CU_ASSERT_EQUAL(land_bytes(follower.shard, end, bytes, available), 1);
    CU_ASSERT_EQUAL(land_check(follower.shard), -EBADMSG);
    fixture_commit(&follower);
    clean_all(&follower);
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_close(&leader);
    fixture_close(&follower);
}

/* Land a record that a leader wrote which lies. */
static void land_forged(struct fixture *follower, struct record *h, const char *key)
{
    static const char value[RECORD_SMALL_BYTES]; /* no pads are needed */
    static alignas(8) uint8_t bytes[512];
    uint64_t lsn = follower->shard->log.lsn_end;
    h->format = RECORD_FORMAT;
    h->lsn = lsn;
    h->log = follower->shard->log.number;
    h->flags = RECORD_FLAG_TRANSACTION_END;
    h->key_length = (uint16_t)strlen(key);
    h->hash = (uint32_t)hash_key(key, h->key_length);
    h->value_length = sizeof value;
    const struct record_parts parts = {.key = key, .value = value};
    memset(bytes, 0, sizeof bytes);
    record_write(bytes, h, &parts);
    CU_ASSERT_EQUAL(land_bytes(follower->shard, lsn, bytes, record_size(h)), 1);
    CU_ASSERT_EQUAL(land_check(follower->shard), 1);
    fixture_commit(follower);
}

/* The slot of one key is another's then; both come and go once more, and the order stays whole. */
static void two_keys_of_one_hash_that_a_leader_mixes_up_harm_nobody(void)
{
    static const char one[] = "k9870", other[] = "k53003";
    CU_ASSERT_EQUAL_FATAL((uint32_t)hash_key(one, strlen(one)),
                          (uint32_t)hash_key(other, strlen(other)));
    struct fixture_config config = small;
    config.ordered = true;
    struct fixture follower;
    struct record h = {.kind = RECORD_DATA};
    fixture_open(&follower, &config);
    for (unsigned round = 0; round < 3; round++) {
        h = (struct record){.kind = RECORD_DATA};
        land_forged(&follower, &h, one);
        for (unsigned i = 0; i < 2; i++) {
            h.kind = i == 0 ? RECORD_DATA : RECORD_TOMBSTONE;
            h.lsn_previous = h.lsn;
            land_forged(&follower, &h, other);
        }
        /* The tombstone's segment is full, and cleaned: the slot is empty. */
        for (unsigned i = 0; i < 1500; i++) {
            CU_ASSERT_EQUAL_FATAL(fixture_put(&follower, "f", 1, &h, sizeof h), 0);
            maintain(&follower);
        }
        clean_all(&follower);
        CU_ASSERT_EQUAL(follower.shard->index.key_count, 1);
    }
    fixture_close(&follower);
}

/* Who takes over writes no record that is older than its predecessor's, whatever its own clock says. */
static void the_hybrid_clock_goes_on_where_the_leader_was(void)
{
    struct fixture leader, follower;
    fixture_open(&leader, &small);
    fixture_open(&follower, &small);
    leader.clock_ns = UINT64_C(5000) * NS_PER_S;
    follower.clock_ns = UINT64_C(4000) * NS_PER_S;
    CU_ASSERT_EQUAL(fixture_put(&leader, "a", 1, "1", 1), 0);
    uint64_t last = leader.shard->log.hybrid_clock;
    CU_ASSERT(last >= leader.clock_ns);
    land_all(&leader, &follower);
    CU_ASSERT_EQUAL(follower.shard->log.hybrid_clock, last);
    fixture_commit(&follower);
    uint64_t end = follower.shard->log.lsn_end, available;
    CU_ASSERT_EQUAL(shard_epoch_begin(follower.shard, 2, follower.clock_ns), 0);
    struct record h;
    const uint8_t *bytes = log_bytes_at(&follower.shard->log, end, &available);
    while (record_step(bytes, &h) != 0 && h.kind == RECORD_PAD)
        bytes += record_step(bytes, &h);
    CU_ASSERT_EQUAL(h.kind, RECORD_EPOCH);
    CU_ASSERT(h.hybrid_clock > last);
    fixture_close(&leader);
    fixture_close(&follower);
}

static const struct unit_test tests[] = {
    UNIT_TEST(follower_equals_leader_whatever_the_order),
    UNIT_TEST(damaged_bytes_are_dropped_and_asked_for_again),
    UNIT_TEST(a_cut_takes_back_what_was_not_committed),
    UNIT_TEST(records_broken_between_ranges_are_judged_as_they_come),
    UNIT_TEST(a_drop_forgets_what_was_judged),
    UNIT_TEST(a_long_transaction_is_landed_whole_or_not_at_all),
    UNIT_TEST(a_transaction_of_too_many_records_is_refused),
    UNIT_TEST(only_whole_aligned_ranges_within_reach_are_placed),
    UNIT_TEST(an_id_opened_again_behind_its_expiry_is_found_at_a_follower),
    UNIT_TEST(a_cut_gives_an_id_back_to_the_session_before),
    UNIT_TEST(nothing_is_taken_of_a_session_behind_its_expiry),
    UNIT_TEST(a_key_that_its_hash_is_not_of_is_refused),
    UNIT_TEST(two_keys_of_one_hash_that_a_leader_mixes_up_harm_nobody),
    UNIT_TEST(the_hybrid_clock_goes_on_where_the_leader_was),
};
UNIT_MAIN("land", tests)
