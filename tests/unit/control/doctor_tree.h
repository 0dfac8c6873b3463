/* doctor_tree - a directory that stands for /, with what a test puts there. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_DOCTOR_TREE_H
#define DUNLIN_TESTS_UNIT_CONTROL_DOCTOR_TREE_H

#include "control/doctor_read.h"
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/dunlin-doctor.XXXXXX";

static inline void parents_make(char *path)
{
    for (char *at = path + sizeof root; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
}

static inline void put_bytes(const char *path, const void *bytes, size_t length)
{
    char whole[2 * DOCTOR_PATH_BYTES];
    (void)snprintf(whole, sizeof whole, "%s/%s", root, path);
    parents_make(whole);
    FILE *file = fopen(whole, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, length, file), length);
    (void)fclose(file);
}

static inline void put(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

static inline void put_link(const char *path, const char *target)
{
    char whole[2 * DOCTOR_PATH_BYTES];
    (void)snprintf(whole, sizeof whole, "%s/%s", root, path);
    parents_make(whole);
    (void)unlink(whole);
    CU_ASSERT_EQUAL(symlink(target, whole), 0);
}

static inline int entry_remove(const char *path, const struct stat *status, int kind,
                               struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void tree_make(void)
{
    memcpy(strrchr(root, '.'), ".XXXXXX", sizeof ".XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
}

static inline void tree_end(void)
{
    CU_ASSERT_EQUAL(nftw(root, entry_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
