#include "control/logline.h"

#include "engine/clock.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct text {
    char *bytes;
    size_t length, capacity;
    bool cut;
};

static void add_bytes(struct text *t, const char *bytes, size_t length)
{
    if (t->cut || t->length + length > t->capacity) {
        t->cut = true;
        return;
    }
    memcpy(t->bytes + t->length, bytes, length);
    t->length += length;
}

static void add(struct text *t, const char *string)
{
    add_bytes(t, string, strlen(string));
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("-_./:,@+%#", c) != NULL);
}

static bool needs_quotes(const char *value)
{
    for (const char *c = value; *c != 0; c++)
        if (!is_plain(*c))
            return true;
    return *value == 0;
}

static void add_quoted(struct text *t, const char *value)
{
    add(t, "\"");
    for (const char *c = value; *c != 0; c++) {
        char escaped[8];
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\')
            (void)snprintf(escaped, sizeof(escaped), "\\%c", byte);
        else if (byte >= 0x20 && byte < 0x7f)
            (void)snprintf(escaped, sizeof(escaped), "%c", byte);
        else
            (void)snprintf(escaped, sizeof(escaped), "\\x%02x", byte);
        add(t, escaped);
    }
    add(t, "\"");
}

/* A field is there whole or not at all. */
static void add_field(struct text *t, const struct log_field *field)
{
    size_t before = t->length;
    add(t, " ");
    add(t, field->name);
    add(t, "=");
    if (field->text == NULL) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%lld", (long long)field->number);
        add(t, number);
    } else if (needs_quotes(field->text)) {
        add_quoted(t, field->text);
    } else {
        add(t, field->text);
    }
    if (t->cut)
        t->length = before;
    t->cut = false;
}

static void add_time(struct text *t, uint64_t ns)
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm utc;
    char date[64] = "";
    char whole[96];
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        date[0] = 0;
    (void)snprintf(whole, sizeof(whole), "time=%s.%06uZ", date,
                   (unsigned)(ns % NS_PER_S / UINT64_C(1000)));
    add(t, whole);
}

size_t logline_format(char *line, size_t capacity, const struct logline *what)
{
    static const char *const levels[] = {"info", "warn", "error"};
    struct text t = {.bytes = line, .capacity = capacity - 1};
    add_time(&t, what->ns_realtime);
    add_field(&t, &LOG_TEXT("level", levels[what->level]));
    add_field(&t, &LOG_TEXT("event", what->event));
    for (size_t i = 0; i < what->count; i++)
        add_field(&t, &what->fields[i]);
    line[t.length++] = '\n';
    return t.length;
}

/* What logline_write remembers between calls; held for as long as a write to stderr that does not block. */
static pthread_mutex_t logline_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t second;
    uint64_t lines;
    uint64_t dropped;
} logline_state;

static bool may_write(enum log_level level, uint64_t ns)
{
    uint64_t allowed = level == LOG_INFO ? LOGLINES_PER_S - LOGLINES_PER_S / 4 : LOGLINES_PER_S;
    if (ns / NS_PER_S != logline_state.second) {
        logline_state.second = ns / NS_PER_S;
        logline_state.lines = 0;
    }
    if (logline_state.lines >= allowed)
        return false;
    /* A pipe that polls writable takes a line of this size whole: it is shorter than PIPE_BUF. */
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

static void write_locked(enum log_level level, const char *event, const struct log_field *fields,
                         size_t count)
{
    char line[LOGLINE_BYTES];
    char dropped[40];
    uint64_t ns = clock_realtime_ns();
    if (!may_write(level, ns)) {
        logline_state.dropped++;
        return;
    }
    const struct logline what = {ns, level, event, fields, count};
    size_t length = logline_format(line, sizeof(line) - sizeof(dropped), &what);
    if (logline_state.dropped != 0) {
        int more = snprintf(dropped, sizeof(dropped), " dropped=%llu\n",
                            (unsigned long long)logline_state.dropped);
        memcpy(line + length - 1, dropped, (size_t)more);
        length += (size_t)more - 1;
    }
    logline_state.lines++;
    logline_state.dropped = 0;
    if (write(STDERR_FILENO, line, length) < 0)
        logline_state.dropped = 1;
}

void logline_write(enum log_level level, const char *event, const struct log_field *fields,
                   size_t count)
{
    pthread_mutex_lock(&logline_mutex);
    write_locked(level, event, fields, count);
    pthread_mutex_unlock(&logline_mutex);
}
