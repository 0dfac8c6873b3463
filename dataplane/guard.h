/* guard - a SIGBUS in one agent's file costs that agent its attachment, and nobody else anything.
 *
 * The file is sealed against shrinking, but its pages can be punched out by the agent, and when
 * there is then no memory for a new page, touching it is a SIGBUS.  The handler finds the agent's
 * range in a fixed table, maps zeros over all of it, stores the fault, and returns: the instruction
 * is repeated and reads zeros.  Control is woken, sees agent->fault, and detaches the agent.  A
 * SIGBUS anywhere else is a bug or broken memory: the default action, with its core dump.
 *
 * One table serves all nodes of the process, since a signal handler is one per process.
 *
 * Threads: guard_install once, before the lcores; add and remove by control; the handler runs on
 *   whichever thread touched the page.  An entry is removed only after a grace period, when no
 *   lcore uses the range any more; it may be used again at once.
 * Memory order: G1 base (release) -> G2 (acquire, in the handler): the entry is whole.
 *   G3 bytes (release) -> G4 (acquire, in the handler): who sees the length of an entry's next use
 *   sees that the use before is over. */
#ifndef DUNLIN_DATAPLANE_GUARD_H
#define DUNLIN_DATAPLANE_GUARD_H

#include "engine/base.h"
#include "engine/limits.h"

#define GUARD_ENTRIES (LIMIT_AGENTS * LIMIT_PROCESS_NODES)

/* wake(context) is called by the handler after a fault was stored: async-signal-safe, may be NULL.
 * Returns 0 or -errno of sigaction. */
MUST_USE int guard_install(void (*wake)(void *context), void *context);

/* Watch [base, base + bytes), page aligned; value is stored to *fault when it breaks.  Returns the
 * number of its entry, the lowest free one, or -EUSERS: all are in use, so do not use the range. */
MUST_USE int guard_add(uint8_t *base, uint64_t bytes, _Atomic uint32_t *fault, uint32_t value);
void guard_remove(int entry);

#endif
