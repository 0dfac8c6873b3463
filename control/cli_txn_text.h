/* cli_txn_text - the JSON that `dunlin txn` reads, as a transaction of libdunlin.
 *
 *   {"compare": [{"key": K, "version": V | "exists": B | "token": N}, ...],
 *    "then":    [{"put": {"key": K, "value": S, "encoding": "base64", "ttl_ms": N}},
 *                {"delete": {"key": K}}, {"incr": {"key": K, "by": N}}, ...],
 *    "else":    [as then]}
 *
 * Every part may be missing; encoding stands for text if it is, ttl_ms for a value that stays.  V is a version as put prints it, or "0".
 * Pure but for memory.  What comes in is what a person or a script typed. */
#ifndef DUNLIN_CONTROL_CLI_TXN_TEXT_H
#define DUNLIN_CONTROL_CLI_TXN_TEXT_H

#include "control/cli_text.h"
#include "engine/limits.h"

#include <jansson.h>

#define CLI_TXN_FAULT_BYTES 256u
#define CLI_TXN_PARTS LIMIT_TRANSACTION_RECORDS

struct cli_txn {
    struct dunlin_transaction transaction;
    uint64_t logs[CLI_TXN_PARTS]; /* of the version of each condition; 0: it names none */
    struct dunlin_condition conditions[CLI_TXN_PARTS];
    struct dunlin_write then_writes[CLI_TXN_PARTS], else_writes[CLI_TXN_PARTS];
    /* keys and values lie in these */
    json_t *json;
    uint8_t *decoded[2 * CLI_TXN_PARTS];
    uint32_t decoded_count;
};

/* Read it.  Returns 0; -EINVAL with said saying what is wrong, where, and what was expected; or -ENOMEM.
 * cli_txn_free in any case. */
MUST_USE int cli_txn_parse(struct cli_txn *t, const char *text, size_t length,
                           char said[CLI_TXN_FAULT_BYTES]);
void cli_txn_free(struct cli_txn *t);

#endif
