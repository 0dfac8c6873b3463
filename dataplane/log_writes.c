#include "dataplane/log_writes.h"

void log_writes_init(struct log_writes *w, struct log_write *memory, uint32_t capacity)
{
    *w = (struct log_writes){.entries = memory, .capacity = capacity, .unused = capacity};
}

uint64_t log_writes_add(struct log_writes *w, const struct log_write *write)
{
    uint32_t at = w->unused;
    ASSERT(write->log != 0 && !log_writes_is_word(write->hold));
    if (at != w->capacity)
        w->unused = w->entries[at].next;
    else if (w->fresh != w->capacity)
        at = w->fresh++;
    else
        return 0;
    w->entries[at] = *write;
    w->count++;
    return LOG_WRITE_WORD | at;
}

struct log_write log_writes_end(struct log_writes *w, uint64_t word)
{
    uint64_t at = word & ~LOG_WRITE_WORD;
    ASSERT(log_writes_is_word(word) && at < w->fresh && w->entries[at].log != 0);
    struct log_write write = w->entries[at];
    w->entries[at].log = 0;
    w->entries[at].next = w->unused;
    w->unused = (uint32_t)at;
    w->count--;
    return write;
}

bool log_writes_any(const struct log_writes *w, uint32_t log, const struct member *peer)
{
    for (uint32_t at = 0; at < w->fresh; at++)
        if (w->entries[at].log == log && member_equal(&w->entries[at].peer, peer))
            return true;
    return false;
}
