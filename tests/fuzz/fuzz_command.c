/* Any bytes as entries of the control log: a command that encodes to the same bytes, or a refusal.  And whatever a
 * log of such commands says, a cluster's state stays one that a coordinator could have written, gains one
 * revision with each that changes it, and keeps what it was with each other one. */
#include "control/coordinator_command.h"
#include "dataplane/node.h"
#include "engine/base.h"

#include <stdlib.h>
#include <string.h>

#define START UINT64_C(5)

static void require_same_again(const struct coordinator_command *c, const uint8_t *bytes,
                               size_t size)
{
    uint8_t *again = malloc(size);
    ASSERT(again != NULL && coordinator_command_fault(c) == NULL);
    ASSERT(coordinator_command_bytes(c) == size);
    coordinator_command_encode(c, again);
    ASSERT(memcmp(again, bytes, size) == 0);
    ASSERT(coordinator_command_admit(bytes, size, COORDINATOR_COMMAND_FORMAT) == 0);
    ASSERT(coordinator_command_admit(bytes, size, 0) == -EPROTONOSUPPORT);
    ASSERT(coordinator_command_name(c->type)[0] != 0);
    free(again);
}

/* Three nodes and two spaces, so that few bytes are enough to name what is there; all is active. */
static struct coordinator_state *state_make(void)
{
    struct coordinator_state *s = NULL;
    struct coordinator_command c = {
        .type = COORDINATOR_REGISTER,
        .start = START,
        .entry = {.origin = 1,
                  .node_count = 3,
                  .replicas = 2,
                  .nodes = {{.id = 1, .weight = 5}, {.id = 2, .weight = 9}, {.id = 3, .weight = 9}},
                  .space_count = 2,
                  .space = {{.id = 1, .shard_count = 2}, {.id = 2, .shard_count = 1}}}};
    for (uint32_t i = 1; i <= 3; i++) {
        c.node = i;
        ASSERT(coordinator_command_apply(&s, &c) == 1);
    }
    for (uint32_t i = 0; i < s->shard_count; i++)
        ASSERT(coordinator_state_activate(s, s->shards[i].log, s->shards[i].configuration.epoch,
                                          &s->shards[i].configuration.leader));
    return s;
}

static void require_change(struct coordinator_state **s, const struct coordinator_command *c)
{
    struct coordinator_state *before =
        *s != NULL ? malloc(coordinator_state_bytes((*s)->shard_count)) : NULL;
    if (*s != NULL)
        memcpy(before, *s, coordinator_state_bytes((*s)->shard_count));
    int64_t changed = coordinator_command_apply(s, c);
    ASSERT((changed <= 0 && *s == NULL) || coordinator_state_fault(*s) == NULL);
    if (changed > 0)
        ASSERT((*s)->revision == (before != NULL ? before->revision : 0) + 1);
    else
        ASSERT((before == NULL && *s == NULL) ||
               (before->shard_count == (*s)->shard_count &&
                memcmp(before, *s, coordinator_state_bytes(before->shard_count)) == 0));
    ASSERT(before == NULL || coordinator_state_follows(*s, before));
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* First a byte that says whether there is a state; then commands, two bytes of length before each. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct coordinator_state *s = size != 0 && (bytes[0] & 1) != 0 ? state_make() : NULL;
    for (size_t at = 1; at + 2 <= size;) {
        struct coordinator_command c;
        size_t length = bytes[at] | (size_t)bytes[at + 1] << 8;
        at += 2;
        length = min_u64(length, size - at);
        int error = coordinator_command_decode(&c, bytes + at, length);
        ASSERT(error == 0 || error == -EBADMSG || error == -EPROTONOSUPPORT);
        if (error == 0) {
            require_same_again(&c, bytes + at, length);
            require_change(&s, &c);
        }
        at += length;
    }
    free(s);
    return 0;
}
