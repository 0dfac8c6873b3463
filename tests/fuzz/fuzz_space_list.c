/* Any bytes as a list of spaces: refused, or one that could have been made, with the same bytes again.  And
 * whatever it says, what is asked of it next leaves one that could have been made, too. */
#include "control/space_list.h"
#include "engine/base.h"
#include "engine/checksum.h"

#include <stdlib.h>
#include <string.h>

static void require_whole(const struct space_list *l)
{
    static struct space_list again;
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    ASSERT(space_list_fault(l) == NULL);
    uint32_t length = space_list_encode(l, bytes);
    ASSERT(length <= sizeof bytes);
    ASSERT(space_list_decode(&again, bytes, length) == 0);
    ASSERT(memcmp(l, &again, sizeof again) == 0);
}

static void require_changes(struct space_list *l)
{
    struct space_config config;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct space_entry *e = space_list_at(l, id);
        if (e == NULL)
            continue;
        config = e->config;
        config.history = config.history % LIMIT_VERSION_WALK + 1;
        bool dropping = e->state == SPACE_DROPPING;
        int altered = space_list_alter(l, &config);
        ASSERT(dropping ? altered == -ENOENT : altered == 0 || l->number >= INT64_MAX);
        (void)space_list_serve(l, id);
        ASSERT(dropping ? space_list_drop(l, id) == -ENOENT
                        : space_list_drop(l, id) == 0 || l->number >= INT64_MAX);
        if (id % 2 == 0)
            (void)space_list_forget(l, id);
        ASSERT(space_list_fault(l) == NULL);
    }
    memset(&config, 0, sizeof config);
    space_config_default(&config);
    memcpy(config.name, "another", 8);
    int id = space_list_create(l, &config, 1, 1);
    ASSERT(id < 0 || (id > 1 && space_list_find(l, "another")->config.id == (uint32_t)id));
    ASSERT(space_list_fault(l) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct space_list list;
    uint8_t *bytes = malloc(size + 1); /* its own, so that a read behind the end is seen */
    ASSERT(bytes != NULL);
    if (size != 0)
        memcpy(bytes, data, size);
    /* Or no input would get past it. */
    if (size > 4 && data[size - 1] % 2 == 0) {
        uint32_t sum = checksum(0, bytes, size - 4);
        for (uint32_t i = 0; i < 4; i++)
            bytes[size - 4 + i] = (uint8_t)(sum >> (8 * i));
    }
    int error = space_list_decode(&list, bytes, size);
    ASSERT(error == 0 || error == -EBADMSG);
    free(bytes);
    if (error != 0)
        return 0;
    require_whole(&list);
    require_changes(&list);
    return 0;
}
