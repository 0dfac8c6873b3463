#include "bench/fleet_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PIECE_BYTES 65536u

static int on_row(void *context, const struct csv_row *row)
{
    return fleet_source_add(context, row);
}

struct loading {
    const struct fleet_load *load;
    char *error;
    size_t error_bytes;
    struct csv csv;
    char piece[PIECE_BYTES];
};

static int fail(struct loading *l, int error, const char *what)
{
    (void)snprintf(l->error, l->error_bytes, "%s: %s", l->load->path, what);
    return error;
}

static int fail_csv(struct loading *l, int error)
{
    if (error == -EINVAL)
        return fail(l, error, l->csv.error);
    if (error == -E2BIG)
        return fail(l, error, "more than 16777216 rows, 4194304 agents or 1 GiB of text");
    return fail(l, error, strerror(-error));
}

static int read_all(struct loading *l, gzFile file)
{
    uint64_t bytes = 0;
    for (;;) {
        int n = gzread(file, l->piece, PIECE_BYTES);
        if (n < 0) {
            int code;
            const char *what = gzerror(file, &code);
            return fail(l, -EIO, code == Z_ERRNO ? strerror(errno) : what);
        }
        if (n == 0)
            break;
        bytes += (uint64_t)n;
        if (bytes > FLEET_FILE_BYTES_MAX)
            return fail(l, -EFBIG, "more than 4 GiB (after decompression)");
        int error = csv_feed(&l->csv, l->piece, (size_t)n);
        if (error != 0)
            return fail_csv(l, error);
    }
    return 0;
}

int fleet_source_load(struct fleet_source *s, const struct fleet_load *load, char *error,
                      size_t error_bytes)
{
    struct csv_options options = {.agent_column = load->agent_column, .any_order = load->sort};
    const char *name = strrchr(load->path, '/');
    struct loading *l = malloc(sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    l->load = load;
    l->error = error;
    l->error_bytes = error_bytes;
    (void)snprintf(s->label, sizeof(s->label), "%s", name != NULL ? name + 1 : load->path);
    csv_init(&l->csv, &options, on_row, s);
    gzFile file = gzopen(load->path, "rb");
    int result;
    if (file == NULL) {
        result = fail(l, errno != 0 ? -errno : -ENOMEM, strerror(errno != 0 ? errno : ENOMEM));
    } else {
        result = read_all(l, file);
        /* Why here: zlib tells of a file that ends too early only when it is closed. */
        int closed = gzclose_r(file);
        if (result == 0 && closed != Z_OK)
            result = fail(l, -EIO,
                          closed == Z_BUF_ERROR ? "the compressed file is cut off"
                                                : "the compressed file is damaged");
        else if (result == 0 && (result = csv_end(&l->csv)) != 0)
            result = fail_csv(l, result);
    }
    if (result == 0 && (result = fleet_source_finish(s, load->sort, load->process_count)) != 0)
        result = fail(l, result, strerror(-result));
    free(l);
    return result;
}
