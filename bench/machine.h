/* machine - where and on what a bench ran, so that an absolute figure says what it is of. */
#ifndef DUNLIN_BENCH_MACHINE_H
#define DUNLIN_BENCH_MACHINE_H

#include "engine/base.h"

struct machine {
    char cpu[96];
    char kernel[96];
    char compiler[64];
    char huge_pages[96]; /* anonymous / shared memory setting */
    uint32_t cpus;       /* that this process may run on */
    uint64_t memory_bytes;
    double ticks_per_ns; /* of the timestamp counter */
    double load_1min;    /* when the bench began: was it alone? */
    bool virtual_machine;
};

/* Look around and calibrate the timestamp counter (20 ms).  What cannot be read is "unknown" or 0.
 */
void machine_probe(struct machine *m);

/* Run the calling thread on the nth of the cpus this process may use (modulo their number), so that
 * a bench works inside cpusets.  Returns the cpu's number, or -errno. */
MUST_USE int machine_pin(uint32_t nth);

/* Let the calling thread run on all of them again: for children that pin themselves. */
void machine_unpin(void);

/* Number of the nth usable cpu, without moving there; -errno if the mask cannot be read. */
MUST_USE int machine_cpu(uint32_t nth);

/* Bytes of the mappings that hold address which the kernel has put on huge pages, and their whole
 * size.  Returns 0, or -ENOENT if nothing is mapped there, or another -errno. */
MUST_USE int machine_huge_bytes(const void *address, uint64_t *huge_bytes, uint64_t *bytes);

#endif
