#include "control/config_differ.h"

#include "control/config_address.h"
#include "control/config_events.h"
#include "control/config_table.h"

#include <stdlib.h>
#include <string.h>

/* ---- what differs ---- */

struct differing {
    void (*found)(void *context, const char *key);
    void *context;
    char path[CONFIG_KEY_BYTES];
};

/* The same struct of both configurations. */
struct two {
    const uint8_t *before, *after;
};

static struct two two_at(const struct two *t, size_t offset)
{
    return (struct two){t->before + offset, t->after + offset};
}

static uint32_t count_of(const uint8_t *base, const struct config_key *k)
{
    uint32_t count;
    memcpy(&count, base + k->count_offset, sizeof count);
    return count;
}

static bool scalar_differs(const struct config_key *k, const struct two *t)
{
    const struct two value = two_at(t, k->offset);
    size_t bytes = k->bytes;
    switch (k->kind) {
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_IPV4:
    case CONFIG_TEXT:
        return strcmp((const char *)value.before, (const char *)value.after) != 0;
    case CONFIG_CPUS:
        if (count_of(t->before, k) != count_of(t->after, k))
            return true;
        bytes *= count_of(t->before, k);
        break;
    case CONFIG_ADDRESS:
        bytes *= CONFIG_ADDRESS_BYTES;
        break;
    default:
        break;
    }
    return memcmp(value.before, value.after, bytes) != 0;
}

static void keys_differ(struct differing *d, const struct config_key *keys, const struct two *t);

static void entries_differ(struct differing *d, const struct config_key *k, const struct two *t)
{
    uint32_t before = count_of(t->before, k), after = count_of(t->after, k);
    size_t length = strlen(d->path);
    if (before != after)
        d->found(d->context, d->path);
    for (uint32_t i = 0; i < min_u64(before, after); i++) {
        const struct two entry = two_at(t, k->offset + (size_t)i * k->bytes);
        (void)snprintf(d->path + length, sizeof d->path - length, "[%u].", i);
        keys_differ(d, k->keys, &entry);
    }
}

/* Leaves the path as it was. */
static void keys_differ(struct differing *d, const struct config_key *keys, const struct two *t)
{
    size_t length = strlen(d->path);
    for (const struct config_key *k = keys; k->name != NULL; k++) {
        bool is_section = k->kind == CONFIG_SECTION;
        int used = snprintf(d->path + length, sizeof d->path - length, "%s%s", k->name,
                            is_section ? "." : "");
        ASSERT(used > 0 && (size_t)used < sizeof d->path - length);
        if (is_section)
            keys_differ(d, k->keys, t);
        else if (k->kind == CONFIG_ENTRIES)
            entries_differ(d, k, t);
        else if (scalar_differs(k, t))
            d->found(d->context, d->path);
    }
    d->path[length] = '\0';
}

void config_differ(const struct config *before, const struct config *after,
                   void (*found)(void *context, const char *key), void *context)
{
    struct differing d = {.found = found, .context = context};
    const struct two t = {(const uint8_t *)before, (const uint8_t *)after};
    keys_differ(&d, config_root, &t);
}

/* ---- where it stands ---- */

struct locating {
    struct events in;
    const char *key;
    char path[CONFIG_KEY_BYTES];
    struct config_place best;
};

/* Whether what is looked for is the path, or below it. */
static bool is_on_the_way(const struct locating *l)
{
    size_t length = strlen(l->path);
    char next = strncmp(l->path, l->key, length) == 0 ? l->key[length] : 'x';
    return length == 0 || next == '\0' || next == '.' || next == '[';
}

static void note(struct locating *l)
{
    struct events_place here = events_here(&l->in);
    if (is_on_the_way(l))
        l->best = (struct config_place){here.line, here.column};
}

static int locate_value(struct locating *l);

/* Its start is at hand, its end will be. */
static int locate_mapping(struct locating *l)
{
    size_t length = strlen(l->path);
    int error = events_step(&l->in);
    while (error == 0 && !events_at_end(&l->in)) {
        (void)snprintf(l->path + length, sizeof l->path - length, "%s%s", length == 0 ? "" : ".",
                       (const char *)l->in.event.data.scalar.value);
        note(l);
        error = events_step(&l->in);
        if (error == 0)
            error = locate_value(l);
        if (error == 0)
            error = events_step(&l->in);
    }
    l->path[length] = '\0';
    return error;
}

static int locate_list(struct locating *l)
{
    size_t length = strlen(l->path);
    int error = events_step(&l->in);
    for (uint32_t i = 0; error == 0 && !events_at_end(&l->in); i++) {
        (void)snprintf(l->path + length, sizeof l->path - length, "[%u]", i);
        note(l);
        error = locate_value(l);
        if (error == 0)
            error = events_step(&l->in);
    }
    l->path[length] = '\0';
    return error;
}

/* Why it ends: the file was accepted, so nothing in it is deeper than the table of keys. */
static int locate_value(struct locating *l)
{
    if (!is_on_the_way(l))
        return events_skip(&l->in);
    if (l->in.event.type == YAML_MAPPING_START_EVENT)
        return locate_mapping(l);
    return l->in.event.type == YAML_SEQUENCE_START_EVENT ? locate_list(l) : 0;
}

/* Stream and document begin before the mapping that is the file. */
static int locate(struct locating *l)
{
    int error = 0;
    for (uint32_t i = 0; i < 3 && error == 0; i++)
        error = events_step(&l->in);
    return error != 0 ? error : locate_value(l);
}

int config_locate(const uint8_t *bytes, size_t size, const char *key, struct config_place *place)
{
    struct locating *l = calloc(1, sizeof *l);
    *place = (struct config_place){0, 0};
    int error = l == NULL ? -ENOMEM : events_open(&l->in, bytes, size);
    if (error == 0) {
        l->key = key;
        error = locate(l);
        *place = l->best;
        events_close(&l->in);
    }
    free(l);
    return error == -ENOMEM ? error : 0;
}
