/* Any bytes as a configuration: a struct within its limits and not a word, or faults in their form,
 * one a line.  Above all never -EPROTO: libcyaml takes what the check accepted. */
#include "control/config.h"
#include "engine/base.h"

#include <stdlib.h>
#include <string.h>

static void require_space(const struct space_config *s)
{
    struct layout_geometry geometry;
    ASSERT(memchr(s->name, '\0', sizeof(s->name)) != NULL && s->name[0] != '\0');
    ASSERT(s->id >= 1 && s->id <= LIMIT_SPACES);
    ASSERT(s->consistency == SPACE_STRONG && s->durability == SPACE_DURABILITY_NONE);
    ASSERT(space_geometry(s, &geometry) == 0);
    ASSERT(s->value_bytes_max <= LIMIT_VALUE_BYTES);
    ASSERT(s->value_bytes_max == 0 || space_value_max(s, &geometry) == s->value_bytes_max);
    ASSERT(s->read.uid_count <= LIMIT_ACCESS_RULES && s->write.uid_count <= LIMIT_ACCESS_RULES);
    ASSERT(!s->read.everyone || s->read.uid_count == 0);
    ASSERT(!s->write.everyone || s->write.uid_count == 0);
}

static void require_config(const struct config *c)
{
    ASSERT(memchr(c->node.name, '\0', sizeof(c->node.name)) != NULL && c->node.name[0] != '\0');
    ASSERT(memchr(c->socket_path, '\0', sizeof(c->socket_path)) != NULL);
    ASSERT(c->socket_path[0] == '/' && (c->socket_mode & ~0777u) == 0);
    ASSERT(c->node.id != 0);
    ASSERT(c->node.lcore_count >= 1 && c->node.lcore_count <= LIMIT_LCORES);
    ASSERT(c->cpu_count == 0 || c->cpu_count == c->node.lcore_count);
    ASSERT(c->space_count >= 1 && c->space_count <= LIMIT_SPACES);
    for (uint32_t i = 0; i < c->space_count; i++) {
        require_space(&c->spaces[i]);
        for (uint32_t j = 0; j < i; j++) {
            ASSERT(c->spaces[i].id != c->spaces[j].id);
            ASSERT(strcmp(c->spaces[i].name, c->spaces[j].name) != 0);
        }
    }
}

static void require_faults(const char *text)
{
    for (const char *line = text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        ASSERT(end != NULL && strncmp(line, "f:", 2) == 0);
        ASSERT(memmem(line, (size_t)(end - line), "; expected ", 11) != NULL);
        for (const char *p = line; p < end; p++)
            ASSERT(*p >= ' ' && *p <= '~');
        line = end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct config c;
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *errors = open_memstream(&text, &text_bytes);
    ASSERT(errors != NULL);
    int rc = config_parse("f", bytes, size, &c, errors);
    (void)fclose(errors);
    ASSERT((rc == 0) == (text_bytes == 0));
    if (rc == 0)
        require_config(&c);
    else
        ASSERT(rc == -EINVAL || (rc == -EFBIG && size > CONFIG_FILE_BYTES_MAX));
    require_faults(text);
    free(text);
    return 0;
}
