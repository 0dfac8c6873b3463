/* Keys of frames: known answers, and what must not open. */
#include "dataplane/frame_key.h"
#include "tests/unit/unit.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define PAYLOAD 24u
#define FRAME (FRAME_HEADER_BYTES + PAYLOAD)

static uint64_t allocations;
static uint8_t secret[FRAME_SECRET_BYTES], challenge_a[16], challenge_b[16], payload[PAYLOAD];
static uint8_t frame[FRAME];
static struct frame_key *out, *in;

static const struct frame_header header = {
    .version = 1,
    .flags = FRAME_ENCRYPTED,
    .lcore = 3,
    .key_id = 5,
    .head_length = 9,
    .piece = 1336,
    .node = 7,
    .length = 8,
    .cluster = UINT64_C(0x1122334455667788),
    .start = 100,
    .nonce = UINT64_C(0x0102030405060708),
};

static struct frame_key_source source(void)
{
    return (struct frame_key_source){
        .secret = secret,
        .cluster = UINT64_C(0x1122334455667788),
        .key_id = 5,
        .lcore = 3,
        .from = {.node = 7, .start = 100, .challenge = challenge_a},
        .to = {.node = 9, .start = 200, .challenge = challenge_b},
    };
}

static void open_keys(void)
{
    for (uint32_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)i;
    for (uint32_t i = 0; i < 16; i++) {
        challenge_a[i] = (uint8_t)(0xa0 + i);
        challenge_b[i] = (uint8_t)(0xb0 + i);
    }
    for (uint32_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)i;
    struct frame_key_source s = source();
    CU_ASSERT_EQUAL_FATAL(frame_key_open(&out), 0);
    CU_ASSERT_EQUAL_FATAL(frame_key_open(&in), 0);
    CU_ASSERT_EQUAL_FATAL(frame_key_set(out, &s), 0);
    CU_ASSERT_EQUAL_FATAL(frame_key_set(in, &s), 0);
}

static void close_keys(void)
{
    frame_key_close(out);
    frame_key_close(in);
    frame_key_close(NULL);
}

static uint32_t digit(char c)
{
    return (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static bool is_hex(const uint8_t *bytes, uint64_t length, const char *hex)
{
    bool same = strlen(hex) == 2 * length;
    for (uint64_t i = 0; same && i < length; i++)
        same = bytes[i] == (digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return same;
}

/* ---- derivation ---- */

static struct frame_octets sequence(uint8_t *bytes, uint8_t first, uint64_t length)
{
    for (uint64_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(first + i);
    return (struct frame_octets){.bytes = bytes, .length = length};
}

/* RFC 5869, A.1 to A.3. */
static void hkdf_gives_the_answers_of_its_rfc(void)
{
    uint8_t key[80], salt[80], info[80], okm[82];
    memset(key, 0x0b, 22);
    struct frame_octets k = {.bytes = key, .length = 22};
    struct frame_octets s = sequence(salt, 0, 13);
    struct frame_octets i = sequence(info, 0xf0, 10);
    CU_ASSERT_EQUAL(frame_hkdf(&k, &s, &i, okm, 42), 0);
    CU_ASSERT_TRUE(is_hex(okm, 42,
                          "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                          "34007208d5b887185865"));
    s.length = i.length = 0;
    CU_ASSERT_EQUAL(frame_hkdf(&k, &s, &i, okm, 42), 0);
    CU_ASSERT_TRUE(is_hex(okm, 42,
                          "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                          "9d201395faa4b61a96c8"));
    k = sequence(key, 0, 80);
    s = sequence(salt, 0x60, 80);
    i = sequence(info, 0xb0, 80);
    CU_ASSERT_EQUAL(frame_hkdf(&k, &s, &i, okm, 82), 0);
    CU_ASSERT_TRUE(is_hex(okm, 82,
                          "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                          "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                          "cc30c58179ec3e87c14c01d5c1f3434f1d87"));
    CU_ASSERT_EQUAL(frame_hkdf(&k, &s, &i, okm, 0), -EINVAL);
    CU_ASSERT_EQUAL(frame_hkdf(&k, &s, &i, okm, UINT64_C(255) * 32 + 1), -EINVAL);
}

/* ---- known answers, by another implementation of HKDF and AES-GCM from the documented fields ---- */

static const char encrypted[] =
    "44554e31010105008877665544332211070000000900380564000000000000000807060504030201"
    "0800000000000300ad545320dbe9843bc5b6f3c144a143d6b96e4906c93f5e2a2f92d58874333032"
    "82ee39ab109422d7";
static const char authentic[] =
    "44554e31010005008877665544332211070000000900380564000000000000000807060504030201"
    "080000000000030096d41cf16650e60fcd3348dfbac686ba000102030405060708090a0b0c0d0e0f"
    "1011121314151617";
static const char hello[] =
    "44554e31010205008877665544332211070000000000000064000000000000000807060504030201"
    "0000000000000300108f6664f494c8f83f0aa8aa77fec808000102030405060708090a0b0c0d0e0f"
    "1011121314151617";

static void a_frame_is_sealed_to_known_bytes(void)
{
    open_keys();
    struct frame_header h = header;
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(is_hex(frame, FRAME, encrypted));
    memcpy(frame + FRAME_HEADER_BYTES, payload, PAYLOAD);
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, NULL, PAYLOAD)); /* where it stands */
    CU_ASSERT_TRUE(is_hex(frame, FRAME, encrypted));
    h.flags = 0;
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(is_hex(frame, FRAME, authentic));
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, NULL, PAYLOAD));
    CU_ASSERT_TRUE(is_hex(frame, FRAME, authentic));
    close_keys();
}

static void a_hello_is_sealed_to_known_bytes(void)
{
    open_keys();
    struct frame_key_source s = source();
    s.from.challenge = s.to.challenge = NULL;
    CU_ASSERT_EQUAL(frame_key_set(out, &s), 0);
    struct frame_header h = header;
    h.flags = FRAME_HELLO;
    h.head_length = h.piece = 0;
    h.length = 0;
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(is_hex(frame, FRAME, hello));
    close_keys();
}

/* ---- every length, by libcrypto ---- */

#define LENGTH_MAX 8888u

/* The key of source(), as frame_key.h says that it is derived. */
static void pair_key(uint8_t key[32])
{
    static const uint8_t salt[] = "dunlin frame key 1";
    uint8_t info[69] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 5, 0, 3};
    info[11] = 7; /* from: node, whether there are start and challenge, start */
    info[15] = 1;
    info[16] = 100;
    memcpy(info + 24, challenge_a, 16);
    info[40] = 9;
    info[44] = 1;
    info[45] = 200;
    memcpy(info + 53, challenge_b, 16);
    const struct frame_octets secrets = {secret, sizeof secret}, salts = {salt, sizeof salt - 1},
                              infos = {info, sizeof info};
    CU_ASSERT_EQUAL_FATAL(frame_hkdf(&secrets, &salts, &infos, key, 32), 0);
}

/* What the frame of h is to be: all but its tag as it stands, payload in place of what was sealed. */
static void seal_slowly(EVP_CIPHER_CTX *c, const struct frame_header *h, uint8_t *sealed,
                        uint32_t length)
{
    int done;
    uint8_t iv[12] = {0}, final[16];
    uint8_t *to = (h->flags & FRAME_ENCRYPTED) != 0 ? sealed + FRAME_HEADER_BYTES : NULL;
    memcpy(iv, &h->nonce, 8);
    frame_header_encode(h, sealed);
    CU_ASSERT_EQUAL(EVP_EncryptInit_ex(c, NULL, NULL, NULL, iv), 1);
    CU_ASSERT_EQUAL(EVP_EncryptUpdate(c, NULL, &done, sealed, FRAME_TAG_AT), 1);
    if (length != 0)
        CU_ASSERT_EQUAL(EVP_EncryptUpdate(c, to, &done, sealed + FRAME_HEADER_BYTES, (int)length),
                        1);
    CU_ASSERT_EQUAL(EVP_EncryptFinal_ex(c, final, &done), 1);
    CU_ASSERT_EQUAL(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, sealed + FRAME_TAG_AT), 1);
}

static void frames_of_every_length_are_what_libcrypto_seals(void)
{
    static uint8_t content[LENGTH_MAX], sealed[FRAME_HEADER_BYTES + LENGTH_MAX],
        wanted[FRAME_HEADER_BYTES + LENGTH_MAX];
    uint8_t key[32];
    open_keys();
    pair_key(key);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL_FATAL(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, NULL), 1);
    for (uint32_t i = 0; i < LENGTH_MAX; i++)
        content[i] = (uint8_t)(i * 29 + i / 256);
    for (uint32_t length = 0; length <= LENGTH_MAX; length += length < 1500 ? 1 : 97) {
        struct frame_header h = header;
        h.nonce = length * 3 + 1;
        h.flags = length % 2 != 0 ? FRAME_ENCRYPTED : 0;
        for (uint32_t turn = 0; turn < 2; turn++, h.flags ^= FRAME_ENCRYPTED) {
            CU_ASSERT_TRUE(frame_seal(out, &h, sealed, content, length));
            memcpy(wanted + FRAME_HEADER_BYTES, content, length);
            seal_slowly(c, &h, wanted, length);
            CU_ASSERT_EQUAL(memcmp(sealed, wanted, FRAME_HEADER_BYTES + length), 0);
        }
    }
    EVP_CIPHER_CTX_free(c);
    close_keys();
}

/* In two pieces, or with all of the payload elsewhere, it is the same frame. */
static void a_frame_in_two_pieces_is_the_same(void)
{
    static uint8_t content[LENGTH_MAX], sealed[FRAME_HEADER_BYTES + LENGTH_MAX],
        split[FRAME_HEADER_BYTES + LENGTH_MAX];
    open_keys();
    for (uint32_t i = 0; i < LENGTH_MAX; i++)
        content[i] = (uint8_t)(i * 31 + i / 256);
    for (uint32_t length = 8; length <= LENGTH_MAX; length += length < 600 ? 8 : 296) {
        struct frame_header h = header;
        h.flags = 0;
        CU_ASSERT_TRUE(frame_seal(out, &h, sealed, content, length));
        for (uint32_t own = 0; own < length; own += length < 600 ? 8 : 1480) {
            const struct frame_octets rest = {.bytes = content + own, .length = length - own};
            memcpy(split + FRAME_HEADER_BYTES, content, own);
            CU_ASSERT_TRUE(frame_seal_split(out, &h, split, own, &rest));
            CU_ASSERT_EQUAL(memcmp(split, sealed, FRAME_HEADER_BYTES + own), 0);
        }
    }
    frame_key_unset(out);
    const struct frame_octets rest = {.bytes = content, .length = 64};
    struct frame_header h = header;
    h.flags = 0;
    CU_ASSERT_FALSE(frame_seal_split(out, &h, split, 0, &rest));
    close_keys();
}

/* ---- opening ---- */

static bool opens(const uint8_t *sealed, uint64_t length)
{
    static const struct frame_local local = {.cluster = UINT64_C(0x1122334455667788),
                                             .lcore = 3,
                                             .version_lowest = 0,
                                             .version_highest = 255};
    static uint8_t copy[16384];
    struct frame_header h;
    memcpy(copy, sealed, length);
    return frame_header_decode(&h, copy, length, &local) == FRAME_TAKEN &&
           frame_open(in, &h, copy, (uint32_t)(length - FRAME_HEADER_BYTES)) &&
           memcmp(copy + FRAME_HEADER_BYTES, payload,
                  min_u64(length - FRAME_HEADER_BYTES, PAYLOAD)) == 0;
}

static void what_was_sealed_opens_and_nothing_else(void)
{
    open_keys();
    for (uint8_t flags = 0; flags <= FRAME_ENCRYPTED; flags++) {
        struct frame_header h = header;
        h.flags = flags;
        CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
        CU_ASSERT_TRUE(opens(frame, FRAME));
        for (uint32_t i = 0; i < FRAME * 8; i++) {
            frame[i / 8] ^= (uint8_t)(1u << (i % 8));
            CU_ASSERT_FALSE(opens(frame, FRAME));
            frame[i / 8] ^= (uint8_t)(1u << (i % 8));
        }
        CU_ASSERT_FALSE(opens(frame, FRAME - 1));
        CU_ASSERT_FALSE(opens(frame, FRAME_HEADER_BYTES));
        CU_ASSERT_TRUE(opens(frame, FRAME));
    }
    close_keys();
}

static void payloads_of_every_length_pass(void)
{
    static uint8_t content[9000], sealed[FRAME_HEADER_BYTES + 9000];
    open_keys();
    memcpy(content, payload, PAYLOAD);
    for (uint32_t length = 0; length <= 8888; length += length < 300 ? 1 : 307) {
        struct frame_header h = header;
        h.nonce = length + 1;
        CU_ASSERT_TRUE(frame_seal(out, &h, sealed, content, length));
        CU_ASSERT_TRUE(opens(sealed, FRAME_HEADER_BYTES + length));
    }
    close_keys();
}

/* ---- ranges ---- */

#define RANGE_MAX 40000u

static uint8_t range_memory[RANGE_MAX];

static struct frame_header range_header(uint32_t length)
{
    struct frame_header h = header;
    h.flags = FRAME_RANGE;
    h.head_length = h.piece = h.index = 0;
    h.length = length;
    return h;
}

static void fill_range(void)
{
    for (uint32_t i = 0; i < RANGE_MAX; i++)
        range_memory[i] = (uint8_t)(i * 23 + i / 256);
}

/* Of any length, and wherever it begins: 48 bytes of header, then the range, as additional data. */
static void the_tag_of_a_range_is_what_libcrypto_says(void)
{
    static uint8_t wanted[FRAME_HEADER_BYTES + RANGE_MAX];
    uint8_t key[32], tag[FRAME_TAG_BYTES];
    open_keys();
    pair_key(key);
    fill_range();
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL_FATAL(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, NULL), 1);
    for (uint32_t length = 0; length < RANGE_MAX - 64; length += length < 300 ? 1 : 977) {
        uint32_t at = length % 61;
        struct frame_header h = range_header(length);
        h.nonce = length * 3 + 1;
        const struct frame_octets range = {.bytes = range_memory + at, .length = length};
        CU_ASSERT_TRUE(frame_range_seal(out, &h, &range, tag));
        memcpy(wanted + FRAME_HEADER_BYTES, range.bytes, length);
        seal_slowly(c, &h, wanted, length);
        CU_ASSERT_EQUAL(memcmp(tag, wanted + FRAME_TAG_AT, FRAME_TAG_BYTES), 0);
        CU_ASSERT_TRUE(frame_range_open(in, &h, &range, tag));
    }
    EVP_CIPHER_CTX_free(c);
    close_keys();
}

static void a_range_is_its_bytes_and_nothing_else(void)
{
    uint8_t tag[FRAME_TAG_BYTES];
    open_keys();
    fill_range();
    const struct frame_header h = range_header(200);
    struct frame_octets range = {.bytes = range_memory + 3, .length = 200};
    CU_ASSERT_TRUE(frame_range_seal(out, &h, &range, tag));
    for (uint32_t i = 0; i < 200 * 8; i++) {
        range_memory[3 + i / 8] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
        range_memory[3 + i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (uint32_t i = 0; i < FRAME_TAG_BYTES * 8; i++) {
        tag[i / 8] ^= (uint8_t)(1u << (i % 8));
        CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
        tag[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    range.length = 199;
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
    range.length = 201;
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
    range = (struct frame_octets){.bytes = range_memory + 4, .length = 200};
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
    range.bytes = range_memory + 3;
    CU_ASSERT_TRUE(frame_range_open(in, &h, &range, tag));
    close_keys();
}

static void a_range_is_of_its_header_alone(void)
{
    uint8_t tag[FRAME_TAG_BYTES];
    struct frame_header other[8];
    open_keys();
    fill_range();
    const struct frame_octets range = {.bytes = range_memory, .length = 64};
    const struct frame_header h = range_header(64);
    CU_ASSERT_TRUE(frame_range_seal(out, &h, &range, tag));
    for (uint32_t i = 0; i < 8; i++)
        other[i] = h;
    other[0].version++;
    other[1].lcore++;
    other[2].key_id++;
    other[3].node++;
    other[4].cluster++;
    other[5].start++;
    other[6].nonce++;
    other[7].length++;
    for (uint32_t i = 0; i < 8; i++)
        CU_ASSERT_FALSE(frame_range_open(in, &other[i], &range, tag));
    struct frame_key_source elsewhere = source();
    elsewhere.from = source().to;
    elsewhere.to = source().from;
    CU_ASSERT_EQUAL(frame_key_set(in, &elsewhere), 0);
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
    frame_key_unset(in);
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, tag));
    frame_key_unset(out);
    CU_ASSERT_FALSE(frame_range_seal(out, &h, &range, tag));
    close_keys();
}

/* What proves a range is no frame, and what proves a frame is no range. */
static void a_range_is_no_frame(void)
{
    uint8_t tag[FRAME_TAG_BYTES];
    open_keys();
    const struct frame_octets range = {.bytes = payload, .length = PAYLOAD};
    struct frame_header h = range_header(PAYLOAD);
    CU_ASSERT_TRUE(frame_range_seal(out, &h, &range, tag));
    frame_header_encode(&h, frame);
    memcpy(frame + FRAME_TAG_AT, tag, sizeof tag);
    memcpy(frame + FRAME_HEADER_BYTES, payload, PAYLOAD);
    CU_ASSERT_FALSE(opens(frame, FRAME));
    for (uint8_t flags = 0; flags < FRAME_RANGE; flags++) {
        frame[5] = flags;
        CU_ASSERT_FALSE(opens(frame, FRAME));
    }
    CU_ASSERT_FALSE(frame_is_sound(&h, PAYLOAD));
    h.flags = 0;
    CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(opens(frame, FRAME));
    h.flags = FRAME_RANGE;
    CU_ASSERT_FALSE(frame_range_open(in, &h, &range, frame + FRAME_TAG_AT));
    close_keys();
}

/* ---- keys ---- */

static void each_part_of_the_source_makes_another_key(void)
{
    struct frame_key_source other[9];
    uint8_t another[FRAME_SECRET_BYTES];
    open_keys();
    CU_ASSERT_TRUE(frame_seal(out, &header, frame, payload, PAYLOAD));
    for (uint32_t i = 0; i < 9; i++)
        other[i] = source();
    memcpy(another, secret, sizeof secret);
    another[31] ^= 1;
    other[0].secret = another;
    other[1].cluster++;
    other[2].key_id++;
    other[3].lcore++;
    other[4].from.start++;
    other[5].to.start++;
    other[6].from.challenge = challenge_b;
    other[7].to.node++;
    other[8].from = source().to;
    other[8].to = source().from;
    for (uint32_t i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(frame_key_set(in, &other[i]), 0);
        CU_ASSERT_FALSE(opens(frame, FRAME));
    }
    struct frame_key_source same = source();
    CU_ASSERT_EQUAL(frame_key_set(in, &same), 0);
    CU_ASSERT_TRUE(opens(frame, FRAME));
    close_keys();
}

static void a_key_that_is_not_set_does_nothing(void)
{
    struct frame_key *key;
    CU_ASSERT_EQUAL_FATAL(frame_key_open(&key), 0);
    CU_ASSERT_FALSE(frame_seal(key, &header, frame, payload, PAYLOAD));
    CU_ASSERT_FALSE(frame_open(key, &header, frame, PAYLOAD));
    frame_key_close(key);
}

static void a_key_that_is_void_does_nothing(void)
{
    open_keys();
    CU_ASSERT_TRUE(frame_seal(out, &header, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(opens(frame, FRAME));
    frame_key_unset(in);
    CU_ASSERT_FALSE(opens(frame, FRAME));
    frame_key_unset(out);
    CU_ASSERT_FALSE(frame_seal(out, &header, frame, payload, PAYLOAD));
    struct frame_key_source again = source();
    CU_ASSERT_EQUAL(frame_key_set(in, &again), 0);
    CU_ASSERT_EQUAL(frame_key_set(out, &again), 0);
    CU_ASSERT_TRUE(frame_seal(out, &header, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(opens(frame, FRAME));
    close_keys();
}

static void frames_need_no_memory(void)
{
    open_keys();
    CU_ASSERT_TRUE(frame_seal(out, &header, frame, payload, PAYLOAD));
    CU_ASSERT_TRUE(opens(frame, FRAME));
    CU_ASSERT(allocations != 0); /* they are counted */
    uint64_t before = allocations;
    for (uint64_t nonce = 1; nonce < 100; nonce++) {
        struct frame_header h = header;
        h.nonce = nonce;
        h.flags = nonce % 2 != 0 ? FRAME_ENCRYPTED : 0;
        CU_ASSERT_TRUE(frame_seal(out, &h, frame, payload, PAYLOAD));
        CU_ASSERT_TRUE(opens(frame, FRAME));
        frame[70] ^= 1;
        CU_ASSERT_FALSE(opens(frame, FRAME));
    }
    CU_ASSERT_EQUAL(allocations, before);
    close_keys();
}

/* ---- libcrypto's memory, counted ---- */

static void *counted_malloc(size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    allocations++;
    return malloc(bytes);
}

static void *counted_realloc(void *old, size_t bytes, const char *file, int line)
{
    (void)file, (void)line;
    allocations++;
    return realloc(old, bytes);
}

static void counted_free(void *old, const char *file, int line)
{
    (void)file, (void)line;
    free(old);
}

static const struct unit_test tests[] = {
    UNIT_TEST(hkdf_gives_the_answers_of_its_rfc),
    UNIT_TEST(a_frame_is_sealed_to_known_bytes),
    UNIT_TEST(a_hello_is_sealed_to_known_bytes),
    UNIT_TEST(frames_of_every_length_are_what_libcrypto_seals),
    UNIT_TEST(a_frame_in_two_pieces_is_the_same),
    UNIT_TEST(what_was_sealed_opens_and_nothing_else),
    UNIT_TEST(payloads_of_every_length_pass),
    UNIT_TEST(the_tag_of_a_range_is_what_libcrypto_says),
    UNIT_TEST(a_range_is_its_bytes_and_nothing_else),
    UNIT_TEST(a_range_is_of_its_header_alone),
    UNIT_TEST(a_range_is_no_frame),
    UNIT_TEST(each_part_of_the_source_makes_another_key),
    UNIT_TEST(a_key_that_is_not_set_does_nothing),
    UNIT_TEST(a_key_that_is_void_does_nothing),
    UNIT_TEST(frames_need_no_memory),
};

int main(int argc, char **argv)
{
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return 2;
    return unit_main("frame_key", tests, sizeof tests / sizeof tests[0], argc, argv);
}
