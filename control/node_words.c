#include "control/node_words.h"

#include "control/config_address.h"
#include "control/config_table.h"

#include <stdio.h>
#include <string.h>

_Static_assert(NODE_WORDS_ADDRESS_BYTES >= CONFIG_ADDRESS_TEXT_BYTES, "room for any address");

/* A line: its key in the table, and its value. */
struct word {
    size_t key;
    const char *value;
    size_t length;
};

static int refuse(char *fault, const struct word *w)
{
    char expected[256];
    config_expected(&config_member[w->key], expected, sizeof expected);
    (void)snprintf(fault, NODE_WORDS_FAULT_BYTES, "'%.*s' for %s; expected %s",
                   w->length < 64 ? (int)w->length : 64, w->value, config_member[w->key].name,
                   expected);
    return -EINVAL;
}

/* The key at the start of a line, and what stands behind its '='; CONFIG_MEMBER_KEYS: it is none. */
static struct word word_of(const char *line, size_t length)
{
    const char *equals = memchr(line, '=', length);
    size_t i = 0, name = equals != NULL ? (size_t)(equals - line) : length;
    while (i < CONFIG_MEMBER_KEYS && (strlen(config_member[i].name) != name ||
                                      memcmp(config_member[i].name, line, name) != 0))
        i++;
    return (struct word){.key = i,
                         .value = equals != NULL ? equals + 1 : line + length,
                         .length = equals != NULL ? length - name - 1 : 0};
}

/* Why everything fits: the table judged it. */
static void store(struct node_words *to, const struct word *w, uint64_t number)
{
    switch (w->key) {
    case CONFIG_MEMBER_ADDRESS:
        memcpy(to->address, w->value, w->length);
        break;
    case CONFIG_MEMBER_CONTROL:
        memcpy(to->control, w->value, w->length);
        break;
    case CONFIG_MEMBER_ZONE:
        memcpy(to->zone, w->value, w->length);
        break;
    default:
        to->weight = (uint32_t)number;
        break;
    }
}

/* given: a bit for each key. */
static int line_take(struct node_words *to, const struct word *w, uint32_t *given, char *fault)
{
    uint64_t number;
    if ((*given & 1u << w->key) != 0) {
        (void)snprintf(fault, NODE_WORDS_FAULT_BYTES, "%s is given twice",
                       config_member[w->key].name);
        return -EINVAL;
    }
    *given |= 1u << w->key;
    if (config_scalar(&config_member[w->key], w->value, w->length, &number) != 0)
        return refuse(fault, w);
    store(to, w, number);
    return 0;
}

/* What is left out. */
static int complete(struct node_words *w, uint32_t given, char *fault)
{
    const struct config_key *weight = &config_member[CONFIG_MEMBER_WEIGHT];
    uint64_t number;
    if ((given & 1u << CONFIG_MEMBER_ADDRESS) == 0) {
        (void)snprintf(fault, NODE_WORDS_FAULT_BYTES, "it has no address");
        return -EINVAL;
    }
    if ((given & 1u << CONFIG_MEMBER_CONTROL) == 0)
        memcpy(w->control, w->address, sizeof w->control);
    if ((given & 1u << CONFIG_MEMBER_WEIGHT) == 0 &&
        config_scalar(weight, weight->fallback, strlen(weight->fallback), &number) == 0)
        w->weight = (uint32_t)number;
    return 0;
}

int node_words_read(struct node_words *w, const char *words, char fault[NODE_WORDS_FAULT_BYTES])
{
    uint32_t given = 0;
    *w = (struct node_words){.weight = 0};
    for (const char *end; *words != 0; words = *end != 0 ? end + 1 : end) {
        end = words + strcspn(words, "\n");
        const struct word word = word_of(words, (size_t)(end - words));
        if (word.key == CONFIG_MEMBER_KEYS || word.key == CONFIG_MEMBER_ID) {
            (void)snprintf(fault, NODE_WORDS_FAULT_BYTES, "'%.*s' is nothing that can be given",
                           end - words < 64 ? (int)(end - words) : 64, words);
            return -EINVAL;
        }
        int error = line_take(w, &word, &given, fault);
        if (error != 0)
            return error;
    }
    return complete(w, given, fault);
}
