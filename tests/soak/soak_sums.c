/* Numbers that all change: counters by increments, accounts by transactions.  Every increment counts
 * once, however often it was sent; what accounts hold together is always 0. */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTERS 4u
#define BANKS 2u
#define ACCOUNTS 4u
#define OLD_EVERY 4u /* so many transactions have a condition that does not hold */
#define NAME_BYTES 24u
#define NUMBER_BYTES 24u

struct clerk {
    struct soak_thread t;
    int64_t seen[COUNTERS]; /* what this one read or was told last */
};

static struct clerk clerks[SOAK_NODES];
/* What was acknowledged; relaxed everywhere: added up by all, read when all have ended. */
static _Atomic int64_t counted[COUNTERS];
static _Atomic int64_t moved[BANKS], turned[BANKS];

static void add(_Atomic int64_t *to, int64_t number)
{
    (void)atomic_fetch_add_explicit(to, number, memory_order_relaxed);
}

static void increment(struct clerk *c)
{
    char name[NAME_BYTES];
    uint32_t which = (uint32_t)soak_below(&c->t, COUNTERS);
    int64_t delta = 1 + (int64_t)soak_below(&c->t, 9);
    int64_t number = 0;
    int length = snprintf(name, sizeof name, "c/%u", which);
    const struct dunlin_write write = {
        .operation = DUNLIN_INCREMENT, .key = name, .key_length = (size_t)length, .delta = delta};
    int error = soak_write(&c->t, &write, &number, NULL);
    if (soak_unavailable(error))
        return;
    if (error != 0)
        e2e_fail("increment of %s at node %u: %s", name, c->t.node + 1, strerror(-error));
    else if (number < c->seen[which] + delta)
        e2e_fail("%s at node %u is %" PRId64 ", %" PRId64 " more than a number below %" PRId64,
                 name, c->t.node + 1, number, delta, c->seen[which]);
    c->seen[which] = number;
    add(&counted[which], error == 0 ? delta : 0);
    soak_count(SOAK_INCREMENTS);
}

/* ---- accounts ---- */

static const char *const in_bank[] = {"0", "1", "2", "3", "moved", "turned"};
enum { MOVED = ACCOUNTS, TURNED, IN_BANK };

struct bank {
    char names[IN_BANK][NAME_BYTES];
    char texts[IN_BANK][NUMBER_BYTES + 1];
    int64_t numbers[IN_BANK];
    uint64_t lsns[IN_BANK];
};

/* All of a bank at one moment.  False: unavailable, or already told. */
static bool bank_read(struct soak_thread *t, uint32_t number, struct bank *b)
{
    struct dunlin_get_entry entries[IN_BANK];
    memset(b, 0, sizeof *b);
    for (uint32_t i = 0; i < IN_BANK; i++) {
        int length = snprintf(b->names[i], NAME_BYTES, "b{%u}/%s", number, in_bank[i]);
        entries[i] = (struct dunlin_get_entry){.key = b->names[i],
                                               .key_length = (size_t)length,
                                               .buffer = b->texts[i],
                                               .capacity = NUMBER_BYTES};
    }
    if (dunlin_get_many(t->space, entries, IN_BANK) != 0)
        e2e_fail("a bank is not to be read at node %u", t->node + 1);
    for (uint32_t i = 0; i < IN_BANK; i++) {
        if (soak_unavailable(entries[i].result))
            return false;
        if (entries[i].result != 0 && entries[i].result != -ENOENT) {
            e2e_fail("%s at node %u: %s", b->names[i], t->node + 1, strerror(-entries[i].result));
            return false;
        }
        b->texts[i][entries[i].read.length] = '\0'; /* Why: what was read in vain may be longer */
        b->numbers[i] = entries[i].result == 0 ? strtoll(b->texts[i], NULL, 10) : 0;
        b->lsns[i] = entries[i].result == 0 ? entries[i].read.version.lsn : 0;
    }
    return true;
}

static void bank_judge(const struct soak_thread *t, const struct bank *b)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        sum += b->numbers[i];
    if (sum != 0)
        e2e_fail("accounts of %s at node %u hold %" PRId64 " together", b->names[0], t->node + 1,
                 sum);
    soak_count(SOAK_SUMS);
}

static struct dunlin_write added(const char *name, int64_t delta)
{
    return (struct dunlin_write){
        .operation = DUNLIN_INCREMENT, .key = name, .key_length = strlen(name), .delta = delta};
}

/* From one account to another, if the first one is as it was read; else that is counted. */
static void transfer(struct clerk *c)
{
    uint32_t number = (uint32_t)soak_below(&c->t, BANKS);
    uint32_t from = (uint32_t)soak_below(&c->t, ACCOUNTS);
    uint32_t to = (from + 1 + (uint32_t)soak_below(&c->t, ACCOUNTS - 1)) % ACCOUNTS;
    int64_t amount = 1 + (int64_t)soak_below(&c->t, 1000);
    struct bank b;
    if (!bank_read(&c->t, number, &b))
        return;
    bank_judge(&c->t, &b);
    bool old = soak_below(&c->t, OLD_EVERY) == 0;
    const struct dunlin_condition condition = {.compare = DUNLIN_COMPARE_VERSION,
                                               .key = b.names[from],
                                               .key_length = strlen(b.names[from]),
                                               .expected = old ? 1 : b.lsns[from]};
    const struct dunlin_write then[] = {added(b.names[from], -amount), added(b.names[to], amount),
                                        added(b.names[MOVED], 1)};
    const struct dunlin_write otherwise[] = {added(b.names[TURNED], 1)};
    const struct dunlin_transaction transaction = {.conditions = &condition,
                                                   .condition_count = 1,
                                                   .then_writes = then,
                                                   .then_count = 3,
                                                   .else_writes = otherwise,
                                                   .else_count = 1};
    struct dunlin_transaction_result result = {0};
    int error = soak_transaction(&c->t, &transaction, &result);
    if (soak_unavailable(error))
        return;
    if (error != 0 || (old && result.branch != 0))
        e2e_fail("transaction in %s at node %u: %s, branch %d", b.names[from], c->t.node + 1,
                 strerror(-error), result.branch);
    if (error == 0) {
        add(result.branch == 1 ? &moved[number] : &turned[number], 1);
        soak_count(result.branch == 1 ? SOAK_THEN : SOAK_ELSE);
    }
}

static void *clerk_run(void *context)
{
    struct clerk *c = context;
    while (!soak_over()) {
        increment(c);
        transfer(c);
        e2e_sleep_ms(1);
    }
    return NULL;
}

void soak_sums_begin(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        soak_start(&clerks[n].t, n, clerk_run);
}

void soak_sums_end(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        soak_join(&clerks[n].t);
}

static void same(const char *name, uint32_t node, int64_t got, _Atomic int64_t *wanted)
{
    int64_t number = atomic_load_explicit(wanted, memory_order_relaxed); /* as said there */
    if (got != number)
        e2e_fail("%s at node %u is %" PRId64 "; acknowledged were %" PRId64, name, node + 1, got,
                 number);
}

void soak_sums_check(struct soak_thread *t)
{
    for (uint32_t i = 0; i < COUNTERS; i++) {
        char name[NAME_BYTES], text[NUMBER_BYTES + 1] = "";
        int length = snprintf(name, sizeof name, "c/%u", i);
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        int error = dunlin_get(t->space, name, (size_t)length, text, NUMBER_BYTES, &read);
        if (error != 0)
            e2e_fail("%s at node %u: %s", name, t->node + 1, strerror(-error));
        text[error == 0 ? read.length : 0] = '\0';
        same(name, t->node, strtoll(text, NULL, 10), &counted[i]);
    }
    for (uint32_t i = 0; i < BANKS; i++) {
        struct bank b;
        if (!bank_read(t, i, &b)) {
            e2e_fail("bank %u is not to be read at node %u", i, t->node + 1);
            continue;
        }
        bank_judge(t, &b);
        same(b.names[MOVED], t->node, b.numbers[MOVED], &moved[i]);
        same(b.names[TURNED], t->node, b.numbers[TURNED], &turned[i]);
    }
}
