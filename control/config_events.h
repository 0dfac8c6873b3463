/* config_events - libyaml's events one by one, and the list of faults found on the way.
 *
 * A cursor over the bytes of one file: `event` is the one at hand, events_step takes the next.  It
 * refuses by itself what is YAML and still not for us: anchors, aliases, tags, depth beyond
 * CONFIG_DEPTH_MAX.  Faults are kept and reported at the end, sorted by place, since what concerns
 * a whole mapping is found last and people read from the top.  Internal to config. */
#ifndef DUNLIN_CONTROL_CONFIG_EVENTS_H
#define DUNLIN_CONTROL_CONFIG_EVENTS_H

#include "control/config.h"

#include <yaml.h>

#define EVENTS_EXPECTED_BYTES 512u
#define EVENTS_QUOTE_SOURCE_BYTES 48u /* of what was found, so much is shown */
#define EVENTS_QUOTE_BYTES (4 * EVENTS_QUOTE_SOURCE_BYTES + 8)
#define EVENTS_FAULT_BYTES (EVENTS_EXPECTED_BYTES + EVENTS_QUOTE_BYTES + 128)

struct events_place {
    size_t line, column; /* from 1; 0: the file as a whole */
};

struct events_fault {
    struct events_place at;
    char text[EVENTS_FAULT_BYTES];
};

struct events {
    const uint8_t *bytes;
    size_t size;
    yaml_parser_t parser;
    yaml_event_t event;
    uint32_t depth, fault_count;
    struct events_fault faults[CONFIG_FAULTS_MAX];
};

/* e is zeroed memory; bytes must outlive it.  Returns 0 or -ENOMEM, with nothing to close. */
MUST_USE int events_open(struct events *e, const uint8_t *bytes, size_t size);
void events_close(struct events *e);

/* Take the next event.  Returns 0 or, to end the pass,
 *   -EINVAL  not YAML, too deep, or CONFIG_FAULTS_MAX reached: it is among the faults
 *   -ENOMEM. */
MUST_USE int events_step(struct events *e);
/* From the first event of a node to its last one; a scalar is both.  As events_step. */
MUST_USE int events_skip(struct events *e);

static inline bool events_at_start(const struct events *e)
{
    return e->event.type == YAML_MAPPING_START_EVENT || e->event.type == YAML_SEQUENCE_START_EVENT;
}
static inline bool events_at_end(const struct events *e)
{
    return e->event.type == YAML_MAPPING_END_EVENT || e->event.type == YAML_SEQUENCE_END_EVENT;
}

/* Where the event at hand begins. */
struct events_place events_here(const struct events *e);

/* Remember a fault.  Format says both halves: "found; expected what". */
__attribute__((format(printf, 3, 4))) void events_fault(struct events *e, struct events_place at,
                                                        const char *format, ...);
/* Bytes of the file as they may stand in a line: cut, what is not printable ASCII as \xNN. */
const char *events_quote(char out[EVENTS_QUOTE_BYTES], const void *text, size_t size);

/* All faults, a line each; name stands for FILE. */
void events_report(const struct events *e, const char *name, FILE *errors);

/* One line on errors about the file as a whole. */
void events_report_file(FILE *errors, const char *name, const char *found, const char *expected);

#endif
