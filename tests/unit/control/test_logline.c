#include "control/logline.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

#define TIME_NS UINT64_C(1795249235478123456)
#define FIRST "time=2026-11-21T08:20:35.478123Z level=info event=test"

static const char *formatted(const struct log_field *fields, size_t count)
{
    static char line[LOGLINE_BYTES + 1];
    const struct logline what = {TIME_NS, LOG_INFO, "test", fields, count};
    size_t length = logline_format(line, LOGLINE_BYTES, &what);
    CU_ASSERT_FATAL(length >= 1 && length <= LOGLINE_BYTES);
    line[length] = 0;
    CU_ASSERT_EQUAL(line[length - 1], '\n');
    CU_ASSERT_EQUAL(strchr(line, '\n') - line, (long)length - 1); /* one line */
    return line;
}

static const char *formatted_text(const char *text)
{
    struct log_field field = LOG_TEXT("f", text);
    return formatted(&field, 1);
}

static void plain_values_stand_as_they_are(void)
{
    struct log_field fields[] = {LOG_NUMBER("slot", 3), LOG_NUMBER("low", -7),
                                 LOG_TEXT("path", "/run/a-b_c.sock:1,2@%+#")};
    CU_ASSERT_STRING_EQUAL(formatted(NULL, 0), FIRST "\n");
    CU_ASSERT_STRING_EQUAL(formatted(fields, 3),
                           FIRST " slot=3 low=-7 path=/run/a-b_c.sock:1,2@%+#\n");
}

static void anything_else_is_quoted(void)
{
    CU_ASSERT_STRING_EQUAL(formatted_text(""), FIRST " f=\"\"\n");
    CU_ASSERT_STRING_EQUAL(formatted_text("a b"), FIRST " f=\"a b\"\n");
    CU_ASSERT_STRING_EQUAL(formatted_text("x=1"), FIRST " f=\"x=1\"\n");
    CU_ASSERT_STRING_EQUAL(formatted_text("a\"b\\"), FIRST " f=\"a\\\"b\\\\\"\n");
    CU_ASSERT_STRING_EQUAL(formatted_text("a\nlevel=error\x01\x7f\xff"),
                           FIRST " f=\"a\\x0alevel=error\\x01\\x7f\\xff\"\n");
}

static void what_does_not_fit_is_left_out_whole(void)
{
    char big[2 * LOGLINE_BYTES];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = 0;
    struct log_field fields[] = {LOG_TEXT("big", big), LOG_NUMBER("small", 1)};
    CU_ASSERT_STRING_EQUAL(formatted(fields, 2), FIRST " small=1\n");
}

/* stderr is a pipe that nobody reads: never wait, and say afterwards how much was lost. */
static void a_full_pipe_costs_lines_not_time(void)
{
    int ends[2];
    static char text[1 << 17];
    int kept = dup(STDERR_FILENO);
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    CU_ASSERT_EQUAL(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    CU_ASSERT(dup2(ends[1], STDERR_FILENO) >= 0);
    for (int i = 0; i < 150; i++)
        log_event(LOG_WARN, "full", LOG_NUMBER("i", i));
    ssize_t length = read(ends[0], text, sizeof(text));
    log_event(LOG_WARN, "again", LOG_NUMBER("i", 0));
    ssize_t rest = read(ends[0], text + length, sizeof(text) - (size_t)length - 1);
    CU_ASSERT(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    (void)close(ends[0]);
    (void)close(ends[1]);
    CU_ASSERT_FATAL(length > 0 && rest > 0);
    text[length + rest] = 0;
    int lines = 0;
    for (const char *c = text; c < text + length; c++)
        lines += *c == '\n' ? 1 : 0;
    CU_ASSERT(lines > 0 && lines < 150);
    char expected[64];
    (void)snprintf(expected, sizeof(expected), "event=again i=0 dropped=%d\n", 150 - lines);
    CU_ASSERT_PTR_NOT_NULL(strstr(text + length, expected));
}

static const struct unit_test tests[] = {
    UNIT_TEST(plain_values_stand_as_they_are),
    UNIT_TEST(anything_else_is_quoted),
    UNIT_TEST(what_does_not_fit_is_left_out_whole),
    UNIT_TEST(a_full_pipe_costs_lines_not_time),
};
UNIT_MAIN("logline", tests)
