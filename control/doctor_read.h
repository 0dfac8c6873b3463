/* doctor_read - small files below a root directory, as the kernel shows them.
 *
 * Internal to doctor_facts.  Nothing that is read can make it wait, run on for ever or write past what it was
 * given: only regular files count, of a bounded length.  Bytes that do not print become '?', so that what is shown
 * to people, or pasted by them, is one line of plain text. */
#ifndef DUNLIN_CONTROL_DOCTOR_READ_H
#define DUNLIN_CONTROL_DOCTOR_READ_H

#include "engine/base.h"

#define DOCTOR_PATH_BYTES 512u
#define DOCTOR_LINE_BYTES 4096u
#define DOCTOR_LINES_MAX 65536u
#define DOCTOR_ENTRIES_MAX 4096u

/* Beginning of a file without its last line end; false, and "": there is none. */
bool doctor_text(const char *root, const char *path, char *text, size_t bytes);
/* Its first word. */
bool doctor_word(const char *root, const char *path, char *word, size_t bytes);
/* The word of it in brackets: "always [madvise] never". */
bool doctor_choice(const char *root, const char *path, char *word, size_t bytes);
/* A number, decimal or 0x..., with or without sign; false: there is none. */
bool doctor_number(const char *root, const char *path, int64_t *number);
/* Last part of where a symbolic link points to. */
bool doctor_target(const char *root, const char *path, char *name, size_t bytes);
bool doctor_exists(const char *root, const char *path);

/* Each line of a file, until take says false; longer ones are cut.  Returns whether the file is there. */
bool doctor_lines(const char *root, const char *path, bool (*take)(void *context, const char *line),
                  void *context);
/* Each name in a directory, in no order, but "." and ".."; likewise. */
bool doctor_entries(const char *root, const char *path,
                    bool (*take)(void *context, const char *name), void *context);

/* Copy a name that is to be shown; what is no letter, digit or one of ._:@+- becomes '?'. */
void doctor_name(char *name, size_t bytes, const char *from);

#endif
