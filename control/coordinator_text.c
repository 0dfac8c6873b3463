/* The bytes of the coordinator's file: a state as JSON, and back.
 *
 *   {"format":"dunlin coordinator 1","revision":7,"cluster":"<hex>","origin":N,"spaces":"<hex>",
 *    "nodes":[{"id":1,"start":N,"since":0},...],
 *    "shards":[{"log":65536,"epoch":N,"active":true,"before":N,"leader":[1,start],
 *               "voters":[[1,start],...],"voters_before":[[1,start],...],"move":0},...]}
 *
 * Hexadecimal: what may have 64 bits.  Every name must be there, and no other: a later format has another
 * name.  But for two, which stand there when they are not 0: "ceiling" behind "origin", and of a lossy epoch
 * "floor" behind "before"; a daemon that does not know them refuses the file, which is what it should do. */
#include "control/coordinator_store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "dunlin coordinator 1"
#define HEX_DIGITS 16u

/* ---- bytes to a state ---- */

__attribute__((format(printf, 2, 3))) static int fault_say(struct coordinator_fault *fault,
                                                           const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(fault->text, sizeof(fault->text), format, list);
    va_end(list);
    return -EBADMSG;
}

static bool hex_read(const char *text, uint64_t *value)
{
    *value = 0;
    if (strlen(text) != HEX_DIGITS || strspn(text, "0123456789abcdef") != HEX_DIGITS)
        return false;
    *value = strtoull(text, NULL, 16);
    return true;
}

/* A whole number from 0 to max. */
static bool number_read(const json_t *value, uint64_t max, uint64_t *number)
{
    json_int_t n = json_integer_value(value);
    *number = (uint64_t)n;
    return json_is_integer(value) && n >= 0 && (uint64_t)n <= max;
}

static bool number_read_32(const json_t *value, uint32_t *number)
{
    uint64_t wide;
    bool is = number_read(value, UINT32_MAX, &wide);
    *number = (uint32_t)wide;
    return is;
}

static bool member_read(const json_t *pair, struct member *m)
{
    *m = (struct member){0};
    return json_array_size(pair) == 2 && number_read_32(json_array_get(pair, 0), &m->node) &&
           number_read(json_array_get(pair, 1), COORDINATOR_START_MAX, &m->incarnation);
}

static bool members_read(const json_t *list, struct member *members, uint32_t *count)
{
    size_t size = json_array_size(list);
    if (!json_is_array(list) || size > LIMIT_VOTERS)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!member_read(json_array_get(list, i), &members[i]))
            return false;
    *count = (uint32_t)size;
    return true;
}

static const char *node_read(json_t *object, struct coordinator_node *n)
{
    if (json_object_size(object) != 3)
        return "names other than id, start, since";
    if (!number_read_32(json_object_get(object, "id"), &n->id))
        return "id";
    if (!number_read(json_object_get(object, "start"), COORDINATOR_START_MAX, &n->start))
        return "start";
    if (!number_read(json_object_get(object, "since"), COORDINATOR_NUMBER_MAX, &n->since))
        return "since";
    return NULL;
}

/* One that need not be there. */
static bool extra_read(const json_t *object, const char *name, size_t *names, uint64_t *number)
{
    const json_t *value = json_object_get(object, name);
    *number = 0;
    *names += value != NULL;
    return value == NULL || (number_read(value, INT64_MAX, number) && *number != 0);
}

static const char *shard_read(json_t *object, struct coordinator_shard *s)
{
    struct configuration *c = &s->configuration;
    const json_t *active = json_object_get(object, "active");
    size_t names = 8;
    if (!extra_read(object, "floor", &names, &c->lsn_floor))
        return "floor";
    c->lossy = c->lsn_floor != 0;
    if (json_object_size(object) != names)
        return "names other than those of a shard";
    if (!number_read_32(json_object_get(object, "log"), &s->log))
        return "log";
    if (!number_read(json_object_get(object, "epoch"), COORDINATOR_NUMBER_MAX, &c->epoch))
        return "epoch";
    if (!number_read(json_object_get(object, "before"), COORDINATOR_NUMBER_MAX, &c->epoch_before))
        return "before";
    if (!json_is_boolean(active))
        return "active";
    c->active = json_is_true(active);
    if (!member_read(json_object_get(object, "leader"), &c->leader))
        return "leader";
    if (!members_read(json_object_get(object, "voters"), c->voters, &c->voter_count))
        return "voters";
    if (!members_read(json_object_get(object, "voters_before"), c->voters_before,
                      &c->voter_before_count))
        return "voters_before";
    return number_read_32(json_object_get(object, "move"), &s->move) ? NULL : "move";
}

static int nodes_read(const json_t *nodes, struct coordinator_state *s,
                      struct coordinator_fault *fault)
{
    if (json_array_size(nodes) > LIMIT_VOTERS)
        return fault_say(fault, "more than %u nodes", LIMIT_VOTERS);
    s->node_count = (uint32_t)json_array_size(nodes);
    for (uint32_t i = 0; i < s->node_count; i++) {
        const char *what = node_read(json_array_get(nodes, i), &s->nodes[i]);
        if (what != NULL)
            return fault_say(fault, "nodes[%u]: %s", i, what);
    }
    return 0;
}

static int shards_read(const json_t *shards, struct coordinator_state *s,
                       struct coordinator_fault *fault)
{
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const char *what = shard_read(json_array_get(shards, i), &s->shards[i]);
        if (what != NULL)
            return fault_say(fault, "shards[%u]: %s", i, what);
    }
    return 0;
}

static int head_read(json_t *head, struct coordinator_state *s, struct coordinator_fault *fault)
{
    const char *cluster = json_string_value(json_object_get(head, "cluster"));
    const char *spaces = json_string_value(json_object_get(head, "spaces"));
    if (cluster == NULL || !hex_read(cluster, &s->cluster))
        return fault_say(fault, "cluster");
    if (spaces == NULL || !hex_read(spaces, &s->spaces))
        return fault_say(fault, "spaces");
    if (!number_read(json_object_get(head, "revision"), COORDINATOR_NUMBER_MAX, &s->revision))
        return fault_say(fault, "revision");
    if (!number_read(json_object_get(head, "origin"), INT64_MAX, &s->origin))
        return fault_say(fault, "origin");
    return 0;
}

/* Returns how many names there are to be; 0: one of them is at fault. */
static size_t head_extras_read(const json_t *head, struct coordinator_state *s)
{
    size_t names = 7;
    return extra_read(head, "ceiling", &names, &s->lsn_ceiling) ? names : 0;
}

static int state_read(json_t *head, struct coordinator_state **state,
                      struct coordinator_fault *fault)
{
    const char *format = json_string_value(json_object_get(head, "format"));
    const json_t *nodes = json_object_get(head, "nodes"), *shards = json_object_get(head, "shards");
    if (format == NULL || strcmp(format, FORMAT) != 0)
        return fault_say(fault, "format is not \"%s\"", FORMAT);
    if (!json_is_array(nodes) || !json_is_array(shards))
        return fault_say(fault, "names other than those of a coordinator's file");
    if (json_array_size(shards) > COORDINATOR_SHARDS_MAX)
        return fault_say(fault, "more than %u shards", COORDINATOR_SHARDS_MAX);
    uint32_t shard_count = (uint32_t)json_array_size(shards);
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(shard_count));
    if (s == NULL)
        return -ENOMEM;
    s->shard_count = shard_count;
    int error = json_object_size(head) == head_extras_read(head, s)
                    ? head_read(head, s, fault)
                    : fault_say(fault, "names other than those of a coordinator's file");
    if (error == 0)
        error = nodes_read(nodes, s, fault);
    if (error == 0)
        error = shards_read(shards, s, fault);
    const char *wrong = error == 0 ? coordinator_state_fault(s) : NULL;
    if (wrong != NULL)
        error = fault_say(fault, "impossible: %s", wrong);
    if (error == 0)
        *state = s;
    else
        free(s);
    return error;
}

int coordinator_parse(const char *bytes, size_t length, struct coordinator_state **s,
                      struct coordinator_fault *fault)
{
    json_error_t error;
    json_t *head = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &error);
    if (head == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return -ENOMEM;
        return fault_say(fault, "line %d column %d: %s", error.line, error.column, error.text);
    }
    int rc = state_read(head, s, fault);
    json_decref(head);
    return rc;
}

/* ---- a state to bytes ---- */

/* Why not by jansson: made as a tree of values first, the file of a thousand shards takes half the time
 * of an activation; and one shard a line is for people. */
struct text {
    char *bytes; /* room for all that can come */
    size_t length;
};

#define NUMBER_DIGITS ((size_t)20)
#define MEMBER_BYTES (2 * NUMBER_DIGITS + 4)
#define HEAD_BYTES (512 + LIMIT_VOTERS * (3 * NUMBER_DIGITS + 32))
#define SHARD_BYTES (5 * NUMBER_DIGITS + 128 + MEMBER_BYTES + 2 * (LIMIT_VOTERS * MEMBER_BYTES))

static void add(struct text *t, const char *words)
{
    size_t length = strlen(words);
    memcpy(t->bytes + t->length, words, length);
    t->length += length;
}

static void add_number(struct text *t, const char *before, uint64_t value)
{
    char digits[NUMBER_DIGITS + 1];
    size_t at = NUMBER_DIGITS;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    add(t, before);
    add(t, digits + at);
}

static void add_hex(struct text *t, const char *before, uint64_t value)
{
    char digits[HEX_DIGITS + 1];
    (void)snprintf(digits, sizeof(digits), "%016" PRIx64, value);
    add(t, before);
    add(t, digits);
}

static void add_member(struct text *t, const struct member *m)
{
    add_number(t, "[", m->node);
    add_number(t, ",", m->incarnation);
    add(t, "]");
}

static void add_members(struct text *t, const struct member *members, uint32_t count)
{
    add(t, "[");
    for (uint32_t i = 0; i < count; i++) {
        add(t, i != 0 ? "," : "");
        add_member(t, &members[i]);
    }
    add(t, "]");
}

static void add_shard(struct text *t, const struct coordinator_shard *s)
{
    const struct configuration *c = &s->configuration;
    add_number(t, "{\"log\":", s->log);
    add_number(t, ",\"epoch\":", c->epoch);
    add(t, c->active ? ",\"active\":true" : ",\"active\":false");
    add_number(t, ",\"before\":", c->epoch_before);
    if (c->lossy)
        add_number(t, ",\"floor\":", c->lsn_floor);
    add(t, ",\"leader\":");
    add_member(t, &c->leader);
    add(t, ",\"voters\":");
    add_members(t, c->voters, c->voter_count);
    add(t, ",\"voters_before\":");
    add_members(t, c->voters_before, c->voter_before_count);
    add_number(t, ",\"move\":", s->move);
    add(t, "}");
}

static void add_head(struct text *t, const struct coordinator_state *s)
{
    add(t, "{\"format\":\"" FORMAT "\"");
    add_number(t, ",\"revision\":", s->revision);
    add_hex(t, ",\"cluster\":\"", s->cluster);
    add_number(t, "\",\"origin\":", s->origin);
    if (s->lsn_ceiling != 0)
        add_number(t, ",\"ceiling\":", s->lsn_ceiling);
    add_hex(t, ",\"spaces\":\"", s->spaces);
    add(t, "\",\n\"nodes\":[");
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        add_number(t, i != 0 ? ",{\"id\":" : "{\"id\":", n->id);
        add_number(t, ",\"start\":", n->start);
        add_number(t, ",\"since\":", n->since);
        add(t, "}");
    }
    add(t, "],\n\"shards\":[");
}

int coordinator_print(const struct coordinator_state *s, char **bytes, size_t *length)
{
    size_t room = HEAD_BYTES + s->shard_count * SHARD_BYTES;
    struct text t = {.bytes = malloc(room + 1)};
    if (t.bytes == NULL)
        return -ENOMEM;
    add_head(&t, s);
    for (uint32_t i = 0; i < s->shard_count; i++) {
        add(&t, i != 0 ? ",\n" : "\n");
        add_shard(&t, &s->shards[i]);
    }
    add(&t, "]}\n");
    ASSERT(t.length <= room);
    t.bytes[t.length] = 0;
    *bytes = t.bytes;
    *length = t.length;
    return 0;
}
