/* authority_make - a cluster's own certificate authority, and the certificates that it issues.
 *
 *   DIR/authority.key   0600  its private key: whoever has it can be any node; kept off the servers
 *   DIR/authority.crt   0644  its certificate, which every node knows: CA, path length 0
 *   OUT/node-ID.key     0600  a node's private key
 *   OUT/node-ID.crt     0644  its certificate (authority.h), for TLS servers and clients
 *
 * Keys are EC P-256, signatures ECDSA with SHA-256, serial numbers random.  Certificates are valid from an hour
 * before they are made, so that a clock which is a little behind does not refuse them.  A file is whole
 * or not there; none takes the place of another unless it is to.
 *
 * No message quotes a secret, and none stays in memory.  For the command line; blocks.
 * Source: RFC 5280. */
#ifndef DUNLIN_CONTROL_AUTHORITY_MAKE_H
#define DUNLIN_CONTROL_AUTHORITY_MAKE_H

#include "control/authority.h"
#include "control/authority_file.h"

#define AUTHORITY_DAYS 3652u     /* of an authority: ten years */
#define AUTHORITY_NODE_DAYS 730u /* of a node, unless said otherwise */
#define AUTHORITY_NODE_DAYS_MAX 3652u

/* What was made. */
struct authority_made {
    char key_path[AUTHORITY_PATH_BYTES], certificate_path[AUTHORITY_PATH_BYTES];
    struct authority_certificate certificate;
};

struct authority_create {
    const char *directory; /* made, 0700, if it is missing */
    const char *cluster;
    bool force;
};

/* Returns 0 and *made, or, told on errors,
 *   -EINVAL  no name of a cluster
 *   -EEXIST  a file is there already, and not force
 *   -EIO     OpenSSL failed
 *   or another -errno of the file system. */
MUST_USE int authority_create(const struct authority_create *a, struct authority_made *made,
                              FILE *errors);

struct authority_issue {
    const char *directory; /* of the authority */
    const char *out;       /* made, 0700, if it is missing; NULL: directory */
    const char *name;      /* common name; NULL: "node ID" */
    uint32_t node;
    int64_t validity_s; /* from now; ends with the authority's at the latest */
    bool force;
};

/* As above, and
 *   -EINVAL        no node, no name, or what is in directory is no authority
 *   -EPERM         others may read the authority's key
 *   -EKEYEXPIRED   the authority's time is over. */
MUST_USE int authority_issue(const struct authority_issue *i, struct authority_made *made,
                             FILE *errors);

#endif
