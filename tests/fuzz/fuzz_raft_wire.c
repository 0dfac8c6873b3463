/* Any bytes as a message of libraft: what decodes encodes to the same bytes again, in memory that is libraft's to
 * free and that its decoder of configurations stays inside of. */
#include "control/raft_wire.h"

#include <stdlib.h>
#include <string.h>

static void entries_fit(const struct raft_append_entries *a)
{
    for (unsigned i = 0; i < a->n_entries; i++) {
        const struct raft_entry *e = &a->entries[i];
        ASSERT(e->type >= RAFT_COMMAND && e->type <= RAFT_CHANGE);
        ASSERT(e->batch != NULL && e->batch == a->entries[0].batch);
        ASSERT((uintptr_t)e->buf.base % 8 == 0);
    }
}

static void same_again(const struct raft_message *m, const uint8_t *bytes, size_t size)
{
    struct raft_wire w;
    size_t used = 0;
    ASSERT(raft_wire_encode(&w, m) == 0);
    for (unsigned i = 0; i < w.count; i++) {
        ASSERT(size - used >= w.pieces[i].iov_len);
        ASSERT(w.pieces[i].iov_len == 0 ||
               memcmp(bytes + used, w.pieces[i].iov_base, w.pieces[i].iov_len) == 0);
        used += w.pieces[i].iov_len;
    }
    ASSERT(used == size);
    raft_wire_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct raft_message m;
    uint8_t *copy = malloc(size != 0 ? size : 1); /* ends with its memory */
    ASSERT(copy != NULL);
    if (size != 0)
        memcpy(copy, bytes, size);
    int error = raft_wire_decode(copy, size, 1, "1", &m);
    ASSERT(error == 0 || error == -EBADMSG || error == -EPROTONOSUPPORT);
    if (error == 0) {
        ASSERT(m.server_id == 1 && strcmp(m.server_address, "1") == 0);
        if (m.type == RAFT_IO_APPEND_ENTRIES)
            entries_fit(&m.append_entries);
        same_again(&m, copy, size);
        raft_wire_message_free(&m);
    }
    free(copy);
    return 0;
}
