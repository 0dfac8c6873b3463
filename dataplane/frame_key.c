#include "dataplane/frame_key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define IV_BYTES 12u
#define KEY_BYTES 32u
#define INFO_MAX 128u

static const uint8_t salt_of_keys[] = "dunlin frame key 1";

struct frame_key {
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *context;
    bool is_set;
};

/* ---- derivation ---- */

/* Why a cast: the parameter is read only, its type serves both directions. */
static OSSL_PARAM octets(const char *name, const struct frame_octets *o)
{
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)o->bytes, o->length);
}

int frame_hkdf(const struct frame_octets *secret, const struct frame_octets *salt,
               const struct frame_octets *info, uint8_t *out, uint64_t out_length)
{
    static char digest[] = "SHA256";
    int error = -ENOMEM;
    if (out_length == 0 || out_length > UINT64_C(255) * 32)
        return -EINVAL;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    if (context == NULL)
        goto free_kdf;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        octets(OSSL_KDF_PARAM_KEY, secret),
        octets(OSSL_KDF_PARAM_INFO, info),
        octets(OSSL_KDF_PARAM_SALT, salt),
        OSSL_PARAM_construct_end(),
    };
    /* Why: no salt means zeros (RFC 5869, 2.2); the library wants it left out then. */
    if (salt->length == 0)
        parameters[3] = OSSL_PARAM_construct_end();
    if (EVP_KDF_derive(context, out, out_length, parameters) == 1)
        error = 0;
    EVP_KDF_CTX_free(context);
free_kdf:
    EVP_KDF_free(kdf);
    return error;
}

/* Bytes of a list that is unambiguous: each of fixed length, the optional ones announced. */
struct info {
    uint8_t bytes[INFO_MAX];
    uint64_t length;
};

static void info_number(struct info *info, uint64_t v, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        info->bytes[info->length++] = (uint8_t)(v >> (8 * i));
}

static void info_end(struct info *info, const struct frame_end *end)
{
    info_number(info, end->node, 4);
    info_number(info, end->challenge != NULL, 1);
    if (end->challenge == NULL)
        return;
    info_number(info, end->start, 8);
    memcpy(info->bytes + info->length, end->challenge, HANDSHAKE_CHALLENGE_BYTES);
    info->length += HANDSHAKE_CHALLENGE_BYTES;
}

static int derive(const struct frame_key_source *source, uint8_t *key)
{
    struct info info = {.length = 0};
    info_number(&info, source->cluster, 8);
    info_number(&info, source->key_id, 2);
    info_number(&info, source->lcore, 1);
    info_end(&info, &source->from);
    info_end(&info, &source->to);
    const struct frame_octets secret = {.bytes = source->secret, .length = FRAME_SECRET_BYTES};
    const struct frame_octets salt = {.bytes = salt_of_keys, .length = sizeof salt_of_keys - 1};
    const struct frame_octets all = {.bytes = info.bytes, .length = info.length};
    return frame_hkdf(&secret, &salt, &all, key, KEY_BYTES);
}

/* ---- contexts ---- */

int frame_key_open(struct frame_key **key)
{
    struct frame_key *k = calloc(1, sizeof *k);
    if (k == NULL)
        return -ENOMEM;
    /* Why fetched: a cipher by name alone is looked up anew at each start. */
    k->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    k->context = EVP_CIPHER_CTX_new();
    if (k->cipher == NULL || k->context == NULL) {
        frame_key_close(k);
        return -ENOMEM;
    }
    *key = k;
    return 0;
}

void frame_key_close(struct frame_key *key)
{
    if (key == NULL)
        return;
    EVP_CIPHER_CTX_free(key->context); /* clears the key */
    EVP_CIPHER_free(key->cipher);
    free(key);
}

int frame_key_set(struct frame_key *key, const struct frame_key_source *source)
{
    uint8_t bytes[KEY_BYTES];
    key->is_set = false;
    int error = derive(source, bytes);
    if (error == 0 && EVP_CipherInit_ex(key->context, key->cipher, NULL, bytes, NULL, 1) != 1)
        error = -ENOMEM;
    OPENSSL_cleanse(bytes, sizeof bytes);
    key->is_set = error == 0;
    return error;
}

/* ---- frames ---- */

/* The initialization vector: nonce, then for a HELLO what its start adds (frame_key.h). */
static bool begin(struct frame_key *key, const struct frame_header *h, int encrypt)
{
    uint8_t iv[IV_BYTES];
    uint32_t salt = (h->flags & FRAME_HELLO) != 0 ? (uint32_t)h->start : 0;
    for (uint32_t i = 0; i < 8; i++)
        iv[i] = (uint8_t)(h->nonce >> (8 * i));
    for (uint32_t i = 0; i < 4; i++)
        iv[8 + i] = (uint8_t)(salt >> (8 * i));
    return key->is_set && EVP_CipherInit_ex(key->context, NULL, NULL, NULL, iv, encrypt) == 1;
}

/* Header and payload into the tag; the payload through the cipher if it is to be encrypted. */
static bool pass(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                 const uint8_t *payload, uint32_t length)
{
    int done;
    uint8_t *out = (h->flags & FRAME_ENCRYPTED) != 0 ? frame + FRAME_HEADER_BYTES : NULL;
    return EVP_CipherUpdate(key->context, NULL, &done, frame, FRAME_TAG_AT) == 1 &&
           (length == 0 || EVP_CipherUpdate(key->context, out, &done, payload, (int)length) == 1);
}

bool frame_seal(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                const uint8_t *payload, uint32_t length)
{
    int done;
    uint8_t *there = frame + FRAME_HEADER_BYTES;
    frame_header_encode(h, frame);
    if (payload != NULL && (h->flags & FRAME_ENCRYPTED) == 0) {
        memcpy(there, payload, length);
        payload = NULL;
    }
    return begin(key, h, 1) && pass(key, h, frame, payload != NULL ? payload : there, length) &&
           EVP_CipherFinal_ex(key->context, there, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(key->context, EVP_CTRL_AEAD_GET_TAG, FRAME_TAG_BYTES,
                               frame + FRAME_TAG_AT) == 1;
}

bool frame_open(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                uint32_t length)
{
    int done;
    uint8_t *there = frame + FRAME_HEADER_BYTES;
    return begin(key, h, 0) &&
           EVP_CIPHER_CTX_ctrl(key->context, EVP_CTRL_AEAD_SET_TAG, FRAME_TAG_BYTES,
                               frame + FRAME_TAG_AT) == 1 &&
           pass(key, h, frame, there, length) &&
           EVP_CipherFinal_ex(key->context, there, &done) == 1;
}
