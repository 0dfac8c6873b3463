#include "control/config_events.h"

#include <stdarg.h>
#include <string.h>

/* Why: a line is a line, whatever stands in the file or its name. */
const char *events_quote(char out[EVENTS_QUOTE_BYTES], const void *text, size_t size)
{
    const unsigned char *bytes = text;
    size_t used = 0;
    for (size_t i = 0; i < size && i < EVENTS_QUOTE_SOURCE_BYTES; i++) {
        bool plain = bytes[i] >= ' ' && bytes[i] <= '~';
        used += (size_t)snprintf(out + used, EVENTS_QUOTE_BYTES - used, plain ? "%c" : "\\x%02x",
                                 bytes[i]);
    }
    (void)snprintf(out + used, EVENTS_QUOTE_BYTES - used, "%s",
                   size > EVENTS_QUOTE_SOURCE_BYTES ? "..." : "");
    return out;
}

static void report_place(FILE *errors, const char *name, struct events_place at)
{
    for (const char *p = name; *p != '\0'; p++)
        (void)fputc((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p, errors);
    (void)fprintf(errors, ":%zu:%zu: ", at.line, at.column);
}

void events_report_file(FILE *errors, const char *name, const char *found, const char *expected)
{
    report_place(errors, name, (struct events_place){0, 0});
    (void)fprintf(errors, "%s; expected %s\n", found, expected);
}

/* Past the limit the pass ends at the next events_step(). */
void events_fault(struct events *e, struct events_place at, const char *format, ...)
{
    if (e->fault_count == CONFIG_FAULTS_MAX)
        return;
    struct events_fault *f = &e->faults[e->fault_count++];
    va_list arguments;
    va_start(arguments, format);
    f->at = at;
    (void)vsnprintf(f->text, sizeof(f->text), format, arguments);
    va_end(arguments);
}

static bool comes_before(const struct events_fault *a, const struct events_fault *b)
{
    return a->at.line != b->at.line ? a->at.line < b->at.line : a->at.column < b->at.column;
}

/* Sorted by insertion, which keeps the order of faults of one place. */
void events_report(const struct events *e, const char *name, FILE *errors)
{
    uint32_t order[CONFIG_FAULTS_MAX] = {0};
    for (uint32_t i = 0; i < e->fault_count; i++) {
        uint32_t j = i;
        for (; j > 0 && comes_before(&e->faults[i], &e->faults[order[j - 1]]); j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    for (uint32_t i = 0; i < e->fault_count; i++) {
        report_place(errors, name, e->faults[order[i]].at);
        (void)fprintf(errors, "%s\n", e->faults[order[i]].text);
    }
    if (e->fault_count == CONFIG_FAULTS_MAX)
        events_report_file(errors, name, "so many faults that the rest is not shown", "none");
}

static struct events_place place_of(yaml_mark_t mark)
{
    return (struct events_place){mark.line + 1, mark.column + 1};
}

struct events_place events_here(const struct events *e)
{
    return place_of(e->event.start_mark);
}

/* libyaml gives a byte offset only for what it cannot even read as characters. */
static struct events_place place_of_byte(const struct events *e, size_t offset)
{
    struct events_place at = {1, 1};
    for (size_t i = 0; i < offset && i < e->size; i++) {
        bool continues = (e->bytes[i] & 0xc0) == 0x80;
        at = e->bytes[i] == '\n' ? (struct events_place){at.line + 1, 1}
                                 : (struct events_place){at.line, at.column + (continues ? 0 : 1)};
    }
    return at;
}

static int broken(struct events *e)
{
    const yaml_parser_t *p = &e->parser;
    const char *problem = p->problem != NULL ? p->problem : "unreadable";
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (p->error == YAML_READER_ERROR && p->problem_value >= 0)
        events_fault(e, place_of_byte(e, p->problem_offset), "%s (0x%02x); expected text in UTF-8",
                     problem, (unsigned)p->problem_value);
    else if (p->error == YAML_READER_ERROR)
        events_fault(e, place_of_byte(e, p->problem_offset), "%s; expected text in UTF-8", problem);
    else
        events_fault(e, place_of(p->problem_mark), "%s%s%s; expected YAML", problem,
                     p->context != NULL ? " " : "", p->context != NULL ? p->context : "");
    return -EINVAL;
}

static const yaml_char_t *anchor_of(const yaml_event_t *e)
{
    return e->type == YAML_SCALAR_EVENT           ? e->data.scalar.anchor
           : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
           : e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.anchor
           : e->type == YAML_ALIAS_EVENT          ? e->data.alias.anchor
                                                  : NULL;
}

static const yaml_char_t *tag_of(const yaml_event_t *e)
{
    return e->type == YAML_SCALAR_EVENT           ? e->data.scalar.tag
           : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.tag
           : e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.tag
                                                  : NULL;
}

/* YAML that is well formed and still not for us. */
static void refuse_decorations(struct events *e)
{
    char quoted[EVENTS_QUOTE_BYTES];
    const char *anchor = (const char *)anchor_of(&e->event);
    const char *tag = (const char *)tag_of(&e->event);
    if (anchor != NULL)
        events_fault(e, events_here(e),
                     "%s '%s'; expected the value itself: no anchors or aliases here",
                     e->event.type == YAML_ALIAS_EVENT ? "alias" : "anchor",
                     events_quote(quoted, anchor, strlen(anchor)));
    if (tag != NULL)
        events_fault(e, events_here(e), "tag '%s'; expected the value alone: no tags here",
                     events_quote(quoted, tag, strlen(tag)));
}

int events_step(struct events *e)
{
    if (e->fault_count == CONFIG_FAULTS_MAX)
        return -EINVAL;
    yaml_event_delete(&e->event);
    if (!yaml_parser_parse(&e->parser, &e->event))
        return broken(e);
    e->depth += events_at_start(e) ? 1 : 0;
    e->depth -= events_at_end(e) ? 1 : 0;
    if (e->depth > CONFIG_DEPTH_MAX) {
        events_fault(e, events_here(e),
                     "more than %u lists or mappings inside each other; expected fewer",
                     CONFIG_DEPTH_MAX);
        return -EINVAL;
    }
    refuse_decorations(e);
    return 0;
}

int events_skip(struct events *e)
{
    if (!events_at_start(e))
        return 0;
    uint32_t outside = e->depth - 1;
    while (e->depth != outside) {
        int rc = events_step(e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int events_open(struct events *e, const uint8_t *bytes, size_t size)
{
    size_t mark = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (!yaml_parser_initialize(&e->parser))
        return -ENOMEM;
    e->bytes = bytes + mark;
    e->size = size - mark;
    /* Why: else a byte order mark would switch to UTF-16, where places could not be told. */
    yaml_parser_set_encoding(&e->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&e->parser, e->bytes, e->size);
    return 0;
}

void events_close(struct events *e)
{
    yaml_event_delete(&e->event);
    yaml_parser_delete(&e->parser);
}
