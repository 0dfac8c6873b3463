#include "control/status_keys.h"

#include "control/cli_text.h"
#include "dataplane/hot_keys.h"

#include <stdlib.h>

struct tops {
    struct hot_keys_top of[LIMIT_LCORES];
    uint32_t taken[LIMIT_LCORES]; /* of each; they are in order */
};

static uint32_t certain(const struct hot_keys_top *t, uint32_t i)
{
    return i < t->count ? t->entries[i].count - t->entries[i].error : 0;
}

static int key_set(json_t *o, const struct hot_keys_key *key)
{
    if (cli_is_text(key->bytes, key->length))
        return json_object_set_new(o, "key", json_stringn((const char *)key->bytes, key->length));
    char *text = cli_base64(key->bytes, key->length);
    int failed = json_object_set_new(o, "key", text != NULL ? json_string(text) : NULL) != 0 ||
                 json_object_set_new(o, "encoding", json_string("base64")) != 0;
    free(text);
    return failed ? -1 : 0;
}

static json_t *entry_json(const struct node *n, const struct hot_keys_top *t, uint32_t i,
                          uint32_t lcore)
{
    const struct hot_keys_key *key = &t->entries[i].key;
    const struct node_space *s = n->spaces[key->space];
    double noted = (double)t->noted;
    json_t *o = json_pack("{s:s, s:I, s:f, s:f}", "space", s != NULL ? s->config.name : "", "lcore",
                          (json_int_t)lcore, "share", (double)certain(t, i) / noted, "share_most",
                          (double)t->entries[i].count / noted);
    if (o == NULL || key_set(o, key) == 0)
        return o;
    json_decref(o);
    return NULL;
}

/* The lcore whose next one was noted most often; lcore_count: none has any left. */
static uint32_t next_of(const struct tops *tops, uint32_t lcore_count)
{
    uint32_t best = lcore_count;
    for (uint32_t l = 0; l < lcore_count; l++) {
        uint32_t here = certain(&tops->of[l], tops->taken[l]);
        if (here != 0 &&
            (best == lcore_count || here > certain(&tops->of[best], tops->taken[best])))
            best = l;
    }
    return best;
}

json_t *status_keys(const struct node *n)
{
    uint32_t lcore_count = n->config.lcore_count;
    json_t *list = json_array();
    struct tops *tops = calloc(1, sizeof *tops);
    for (uint32_t l = 0; l < lcore_count && tops != NULL; l++) {
        const struct hot_keys_shown *shown = node_hot_keys(n, l);
        /* Why nothing of one that is showing right now: the next status has it. */
        if (shown == NULL || !hot_keys_copy(shown, &tops->of[l]))
            tops->of[l].count = 0;
    }
    bool whole = list != NULL && tops != NULL;
    for (uint32_t i = 0; i < HOT_KEYS_TOP && whole; i++) {
        uint32_t l = next_of(tops, lcore_count);
        if (l == lcore_count)
            break;
        whole = json_array_append_new(list, entry_json(n, &tops->of[l], tops->taken[l], l)) == 0;
        tops->taken[l]++;
    }
    free(tops);
    if (whole)
        return list;
    json_decref(list);
    return NULL;
}
