/* Keys that go by themselves: exactly once, not before their time, by the leader's own steady clock, and
 * counted afresh by the next leader; whatever the log was cut, cleaned, or replaced by. */
#include "engine/plant.h"
#include "engine/snapshot.h"
#include "tests/unit/engine/ttl_writes.h"

#include <stdlib.h>

static struct fixture leader, follower;

static void open_both(void)
{
    struct fixture_config c = ttl_small;
    fixture_open(&leader, &c);
    fixture_open(&follower, &c); /* both begin with epoch 1, byte for byte */
    shard_grant(leader.shard, UINT64_C(1) << 40);
    shard_grant(follower.shard, UINT64_C(1) << 40);
    steady_ns = 1000 * MS;
    leader.clock_ns = follower.clock_ns = UINT64_C(1700000000) * NS_PER_S;
}

static void close_both(void)
{
    fixture_close(&leader);
    fixture_close(&follower);
}

static void a_ttl_is_over_once_and_not_before(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", 100 * MS), 0);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    uint64_t written_ns = steady_ns;
    CU_ASSERT_EQUAL(ttl_look(&leader), written_ns + 100 * MS);
    steady_ns = written_ns + 100 * MS - 1;
    CU_ASSERT_EQUAL(ttl_look(&leader), written_ns + 100 * MS);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    uint64_t available, lsn = log_next_lsn(&leader.shard->log, record_bytes(0, 1, 0));
    steady_ns++;
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    const struct record *r = (const void *)log_bytes_at(&leader.shard->log, lsn, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    CU_ASSERT_EQUAL(r->lsn, lsn);
    CU_ASSERT_EQUAL(r->kind, RECORD_EXPIRE);
    CU_ASSERT_EQUAL(r->flags, RECORD_FLAG_KEY | RECORD_FLAG_TRANSACTION_END);
    CU_ASSERT(record_is_keyed(r));
    steady_ns += 1000 * MS;
    lsn = leader.shard->log.lsn_end;
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_EQUAL(leader.shard->log.lsn_end, lsn);
    CU_ASSERT_EQUAL(fixture_counter(&leader, COUNTER_KEYS_EXPIRED), 1);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 0);
    CU_ASSERT_EQUAL(leader.shard->live_bytes, fixture_live_bytes(&leader, NULL));
    close_both();
}

static void an_expired_key_is_none(void)
{
    struct shard_answer answer;
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", MS), 0);
    steady_ns += MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_EQUAL(fixture_delete(&leader, "k", 1), 0);
    leader.shard->pending[leader.shard->pending_tail - 1].origin.operation = RING_DELETE;
    fixture_commit(&leader);
    CU_ASSERT_FATAL(shard_answer_next(leader.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_NOT_FOUND);
    struct shard_write w = fixture_write_of(&leader, RING_PUT, "k", 1);
    w.compare = RING_COMPARE_VERSION; /* that there is none */
    CU_ASSERT_EQUAL(shard_write(leader.shard, &w), 0);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    close_both();
}

static void only_a_record_expires_a_key(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", MS), 0);
    steady_ns += 3600 * NS_PER_S;
    CU_ASSERT(ttl_is_there(&leader, "k"));
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    close_both();
}

static void the_newest_version_says_how_long(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(ttl_put(&leader, "longer", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "shorter", 500 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "for ever", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "deleted", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "mortal", 0), 0);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 4);
    steady_ns = t + 5 * MS;
    CU_ASSERT_EQUAL(ttl_put(&leader, "longer", 100 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "shorter", 20 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "for ever", 0), 0);
    CU_ASSERT_EQUAL(fixture_delete(&leader, "deleted", 7), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "mortal", 15 * MS), 0);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 3);
    steady_ns = t + 20 * MS;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "shorter"));
    CU_ASSERT_FALSE(ttl_is_there(&leader, "mortal"));
    CU_ASSERT(ttl_is_there(&leader, "longer"));
    steady_ns = t + 25 * MS;
    ttl_look_all(&leader);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "shorter"));
    steady_ns = t + 105 * MS - 1;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "longer"));
    steady_ns++;
    ttl_look_all(&leader);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "longer"));
    steady_ns += LIMIT_TTL_NS_MAX;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "for ever"));
    CU_ASSERT_EQUAL(fixture_counter(&leader, COUNTER_KEYS_EXPIRED), 3);
    close_both();
}

static int number_put(struct fixture *f, const char *key, uint64_t ttl_ns)
{
    struct record_ttl ttl = extension_ttl_make(ttl_ns);
    struct shard_write w = ttl_write(f, RING_PUT, key, &ttl);
    w.value = "41";
    w.value_length = 2;
    return shard_write(f->shard, &w);
}

static void increment(struct fixture *f, const char *key, bool in_transaction)
{
    struct shard_write w = fixture_write_of(f, RING_INCREMENT, key, (uint32_t)strlen(key));
    const struct shard_item item = {.hash = w.hash,
                                    .key = key,
                                    .key_length = w.key_length,
                                    .operation = RING_INCREMENT,
                                    .delta = 1};
    const struct shard_transaction t = {.origin = {.operation = RING_TRANSACTION},
                                        .items = &item,
                                        .count = 1,
                                        .session_slot = SESSION_NONE};
    w.delta = 1;
    CU_ASSERT_EQUAL(in_transaction ? shard_transaction(f->shard, &t) : shard_write(f->shard, &w),
                    0);
}

/* Neither is it lost, nor does it begin again: also where this leader took the key over, for then it counts from
 * its first look on. */
static void an_increment_keeps_the_ttl(void)
{
    static const char *const keys[] = {"single", "part"};
    open_both();
    uint64_t t = steady_ns;
    (void)ttl_look(&leader);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(number_put(&leader, keys[i], 100 * MS), 0);
        for (unsigned times = 1; times < 4; times++) {
            steady_ns = t + times * 30 * MS;
            increment(&leader, keys[i], i == 1);
            (void)ttl_look(&leader);
        }
        CU_ASSERT_EQUAL(leader.shard->expiry.count, 1);
        steady_ns = t + 100 * MS - 1;
        ttl_look_all(&leader);
        CU_ASSERT(ttl_is_there(&leader, keys[i]));
        steady_ns = t + 100 * MS;
        ttl_look_all(&leader);
        CU_ASSERT_FALSE(ttl_is_there(&leader, keys[i]));
        CU_ASSERT_EQUAL(leader.shard->live_bytes, fixture_live_bytes(&leader, NULL));
        t = steady_ns;
    }
    CU_ASSERT_EQUAL(number_put(&leader, "k", 100 * MS), 0);
    increment(&leader, "k", false);
    ttl_land(&leader, &follower);
    CU_ASSERT_EQUAL(follower.shard->expiry.count, 1);
    ttl_lead(&follower, 2);
    steady_ns = t + 90 * MS;
    (void)ttl_look(&follower);
    steady_ns = t + 150 * MS;
    increment(&follower, "k", false);
    increment(&follower, "stays", false);
    steady_ns = t + 190 * MS - 1;
    ttl_look_all(&follower);
    CU_ASSERT(ttl_is_there(&follower, "k"));
    steady_ns++;
    ttl_look_all(&follower);
    CU_ASSERT_FALSE(ttl_is_there(&follower, "k"));
    steady_ns += LIMIT_TTL_NS_MAX;
    ttl_look_all(&follower);
    CU_ASSERT(ttl_is_there(&follower, "stays"));
    close_both();
}

static void a_transaction_gives_a_ttl_of_its_own_to_each(void)
{
    const struct record_ttl ttls[] = {extension_ttl_make(10 * MS), extension_ttl_make(20 * MS)};
    struct shard_item items[3];
    static const char *const keys[] = {"short", "long", "stays"};
    open_both();
    uint64_t t = steady_ns;
    (void)ttl_look(&leader);
    for (unsigned i = 0; i < 3; i++)
        items[i] = (struct shard_item){.hash = hash_key(keys[i], strlen(keys[i])),
                                       .key = keys[i],
                                       .key_length = (uint16_t)strlen(keys[i]),
                                       .operation = RING_PUT,
                                       .extension = &ttls[i % 2],
                                       .extension_length = i < 2 ? sizeof ttls[0] : 0};
    const struct shard_transaction all = {.origin = {.operation = RING_TRANSACTION},
                                          .items = items,
                                          .count = 3,
                                          .session_slot = SESSION_NONE,
                                          .steady_ns = steady_ns};
    CU_ASSERT_EQUAL_FATAL(shard_transaction(leader.shard, &all), 0);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 2);
    ttl_land(&leader, &follower);
    CU_ASSERT_EQUAL(follower.shard->expiry.count, 2);
    for (unsigned i = 0; i < 2; i++) {
        steady_ns = t + (i + 1) * 10 * MS - 1;
        ttl_look_all(&leader);
        CU_ASSERT(ttl_is_there(&leader, keys[i]));
        steady_ns++;
        ttl_look_all(&leader);
        CU_ASSERT_FALSE(ttl_is_there(&leader, keys[i]));
    }
    steady_ns += LIMIT_TTL_NS_MAX;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "stays"));
    CU_ASSERT_EQUAL(leader.shard->live_bytes, fixture_live_bytes(&leader, NULL));
    close_both();
}

static void a_write_of_an_unknown_time_counts_from_the_next_look(void)
{
    open_both();
    uint64_t t = steady_ns;
    (void)ttl_look(&leader);
    steady_ns = 0;
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", 10 * MS), 0);
    steady_ns = t + 100 * MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), t + 110 * MS);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    steady_ns = t + 110 * MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    close_both();
}

static void jumps_of_the_time_of_day_expire_nothing(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", 100 * MS), 0);
    (void)ttl_look(&leader);
    leader.clock_ns += 365 * 86400 * NS_PER_S;
    steady_ns = t + 50 * MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), t + 100 * MS);
    leader.clock_ns -= 2 * 365 * 86400 * NS_PER_S;
    steady_ns = t + 99 * MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), t + 100 * MS);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    steady_ns = t + 100 * MS;
    CU_ASSERT_EQUAL(ttl_look(&leader), UINT64_MAX);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    close_both();
}

/* Returns whether the new leader kept the key for all of its ttl, from its first look on. */
static bool is_counted_afresh(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", 100 * MS), 0);
    (void)ttl_look(&leader);
    ttl_land(&leader, &follower);
    CU_ASSERT_EQUAL(follower.shard->expiry.count, 1);
    ttl_lead(&follower, 2);
    steady_ns = t + 90 * MS;
    follower.clock_ns += 3600 * NS_PER_S; /* another server's time of day */
    (void)ttl_look(&follower);
    steady_ns = t + 190 * MS - 1;
    ttl_look_all(&follower);
    bool kept = ttl_is_there(&follower, "k");
    steady_ns++;
    ttl_look_all(&follower);
    CU_ASSERT_FALSE(ttl_is_there(&follower, "k"));
    /* and who led before takes it over */
    ttl_land(&follower, &leader);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 0);
    close_both();
    return kept;
}

static void a_new_leader_counts_afresh(void)
{
    CU_ASSERT(is_counted_afresh());
#ifdef DUNLIN_PLANT
    plant_active = PLANT_TTL_COUNTED_FROM_WRITE;
    CU_ASSERT_FALSE(is_counted_afresh());
    plant_active = PLANT_EXPIRED_TOO_SOON;
    CU_ASSERT_FALSE(is_counted_afresh());
    plant_active = PLANT_NONE;
#endif
}

static void the_same_leader_in_another_epoch_counts_afresh(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(ttl_put(&leader, "k", 100 * MS), 0);
    (void)ttl_look(&leader);
    steady_ns = t + 60 * MS;
    ttl_lead(&leader, 2);
    (void)ttl_look(&leader);
    steady_ns = t + 160 * MS - 1;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    steady_ns++;
    ttl_look_all(&leader);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    close_both();
}

#define MANY 3000u

static void many_at_once_go_in_bounded_steps(void)
{
    open_both();
    for (uint32_t i = 0; i < MANY; i++) {
        char key[32];
        (void)fixture_key(i, key);
        CU_ASSERT_EQUAL_FATAL(ttl_put(&leader, key, 100 * MS), 0);
        if (i % 100 == 99) {
            fixture_commit(&leader);
            (void)fixture_maintain(&leader);
        }
    }
    CU_ASSERT_EQUAL(leader.shard->expiry.count, MANY);
    steady_ns += 100 * MS;
    uint32_t calls = 0;
    uint64_t before = 0, due = 0;
    for (; due <= steady_ns; calls++) {
        CU_ASSERT_FATAL(calls < 10 * MANY);
        due = ttl_look(&leader);
        uint64_t now = fixture_counter(&leader, COUNTER_KEYS_EXPIRED);
        CU_ASSERT(now - before <= 64);
        before = now;
        (void)fixture_maintain(&leader);
    }
    CU_ASSERT(calls >= MANY / 64);
    CU_ASSERT_EQUAL(before, MANY);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 0);
    CU_ASSERT_EQUAL(leader.shard->live_bytes, fixture_live_bytes(&leader, NULL));
    close_both();
}

static void without_a_commit_the_pending_list_bounds_them(void)
{
    open_both();
    for (uint32_t i = 0; i < MANY; i++) {
        char key[32];
        (void)fixture_key(i, key);
        CU_ASSERT_EQUAL_FATAL(ttl_put(&leader, key, MS), 0);
        fixture_commit(&leader);
        fixture_answers(&leader);
    }
    steady_ns += MS;
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(shard_expire(leader.shard, steady_ns, 0), steady_ns);
    CU_ASSERT_EQUAL(fixture_counter(&leader, COUNTER_KEYS_EXPIRED), LIMIT_PENDING - LIMIT_EPOCHS);
    ttl_look_all(&leader);
    CU_ASSERT_EQUAL(fixture_counter(&leader, COUNTER_KEYS_EXPIRED), MANY);
    close_both();
}

static void a_cut_gives_back_what_was_before(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "expired", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "renewed", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "kept", 10 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "made mortal", 0), 0);
    fixture_commit(&leader);
    fixture_answers(&leader);
    uint64_t lsn = leader.shard->log.lsn_end, t = steady_ns;
    CU_ASSERT_EQUAL(ttl_put(&leader, "renewed", 1000 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "kept", 0), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "made mortal", 10 * MS), 0);
    steady_ns = t + 10 * MS;
    CU_ASSERT(shard_expire(leader.shard, steady_ns, 0) > steady_ns);
    CU_ASSERT_EQUAL(fixture_counter(&leader, COUNTER_KEYS_EXPIRED), 2);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 1);
    CU_ASSERT_EQUAL_FATAL(land_cut(leader.shard, lsn, &leader.now), 0);
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 3);
    CU_ASSERT(ttl_is_there(&leader, "expired"));
    ttl_lead(&leader, 2);
    (void)ttl_look(&leader);
    steady_ns += 10 * MS - 1;
    ttl_look_all(&leader);
    CU_ASSERT(ttl_is_there(&leader, "renewed"));
    steady_ns++;
    ttl_look_all(&leader);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "expired"));
    CU_ASSERT_FALSE(ttl_is_there(&leader, "renewed"));
    CU_ASSERT_FALSE(ttl_is_there(&leader, "kept"));
    CU_ASSERT(ttl_is_there(&leader, "made mortal"));
    close_both();
}

/* All of the leader's state, as it is now. */
static void install_now(void)
{
    static uint8_t bytes[1u << 14];
    struct snapshot_piece p = {.bytes = bytes, .capacity = sizeof bytes};
    struct snapshot_cursor c;
    int more = 1, error = -EAGAIN;
    for (uint32_t i = 0; error == -EAGAIN && i < 1000; i++) {
        error = install_begin(follower.shard, leader.shard->log.lsn_end);
        (void)fixture_maintain(&follower);
    }
    CU_ASSERT_EQUAL_FATAL(error, 0);
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, leader.shard, leader.shard->log.lsn_end), 0);
    while (more == 1) {
        more = snapshot_next(&c, leader.shard, &p);
        CU_ASSERT_FATAL(more >= 0);
        int taken = -EAGAIN;
        for (uint32_t i = 0; taken == -EAGAIN && i < 1000; i++) {
            taken = install_piece(follower.shard, p.bytes, p.length);
            (void)fixture_maintain(&follower);
        }
        CU_ASSERT_EQUAL_FATAL(taken, !more);
    }
    ttl_land(&leader, &follower);
    for (uint32_t i = 0; i < 1000; i++)
        (void)fixture_maintain(&follower);
}

static void a_snapshot_brings_them_along(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "gone", 100 * MS), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "there", 100 * MS), 0);
    ttl_land(&leader, &follower);
    CU_ASSERT_EQUAL(fixture_delete(&leader, "gone", 4), 0);
    /* so much that the log's own bytes are none of what was told of them */
    for (uint32_t i = 0; i < 2000; i++) {
        CU_ASSERT_EQUAL_FATAL(ttl_put(&leader, "rewritten", 200 * MS), 0);
        fixture_commit(&leader);
        (void)fixture_maintain(&leader);
    }
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 2);
    install_now();
    CU_ASSERT(follower.shard->expiry.count >= 2); /* one may be left over from before */
    ttl_lead(&follower, 2);
    uint64_t t = steady_ns += 50 * MS;
    ttl_look_all(&follower);
    CU_ASSERT_EQUAL(follower.shard->expiry.count, 2);
    steady_ns = t + 100 * MS - 1;
    ttl_look_all(&follower);
    CU_ASSERT(ttl_is_there(&follower, "there"));
    steady_ns++;
    ttl_look_all(&follower);
    CU_ASSERT_FALSE(ttl_is_there(&follower, "there"));
    CU_ASSERT(ttl_is_there(&follower, "rewritten"));
    steady_ns = t + 200 * MS;
    ttl_look_all(&follower);
    CU_ASSERT_FALSE(ttl_is_there(&follower, "rewritten"));
    close_both();
}

/* All that the leader has, checked and not committed. */
static void land_uncommitted(void)
{
    struct shard *to = follower.shard;
    uint64_t available = 0;
    const uint8_t *bytes = log_bytes_at(&leader.shard->log, to->log.lsn_end, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL(land_bytes(to, to->log.lsn_end, bytes, available), 1);
    CU_ASSERT_EQUAL(land_check(to), 1);
}

static void cut_both(uint64_t lsn)
{
    CU_ASSERT_EQUAL_FATAL(land_cut(leader.shard, lsn, &leader.now), 0);
    CU_ASSERT_EQUAL_FATAL(land_cut(follower.shard, lsn, &follower.now), 0);
}

/* While a snapshot is being built, entries stay whose versions go. */
static void what_stays_of_an_install_harms_no_other_version(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "renewed", 100 * MS), 0);
    ttl_land(&leader, &follower);
    fixture_commit(&leader);
    fixture_answers(&leader);
    uint64_t lsn = leader.shard->log.lsn_end;
    CU_ASSERT_EQUAL_FATAL(install_begin(follower.shard, 1), 0);
    CU_ASSERT_EQUAL(ttl_put(&leader, "renewed", 100 * MS), 0);
    land_uncommitted();
    install_abort(follower.shard);
    cut_both(lsn);
    CU_ASSERT_EQUAL(follower.shard->expiry.count, 1);
    close_both();
}

/* An LSN that was cut off is another key's now. */
static void an_lsn_that_is_written_again_expires_its_new_key(void)
{
    open_both();
    CU_ASSERT_EQUAL(ttl_put(&leader, "long", 5000 * MS), 0);
    ttl_land(&leader, &follower);
    fixture_commit(&leader);
    fixture_answers(&leader);
    uint64_t lsn = leader.shard->log.lsn_end;
    CU_ASSERT_EQUAL(ttl_put(&leader, "a", 100 * MS), 0);
    land_uncommitted();
    CU_ASSERT_EQUAL_FATAL(install_begin(follower.shard, 1), 0);
    cut_both(lsn);
    install_abort(follower.shard);
    CU_ASSERT_EQUAL(ttl_put(&leader, "b", 100 * MS), 0);
    ttl_land(&leader, &follower);
    ttl_lead(&follower, 2);
    ttl_look_all(&follower);
    CU_ASSERT(ttl_is_there(&follower, "b"));
    steady_ns += 100 * MS;
    ttl_look_all(&follower);
    CU_ASSERT_FALSE(ttl_is_there(&follower, "b"));
    CU_ASSERT(ttl_is_there(&follower, "long"));
    close_both();
}

static void a_ttl_that_leaves_no_room_in_a_segment_is_refused(void)
{
    static uint8_t value[1u << 20];
    static char key[LIMIT_KEY_BYTES];
    open_both();
    memset(key, 'k', sizeof key);
    struct record_ttl ttl = extension_ttl_make(MS);
    struct shard_write w = fixture_write_of(&leader, RING_PUT, key, sizeof key);
    w.value = value;
    w.value_length = leader.shard->value_bytes_max;
    w.extension = &ttl;
    w.extension_length = sizeof ttl;
    CU_ASSERT_EQUAL(shard_write(leader.shard, &w), RING_TOO_LARGE);
    w.value_length -= (uint32_t)sizeof ttl;
    CU_ASSERT_EQUAL(shard_write(leader.shard, &w), 0);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_ttl_is_over_once_and_not_before),
    UNIT_TEST(an_expired_key_is_none),
    UNIT_TEST(only_a_record_expires_a_key),
    UNIT_TEST(the_newest_version_says_how_long),
    UNIT_TEST(an_increment_keeps_the_ttl),
    UNIT_TEST(a_transaction_gives_a_ttl_of_its_own_to_each),
    UNIT_TEST(a_write_of_an_unknown_time_counts_from_the_next_look),
    UNIT_TEST(jumps_of_the_time_of_day_expire_nothing),
    UNIT_TEST(a_new_leader_counts_afresh),
    UNIT_TEST(the_same_leader_in_another_epoch_counts_afresh),
    UNIT_TEST(many_at_once_go_in_bounded_steps),
    UNIT_TEST(without_a_commit_the_pending_list_bounds_them),
    UNIT_TEST(a_cut_gives_back_what_was_before),
    UNIT_TEST(a_snapshot_brings_them_along),
    UNIT_TEST(what_stays_of_an_install_harms_no_other_version),
    UNIT_TEST(an_lsn_that_is_written_again_expires_its_new_key),
    UNIT_TEST(a_ttl_that_leaves_no_room_in_a_segment_is_refused),
};
UNIT_MAIN("expire", tests)
