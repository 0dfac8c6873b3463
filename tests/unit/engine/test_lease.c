/* User leases: one owner at a time, a token that only grows, and nothing that takes a key from its owner
 * but the end of its ttl. */
#include "engine/lease.h"
#include "engine/plant.h"
#include "tests/unit/engine/transaction_items.h"
#include "tests/unit/engine/ttl_writes.h"

static struct fixture leader, follower;
static struct shard_answer answer;

static void open_both(void)
{
    fixture_open(&leader, &ttl_small);
    fixture_open(&follower, &ttl_small);
    shard_grant(leader.shard, UINT64_C(1) << 40);
    shard_grant(follower.shard, UINT64_C(1) << 40);
    steady_ns = 1000 * MS;
}

static void close_both(void)
{
    fixture_close(&leader);
    fixture_close(&follower);
}

/* What becomes of it, once it is committed; its token is answer.number. */
static uint32_t answer_of(struct fixture *f, int result)
{
    CU_ASSERT_EQUAL_FATAL(result, 0);
    fixture_commit(f);
    CU_ASSERT_FATAL(shard_answer_next(f->shard, &answer));
    CU_ASSERT_EQUAL(answer.origin.tag, TTL_TAG);
    struct shard_answer none;
    CU_ASSERT_FALSE(shard_answer_next(f->shard, &none));
    return answer.status;
}

static uint32_t acquire(struct fixture *f, const char *key, const char *owner, uint64_t ttl_ns)
{
    struct record_ttl ttl = extension_ttl_make(ttl_ns);
    struct shard_write w = ttl_write(f, RING_LEASE_ACQUIRE, key, &ttl);
    w.value = owner;
    w.value_length = (uint32_t)strlen(owner);
    return answer_of(f, shard_write(f->shard, &w));
}

static uint32_t renew(struct fixture *f, const char *key, uint64_t token, uint64_t ttl_ns)
{
    struct record_ttl ttl = extension_ttl_make(ttl_ns);
    struct shard_write w = ttl_write(f, RING_LEASE_RENEW, key, &ttl);
    w.expected_lsn = token;
    return answer_of(f, shard_write(f->shard, &w));
}

static uint32_t release(struct fixture *f, const char *key, uint64_t token)
{
    struct record_ttl ttl = extension_ttl_make(0);
    struct shard_write w = ttl_write(f, RING_LEASE_RELEASE, key, &ttl);
    w.expected_lsn = token;
    return answer_of(f, shard_write(f->shard, &w));
}

static uint32_t plain(struct fixture *f, uint8_t operation, const char *key)
{
    struct record_ttl ttl = extension_ttl_make(0);
    struct shard_write w = ttl_write(f, operation, key, &ttl);
    return answer_of(f, shard_write(f->shard, &w));
}

static void check_owner(const struct fixture *f, const char *key, const char *owner, uint64_t token)
{
    struct read_found found;
    char value[8] = {0};
    CU_ASSERT_EQUAL_FATAL(fixture_read(f, key, (uint32_t)strlen(key), &found), 1);
    read_copy(&found, value, sizeof value - 1);
    CU_ASSERT_STRING_EQUAL(value, owner);
    CU_ASSERT_EQUAL(extension_token((const void *)found.record), token);
}

static void the_token_is_the_acquire_and_stays(void)
{
    open_both();
    uint64_t lsn = leader.shard->log.lsn_end;
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS), RING_OK);
    uint64_t token = answer.lsn;
    CU_ASSERT_EQUAL(answer.number, (int64_t)token);
    CU_ASSERT(token >= lsn);
    check_owner(&leader, "k", "me", token);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t before = answer.lsn;
        CU_ASSERT_EQUAL(renew(&leader, "k", token, 100 * MS), RING_OK);
        CU_ASSERT(answer.lsn > before);
        CU_ASSERT_EQUAL(answer.number, (int64_t)token);
        check_owner(&leader, "k", "me", token);
    }
    CU_ASSERT_EQUAL(release(&leader, "k", token), RING_OK);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "k"));
    CU_ASSERT_EQUAL(leader.shard->expiry.count, 0);
    CU_ASSERT_EQUAL(acquire(&leader, "k", "you", 100 * MS), RING_OK);
    CU_ASSERT(answer.number > (int64_t)token);
    CU_ASSERT_EQUAL(leader.shard->live_bytes, fixture_live_bytes(&leader, NULL));
    close_both();
}

static void another_gets_it_only_after_the_whole_ttl(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS), RING_OK);
    int64_t token = answer.number;
    CU_ASSERT_EQUAL(acquire(&leader, "k", "you", 100 * MS), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.number, token);
    CU_ASSERT_EQUAL(answer.lsn, (uint64_t)token);
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS),
                    RING_CONDITION); /* who asks twice may be two */
    steady_ns = t + 60 * MS;
    CU_ASSERT_EQUAL(renew(&leader, "k", (uint64_t)token, 100 * MS), RING_OK);
    uint64_t renewed = answer.lsn;
    steady_ns = t + 160 * MS - 1;
    ttl_look_all(&leader);
    CU_ASSERT_EQUAL(acquire(&leader, "k", "you", 100 * MS), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.number, token);
    CU_ASSERT_EQUAL(answer.lsn, renewed);
    steady_ns++;
    ttl_look_all(&leader);
    CU_ASSERT_EQUAL(renew(&leader, "k", (uint64_t)token, 100 * MS), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(answer.number, 0);
    CU_ASSERT_EQUAL(acquire(&leader, "k", "you", 100 * MS), RING_OK);
    CU_ASSERT(answer.number > token);
    CU_ASSERT_EQUAL(renew(&leader, "k", (uint64_t)token, 100 * MS), RING_CONDITION);
    CU_ASSERT_EQUAL(release(&leader, "k", (uint64_t)token), RING_CONDITION);
    CU_ASSERT(ttl_is_there(&leader, "k"));
    close_both();
}

static void a_wrong_token_gives_nothing_up(void)
{
    open_both();
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS), RING_OK);
    uint64_t token = (uint64_t)answer.number;
    CU_ASSERT_EQUAL(release(&leader, "k", token + 8), RING_CONDITION);
    CU_ASSERT_EQUAL(release(&leader, "k", 0), RING_CONDITION);
    CU_ASSERT_EQUAL(renew(&leader, "k", token - 8, MS), RING_CONDITION);
    check_owner(&leader, "k", "me", token);
    CU_ASSERT_EQUAL(release(&leader, "nobody's", token), RING_CONDITION);
    CU_ASSERT_EQUAL(plain(&leader, RING_PUT, "plain"), RING_OK);
    CU_ASSERT_EQUAL(renew(&leader, "plain", answer.lsn, MS), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.number, 0);
    CU_ASSERT_EQUAL(acquire(&leader, "plain", "me", MS), RING_CONDITION);
#ifdef DUNLIN_PLANT
    plant_active = PLANT_LEASE_TOKEN_REUSED;
    CU_ASSERT_EQUAL(release(&leader, "k", token + 8), RING_OK);
    plant_active = PLANT_NONE;
#endif
    close_both();
}

static void no_plain_write_takes_it(void)
{
    open_both();
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS), RING_OK);
    uint64_t token = (uint64_t)answer.number;
    CU_ASSERT_EQUAL(plain(&leader, RING_PUT, "k"), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, token);
    CU_ASSERT_EQUAL(plain(&leader, RING_DELETE, "k"), RING_CONDITION);
    CU_ASSERT_EQUAL(plain(&leader, RING_INCREMENT, "k"), RING_CONDITION);
    struct shard_transaction t = transaction(ITEMS_OF(put("other", "1"), put("k", "2")));
    t.origin.tag = TTL_TAG;
    CU_ASSERT_EQUAL(answer_of(&leader, shard_transaction(leader.shard, &t)), RING_CONDITION);
    CU_ASSERT_FALSE(ttl_is_there(&leader, "other"));
    check_owner(&leader, "k", "me", token);
    /* what is done under it names the token */
    struct shard_item held = item_of(RING_NOP, "k", NULL);
    held.compare = RING_COMPARE_TOKEN;
    held.expected_lsn = token;
    t = transaction(ITEMS_OF(held, put("other", "1")));
    t.origin.tag = TTL_TAG;
    CU_ASSERT_EQUAL(answer_of(&leader, shard_transaction(leader.shard, &t)), RING_OK);
    CU_ASSERT(ttl_is_there(&leader, "other"));
    held.expected_lsn = token + 8;
    t = transaction(ITEMS_OF(held, put("other", "2")));
    t.origin.tag = TTL_TAG;
    CU_ASSERT_EQUAL(answer_of(&leader, shard_transaction(leader.shard, &t)), RING_CONDITION);
    /* a condition that a write itself has is judged as one that stands alone: it holds, the write cannot be */
    struct shard_item otherwise = put("other", "else");
    otherwise.section = RING_SECTION_ELSE;
    for (uint32_t i = 0; i < 2; i++) {
        struct shard_item named = i == 0 ? put("k", "2") : item_of(RING_DELETE, "k", NULL);
        named.compare = RING_COMPARE_TOKEN;
        named.expected_lsn = token;
        t = transaction(ITEMS_OF(named, otherwise));
        t.origin.tag = TTL_TAG;
        CU_ASSERT_EQUAL(answer_of(&leader, shard_transaction(leader.shard, &t)), RING_CONDITION);
        CU_ASSERT_EQUAL(answer.lsn, token);
    }
    CU_ASSERT_EQUAL(release(&leader, "k", token), RING_OK);
    CU_ASSERT_EQUAL(plain(&leader, RING_PUT, "k"), RING_OK);
    close_both();
}

static void a_new_leader_knows_the_token(void)
{
    open_both();
    uint64_t t = steady_ns;
    CU_ASSERT_EQUAL(acquire(&leader, "k", "me", 100 * MS), RING_OK);
    uint64_t token = (uint64_t)answer.number;
    CU_ASSERT_EQUAL(acquire(&leader, "renewed", "me", 100 * MS), RING_OK);
    uint64_t other = (uint64_t)answer.number;
    CU_ASSERT_EQUAL(renew(&leader, "renewed", other, 100 * MS), RING_OK);
    ttl_land(&leader, &follower);
    ttl_lead(&follower, 2);
    steady_ns = t + 99 * MS;
    (void)ttl_look(&follower);
    CU_ASSERT_EQUAL(acquire(&follower, "k", "you", 100 * MS), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.number, (int64_t)token);
    CU_ASSERT_EQUAL(renew(&follower, "k", token, 100 * MS), RING_OK);
    CU_ASSERT_EQUAL(answer.number, (int64_t)token);
    CU_ASSERT_EQUAL(renew(&follower, "renewed", other, 100 * MS), RING_OK);
    check_owner(&follower, "renewed", "me", other);
    close_both();
}

/* ---- exactly once ---- */

static const uint8_t id[SESSION_ID_BYTES] = {5};
static uint64_t session, sequence;

static uint32_t in_session(struct fixture *f, struct shard_write w, uint64_t number)
{
    w.session_slot = 0;
    w.uid = 7;
    w.session = session;
    w.sequence = number;
    return answer_of(f, shard_write(f->shard, &w));
}

static void the_answer_is_the_same_at_the_next_leader(void)
{
    struct record_ttl ttl = extension_ttl_make(100 * MS), none = extension_ttl_make(0);
    const struct shard_origin origin = {.operation = RING_SESSION_OPEN, .tag = TTL_TAG};
    open_both();
    CU_ASSERT_EQUAL(answer_of(&leader, shard_session_open(leader.shard, &origin, id, 7, 0)),
                    RING_OK);
    session = answer.lsn;
    struct shard_write all[5];
    for (uint32_t i = 0; i < 5; i++)
        all[i] =
            ttl_write(&leader, i == 3 ? RING_PUT : RING_LEASE_ACQUIRE, "k", i == 3 ? &none : &ttl);
    for (uint32_t i = 0; i < 2; i++) {
        all[i].value = "me"; /* the second one is refused */
        all[i].value_length = 2;
    }
    CU_ASSERT_EQUAL(in_session(&leader, all[0], 1), RING_OK);
    int64_t token = answer.number;
    all[2].origin.operation = RING_LEASE_RENEW;
    all[4] = ttl_write(&leader, RING_LEASE_RELEASE, "k", &none);
    all[2].expected_lsn = all[4].expected_lsn = (uint64_t)token;
    const uint32_t status[5] = {RING_OK, RING_CONDITION, RING_OK, RING_CONDITION, RING_OK};
    struct shard_answer first[5] = {answer};
    for (sequence = 2; sequence <= 5; sequence++) {
        CU_ASSERT_EQUAL(in_session(&leader, all[sequence - 1], sequence), status[sequence - 1]);
        first[sequence - 1] = answer;
        CU_ASSERT_EQUAL(answer.number, sequence == 5 ? 0 : token);
    }
    ttl_land(&leader, &follower);
    ttl_lead(&follower, 2);
    uint64_t end = follower.shard->log.lsn_end;
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(in_session(&follower, all[i], i + 1), status[i]);
        CU_ASSERT_EQUAL(answer.number, first[i].number);
        CU_ASSERT_EQUAL(answer.lsn, first[i].lsn);
    }
    CU_ASSERT_EQUAL(follower.shard->log.lsn_end, end);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_token_is_the_acquire_and_stays),
    UNIT_TEST(another_gets_it_only_after_the_whole_ttl),
    UNIT_TEST(a_wrong_token_gives_nothing_up),
    UNIT_TEST(no_plain_write_takes_it),
    UNIT_TEST(a_new_leader_knows_the_token),
    UNIT_TEST(the_answer_is_the_same_at_the_next_leader),
};
UNIT_MAIN("lease", tests)
