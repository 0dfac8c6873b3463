/* The text of a state: JSON.
 *
 *   {"format":"dunlin coordinator 2","revision":7,"cluster":"<hex>","origin":N,"spaces":"<hex>","replicas":3,
 *    "nodes":[{"id":1,"weight":100,"standing":0,"zone":"","address":"","control":"","start":N,"since":0},...],
 *    "shards":[{"log":65536,"epoch":N,"active":true,"before":N,"leader":[1,start],
 *               "voters":[[1,start],...],"learners":[...],"voters_before":[...],"move":0,"promote":0},...]}
 *
 * Hexadecimal: what may have 64 bits.  Every name must be there, and no other: a later format has another
 * name.  But for four, which stand there when they are not 0: "ceiling" behind "origin", and of a lossy epoch
 * "floor" behind "before"; where spaces were made while it runs "list" behind "spaces", the bytes of
 * space_list.h in hexadecimal, and of a node "made" behind "since".  A daemon that does not know them refuses
 * the text, which is what it should do.  Words need no escapes: coordinator_word_is_valid. */
#include "control/coordinator_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "dunlin coordinator 2"
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
    if (!json_is_array(list) || size > LIMIT_VOTERS) /* of each kind: the nodes are no more */
        return false;
    for (size_t i = 0; i < size; i++)
        if (!member_read(json_array_get(list, i), &members[i]))
            return false;
    *count = (uint32_t)size;
    return true;
}

/* One that need not be there. */
static bool extra_read(const json_t *object, const char *name, size_t *names, uint64_t *number)
{
    const json_t *value = json_object_get(object, name);
    *number = 0;
    *names += value != NULL;
    return value == NULL || (number_read(value, INT64_MAX, number) && *number != 0);
}

static bool word_read(const json_t *object, const char *name, char *word, size_t bytes)
{
    const char *text = json_string_value(json_object_get(object, name));
    size_t length = text != NULL ? strlen(text) : bytes;
    if (length >= bytes)
        return false;
    memcpy(word, text, length); /* the rest is 0 */
    return true;
}

static const char *words_read(const json_t *object, struct coordinator_node *n)
{
    if (!word_read(object, "zone", n->zone, sizeof n->zone))
        return "zone";
    if (!word_read(object, "address", n->address, sizeof n->address))
        return "address";
    return word_read(object, "control", n->control, sizeof n->control) ? NULL : "control";
}

static const char *node_read(json_t *object, struct coordinator_node *n)
{
    size_t names = 8;
    if (!extra_read(object, "made", &names, &n->made))
        return "made";
    if (json_object_size(object) != names)
        return "names other than those of a node";
    if (!number_read_32(json_object_get(object, "id"), &n->id))
        return "id";
    if (!number_read_32(json_object_get(object, "weight"), &n->weight))
        return "weight";
    if (!number_read_32(json_object_get(object, "standing"), &n->standing))
        return "standing";
    if (!number_read(json_object_get(object, "start"), COORDINATOR_START_MAX, &n->start))
        return "start";
    if (!number_read(json_object_get(object, "since"), COORDINATOR_NUMBER_MAX, &n->since))
        return "since";
    return words_read(object, n);
}

static const char *shard_read(json_t *object, struct coordinator_shard *s)
{
    struct configuration *c = &s->configuration;
    const json_t *active = json_object_get(object, "active");
    size_t names = 10;
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
    if (!members_read(json_object_get(object, "learners"), c->learners, &c->learner_count))
        return "learners";
    if (!members_read(json_object_get(object, "voters_before"), c->voters_before,
                      &c->voter_before_count))
        return "voters_before";
    if (!number_read_32(json_object_get(object, "move"), &s->move))
        return "move";
    return number_read_32(json_object_get(object, "promote"), &s->promote) ? NULL : "promote";
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
    if (!number_read_32(json_object_get(head, "replicas"), &s->replicas))
        return fault_say(fault, "replicas");
    return 0;
}

static bool digit_read(char digit, uint8_t *value)
{
    bool number = digit >= '0' && digit <= '9';
    *value = (uint8_t)(number ? digit - '0' : digit - 'a' + 10);
    return number || (digit >= 'a' && digit <= 'f');
}

static bool list_read(const json_t *head, size_t *names, struct space_list *list)
{
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    const json_t *value = json_object_get(head, "list");
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    *names += value != NULL;
    if (value == NULL)
        return true;
    if (text == NULL || length % 2 != 0 || length / 2 > sizeof bytes)
        return false;
    for (size_t i = 0; i < length / 2; i++) {
        uint8_t high, low;
        if (!digit_read(text[2 * i], &high) || !digit_read(text[2 * i + 1], &low))
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return space_list_decode(list, bytes, length / 2) == 0 && list->number != 0;
}

/* Returns how many names there are to be; 0: one of them is at fault. */
static size_t head_extras_read(const json_t *head, struct coordinator_state *s)
{
    size_t names = 8;
    return extra_read(head, "ceiling", &names, &s->lsn_ceiling) && list_read(head, &names, &s->list)
               ? names
               : 0;
}

static int state_read(json_t *head, struct coordinator_state **state,
                      struct coordinator_fault *fault)
{
    const char *format = json_string_value(json_object_get(head, "format"));
    const json_t *nodes = json_object_get(head, "nodes"), *shards = json_object_get(head, "shards");
    if (format == NULL || strcmp(format, FORMAT) != 0)
        return fault_say(fault, "format is not \"%s\"", FORMAT);
    if (!json_is_array(nodes) || !json_is_array(shards))
        return fault_say(fault, "names other than those of a coordinator's state");
    if (json_array_size(shards) > COORDINATOR_SHARDS_MAX)
        return fault_say(fault, "more than %u shards", COORDINATOR_SHARDS_MAX);
    uint32_t shard_count = (uint32_t)json_array_size(shards);
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(shard_count));
    if (s == NULL)
        return -ENOMEM;
    s->shard_count = shard_count;
    int error = json_object_size(head) == head_extras_read(head, s)
                    ? head_read(head, s, fault)
                    : fault_say(fault, "names other than those of a coordinator's state");
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

/* Why not by jansson: made as a tree of values first, the text of a thousand shards takes half the time
 * of an activation; and one shard a line is for people. */
struct text {
    char *bytes; /* room for all that can come */
    size_t length;
};

#define NUMBER_DIGITS ((size_t)20)
#define MEMBER_BYTES (2 * NUMBER_DIGITS + 4)
#define HEAD_BYTES                                                                                 \
    (512 + LIMIT_VOTERS * sizeof(struct coordinator_node) +                                        \
     LIMIT_VOTERS * (6 * NUMBER_DIGITS + 100) + 2 * (size_t)SPACE_LIST_BYTES_MAX)
#define SHARD_BYTES (6 * NUMBER_DIGITS + 160 + MEMBER_BYTES + 3 * (LIMIT_VOTERS * MEMBER_BYTES))

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
    add(t, ",\"learners\":");
    add_members(t, c->learners, c->learner_count);
    add(t, ",\"voters_before\":");
    add_members(t, c->voters_before, c->voter_before_count);
    add_number(t, ",\"move\":", s->move);
    add_number(t, ",\"promote\":", s->promote);
    add(t, "}");
}

static void add_list(struct text *t, const struct space_list *list)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    uint32_t length = space_list_encode(list, bytes);
    add(t, "\",\"list\":\"");
    for (uint32_t i = 0; i < length; i++) {
        t->bytes[t->length++] = digits[bytes[i] >> 4];
        t->bytes[t->length++] = digits[bytes[i] & 15];
    }
}

static void add_word(struct text *t, const char *before, const char *word)
{
    add(t, before);
    add(t, word);
}

static void add_node(struct text *t, const struct coordinator_node *n)
{
    add_number(t, "{\"id\":", n->id);
    add_number(t, ",\"weight\":", n->weight);
    add_number(t, ",\"standing\":", n->standing);
    add_word(t, ",\"zone\":\"", n->zone);
    add_word(t, "\",\"address\":\"", n->address);
    add_word(t, "\",\"control\":\"", n->control);
    add_number(t, "\",\"start\":", n->start);
    add_number(t, ",\"since\":", n->since);
    if (n->made != 0)
        add_number(t, ",\"made\":", n->made);
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
    if (s->list.number != 0)
        add_list(t, &s->list);
    add_number(t, "\",\"replicas\":", s->replicas);
    add(t, ",\n\"nodes\":[");
    for (uint32_t i = 0; i < s->node_count; i++) {
        add(t, i != 0 ? ",\n" : "\n");
        add_node(t, &s->nodes[i]);
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
