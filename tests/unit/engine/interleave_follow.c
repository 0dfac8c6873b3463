#include "tests/unit/engine/interleave_follow.h"

#include <string.h>

#define STREAM_BYTES (UINT64_C(1) << 20)  /* of the leader's log, kept by LSN modulo this */
#define AHEAD_SEGMENTS 3u                 /* the leader is at most so far ahead */
#define RECORDS_MAX (LIMIT_PENDING - 64u) /* that are not committed */
#define TRANSACTION_RECORDS_MAX 3u
#define EPOCHS_MAX (LIMIT_EPOCHS - 2u) /* of a seed: so that none collapse */
#define TURNS_MAX 10000u
#define LOG_NUMBER 7u /* of the fixture's shard */

/* A record of the leader's above the follower's commit LSN. */
struct follow_record {
    struct interleave_past past; /* lsn_end: of its transaction */
    uint32_t key;                /* at or above INTERLEAVE_HOT_KEYS: in no history */
    bool is_epoch;
};

static struct follow {
    uint8_t stream[STREAM_BYTES];
    uint64_t lsn_end; /* of the leader's log */
    uint64_t epoch;   /* newest ever: no number comes twice */
    uint32_t epoch_count;
    struct follow_record records[RECORDS_MAX]; /* in order */
    uint32_t count;
    bool cutting; /* a cut at lsn_cut has begun and waits for memory */
    uint64_t lsn_cut;
} follow, kept;

static struct shard *shard(void)
{
    return interleave.f->shard;
}

static uint64_t segment_bytes(void)
{
    return UINT64_C(1) << interleave.f->geometry.segment_shift;
}

static uint32_t below(uint32_t n)
{
    return fixture_below(&interleave.random, n);
}

/* ---- the leader ---- */

/* One record of a transaction to be. */
struct plan {
    uint8_t kind;
    uint32_t key;
    uint32_t length;
};

static uint8_t *stream_at(uint64_t lsn)
{
    return follow.stream + lsn % STREAM_BYTES;
}

static void stream_pad(uint64_t bytes)
{
    record_write_pad(stream_at(follow.lsn_end), bytes);
    follow.lsn_end += bytes;
}

static uint64_t plan_bytes(const struct plan *p)
{
    char name[32];
    return record_bytes(0, fixture_key(p->key, name), p->length);
}

/* Where a transaction that starts at a position of a segment ends, its pads included. */
static uint64_t transaction_end(uint64_t position, const struct plan *plans, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        position += record_pad_before(position, plan_bytes(&plans[i])) + plan_bytes(&plans[i]);
    return position;
}

static void stream_record(const struct plan *p, bool last, uint64_t lsn_end)
{
    static uint8_t value[INTERLEAVE_VALUE_MAX + 8];
    char name[32];
    uint32_t key_length = fixture_key(p->key, name);
    struct read_key key;
    read_key_init(&key, &interleave.f->space, name, key_length);
    uint64_t version = p->kind == RECORD_DATA ? ++interleave.version : 0;
    struct record header = {
        .format = RECORD_FORMAT,
        .kind = p->kind,
        .flags = last ? RECORD_FLAG_TRANSACTION_END : 0,
        .operation = p->kind == RECORD_DATA ? RING_PUT : RING_DELETE,
        .log = LOG_NUMBER,
        .value_length = p->length,
        .key_length = (uint16_t)key_length,
        .hash = (uint32_t)key.hash,
        .lsn = follow.lsn_end,
        .hybrid_clock = follow.lsn_end,
    };
    fixture_value(p->key, version, value, p->length);
    struct record_parts parts = {.key = name, .value = value};
    record_write(stream_at(follow.lsn_end), &header, &parts);
    follow.records[follow.count++] = (struct follow_record){
        .past = {.lsn_end = lsn_end, .lsn = header.lsn, .version = version, .length = p->length},
        .key = p->key,
    };
    follow.lsn_end += record_size(&header);
}

static bool has_room(uint64_t bytes, uint32_t records)
{
    return follow.count + records <= RECORDS_MAX &&
           follow.lsn_end + bytes + segment_bytes() <=
               shard()->log.lsn_end + AHEAD_SEGMENTS * segment_bytes();
}

/* Whole in one segment; nothing while the follower is too far behind. */
static void lead(const struct plan *plans, uint32_t count)
{
    if (!has_room(transaction_end(0, plans, count), count))
        return;
    uint64_t position = follow.lsn_end & (segment_bytes() - 1);
    bool active = interleave.active;
    interleave.active = false; /* the leader is another machine */
    if (transaction_end(position, plans, count) > segment_bytes()) {
        stream_pad(segment_bytes() - position);
        position = 0;
    }
    uint64_t lsn_end = follow.lsn_end - position + transaction_end(position, plans, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t pad =
            record_pad_before(follow.lsn_end & (segment_bytes() - 1), plan_bytes(&plans[i]));
        if (pad != 0)
            stream_pad(pad);
        stream_record(&plans[i], i + 1 == count, lsn_end);
    }
    interleave.active = active;
}

static void lead_epoch(void)
{
    struct record_epoch epoch = {
        .type = RECORD_EXTENSION_EPOCH,
        .length = sizeof epoch - 4,
        .epoch = follow.epoch + 1,
        .lsn_start = follow.lsn_end,
        .lsn_end_before = follow.lsn_end,
    };
    struct record header = {
        .format = RECORD_FORMAT,
        .kind = RECORD_EPOCH,
        .flags = RECORD_FLAG_TRANSACTION_END,
        .log = LOG_NUMBER,
        .extension_length = sizeof epoch,
        .lsn = follow.lsn_end,
    };
    uint64_t size = record_size(&header);
    uint64_t position = follow.lsn_end & (segment_bytes() - 1);
    if (follow.epoch_count == EPOCHS_MAX || record_pad_before(position, size) != 0 ||
        position + size > segment_bytes() || !has_room(size, 1))
        return;
    bool active = interleave.active;
    interleave.active = false;
    struct record_parts parts = {.extension = &epoch};
    record_write(stream_at(follow.lsn_end), &header, &parts);
    interleave.active = active;
    follow.epoch++;
    follow.epoch_count++;
    follow.lsn_end += size;
    follow.records[follow.count++] = (struct follow_record){
        .past = {.lsn_end = follow.lsn_end, .lsn = header.lsn},
        .key = INTERLEAVE_HOT_KEYS,
        .is_epoch = true,
    };
}

/* The version that the leader's last record of a key made. */
static uint64_t version_of(uint32_t key)
{
    for (uint32_t i = follow.count; i-- > 0;)
        if (follow.records[i].key == key)
            return follow.records[i].past.version;
    return interleave_past_at(key, UINT64_MAX)->version;
}

void interleave_follow_put(uint32_t key, uint32_t length)
{
    lead(&(struct plan){.kind = RECORD_DATA, .key = key, .length = length}, 1);
}

void interleave_follow_delete(uint32_t key)
{
    if (version_of(key) != 0)
        lead(&(struct plan){.kind = RECORD_TOMBSTONE, .key = key}, 1);
}

static void lead_some(void)
{
    struct plan plans[TRANSACTION_RECORDS_MAX];
    uint32_t count = 1 + below(TRANSACTION_RECORDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = interleave_some_key();
        bool gone = below(3) == 0 && version_of(key) != 0;
        plans[i] = (struct plan){
            .kind = gone ? RECORD_TOMBSTONE : RECORD_DATA,
            .key = key,
            .length = gone ? 0 : below(300),
        };
    }
    lead(plans, count);
}

/* ---- the follower ---- */

/* length bytes of the stream at lsn, over the end of its memory if need be. */
static const uint8_t *piece_of(uint64_t lsn, uint64_t length)
{
    static uint8_t piece[1u << LIMIT_SEGMENT_SHIFT_MAX];
    uint64_t first = min_u64(length, STREAM_BYTES - lsn % STREAM_BYTES);
    memcpy(piece, stream_at(lsn), first);
    memcpy(piece + first, follow.stream, length - first);
    return piece;
}

static void land(uint64_t lsn, uint64_t length)
{
    length = min_u64(length, min_u64(segment_bytes(), follow.lsn_end - lsn));
    int result = land_bytes(shard(), lsn, piece_of(lsn, length), length);
    if (result < 0 && result != -EAGAIN)
        interleave_fail("the follower refused bytes", INTERLEAVE_HOT_KEYS);
}

/* Mostly what is missing first, else anything, ahead of a gap or a second time. */
static void land_some(void)
{
    uint64_t start = shard()->log.lsn_end;
    if (start == follow.lsn_end)
        return;
    struct land_range missing;
    if (below(3) != 0 && land_missing(shard(), follow.lsn_end, &missing))
        start = missing.lsn_start;
    else
        start += 8 * (uint64_t)below((uint32_t)((follow.lsn_end - start) / 8));
    land(start, 8 + 8 * (uint64_t)below(below(2) == 0 ? 64 : 4000));
}

static void check(void)
{
    int result = land_check(shard());
    if (result < 0 && result != -EAGAIN)
        interleave_fail("the follower found what landed unsound", INTERLEAVE_HOT_KEYS);
}

/* The history first: the board shows it in the midst of shard_commit. */
static void commit_upto(uint64_t lsn)
{
    uint32_t done = 0;
    for (; done < follow.count && follow.records[done].past.lsn_end <= lsn; done++)
        if (follow.records[done].key < INTERLEAVE_HOT_KEYS)
            interleave_history_add(follow.records[done].key, &follow.records[done].past);
    follow.count -= done;
    memmove(follow.records, follow.records + done, follow.count * sizeof follow.records[0]);
    shard_commit(shard(), lsn);
}

/* Records that the follower checked and has not committed. */
static uint32_t checked_count(void)
{
    uint32_t count = 0;
    while (count < follow.count && follow.records[count].past.lsn_end <= shard()->log.lsn_end)
        count++;
    return count;
}

static void commit_some(void)
{
    uint32_t count = checked_count();
    if (count != 0)
        commit_upto(follow.records[below(count)].past.lsn_end);
}

void interleave_follow_commit(void)
{
    uint32_t count = checked_count();
    if (count != 0)
        commit_upto(follow.records[count - 1].past.lsn_end);
}

static void cut_go_on(void)
{
    int result = land_cut(shard(), follow.lsn_cut, &interleave.f->now);
    follow.cutting = result == -EAGAIN;
    interleave.met.cuts_waited += follow.cutting;
    if (result < 0 && !follow.cutting)
        interleave_fail("the follower refused a cut", INTERLEAVE_HOT_KEYS);
    if (!follow.cutting)
        lead_epoch();
}

/* The follower keeps the first count of its uncommitted records, of which the last ends a transaction.
 */
static void cut_after(uint32_t count)
{
    uint64_t lsn = count != 0 ? follow.records[count - 1].past.lsn_end : shard()->lsn_committed;
    interleave.met.cuts++;
    interleave.met.cut_records += checked_count() - count;
    interleave.met.rewritten += (lsn & (segment_bytes() - 1)) != 0;
    for (uint32_t i = count; i < follow.count; i++)
        follow.epoch_count -= follow.records[i].is_epoch;
    follow.count = count;
    follow.lsn_end = lsn;
    follow.lsn_cut = lsn;
    follow.cutting = true;
    cut_go_on();
}

static void cut_some(void)
{
    uint32_t checked = checked_count();
    if (checked == 0)
        return;
    uint32_t count = below(checked);
    while (count != 0 && count < checked &&
           follow.records[count].past.lsn_end == follow.records[count - 1].past.lsn_end)
        count++;
    if (count < checked)
        cut_after(count);
}

void interleave_follow_cut(void)
{
    cut_after(0);
    for (unsigned i = 0; follow.cutting; i++) {
        ASSERT(i < TURNS_MAX);
        interleave_maintain(1);
        cut_go_on();
    }
}

void interleave_follow_catch_up(void)
{
    for (unsigned i = 0; shard()->log.lsn_end != follow.lsn_end; i++) {
        struct land_range missing;
        uint64_t before = shard()->log.lsn_end;
        ASSERT(i < TURNS_MAX);
        /* nothing missing: as a leader that sends again what was not acknowledged */
        bool any = land_missing(shard(), follow.lsn_end, &missing);
        land(any ? missing.lsn_start : before, segment_bytes());
        check();
        if (shard()->log.lsn_end == before)
            interleave_maintain(1);
    }
}

void interleave_follow_fill(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        interleave_follow_put(i, 8);
        if (i % 64 != 0 && i + 1 != to)
            continue;
        interleave_follow_catch_up();
        interleave_follow_commit();
        fixture_answers(interleave.f);
    }
}

/* ---- a seed ---- */

/* Delete, and let so much log go by that the tombstone is given up. */
static void bury(uint32_t key)
{
    interleave_follow_delete(key);
    for (unsigned i = 0; i < 24; i++) {
        interleave_follow_put(INTERLEAVE_HOT_KEYS, 16000);
        interleave_follow_catch_up();
        interleave_follow_commit();
        interleave_maintain(3);
    }
}

static void act_as_leader(void)
{
    switch (below(6)) {
    case 0:
        interleave_follow_put(INTERLEAVE_HOT_KEYS, 4000 + below(INTERLEAVE_VALUE_MAX - 4000));
        break;
    case 1:
        interleave_follow_put(100 + interleave.filler++, 8); /* a new key, for the index */
        break;
    default:
        lead_some();
    }
}

static void act_seldom(void)
{
    switch (below(8)) {
    case 0:
        bury(interleave_some_key());
        break;
    case 1:
    case 2:
        interleave_lease_lapse();
        break;
    case 3:
        interleave_follow_catch_up();
        break;
    default:
        cut_some();
    }
}

static void act(void)
{
    if (follow.cutting) {
        interleave_maintain(1);
        cut_go_on();
        return;
    }
    uint32_t dice = below(20);
    if (dice < 6)
        act_as_leader();
    else if (dice < 10)
        land_some();
    else if (dice < 13)
        check();
    else if (dice < 15)
        commit_some();
    else if (dice < 16)
        interleave_follow_commit();
    else if (dice < 18)
        interleave_maintain(1 + below(8));
    else
        act_seldom();
}

static void begin(void)
{
    follow = kept;
}

const struct interleave_writer interleave_follower = {.begin = begin, .act = act};

/* ---- scenes ---- */

void interleave_follow_open(struct interleave_scene *s, uint64_t quota, uint32_t frames)
{
    interleave_open(s, quota, frames);
    s->writer = &interleave_follower;
    memset(&follow, 0, sizeof follow);
    follow.lsn_end = s->f.shard->log.lsn_end;
    follow.epoch = 1;
    follow.epoch_count = 1;
}

void interleave_follow_keep(struct interleave_scene *s)
{
    kept = follow;
    interleave_keep(s);
}
