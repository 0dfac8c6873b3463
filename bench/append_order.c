#include "bench/append_order.h"

#include "bench/rig.h"

#define KEYS (1u << 16)
#define SHARDS 16u
#define QUOTA_BYTES (UINT64_C(64) << 20)

static int measure(void *context, uint64_t duration_ns, double *value)
{
    (void)duration_ns; /* a rig is filled once */
    struct rig *rig = rig_new(context);
    if (rig == NULL)
        return -ENOMEM;
    *value = (double)rig->fill_ns / KEYS;
    rig_delete(rig);
    return 0;
}

int append_order_run(struct report *report, uint64_t budget_ns)
{
    struct rig_shape ordered = {
        .key_count = KEYS, .shard_count = SHARDS, .quota_bytes = QUOTA_BYTES, .shuffled = true};
    struct rig_shape unordered = ordered;
    unordered.unordered = true;
    const struct pairs_goal goal_none = {PAIRS_NO_GOAL, 0};
    const struct pairs_side test = {measure, &ordered};
    const struct pairs_baseline baseline = {{measure, &unordered}, goal_none};
    struct pairs_judgement judgement;
    int rc = pairs_run(&test, &baseline, 1, budget_ns, &judgement);
    if (rc != 0)
        return rc;
    const struct report_against to = {"the same, unordered", goal_none, judgement};
    struct report_row *row = report_add_judged(report, "write, new keys, ordered", "ns", &to);
    report_note(row, "a space's first %u keys, at random over %u shards, batches of 64", KEYS,
                SHARDS);
    return 0;
}
