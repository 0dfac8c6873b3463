/* A pair's two sides on their own: numbers of the list, what is named when, what an echo promises and
 * a pulse grants; and the wire. */
#include "dataplane/lease.h"
#include "dataplane/pair.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SHARDS 50u
#define NODE 3u
#define LEASE UINT64_C(1000)
#define HEARTBEAT UINT64_C(100)

struct fresh {
    struct pair pair;
    uint64_t memory[SHARDS * (PAIR_CHANGES_PER_SHARD + 1) * 3];
};

static struct pair *fresh(uint32_t shards)
{
    static struct fresh f;
    CU_ASSERT_FATAL(pair_bytes(shards) <= sizeof f.memory);
    pair_init(&f.pair, NODE, shards, f.memory);
    return &f.pair;
}

static uint64_t change(struct pair *p, enum pair_what what, uint32_t log)
{
    return pair_change(p, &(struct pair_change){.log = log, .what = what, .epoch = 1});
}

static struct pair_frame pulse(struct pair *p, uint64_t now)
{
    struct pair_frame f;
    pair_pulse(p, &f, now, now, 0);
    return f;
}

static struct pair_frame echo_of(uint64_t ask, uint64_t number)
{
    return (struct pair_frame){.kind = PAIR_ECHO, .ask = ask, .number = number, .number_from = 1};
}

/* ---- the leader's side ---- */

static void changes_are_numbered_from_a_reset_on(void)
{
    struct pair *p = fresh(SHARDS);
    CU_ASSERT_EQUAL(change(p, PAIR_ADD, 7), 2);
    CU_ASSERT_EQUAL(change(p, PAIR_READ, 7), 3);
    struct pair_frame f = pulse(p, 500);
    CU_ASSERT_EQUAL(f.kind, PAIR_PULSE);
    CU_ASSERT_EQUAL(f.number, 3);
    CU_ASSERT_EQUAL(f.number_from, 1);
    CU_ASSERT_EQUAL(f.count, 3);
    CU_ASSERT_EQUAL(f.items[0].what, PAIR_RESET);
    CU_ASSERT_EQUAL(f.items[1].what, PAIR_ADD);
    CU_ASSERT_EQUAL(f.items[1].log, 7);
    CU_ASSERT_EQUAL(f.items[2].what, PAIR_READ);
    CU_ASSERT_EQUAL(f.ask, 500);
}

static void what_is_echoed_is_named_no_more(void)
{
    struct pair *p = fresh(SHARDS);
    (void)!change(p, PAIR_ADD, 7);
    (void)pulse(p, 500);
    struct pair_frame again = pulse(p, 600);
    CU_ASSERT_EQUAL(again.count, 2); /* named until echoed */
    struct pair_frame e = echo_of(500, 1);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 700), 0);
    again = pulse(p, 700);
    CU_ASSERT_EQUAL(again.number_from, 2);
    CU_ASSERT_EQUAL(again.count, 1);
    e = echo_of(500, 2);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 800), 0);
    e = echo_of(500, 1); /* late */
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 800), 0);
    again = pulse(p, 800);
    CU_ASSERT_EQUAL(again.number_from, 3);
    CU_ASSERT_EQUAL(again.count, 0);
}

static void a_pulse_is_due_for_a_change_and_per_heartbeat(void)
{
    struct pair *p = fresh(SHARDS);
    CU_ASSERT(pair_pulse_due(p, 500, HEARTBEAT)); /* nobody was told of the reset */
    (void)pulse(p, 500);
    CU_ASSERT_FALSE(pair_pulse_due(p, 599, HEARTBEAT));
    CU_ASSERT(pair_pulse_due(p, 600, HEARTBEAT)); /* not echoed */
    struct pair_frame e = echo_of(500, 1);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 600), 0);
    CU_ASSERT_FALSE(pair_pulse_due(p, 10000, HEARTBEAT)); /* nothing is listed */
    p->listed = 1;
    CU_ASSERT(pair_pulse_due(p, 10000, HEARTBEAT));
    (void)pulse(p, 10000);
    CU_ASSERT_FALSE(pair_pulse_due(p, 10001, HEARTBEAT));
    (void)!change(p, PAIR_ADD, 7);
    CU_ASSERT(pair_pulse_due(p, 10001, HEARTBEAT));
}

static void many_changes_are_named_in_several_frames(void)
{
    struct pair *p = fresh(SHARDS);
    for (uint32_t i = 0; i < 40; i++)
        (void)!change(p, PAIR_ADD, i); /* 2 .. 41 */
    struct pair_frame f = pulse(p, 500);
    CU_ASSERT_EQUAL(f.count, PAIR_ITEMS);
    CU_ASSERT_EQUAL(f.number, 41);
    CU_ASSERT_FALSE(pair_pulse_due(p, 501, HEARTBEAT)); /* the rest waits for the echo */
    struct pair_frame e = echo_of(500, PAIR_ITEMS);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 501), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 0); /* that list lacks some of those added */
    CU_ASSERT(pair_pulse_due(p, 501, HEARTBEAT));
    f = pulse(p, 501);
    CU_ASSERT_EQUAL(f.number_from, PAIR_ITEMS + 1);
    CU_ASSERT_EQUAL(f.count, 41 - PAIR_ITEMS);
    e = echo_of(501, 41);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 502), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 501);
}

static void an_echo_under_an_older_list_promises_nothing_of_the_newer(void)
{
    struct pair *p = fresh(SHARDS);
    (void)!change(p, PAIR_ADD, 7);
    struct pair_frame e = echo_of(500, 2);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 510), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 500);
    /* What adds nothing to what is promised takes nothing away. */
    (void)!change(p, PAIR_READ, 7);
    CU_ASSERT_EQUAL(p->ask_echoed, 500);
    e = echo_of(520, 2);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 530), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 520);
    (void)!change(p, PAIR_ADD, 8);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    e = echo_of(540, 3);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 550), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    e = echo_of(560, 4);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 570), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 560);
    e = echo_of(545, 4); /* late: an older ask */
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 580), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 560);
    e = echo_of(0, 4); /* it promises nothing */
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 580), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 560);
}

static void a_full_journal_begins_anew(void)
{
    struct pair *p = fresh(1);
    CU_ASSERT_EQUAL(change(p, PAIR_ADD, 7), 2);
    uint64_t number = 2;
    for (; number < PAIR_CHANGES_PER_SHARD; number++)
        CU_ASSERT_EQUAL(change(p, number % 2 == 0 ? PAIR_READ : PAIR_READ_OFF, 7), number + 1);
    struct pair_frame e = echo_of(500, number);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 510), 0);
    CU_ASSERT_EQUAL(change(p, PAIR_READ, 7), 0);
    CU_ASSERT_EQUAL(p->number, number);
    p->listed = 1;
    p->behind = 1;
    p->want = 77;
    pair_restart(p);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    CU_ASSERT(p->listed == 0 && p->behind == 0 && p->want == 0);
    CU_ASSERT_EQUAL(change(p, PAIR_ADD, 7), number + 2);
    struct pair_frame f = pulse(p, 600);
    CU_ASSERT_EQUAL(f.number_from, number + 1); /* nothing of the list before */
    CU_ASSERT_EQUAL(f.count, 2);
    CU_ASSERT_EQUAL(f.items[0].what, PAIR_RESET);
    e = echo_of(605, number); /* of the list before */
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 610), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    e = echo_of(605, number + 2);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 610), 0);
    CU_ASSERT_EQUAL(p->ask_echoed, 605);
}

static void what_was_never_said_is_not_echoed(void)
{
    struct pair *p = fresh(SHARDS);
    (void)!change(p, PAIR_ADD, 7);
    struct pair_frame e = echo_of(501, 2); /* an ask of the future */
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 500), -EPROTO);
    e = echo_of(500, 3);
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 500), -EPROTO);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    CU_ASSERT_EQUAL(p->number_echoed, 0);
}

static void a_grant_binds_from_when_it_leaves(void)
{
    struct pair *p = fresh(SHARDS);
    struct pair_frame f;
    pair_pulse(p, &f, 500, 540, 300);
    CU_ASSERT_EQUAL(f.duration, 0); /* nobody wants it */
    CU_ASSERT_EQUAL(p->holder_until, 0);
    struct pair_frame e = echo_of(500, 1);
    e.want = 9000;
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 550), 0);
    pair_pulse(p, &f, 600, 640, 300);
    CU_ASSERT_EQUAL(f.want, 9000);
    CU_ASSERT_EQUAL(f.duration, 300);
    CU_ASSERT_EQUAL(p->holder_until, lease_promise_end(640, 300));
    pair_pulse(p, &f, 610, 650, 300); /* one want, one grant */
    CU_ASSERT_EQUAL(f.duration, 0);
    CU_ASSERT_EQUAL(p->holder_until, lease_promise_end(640, 300));
    e.want = 9100;
    CU_ASSERT_EQUAL(pair_on_echo(p, &e, 660), 0);
    pair_pulse(p, &f, 670, 670, 10); /* a shorter one takes nothing back */
    CU_ASSERT_EQUAL(p->holder_until, lease_promise_end(640, 300));
}

/* ---- the follower's side ---- */

static struct pair_frame named(uint64_t from, uint8_t count, uint64_t number)
{
    struct pair_frame f = {
        .kind = PAIR_PULSE, .ask = 500, .number_from = from, .count = count, .number = number};
    for (uint32_t i = 0; i < count; i++)
        f.items[i] = (struct pair_change){.what = PAIR_ADD, .log = (uint32_t)from + i, .epoch = 1};
    if (from == 1)
        f.items[0].what = PAIR_RESET;
    return f;
}

static void only_what_continues_the_list_is_taken(void)
{
    struct pair *p = fresh(SHARDS);
    uint32_t first, count;
    struct pair_frame f = named(2, 3, 4); /* its beginning was lost */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(p->list_number, 0);
    f = named(1, 4, 4);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(first == 0 && count == 4 && p->list_number == 4);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0); /* twice */
    CU_ASSERT(count == 0 && p->list_number == 4);
    f = named(3, 4, 6); /* 3 and 4 are known */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(first == 2 && count == 2 && p->list_number == 6);
    f = named(2, 3, 4); /* late */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(count == 0 && p->list_number == 6);
    f = named(8, 1, 8); /* 7 is missing */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(count == 0 && p->list_number == 6);
    f = named(9, 2, 10);
    f.items[0].what = PAIR_RESET; /* a list that begins anew needs nothing of the one before */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(first == 0 && count == 2 && p->list_number == 10);
}

static void a_pulse_that_counts_wrong_is_refused(void)
{
    struct pair *p = fresh(SHARDS);
    uint32_t first, count;
    struct pair_frame f = named(0, 2, 4);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), -EPROTO);
    f = named(1, 4, 3); /* more named than there is */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), -EPROTO);
    f = named(UINT64_MAX, 2, 4);
    f.items[0].what = PAIR_RESET;
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), -EPROTO);
    CU_ASSERT_EQUAL(p->list_number, 0);
    CU_ASSERT_EQUAL(p->ask_unechoed, 0);
}

static void an_echo_promises_the_list_that_is_known(void)
{
    struct pair *p = fresh(SHARDS);
    struct pair_frame f, e;
    uint32_t first, count;
    CU_ASSERT_FALSE(pair_echo(p, &e, 0, 600, LEASE)); /* nothing was asked */
    f = named(2, 1, 2);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 0, 600, LEASE));
    CU_ASSERT(e.ask == 0 && e.number == 0); /* of the list nothing is known */
    CU_ASSERT_EQUAL(p->promise_end, 0);
    f = named(1, 2, 2);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 77, 600, LEASE));
    CU_ASSERT(e.kind == PAIR_ECHO && e.ask == 500 && e.number == 2 && e.count == 0);
    CU_ASSERT_EQUAL(e.want, 77);
    CU_ASSERT_EQUAL(p->promise_end, lease_promise_end(600, LEASE));
    CU_ASSERT_FALSE(pair_echo(p, &e, 77, 600, LEASE)); /* one echo for an ask */
}

static void the_newest_ask_is_echoed(void)
{
    struct pair *p = fresh(SHARDS);
    struct pair_frame e;
    uint32_t first, count;
    struct pair_frame f = named(1, 1, 1);
    f.ask = 520;
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    f.ask = 510; /* late */
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 0, 600, LEASE));
    CU_ASSERT_EQUAL(e.ask, 520);
}

static void more_exclusions_than_a_frame_names_promise_nothing(void)
{
    struct pair *p = fresh(SHARDS);
    struct pair_frame e;
    uint32_t first, count;
    struct pair_frame f = named(1, 1, 1);
    for (uint32_t i = 0; i < PAIR_ITEMS; i++)
        pair_exclude(p, 100 + i, 1);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 0, 600, LEASE));
    CU_ASSERT(e.ask == 500 && e.count == PAIR_ITEMS);
    CU_ASSERT(e.items[0].log == 100 && e.items[0].epoch == 1);
    CU_ASSERT(e.items[PAIR_ITEMS - 1].log == 100 + PAIR_ITEMS - 1);
    uint64_t promised = p->promise_end;
    CU_ASSERT_EQUAL(promised, lease_promise_end(600, LEASE));
    pair_exclude(p, 99, 1);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 0, 700, LEASE));
    CU_ASSERT(e.ask == 0 && e.count == PAIR_ITEMS);
    CU_ASSERT_EQUAL(p->promise_end, promised);
    pair_include(p, 100, 1);
    CU_ASSERT_EQUAL(pair_on_pulse(p, &f, &first, &count), 0);
    CU_ASSERT(pair_echo(p, &e, 0, 800, LEASE));
    CU_ASSERT(e.ask == 500 && e.count == PAIR_ITEMS);
    CU_ASSERT_EQUAL(e.items[0].log, 101);
}

static void an_exclusion_is_of_an_epoch(void)
{
    struct pair *p = fresh(SHARDS);
    pair_exclude(p, 7, 3);
    pair_exclude(p, 7, 5);
    pair_exclude(p, 7, 4);
    CU_ASSERT(p->excluded_count == 1 && p->excluded[0].epoch == 5);
    pair_include(p, 7, 4); /* a listing that was named before */
    CU_ASSERT_EQUAL(p->excluded_count, 1);
    pair_include(p, 8, 5);
    CU_ASSERT_EQUAL(p->excluded_count, 1);
    pair_include(p, 7, 5);
    CU_ASSERT_EQUAL(p->excluded_count, 0);
    pair_exclude(p, 7, 6);
    pair_exclude(p, 8, 6);
    pair_include_all(p);
    CU_ASSERT_EQUAL(p->excluded_count, 0);
}

static void a_grant_is_good_for_the_list_that_both_know(void)
{
    struct pair *p = fresh(SHARDS);
    uint64_t generation = p->cell.generation;
    struct pair_frame f = {.kind = PAIR_PULSE, .number = 2, .want = 600, .duration = LEASE};
    p->list_number = 1;
    pair_on_grant(p, &f, 700);
    CU_ASSERT_EQUAL(p->cell.end, 0); /* what 2 changed is not known here */
    p->list_number = 3;
    pair_on_grant(p, &f, 700);
    CU_ASSERT_EQUAL(p->cell.end, 0); /* late: it was sent under an older list */
    p->list_number = 2;
    pair_on_grant(p, &f, 599); /* asked for in the future */
    CU_ASSERT_EQUAL(p->cell.end, 0);
    pair_on_grant(p, &f, 600 + LEASE); /* it is over */
    CU_ASSERT_EQUAL(p->cell.end, 0);
    CU_ASSERT_EQUAL(p->cell.generation, generation);
    f.current = true;
    pair_on_grant(p, &f, 700);
    CU_ASSERT_EQUAL(p->cell.end, lease_right_end(600, LEASE));
    CU_ASSERT_EQUAL(p->cell.generation, generation + 1);
    CU_ASSERT_EQUAL(p->ticks_current, 600);
    f.want = 650; /* it goes on without a gap */
    f.current = false;
    pair_on_grant(p, &f, 800);
    CU_ASSERT_EQUAL(p->cell.end, lease_right_end(650, LEASE));
    CU_ASSERT_EQUAL(p->cell.generation, generation + 1);
    CU_ASSERT_EQUAL(p->ticks_current, 600);
    f.want = 600; /* late */
    pair_on_grant(p, &f, 810);
    CU_ASSERT_EQUAL(p->cell.end, lease_right_end(650, LEASE));
    f.want = 3000;
    pair_on_grant(p, &f, 3100); /* after a gap: another right */
    CU_ASSERT_EQUAL(p->cell.end, lease_right_end(3000, LEASE));
    CU_ASSERT_EQUAL(p->cell.generation, generation + 2);
    f.want = 3200;
    f.duration = 0; /* what tells only that all is current */
    f.current = true;
    pair_on_grant(p, &f, 3300);
    CU_ASSERT_EQUAL(p->cell.end, lease_right_end(3000, LEASE));
    CU_ASSERT_EQUAL(p->ticks_current, 3200);
}

/* ---- the wire ---- */

static struct pair_frame full_frame(uint8_t kind)
{
    struct pair_frame f = {
        .kind = kind,
        .count = PAIR_ITEMS,
        .from = {.node = 5, .incarnation = 6},
        .to = 7,
        .ask = 8,
        .number = 9,
        .number_from = 10,
        .want = 11,
        .duration = 12,
        .current = true,
    };
    for (uint32_t i = 0; i < PAIR_ITEMS; i++)
        f.items[i] = (struct pair_change){
            .log = i, .what = 1 + i % (PAIR_WHAT_COUNT - 1), .epoch = 20 + i, .lsn = 30 + i};
    return f;
}

static bool frames_equal(const struct pair_frame *a, const struct pair_frame *b)
{
    return a->kind == b->kind && a->count == b->count && member_equal(&a->from, &b->from) &&
           a->to == b->to && a->ask == b->ask && a->number == b->number &&
           a->number_from == b->number_from && a->want == b->want && a->duration == b->duration &&
           a->current == b->current &&
           memcmp(a->items, b->items, a->count * sizeof a->items[0]) == 0;
}

static void a_frame_comes_through_as_it_was(void)
{
    uint8_t bytes[PAIR_FRAME_BYTES_MAX];
    for (uint8_t kind = PAIR_PULSE; kind <= PAIR_ECHO; kind++) {
        struct pair_frame f = full_frame(kind), back;
        for (uint32_t count = 0; count <= PAIR_ITEMS; count++) {
            f.count = (uint8_t)count;
            f.current = count % 2 == 0;
            CU_ASSERT_EQUAL(pair_frame_bytes(&f), PAIR_FRAME_HEAD_BYTES + count * 24);
            pair_frame_encode(&f, bytes);
            CU_ASSERT_EQUAL(pair_frame_decode(&back, bytes, pair_frame_bytes(&f)), 0);
            CU_ASSERT(frames_equal(&f, &back));
        }
    }
}

/* In memory that ends with the bytes, so that a read beyond is found. */
static int decode_exact(const uint8_t *bytes, uint64_t length)
{
    struct pair_frame f;
    uint8_t *copy = malloc(length != 0 ? length : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, bytes, length);
    int error = pair_frame_decode(&f, copy, length);
    free(copy);
    return error;
}

static void no_other_length_is_a_frame(void)
{
    uint8_t bytes[PAIR_FRAME_BYTES_MAX + 8] = {0};
    struct pair_frame f = full_frame(PAIR_PULSE);
    f.count = 3;
    pair_frame_encode(&f, bytes);
    for (uint64_t length = 0; length <= sizeof bytes; length++)
        CU_ASSERT_EQUAL(decode_exact(bytes, length), length == pair_frame_bytes(&f) ? 0 : -EBADMSG);
}

static void hostile_frames_are_refused(void)
{
    uint8_t good[PAIR_FRAME_BYTES_MAX], bad[PAIR_FRAME_BYTES_MAX];
    struct pair_frame f = full_frame(PAIR_ECHO);
    uint64_t length = pair_frame_bytes(&f);
    pair_frame_encode(&f, good);
    static const struct {
        uint32_t at;
        uint8_t value;
    } changes[] = {
        {0, 0},                         /* kind */
        {0, PAIR_PULSE - 1},            /* of a message */
        {0, PAIR_ECHO + 1},             /* unknown */
        {1, PAIR_ITEMS + 1},            /* more items than there may be */
        {1, 255},                       /* */
        {1, PAIR_ITEMS - 1},            /* fewer than there are */
        {2, 2},                         /* current */
        {8, 0},                         /* incarnation 0: nobody */
        {PAIR_FRAME_HEAD_BYTES + 4, 0}, /* what */
        {PAIR_FRAME_HEAD_BYTES + 4, PAIR_WHAT_COUNT},
        {PAIR_FRAME_HEAD_BYTES + 24 * 31 + 6, 1}, /* its high bytes */
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(bad, good, length);
        bad[changes[i].at] = changes[i].value;
        CU_ASSERT_EQUAL(decode_exact(bad, length), -EBADMSG);
    }
    CU_ASSERT_EQUAL(decode_exact(good, length), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(changes_are_numbered_from_a_reset_on),
    UNIT_TEST(what_is_echoed_is_named_no_more),
    UNIT_TEST(a_pulse_is_due_for_a_change_and_per_heartbeat),
    UNIT_TEST(many_changes_are_named_in_several_frames),
    UNIT_TEST(an_echo_under_an_older_list_promises_nothing_of_the_newer),
    UNIT_TEST(a_full_journal_begins_anew),
    UNIT_TEST(what_was_never_said_is_not_echoed),
    UNIT_TEST(a_grant_binds_from_when_it_leaves),
    UNIT_TEST(only_what_continues_the_list_is_taken),
    UNIT_TEST(a_pulse_that_counts_wrong_is_refused),
    UNIT_TEST(an_echo_promises_the_list_that_is_known),
    UNIT_TEST(the_newest_ask_is_echoed),
    UNIT_TEST(more_exclusions_than_a_frame_names_promise_nothing),
    UNIT_TEST(an_exclusion_is_of_an_epoch),
    UNIT_TEST(a_grant_is_good_for_the_list_that_both_know),
    UNIT_TEST(a_frame_comes_through_as_it_was),
    UNIT_TEST(no_other_length_is_a_frame),
    UNIT_TEST(hostile_frames_are_refused),
};
UNIT_MAIN("pair", tests)
