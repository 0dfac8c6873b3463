#include "control/eal_words.h"

#include <stdlib.h>
#include <string.h>

#define SPACES " "
#define SOCKETS "--socket-mem"

/* Of one word, whose end is a space or the text's. */
static bool is_word(const char *word, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(word, name, length) == 0;
}

static bool begins_with(const char *word, size_t length, const char *name)
{
    return length > strlen(name) && memcmp(word, name, strlen(name)) == 0;
}

/* "64", or of each socket: "64,32".  What is no number counts for nothing: EAL says so. */
static uint32_t mib_of(const char *text)
{
    uint64_t sum = 0;
    char *end;
    do {
        sum += min_u64(strtoul(text, &end, 10), UINT32_MAX);
        text = end + 1;
    } while (*end == ',');
    return (uint32_t)min_u64(sum, UINT32_MAX);
}

void eal_words_read(struct eal_words *words, const char *text)
{
    *words = (struct eal_words){.memory_mib = 0};
    bool is_value = false;
    for (text += strspn(text, SPACES); *text != '\0'; text += strspn(text, SPACES)) {
        size_t length = strcspn(text, SPACES);
        if (is_value)
            words->memory_mib = mib_of(text);
        else if (begins_with(text, length, SOCKETS "="))
            words->memory_mib = mib_of(text + strlen(SOCKETS "="));
        else if (begins_with(text, length, "-m"))
            words->memory_mib = mib_of(text + strlen("-m"));
        words->no_huge |= is_word(text, length, "--no-huge");
        words->legacy |= is_word(text, length, "--legacy-mem");
        is_value = !is_value && (is_word(text, length, "-m") || is_word(text, length, SOCKETS));
        text += length;
    }
}

uint32_t eal_words_missing(const struct eal_words *words, const struct dpdk_size *size)
{
    struct dpdk_size own = *size;
    own.small_pages |= words->no_huge;
    uint32_t least = dpdk_size_least_mib(&own);
    bool is_bound = own.small_pages || words->legacy;
    return is_bound && words->memory_mib != 0 && words->memory_mib < least ? least : 0;
}
