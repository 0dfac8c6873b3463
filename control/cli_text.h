/* cli_text - the small languages of dunlin's command line: versions, names of writes, base64,
 * UTF-8.
 *
 * Pure.  Everything that comes in is what a person or a script typed. */
#ifndef DUNLIN_CONTROL_CLI_TEXT_H
#define DUNLIN_CONTROL_CLI_TEXT_H

#include "engine/agent/dunlin.h"
#include "engine/base.h"

#define CLI_VERSION_BYTES 44u  /* "<log>.<lsn>" */
#define CLI_WRITE_ID_BYTES 72u /* "<32 hex digits>.<shard>:<sequence>" */

void cli_version_print(char text[CLI_VERSION_BYTES], struct dunlin_version version);
/* Accepts what cli_version_print made, or "0" (log and lsn 0).  Returns 0 or -EINVAL. */
MUST_USE int cli_version_parse(const char *text, struct dunlin_version *version);

void cli_write_id_print(char text[CLI_WRITE_ID_BYTES], const struct dunlin_write_id *id);
MUST_USE int cli_write_id_parse(const char *text, struct dunlin_write_id *id);

/* A decimal number without sign, at most maximum.  Returns 0 or -EINVAL. */
MUST_USE int cli_number_parse(const char *text, uint64_t maximum, uint64_t *number);

/* RFC 3629, and no NUL, which not every reader of JSON takes. */
bool cli_is_text(const void *bytes, size_t length);

/* RFC 4648 section 4, padded; returns a string to free, NULL: no memory. */
char *cli_base64(const void *bytes, size_t length);
/* The other way; bytes has room for text_length * 3 / 4.  Returns 0 or -EINVAL. */
MUST_USE int cli_base64_parse(const char *text, size_t text_length, uint8_t *bytes, size_t *length);

#endif
