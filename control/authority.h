/* authority - who is who in a cluster, by certificates of the cluster's own authority.
 *
 * The authority is a key and a certificate that signs itself, made by `dunlin authority create`
 * (authority_make.h); its subject's organisation is the cluster's name.  Each node has a key and a
 * certificate of its own; its identity is the one subjectAltName of the form
 *
 *   dunlin://CLUSTER/node/ID        ID in decimal, without zeros in front, 1 .. 2^32 - 1
 *
 * CLUSTER is a name as the configuration takes it: a letter, then letters, digits, '-', '_' or '.', less
 * than LIMIT_NAME_BYTES.  A certificate with no such name, or with two, is nobody's.
 *
 * Here is what reads certificates, for the daemon as for the command line; nothing is verified but
 * what a function says.  Any thread; blocks for as long as the file system does.
 * Source: RFC 5280, 4.2.1.6; RFC 3986. */
#ifndef DUNLIN_CONTROL_AUTHORITY_H
#define DUNLIN_CONTROL_AUTHORITY_H

#include "engine/base.h"
#include "engine/limits.h"

#include <openssl/x509.h>
#include <stdio.h>

#define AUTHORITY_URI_BYTES (LIMIT_NAME_BYTES + sizeof("dunlin:///node/4294967295"))
#define AUTHORITY_COMMON_NAME_BYTES 65u /* RFC 5280: 64, and the final 0 */
#define AUTHORITY_SERIAL_BYTES 48u
#define AUTHORITY_TIME_BYTES 32u
#define AUTHORITY_CERTIFICATES_MAX 8 /* in one file */

struct authority_identity {
    char cluster[LIMIT_NAME_BYTES];
    uint32_t node; /* 0: an authority, or nobody */
};

struct authority_certificate {
    bool is_authority;
    struct authority_identity identity;
    char common_name[AUTHORITY_COMMON_NAME_BYTES]; /* printable ASCII */
    char serial[AUTHORITY_SERIAL_BYTES];           /* hex */
    int64_t from_s, until_s;                       /* seconds since 1970 */
};

/* Is it a name as above? */
bool authority_name_is_good(const char *name);

/* Returns 0 or -EINVAL: not of the form above.  The bytes are a stranger's. */
MUST_USE int authority_uri_parse(const char *uri, size_t length, struct authority_identity *id);
void authority_uri_print(char uri[AUTHORITY_URI_BYTES], const struct authority_identity *id);

/* Whose certificate it is.  Returns 0 or -EINVAL: no name of the form above, or two. */
MUST_USE int authority_identity_of(const X509 *certificate, struct authority_identity *id);

/* What people are told of it.  Returns 0 or -EINVAL: neither an authority's nor a node's. */
MUST_USE int authority_describe(X509 *certificate, struct authority_certificate *c);

/* "2026-11-21T08:15:30Z"; "?" outside of the years 1 .. 9999. */
void authority_time_print(char text[AUTHORITY_TIME_BYTES], int64_t seconds);

/* The certificates of a file in PEM, 1 .. AUTHORITY_CERTIFICATES_MAX, for sk_X509_pop_free; a node's file
 * has one, an authority's may have an old one and a new one.  Returns 0 or, told on errors, -EINVAL or
 * as authority_file_read. */
MUST_USE int authority_certificates_load(const char *path, STACK_OF(X509) * *certificates,
                                         FILE *errors);

/* A private key in PEM without a passphrase, for EVP_PKEY_free; nobody else may be able to read the
 * file.  As above, and no message quotes its content. */
MUST_USE int authority_key_load(const char *path, EVP_PKEY **key, FILE *errors);

#endif
