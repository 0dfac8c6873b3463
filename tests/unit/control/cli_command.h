/* cli_command - the program `dunlin` as a child of a test, against the server of server_peer.h, whose loop runs
 * meanwhile.  DUNLIN_PROGRAM names it. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_CLI_COMMAND_H
#define DUNLIN_TESTS_UNIT_CONTROL_CLI_COMMAND_H

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <unistd.h>

#ifndef DUNLIN_PROGRAM
#define DUNLIN_PROGRAM "dunlin" /* where nobody runs it: the header alone */
#endif

struct command {
    pid_t pid;
    int status;
    bool ended;
    char text[4096]; /* stdout and stderr */
};

static inline bool command_ended(void *context)
{
    struct command *c = context;
    if (!c->ended)
        c->ended = waitpid(c->pid, &c->status, WNOHANG) == c->pid;
    return c->ended;
}

/* Run it with a NULL-terminated list of arguments; returns its exit code. */
static inline int dunlin(struct fixture *f, struct command *c, const char *const *arguments)
{
    const char *argv[20] = {"dunlin", "--socket", f->path};
    int ends[2];
    for (size_t i = 0; arguments[i] != NULL; i++)
        argv[3 + i] = arguments[i];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    (void)fflush(stdout);
    *c = (struct command){.pid = fork()};
    if (c->pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)execv(DUNLIN_PROGRAM, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    (void)close(ends[1]);
    CU_ASSERT_FATAL(fixture_wait(f, command_ended, c));
    ssize_t length = read(ends[0], c->text, sizeof(c->text) - 1);
    CU_ASSERT(length >= 0);
    (void)close(ends[0]);
    return WIFEXITED(c->status) ? WEXITSTATUS(c->status) : 128;
}
/* f: the fixture, in scope. */
#define DUNLIN(c, ...) dunlin(f, (c), (const char *const[]){__VA_ARGS__, NULL})

static inline void expect_text(const struct command *c, const char *part)
{
    if (strstr(c->text, part) == NULL)
        (void)fprintf(stderr, "\n--- wanted %s\n--- got %s", part, c->text);
    CU_ASSERT_PTR_NOT_NULL(strstr(c->text, part));
}

#endif
