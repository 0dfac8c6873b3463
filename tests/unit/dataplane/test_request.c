#include "dataplane/request.h"
#include "engine/extension.h"
#include "engine/hash.h"
#include "engine/space.h"
#include "tests/unit/unit.h"

static struct layout_geometry geometry;

static struct request_scope scope_of(uint32_t shards)
{
    geometry = (struct layout_geometry){.shard_count = shards};
    return (struct request_scope){
        .geometry = &geometry,
        .value_bytes_max = 1000,
        .bulk_bytes = 4096,
        .access = REQUEST_MAY_READ | REQUEST_MAY_WRITE,
    };
}

static struct ring_request sound(uint8_t operation, uint16_t key, uint32_t value)
{
    struct ring_request q = {.head.operation = operation, .key_length = key, .value_length = value};
    bool inline_value = operation != RING_GET;
    q.head.length = (uint32_t)ring_request_bytes(0, key, inline_value ? value : 0);
    return q;
}

static enum ring_status check(const struct ring_request *q, const struct request_scope *s)
{
    return request_check(&q->head, q, s);
}

static void sound_requests_pass(void)
{
    struct request_scope s = scope_of(1);
    const struct ring_request good[] = {
        sound(RING_NOP, 0, 0),    sound(RING_SESSION_OPEN, 16, 0),
        sound(RING_PUT, 1, 0),    sound(RING_PUT, LIMIT_KEY_BYTES, 1000),
        sound(RING_DELETE, 5, 0), sound(RING_GET, 5, UINT32_MAX),
    };
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        CU_ASSERT_EQUAL(check(&good[i], &s), RING_OK);
}

/* One thing wrong at a time. */
static void each_fault_is_refused_by_its_name(void)
{
    struct request_scope s = scope_of(2);
    struct ring_request q;
#define EXPECT(status, change)                                                                     \
    do {                                                                                           \
        q = sound(RING_PUT, 5, 100);                                                               \
        change;                                                                                    \
        CU_ASSERT_EQUAL(check(&q, &s), (status));                                                  \
    } while (0)
    EXPECT(RING_OK, (void)0);
    EXPECT(RING_INPUT, q.head.length -= 8);
    EXPECT(RING_INPUT, q.head.length += 8);
    EXPECT(RING_INPUT, q.head.length = 63);
    EXPECT(RING_INPUT, q.key_length = 0);
    EXPECT(RING_INPUT, q = sound(RING_PUT, LIMIT_KEY_BYTES + 1, 0));
    EXPECT(RING_INPUT, q.extension_length = 8);
    EXPECT(RING_INPUT, q.head.flags = RING_FLAG_EXISTING);
    EXPECT(RING_INPUT, q.head.flags = 0x8000);
    EXPECT(RING_INPUT, q.head.operation = 0);
    EXPECT(RING_INPUT, q.head.operation = RING_OPERATION_COUNT);
    EXPECT(RING_INPUT, q.head.operation = 255);
    EXPECT(RING_INPUT, q.shard = 2);
    EXPECT(RING_INPUT, q = sound(RING_DELETE, 5, 8));
    EXPECT(RING_INPUT, q = sound(RING_SESSION_OPEN, 15, 0));
    EXPECT(RING_INPUT, q = sound(RING_SESSION_OPEN, 17, 0));
    EXPECT(RING_TOO_LARGE, q = sound(RING_PUT, 5, 1001));
#undef EXPECT
}

static void a_ttl_is_the_only_extension(void)
{
    struct request_scope s = scope_of(1);
    static const struct {
        uint8_t operation;
        uint32_t value;
        enum ring_status with, without;
    } rows[] = {
        {RING_PUT, 5, RING_OK, RING_OK},
        {RING_DELETE, 0, RING_INPUT, RING_OK},
        {RING_GET, 5, RING_INPUT, RING_OK},
        {RING_LEASE_ACQUIRE, 1, RING_OK, RING_INPUT},
        {RING_LEASE_ACQUIRE, LIMIT_LEASE_OWNER_BYTES, RING_OK, RING_INPUT},
        {RING_LEASE_ACQUIRE, LIMIT_LEASE_OWNER_BYTES + 1, RING_INPUT, RING_INPUT},
        {RING_LEASE_ACQUIRE, 0, RING_INPUT, RING_INPUT},
        {RING_LEASE_RENEW, 0, RING_OK, RING_INPUT},
        {RING_LEASE_RENEW, 1, RING_INPUT, RING_INPUT},
        {RING_LEASE_RELEASE, 0, RING_INPUT, RING_OK},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_request q = sound(rows[i].operation, 5, rows[i].value);
        CU_ASSERT_EQUAL(check(&q, &s), rows[i].without);
        q.extension_length = sizeof(struct record_ttl);
        q.head.length += (uint32_t)sizeof(struct record_ttl);
        CU_ASSERT_EQUAL(check(&q, &s), rows[i].with);
        q.extension_length += 16;
        q.head.length += 16;
        CU_ASSERT_EQUAL(check(&q, &s), RING_INPUT);
    }
    struct record_ttl ttl = extension_ttl_make(LIMIT_TTL_NS_MIN);
    struct ring_request q = {.extension_length = sizeof ttl};
    uint64_t ttl_ns;
    CU_ASSERT_EQUAL(request_check_ttl(&q, &ttl, &ttl_ns), RING_OK);
    CU_ASSERT_EQUAL(ttl_ns, LIMIT_TTL_NS_MIN);
    ttl.ttl_ns--;
    CU_ASSERT_EQUAL(request_check_ttl(&q, &ttl, &ttl_ns), RING_INPUT);
    q.extension_length = 0;
    CU_ASSERT_EQUAL(request_check_ttl(&q, &ttl, &ttl_ns), RING_OK);
    CU_ASSERT_EQUAL(ttl_ns, 0);
}

static void bulk_stays_inside_its_buffer(void)
{
    struct request_scope s = scope_of(1);
    static const struct {
        uint32_t offset, length;
        enum ring_status status;
    } rows[] = {
        {0, 1000, RING_OK},
        {4096, 0, RING_OK},
        {3096, 1000, RING_OK},
        {3104, 1000, RING_INPUT},
        {4104, 0, RING_INPUT},
        {4, 8, RING_INPUT},
        {UINT32_MAX & ~7u, 16, RING_INPUT},
        {8, UINT32_MAX, RING_INPUT},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_request q = sound(RING_PUT, 5, 0);
        q.head.flags = RING_FLAG_BULK;
        q.bulk_offset = rows[i].offset;
        q.value_length = rows[i].length;
        CU_ASSERT_EQUAL(check(&q, &s), rows[i].status);
        q.head.operation = RING_GET;
        CU_ASSERT_EQUAL(check(&q, &s), rows[i].status);
    }
}

static void access_is_asked_for_what_is_done(void)
{
    static const uint8_t operations[] = {RING_SESSION_OPEN, RING_PUT, RING_DELETE, RING_GET};
    for (uint8_t access = 0; access < 4; access++) {
        struct request_scope s = scope_of(1);
        s.access = access;
        for (unsigned i = 0; i < 4; i++) {
            struct ring_request q = sound(operations[i], 16, 0);
            uint8_t needed = operations[i] == RING_GET ? REQUEST_MAY_READ : REQUEST_MAY_WRITE;
            CU_ASSERT_EQUAL(check(&q, &s), access & needed ? RING_OK : RING_ACCESS);
        }
    }
}

static void a_space_that_is_not_here_is_unavailable(void)
{
    struct request_scope s = {.geometry = NULL};
    struct ring_request q = sound(RING_PUT, 5, 100);
    CU_ASSERT_EQUAL(check(&q, &s), RING_UNAVAILABLE);
    q = sound(RING_NOP, 0, 0);
    CU_ASSERT_EQUAL(check(&q, &s), RING_OK);
}

static void a_key_belongs_to_one_shard(void)
{
    struct request_scope s = scope_of(7);
    uint32_t seen = 0;
    /* Why so long: the compiler looks into the hash and would see it read beyond a short one. */
    static char key[2 * LIMIT_KEY_BYTES];
    for (uint32_t i = 0; i < 200; i++) {
        struct ring_request q = sound(RING_PUT, (uint16_t)snprintf(key, sizeof key, "k%u", i), 0);
        uint32_t accepted = 0;
        for (q.shard = 0; q.shard < 7; q.shard++) {
            uint64_t hash;
            enum ring_status r = request_check_key(&q, key, &s, &hash);
            CU_ASSERT_EQUAL(hash, hash_key(key, q.key_length));
            accepted += r == RING_OK;
            seen |= r == RING_OK ? 1u << q.shard : 0;
            CU_ASSERT(r == RING_OK || r == RING_INPUT);
        }
        CU_ASSERT_EQUAL(accepted, 1);
    }
    CU_ASSERT_EQUAL(seen, 127);
    /* keys with the same part in braces go together */
    uint64_t h1, h2;
    struct ring_request a = sound(RING_PUT, 6, 0), b = sound(RING_PUT, 9, 0);
    for (a.shard = 0; request_check_key(&a, "{u}:ab", &s, &h1) != RING_OK; a.shard++) {
    }
    b.shard = a.shard;
    CU_ASSERT_EQUAL(request_check_key(&b, "{u}:other", &s, &h2), RING_OK);
}

static const struct unit_test tests[] = {
    UNIT_TEST(sound_requests_pass),
    UNIT_TEST(each_fault_is_refused_by_its_name),
    UNIT_TEST(a_ttl_is_the_only_extension),
    UNIT_TEST(bulk_stays_inside_its_buffer),
    UNIT_TEST(access_is_asked_for_what_is_done),
    UNIT_TEST(a_space_that_is_not_here_is_unavailable),
    UNIT_TEST(a_key_belongs_to_one_shard),
};
UNIT_MAIN("request", tests)
