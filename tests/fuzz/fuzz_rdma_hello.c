/* Any bytes as what a peer tells of itself when it connects: judged without looking beyond them, and what is taken is
 * within its bounds and says the same when it is told again. */
#include "dataplane/rdma_port.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rdma_hello h;
    uint8_t again[RDMA_HELLO_BYTES];
    uint8_t *copy = malloc(size != 0 ? size : 1); /* so that the sanitizer knows its end */
    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    int error = rdma_hello_decode(&h, copy, size);
    ASSERT(error == 0 || error == -EPROTO || error == -EPROTONOSUPPORT);
    if (error == 0) {
        ASSERT(size >= RDMA_HELLO_BYTES && h.version == RDMA_HELLO_VERSION);
        ASSERT(h.lcore < LIMIT_LCORES && h.from != h.to && h.number != 0);
        ASSERT(is_power_of_two(h.messages) && h.messages <= RDMA_PORT_MESSAGES_MAX);
        ASSERT(h.message_bytes != 0 && h.message_bytes <= RDMA_PORT_MESSAGE_BYTES_MAX);
        uint64_t end =
            h.address + sizeof(struct rdma_inlet) + (uint64_t)h.messages * RDMA_PORT_SLOT_BYTES;
        ASSERT(h.address != 0 && end > h.address);
        rdma_hello_encode(&h, again);
        ASSERT(memcmp(again, copy, sizeof again) == 0);
    }
    free(copy);
    return 0;
}
