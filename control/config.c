#include "control/config.h"

#include "control/config_address.h"
#include "control/config_check.h"
#include "control/config_events.h"
#include "control/config_table.h"
#include "control/read_all.h"

#include <cyaml/cyaml.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libcyaml's description of what config_check writes, made from the table.  Everything lies in the
 * structs themselves, so its result is one allocation. */
#define SCHEMA_FIELDS 96u
#define SCHEMA_ENTRIES 8u
struct schema {
    cyaml_schema_value_t root;
    cyaml_schema_value_t entries[SCHEMA_ENTRIES];
    cyaml_schema_field_t fields[SCHEMA_FIELDS];
    uint32_t entry_count, field_count;
};

static const cyaml_schema_value_t schema_uid = {
    .type = CYAML_UINT, .flags = CYAML_FLAG_DEFAULT, .data_size = sizeof(uint32_t)};
static const cyaml_schema_field_t schema_access[] = {
    {.key = "everyone",
     .data_offset = offsetof(struct space_access, everyone),
     .value = {.type = CYAML_BOOL, .flags = CYAML_FLAG_DEFAULT, .data_size = sizeof(bool)}},
    {.key = "uids",
     .data_offset = offsetof(struct space_access, uids),
     .count_offset = offsetof(struct space_access, uid_count),
     .count_size = sizeof(uint32_t),
     .value = {.type = CYAML_SEQUENCE,
               .flags = CYAML_FLAG_DEFAULT,
               .data_size = sizeof(uint32_t),
               .sequence = {.entry = &schema_uid, .min = 0, .max = LIMIT_ACCESS_RULES}}},
    {.key = NULL}};

static const cyaml_schema_field_t *schema_fields(struct schema *s, const struct config_key *keys,
                                                 uint32_t root_bytes);

static const cyaml_schema_value_t *schema_entry(struct schema *s, cyaml_schema_value_t entry)
{
    ASSERT(s->entry_count < SCHEMA_ENTRIES);
    s->entries[s->entry_count] = entry;
    return &s->entries[s->entry_count++];
}

/* A section has no struct of its own: its keys' offsets count from the one that it lies in. */
static cyaml_schema_value_t schema_value(struct schema *s, const struct config_key *k,
                                         uint32_t root_bytes)
{
    cyaml_schema_value_t v = {.type = CYAML_UINT,
                              .flags = k->optional ? CYAML_FLAG_OPTIONAL : CYAML_FLAG_DEFAULT,
                              .data_size = k->bytes};
    switch (k->kind) {
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_IPV4:
    case CONFIG_TEXT:
        v.type = CYAML_STRING;
        v.string.min = (uint32_t)k->min;
        v.string.max = (uint32_t)k->max;
        break;
    case CONFIG_BOOL:
        v.type = CYAML_BOOL;
        break;
    case CONFIG_CPUS:
        v.type = CYAML_SEQUENCE;
        v.sequence.entry =
            schema_entry(s, (cyaml_schema_value_t){.type = CYAML_UINT, .data_size = k->bytes});
        v.sequence.max = k->entries_max;
        break;
    case CONFIG_ACCESS:
        v.type = CYAML_MAPPING;
        v.mapping.fields = schema_access;
        break;
    case CONFIG_SECTION:
        v.type = CYAML_MAPPING;
        v.data_size = root_bytes;
        v.mapping.fields = schema_fields(s, k->keys, root_bytes);
        break;
    case CONFIG_ADDRESS: /* its bytes one by one */
        v.type = CYAML_SEQUENCE_FIXED;
        v.sequence.entry =
            schema_entry(s, (cyaml_schema_value_t){.type = CYAML_UINT, .data_size = k->bytes});
        v.sequence.min = CONFIG_ADDRESS_BYTES;
        v.sequence.max = CONFIG_ADDRESS_BYTES;
        break;
    case CONFIG_ENTRIES:
        v.type = CYAML_SEQUENCE;
        v.sequence.entry = schema_entry(
            s, (cyaml_schema_value_t){.type = CYAML_MAPPING,
                                      .data_size = k->bytes,
                                      .mapping = {schema_fields(s, k->keys, k->bytes)}});
        v.sequence.min = k->entries_min;
        v.sequence.max = k->entries_max;
        break;
    default:
        break;
    }
    return v;
}

static const cyaml_schema_field_t *schema_fields(struct schema *s, const struct config_key *keys,
                                                 uint32_t root_bytes)
{
    uint32_t count = 0;
    while (keys[count].name != NULL)
        count++;
    ASSERT(s->field_count + count + 1 <= SCHEMA_FIELDS);
    cyaml_schema_field_t *fields = &s->fields[s->field_count];
    s->field_count += count + 1; /* the last stays zero: the end */
    for (uint32_t i = 0; i < count; i++)
        fields[i] = (cyaml_schema_field_t){.key = keys[i].name,
                                           .data_offset = (uint32_t)keys[i].offset,
                                           .count_offset = (uint32_t)keys[i].count_offset,
                                           .count_size = sizeof(uint32_t),
                                           .value = schema_value(s, &keys[i], root_bytes)};
    return fields;
}

/* Keeps libcyaml's first line, which names the field. */
struct cyaml_said {
    char text[128];
};

static void said(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct cyaml_said *s = context;
    if (level == CYAML_LOG_ERROR && s->text[0] == '\0') {
        (void)vsnprintf(s->text, sizeof(s->text), format, arguments);
        s->text[strcspn(s->text, "\n")] = '\0';
    }
}

static int fill(const char *name, const struct config_text *canonical, struct config *out,
                FILE *errors)
{
    struct cyaml_said why = {""};
    struct schema schema = {0};
    const cyaml_config_t settings = {.log_fn = said,
                                     .log_ctx = &why,
                                     .mem_fn = cyaml_mem,
                                     .log_level = CYAML_LOG_ERROR,
                                     .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *loaded = NULL;
    schema.root = (cyaml_schema_value_t){
        .type = CYAML_MAPPING, .flags = CYAML_FLAG_POINTER, .data_size = sizeof(struct config)};
    schema.root.mapping.fields = schema_fields(&schema, config_root, sizeof(struct config));
    cyaml_err_t err = cyaml_load_data((const uint8_t *)canonical->bytes, canonical->used, &settings,
                                      &schema.root, &loaded, NULL);
    if (err == CYAML_ERR_OOM || err == CYAML_ERR_LIBYAML_PARSER_INIT) {
        events_report_file(errors, name, "no memory to read it", "more memory");
        return -ENOMEM;
    }
    if (err != CYAML_OK) {
        events_report_file(errors, name, why.text[0] != '\0' ? why.text : cyaml_strerror(err),
                           "it to load: a bug to report with this file, unless memory ran out");
        return -EPROTO;
    }
    memcpy(out, loaded, sizeof(*out));
    (void)cyaml_free(&settings, &schema.root, loaded, 0);
    return 0;
}

/* What follows from other keys: CPUs that are not named, a count that is not given, a cluster. */
static void complete(struct config *c)
{
    if (c->node.lcore_count == 0)
        c->node.lcore_count = c->cpu_count != 0 ? c->cpu_count : 1;
    for (uint32_t i = c->cpu_count; i < LIMIT_LCORES; i++)
        c->node.lcore_cpus[i] = -1;
    c->node.replicated = c->cluster.node_count != 0;
}

/* What to read and where to put it. */
struct reading {
    const char *name;
    bool spaces_only;
    struct config *out;
    FILE *errors;
};

static int parse(const struct reading *r, const uint8_t *bytes, size_t size)
{
    struct config loaded;
    if (size > CONFIG_FILE_BYTES_MAX) {
        events_report_file(r->errors, r->name, "more than 1MiB", "at most 1MiB");
        return -EFBIG;
    }
    struct config_text *canonical = malloc(sizeof(*canonical));
    if (canonical == NULL) {
        events_report_file(r->errors, r->name, "no memory to read it", "more memory");
        return -ENOMEM;
    }
    canonical->used = 0;
    canonical->spaces_only = r->spaces_only;
    int rc = config_check(r->name, bytes, size, r->errors, canonical);
    if (rc == 0)
        rc = fill(r->name, canonical, &loaded, r->errors);
    free(canonical);
    if (rc != 0)
        return rc;
    complete(&loaded);
    *r->out = loaded;
    return 0;
}

int config_parse(const char *name, const uint8_t *bytes, size_t size, struct config *out,
                 FILE *errors)
{
    const struct reading r = {.name = name, .out = out, .errors = errors};
    return parse(&r, bytes, size);
}

static int unreadable(const char *path, int error, FILE *errors)
{
    char found[128];
    (void)snprintf(found, sizeof(found), "not readable: %s", strerror(error));
    events_report_file(errors, path, found, "a regular file");
    return -error;
}

static int load(const struct reading *r)
{
    const char *path = r->name;
    FILE *errors = r->errors;
    struct stat st;
    uint8_t *bytes = NULL;
    /* Why O_NONBLOCK: a FIFO without a writer would hold us for ever before it could be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return unreadable(path, errno, errors);
    int rc = fstat(fd, &st) != 0 ? unreadable(path, errno, errors) : 0;
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        rc = unreadable(path, EISDIR, errors);
    } else if (rc == 0 && !S_ISREG(st.st_mode)) {
        events_report_file(errors, path, "a device, pipe or socket", "a regular file");
        rc = -EINVAL;
    }
    if (rc == 0 && (bytes = malloc(CONFIG_FILE_BYTES_MAX + 1)) == NULL)
        rc = unreadable(path, ENOMEM, errors);
    if (rc == 0) {
        ssize_t n = read_all(fd, bytes, CONFIG_FILE_BYTES_MAX + 1);
        rc = n < 0 ? unreadable(path, (int)-n, errors) : parse(r, bytes, (size_t)n);
    }
    free(bytes);
    (void)close(fd);
    return rc;
}

int config_load(const char *path, struct config *out, FILE *errors)
{
    const struct reading r = {.name = path, .out = out, .errors = errors};
    return load(&r);
}

int config_load_spaces(const char *path, struct config *out, FILE *errors)
{
    const struct reading r = {.name = path, .spaces_only = true, .out = out, .errors = errors};
    return load(&r);
}
