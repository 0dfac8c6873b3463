/* The file of secrets: what a good one gives, in which order, and that everything else is refused
 * with its place and without a word of its content. */
#include "control/cluster_key.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_B "FFeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static char path[64];

static void file_write(const char *text, size_t size, mode_t mode)
{
    (void)snprintf(path, sizeof(path), "/tmp/dunlin-key-XXXXXX");
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, size), (ssize_t)size);
    CU_ASSERT_EQUAL(fchmod(fd, mode), 0);
    CU_ASSERT_EQUAL(close(fd), 0);
}

struct loaded {
    int error;
    uint32_t count;
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
    char *said;
    size_t said_bytes;
};

static struct loaded load(const char *name)
{
    struct loaded l = {.count = 77};
    FILE *errors = open_memstream(&l.said, &l.said_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    l.error = cluster_key_load(name, l.secrets, &l.count, errors);
    (void)fclose(errors);
    return l;
}

static void expect(int error, const char *fault)
{
    static const struct transport_framed_secret untouched[FRAME_SECRETS_MAX];
    char wanted[256];
    struct loaded l = load(path);
    (void)snprintf(wanted, sizeof(wanted), "%s:%s\n", path, fault);
    CU_ASSERT_EQUAL(l.error, error);
    CU_ASSERT_STRING_EQUAL(l.said, wanted);
    CU_ASSERT_EQUAL(l.count, 77);
    CU_ASSERT_EQUAL(memcmp(l.secrets, untouched, sizeof(untouched)), 0);
    free(l.said);
}

static struct loaded good(const char *text)
{
    file_write(text, strlen(text), 0600);
    struct loaded l = load(path);
    CU_ASSERT_EQUAL(l.error, 0);
    CU_ASSERT_STRING_EQUAL(l.said, "");
    free(l.said);
    CU_ASSERT_EQUAL(unlink(path), 0);
    return l;
}

static void lines_arrive_in_order(void)
{
    struct loaded l = good("# of the flock\n\n  65535   " HEX_B "  \r\n\t# the old one\n1 " HEX_A);
    CU_ASSERT_EQUAL_FATAL(l.count, 2);
    CU_ASSERT_EQUAL(l.secrets[0].key_id, 65535);
    CU_ASSERT_EQUAL(l.secrets[1].key_id, 1);
    for (uint32_t i = 0; i < FRAME_SECRET_BYTES; i++) {
        CU_ASSERT_EQUAL(l.secrets[0].bytes[i], 0xff - 0x11 * (i % 16));
        CU_ASSERT_EQUAL(l.secrets[1].bytes[i], i);
    }
    l = good("1 " HEX_A "\n2 " HEX_A "\n3 " HEX_A "\n4 " HEX_A "\n# no more\n");
    CU_ASSERT_EQUAL(l.count, 4);
}

static const struct bad {
    const char *text, *fault;
} bad_files[] = {
    {"", "0:0: no key; expected a line of `dunlin key`"},
    {"# 1 " HEX_A "\n\n", "0:0: no key; expected a line of `dunlin key`"},
    {HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"\n 0 " HEX_A "\n", "2:2: no key id; expected a number from 1 to 65535 and a space"},
    {"01 " HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"65536 " HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"4294967297 " HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"1:" HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"1\n" HEX_A "\n", "1:1: no key id; expected a number from 1 to 65535 and a space"},
    {"7 " HEX_A "\n8 " HEX_A "\n7 " HEX_B "\n",
     "3:1: a key id that stands above already; expected another"},
    {"1 \n", "1:3: no hex digit; expected 64 of them, as `dunlin key` prints them"},
    {"1 00g0\n", "1:5: no hex digit; expected 64 of them, as `dunlin key` prints them"},
    {"1 0x" HEX_A "\n", "1:4: no hex digit; expected 64 of them, as `dunlin key` prints them"},
    {"12 " HEX_A "0\n", "1:68: more after the key; expected the end of the line"},
    {"12 " HEX_A " # mine\n", "1:69: more after the key; expected the end of the line"},
    {"1 " HEX_A "\n2 " HEX_A "\n3 " HEX_A "\n4 " HEX_A "\n5 " HEX_A "\n",
     "5:1: one key too many; expected at most 4"},
};

static void bad_lines_are_told_their_place(void)
{
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        file_write(bad_files[i].text, strlen(bad_files[i].text), 0600);
        expect(-EINVAL, bad_files[i].fault);
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
    static const char zero[] = "1 " HEX_A "\n\0\n2 " HEX_B "\n";
    file_write(zero, sizeof(zero) - 1, 0600);
    expect(-EINVAL, "2:1: a byte 0; expected text");
    CU_ASSERT_EQUAL(unlink(path), 0);
}

/* Cut anywhere, the last line is a fault or whole. */
static void a_cut_file_is_no_shorter_key(void)
{
    static const char text[] = "12 " HEX_A "\n";
    for (size_t size = 0; size < sizeof(text) - 2; size++) {
        file_write(text, size, 0600);
        struct loaded l = load(path);
        CU_ASSERT_EQUAL(l.error, -EINVAL);
        CU_ASSERT_PTR_NULL(strstr(l.said, "0001"));
        free(l.said);
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
}

static void others_must_not_use_it(void)
{
    static const mode_t open_modes[] = {0640, 0620, 0604, 0602, 0610, 0601};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        file_write("1 " HEX_A "\n", 67, open_modes[i]);
        expect(-EPERM, "0:0: others than its owner may use it; expected mode 0600 or 0400");
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
    file_write("1 " HEX_A "\n", 67, 0400);
    if (geteuid() == 0) {
        CU_ASSERT_EQUAL(chown(path, 65534, 65534), 0);
        expect(-EPERM, "0:0: it belongs to another user; expected root or the daemon's user");
        CU_ASSERT_EQUAL(chown(path, 0, 0), 0);
    }
    struct loaded l = load(path);
    CU_ASSERT_EQUAL(l.error, 0);
    CU_ASSERT_EQUAL(l.count, 1);
    free(l.said);
    CU_ASSERT_EQUAL(unlink(path), 0);
}

static void files_that_are_none_are_refused(void)
{
    static char large[CLUSTER_KEY_FILE_BYTES_MAX + 1];
    (void)snprintf(path, sizeof(path), "/nowhere/key");
    expect(-ENOENT, "0:0: not readable: No such file or directory; expected a regular file");
    (void)snprintf(path, sizeof(path), "/dev/null");
    expect(-EINVAL, "0:0: no regular file; expected one");
    (void)snprintf(path, sizeof(path), "/tmp");
    expect(-EINVAL, "0:0: no regular file; expected one");
    memset(large, '#', sizeof(large));
    file_write(large, sizeof(large), 0600);
    expect(-EFBIG, "0:0: more than 4096 bytes; expected a few lines");
    CU_ASSERT_EQUAL(unlink(path), 0);
    memcpy(large, "1 " HEX_A "\n", 67);
    file_write(large, sizeof(large) - 1, 0600);
    struct loaded l = load(path);
    CU_ASSERT_EQUAL(l.error, 0);
    free(l.said);
    CU_ASSERT_EQUAL(unlink(path), 0);
}

static void a_fresh_line_is_a_key_of_its_own(void)
{
    char first[CLUSTER_KEY_LINE_BYTES], second[CLUSTER_KEY_LINE_BYTES];
    CU_ASSERT_EQUAL_FATAL(cluster_key_line(first), 0);
    CU_ASSERT_EQUAL_FATAL(cluster_key_line(second), 0);
    struct loaded a = good(first), b = good(second);
    CU_ASSERT_EQUAL(a.count, 1);
    CU_ASSERT_NOT_EQUAL(memcmp(a.secrets[0].bytes, b.secrets[0].bytes, FRAME_SECRET_BYTES), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(lines_arrive_in_order),           UNIT_TEST(bad_lines_are_told_their_place),
    UNIT_TEST(a_cut_file_is_no_shorter_key),    UNIT_TEST(others_must_not_use_it),
    UNIT_TEST(files_that_are_none_are_refused), UNIT_TEST(a_fresh_line_is_a_key_of_its_own),
};
UNIT_MAIN("cluster_key", tests)
