/* e2e - what the programs of the end-to-end tests share: a daemon of their own, values that prove
 * themselves, numbers of its status.
 *
 * The programs are started by the script of the same name, which makes the directory and the
 * configuration and removes them.  Whatever they fork dies with them, also when they are killed.
 * Exit: 0 all held, 1 something did not (named on stdout), 2 the test could not be carried out. */
#ifndef DUNLIN_TESTS_E2E_E2E_H
#define DUNLIN_TESTS_E2E_E2E_H

#include "engine/agent/dunlin.h"
#include "engine/base.h"
#include "engine/clock.h"

#include <sys/types.h>

#define E2E_STRANGER_UID 65534u

/* Print to stderr and exit 2. */
_Noreturn void e2e_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print one line `FAIL ...` (the first 40 of them) and count it; e2e_verdict is the exit status.
 * The count lies in memory shared with forked children (call e2e_begin first). */
void e2e_begin(void);
void e2e_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint32_t e2e_failures(void);
MUST_USE int e2e_verdict(void);

/* Zeroed memory that forked children share. */
void *e2e_shared(size_t bytes);

void e2e_sleep_ms(uint64_t ms);

/* A child of this process that dies with it.  Returns as fork. */
pid_t e2e_fork(void);
/* Become the stranger, for good; dies with its parent all the same. */
void e2e_become_stranger(void);
/* Exit status of a child, 128 + signal if it was killed, -1 if it does not end within timeout_ms:
 * then it is killed. */
int e2e_wait(pid_t pid, uint64_t timeout_ms);

/* ---- the daemon -------------------------------------------------------------------------------
 */

struct e2e_daemon {
    const char *program, *config, *socket;
    const char *log; /* file that its stderr is added to */
    pid_t pid;       /* 0: not running */
};

/* Start it and wait until it is ready; dies if that takes more than 20 s. */
void e2e_daemon_start(struct e2e_daemon *d);
/* SIGKILL and reap. */
void e2e_daemon_kill(struct e2e_daemon *d);
/* SIGTERM; the exit status as e2e_wait. */
int e2e_daemon_stop(struct e2e_daemon *d);
/* False, and a failure is printed, if it ended by itself. */
bool e2e_daemon_alive(struct e2e_daemon *d);

/* ---- agents -----------------------------------------------------------------------------------
 */

/* Attach (trying for 20 s) and open a space, or die.  timeout_ms: of the handle's calls. */
struct dunlin *e2e_open(const char *socket, uint64_t timeout_ms);
struct dunlin_space *e2e_space(struct dunlin *handle, const char *name);

/* A number of `dunlin status`, by object and name ("agents", "attached"); of an object "counters",
 * the sum over the lcores.  Dies if there is none. */
uint64_t e2e_status(struct dunlin *handle, const char *object, const char *name);

/* ---- values ------------------------------------------------------------------------------------
 */

#define E2E_VALUE_MIN 24u

/* Fill length bytes (E2E_VALUE_MIN on) with the value number sequence of a key. */
void e2e_value_make(void *value, size_t length, uint32_t key, uint64_t sequence);
/* True if the bytes are such a value of this key, whole; then *sequence says which. */
bool e2e_value_check(const void *value, size_t length, uint32_t key, uint64_t *sequence);

/* splitmix64: seeded and repeatable. */
static inline uint64_t e2e_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
