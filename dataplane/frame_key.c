#include "dataplane/frame_key.h"

#include <intel-ipsec-mb.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define IV_BYTES 12u
#define KEY_BYTES 32u
#define INFO_MAX 128u

static const uint8_t salt_of_keys[] = "dunlin frame key 1";

struct frame_key {
    struct gcm_key_data expanded; /* aligned */
    const IMB_MGR *cipher;
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

/* ---- ciphers ---- */

/* The implementation for this processor: functions, chosen once, that keep nothing between calls. */
static IMB_MGR *cipher;
static pthread_once_t cipher_once = PTHREAD_ONCE_INIT;

static void cipher_choose(void)
{
    IMB_MGR *chosen = alloc_mb_mgr(0);
    if (chosen == NULL)
        return;
    init_mb_mgr_auto(chosen, NULL);
    if (imb_get_errno(chosen) == 0)
        cipher = chosen;
    else
        free_mb_mgr(chosen);
}

int frame_key_open(struct frame_key **key)
{
    if (pthread_once(&cipher_once, cipher_choose) != 0 || cipher == NULL)
        return -ENOMEM;
    struct frame_key *k =
        aligned_alloc(alignof(struct frame_key), align_up(sizeof *k, alignof(struct frame_key)));
    if (k == NULL)
        return -ENOMEM;
    k->cipher = cipher;
    k->is_set = false;
    *key = k;
    return 0;
}

void frame_key_close(struct frame_key *key)
{
    if (key == NULL)
        return;
    OPENSSL_cleanse(&key->expanded, sizeof key->expanded);
    free(key);
}

int frame_key_set(struct frame_key *key, const struct frame_key_source *source)
{
    uint8_t bytes[KEY_BYTES];
    key->is_set = false;
    int error = derive(source, bytes);
    if (error == 0)
        IMB_AES256_GCM_PRE(key->cipher, bytes, &key->expanded);
    OPENSSL_cleanse(bytes, sizeof bytes);
    key->is_set = error == 0;
    return error;
}

void frame_key_unset(struct frame_key *key)
{
    OPENSSL_cleanse(&key->expanded, sizeof key->expanded);
    key->is_set = false;
}

/* ---- frames ---- */

/* The initialization vector: nonce, then for a HELLO what its start adds (frame_key.h). */
static void vector_set(const struct frame_header *h, uint8_t iv[IV_BYTES])
{
    uint32_t salt = (h->flags & FRAME_HELLO) != 0 ? (uint32_t)h->start : 0;
    for (uint32_t i = 0; i < 8; i++)
        iv[i] = (uint8_t)(h->nonce >> (8 * i));
    for (uint32_t i = 0; i < 4; i++)
        iv[8 + i] = (uint8_t)(salt >> (8 * i));
}

/* The tag of header and payload, both in the clear: of 48 bytes that end where the payload begins.  Why
 * they have to be brought there: all that is authentic only has to lie in one piece, for a call that
 * takes a fourth of the time of one that goes on from part to part. */
static void authenticate(const struct frame_key *key, const uint8_t iv[IV_BYTES],
                         const uint8_t *joined, uint32_t length, uint8_t tag[FRAME_TAG_BYTES])
{
    struct gcm_context_data context;
    IMB_AES256_GCM_ENC(key->cipher, &key->expanded, &context, NULL, NULL, 0, iv, joined,
                       (uint64_t)FRAME_TAG_AT + length, tag, FRAME_TAG_BYTES);
}

static void seal_authentic(const struct frame_key *key, const uint8_t iv[IV_BYTES], uint8_t *frame,
                           uint32_t length)
{
    uint8_t tag[FRAME_TAG_BYTES];
    uint8_t *joined = frame + FRAME_TAG_BYTES;
    memmove(joined, frame, FRAME_TAG_AT);
    authenticate(key, iv, joined, length, tag);
    memmove(frame, joined, FRAME_TAG_AT);
    memcpy(frame + FRAME_TAG_AT, tag, sizeof tag);
}

/* The tag that the frame ought to have; leaves the frame as it was. */
static void open_authentic(const struct frame_key *key, const uint8_t iv[IV_BYTES], uint8_t *frame,
                           uint32_t length, uint8_t tag[FRAME_TAG_BYTES])
{
    uint8_t header[FRAME_HEADER_BYTES];
    memcpy(header, frame, sizeof header);
    memcpy(frame + FRAME_TAG_BYTES, header, FRAME_TAG_AT);
    authenticate(key, iv, frame + FRAME_TAG_BYTES, length, tag);
    memcpy(frame, header, sizeof header);
}

bool frame_seal(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                const uint8_t *payload, uint32_t length)
{
    uint8_t iv[IV_BYTES];
    uint8_t *there = frame + FRAME_HEADER_BYTES;
    ASSERT((h->flags & FRAME_RANGE) == 0);
    frame_header_encode(h, frame);
    vector_set(h, iv);
    if (!key->is_set)
        return false;
    if ((h->flags & FRAME_ENCRYPTED) == 0) {
        if (payload != NULL)
            memcpy(there, payload, length);
        seal_authentic(key, iv, frame, length);
        return true;
    }
    struct gcm_context_data context;
    IMB_AES256_GCM_ENC(key->cipher, &key->expanded, &context, there,
                       payload != NULL ? payload : there, length, iv, frame, FRAME_TAG_AT,
                       frame + FRAME_TAG_AT, FRAME_TAG_BYTES);
    return true;
}

bool frame_seal_split(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                      uint32_t length, const struct frame_octets *rest)
{
    uint8_t iv[IV_BYTES];
    struct gcm_context_data context;
    ASSERT((h->flags & (FRAME_ENCRYPTED | FRAME_RANGE)) == 0);
    frame_header_encode(h, frame);
    vector_set(h, iv);
    if (!key->is_set)
        return false;
    IMB_AES256_GMAC_INIT(key->cipher, &key->expanded, &context, iv, IV_BYTES);
    IMB_AES256_GMAC_UPDATE(key->cipher, &key->expanded, &context, frame, FRAME_TAG_AT);
    if (length != 0)
        IMB_AES256_GMAC_UPDATE(key->cipher, &key->expanded, &context, frame + FRAME_HEADER_BYTES,
                               length);
    IMB_AES256_GMAC_UPDATE(key->cipher, &key->expanded, &context, rest->bytes, rest->length);
    IMB_AES256_GMAC_FINALIZE(key->cipher, &key->expanded, &context, frame + FRAME_TAG_AT,
                             FRAME_TAG_BYTES);
    return true;
}

bool frame_open(struct frame_key *key, const struct frame_header *h, uint8_t *frame,
                uint32_t length)
{
    uint8_t iv[IV_BYTES], tag[FRAME_TAG_BYTES];
    uint8_t *there = frame + FRAME_HEADER_BYTES;
    vector_set(h, iv);
    if (!key->is_set || (h->flags & FRAME_RANGE) != 0)
        return false;
    if ((h->flags & FRAME_ENCRYPTED) == 0) {
        open_authentic(key, iv, frame, length, tag);
    } else {
        struct gcm_context_data context;
        IMB_AES256_GCM_DEC(key->cipher, &key->expanded, &context, there, there, length, iv, frame,
                           FRAME_TAG_AT, tag, FRAME_TAG_BYTES);
    }
    /* Why not memcmp: how long it takes would tell how much of a forged tag is right. */
    return CRYPTO_memcmp(tag, frame + FRAME_TAG_AT, FRAME_TAG_BYTES) == 0;
}

/* ---- ranges ---- */

/* Why from part to part, though it takes longer: bringing header and range together would be a copy of the range. */
static void range_tag(const struct frame_key *key, const struct frame_header *h,
                      const struct frame_octets *range, uint8_t tag[FRAME_TAG_BYTES])
{
    uint8_t iv[IV_BYTES], header[FRAME_TAG_AT];
    struct gcm_context_data context;
    frame_header_encode(h, header);
    vector_set(h, iv);
    IMB_AES256_GMAC_INIT(key->cipher, &key->expanded, &context, iv, IV_BYTES);
    IMB_AES256_GMAC_UPDATE(key->cipher, &key->expanded, &context, header, sizeof header);
    if (range->length != 0)
        IMB_AES256_GMAC_UPDATE(key->cipher, &key->expanded, &context, range->bytes, range->length);
    IMB_AES256_GMAC_FINALIZE(key->cipher, &key->expanded, &context, tag, FRAME_TAG_BYTES);
}

bool frame_range_seal(struct frame_key *key, const struct frame_header *h,
                      const struct frame_octets *range, uint8_t tag[FRAME_TAG_BYTES])
{
    ASSERT(h->flags == FRAME_RANGE);
    if (!key->is_set)
        return false;
    range_tag(key, h, range, tag);
    return true;
}

bool frame_range_open(struct frame_key *key, const struct frame_header *h,
                      const struct frame_octets *range, const uint8_t tag[FRAME_TAG_BYTES])
{
    uint8_t expected[FRAME_TAG_BYTES];
    ASSERT(h->flags == FRAME_RANGE);
    if (!key->is_set)
        return false;
    range_tag(key, h, range, expected);
    return CRYPTO_memcmp(tag, expected, FRAME_TAG_BYTES) == 0;
}
