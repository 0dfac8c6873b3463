#include "tests/sim/control_records.h"

#include "tests/sim/control_world.h"

#include <stdlib.h>
#include <string.h>

uint8_t *control_copy(const void *bytes, size_t length)
{
    uint8_t *own = malloc(length + 1);
    ASSERT(own != NULL);
    if (length != 0)
        memcpy(own, bytes, length);
    return own;
}

static void truncate_at(struct control_store *s, raft_index index)
{
    while (s->count != 0 && s->first + s->count > index)
        free(s->entries[--s->count].bytes);
}

static void forget(struct control_store *s, raft_index index)
{
    size_t gone = 0;
    while (gone < s->count && s->first + gone <= index)
        free(s->entries[gone++].bytes);
    s->count -= gone;
    s->first += gone;
    memmove(s->entries, s->entries + gone, s->count * sizeof s->entries[0]);
}

void control_log_reset(struct control_store *s, raft_index index)
{
    truncate_at(s, 0);
    s->first = index;
}

void control_entry_add(struct control_store *s, const struct store_entry *e)
{
    if (s->count == s->room) {
        s->room = s->room != 0 ? 2 * s->room : 64;
        s->entries = realloc(s->entries, s->room * sizeof s->entries[0]);
        ASSERT(s->entries != NULL);
    }
    s->entries[s->count++] = *e;
}

/* What the record holds is the store's. */
static void record_apply(struct control_store *s, const struct record *r)
{
    switch (r->kind) {
    case RECORD_ENTRY:
        control_entry_add(s, &r->entry);
        return;
    case RECORD_TRUNCATE:
        truncate_at(s, r->index);
        return;
    case RECORD_SNAPSHOT:
        free(s->snapshot.bytes);
        s->snapshot = r->snapshot;
        return;
    case RECORD_RESET:
        control_log_reset(s, r->index);
        return;
    default:
        forget(s, r->index);
    }
}

/* So many of them get to the disk, the rest does not. */
uint32_t control_records_apply(struct control_store *s, struct record *list, uint32_t count)
{
    uint32_t lost = 0;
    while (list != NULL) {
        struct record *next = list->next;
        if (count != 0) {
            record_apply(s, list);
            count--;
        } else {
            free(list->entry.bytes);
            free(list->snapshot.bytes);
            lost++;
        }
        free(list);
        list = next;
    }
    return lost;
}

uint32_t control_records_count(const struct record *list)
{
    uint32_t count = 0;
    for (; list != NULL; list = list->next)
        count++;
    return count;
}

struct control_store *control_store_make(void)
{
    struct control_store *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->first = 1;
    return s;
}

void control_store_free(struct control_store *s)
{
    if (s == NULL)
        return;
    truncate_at(s, 0);
    free(s->entries);
    free(s->snapshot.bytes);
    free(s);
}

struct record **control_record_add(struct record **at, const struct record *model)
{
    *at = malloc(sizeof **at);
    ASSERT(*at != NULL);
    **at = *model;
    (*at)->next = NULL;
    return &(*at)->next;
}
