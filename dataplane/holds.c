#include "dataplane/holds.h"

#include <string.h>

void holds_init(struct holds *h, uint32_t *memory, uint32_t frame_count)
{
    memset(memory, 0, frame_count * sizeof *memory);
    *h = (struct holds){.counts = memory, .frame_count = frame_count};
}

void hold_add(struct holds *h, uint32_t frame)
{
    ASSERT(frame < h->frame_count && h->counts[frame] != UINT32_MAX);
    h->counts[frame]++;
    h->total++;
}

void hold_sub(struct holds *h, uint32_t frame)
{
    ASSERT(frame < h->frame_count && h->counts[frame] != 0);
    h->counts[frame]--;
    h->total--;
}

bool hold_is_held(const struct holds *h, uint32_t frame)
{
    ASSERT(frame < h->frame_count);
    return h->counts[frame] != 0;
}
