#include "tests/unit/control/control_net_raw.h"

#include "control/authority.h"

#include <CUnit/CUnit.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void raw_init(struct raw *r, const struct net_nodes *t, uint32_t id)
{
    memset(r, 0, sizeof(*r));
    r->listener = -1;
    if (id == 0)
        return;
    r->certificate_path = net_path(t, "crt", id);
    r->key_path = net_path(t, "key", id);
    r->authority_path = net_path(t, "authority.crt", 0);
}

struct sockaddr_storage raw_listen(struct raw *r)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    socklen_t length = sizeof(address);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(r->listener >= 0);
    CU_ASSERT_EQUAL(bind(r->listener, (struct sockaddr *)&address, sizeof(*in)), 0);
    CU_ASSERT_EQUAL(listen(r->listener, 1), 0);
    CU_ASSERT_EQUAL(getsockname(r->listener, (struct sockaddr *)&address, &length), 0);
    r->serves = true;
    return address;
}

/* ---- the thread ---- */

static int connection_open(struct raw *r)
{
    if (r->serves)
        return accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
    int fd = socket(r->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(r->source)};
    if (fd >= 0 && r->source != 0 && bind(fd, (struct sockaddr *)&source, sizeof(source)) != 0) {
        (void)close(fd);
        return -1;
    }
    if (fd >= 0 && connect(fd, (struct sockaddr *)&r->address, sizeof(struct sockaddr_in)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static SSL *tls_make(struct raw *r, SSL_CTX *context, int fd)
{
    if (r->old_tls)
        (void)SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    if (r->certificate_path != NULL) {
        (void)SSL_CTX_use_certificate_chain_file(context, r->certificate_path);
        (void)SSL_CTX_use_PrivateKey_file(context, r->key_path, SSL_FILETYPE_PEM);
        (void)SSL_CTX_load_verify_locations(context, r->authority_path, NULL);
    }
    SSL *ssl = SSL_new(context);
    if (ssl != NULL)
        (void)SSL_set_fd(ssl, fd);
    return ssl;
}

/* Until the other side closes. */
static void listen_on(struct raw *r, SSL *ssl)
{
    uint8_t bytes[4096];
    int n;
    while ((n = SSL_read(ssl, bytes, sizeof(bytes))) > 0) {
        size_t kept = min_u64((size_t)n, RAW_BYTES - min_u64(RAW_BYTES, r->heard_length));
        if (kept != 0)
            memcpy(r->heard + r->heard_length, bytes, kept);
        r->heard_length += (size_t)n;
    }
}

static void talk(struct raw *r, int fd)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    SSL *ssl = context != NULL ? tls_make(r, context, fd) : NULL;
    if (ssl != NULL && (r->serves ? SSL_accept(ssl) : SSL_connect(ssl)) == 1) {
        r->tls = true;
        if (r->said_length != 0)
            (void)SSL_write(ssl, r->said, (int)r->said_length);
        listen_on(r, ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void *run(void *argument)
{
    struct raw *r = argument;
    uint8_t bytes[256];
    int fd = connection_open(r);
    if (fd >= 0) {
        r->connected = true;
        atomic_store_explicit(&r->is_connected, true, memory_order_release);
        if (r->clear_length != 0 && write(fd, r->clear, r->clear_length) < 0)
            r->connected = false;
        if (r->is_silent || r->clear_length != 0) {
            while (read(fd, bytes, sizeof(bytes)) > 0)
                ;
        } else {
            talk(r, fd);
        }
        (void)close(fd);
    }
    atomic_store_explicit(&r->done, true, memory_order_release);
    return NULL;
}

void raw_start(struct raw *r)
{
    atomic_store_explicit(&r->is_connected, false, memory_order_release);
    atomic_store_explicit(&r->done, false, memory_order_release);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&r->thread, NULL, run, r), 0);
}

bool raw_is_connected(const struct raw *r)
{
    return atomic_load_explicit(&r->is_connected, memory_order_acquire);
}

bool raw_is_done(const struct raw *r)
{
    return atomic_load_explicit(&r->done, memory_order_acquire);
}

void raw_join(struct raw *r)
{
    CU_ASSERT_EQUAL(pthread_join(r->thread, NULL), 0);
    if (r->listener >= 0)
        (void)close(r->listener);
}

/* ---- certificates that dunlin authority does not make ---- */

void raw_certificate_make(const struct net_nodes *t, const char *uri)
{
    char name[128];
    STACK_OF(X509) *all = NULL;
    EVP_PKEY *authority_key = NULL, *key = EVP_EC_gen("P-256");
    X509 *c = X509_new();
    CU_ASSERT_EQUAL_FATAL(
        authority_certificates_load(net_path(t, "authority.crt", 0), &all, stderr), 0);
    CU_ASSERT_EQUAL_FATAL(
        authority_key_load(net_path(t, "authority.key", 0), &authority_key, stderr), 0);
    X509 *issuer = sk_X509_value(all, 0);
    (void)snprintf(name, sizeof(name), "%s", uri);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, name);
    CU_ASSERT(X509_set_version(c, X509_VERSION_3) == 1);
    CU_ASSERT(ASN1_INTEGER_set(X509_get_serialNumber(c), 77) == 1);
    CU_ASSERT(X509_gmtime_adj(X509_getm_notBefore(c), -60) != NULL);
    CU_ASSERT(X509_gmtime_adj(X509_getm_notAfter(c), 3600) != NULL);
    CU_ASSERT(X509_set_issuer_name(c, X509_get_subject_name(issuer)) == 1);
    CU_ASSERT(X509_set_pubkey(c, key) == 1);
    CU_ASSERT(e != NULL && X509_add_ext(c, e, -1) == 1);
    CU_ASSERT(X509_sign(c, authority_key, EVP_sha256()) > 0);
    FILE *out = fopen(net_path(t, "strange.crt", 0), "w");
    CU_ASSERT(out != NULL && PEM_write_X509(out, c) == 1 && fclose(out) == 0);
    out = fopen(net_path(t, "strange.key", 0), "w");
    CU_ASSERT(out != NULL && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              fclose(out) == 0);
    X509_EXTENSION_free(e);
    X509_free(c);
    EVP_PKEY_free(key);
    EVP_PKEY_free(authority_key);
    sk_X509_pop_free(all, X509_free);
}
