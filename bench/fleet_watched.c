#include "bench/fleet_watched.h"

#include <stdlib.h>

#define ROOM_AT_FIRST 16u

/* Where the key is, or would be.  Room is a power of two and never full. */
static uint32_t place(const struct fleet_watched_key *keys, uint32_t room, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (room - 1);
    while (keys[at].lsn != 0 && keys[at].hash != hash)
        at = (at + 1) & (room - 1);
    return at;
}

static int grow(struct fleet_watched *w)
{
    uint32_t room = w->room == 0 ? ROOM_AT_FIRST : w->room * 2;
    struct fleet_watched_key *keys = calloc(room, sizeof(*keys));
    if (keys == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->room; i++)
        if (w->keys[i].lsn != 0)
            keys[place(keys, room, w->keys[i].hash)] = w->keys[i];
    free(w->keys);
    w->keys = keys;
    w->room = room;
    return 0;
}

/* Free a place, and move up what would not be found any more. */
static void take_out(struct fleet_watched *w, uint32_t at)
{
    uint32_t mask = w->room - 1;
    for (uint32_t next = (at + 1) & mask; w->keys[next].lsn != 0; next = (next + 1) & mask) {
        uint32_t home = (uint32_t)w->keys[next].hash & mask;
        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        w->keys[at] = w->keys[next];
        at = next;
    }
    w->keys[at].lsn = 0;
    w->count--;
}

static int omitted(struct fleet_omission *o, enum fleet_finding finding, uint64_t expected,
                   uint64_t found)
{
    *o = (struct fleet_omission){expected, found, UINT64_MAX};
    return (int)finding;
}

/* What comes next of a key; known NULL: its first. */
static int follows(const struct fleet_watched *w, const struct fleet_watched_key *known,
                   const struct fleet_event *e, struct fleet_omission *o)
{
    bool begins = known == NULL;
    if (!begins && known->log == e->log && e->lsn <= known->lsn)
        return omitted(o, FLEET_FINDING_WATCH_VERSION, known->lsn, e->lsn);
    if (e->is_delete || (begins && w->lsn_lagged != 0))
        return 0;
    uint64_t expected = begins ? 0 : e->is_sector ? known->lsn : known->number;
    uint64_t found = e->is_sector ? e->lsn_before : e->number - 1;
    if (found == expected)
        return 0;
    int finding = omitted(o, FLEET_FINDING_WATCH_SKIPPED, expected, found);
    if (!e->is_sector && found > expected)
        o->missing = found - expected;
    return finding;
}

int fleet_watched_take(struct fleet_watched *w, const struct fleet_event *e,
                       struct fleet_omission *omission)
{
    if (2 * (w->count + 1) > w->room && grow(w) != 0)
        return -ENOMEM;
    uint32_t at = place(w->keys, w->room, e->hash);
    struct fleet_watched_key *key = &w->keys[at];
    bool is_known = key->lsn != 0;
    int finding = follows(w, is_known ? key : NULL, e, omission);
    if (finding == FLEET_FINDING_WATCH_VERSION)
        return finding; /* the newer one stays */
    if (e->is_delete) {
        if (is_known)
            take_out(w, at);
        return finding;
    }
    w->count += !is_known;
    *key = (struct fleet_watched_key){e->hash, e->log, e->lsn, e->number};
    return finding;
}

void fleet_watched_lag(struct fleet_watched *w, uint64_t log, uint64_t lsn)
{
    w->lsn_lagged = max_u64(w->lsn_lagged, lsn);
    /* Why the same place again: another key may have moved up into it.  One that moves from the front of
     * the table to its end is met once more or was met already. */
    for (uint32_t i = 0; i < w->room;) {
        if (w->keys[i].lsn != 0 && w->keys[i].log == log)
            take_out(w, i);
        else
            i++;
    }
}

const struct fleet_watched_key *fleet_watched_find(const struct fleet_watched *w, uint64_t hash)
{
    if (w->room == 0)
        return NULL;
    const struct fleet_watched_key *key = &w->keys[place(w->keys, w->room, hash)];
    return key->lsn != 0 ? key : NULL;
}

int fleet_watched_judge(const struct fleet_watched *w, uint64_t hash, uint64_t lsn,
                        struct fleet_omission *omission)
{
    const struct fleet_watched_key *key = fleet_watched_find(w, hash);
    if (key == NULL)
        return lsn < w->lsn_lagged ? 0 : omitted(omission, FLEET_FINDING_WATCH_MISSED, lsn, 0);
    return key->lsn == lsn ? 0 : omitted(omission, FLEET_FINDING_WATCH_MISSED, lsn, key->lsn);
}

void fleet_watched_free(struct fleet_watched *w)
{
    free(w->keys);
    *w = (struct fleet_watched){0};
}
