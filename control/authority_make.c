#include "control/authority_make.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKDATED_S 3600
#define DAY_S INT64_C(86400)
#define KEY_NAME "authority.key"
#define CERTIFICATE_NAME "authority.crt"

/* A certificate on its way. */
struct draft {
    X509 *certificate, *issuer; /* issuer: itself for an authority */
    EVP_PKEY *key, *issuer_key;
    struct authority_identity identity; /* node 0: an authority */
    const char *common_name;
    int64_t until_s;
};

static int openssl_fault(FILE *errors, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int error = authority_fault(errors, -EIO, what, "OpenSSL failed: %s",
                                reason != NULL ? reason : "it does not say why");
    ERR_clear_error();
    return error;
}

/* ---- certificates: each returns whether OpenSSL did it ---- */

static bool extension_add(const struct draft *d, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, d->issuer, d->certificate, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &context, kind, value);
    bool good = e != NULL && X509_add_ext(d->certificate, e, -1) == 1;
    X509_EXTENSION_free(e);
    return good;
}

static bool extensions_add(const struct draft *d)
{
    char name[sizeof("URI:") + AUTHORITY_URI_BYTES] = "URI:";
    if (!extension_add(d, NID_subject_key_identifier, "hash"))
        return false;
    if (d->identity.node == 0)
        return extension_add(d, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               extension_add(d, NID_key_usage, "critical,keyCertSign,cRLSign");
    authority_uri_print(name + strlen(name), &d->identity);
    return extension_add(d, NID_authority_key_identifier, "keyid:always") &&
           extension_add(d, NID_basic_constraints, "critical,CA:FALSE") &&
           extension_add(d, NID_key_usage, "critical,digitalSignature") &&
           extension_add(d, NID_ext_key_usage, "serverAuth,clientAuth") &&
           extension_add(d, NID_subject_alt_name, name);
}

static bool serial_draw(X509 *certificate)
{
    BIGNUM *number = BN_new();
    bool good = number != NULL && BN_rand(number, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return good;
}

static bool subject_add(X509_NAME *subject, int kind, const char *text)
{
    return X509_NAME_add_entry_by_NID(subject, kind, MBSTRING_UTF8, (const unsigned char *)text, -1,
                                      -1, 0) == 1;
}

static bool times_set(X509 *certificate, int64_t until_s)
{
    int64_t now_s = (int64_t)time(NULL);
    return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(now_s - BACKDATED_S)) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)until_s) != NULL;
}

static bool sign(struct draft *d)
{
    X509_NAME *subject = X509_get_subject_name(d->certificate);
    return X509_set_version(d->certificate, X509_VERSION_3) == 1 && serial_draw(d->certificate) &&
           times_set(d->certificate, d->until_s) &&
           subject_add(subject, NID_organizationName, d->identity.cluster) &&
           subject_add(subject, NID_commonName, d->common_name) &&
           X509_set_issuer_name(d->certificate, X509_get_subject_name(d->issuer)) == 1 &&
           X509_set_pubkey(d->certificate, d->key) == 1 && extensions_add(d) &&
           X509_sign(d->certificate, d->issuer_key, EVP_sha256()) > 0;
}

/* issuer and issuer_key NULL: signs itself. */
static bool draft_make(struct draft *d)
{
    d->key = EVP_EC_gen("P-256");
    d->certificate = X509_new();
    if (d->key == NULL || d->certificate == NULL)
        return false;
    if (d->issuer == NULL) {
        d->issuer = d->certificate;
        d->issuer_key = d->key;
    }
    return sign(d);
}

static void draft_free(struct draft *d)
{
    X509_free(d->certificate);
    EVP_PKEY_free(d->key);
}

/* ---- files ---- */

static int directory_make(const char *path, FILE *errors)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return authority_fault(errors, -errno, path, "cannot be made: %s", strerror(errno));
}

static int path_make(char path[AUTHORITY_PATH_BYTES], const char *directory, const char *name,
                     FILE *errors)
{
    int length = snprintf(path, AUTHORITY_PATH_BYTES, "%s/%s", directory, name);
    if (length > 0 && (size_t)length < AUTHORITY_PATH_BYTES)
        return 0;
    return authority_fault(errors, -ENAMETOOLONG, directory, "too long; give a shorter path");
}

static int pem_write(BIO *pem, const char *path, mode_t mode, bool force, FILE *errors)
{
    char *bytes;
    long size = BIO_get_mem_data(pem, &bytes);
    const struct authority_file f = {
        .path = path, .bytes = bytes, .size = (size_t)size, .mode = mode, .force = force};
    return authority_file_write(&f, errors);
}

static int key_write(EVP_PKEY *key, const char *path, bool force, FILE *errors)
{
    BIO *pem = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
    int error = pem != NULL && PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1
                    ? pem_write(pem, path, 0600, force, errors)
                    : openssl_fault(errors, path);
    BIO_free(pem);
    return error;
}

static int certificate_write(X509 *certificate, const char *path, bool force, FILE *errors)
{
    BIO *pem = BIO_new(BIO_s_mem());
    int error = pem != NULL && PEM_write_bio_X509(pem, certificate) == 1
                    ? pem_write(pem, path, 0644, force, errors)
                    : openssl_fault(errors, path);
    BIO_free(pem);
    return error;
}

/* Why a look first: a new key beside an old certificate would be of no use. */
static int places_check(const struct authority_made *made, FILE *errors)
{
    const char *const paths[] = {made->key_path, made->certificate_path};
    struct stat st;
    for (size_t i = 0; i < 2; i++)
        if (lstat(paths[i], &st) == 0)
            return authority_fault(errors, -EEXIST, paths[i],
                                   "is there already; --force puts another in its place");
    return 0;
}

static int write_both(const struct draft *d, bool force, struct authority_made *made, FILE *errors)
{
    int error = force ? 0 : places_check(made, errors);
    if (error == 0)
        error = key_write(d->key, made->key_path, force, errors);
    if (error != 0)
        return error;
    error = certificate_write(d->certificate, made->certificate_path, force, errors);
    if (error != 0 && !force)
        (void)unlink(made->key_path);
    if (error == 0)
        error = authority_describe(d->certificate, &made->certificate);
    return error;
}

/* ---- the authority ---- */

int authority_create(const struct authority_create *a, struct authority_made *made, FILE *errors)
{
    char name[AUTHORITY_COMMON_NAME_BYTES];
    *made = (struct authority_made){.key_path = ""};
    if (!authority_name_is_good(a->cluster))
        return authority_fault(
            errors, -EINVAL, a->cluster,
            "no name of a cluster; give a letter, then letters, digits, '-', '_' "
            "or '.', at most %u bytes",
            LIMIT_NAME_BYTES - 1);
    int error = directory_make(a->directory, errors);
    if (error == 0)
        error = path_make(made->key_path, a->directory, KEY_NAME, errors);
    if (error == 0)
        error = path_make(made->certificate_path, a->directory, CERTIFICATE_NAME, errors);
    if (error != 0)
        return error;
    (void)snprintf(name, sizeof(name), "authority of %s", a->cluster);
    struct draft d = {.common_name = name,
                      .until_s = (int64_t)time(NULL) + (int64_t)AUTHORITY_DAYS * DAY_S};
    (void)snprintf(d.identity.cluster, sizeof(d.identity.cluster), "%s", a->cluster);
    error = draft_make(&d) ? write_both(&d, a->force, made, errors)
                           : openssl_fault(errors, made->certificate_path);
    draft_free(&d);
    return error;
}

/* ---- what it issues ---- */

struct issuer {
    STACK_OF(X509) * certificates;
    EVP_PKEY *key;
    struct authority_certificate about; /* of the first one, which signs */
};

static void issuer_free(struct issuer *s)
{
    sk_X509_pop_free(s->certificates, X509_free);
    EVP_PKEY_free(s->key);
}

static int issuer_judge(struct issuer *s, const char *path, FILE *errors)
{
    X509 *c = sk_X509_value(s->certificates, 0);
    if (authority_describe(c, &s->about) != 0 || !s->about.is_authority)
        return authority_fault(errors, -EINVAL, path,
                               "no authority of a cluster; make one by dunlin authority create");
    if (X509_check_private_key(c, s->key) != 1) {
        ERR_clear_error();
        return authority_fault(errors, -EINVAL, path,
                               "does not belong to the key beside it; put the right one back");
    }
    if (s->about.until_s <= (int64_t)time(NULL))
        return authority_fault(errors, -EKEYEXPIRED, path,
                               "the authority's time is over; make a new one");
    return 0;
}

static int issuer_load(struct issuer *s, const char *directory, FILE *errors)
{
    char path[AUTHORITY_PATH_BYTES];
    *s = (struct issuer){.key = NULL};
    int error = path_make(path, directory, KEY_NAME, errors);
    if (error == 0)
        error = authority_key_load(path, &s->key, errors);
    if (error == 0)
        error = path_make(path, directory, CERTIFICATE_NAME, errors);
    if (error == 0)
        error = authority_certificates_load(path, &s->certificates, errors);
    if (error == 0)
        error = issuer_judge(s, path, errors);
    return error;
}

static bool common_name_is_good(const char *name)
{
    size_t length = strnlen(name, AUTHORITY_COMMON_NAME_BYTES);
    if (length == 0 || length == AUTHORITY_COMMON_NAME_BYTES)
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[i] < ' ' || name[i] > '~')
            return false;
    return true;
}

static int places_make(const struct authority_issue *i, struct authority_made *made, FILE *errors)
{
    char name[64];
    const char *out = i->out != NULL ? i->out : i->directory;
    int error = directory_make(out, errors);
    (void)snprintf(name, sizeof(name), "node-%u.key", i->node);
    if (error == 0)
        error = path_make(made->key_path, out, name, errors);
    (void)snprintf(name, sizeof(name), "node-%u.crt", i->node);
    if (error == 0)
        error = path_make(made->certificate_path, out, name, errors);
    return error;
}

static int issue_by(const struct issuer *s, const struct authority_issue *i,
                    struct authority_made *made, FILE *errors)
{
    char name[AUTHORITY_COMMON_NAME_BYTES];
    int64_t until_s = (int64_t)time(NULL) + i->validity_s;
    struct draft d = {.issuer = sk_X509_value(s->certificates, 0),
                      .issuer_key = s->key,
                      .identity = s->about.identity,
                      .common_name = i->name != NULL ? i->name : name,
                      .until_s = until_s < s->about.until_s ? until_s : s->about.until_s};
    d.identity.node = i->node;
    (void)snprintf(name, sizeof(name), "node %u", i->node);
    int error = draft_make(&d) ? write_both(&d, i->force, made, errors)
                               : openssl_fault(errors, made->certificate_path);
    draft_free(&d);
    return error;
}

int authority_issue(const struct authority_issue *i, struct authority_made *made, FILE *errors)
{
    struct issuer s;
    *made = (struct authority_made){.key_path = ""};
    if (i->node == 0)
        return authority_fault(errors, -EINVAL, "node 0", "no node; give an id from 1 on");
    if (i->name != NULL && !common_name_is_good(i->name))
        return authority_fault(errors, -EINVAL, i->name,
                               "no name; give 1 to %u printable characters",
                               AUTHORITY_COMMON_NAME_BYTES - 1);
    int error = issuer_load(&s, i->directory, errors);
    if (error == 0)
        error = places_make(i, made, errors);
    if (error == 0)
        error = issue_by(&s, i, made, errors);
    issuer_free(&s);
    return error;
}
