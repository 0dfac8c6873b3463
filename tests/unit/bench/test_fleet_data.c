/* Loading, dealing out, generating; keys and values; journals. */
#include "bench/fleet_data.h"
#include "bench/fleet_journal.h"
#include "bench/fleet_value.h"
#include "bench/geohash.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static struct fleet_source source;
static char error_text[512];
static char path[64];

static void write_file(const char *text, size_t length, bool compressed)
{
    (void)snprintf(path, sizeof(path), "/tmp/dunlin-test-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    if (compressed) {
        gzFile file = gzdopen(fd, "wb");
        CU_ASSERT_FATAL(gzwrite(file, text, (unsigned)length) == (int)length);
        CU_ASSERT_FATAL(gzclose(file) == Z_OK);
    } else {
        CU_ASSERT_FATAL(write(fd, text, length) == (ssize_t)length);
        CU_ASSERT_FATAL(close(fd) == 0);
    }
}

static int load(bool sort, uint32_t processes)
{
    struct fleet_load l = {.path = path, .sort = sort, .process_count = processes};
    source = (struct fleet_source){0};
    error_text[0] = 0;
    int error = fleet_source_load(&source, &l, error_text, sizeof(error_text));
    CU_ASSERT(unlink(path) == 0);
    return error;
}

#define HEAD "time_s,agent,lat_deg,lon_deg,alt_ft\n"
static const char unordered[] = HEAD "100,a,1,2,10\n"
                                     "101,b,3,4,20\n"
                                     "101,a,1,2,11\n"
                                     "100.5,c,5,6,30\n"
                                     "1000,a,1,2,12\n";

static void files_plain_and_compressed_are_loaded(void)
{
    for (int compressed = 0; compressed < 2; compressed++) {
        write_file(unordered, sizeof(unordered) - 1, compressed == 1);
        CU_ASSERT_FATAL(load(true, 4) == 0);
        CU_ASSERT(source.row_count == 5 && source.agent_count == 3);
        fleet_source_free(&source);
    }
}

static void what_cannot_be_loaded_is_named(void)
{
    write_file(unordered, sizeof(unordered) - 1, false);
    CU_ASSERT(load(false, 4) == -EINVAL);
    CU_ASSERT(strstr(error_text, "line 5: time_s 100.500000 is before 101.000000 of line 4") !=
              NULL);
    CU_ASSERT(strncmp(error_text, "/tmp/dunlin-test-", 17) == 0);
    fleet_source_free(&source);
    struct fleet_load missing = {.path = "/nonexistent/x.csv", .process_count = 1};
    CU_ASSERT(fleet_source_load(&source, &missing, error_text, sizeof(error_text)) == -ENOENT);
    CU_ASSERT(strstr(error_text, "No such file") != NULL);
    fleet_source_free(&source);
}

static void a_compressed_file_that_is_cut_off_is_refused(void)
{
    char *text = malloc(200000);
    size_t n = (size_t)sprintf(text, HEAD);
    for (uint32_t i = 0; i < 5000; i++)
        n += (size_t)sprintf(text + n, "%u,a%u,1,2,%u\n", i, i * 7919u % 5000, i * 31u);
    write_file(text, n, true);
    free(text);
    CU_ASSERT(truncate(path, 20000) == 0);
    CU_ASSERT(load(false, 4) == -EIO);
    CU_ASSERT(strstr(error_text, "cut off") != NULL);
    fleet_source_free(&source);
}

static void rows_are_sorted_and_marked(void)
{
    write_file(unordered, sizeof(unordered) - 1, false);
    CU_ASSERT_FATAL(load(true, 1) == 0);
    static const int64_t times[] = {0, 500000, 1000000, 1000000, 61000000};
    static const char *const names[] = {"a", "c", "b", "a", "a"};
    static const uint16_t flags[] = {0, 3, 3, FLEET_ROW_LEAVES, 3};
    for (uint32_t i = 0; i < 5; i++) {
        const struct fleet_row *row = &source.rows[i];
        const struct fleet_agent *agent = &source.agents[row->agent];
        CU_ASSERT(row->time_us == times[i]);
        CU_ASSERT(agent->name_length == 1 && source.text[agent->name] == names[i][0]);
        CU_ASSERT(row->flags == flags[i]);
    }
    /* 899 s of silence became 60. */
    CU_ASSERT(source.silences_cut == 1 && source.period_us == 62000000);
    CU_ASSERT(memcmp(source.text + source.rows[4].text, "1.000000,2.000000,12", 20) == 0);
    fleet_source_free(&source);
}

static void every_row_is_dealt_to_the_owner_of_its_agent(void)
{
    uint32_t processes = 7, seen = 0;
    source = (struct fleet_source){0};
    CU_ASSERT_FATAL(fleet_source_generate(&source, FLEET_SPARSE, 1, processes) == 0);
    CU_ASSERT(source.order_start[0] == 0 && source.order_start[processes] == source.row_count);
    for (uint32_t p = 0; p < processes; p++) {
        int64_t before = 0;
        for (uint32_t i = source.order_start[p]; i < source.order_start[p + 1]; i++) {
            const struct fleet_row *row = &source.rows[source.order[i]];
            CU_ASSERT_FATAL(fleet_process_of(&source, row->agent, processes) == p);
            CU_ASSERT_FATAL(row->time_us >= before);
            before = row->time_us;
            seen++;
        }
    }
    CU_ASSERT(seen == source.row_count);
    fleet_source_free(&source);
}

/* Sparse: nearly each report is in a new cell.  Crowd: few cells. */
static void generated_fleets_are_as_sparse_and_crowded_as_told(void)
{
    for (int kind = FLEET_SPARSE; kind <= FLEET_CROWD; kind++) {
        uint32_t moves = 0, cells = 0;
        source = (struct fleet_source){0};
        CU_ASSERT_FATAL(fleet_source_generate(&source, (enum fleet_kind)kind, 3, 4) == 0);
        uint32_t *last = calloc(source.agent_count, sizeof(*last));
        uint8_t *seen = calloc(1u << GEOHASH_BITS >> 3, 1);
        for (uint32_t i = 0; i < source.row_count; i++) {
            const struct fleet_row *row = &source.rows[i];
            moves += last[row->agent] != row->cell;
            last[row->agent] = row->cell;
            cells += (seen[row->cell >> 3] >> (row->cell & 7) & 1) == 0;
            seen[row->cell >> 3] |= (uint8_t)(1u << (row->cell & 7));
        }
        if (kind == FLEET_SPARSE)
            CU_ASSERT(source.agent_count == 600 && moves > source.row_count * 9 / 10);
        if (kind == FLEET_CROWD)
            CU_ASSERT(source.agent_count == 50 && cells >= 5 && cells <= 16);
        free(last);
        free(seen);
        fleet_source_free(&source);
    }
}

static void the_same_seed_gives_the_same_fleet(void)
{
    struct fleet_source again = {0}, other = {0};
    source = (struct fleet_source){0};
    CU_ASSERT_FATAL(fleet_source_generate(&source, FLEET_CROWD, 5, 4) == 0);
    CU_ASSERT_FATAL(fleet_source_generate(&again, FLEET_CROWD, 5, 4) == 0);
    CU_ASSERT_FATAL(fleet_source_generate(&other, FLEET_CROWD, 6, 4) == 0);
    CU_ASSERT(source.text_bytes == again.text_bytes &&
              memcmp(source.text, again.text, source.text_bytes) == 0);
    CU_ASSERT(source.text_bytes != other.text_bytes ||
              memcmp(source.text, other.text, source.text_bytes) != 0);
    fleet_source_free(&source);
    fleet_source_free(&again);
    fleet_source_free(&other);
}

static void owners_are_numbers_of_identities(void)
{
    struct fleet_identity all[] = {{0, 0, 0, 0},
                                   {FLEET_SOURCES_MAX - 1, FLEET_AGENTS_MAX - 1,
                                    FLEET_REPETITIONS_MAX - 1, FLEET_LIVES_MAX - 1},
                                   {1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        uint64_t owner = fleet_owner(all[i]);
        struct fleet_identity back = fleet_identity(owner);
        CU_ASSERT(owner != 0);
        CU_ASSERT(back.source == all[i].source && back.agent == all[i].agent);
        CU_ASSERT(back.repetition == all[i].repetition && back.life == all[i].life);
    }
}

static void names_tell_identities_apart(void)
{
    char name[FLEET_NAME_BYTES];
    write_file(unordered, sizeof(unordered) - 1, false);
    CU_ASSERT_FATAL(load(true, 1) == 0);
    CU_ASSERT(fleet_name(&source, fleet_owner((struct fleet_identity){0, 2, 0, 0}), name) == 1);
    CU_ASSERT(memcmp(name, "c", 1) == 0);
    CU_ASSERT(fleet_name(&source, fleet_owner((struct fleet_identity){0, 0, 12, 0}), name) == 4);
    CU_ASSERT(memcmp(name, "a.12", 4) == 0);
    CU_ASSERT(fleet_name(&source, fleet_owner((struct fleet_identity){0, 0, 0, 30}), name) == 6);
    CU_ASSERT(memcmp(name, "a.0.30", 6) == 0);
    CU_ASSERT(fleet_name(&source, 0, name) == 6 && memcmp(name, "nobody", 6) == 0);
    CU_ASSERT(fleet_name(&source, fleet_owner((struct fleet_identity){0, 99, 0, 0}), name) == 7);
    fleet_source_free(&source);
}

static void every_changed_byte_of_a_value_is_noticed(void)
{
    char value[FLEET_VALUE_BYTES];
    struct fleet_key key, other;
    uint64_t stamp, number;
    fleet_key_sector(&key, 0x1234abcd, 0x3fffffff);
    fleet_key_sector(&other, 0x1234abcd, 0x3ffffffe);
    CU_ASSERT(key.length == 15 && memcmp(key.bytes, "zzzzzz.1234abcd", 15) == 0);
    size_t n =
        fleet_value_make(value, &key, 0x0123456789abcdef, UINT64_MAX, (struct csv_text){"text", 4});
    CU_ASSERT(fleet_value_parse(value, n, &key, &stamp, &number) == 0);
    CU_ASSERT(stamp == 0x0123456789abcdef && number == UINT64_MAX);
    CU_ASSERT(fleet_value_parse(value, n, &other, &stamp, &number) == -EBADMSG);
    for (size_t i = 0; i < n; i++) {
        value[i] ^= 1;
        CU_ASSERT(fleet_value_parse(value, n, &key, &stamp, &number) == -EBADMSG);
        value[i] ^= 1;
        CU_ASSERT(fleet_value_parse(value, i, &key, &stamp, &number) == -EBADMSG);
    }
}

#define JOURNAL_ENTRIES (4 * FLEET_JOURNAL_ENTRIES)

static void *write_journal(void *context)
{
    for (uint64_t i = 1; i <= JOURNAL_ENTRIES; i++) {
        struct fleet_entry e = {.start = i, .ns_until = ~i};
        fleet_journal_put(context, &e);
    }
    return NULL;
}

static void a_journal_loses_nothing_and_keeps_the_order(void)
{
    struct fleet_region *r = aligned_alloc(PAGE, fleet_region_bytes(1));
    static struct fleet_entry entries[1000];
    uint64_t next = 1;
    bool good = true;
    pthread_t thread;
    memset(r, 0, fleet_region_bytes(1));
    fleet_region_init(r, 0, 1);
    CU_ASSERT(fleet_journal_has_room(r));
    CU_ASSERT_FATAL(pthread_create(&thread, NULL, write_journal, r) == 0);
    while (next <= JOURNAL_ENTRIES) {
        size_t n = fleet_journal_take(r, entries, 1000);
        for (size_t i = 0; i < n; i++, next++)
            good &= entries[i].start == next && entries[i].ns_until == ~next;
    }
    CU_ASSERT(pthread_join(thread, NULL) == 0);
    CU_ASSERT(good && fleet_journal_take(r, entries, 1000) == 0);
    for (uint32_t i = 0; i < FLEET_JOURNAL_ENTRIES - FLEET_JOURNAL_RESERVE; i++)
        fleet_journal_put(r, &entries[0]);
    CU_ASSERT(!fleet_journal_has_room(r));
    free(r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(files_plain_and_compressed_are_loaded),
    UNIT_TEST(what_cannot_be_loaded_is_named),
    UNIT_TEST(a_compressed_file_that_is_cut_off_is_refused),
    UNIT_TEST(rows_are_sorted_and_marked),
    UNIT_TEST(every_row_is_dealt_to_the_owner_of_its_agent),
    UNIT_TEST(generated_fleets_are_as_sparse_and_crowded_as_told),
    UNIT_TEST(the_same_seed_gives_the_same_fleet),
    UNIT_TEST(owners_are_numbers_of_identities),
    UNIT_TEST(names_tell_identities_apart),
    UNIT_TEST(every_changed_byte_of_a_value_is_noticed),
    UNIT_TEST(a_journal_loses_nothing_and_keeps_the_order),
};
UNIT_MAIN("fleet_data", tests)
