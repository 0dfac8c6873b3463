/* What --chaos asks for.  See fleet_chaos.h. */
#include "bench/fleet_chaos.h"

#include <stdlib.h>
#include <string.h>

static bool seconds_read(const char **at, uint64_t *ns)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    unsigned long seconds = strtoul(*at, &end, 10);
    *at = end;
    *ns = seconds * NS_PER_S;
    return seconds <= FLEET_CHAOS_SECONDS_MAX;
}

static bool word_read(const char **at, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool event_read(const char **at, struct fleet_chaos_event *e)
{
    *e = (struct fleet_chaos_event){0};
    if (word_read(at, "freeze:")) {
        e->kind = FLEET_CHAOS_FREEZE;
        return seconds_read(at, &e->from_ns) && word_read(at, "-") &&
               seconds_read(at, &e->until_ns) && word_read(at, "s") && e->from_ns < e->until_ns;
    }
    if (word_read(at, "kill-leader:"))
        e->kind = FLEET_CHAOS_KILL_LEADER;
    else if (word_read(at, "partition:"))
        e->kind = FLEET_CHAOS_PARTITION;
    else if (word_read(at, "move:"))
        e->kind = FLEET_CHAOS_MOVE;
    else if (word_read(at, "add-node:"))
        e->kind = FLEET_CHAOS_ADD;
    else if (word_read(at, "remove-node:"))
        e->kind = FLEET_CHAOS_REMOVE;
    else
        return false;
    return seconds_read(at, &e->from_ns) && word_read(at, "s") && e->from_ns != 0;
}

static bool overlaps_one_before(const struct fleet_chaos *c)
{
    const struct fleet_chaos_event *last = &c->events[c->event_count - 1];
    for (uint32_t i = 0; i + 1 < c->event_count; i++)
        if (c->events[i].kind == last->kind &&
            (last->kind != FLEET_CHAOS_FREEZE ||
             (last->from_ns < c->events[i].until_ns && c->events[i].from_ns < last->until_ns)))
            return true;
    return false;
}

int fleet_chaos_parse(const char *text, struct fleet_chaos *chaos)
{
    *chaos = (struct fleet_chaos){0};
    for (const char *at = text;;) {
        if (chaos->event_count == FLEET_CHAOS_EVENTS ||
            !event_read(&at, &chaos->events[chaos->event_count++]) || overlaps_one_before(chaos))
            return -EINVAL;
        if (*at == '\0')
            return 0;
        if (!word_read(&at, ","))
            return -EINVAL;
    }
}
