#include "control/space_words.h"

#include "control/config_table.h"

#include <stdio.h>
#include <string.h>

#define QUOTA_MAX_TIMES 4u

/* A line: its key in the table, and its value. */
struct word {
    const struct config_key *key;
    const char *value;
    size_t length;
};

static bool may_alter(size_t key)
{
    return key == CONFIG_SPACE_QUOTA || key == CONFIG_SPACE_HISTORY ||
           key == CONFIG_SPACE_HISTORY_TIME || key == CONFIG_SPACE_SESSION_TTL ||
           key == CONFIG_SPACE_READ || key == CONFIG_SPACE_WRITE;
}

static bool may_stand(size_t key, enum space_words_use use)
{
    return use == SPACE_WORDS_ALTER ? may_alter(key) : key != CONFIG_SPACE_ID;
}

static int refuse(char *fault, const struct word *w)
{
    char expected[SPACE_WORDS_FAULT_BYTES / 2];
    int length = w->length < 64 ? (int)w->length : 64;
    config_expected(w->key, expected, sizeof expected);
    (void)snprintf(fault, SPACE_WORDS_FAULT_BYTES, "%s '%.*s'; expected %s", w->key->name, length,
                   w->value, expected);
    return -EINVAL;
}

/* uids between commas, or nothing. */
static int access_take(struct space_access *a, const struct word *w)
{
    const struct config_key number = {.kind = CONFIG_COUNT, .min = w->key->min, .max = w->key->max};
    const char *at = w->value, *end = w->value + w->length;
    *a = (struct space_access){.everyone = w->length == 3 && memcmp(at, "any", 3) == 0};
    while (!a->everyone && at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t length = (size_t)((comma != NULL ? comma : end) - at);
        uint64_t uid;
        if (a->uid_count == w->key->entries_max || config_scalar(&number, at, length, &uid) != 0)
            return -EINVAL;
        for (uint32_t i = 0; i < a->uid_count; i++)
            if (a->uids[i] == uid)
                return -EINVAL;
        a->uids[a->uid_count++] = (uint32_t)uid;
        at += length + (comma != NULL ? 1 : 0);
        if (comma != NULL && at == end)
            return -EINVAL;
    }
    return 0;
}

/* To where the table says that the key's value stands. */
static void store(struct space_config *c, const struct config_key *key, uint64_t number)
{
    uint8_t *to = (uint8_t *)c + key->offset;
    const uint32_t narrow = (uint32_t)number;
    const bool flag = number != 0;
    switch (key->bytes) {
    case sizeof(uint64_t):
        memcpy(to, &number, sizeof number);
        break;
    case sizeof(uint32_t):
        memcpy(to, &narrow, sizeof narrow);
        break;
    default:
        memcpy(to, &flag, sizeof flag);
    }
}

static int word_take(struct space_config *c, const struct word *w)
{
    uint64_t number;
    if (w->key->kind == CONFIG_ACCESS)
        return access_take((struct space_access *)(void *)((uint8_t *)c + w->key->offset), w);
    int error = config_scalar(w->key, w->value, w->length, &number);
    if (error != 0)
        return -EINVAL;
    if (w->key->kind == CONFIG_NAME)
        memcpy((uint8_t *)c + w->key->offset, w->value, w->length); /* of zeros, and it fits */
    else
        store(c, w->key, number);
    return 0;
}

static void defaults_take(struct space_config *c)
{
    *c = (struct space_config){.id = 0};
    for (size_t i = 0; config_space[i].name != NULL; i++) {
        const struct word w = {.key = &config_space[i], .value = config_space[i].fallback};
        uint64_t number;
        if (w.value != NULL && config_scalar(w.key, w.value, strlen(w.value), &number) == 0)
            store(c, w.key, number);
    }
}

/* The key at the start of a line, and what stands behind its '='.  Returns its place, or that of the end. */
static size_t key_find(const char *line, size_t length, struct word *w)
{
    const char *equals = memchr(line, '=', length);
    size_t i = 0, name = equals != NULL ? (size_t)(equals - line) : length;
    while (config_space[i].name != NULL &&
           (strlen(config_space[i].name) != name || memcmp(config_space[i].name, line, name) != 0))
        i++;
    *w = (struct word){.key = &config_space[i],
                       .value = equals != NULL ? equals + 1 : line + length,
                       .length = equals != NULL ? length - name - 1 : 0};
    return i;
}

/* What is being read. */
struct taking {
    struct space_config *config;
    enum space_words_use use;
    uint32_t given; /* a bit for each key */
    char *fault;
};

static int line_take(struct taking *t, const char *line, size_t length)
{
    struct word w;
    size_t key = key_find(line, length, &w);
    if (w.key->name == NULL || !may_stand(key, t->use)) {
        (void)snprintf(t->fault, SPACE_WORDS_FAULT_BYTES, "'%.*s' is nothing that can be %s",
                       length < 64 ? (int)length : 64, line,
                       t->use == SPACE_WORDS_ALTER ? "altered while the space is served" : "given");
        return -EINVAL;
    }
    if ((t->given & 1u << key) != 0) {
        (void)snprintf(t->fault, SPACE_WORDS_FAULT_BYTES, "%s is given twice", w.key->name);
        return -EINVAL;
    }
    t->given |= 1u << key;
    return word_take(t->config, &w) == 0 ? 0 : refuse(t->fault, &w);
}

/* What follows from other keys, and cannot be. */
static int complete(struct space_config *c, uint32_t given, char *fault)
{
    const struct config_key *most = &config_space[CONFIG_SPACE_QUOTA_MAX];
    if ((given & 1u << CONFIG_SPACE_NAME) == 0) {
        (void)snprintf(fault, SPACE_WORDS_FAULT_BYTES, "it has no name");
        return -EINVAL;
    }
    if ((given & 1u << CONFIG_SPACE_QUOTA_MAX) == 0)
        c->quota_max_bytes = min_u64(QUOTA_MAX_TIMES * c->quota_bytes, most->max);
    if (c->quota_max_bytes != 0 && c->quota_max_bytes < c->quota_bytes) {
        (void)snprintf(fault, SPACE_WORDS_FAULT_BYTES,
                       "quota_max is below the quota; expected at least that, or 0B for none");
        return -EINVAL;
    }
    return 0;
}

int space_words_apply(struct space_config *c, const char *words, enum space_words_use use,
                      char fault[SPACE_WORDS_FAULT_BYTES])
{
    struct taking t = {.config = c, .use = use, .fault = fault};
    _Static_assert(CONFIG_SECTION_KEYS_MAX <= 32, "a bit for each key");
    if (use == SPACE_WORDS_CREATE)
        defaults_take(c);
    for (const char *end; *words != 0; words = *end != 0 ? end + 1 : end) {
        end = words + strcspn(words, "\n");
        int error = line_take(&t, words, (size_t)(end - words));
        if (error != 0)
            return error;
    }
    if (use == SPACE_WORDS_CREATE)
        return complete(c, t.given, fault);
    if (t.given != 0)
        return 0;
    (void)snprintf(fault, SPACE_WORDS_FAULT_BYTES, "it says nothing that is to change");
    return -EINVAL;
}
