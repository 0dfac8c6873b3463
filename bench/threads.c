#include "bench/threads.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLEEPS "voluntary_ctxt_switches:"

/* Returns 0, or -errno: it has ended. */
static int open_file(pid_t process, uint32_t thread, const char *name, FILE **file)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%" PRIu32 "/%s", (int)process, thread, name);
    *file = fopen(path, "re");
    return *file != NULL ? 0 : -errno;
}

static int name_is(pid_t process, uint32_t thread, const char *name, bool *is_it)
{
    char line[64] = "";
    FILE *file;
    int rc = open_file(process, thread, "comm", &file);
    if (rc != 0)
        return rc;
    if (fgets(line, sizeof line, file) == NULL)
        rc = -ESRCH;
    (void)fclose(file);
    line[strcspn(line, "\n")] = '\0';
    *is_it = strcmp(line, name) == 0;
    return rc;
}

static int cpu_of(pid_t process, uint32_t thread, uint64_t *ns)
{
    FILE *file;
    int rc = open_file(process, thread, "schedstat", &file);
    if (rc != 0)
        return rc;
    if (fscanf(file, "%" SCNu64, ns) != 1)
        rc = -ESRCH;
    (void)fclose(file);
    return rc;
}

static int sleeps_of(pid_t process, uint32_t thread, uint64_t *sleeps)
{
    char line[128];
    FILE *file;
    int rc = open_file(process, thread, "status", &file);
    if (rc != 0)
        return rc;
    rc = -ESRCH;
    while (rc != 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, SLEEPS, strlen(SLEEPS)) != 0)
            continue;
        *sleeps = strtoull(line + strlen(SLEEPS), NULL, 10);
        rc = 0;
    }
    (void)fclose(file);
    return rc;
}

static void add(pid_t process, uint32_t thread, const char *name, struct threads_used *used)
{
    uint64_t ns, sleeps;
    bool is_it = true;
    if (name != NULL && name_is(process, thread, name, &is_it) != 0)
        return;
    if (!is_it || cpu_of(process, thread, &ns) != 0 || sleeps_of(process, thread, &sleeps) != 0)
        return;
    used->cpu_ns += ns;
    used->sleeps += sleeps;
}

int threads_look(pid_t process, const char *name, struct threads_used *used)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    *used = (struct threads_used){0};
    for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
        const uint32_t thread = (uint32_t)strtoul(e->d_name, NULL, 10);
        if (thread != 0)
            add(process, thread, name, used);
    }
    (void)closedir(directory);
    return 0;
}
