/* Any bytes as a configuration: a struct within its limits and not a word, or faults in their form,
 * one a line.  Above all never -EPROTO: libcyaml takes what the check accepted. */
#include "control/config.h"
#include "control/config_address.h"
#include "dataplane/frame.h"
#include "dataplane/pacing.h"
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

static void require_cluster(const struct config *c)
{
    const struct config_cluster *k = &c->cluster;
    bool is_member = false;
    ASSERT(c->node.replicated == (k->node_count != 0));
    ASSERT((k->name[0] != '\0') == c->node.replicated);
    if (k->node_count == 0)
        return;
    ASSERT(memchr(k->name, '\0', sizeof(k->name)) != NULL);
    ASSERT(memchr(k->key_path, '\0', sizeof(k->key_path)) != NULL);
    ASSERT(k->control.directory[0] == '/' && k->key_path[0] == '/');
    ASSERT(k->replicas >= 1 && k->replicas <= LIMIT_VOTERS && c->node.copy_rate <= PACING_RATE_MAX);
    ASSERT(k->frame_bytes >= FRAME_BYTES_MIN && k->frame_bytes <= FRAME_BYTES_MAX);
    ASSERT(k->rate <= PACING_RATE_MAX);
    ASSERT(k->node_count >= 2 && k->node_count <= LIMIT_VOTERS);
    for (uint32_t i = 0; i < k->node_count; i++) {
        const struct sockaddr_storage *a = &k->nodes[i].address;
        uint32_t port = config_address_port(a);
        ASSERT(k->nodes[i].weight >= 1 && k->nodes[i].weight <= 1000);
        ASSERT(memchr(k->nodes[i].zone, '\0', sizeof(k->nodes[i].zone)) != NULL);
        is_member = is_member || k->nodes[i].id == c->node.id;
        ASSERT(a->ss_family == AF_INET || a->ss_family == AF_INET6);
        ASSERT(port >= 1 && port + c->node.lcore_count - 1 <= UINT16_MAX);
        for (uint32_t j = 0; j < i; j++) {
            const struct sockaddr_storage *b = &k->nodes[j].address;
            uint32_t other = config_address_port(b);
            ASSERT(k->nodes[i].id != k->nodes[j].id && a->ss_family == b->ss_family);
            ASSERT(!config_address_same_host(a, b) || port >= other + c->node.lcore_count ||
                   other >= port + c->node.lcore_count);
        }
    }
    ASSERT(is_member);
}

static void require_config(const struct config *c)
{
    ASSERT(memchr(c->node.name, '\0', sizeof(c->node.name)) != NULL && c->node.name[0] != '\0');
    ASSERT(memchr(c->socket_path, '\0', sizeof(c->socket_path)) != NULL);
    ASSERT(c->socket_path[0] == '/' && (c->socket_mode & ~0777u) == 0);
    ASSERT(c->node.id != 0);
    ASSERT(c->node.lcore_count >= 1 && c->node.lcore_count <= LIMIT_LCORES);
    ASSERT(c->cpu_count == 0 || c->cpu_count == c->node.lcore_count);
    require_cluster(c);
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
