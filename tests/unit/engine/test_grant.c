/* Segments that a leader may write to: given, believed only by their proof, and in quarantine until
 * they come back. */
#include "engine/grant.h"
#include "engine/land.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static const struct fixture_config leads = {
    .quota_bytes = UINT64_C(2) << 20, .shard_count = 1, .sessions_max = 4};
static const struct fixture_config follows = {
    .quota_bytes = UINT64_C(2) << 20, .shard_count = 1, .sessions_max = 4, .follower = true};
static const struct grant_holder holder = {.node = 3, .incarnation = 5, .epoch = 1};

static uint64_t segment(const struct fixture *f)
{
    return UINT64_C(1) << f->geometry.segment_shift;
}

static uint8_t *memory_of(const struct fixture *f, const struct grant *g)
{
    return f->arena + ((uint64_t)g->frame << f->geometry.segment_shift);
}

static void open_both(struct fixture *leader, struct fixture *follower)
{
    fixture_open(leader, &leads);
    fixture_open(follower, &follows);
    leader->shard->lsn_kept = follower->shard->lsn_kept = 0; /* nothing is cleaned */
}

static void close_both(struct fixture *leader, struct fixture *follower)
{
    fixture_close(leader);
    fixture_close(follower);
}

/* Put values until the leader's log has grown by so many bytes. */
static void grow(struct fixture *leader, uint64_t bytes)
{
    uint8_t value[500] = {0};
    uint64_t end = leader->shard->log.lsn_end + bytes;
    for (uint64_t i = 0; leader->shard->log.lsn_end < end; i++) {
        uint64_t key = i % 16;
        value[0] = (uint8_t)key;
        CU_ASSERT_EQUAL_FATAL(fixture_put(leader, &key, sizeof key, value, sizeof value), 0);
        fixture_commit(leader);
        (void)fixture_maintain(leader);
    }
}

/* The bytes of the leader's log in [lsn, end), one segment's; written under g, unless that is NULL. */
static struct land_range range_write(const struct fixture *leader, const struct fixture *follower,
                                     const struct grant *g, uint64_t lsn, struct grant_proof *proof)
{
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&leader->shard->log, lsn, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    *proof = (struct grant_proof){.bytes = {0}};
    if (bytes == NULL)
        return (struct land_range){0};
    const struct grant_range there = {.bytes = bytes, .length = (uint32_t)available};
    grant_proof_make(&there, proof);
    if (g != NULL)
        memcpy(memory_of(follower, g) + (lsn - g->lsn_start), bytes, available);
    return (struct land_range){.lsn_start = lsn, .lsn_end = lsn + available};
}

static int announced(const struct fixture *follower, const struct grant_holder *by,
                     const struct land_range *range, const struct grant_proof *proof)
{
    const struct land_announcement a = {
        .range = *range, .proof = proof, .prover = &grant_prover_plain};
    return land_announced(follower->shard, by, &a);
}

static uint32_t grants_out(const struct fixture *f)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++)
        count += f->shard->grants.out[i].number != 0;
    return count;
}

static void the_tail_and_the_next_segment_are_given_once(void)
{
    struct fixture f;
    fixture_open(&f, &follows);
    uint64_t start = f.shard->log.lsn_end;
    const struct grant *a = land_grant(f.shard, &holder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_EQUAL(a->number, 1);
    CU_ASSERT_EQUAL(a->lsn_start, start);
    const struct grant *b = land_grant(f.shard, &holder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    CU_ASSERT_EQUAL(b->number, 2);
    CU_ASSERT_EQUAL(b->lsn_start, start + segment(&f));
    CU_ASSERT_NOT_EQUAL(a->frame, b->frame);
    CU_ASSERT_PTR_NULL(land_grant(f.shard, &holder));
    CU_ASSERT(land_grant_is_open(f.shard, a) && land_grant_is_open(f.shard, b));
    CU_ASSERT(grant_is_out(&f.shard->grants, a->frame));
    fixture_close(&f);
}

static void grants_come_back_up_to_a_number_and_by_their_holder(void)
{
    struct grants g = {0};
    uint32_t frames[LIMIT_GRANTS] = {99, 99, 99, 99};
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        g.out[i] = (struct grant){.number = i + 1, .frame = i, .holder = holder};
    g.out[1].holder.incarnation = 6;
    CU_ASSERT_EQUAL(grant_return(&g, 4, 5, 4, frames), 0);
    CU_ASSERT_EQUAL(grant_return(&g, 3, 5, 3, frames), 2); /* 1 and 3 */
    CU_ASSERT(frames[0] == 0 && frames[1] == 2 && frames[2] == 99);
    CU_ASSERT(!grant_is_out(&g, 0) && grant_is_out(&g, 1) && !grant_is_out(&g, 2));
    CU_ASSERT_EQUAL(grant_return(&g, 3, 5, 3, frames), 0);
    CU_ASSERT_EQUAL(grant_void(&g, 4), 0);
    CU_ASSERT_EQUAL(grant_void(&g, 3), 2); /* of whatever start */
    CU_ASSERT(!grant_is_out(&g, 1) && !grant_is_out(&g, 3));
}

static void what_nobody_was_told_of_is_withdrawn(void)
{
    struct fixture f;
    fixture_open(&f, &follows);
    const struct grant *a = land_grant(f.shard, &holder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    uint32_t frame = a->frame;
    CU_ASSERT_TRUE(grant_is_out_to(&f.shard->grants, frame, holder.node));
    CU_ASSERT_FALSE(grant_is_out_to(&f.shard->grants, frame, holder.node + 1));
    CU_ASSERT_FALSE(grant_is_out_to(&f.shard->grants, frame + 1, holder.node));
    grant_withdraw(&f.shard->grants, a->number + 1);
    CU_ASSERT_EQUAL(grants_out(&f), 1);
    grant_withdraw(&f.shard->grants, a->number);
    CU_ASSERT_EQUAL(grants_out(&f), 0);
    CU_ASSERT_FALSE(grant_is_out_to(&f.shard->grants, frame, holder.node));
    a = land_grant(f.shard, &holder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_EQUAL(a->frame, frame); /* the same segment, again */
    CU_ASSERT_EQUAL(a->number, 2);
    fixture_close(&f);
}

static void a_range_counts_when_its_proof_is_sound(void)
{
    struct fixture leader, follower;
    open_both(&leader, &follower);
    const struct grant *g = land_grant(follower.shard, &holder);
    uint64_t lsn = follower.shard->log.lsn_end;
    struct grant_proof proof;
    grow(&leader, 2000);
    struct land_range r = range_write(&leader, &follower, NULL, lsn, &proof);
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), -EAGAIN); /* not written */
    CU_ASSERT_EQUAL(land_check(follower.shard), 0);
    (void)range_write(&leader, &follower, g, lsn, &proof);
    memory_of(&follower, g)[100] ^= 1; /* torn */
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), -EAGAIN);
    memory_of(&follower, g)[100] ^= 1;
    for (unsigned i = 0; i < GRANT_PROOF_BYTES; i++) {
        proof.bytes[i] ^= 0x80;
        CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), -EAGAIN);
        proof.bytes[i] ^= 0x80;
    }
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), 1);
    CU_ASSERT_EQUAL(land_check(follower.shard), 1);
    CU_ASSERT_EQUAL(follower.shard->log.lsn_end, leader.shard->log.lsn_end);
    proof.bytes[0] ^= 1;
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), 0); /* here already */
    close_both(&leader, &follower);
}

static void only_the_holder_of_the_grant_announces(void)
{
    struct fixture leader, follower;
    open_both(&leader, &follower);
    const struct grant *g = land_grant(follower.shard, &holder);
    uint64_t lsn = follower.shard->log.lsn_end;
    struct grant_proof proof;
    grow(&leader, 2000);
    struct land_range r = range_write(&leader, &follower, g, lsn, &proof);
    struct grant_holder other[3] = {holder, holder, holder};
    other[0].node++;
    other[1].incarnation++;
    other[2].epoch++;
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(announced(&follower, &other[i], &r, &proof), -EAGAIN);
    struct land_range bad = r;
    bad.lsn_end = lsn + segment(&follower) + 8;
    CU_ASSERT_EQUAL(announced(&follower, &holder, &bad, &proof), -EINVAL);
    bad.lsn_end = lsn;
    CU_ASSERT_EQUAL(announced(&follower, &holder, &bad, &proof), -EINVAL);
    bad.lsn_end = lsn + 4;
    CU_ASSERT_EQUAL(announced(&follower, &holder, &bad, &proof), -EINVAL);
    bad = (struct land_range){.lsn_start = lsn + segment(&follower),
                              .lsn_end = lsn + segment(&follower) + 64};
    CU_ASSERT_EQUAL(announced(&follower, &holder, &bad, &proof), -EAGAIN); /* not given */
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), 1);
    close_both(&leader, &follower);
}

/* What counts of a granted segment moves with a cut; the old one stays until its grant is back. */
static void a_cut_leaves_the_segment_in_quarantine(void)
{
    struct fixture leader, follower;
    open_both(&leader, &follower);
    const struct grant *g = land_grant(follower.shard, &holder);
    const uint32_t frame = g->frame;
    struct grant_proof proof;
    grow(&leader, 2000);
    struct land_range r = range_write(&leader, &follower, g, follower.shard->log.lsn_end, &proof);
    CU_ASSERT_EQUAL(announced(&follower, &holder, &r, &proof), 1);
    CU_ASSERT_EQUAL(land_check(follower.shard), 1);
    CU_ASSERT_TRUE(land_tail_is_granted(follower.shard));
    fixture_commit(&follower);
    CU_ASSERT_EQUAL(land_cut(follower.shard, follower.shard->log.lsn_whole, &follower.now), 0);
    CU_ASSERT_FALSE(land_tail_is_granted(follower.shard));
    CU_ASSERT_FALSE(land_grant_is_open(follower.shard, g));
    CU_ASSERT_NOT_EQUAL(follower.shard->log.tail.frame, frame);
    for (unsigned i = 0; i < 8; i++)
        (void)fixture_maintain(&follower);
    CU_ASSERT_EQUAL(follower.shard->reclaim.count, 1);
    CU_ASSERT_EQUAL(reclaim_coming(&follower.shard->reclaim), 0);
    memset(memory_of(&follower, g), 0xee, segment(&follower)); /* whatever is written there */
    uint64_t key = 1;
    struct read_found found;
    CU_ASSERT_EQUAL(fixture_read(&follower, &key, sizeof key, &found), 1);
    CU_ASSERT_EQUAL(found.value[0], 1);
    uint32_t frames[LIMIT_GRANTS];
    CU_ASSERT_EQUAL(grant_return(&follower.shard->grants, 3, 5, 1, frames), 1);
    CU_ASSERT_EQUAL(frames[0], frame);
    CU_ASSERT_EQUAL(reclaim_coming(&follower.shard->reclaim), 1);
    (void)fixture_maintain(&follower);
    CU_ASSERT_EQUAL(follower.shard->reclaim.count, 0);
    close_both(&leader, &follower);
}

/* Whether anybody may still write there or not. */
static void what_waits_ahead_goes_with_a_cut(void)
{
    struct fixture f;
    fixture_open(&f, &follows);
    uint32_t frames = frames_available(&f.shard->frames);
    CU_ASSERT_FALSE(land_has_ahead(f.shard));
    CU_ASSERT_PTR_NOT_NULL(land_grant(f.shard, &holder));
    CU_ASSERT_PTR_NOT_NULL(land_grant(f.shard, &holder));
    CU_ASSERT_EQUAL(grant_void(&f.shard->grants, holder.node), 2);
    CU_ASSERT_TRUE(land_has_ahead(f.shard));
    CU_ASSERT_EQUAL(land_cut(f.shard, f.shard->log.lsn_whole, &f.now), 0);
    CU_ASSERT_FALSE(land_has_ahead(f.shard));
    fixture_settle(&f);
    CU_ASSERT_EQUAL(frames_available(&f.shard->frames), frames);
    fixture_close(&f);
}

/* Whatever is not returned, a share of the frames stays the log's. */
static void no_more_is_given_than_a_share(void)
{
    struct fixture leader, follower;
    open_both(&leader, &follower);
    grow(&leader, 6 * segment(&leader));
    for (uint64_t lsn; (lsn = follower.shard->log.lsn_end) < leader.shard->log.lsn_end;) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&leader.shard->log, lsn, &available);
        while (land_grant(follower.shard, &holder) != NULL) {
        }
        CU_ASSERT(grants_out(&follower) <= LIMIT_GRANTS);
        CU_ASSERT_EQUAL_FATAL(land_bytes(follower.shard, lsn, bytes, min_u64(available, 8192)), 1);
        (void)!land_check(follower.shard); /* 0: a record goes on behind the range */
        follower.shard->landing.lsn_received = follower.shard->log.lsn_end;
        fixture_commit(&follower);
        fixture_answers(&follower);
    }
    CU_ASSERT_EQUAL(grants_out(&follower), LIMIT_GRANTS); /* none was returned */
    CU_ASSERT_EQUAL(follower.shard->grants.number, LIMIT_GRANTS);
    close_both(&leader, &follower);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_tail_and_the_next_segment_are_given_once),
    UNIT_TEST(grants_come_back_up_to_a_number_and_by_their_holder),
    UNIT_TEST(what_nobody_was_told_of_is_withdrawn),
    UNIT_TEST(a_range_counts_when_its_proof_is_sound),
    UNIT_TEST(only_the_holder_of_the_grant_announces),
    UNIT_TEST(a_cut_leaves_the_segment_in_quarantine),
    UNIT_TEST(what_waits_ahead_goes_with_a_cut),
    UNIT_TEST(no_more_is_given_than_a_share),
};
UNIT_MAIN("grant", tests)
