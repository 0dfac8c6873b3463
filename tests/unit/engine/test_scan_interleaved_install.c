/* Reads and scans, and a follower that gives up what it shows, or what it showed before, and takes snapshots over, of
 * the same LSN or of later ones, interleaved at every atomic step of either.  Keys only come: a read or scan that is
 * answered finds all that were shown when it began. */
#include "engine/land.h"
#include "engine/scan.h"
#include "engine/snapshot.h"
#include "tests/unit/engine/alternate.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/hooked_atomics.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SEEDS 100u
#define PAGES 60u
#define KEYS 500u /* of the first generation; each later one has some more */
#define KEYS_MORE 40u
#define KEYS_BESIDE 8u /* of these, while it is told */
#define GENERATIONS 4u
#define PIECES_MAX 64u
#define PIECE_BYTES 4096u
#define BYTES (1u << 16)
#define TURNS_MAX 10000u

/* What the leader told at one time, and where its log ended then. */
struct generation {
    uint8_t *pieces[PIECES_MAX];
    uint64_t lengths[PIECES_MAX];
    uint32_t piece_count;
    uint64_t lsn_end;
};

static struct {
    struct fixture leader, f, saved_f;
    struct generation generations[GENERATIONS];
    uint8_t *saved, *bytes;
    uint64_t seed;
    uint32_t failures;
    uint32_t must; /* keys that are shown */
    uint64_t gets, scans, again, installed, discarded;
} w;

static void fail(const char *what, uint64_t number)
{
    if (w.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s (%llu)\n", (unsigned long long)w.seed, what,
                      (unsigned long long)number);
}

/* ---- beforehand ---- */

static uint32_t keys_of(uint32_t generation)
{
    return KEYS + generation * KEYS_MORE;
}

static void leader_write(uint32_t from, uint32_t to)
{
    char key[32];
    uint8_t value[64] = {0};
    for (uint32_t i = from; i < to; i++) {
        uint32_t length = fixture_key(i, key);
        ASSERT(fixture_put(&w.leader, key, length, value, sizeof value) == 0);
        if (i % 16 == 0)
            fixture_settle(&w.leader);
    }
    fixture_settle(&w.leader);
}

/* Its keys come before and while it is told, so that it is the leader's newest state. */
static void generation_record(uint32_t number)
{
    struct generation *g = &w.generations[number];
    uint32_t from = number == 0 ? 0 : keys_of(number - 1), to = keys_of(number);
    uint32_t before = to - KEYS_BESIDE;
    struct snapshot_cursor c;
    leader_write(from, before);
    ASSERT(snapshot_begin(&c, w.leader.shard, number + 1) == 0);
    for (int more = 1; more != 0; g->piece_count++) {
        ASSERT(g->piece_count < PIECES_MAX);
        struct snapshot_piece p = {.bytes = malloc(PIECE_BYTES), .capacity = PIECE_BYTES};
        ASSERT(p.bytes != NULL && (more = snapshot_next(&c, w.leader.shard, &p)) >= 0);
        g->pieces[g->piece_count] = p.bytes;
        g->lengths[g->piece_count] = p.length;
        for (; before < to && g->piece_count < 2; before++)
            leader_write(before, before + 1);
    }
    ASSERT(before == to);
    g->lsn_end = w.leader.shard->log.lsn_end;
}

/* Some more of the leader's log up to there; what lands is committed. */
static void follow(uint64_t lsn_end, uint32_t steps)
{
    const struct log *l = &w.leader.shard->log;
    struct shard *s = w.f.shard;
    for (; s->log.lsn_end != lsn_end && steps != 0; steps--) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(l, s->log.lsn_end, &available);
        ASSERT(bytes != NULL);
        available = min_u64(available, lsn_end - s->log.lsn_end);
        int placed = land_bytes(s, s->log.lsn_end, bytes, min_u64(available, 896));
        ASSERT(placed >= 0 || placed == -EAGAIN);
        ASSERT(land_check(s) >= 0);
        fixture_commit(&w.f);
        (void)fixture_maintain(&w.f);
    }
}

static void open(void)
{
    struct fixture_config c = {.quota_bytes = UINT64_C(4) << 20, .shard_count = 1, .ordered = true};
    memset(&w, 0, sizeof w);
    alternate = (struct alternate){.random = 1, .reader_steps = 600, .writer_steps = 5000};
    fixture_open(&w.leader, &c);
    w.leader.shard->lsn_kept = 0;
    for (uint32_t i = 0; i < GENERATIONS; i++)
        generation_record(i);
    c.follower = true;
    fixture_open(&w.f, &c);
    follow(w.generations[0].lsn_end, TURNS_MAX);
    fixture_settle(&w.f);
    w.bytes = malloc(BYTES);
    w.saved = fixture_save(&w.f);
    w.saved_f = w.f;
    ASSERT(w.bytes != NULL);
}

static void close_all(void)
{
    for (uint32_t i = 0; i < GENERATIONS; i++)
        for (uint32_t j = 0; j < w.generations[i].piece_count; j++)
            free(w.generations[i].pieces[j]);
    free(w.bytes);
    free(w.saved);
    fixture_close(&w.leader);
    fixture_close(&w.f);
}

/* ---- the writer ---- */

static void maintain(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++)
        (void)fixture_maintain(&w.f);
}

static void discard(void)
{
    install_discard(w.f.shard);
    w.discarded++;
    maintain(alternate_below(6));
}

/* Give up what is shown when so many pieces of what takes its place are here. */
static void take_pieces(const struct generation *g, uint64_t id)
{
    struct shard *s = w.f.shard;
    uint32_t given_up = alternate_below(3 * g->piece_count);
    int done;
    while ((done = install_begin(s, id)) == -EAGAIN)
        maintain(1);
    ASSERT(done == 0);
    for (uint32_t i = 0; i < g->piece_count; i++) {
        if (i == given_up)
            discard();
        maintain(alternate_below(3));
        while ((done = install_piece(s, g->pieces[i], g->lengths[i])) == -EAGAIN)
            maintain(1);
        ASSERT(done == (i + 1 == g->piece_count));
    }
    w.installed++;
}

/* Take a generation over, perhaps twice, perhaps giving up what was shown before the newer one is whole. */
static void install(uint32_t number)
{
    const struct generation *g = &w.generations[number];
    struct shard *s = w.f.shard;
    take_pieces(g, number + 1);
    follow(g->lsn_end, alternate_below(20));
    if (s->install.beside == INSTALL_SHOWN && install_lsn_visible(s) != 0 &&
        alternate_below(2) == 0) {
        discard();
        follow(g->lsn_end, alternate_below(10));
        if (install_lsn_visible(s) != 0 && alternate_below(2) == 0)
            take_pieces(g, number + 1);
    }
    follow(g->lsn_end, TURNS_MAX);
    ASSERT(install_lsn_visible(s) == 0 && s->lsn_committed == g->lsn_end);
    w.must = keys_of(number);
    maintain(alternate_below(12));
}

static void act(void)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < GENERATIONS; i++)
        first = keys_of(i) <= w.must ? i : first;
    install(first + alternate_below(GENERATIONS - first));
}

/* ---- the reader ---- */

static void get(void)
{
    char key[32];
    struct read_key k;
    struct read_point p;
    struct read_found found;
    uint32_t number = alternate_below(w.must), length = fixture_key(number, key);
    read_key_init(&k, &w.f.space, key, length);
    read_begin(&p, &w.f.space, 0);
    int result = read_find(&p, &w.f.space, &k, &found);
    if (result < 0 || !read_validate(&p, &w.f.space, result == 0))
        return;
    if (result == 0)
        fail("a key is missing", number);
    w.gets++;
}

/* A page that is answered is followed by the next; one that is not is asked for again. */
static void reader_main(void *argument)
{
    (void)argument;
    struct scan_page page = {.buffer = w.bytes, .capacity = BYTES, .done = true};
    struct read_point p;
    uint32_t count = 0, must = w.must;
    scan_begin(&page, "", 0, "", 0);
    for (uint32_t i = 0; i < PAGES; interleave_point()) {
        get();
        page.count_max = 1 + alternate_below(400);
        if (scan_read(&page, &w.f.space, &p) != 0) {
            w.again++;
            continue;
        }
        i++;
        count += page.count;
        if (!page.done)
            continue;
        if (count < must || count > keys_of(GENERATIONS - 1))
            fail("a scan of other keys than there are", count);
        w.scans++;
        count = 0;
        must = w.must;
        scan_begin(&page, "", 0, "", 0);
    }
}

static void run(uint64_t seed)
{
    fixture_restore(&w.f, w.saved);
    w.f = w.saved_f;
    w.f.now.context = &w.f;
    w.seed = seed;
    w.must = KEYS;
    alternate_begin(seed, reader_main);
    while (!alternate.reader_done)
        act();
    alternate_end();
}

static void reads_hold_while_states_are_given_up_for_others(void)
{
    open();
    bool all = alternate_seeds(SEEDS, run, &w.failures);
    printf("\n    gets %llu scans %llu again %llu installed %llu discarded %llu\n",
           (unsigned long long)w.gets, (unsigned long long)w.scans, (unsigned long long)w.again,
           (unsigned long long)w.installed, (unsigned long long)w.discarded);
    CU_ASSERT_EQUAL(w.failures, 0);
    CU_ASSERT(!all || (w.gets != 0 && w.scans != 0 && w.again != 0 && w.installed > SEEDS &&
                       w.discarded > SEEDS));
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(reads_hold_while_states_are_given_up_for_others),
};
UNIT_MAIN("scan_interleaved_install", tests)
