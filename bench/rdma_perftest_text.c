#include "bench/rdma_perftest.h"

#include "engine/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a report's head must begin, and which number of a line then is meant. */
struct columns {
    const char *head[5];
    uint32_t number; /* from 0; the first is the bytes of a write */
    double scale;
};

static const struct columns known[] = {
    [RDMA_PERFTEST_LATENCY] =
        {{"#bytes", "#iterations", "t_min[usec]", "t_max[usec]", "t_typical[usec]"}, 4, 1e3},
    [RDMA_PERFTEST_RATE] = {{"#bytes", "#iterations", "BW peak[Gb/sec]", "BW average[Gb/sec]", ""},
                            3,
                            1e9 / 8},
};

/* Behind the word, if text begins with it after blanks; else NULL. */
static const char *behind(const char *text, const char *word)
{
    text += strspn(text, " \t");
    size_t length = strlen(word);
    return strncmp(text, word, length) == 0 ? text + length : NULL;
}

static bool is_head(const char *line, const struct columns *c)
{
    for (uint32_t i = 0; i < 5 && line != NULL; i++)
        line = behind(line, c->head[i]);
    return line != NULL;
}

/* The number of that place in the line that text begins with. */
static bool number_at(const char *text, uint32_t place, double *value)
{
    for (uint32_t i = 0; i <= place; i++) {
        char *end;
        text += strspn(text, " \t");
        if (*text == '\n') /* which strtod would pass over */
            return false;
        *value = strtod(text, &end);
        if (end == text || !isfinite(*value))
            return false;
        text = end;
    }
    return true;
}

int rdma_perftest_parse(const char *text, enum rdma_perftest_kind kind, uint32_t bytes,
                        double *value)
{
    const struct columns *c = &known[kind];
    bool headed = false;
    while (text != NULL && *text != '\0') {
        double length;
        if (is_head(text, c))
            headed = true;
        else if (headed && number_at(text, 0, &length) && length >= bytes && length <= bytes &&
                 number_at(text, c->number, value) && *value > 0) {
            *value *= c->scale;
            return 0;
        }
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : NULL;
    }
    return -EPROTO;
}

uint32_t rdma_perftest_iterations(const struct rdma_perftest *p, double value, uint64_t duration_ns)
{
    /* An iteration of the latency is there and back. */
    double each_ns =
        p->kind == RDMA_PERFTEST_LATENCY ? 2 * value : p->bytes / value * (double)NS_PER_S;
    double count = (double)duration_ns / each_ns;
    return count < RDMA_PERFTEST_ITERATIONS_MIN   ? RDMA_PERFTEST_ITERATIONS_MIN
           : count > RDMA_PERFTEST_ITERATIONS_MAX ? RDMA_PERFTEST_ITERATIONS_MAX
                                                  : (uint32_t)count;
}
