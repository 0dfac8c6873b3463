/* datagrams - what tests of transports send, and whether it came: a head that is text, and the first bytes of some
 * memory. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_DATAGRAMS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_DATAGRAMS_H

#include "dataplane/transport.h"

#include <string.h>

/* Its hold tells its length. */
static inline struct transport_datagram datagram_of(uint32_t to, const char *head,
                                                    const uint8_t *memory, uint32_t length)
{
    return (struct transport_datagram){
        .to = to,
        .head_length = (uint32_t)strlen(head),
        .head = (const uint8_t *)head,
        .bytes = length != 0 ? memory : NULL,
        .length = length,
        .hold = 1000 + length,
    };
}

/* Whether it is that one, aligned. */
static inline bool datagram_came(const struct transport_received *r, const char *head,
                                 const uint8_t *memory, uint32_t length)
{
    return r->head_length == strlen(head) && memcmp(r->head, head, r->head_length) == 0 &&
           (uintptr_t)r->head % 8 == 0 && r->length == length &&
           (r->bytes == NULL) == (length == 0) &&
           (length == 0 || memcmp(r->bytes, memory, length) == 0);
}

#endif
