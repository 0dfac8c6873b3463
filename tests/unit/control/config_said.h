/* What the tests of the configuration share: to let bytes or a file be read, and to look at what
 * was said about them. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_CONFIG_SAID_H
#define DUNLIN_TESTS_UNIT_CONTROL_CONFIG_SAID_H

#include "control/config.h"
#include "control/config_table.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define MINIMAL "node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\n"
#define SPACE(text) "node: {name: n, id: 1}\nspaces:\n  - name: s\n    id: 1\n" text
#define NODE(text) "node: {name: n, id: 1}\nspaces: [{name: s, id: 1}]\n" text
#define CONTROL "control: {directory: /d, certificate: /c, key: /k, authority: /a}"
/* Node 1 of a cluster in which the second one is `node`; then more keys of the section. */
#define CLUSTER(node, more)                                                                        \
    NODE("cluster:\n  name: c\n  " CONTROL "\n  key_file: /k\n"                                    \
         "  nodes:\n  - {id: 1, address: 10.0.0.1:7700}\n  - " node "\n" more)

/* What a call said, to be freed by said_free. */
struct said {
    int rc;
    char *text;
    size_t size;
};

static inline struct said parse(const void *bytes, size_t size, struct config *out)
{
    struct said s = {0};
    FILE *errors = open_memstream(&s.text, &s.size);
    s.rc = config_parse("t.yaml", bytes, size, out, errors);
    (void)fclose(errors);
    return s;
}

static inline struct said load(const char *path, struct config *out)
{
    struct said s = {0};
    FILE *errors = open_memstream(&s.text, &s.size);
    s.rc = config_load(path, out, errors);
    (void)fclose(errors);
    return s;
}

static inline void said_free(struct said *s)
{
    free(s->text);
}

/* Every fault is one line "FILE:LINE:COLUMN: found; expected what". */
static inline bool well_formed(const struct said *s)
{
    if ((s->rc == 0) != (s->size == 0))
        return false;
    for (const char *line = s->text; *line != '\0';) {
        size_t row, column;
        int used = 0;
        const char *end = strchr(line, '\n');
        if (end == NULL || sscanf(line, "t.yaml:%zu:%zu: %n", &row, &column, &used) != 2)
            return false;
        if (used == 0 || memmem(line, (size_t)(end - line), "; expected ", 11) == NULL)
            return false;
        for (const char *p = line; p < end; p++)
            if (*p < ' ' || *p > '~')
                return false;
        line = end + 1;
    }
    return true;
}

static inline void expect(const void *bytes, size_t size, int rc, const char *text)
{
    static struct config c;
    struct said s = parse(bytes, size, &c);
    if (s.rc != rc || strcmp(s.text, text) != 0)
        (void)fprintf(stderr, "\n--- file\n%.400s\n--- wanted %d\n%s--- got %d\n%s",
                      (const char *)bytes, rc, text, s.rc, s.text);
    CU_ASSERT_EQUAL(s.rc, rc);
    CU_ASSERT_STRING_EQUAL(s.text, text);
    CU_ASSERT(well_formed(&s));
    said_free(&s);
}

static inline void good(const char *text, struct config *out)
{
    struct said s = parse(text, strlen(text), out);
    if (s.rc != 0)
        (void)fprintf(stderr, "\n%s", s.text);
    CU_ASSERT_EQUAL(s.rc, 0);
    CU_ASSERT_EQUAL(s.size, 0);
    said_free(&s);
}

/* The first CPU that this process may use. */
static inline uint64_t first_cpu(void)
{
    uint64_t cpu = 0;
    while (!config_cpu_usable(cpu))
        cpu++;
    return cpu;
}

static inline size_t line_count(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

#endif
