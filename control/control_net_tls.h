/* control_net_tls - the TLS of the control plane's connections: 1.3 and nothing older, both sides show a
 * certificate, no tickets, no early data.
 *
 * The same context serves both ends.  Blocks for as long as the file system does.
 * Source: RFC 8446. */
#ifndef DUNLIN_CONTROL_CONTROL_NET_TLS_H
#define DUNLIN_CONTROL_CONTROL_NET_TLS_H

#include "control/authority.h"

#include <openssl/ssl.h>

struct control_tls_files {
    const char *certificate_path, *key_path, *authority_path;
    const char *cluster; /* whose certificate it has to be */
    uint32_t node;
};

/* Returns 0, *tls for SSL_CTX_free, and *until_s, when the certificate ends; or, told on errors,
 *   -EINVAL       a file's content, or the certificate is another node's, or not of the authority
 *   -EPERM        others may read the key
 *   -EKEYEXPIRED  the certificate or the authority has ended, or begins later
 *   -EIO          OpenSSL failed
 *   or -errno of the files. */
MUST_USE int control_tls_open(const struct control_tls_files *files, SSL_CTX **tls,
                              int64_t *until_s, FILE *errors);

/* The reason of the last failure in this thread, for a log; its queue is empty afterwards. */
const char *control_tls_reason(const SSL *ssl);

#endif
