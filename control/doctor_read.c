#include "control/doctor_read.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* root and path as one, or false: too long. */
static bool path_join(char whole[DOCTOR_PATH_BYTES], const char *root, const char *path)
{
    int length = snprintf(whole, DOCTOR_PATH_BYTES, "%s/%s", root, path);
    return length > 0 && (size_t)length < DOCTOR_PATH_BYTES;
}

/* Why not to wait: a fifo in the place of a file would. */
static int file_open(const char *root, const char *path)
{
    char whole[DOCTOR_PATH_BYTES];
    struct stat status;
    int fd = path_join(whole, root, path) ? open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static void text_clean(char *text)
{
    for (; *text != '\0'; text++)
        if (!isprint((unsigned char)*text) || (*text & 0x80) != 0)
            *text = *text == '\t' || *text == '\n' ? ' ' : '?';
}

bool doctor_text(const char *root, const char *path, char *text, size_t bytes)
{
    size_t used = 0;
    int fd = file_open(root, path);
    while (fd >= 0 && used + 1 < bytes) {
        ssize_t length = read(fd, text + used, bytes - 1 - used);
        if (length <= 0)
            break;
        used += (size_t)length;
    }
    if (fd >= 0)
        (void)close(fd);
    text[used] = '\0';
    while (used != 0 && text[used - 1] == '\n')
        text[--used] = '\0';
    text_clean(text);
    return fd >= 0;
}

bool doctor_word(const char *root, const char *path, char *word, size_t bytes)
{
    bool there = doctor_text(root, path, word, bytes);
    word[strcspn(word, " ")] = '\0';
    return there;
}

bool doctor_choice(const char *root, const char *path, char *word, size_t bytes)
{
    char text[256];
    word[0] = '\0';
    if (!doctor_text(root, path, text, sizeof text))
        return false;
    const char *begin = strchr(text, '[');
    const char *end = begin != NULL ? strchr(begin, ']') : NULL;
    if (end == NULL || (size_t)(end - begin) > bytes)
        return false;
    (void)snprintf(word, bytes, "%.*s", (int)(end - begin - 1), begin + 1);
    return true;
}

bool doctor_number(const char *root, const char *path, int64_t *number)
{
    char text[32], *end;
    if (!doctor_word(root, path, text, sizeof text) || text[0] == '\0')
        return false;
    errno = 0;
    *number = strtoll(text, &end, 0);
    return errno == 0 && *end == '\0';
}

bool doctor_target(const char *root, const char *path, char *name, size_t bytes)
{
    char whole[DOCTOR_PATH_BYTES], target[DOCTOR_PATH_BYTES];
    name[0] = '\0';
    if (!path_join(whole, root, path))
        return false;
    ssize_t length = readlink(whole, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    doctor_name(name, bytes, slash != NULL ? slash + 1 : target);
    return name[0] != '\0';
}

bool doctor_exists(const char *root, const char *path)
{
    char whole[DOCTOR_PATH_BYTES];
    return path_join(whole, root, path) && access(whole, F_OK) == 0;
}

bool doctor_lines(const char *root, const char *path, bool (*take)(void *context, const char *line),
                  void *context)
{
    char line[DOCTOR_LINE_BYTES];
    int fd = file_open(root, path);
    FILE *file = fd >= 0 ? fdopen(fd, "re") : NULL;
    bool inside = false;
    if (file == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    for (uint32_t i = 0; i < DOCTOR_LINES_MAX && fgets(line, sizeof line, file) != NULL; i++) {
        bool goes_on = inside;
        size_t length = strlen(line);
        inside = length != 0 && line[length - 1] != '\n';
        if (length != 0 && !inside)
            line[length - 1] = '\0';
        text_clean(line);
        if (!goes_on && !take(context, line))
            break;
    }
    (void)fclose(file);
    return true;
}

bool doctor_entries(const char *root, const char *path,
                    bool (*take)(void *context, const char *name), void *context)
{
    char whole[DOCTOR_PATH_BYTES];
    DIR *directory = path_join(whole, root, path) ? opendir(whole) : NULL;
    const struct dirent *entry;
    if (directory == NULL)
        return false;
    for (uint32_t i = 0; i < DOCTOR_ENTRIES_MAX && (entry = readdir(directory)) != NULL; i++)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !take(context, entry->d_name))
            break;
    (void)closedir(directory);
    return true;
}

void doctor_name(char *name, size_t bytes, const char *from)
{
    size_t i = 0;
    for (; i + 1 < bytes && from[i] != '\0'; i++) {
        bool plain = (from[i] & 0x80) == 0 &&
                     (isalnum((unsigned char)from[i]) || strchr("._:@+-", from[i]) != NULL);
        name[i] = plain ? from[i] : '?';
    }
    name[i] = '\0';
}
