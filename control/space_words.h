/* space_words - what a space is to be, in the words of the configuration and judged by its table
 * (config_table.h): a line KEY=VALUE for each key, like "quota=64MiB\nread=any\nwrite=1000,1001\n".
 *
 * Pure, but that nothing else may be known: any thread, any text. */
#ifndef DUNLIN_CONTROL_SPACE_WORDS_H
#define DUNLIN_CONTROL_SPACE_WORDS_H

#include "engine/space.h"

#define SPACE_WORDS_BYTES 1024u /* with the final 0 */
#define SPACE_WORDS_FAULT_BYTES 320u

enum space_words_use {
    SPACE_WORDS_CREATE, /* every key but id, which is none of the policy; what is absent has its default,
                           quota_max four times the quota */
    SPACE_WORDS_ALTER, /* quota, history, history_time, session_ttl, read, write; what is absent stays */
};

/* Put words into a policy; for CREATE all but id is filled.  Returns 0, or -EINVAL with what is wrong in fault,
 * for people, and *c of no use. */
MUST_USE int space_words_apply(struct space_config *c, const char *words, enum space_words_use use,
                               char fault[SPACE_WORDS_FAULT_BYTES]);

#endif
