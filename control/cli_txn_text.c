#include "control/cli_txn_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults ---- */

/* Where in the document something stands. */
struct place {
    struct cli_txn *t;
    char *fault;
    const char *list; /* "compare", "then", "else" */
    size_t index;
};

__attribute__((format(printf, 2, 3))) static int fault(const struct place *p, const char *format,
                                                       ...)
{
    va_list arguments;
    int used = snprintf(p->fault, CLI_TXN_FAULT_BYTES, "%s[%zu]: ", p->list, p->index);
    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is the line above */
    (void)vsnprintf(p->fault + used, CLI_TXN_FAULT_BYTES - (size_t)used, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* Every name of an object is one of those expected, which end with NULL. */
static int names_check(const struct place *p, json_t *object, const char *what,
                       const char *const *expected)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (expected[i] != NULL && strcmp(expected[i], name) != 0)
            i++;
        if (expected[i] == NULL)
            return fault(p, "%s has no \"%.40s\"", what, name);
    }
    return 0;
}

/* ---- parts ---- */

static int take_key(const struct place *p, const json_t *object, const void **key, size_t *length)
{
    const json_t *text = json_object_get(object, "key");
    *key = json_string_value(text);
    *length = json_string_length(text);
    if (*key == NULL)
        return fault(p, "no \"key\"; expected one, a string");
    if (*length == 0 || *length > LIMIT_KEY_BYTES)
        return fault(p, "a key of %zu bytes; expected 1 to %u", *length, LIMIT_KEY_BYTES);
    return 0;
}

static int take_version(const struct place *p, const json_t *version, struct dunlin_condition *c)
{
    struct dunlin_version v;
    const char *text = json_string_value(version);
    if (text == NULL || cli_version_parse(text, &v) != 0)
        return fault(p, "\"version\" is none; expected a string as put prints it, or \"0\" for a "
                        "key that is not there");
    c->compare = DUNLIN_COMPARE_VERSION;
    c->expected = v.lsn;
    p->t->logs[p->index] = v.log;
    return 0;
}

static int take_condition(const struct place *p, json_t *object)
{
    static const char *const names[] = {"key", "version", "exists", "token", NULL};
    struct dunlin_condition *c = &p->t->conditions[p->index];
    if (!json_is_object(object))
        return fault(p, "not an object; expected {\"key\": ..., \"version\": ...}");
    int error = names_check(p, object, "a condition", names);
    if (error == 0)
        error = take_key(p, object, &c->key, &c->key_length);
    if (error != 0)
        return error;
    const json_t *version = json_object_get(object, "version");
    const json_t *exists = json_object_get(object, "exists");
    const json_t *token = json_object_get(object, "token");
    if ((version != NULL) + (exists != NULL) + (token != NULL) != 1)
        return fault(p, "expected one of \"version\", \"exists\" and \"token\"");
    if (version != NULL)
        return take_version(p, version, c);
    if (exists != NULL) {
        c->compare = json_is_true(exists) ? DUNLIN_COMPARE_EXISTS : DUNLIN_COMPARE_ABSENT;
        return json_is_boolean(exists) ? 0 : fault(p, "\"exists\" is neither true nor false");
    }
    c->compare = DUNLIN_COMPARE_TOKEN;
    c->expected = (uint64_t)json_integer_value(token);
    if (!json_is_integer(token) || json_integer_value(token) <= 0)
        return fault(p, "\"token\" is none; expected a whole number as lease acquire prints it");
    return 0;
}

static int take_value(const struct place *p, const json_t *object, struct dunlin_write *w)
{
    const json_t *value = json_object_get(object, "value");
    const json_t *encoding = json_object_get(object, "encoding");
    if (!json_is_string(value))
        return fault(p, "no \"value\"; expected one, a string");
    w->value = json_string_value(value);
    w->value_length = json_string_length(value);
    if (encoding == NULL)
        return 0;
    if (!json_is_string(encoding) || strcmp(json_string_value(encoding), "base64") != 0)
        return fault(p, "\"encoding\" is not \"base64\", the only one there is");
    uint8_t *bytes = malloc(w->value_length + 1);
    if (bytes == NULL)
        return -ENOMEM;
    p->t->decoded[p->t->decoded_count++] = bytes;
    if (cli_base64_parse(w->value, w->value_length, bytes, &w->value_length) != 0)
        return fault(p, "\"value\" is not base64 with its padding");
    w->value = bytes;
    return 0;
}

static int take_ttl(const struct place *p, const json_t *object, struct dunlin_write *w)
{
    const json_t *ttl = json_object_get(object, "ttl_ms");
    const json_int_t most_ms = (json_int_t)(LIMIT_TTL_NS_MAX / NS_PER_MS);
    json_int_t ms = json_integer_value(ttl);
    if (ttl == NULL)
        return 0;
    if (!json_is_integer(ttl) || ms < 1 || ms > most_ms)
        return fault(p, "\"ttl_ms\" is none; expected milliseconds, 1 to %" JSON_INTEGER_FORMAT,
                     most_ms);
    w->ttl_ns = (uint64_t)ms * NS_PER_MS;
    return 0;
}

static int take_put(const struct place *p, json_t *object, struct dunlin_write *w)
{
    static const char *const names[] = {"key", "value", "encoding", "ttl_ms", NULL};
    w->operation = DUNLIN_PUT;
    int error = names_check(p, object, "\"put\"", names);
    if (error == 0)
        error = take_ttl(p, object, w);
    return error != 0 ? error : take_value(p, object, w);
}

static int take_delete(const struct place *p, json_t *object, struct dunlin_write *w)
{
    static const char *const names[] = {"key", NULL};
    w->operation = DUNLIN_DELETE;
    return names_check(p, object, "\"delete\"", names);
}

static int take_incr(const struct place *p, json_t *object, struct dunlin_write *w)
{
    static const char *const names[] = {"key", "by", NULL};
    const json_t *by = json_object_get(object, "by");
    w->operation = DUNLIN_INCREMENT;
    w->delta = json_integer_value(by);
    int error = names_check(p, object, "\"incr\"", names);
    if (error != 0)
        return error;
    return json_is_integer(by) ? 0 : fault(p, "no \"by\"; expected one, a whole number");
}

static int take_write(const struct place *p, json_t *object, struct dunlin_write *w)
{
    static const struct {
        const char *name;
        int (*take)(const struct place *p, json_t *object, struct dunlin_write *w);
    } kinds[] = {{"put", take_put}, {"delete", take_delete}, {"incr", take_incr}};
    if (!json_is_object(object) || json_object_size(object) != 1)
        return fault(p, "expected an object with one of \"put\", \"delete\" and \"incr\"");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        json_t *what = json_object_get(object, kinds[i].name);
        if (what == NULL)
            continue;
        if (!json_is_object(what))
            return fault(p, "\"%s\" is not an object", kinds[i].name);
        int error = kinds[i].take(p, what, w);
        return error != 0 ? error : take_key(p, what, &w->key, &w->key_length);
    }
    return fault(p, "expected one of \"put\", \"delete\" and \"incr\", not \"%.40s\"",
                 json_object_iter_key(json_object_iter(object)));
}

/* ---- the whole ---- */

/* The newest of a branch's writes has a key of its own. */
static int twice_check(const struct place *p, const struct dunlin_write *writes)
{
    const struct dunlin_write *w = &writes[p->index];
    for (size_t i = 0; i < p->index; i++)
        if (writes[i].key_length == w->key_length &&
            memcmp(writes[i].key, w->key, w->key_length) == 0)
            return fault(p, "the key \"%.80s\" is there twice, in %s[%zu] too; write each key once",
                         (const char *)w->key, p->list, i);
    return 0;
}

/* A list of the document: writes go to writes, conditions (NULL) to t. */
static int take_list(struct place *p, const char *name, struct dunlin_write *writes, size_t *count)
{
    json_t *list = json_object_get(p->t->json, name), *entry;
    *p = (struct place){.t = p->t, .fault = p->fault, .list = name};
    if (list == NULL)
        return 0;
    if (!json_is_array(list)) {
        (void)snprintf(p->fault, CLI_TXN_FAULT_BYTES, "\"%s\" is not a list", name);
        return -EINVAL;
    }
    json_array_foreach(list, p->index, entry)
    {
        if (p->index == CLI_TXN_PARTS)
            return fault(p, "one too many; at most %u parts", CLI_TXN_PARTS);
        int error =
            writes != NULL ? take_write(p, entry, &writes[p->index]) : take_condition(p, entry);
        if (error == 0 && writes != NULL)
            error = twice_check(p, writes);
        if (error != 0)
            return error;
    }
    *count = json_array_size(list);
    return 0;
}

static int root_check(const struct cli_txn *t, char *said)
{
    const char *name;
    json_t *value;
    if (!json_is_object(t->json)) {
        (void)snprintf(said, CLI_TXN_FAULT_BYTES,
                       "not an object; expected {\"compare\": [...], "
                       "\"then\": [...], \"else\": [...]}");
        return -EINVAL;
    }
    json_object_foreach(t->json, name, value)
    {
        if (strcmp(name, "compare") == 0 || strcmp(name, "then") == 0 || strcmp(name, "else") == 0)
            continue;
        (void)snprintf(said, CLI_TXN_FAULT_BYTES,
                       "unknown \"%.40s\"; expected \"compare\", \"then\", \"else\"", name);
        return -EINVAL;
    }
    return 0;
}

int cli_txn_parse(struct cli_txn *t, const char *text, size_t length,
                  char said[CLI_TXN_FAULT_BYTES])
{
    json_error_t json_error;
    struct dunlin_transaction *whole = &t->transaction;
    *t = (struct cli_txn){.json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &json_error)};
    if (t->json == NULL) {
        (void)snprintf(said, CLI_TXN_FAULT_BYTES, "line %d, column %d: %.120s", json_error.line,
                       json_error.column, json_error.text);
        return -EINVAL;
    }
    struct place p = {.t = t, .fault = said};
    int error = root_check(t, said);
    if (error == 0)
        error = take_list(&p, "compare", NULL, &whole->condition_count);
    if (error == 0)
        error = take_list(&p, "then", t->then_writes, &whole->then_count);
    if (error == 0)
        error = take_list(&p, "else", t->else_writes, &whole->else_count);
    if (error != 0)
        return error;
    whole->conditions = t->conditions;
    whole->then_writes = t->then_writes;
    whole->else_writes = t->else_writes;
    size_t count = whole->condition_count + whole->then_count + whole->else_count;
    if (count != 0 && count <= CLI_TXN_PARTS)
        return 0;
    (void)snprintf(said, CLI_TXN_FAULT_BYTES, "%zu parts; expected 1 to %u", count, CLI_TXN_PARTS);
    return -EINVAL;
}

void cli_txn_free(struct cli_txn *t)
{
    for (uint32_t i = 0; i < t->decoded_count; i++)
        free(t->decoded[i]);
    json_decref(t->json);
}
