/* Any bytes as a snapshot of the control log: a state that a coordinator could have written, which comes back the
 * same from what it prints, or a fault in words.  And whatever such a state says, what is asked of it next
 * leaves one that could have been written, too. */
#include "control/coordinator_text.h"
#include "engine/base.h"

#include <stdlib.h>
#include <string.h>

static void require_same_again(const struct coordinator_state *s)
{
    struct coordinator_state *again = NULL;
    struct coordinator_fault fault;
    char *text;
    size_t length;
    ASSERT(coordinator_print(s, &text, &length) == 0);
    ASSERT(coordinator_parse(text, length, &again, &fault) == 0);
    ASSERT(memcmp(s, again, coordinator_state_bytes(s->shard_count)) == 0);
    free(again);
    free(text);
}

/* Asked of the first and the last shard. */
static void require_changes(struct coordinator_state *s)
{
    const uint32_t ends[] = {0, s->shard_count - 1};
    struct coordinator_counts counts;
    for (uint32_t i = 0; s->shard_count != 0 && i < 2; i++) {
        const struct coordinator_shard *shard = &s->shards[ends[i]];
        const struct member leader = shard->configuration.leader;
        uint32_t log = shard->log, node = s->nodes[i].id;
        ASSERT(coordinator_state_find(s, log) == shard);
        (void)!coordinator_state_move(s, log, log, node);
        (void)coordinator_state_let_go(s, log, shard->configuration.epoch);
        (void)coordinator_state_activate(s, log, shard->configuration.epoch, &leader);
        ASSERT(coordinator_state_fault(s) == NULL);
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node before = s->nodes[i];
        uint64_t start = min_u64(before.start + 1, COORDINATOR_START_MAX);
        ASSERT((coordinator_state_register(s, before.id, start) == 1) == (start > before.start));
        ASSERT(coordinator_state_fault(s) == NULL);
    }
    coordinator_state_counts(s, &counts);
    ASSERT(counts.shards == s->shard_count && counts.lost <= counts.pending &&
           counts.pending <= counts.shards && counts.moving <= counts.shards);
}

/* What is added to a number that is at its limit passes it. */
static bool has_room(const struct coordinator_state *s)
{
    const uint64_t most = COORDINATOR_NUMBER_MAX - 64;
    bool has = s->revision < most;
    for (uint32_t i = 0; i < s->node_count; i++)
        has = has && s->nodes[i].since < most;
    for (uint32_t i = 0; i < s->shard_count; i++)
        has = has && s->shards[i].configuration.epoch < most;
    return has;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct coordinator_state *s = NULL;
    struct coordinator_fault fault = {{0}};
    int rc = coordinator_parse((const char *)bytes, size, &s, &fault);
    if (rc != 0) {
        ASSERT(rc == -EBADMSG && s == NULL && fault.text[0] != 0);
        ASSERT(memchr(fault.text, 0, sizeof(fault.text)) != NULL);
        return 0;
    }
    ASSERT(coordinator_state_fault(s) == NULL);
    require_same_again(s);
    if (has_room(s))
        require_changes(s);
    require_same_again(s);
    free(s);
    return 0;
}
