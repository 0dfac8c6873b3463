#include "control/config_check.h"

#include "control/config_cluster.h"
#include "control/config_events.h"
#include "control/config_table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A key of one mapping and what was found under it. */
struct value {
    bool given, good;
    size_t key_line;
    struct events_place place;       /* of the value; of the mapping if the key is absent */
    uint64_t number;                 /* good numbers only; the fallback of an absent key */
    char text[LIMIT_NAME_BYTES];     /* good names only */
    struct sockaddr_storage address; /* good addresses only */
};

struct space_seen {
    char name[LIMIT_NAME_BYTES];
    uint64_t id;
    size_t line_name, line_id;
};

struct check {
    struct events in;
    struct config_text *out;
    uint32_t spaces_seen;
    struct space_seen spaces[LIMIT_SPACES];
    struct config_cluster_seen cluster;
};

/* Text past the end is dropped: what is then left is no YAML, so it cannot pass for a whole one. */
static __attribute__((format(printf, 2, 3))) void emit(struct check *c, const char *format, ...)
{
    struct config_text *t = c->out;
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(t->bytes + t->used, sizeof(t->bytes) - t->used, format, arguments);
    va_end(arguments);
    t->used = min_u64(t->used + (size_t)bytes, sizeof(t->bytes) - 1);
}

static struct events_place here(const struct check *c)
{
    return events_here(&c->in);
}

static bool is_plain(const yaml_event_t *e)
{
    return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool scalar_is(const yaml_event_t *e, const char *text)
{
    return is_plain(e) && strlen(text) == e->data.scalar.length &&
           memcmp(text, e->data.scalar.value, e->data.scalar.length) == 0;
}

static bool is_nothing(const yaml_event_t *e)
{
    return scalar_is(e, "") || scalar_is(e, "~") || scalar_is(e, "null") || scalar_is(e, "Null") ||
           scalar_is(e, "NULL");
}

/* The event at hand is not what the key takes: say so and pass over it. */
static int refuse(struct check *c, const char *what, const char *expected)
{
    char quoted[EVENTS_QUOTE_BYTES];
    const yaml_event_t *e = &c->in.event;
    if (is_nothing(e))
        events_fault(&c->in, here(c), "nothing for %s; expected %s", what, expected);
    else if (e->type == YAML_SCALAR_EVENT)
        events_fault(&c->in, here(c), "'%s'%s for %s; expected %s",
                     events_quote(quoted, e->data.scalar.value, e->data.scalar.length),
                     is_plain(e) ? "" : " in quotes", what, expected);
    else if (events_at_start(&c->in))
        events_fault(&c->in, here(c), "a %s for %s; expected %s",
                     e->type == YAML_MAPPING_START_EVENT ? "mapping" : "list", what, expected);
    return events_skip(&c->in); /* an alias was refused when it was met */
}

static int refuse_value(struct check *c, const struct config_key *key)
{
    char expected[EVENTS_EXPECTED_BYTES];
    config_expected(key, expected, sizeof(expected));
    return refuse(c, key->name, expected);
}

/* Why quotes only for text: "1" is a string in YAML, and a number in quotes is a mistake. */
static int scalar_judge(const struct config_key *key, const yaml_event_t *e, uint64_t *number)
{
    bool text = config_is_text(key) || key->kind == CONFIG_ADDRESS;
    if (e->type != YAML_SCALAR_EVENT || is_nothing(e) || (!text && !is_plain(e)))
        return -EINVAL;
    return config_scalar(key, (const char *)e->data.scalar.value, e->data.scalar.length, number);
}

static void write_scalar(struct check *c, const struct config_key *key, const char *text,
                         uint64_t number)
{
    if (config_is_text(key)) {
        emit(c, "\"");
        for (; *text != '\0'; text++)
            emit(c, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
        emit(c, "\"");
    } else if (key->kind == CONFIG_BOOL) {
        emit(c, "%s", number != 0 ? "true" : "false");
    } else {
        emit(c, "%" PRIu64, number);
    }
}

/* Its bytes: the canonical form has numbers where the struct has. */
static void write_address(struct check *c, const char *text, struct value *v)
{
    uint8_t bytes[CONFIG_ADDRESS_BYTES];
    ASSERT(config_address_parse(text, strlen(text), &v->address) == 0);
    memcpy(bytes, &v->address, sizeof(bytes));
    emit(c, "[");
    for (size_t i = 0; i < sizeof(bytes); i++)
        emit(c, "%u, ", bytes[i]);
    emit(c, "]");
}

static int check_scalar(struct check *c, const struct config_key *key, struct value *v)
{
    char expected[EVENTS_EXPECTED_BYTES], quoted[EVENTS_QUOTE_BYTES];
    int rc = scalar_judge(key, &c->in.event, &v->number);
    if (rc != 0 && rc != -ENOTSUP)
        return refuse_value(c, key);
    const char *text = (const char *)c->in.event.data.scalar.value;
    if (rc == -ENOTSUP) {
        config_expected(key, expected, sizeof(expected));
        events_fault(&c->in, here(c), "%s '%s' is not in this version; expected %s", key->name,
                     events_quote(quoted, text, c->in.event.data.scalar.length), expected);
        return 0;
    }
    v->good = true;
    if (key->kind == CONFIG_ADDRESS) {
        write_address(c, text, v);
        return 0;
    }
    if (key->kind == CONFIG_NAME)
        (void)snprintf(v->text, sizeof(v->text), "%s", text);
    if (key == &config_dpdk_keys[CONFIG_DPDK_PORT] || key == &config_dpdk_keys[CONFIG_DPDK_EAL])
        config_cluster_dpdk_seen(&c->cluster, key == &config_dpdk_keys[CONFIG_DPDK_EAL], text,
                                 v->place);
    write_scalar(c, key, text, v->number);
    return 0;
}

struct list {
    uint32_t count;
    uint64_t numbers[LIMIT_LCORES > LIMIT_ACCESS_RULES ? LIMIT_LCORES : LIMIT_ACCESS_RULES];
};

static int check_entry(struct check *c, const struct config_key *key, struct list *list)
{
    char expected[EVENTS_EXPECTED_BYTES];
    struct config_key entry = *key;
    uint64_t number;
    entry.kind = CONFIG_COUNT;
    if (scalar_judge(&entry, &c->in.event, &number) != 0 ||
        (key->kind == CONFIG_CPUS && !config_cpu_usable(number))) {
        config_entry_expected(key, expected, sizeof(expected));
        return refuse(c, key->name, expected);
    }
    for (uint32_t i = 0; i < list->count; i++)
        if (list->numbers[i] == number)
            events_fault(&c->in, here(c), "%" PRIu64 " twice in %s; expected different ones",
                         number, key->name);
    list->numbers[list->count++] = number;
    emit(c, "%" PRIu64 ", ", number);
    return 0;
}

/* Entries past the most that it may have are only counted. */
static int check_list(struct check *c, const struct config_key *key, struct value *v)
{
    char expected[EVENTS_EXPECTED_BYTES];
    struct list list = {0};
    int rc;
    if (c->in.event.type != YAML_SEQUENCE_START_EVENT)
        return refuse_value(c, key);
    ASSERT(key->entries_max <= sizeof(list.numbers) / sizeof(list.numbers[0]));
    emit(c, "[");
    for (rc = events_step(&c->in); rc == 0 && !events_at_end(&c->in); rc = events_step(&c->in)) {
        v->number++;
        rc = v->number <= key->entries_max ? check_entry(c, key, &list) : events_skip(&c->in);
        if (rc != 0)
            return rc;
    }
    if (rc != 0)
        return rc;
    emit(c, "]");
    v->good = v->number >= key->entries_min && v->number <= key->entries_max;
    if (v->good)
        return 0;
    config_expected(key, expected, sizeof(expected));
    events_fault(&c->in, v->place, "%" PRIu64 " entries in %s; expected %s", v->number, key->name,
                 expected);
    return 0;
}

/* "any" or a list, in the canonical form always the image of struct space_access. */
static int check_access(struct check *c, const struct config_key *key, struct value *v)
{
    if (scalar_is(&c->in.event, "any")) {
        emit(c, "{everyone: true, uids: []}");
        v->good = true;
        return 0;
    }
    emit(c, "{everyone: false, uids: ");
    int rc = check_list(c, key, v);
    emit(c, "}");
    return rc;
}

static size_t key_find(const struct config_key *keys, const yaml_event_t *e)
{
    size_t i = 0;
    while (keys[i].name != NULL &&
           (strlen(keys[i].name) != e->data.scalar.length ||
            memcmp(keys[i].name, e->data.scalar.value, e->data.scalar.length) != 0))
        i++;
    return i;
}

/* Why by name: releases before had it, and nothing but this tells what became of it. */
static bool refuse_former_key(struct check *c, const struct config_key *keys)
{
    if (keys != config_cluster_keys || !scalar_is(&c->in.event, "coordinator"))
        return false;
    events_fault(
        &c->in, here(c),
        "a key 'coordinator' in cluster: a file that nodes share decides nothing any more; "
        "expected the section 'control' in its place: the cluster then begins anew");
    return true;
}

static void refuse_key(struct check *c, const struct config_key *keys, const char *where)
{
    if (refuse_former_key(c, keys))
        return;
    char expected[EVENTS_EXPECTED_BYTES] = "", quoted[EVENTS_QUOTE_BYTES];
    size_t used = 0;
    for (const struct config_key *k = keys; k->name != NULL && used < sizeof(expected); k++)
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                                 used == 0 ? "" : ", ", k->name);
    const yaml_event_t *e = &c->in.event;
    if (e->type == YAML_SCALAR_EVENT)
        events_fault(&c->in, here(c), "unknown key '%s' in %s; expected %s",
                     events_quote(quoted, e->data.scalar.value, e->data.scalar.length), where,
                     expected);
    else if (events_at_start(&c->in))
        events_fault(&c->in, here(c), "a %s as a key in %s; expected %s",
                     e->type == YAML_MAPPING_START_EVENT ? "mapping" : "list", where, expected);
}

static int check_value(struct check *c, const struct config_key *key, struct value *v);

/* One key and its value; the key is at hand. */
static int check_pair(struct check *c, const struct config_key *keys, const char *where,
                      struct value *values)
{
    size_t i = c->in.event.type == YAML_SCALAR_EVENT ? key_find(keys, &c->in.event) : SIZE_MAX;
    bool known = i != SIZE_MAX && keys[i].name != NULL;
    int rc = 0;
    if (!known) {
        refuse_key(c, keys, where);
        rc = events_skip(&c->in);
    } else if (values[i].given) {
        events_fault(&c->in, here(c), "key '%s' again, first in line %zu; expected it once",
                     keys[i].name, values[i].key_line);
        known = false;
    } else {
        values[i].given = true;
        values[i].key_line = here(c).line;
    }
    if (rc == 0)
        rc = events_step(&c->in);
    if (rc != 0 || !known)
        return rc != 0 ? rc : events_skip(&c->in);
    emit(c, "%s: ", keys[i].name);
    rc = check_value(c, &keys[i], &values[i]);
    emit(c, ",\n");
    return rc;
}

static void write_fallback(struct check *c, const struct config_key *key, struct value *v)
{
    emit(c, "%s: ", key->name);
    if (key->kind == CONFIG_SECTION) {
        struct value inner[CONFIG_SECTION_KEYS_MAX];
        emit(c, "{");
        for (const struct config_key *k = key->keys; k->name != NULL; k++)
            write_fallback(c, k, &inner[k - key->keys]);
        emit(c, "}");
    } else if (key->kind == CONFIG_ACCESS) {
        emit(c, "{everyone: false, uids: []}");
    } else if (key->kind == CONFIG_CPUS) {
        emit(c, "[]");
    } else {
        /* Why unchecked: a fallback may lie outside what may be written (lcores.count). */
        (void)!config_scalar(key, key->fallback, strlen(key->fallback), &v->number);
        write_scalar(c, key, key->fallback, v->number);
    }
    v->good = true;
    emit(c, ",\n");
}

/* A mapping, its start at hand, to its end. */
static int check_keys(struct check *c, const struct config_key *keys, const char *where,
                      struct value *values)
{
    char expected[EVENTS_EXPECTED_BYTES];
    struct events_place start = here(c);
    int rc;
    emit(c, "{");
    for (rc = events_step(&c->in); rc == 0 && !events_at_end(&c->in); rc = events_step(&c->in)) {
        rc = check_pair(c, keys, where, values);
        if (rc != 0)
            return rc;
    }
    if (rc != 0)
        return rc;
    for (size_t i = 0; keys[i].name != NULL; i++) {
        if (values[i].given)
            continue;
        values[i].place = start;
        if (keys[i].optional)
            continue;
        if (!keys[i].required) {
            write_fallback(c, &keys[i], &values[i]);
            continue;
        }
        if (c->out->spaces_only && keys == config_root && keys[i].kind == CONFIG_SECTION) {
            emit(c, "%s: {name: \"node\", id: 1},\n", keys[i].name);
            continue;
        }
        config_expected(&keys[i], expected, sizeof(expected));
        events_fault(&c->in, start, "no key '%s' in %s; expected %s", keys[i].name, where,
                     expected);
    }
    emit(c, "}");
    return 0;
}

static void rule_lcores(struct check *c, const struct value *values)
{
    const struct value *count = &values[CONFIG_LCORES_COUNT], *cpus = &values[CONFIG_LCORES_CPUS];
    if (count->given && cpus->given && count->good && cpus->good && count->number != cpus->number)
        events_fault(&c->in, cpus->place,
                     "%" PRIu64 " cpus for a count of %" PRIu64
                     "; expected one for each, or no count",
                     cpus->number, count->number);
    if (cpus->given && cpus->good)
        c->cluster.lcore_count = (uint32_t)cpus->number;
    if (count->given && count->good)
        c->cluster.lcore_count = (uint32_t)count->number;
}

/* The policy as far as the geometry depends on it; false if a part of it is not good. */
static bool space_of(const struct value *v, struct space_config *space)
{
    static const int parts[] = {CONFIG_SPACE_SHARDS, CONFIG_SPACE_QUOTA, CONFIG_SPACE_QUOTA_MAX,
                                CONFIG_SPACE_SESSIONS, CONFIG_SPACE_VALUE_MAX};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (!v[parts[i]].good)
            return false;
    space_config_default(space);
    space->shard_count = (uint32_t)v[CONFIG_SPACE_SHARDS].number;
    space->quota_bytes = v[CONFIG_SPACE_QUOTA].number;
    space->quota_max_bytes = v[CONFIG_SPACE_QUOTA_MAX].number;
    space->sessions_max = (uint32_t)v[CONFIG_SPACE_SESSIONS].number;
    return true;
}

static void rule_geometry(struct check *c, const struct value *v)
{
    char quota[CONFIG_NUMBER_BYTES], least[CONFIG_NUMBER_BYTES], value[CONFIG_NUMBER_BYTES];
    struct space_config space;
    struct layout_geometry geometry;
    if (!space_of(v, &space))
        return;
    config_number_text(CONFIG_SIZE, space.quota_bytes, quota);
    if (space.quota_max_bytes != 0 && space.quota_max_bytes < space.quota_bytes)
        events_fault(&c->in, v[CONFIG_SPACE_QUOTA_MAX].place,
                     "quota_max is below the quota of %s; expected at least that, or no quota_max",
                     quota);
    int rc = space_geometry(&space, &geometry);
    const struct value *blame =
        v[CONFIG_SPACE_QUOTA].given ? &v[CONFIG_SPACE_QUOTA] : &v[CONFIG_SPACE_SHARDS];
    if (rc == -ENOSPC) {
        config_number_text(CONFIG_SIZE, space_quota_min(space.shard_count), least);
        events_fault(
            &c->in, blame->place,
            "quota of %s is too small for %u shards; expected at least %s, or fewer shards", quota,
            space.shard_count, least);
        return;
    }
    if (rc != 0) {
        events_fault(&c->in, blame->place,
                     "quota of %s with %u shards; expected limits that the engine takes", quota,
                     space.shard_count);
        return;
    }
    uint32_t fits = space_value_max(&space, &geometry);
    if (v[CONFIG_SPACE_VALUE_MAX].number > fits) {
        config_number_text(CONFIG_SIZE, v[CONFIG_SPACE_VALUE_MAX].number, value);
        events_fault(
            &c->in, v[CONFIG_SPACE_VALUE_MAX].place,
            "value_max of %s does not fit a segment; expected at most %uB, or more quota for "
            "each of the %u shards",
            value, fits, space.shard_count);
    }
}

/* Names and ids are of one space each; the first one that has it is named. */
static void rule_unique(struct check *c, const struct value *v)
{
    const struct value *name = &v[CONFIG_SPACE_NAME], *id = &v[CONFIG_SPACE_ID];
    size_t line_name = 0, line_id = 0;
    for (uint32_t i = c->spaces_seen; i-- > 0;) {
        const struct space_seen *s = &c->spaces[i];
        if (name->good && strcmp(s->name, name->text) == 0)
            line_name = s->line_name;
        if (id->good && s->id == id->number)
            line_id = s->line_id;
    }
    if (line_name != 0)
        events_fault(&c->in, name->place,
                     "space name '%s' again, first in line %zu; expected another", name->text,
                     line_name);
    if (line_id != 0)
        events_fault(&c->in, id->place,
                     "space id %" PRIu64 " again, first in line %zu; expected another", id->number,
                     line_id);
    if (c->spaces_seen == LIMIT_SPACES)
        return;
    struct space_seen *seen = &c->spaces[c->spaces_seen++];
    *seen = (struct space_seen){
        .id = id->good ? id->number : 0, .line_name = name->place.line, .line_id = id->place.line};
    if (name->good)
        memcpy(seen->name, name->text, sizeof(seen->name));
}

static void remember_node(struct check *c, const struct value *v)
{
    const struct value *id = &v[CONFIG_MEMBER_ID], *address = &v[CONFIG_MEMBER_ADDRESS];
    const struct config_cluster_node seen = {
        .id = id->good ? id->number : 0,
        .has_address = address->good,
        .address = address->address,
        .id_place = id->place,
        .address_place = address->place,
    };
    config_cluster_node_seen(&c->cluster, &seen);
}

static void remember_transport(struct check *c, const struct value *v)
{
    const struct value *transport = &v[CONFIG_CLUSTER_TRANSPORT];
    c->cluster.is_dpdk = transport->good && transport->number == CONFIG_TRANSPORT_DPDK;
    c->cluster.has_dpdk = v[CONFIG_CLUSTER_DPDK].given;
    c->cluster.transport_place = transport->place;
    c->cluster.frame_bytes = v[CONFIG_CLUSTER_FRAME].good ? v[CONFIG_CLUSTER_FRAME].number : 0;
}

static int check_entries(struct check *c, const struct config_key *key, struct value *v)
{
    char expected[EVENTS_EXPECTED_BYTES];
    uint32_t entries = 0;
    int rc;
    if (c->in.event.type != YAML_SEQUENCE_START_EVENT)
        return refuse_value(c, key);
    emit(c, "[");
    for (rc = events_step(&c->in); rc == 0 && !events_at_end(&c->in); rc = events_step(&c->in)) {
        struct value values[CONFIG_SECTION_KEYS_MAX] = {0};
        entries++;
        if (c->in.event.type != YAML_MAPPING_START_EVENT) {
            config_entry_expected(key, expected, sizeof(expected));
            rc = refuse(c, key->name, expected);
        } else {
            rc = check_keys(c, key->keys, key->entry, values);
            if (key->keys == config_space) {
                rule_geometry(c, values);
                rule_unique(c, values);
            } else {
                remember_node(c, values);
            }
        }
        if (rc != 0)
            return rc;
        emit(c, ", ");
    }
    if (rc != 0)
        return rc;
    emit(c, "]");
    config_expected(key, expected, sizeof(expected));
    if (key->keys == config_member)
        c->cluster.place = v->place;
    if (entries < key->entries_min || entries > key->entries_max)
        events_fault(&c->in, v->place, "%u entries in %s; expected %s", entries, key->name,
                     expected);
    return 0;
}

static int check_section(struct check *c, const struct config_key *key)
{
    struct value values[CONFIG_SECTION_KEYS_MAX] = {0};
    if (c->in.event.type != YAML_MAPPING_START_EVENT)
        return refuse_value(c, key);
    int rc = check_keys(c, key->keys, key->name, values);
    if (rc == 0 && key->keys == config_lcores)
        rule_lcores(c, values);
    if (rc == 0 && key->keys == config_dpdk_keys && values[CONFIG_DPDK_MTU].good) {
        c->cluster.mtu = values[CONFIG_DPDK_MTU].number;
        c->cluster.mtu_place = values[CONFIG_DPDK_MTU].place;
    }
    if (rc == 0 && key->keys == config_cluster_keys)
        remember_transport(c, values);
    if (rc == 0 && key->keys == config_node_keys && values[CONFIG_NODE_ID].good)
        c->cluster.own_id = values[CONFIG_NODE_ID].number;
    return rc;
}

/* The value's first event is at hand; its last one will be. */
static int check_value(struct check *c, const struct config_key *key, struct value *v)
{
    v->place = here(c);
    switch (key->kind) {
    case CONFIG_SECTION:
        return check_section(c, key);
    case CONFIG_ENTRIES:
        return check_entries(c, key, v);
    case CONFIG_CPUS:
        return check_list(c, key, v);
    case CONFIG_ACCESS:
        return check_access(c, key, v);
    default:
        return check_scalar(c, key, v);
    }
}

/* Stream start, one document with a mapping, stream end. */
static int check_stream(struct check *c)
{
    struct value values[CONFIG_SECTION_KEYS_MAX] = {0};
    int rc = events_step(&c->in);
    if (rc == 0)
        rc = events_step(&c->in);
    if (rc != 0)
        return rc;
    if (c->in.event.type == YAML_STREAM_END_EVENT) {
        events_fault(&c->in, (struct events_place){0, 0},
                     "an empty file; expected a configuration");
        return -EINVAL;
    }
    rc = events_step(&c->in);
    if (rc == 0)
        rc = c->in.event.type == YAML_MAPPING_START_EVENT
                 ? check_keys(c, config_root, "the file", values)
                 : refuse(c, "the file", "a mapping of keys");
    if (rc == 0)
        config_cluster_rules(&c->in, &c->cluster);
    for (int i = 0; rc == 0 && i < 2; i++) /* ends of the document and of the stream */
        rc = events_step(&c->in);
    if (rc == 0 && c->in.event.type != YAML_STREAM_END_EVENT) {
        events_fault(&c->in, here(c), "a second document; expected one");
        return -EINVAL;
    }
    return rc;
}

int config_check(const char *name, const uint8_t *bytes, size_t size, FILE *errors,
                 struct config_text *canonical)
{
    struct check *c = calloc(1, sizeof(*c));
    int rc = c == NULL ? -ENOMEM : events_open(&c->in, bytes, size);
    if (rc == 0) {
        c->out = canonical;
        c->cluster.lcore_count = 1;
        rc = check_stream(c);
        events_close(&c->in);
        events_report(&c->in, name, errors);
        rc = rc == 0 && c->in.fault_count != 0 ? -EINVAL : rc;
    }
    if (rc == -ENOMEM)
        events_report_file(errors, name, "no memory to read it", "more memory");
    free(c);
    return rc;
}
