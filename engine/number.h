/* number - a value that is counted with: an int64_t as decimal text, so that whoever reads the key sees
 * the number.
 *
 * Pure; any thread. */
#ifndef DUNLIN_ENGINE_NUMBER_H
#define DUNLIN_ENGINE_NUMBER_H

#include "engine/base.h"

#define NUMBER_BYTES_MAX 20u /* "-9223372036854775808" */

/* What a value says: digits, at least one, with a minus in front of them or not, and nothing else.
 * Returns 0, or -EDOM  it is not the text of an int64_t: what was asked for cannot be done to it. */
MUST_USE int number_parse(const uint8_t *value, uint64_t length, int64_t *number);

/* Its text, without a 0 at its end.  Returns the length. */
uint32_t number_print(int64_t number, uint8_t text[NUMBER_BYTES_MAX]);

#endif
