/* log_writes - log writes of an lcore that its transport has not completed: what is given back then.
 *
 * Pure; the lcore's thread only.  A fixed table.  The transport carries a hold word that names a place in it, told
 * from a frame's (holds.h) by its highest bit.  Full: what was to be written goes by message.
 * A place is taken for good: who gives back what it was not given is asserted, as with holds. */
#ifndef DUNLIN_DATAPLANE_LOG_WRITES_H
#define DUNLIN_DATAPLANE_LOG_WRITES_H

#include "dataplane/configuration.h"
#include "engine/base.h"

struct log_write {
    struct member peer; /* whose memory */
    uint64_t number;    /* of its grant */
    uint64_t hold;      /* hold_word of the frame that is read */
    uint32_t log;       /* 0: unused */
    uint32_t next;      /* unused: the next such one */
};

struct log_writes {
    struct log_write *entries;
    uint32_t capacity;
    uint32_t fresh;  /* those from here on were never used, nor touched */
    uint32_t unused; /* the first of those that were; capacity: none */
    uint32_t count;  /* under way */
};

#define LOG_WRITE_WORD (UINT64_C(1) << 63)

/* memory: capacity entries, the caller's; outlives it. */
void log_writes_init(struct log_writes *w, struct log_write *memory, uint32_t capacity);

/* log and hold are not 0; next is not looked at.  Returns the hold word, or 0: the table is full. */
MUST_USE uint64_t log_writes_add(struct log_writes *w, const struct log_write *write);
/* It is complete, or was never taken: its place is free again.  Returns what stood there. */
struct log_write log_writes_end(struct log_writes *w, uint64_t word);

/* Whether any is under way into memory that this start of a node granted for that log. */
bool log_writes_any(const struct log_writes *w, uint32_t log, const struct member *peer);

static inline bool log_writes_is_word(uint64_t hold)
{
    return (hold & LOG_WRITE_WORD) != 0;
}

#endif
