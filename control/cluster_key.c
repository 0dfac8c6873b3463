#include "control/cluster_key.h"

#include "control/read_all.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* The text of the file while it is judged. */
struct keys {
    const char *path;
    FILE *errors;
    const char *at; /* what is read next; the text ends with 0 */
    const char *line_start;
    uint32_t line; /* from 1 */
    uint32_t count;
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
};

static int fault(FILE *errors, const char *path, uint32_t line, uint32_t column, const char *text)
{
    for (; *path != '\0'; path++)
        (void)fputc((unsigned char)*path < ' ' || *path == 0x7f ? '?' : *path, errors);
    (void)fprintf(errors, ":%u:%u: %s\n", line, column, text);
    return -EINVAL;
}

/* At what is read next. */
static int fault_here(const struct keys *k, const char *text)
{
    return fault(k->errors, k->path, k->line, (uint32_t)(k->at - k->line_start) + 1, text);
}

/* ---- lines ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct keys *k)
{
    while (*k->at == ' ' || *k->at == '\t' || *k->at == '\r')
        k->at++;
}

static int take_id(struct keys *k, uint16_t *id)
{
    const char *start = k->at;
    uint32_t number = 0;
    for (; is_digit(*k->at) && number <= UINT16_MAX; k->at++)
        number = number * 10 + (uint32_t)(*k->at - '0');
    bool good = start[0] != '0' && number >= 1 && number <= UINT16_MAX && *k->at == ' ';
    *id = (uint16_t)number;
    if (!good) {
        k->at = start;
        return fault_here(k, "no key id; expected a number from 1 to 65535 and a space");
    }
    for (uint32_t i = 0; i < k->count; i++) {
        if (k->secrets[i].key_id != *id)
            continue;
        k->at = start;
        return fault_here(k, "a key id that stands above already; expected another");
    }
    return 0;
}

/* -1: none. */
static int hex_of(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int take_secret(struct keys *k, uint8_t bytes[FRAME_SECRET_BYTES])
{
    _Static_assert(FRAME_SECRET_BYTES == 32, "the message names 64 digits");
    for (size_t i = 0; i < 2 * (size_t)FRAME_SECRET_BYTES; i++, k->at++) {
        int digit = hex_of(*k->at);
        if (digit < 0)
            return fault_here(k, "no hex digit; expected 64 of them, as `dunlin key` prints them");
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
    }
    return 0;
}

static int take_line(struct keys *k)
{
    skip_blanks(k);
    if (*k->at == '#')
        k->at += strcspn(k->at, "\n");
    if (*k->at == '\n' || *k->at == '\0')
        return 0;
    if (k->count == FRAME_SECRETS_MAX)
        return fault_here(k, "one key too many; expected at most 4");
    _Static_assert(FRAME_SECRETS_MAX == 4, "the message above");
    struct transport_framed_secret *s = &k->secrets[k->count];
    int error = take_id(k, &s->key_id);
    if (error != 0)
        return error;
    skip_blanks(k);
    error = take_secret(k, s->bytes);
    if (error != 0)
        return error;
    skip_blanks(k);
    if (*k->at != '\n' && *k->at != '\0')
        return fault_here(k, "more after the key; expected the end of the line");
    k->count++;
    return 0;
}

static int take_lines(struct keys *k, const char *text, size_t size)
{
    k->at = text;
    for (k->line = 1;; k->line++) {
        k->line_start = k->at;
        int error = take_line(k);
        if (error != 0)
            return error;
        if (*k->at == '\0')
            break;
        k->at++;
    }
    if (k->at != text + size)
        return fault_here(k, "a byte 0; expected text");
    if (k->count == 0)
        return fault(k->errors, k->path, 0, 0, "no key; expected a line of `dunlin key`");
    return 0;
}

/* ---- the file ---- */

static int unreadable(const char *path, int error, FILE *errors)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "not readable: %s; expected a regular file",
                   strerror(-error));
    (void)fault(errors, path, 0, 0, text);
    return error;
}

static int judge_file(const char *path, int fd, FILE *errors)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return unreadable(path, -errno, errors);
    if (!S_ISREG(st.st_mode))
        return fault(errors, path, 0, 0, "no regular file; expected one");
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        (void)fault(errors, path, 0, 0,
                    "it belongs to another user; expected root or the daemon's user");
        return -EPERM;
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        (void)fault(errors, path, 0, 0,
                    "others than its owner may use it; expected mode 0600 or 0400");
        return -EPERM;
    }
    return 0;
}

static int load(struct keys *k, int fd)
{
    char text[CLUSTER_KEY_FILE_BYTES_MAX + 1];
    int error = judge_file(k->path, fd, k->errors);
    if (error != 0)
        return error;
    ssize_t size = read_all(fd, text, sizeof(text));
    if (size < 0) {
        error = unreadable(k->path, (int)size, k->errors);
    } else if (size == sizeof(text)) {
        (void)fault(k->errors, k->path, 0, 0, "more than 4096 bytes; expected a few lines");
        error = -EFBIG;
    } else {
        text[size] = '\0';
        error = take_lines(k, text, (size_t)size);
    }
    explicit_bzero(text, sizeof(text));
    k->at = k->line_start = NULL; /* of the text */
    return error;
}

int cluster_key_load(const char *path, struct transport_framed_secret secrets[], uint32_t *count,
                     FILE *errors)
{
    struct keys k = {.path = path, .errors = errors};
    /* Why O_NONBLOCK: a FIFO without a writer would hold us for ever before it could be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return unreadable(path, -errno, errors);
    int error = load(&k, fd);
    (void)close(fd);
    if (error == 0) {
        memcpy(secrets, k.secrets, k.count * sizeof(k.secrets[0]));
        *count = k.count;
    }
    explicit_bzero(&k, sizeof(k));
    return error;
}

/* ---- a fresh one ---- */

/* Why a loop: a signal may interrupt it, and more than 256 bytes may come in pieces. */
static int draw(void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = getrandom((uint8_t *)bytes + done, size - done, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int cluster_key_line(char line[CLUSTER_KEY_LINE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    struct transport_framed_secret s = {.key_id = 0};
    int error = 0;
    while (error == 0 && s.key_id == 0)
        error = draw(&s.key_id, sizeof(s.key_id));
    if (error == 0)
        error = draw(s.bytes, sizeof(s.bytes));
    if (error != 0)
        return error;
    char *at = line + snprintf(line, CLUSTER_KEY_LINE_BYTES, "%u ", s.key_id);
    for (size_t i = 0; i < sizeof(s.bytes); i++) {
        *at++ = digits[s.bytes[i] >> 4];
        *at++ = digits[s.bytes[i] & 15];
    }
    *at++ = '\n';
    *at = '\0';
    explicit_bzero(&s, sizeof(s));
    return 0;
}
