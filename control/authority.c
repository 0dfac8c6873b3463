#include "control/authority.h"

#include "control/authority_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define SCHEME "dunlin://"
#define NODE "/node/"

/* ---- names ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(const char *text, size_t length)
{
    if (length == 0 || length >= LIMIT_NAME_BYTES || !is_letter(text[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_letter(text[i]) && !is_digit(text[i]) && text[i] != '-' && text[i] != '_' &&
            text[i] != '.')
            return false;
    return true;
}

bool authority_name_is_good(const char *name)
{
    return is_name(name, strnlen(name, LIMIT_NAME_BYTES));
}

/* 0: none. */
static uint32_t node_parse(const char *text, size_t length)
{
    uint64_t number = 0;
    if (length == 0 || length > 10 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i]))
            return 0;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

int authority_uri_parse(const char *uri, size_t length, struct authority_identity *id)
{
    const size_t scheme = strlen(SCHEME), middle = strlen(NODE);
    if (length < scheme || memcmp(uri, SCHEME, scheme) != 0)
        return -EINVAL;
    const char *name = uri + scheme;
    const char *slash = memchr(name, '/', length - scheme);
    if (slash == NULL)
        return -EINVAL;
    size_t name_length = (size_t)(slash - name);
    size_t rest = length - scheme - name_length;
    if (!is_name(name, name_length) || rest < middle || memcmp(slash, NODE, middle) != 0)
        return -EINVAL;
    uint32_t node = node_parse(slash + middle, rest - middle);
    if (node == 0)
        return -EINVAL;
    *id = (struct authority_identity){.node = node};
    memcpy(id->cluster, name, name_length);
    return 0;
}

void authority_uri_print(char uri[AUTHORITY_URI_BYTES], const struct authority_identity *id)
{
    (void)snprintf(uri, AUTHORITY_URI_BYTES, SCHEME "%s" NODE "%u", id->cluster, id->node);
}

/* ---- what a certificate says ---- */

/* Counts the names of our scheme; *id is of the last one. */
static int names_judge(const GENERAL_NAMES *names, struct authority_identity *id)
{
    int ours = 0, good = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type != GEN_URI)
            continue;
        const char *uri = (const char *)ASN1_STRING_get0_data(n->d.uniformResourceIdentifier);
        size_t length = (size_t)ASN1_STRING_length(n->d.uniformResourceIdentifier);
        if (length < strlen(SCHEME) || memcmp(uri, SCHEME, strlen(SCHEME)) != 0)
            continue;
        ours++;
        good += authority_uri_parse(uri, length, id) == 0;
    }
    return ours == 1 && good == 1 ? 0 : -EINVAL;
}

int authority_identity_of(const X509 *certificate, struct authority_identity *id)
{
    int critical;
    *id = (struct authority_identity){.node = 0};
    /* NULL, too, when the extension stands there twice. */
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
    int error = names != NULL ? names_judge(names, id) : -EINVAL;
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    if (error != 0)
        *id = (struct authority_identity){.node = 0};
    return error;
}

/* The first entry of that kind, as it is printable; "" if there is none. */
static void subject_part(const X509 *certificate, int kind, char *text, size_t size)
{
    int length =
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), kind, text, (int)size);
    if (length < 0)
        text[0] = 0;
    for (char *c = text; *c != 0; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* INT64_MIN: not to be read. */
static int64_t seconds_of(const ASN1_TIME *when)
{
    struct tm utc;
    return ASN1_TIME_to_tm(when, &utc) == 1 ? (int64_t)timegm(&utc) : INT64_MIN;
}

static void serial_print(const X509 *certificate, char text[AUTHORITY_SERIAL_BYTES])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;
    (void)snprintf(text, AUTHORITY_SERIAL_BYTES, "%s", hex != NULL ? hex : "?");
    OPENSSL_free(hex);
    BN_free(number);
}

int authority_describe(X509 *certificate, struct authority_certificate *c)
{
    *c = (struct authority_certificate){
        .is_authority = (X509_get_extension_flags(certificate) & EXFLAG_CA) != 0,
        .from_s = seconds_of(X509_get0_notBefore(certificate)),
        .until_s = seconds_of(X509_get0_notAfter(certificate))};
    subject_part(certificate, NID_commonName, c->common_name, sizeof(c->common_name));
    serial_print(certificate, c->serial);
    if (!c->is_authority)
        return authority_identity_of(certificate, &c->identity);
    subject_part(certificate, NID_organizationName, c->identity.cluster,
                 sizeof(c->identity.cluster));
    return authority_name_is_good(c->identity.cluster) ? 0 : -EINVAL;
}

void authority_time_print(char text[AUTHORITY_TIME_BYTES], int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm utc;
    if (gmtime_r(&when, &utc) == NULL || utc.tm_year < -1899 || utc.tm_year > 8099 ||
        strftime(text, AUTHORITY_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(text, AUTHORITY_TIME_BYTES, "?");
}

/* ---- files ---- */

/* Never asks the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

/* All of them, until the file has no more. */
static int certificates_parse(const char *path, BIO *in, STACK_OF(X509) * all, FILE *errors)
{
    X509 *c;
    while ((c = PEM_read_bio_X509(in, NULL, no_passphrase, NULL)) != NULL) {
        if (sk_X509_num(all) == AUTHORITY_CERTIFICATES_MAX || sk_X509_push(all, c) == 0) {
            X509_free(c);
            return authority_fault(errors, -EINVAL, path, "more than %d certificates; give fewer",
                                   AUTHORITY_CERTIFICATES_MAX);
        }
    }
    unsigned long why = ERR_peek_last_error();
    bool ended = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!ended)
        return authority_fault(errors, -EINVAL, path,
                               "a certificate in it is damaged; get it anew");
    if (sk_X509_num(all) == 0)
        return authority_fault(
            errors, -EINVAL, path,
            "no certificate in it; give one in PEM, as dunlin authority makes it");
    return 0;
}

int authority_certificates_load(const char *path, STACK_OF(X509) * *certificates, FILE *errors)
{
    char *bytes;
    size_t size;
    int error = authority_file_read(path, false, &bytes, &size, errors);
    if (error != 0)
        return error;
    BIO *in = BIO_new_mem_buf(bytes, (int)size);
    STACK_OF(X509) *all = sk_X509_new_null();
    error = in != NULL && all != NULL
                ? certificates_parse(path, in, all, errors)
                : authority_fault(errors, -ENOMEM, path, "no memory to read it");
    BIO_free(in);
    authority_file_free(bytes, size);
    if (error == 0)
        *certificates = all;
    else
        sk_X509_pop_free(all, X509_free);
    return error;
}

int authority_key_load(const char *path, EVP_PKEY **key, FILE *errors)
{
    char *bytes;
    size_t size;
    int error = authority_file_read(path, true, &bytes, &size, errors);
    if (error != 0)
        return error;
    BIO *in = BIO_new_mem_buf(bytes, (int)size);
    EVP_PKEY *read = in != NULL ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;
    BIO_free(in);
    authority_file_free(bytes, size);
    ERR_clear_error();
    if (read == NULL)
        return authority_fault(
            errors, -EINVAL, path,
            "no private key in it, or one with a passphrase; give one in PEM, as "
            "dunlin authority makes it");
    *key = read;
    return 0;
}
