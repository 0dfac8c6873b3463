#include "control/control_net_tls.h"

#include "control/authority_file.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define CHAIN_BYTES_MAX (16 << 10) /* of certificates that a stranger may send */

static int openssl_fault(FILE *errors, const char *path)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int error = authority_fault(errors, -EIO, path, "OpenSSL refuses it: %s",
                                reason != NULL ? reason : "it does not say why");
    ERR_clear_error();
    return error;
}

/* ---- the authority ---- */

static int authority_add(SSL_CTX *tls, const char *path, FILE *errors)
{
    STACK_OF(X509) * all;
    int error = authority_certificates_load(path, &all, errors);
    if (error != 0)
        return error;
    for (int i = 0; error == 0 && i < sk_X509_num(all); i++) {
        X509 *c = sk_X509_value(all, i);
        if (X509_check_ca(c) == 0)
            error = authority_fault(errors, -EINVAL, path,
                                    "a certificate in it is no authority's; give authority.crt");
        else if (X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), c) != 1)
            error = openssl_fault(errors, path);
    }
    sk_X509_pop_free(all, X509_free);
    return error;
}

/* ---- our own certificate ---- */

/* Will a peer with the same authority take it? */
static int own_verify(SSL_CTX *tls, X509 *own, const struct control_tls_files *files, FILE *errors)
{
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    if (v == NULL || X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(tls), own, NULL) != 1) {
        X509_STORE_CTX_free(v);
        return openssl_fault(errors, files->certificate_path);
    }
    bool good = X509_verify_cert(v) == 1;
    int why = X509_STORE_CTX_get_error(v);
    X509_STORE_CTX_free(v);
    ERR_clear_error();
    if (good)
        return 0;
    bool is_time = why == X509_V_ERR_CERT_HAS_EXPIRED || why == X509_V_ERR_CERT_NOT_YET_VALID;
    return authority_fault(errors, is_time ? -EKEYEXPIRED : -EINVAL, files->certificate_path,
                           "not good by %s: %s; issue another by dunlin authority issue",
                           files->authority_path, X509_verify_cert_error_string(why));
}

static int own_judge(X509 *own, const struct control_tls_files *files, int64_t *until_s,
                     FILE *errors)
{
    struct authority_certificate about;
    if (authority_describe(own, &about) != 0 || about.is_authority)
        return authority_fault(errors, -EINVAL, files->certificate_path,
                               "no node's certificate; make one by dunlin authority issue");
    if (about.identity.node != files->node || strcmp(about.identity.cluster, files->cluster) != 0)
        return authority_fault(errors, -EINVAL, files->certificate_path,
                               "of node %u of cluster %s; expected node %u of cluster %s",
                               about.identity.node, about.identity.cluster, files->node,
                               files->cluster);
    *until_s = about.until_s;
    return 0;
}

static int own_use(SSL_CTX *tls, X509 *own, EVP_PKEY *key, const struct control_tls_files *files,
                   FILE *errors)
{
    if (X509_check_private_key(own, key) != 1) {
        ERR_clear_error();
        return authority_fault(errors, -EINVAL, files->key_path,
                               "does not belong to the certificate %s; give the one made with it",
                               files->certificate_path);
    }
    if (SSL_CTX_use_certificate(tls, own) != 1 || SSL_CTX_use_PrivateKey(tls, key) != 1)
        return openssl_fault(errors, files->certificate_path);
    return own_verify(tls, own, files, errors);
}

static int own_add(SSL_CTX *tls, const struct control_tls_files *files, int64_t *until_s,
                   FILE *errors)
{
    STACK_OF(X509) *all = NULL;
    EVP_PKEY *key = NULL;
    int error = authority_certificates_load(files->certificate_path, &all, errors);
    if (error == 0)
        error = own_judge(sk_X509_value(all, 0), files, until_s, errors);
    if (error == 0)
        error = authority_key_load(files->key_path, &key, errors);
    if (error == 0)
        error = own_use(tls, sk_X509_value(all, 0), key, files, errors);
    EVP_PKEY_free(key);
    sk_X509_pop_free(all, X509_free);
    return error;
}

/* ---- the context ---- */

static bool rules_set(SSL_CTX *tls)
{
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    (void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(tls, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_max_cert_list(tls, CHAIN_BYTES_MAX);
    return SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(tls, 0) == 1;
}

int control_tls_open(const struct control_tls_files *files, SSL_CTX **tls, int64_t *until_s,
                     FILE *errors)
{
    ERR_clear_error();
    SSL_CTX *made = SSL_CTX_new(TLS_method());
    int error =
        made != NULL && rules_set(made) ? 0 : openssl_fault(errors, files->certificate_path);
    if (error == 0)
        error = authority_add(made, files->authority_path, errors);
    if (error == 0)
        error = own_add(made, files, until_s, errors);
    if (error == 0)
        *tls = made;
    else
        SSL_CTX_free(made);
    return error;
}

const char *control_tls_reason(const SSL *ssl)
{
    long verified = SSL_get_verify_result(ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    if (verified != X509_V_OK)
        return X509_verify_cert_error_string(verified);
    return reason != NULL ? reason : "TLS failed";
}
