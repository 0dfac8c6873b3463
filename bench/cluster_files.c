#include "bench/cluster_files.h"

#include "bench/bench.h"
#include "control/authority_make.h"
#include "control/cluster_key.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int key_write(const char *directory)
{
    char line[CLUSTER_KEY_LINE_BYTES], path[128];
    (void)snprintf(path, sizeof path, "%s/key", directory);
    int rc = cluster_key_line(line);
    int fd = rc == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (rc == 0 && (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line)))
        rc = -errno;
    explicit_bzero(line, sizeof line);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

int cluster_files_write(void)
{
    struct authority_made made;
    const struct authority_create create = {.directory = bench_directory(), .cluster = "bench"};
    int rc = key_write(bench_directory());
    if (rc == 0)
        rc = authority_create(&create, &made, stderr);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        const struct authority_issue issue = {
            .directory = bench_directory(), .node = i + 1, .validity_s = INT64_C(86400)};
        rc = authority_issue(&issue, &made, stderr);
    }
    return rc;
}

void cluster_files_print(FILE *file, const struct cluster_files_node *node)
{
    const char *directory = bench_directory();
    (void)fprintf(file,
                  "node: {name: bench-%u, id: %u}\nsocket: {path: %s, mode: 0600}\n"
                  "lcores: {count: 1}\ncluster:\n  name: bench\n  key_file: %s/key\n"
                  "  encrypt: true\n  frame: %uB\n  control:\n    directory: %s/control%u\n",
                  node->id, node->id, node->socket_path, directory, node->frame_bytes, directory,
                  node->id);
    (void)fprintf(file,
                  "    certificate: %s/node-%u.crt\n    key: %s/node-%u.key\n"
                  "    authority: %s/authority.crt\n    lease: %ums\n  nodes:\n",
                  directory, node->id, directory, node->id, directory, node->lease_ms);
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        (void)fprintf(file, "    - {id: %u, address: \"127.0.0.1:%u\"}\n", i + 1, node->ports[i]);
}
