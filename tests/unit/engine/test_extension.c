/* Extensions, also as no correct peer or agent writes them. */
#include "engine/extension.h"
#include "tests/unit/unit.h"

static uint8_t bytes[64];

static uint32_t put(uint32_t at, uint16_t type, uint16_t length)
{
    memcpy(bytes + at, &type, sizeof type);
    memcpy(bytes + at + 2, &length, sizeof length);
    return at + 4 + ((length + 3u) & ~3u);
}

static void the_first_of_its_type_and_size_is_found(void)
{
    struct record_ttl found;
    struct record_ttl ttl = extension_ttl_make(12345);
    memset(bytes, 0, sizeof bytes);
    uint32_t at = put(0, 77, 3); /* unknown: passed over, padded to 4 */
    memcpy(bytes + at, &ttl, sizeof ttl);
    uint32_t end = at + (uint32_t)sizeof ttl;
    CU_ASSERT(extension_find(bytes, end, RECORD_EXTENSION_TTL, &found, sizeof found));
    CU_ASSERT_EQUAL(found.ttl_ns, 12345);
    CU_ASSERT_FALSE(extension_find(bytes, end, RECORD_EXTENSION_TOKEN, &found, sizeof found));
    CU_ASSERT_FALSE(extension_find(bytes, end - 1, RECORD_EXTENSION_TTL, &found, sizeof found));
    CU_ASSERT_FALSE(extension_find(bytes, end, RECORD_EXTENSION_TTL, &found, 8));
    CU_ASSERT_FALSE(extension_find(bytes, 0, RECORD_EXTENSION_TTL, &found, sizeof found));
}

static void lengths_that_lie_end_the_search(void)
{
    struct record_ttl found;
    for (uint32_t total = 0; total <= sizeof bytes; total++)
        for (uint32_t length = 0; length <= UINT16_MAX; length += 977) {
            memset(bytes, 0xff, sizeof bytes);
            (void)put(0, 77, (uint16_t)length);
            CU_ASSERT_FALSE(
                extension_find(bytes, total, RECORD_EXTENSION_TTL, &found, sizeof found));
        }
}

static void a_request_has_one_ttl_within_limits_or_none(void)
{
    struct record_ttl ttl[2] = {extension_ttl_make(LIMIT_TTL_NS_MIN), extension_ttl_make(1)};
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl[0]), LIMIT_TTL_NS_MIN);
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl), 0);
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, 8), 0);
    CU_ASSERT_EQUAL(extension_ttl_asked(&ttl[1], sizeof ttl[1]), 0);
    ttl[0].ttl_ns = LIMIT_TTL_NS_MAX;
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl[0]), LIMIT_TTL_NS_MAX);
    ttl[0].ttl_ns = LIMIT_TTL_NS_MAX + 1;
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl[0]), 0);
    ttl[0] = extension_ttl_make(LIMIT_TTL_NS_MIN);
    ttl[0].reserved = 1;
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl[0]), 0);
    ttl[0] = extension_ttl_make(LIMIT_TTL_NS_MIN);
    ttl[0].type = RECORD_EXTENSION_TOKEN;
    CU_ASSERT_EQUAL(extension_ttl_asked(ttl, sizeof ttl[0]), 0);
}

static void a_record_says_its_ttl_and_token(void)
{
    struct {
        struct record header;
        struct record_ttl ttl;
        struct record_token token;
    } r = {
        .header = {.kind = RECORD_DATA, .extension_length = 32, .lsn = 800},
        .ttl = extension_ttl_make(5000000),
        .token = extension_token_make(0),
    };
    CU_ASSERT_EQUAL(extension_ttl(&r.header), 5000000);
    CU_ASSERT_EQUAL(extension_token(&r.header), 800); /* its own LSN */
    r.token = extension_token_make(640);
    CU_ASSERT_EQUAL(extension_token(&r.header), 640);
    r.ttl.ttl_ns = UINT64_MAX;
    CU_ASSERT_EQUAL(extension_ttl(&r.header), LIMIT_TTL_NS_MAX);
    r.header.kind = RECORD_TOMBSTONE;
    CU_ASSERT_EQUAL(extension_ttl(&r.header), 0);
    CU_ASSERT_EQUAL(extension_token(&r.header), 0);
    r.header.kind = RECORD_DATA;
    r.header.extension_length = 0;
    CU_ASSERT_EQUAL(extension_ttl(&r.header), 0);
    CU_ASSERT_EQUAL(extension_token(&r.header), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_first_of_its_type_and_size_is_found),
    UNIT_TEST(lengths_that_lie_end_the_search),
    UNIT_TEST(a_request_has_one_ttl_within_limits_or_none),
    UNIT_TEST(a_record_says_its_ttl_and_token),
};
UNIT_MAIN("extension", tests)
