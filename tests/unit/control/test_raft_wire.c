/* Messages of libraft: what is decoded is what was encoded, whatever it was; what is no message, cut short,
 * longer, or with a field that libraft would stumble over, is refused and leaves nothing behind. */
#include "control/raft_wire.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

#define ROUNDS 20000u
#define SENDER 5u

static uint64_t random_state;

/* splitmix64 */
static uint64_t any(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
    return any() % limit;
}

/* ---- memory: every block that libraft's allocator gives is counted ---- */

static int64_t blocks, blocks_left_to_give = INT64_MAX;

static bool may_give(void)
{
    return blocks_left_to_give > 0 && blocks_left_to_give-- > 0;
}

static void *heap_malloc(void *data, size_t size)
{
    (void)data;
    void *p = may_give() ? malloc(size) : NULL;
    blocks += p != NULL;
    return p;
}

static void heap_free(void *data, void *p)
{
    (void)data;
    blocks -= p != NULL;
    free(p);
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    void *p = may_give() ? calloc(count, size) : NULL;
    blocks += p != NULL;
    return p;
}

static void *heap_realloc(void *data, void *p, size_t size)
{
    (void)data;
    void *again = may_give() ? realloc(p, size) : NULL;
    blocks += p == NULL && again != NULL;
    return again;
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    (void)data;
    return aligned_alloc(alignment, size);
}

static void heap_aligned_free(void *data, size_t alignment, void *p)
{
    (void)data;
    (void)alignment;
    free(p);
}

static struct raft_heap heap = {.malloc = heap_malloc,
                                .free = heap_free,
                                .calloc = heap_calloc,
                                .realloc = heap_realloc,
                                .aligned_alloc = heap_aligned_alloc,
                                .aligned_free = heap_aligned_free};

/* ---- messages to send ---- */

static void configuration_make(struct raft_configuration *c, uint32_t servers)
{
    char address[64];
    raft_configuration_init(c);
    for (uint32_t i = 0; i < servers; i++) {
        (void)snprintf(address, sizeof(address), "10.0.0.%u:77%.*s", i, (int)below(9), "00000000");
        CU_ASSERT_EQUAL_FATAL(raft_configuration_add(c, i + 1, address, (int)below(3)), 0);
    }
}

static void entry_make(struct raft_entry *e)
{
    *e = (struct raft_entry){.term = any(), .type = RAFT_COMMAND};
    uint64_t what = below(8);
    if (what == 0) {
        struct raft_configuration c;
        configuration_make(&c, (uint32_t)below(4));
        e->type = RAFT_CHANGE;
        CU_ASSERT_EQUAL_FATAL(raft_configuration_encode(&c, &e->buf), 0);
        raft_configuration_close(&c);
        return;
    }
    e->type = what == 1 ? RAFT_BARRIER : RAFT_COMMAND;
    e->buf.len = what == 2 ? 0 : below(100);
    e->buf.base = raft_malloc(e->buf.len + 1);
    for (size_t i = 0; i < e->buf.len; i++)
        ((uint8_t *)e->buf.base)[i] = (uint8_t)any();
}

static void message_make(struct raft_message *m, unsigned short type)
{
    struct raft_append_entries *a = &m->append_entries;
    struct raft_install_snapshot *s = &m->install_snapshot;
    *m = (struct raft_message){.type = type};
    switch (type) {
    case RAFT_IO_APPEND_ENTRIES:
        *a = (struct raft_append_entries){any(), any(), any(), any(), NULL, (unsigned)below(9)};
        a->entries = a->n_entries != 0 ? raft_calloc(a->n_entries, sizeof(a->entries[0])) : NULL;
        for (unsigned i = 0; i < a->n_entries; i++)
            entry_make(&a->entries[i]);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        m->append_entries_result = (struct raft_append_entries_result){any(), any(), any()};
        break;
    case RAFT_IO_REQUEST_VOTE:
        m->request_vote =
            (struct raft_request_vote){any(), SENDER, any(), any(), below(2) != 0, below(2) != 0};
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        m->request_vote_result =
            (struct raft_request_vote_result){any(), below(2) != 0, (raft_tribool)below(3)};
        break;
    case RAFT_IO_INSTALL_SNAPSHOT:
        *s = (struct raft_install_snapshot){.term = any(), .last_index = any(), .last_term = any()};
        configuration_make(&s->conf, (uint32_t)below(8));
        s->conf_index = any();
        s->data.len = below(5000);
        s->data.base = raft_calloc(1, s->data.len + 1);
        memset(s->data.base, (int)below(256), s->data.len);
        break;
    default:
        m->timeout_now = (struct raft_timeout_now){any(), any(), any()};
    }
}

/* As its sender frees it: each entry has memory of its own. */
static void made_free(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        for (unsigned i = 0; i < m->append_entries.n_entries; i++)
            raft_free(m->append_entries.entries[i].buf.base);
        raft_free(m->append_entries.entries);
    } else {
        raft_wire_message_free(m);
    }
}

/* ---- equal? ---- */

static bool entries_equal(const struct raft_append_entries *a, const struct raft_append_entries *b)
{
    bool equal = a->term == b->term && a->prev_log_index == b->prev_log_index &&
                 a->prev_log_term == b->prev_log_term && a->leader_commit == b->leader_commit &&
                 a->n_entries == b->n_entries;
    for (unsigned i = 0; equal && i < a->n_entries; i++) {
        const struct raft_entry *x = &a->entries[i], *y = &b->entries[i];
        equal = x->term == y->term && x->type == y->type && x->buf.len == y->buf.len &&
                memcmp(x->buf.base, y->buf.base, x->buf.len) == 0;
        /* As libraft wants it: one block for all, and 8-byte words in it. */
        equal = equal && y->batch != NULL && y->batch == b->entries[0].batch &&
                (uintptr_t)y->buf.base % 8 == 0;
    }
    return equal;
}

static bool snapshots_equal(const struct raft_install_snapshot *a,
                            const struct raft_install_snapshot *b)
{
    bool equal = a->term == b->term && a->last_index == b->last_index &&
                 a->last_term == b->last_term && a->conf_index == b->conf_index &&
                 a->conf.n == b->conf.n && a->data.len == b->data.len &&
                 memcmp(a->data.base, b->data.base, a->data.len) == 0;
    for (unsigned i = 0; equal && i < a->conf.n; i++) {
        const struct raft_server *x = &a->conf.servers[i], *y = &b->conf.servers[i];
        equal = x->id == y->id && x->role == y->role && strcmp(x->address, y->address) == 0;
    }
    return equal;
}

static bool messages_equal(const struct raft_message *a, const struct raft_message *b)
{
    if (a->type != b->type)
        return false;
    const struct raft_request_vote *v = &a->request_vote, *w = &b->request_vote;
    switch (a->type) {
    case RAFT_IO_APPEND_ENTRIES:
        return entries_equal(&a->append_entries, &b->append_entries);
    case RAFT_IO_INSTALL_SNAPSHOT:
        return snapshots_equal(&a->install_snapshot, &b->install_snapshot);
    case RAFT_IO_REQUEST_VOTE:
        return v->term == w->term && v->candidate_id == w->candidate_id &&
               v->last_log_index == w->last_log_index && v->last_log_term == w->last_log_term &&
               v->disrupt_leader == w->disrupt_leader && v->pre_vote == w->pre_vote;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        return a->request_vote_result.term == b->request_vote_result.term &&
               a->request_vote_result.vote_granted == b->request_vote_result.vote_granted &&
               a->request_vote_result.pre_vote == b->request_vote_result.pre_vote;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        return memcmp(&a->append_entries_result, &b->append_entries_result,
                      sizeof(a->append_entries_result)) == 0;
    default:
        return memcmp(&a->timeout_now, &b->timeout_now, sizeof(a->timeout_now)) == 0;
    }
}

/* ---- bytes ---- */

struct bytes {
    uint8_t *at; /* a block of its own, which ends where the message does */
    size_t length;
};

static struct bytes flatten(const struct raft_message *m)
{
    struct raft_wire w;
    struct bytes b = {.at = NULL};
    CU_ASSERT_EQUAL_FATAL(raft_wire_encode(&w, m), 0);
    for (unsigned i = 0; i < w.count; i++)
        b.length += w.pieces[i].iov_len;
    b.at = malloc(b.length + 1);
    size_t used = 0;
    for (unsigned i = 0; i < w.count; i++) {
        if (w.pieces[i].iov_len != 0)
            memcpy(b.at + used, w.pieces[i].iov_base, w.pieces[i].iov_len);
        used += w.pieces[i].iov_len;
    }
    raft_wire_free(&w);
    return b;
}

static int decode(const uint8_t *bytes, size_t length)
{
    struct raft_message m;
    uint8_t *copy = malloc(length != 0 ? length : 1);
    if (length != 0)
        memcpy(copy, bytes, length);
    int error = raft_wire_decode(copy, length, SENDER, "5", &m);
    free(copy);
    if (error == 0)
        raft_wire_message_free(&m);
    return error;
}

/* ---- the tests ---- */

static void begin(void)
{
    random_state = 20261121;
    blocks = 0;
    blocks_left_to_give = INT64_MAX;
    raft_heap_set(&heap);
}

static void end(void)
{
    CU_ASSERT_EQUAL(blocks, 0);
    raft_heap_set_default();
}

static void what_is_encoded_comes_back(void)
{
    begin();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct raft_message m, again;
        message_make(&m, (unsigned short)(1 + round % RAFT_IO_TIMEOUT_NOW));
        struct bytes b = flatten(&m);
        CU_ASSERT_EQUAL_FATAL(raft_wire_decode(b.at, b.length, SENDER, "here", &again), 0);
        CU_ASSERT(messages_equal(&m, &again));
        CU_ASSERT(again.server_id == SENDER && strcmp(again.server_address, "here") == 0);
        raft_wire_message_free(&again);
        made_free(&m);
        free(b.at);
    }
    end();
}

static void no_part_of_a_message_is_one(void)
{
    begin();
    for (uint32_t round = 0; round < 60; round++) {
        struct raft_message m;
        message_make(&m, (unsigned short)(1 + round % RAFT_IO_TIMEOUT_NOW));
        struct bytes b = flatten(&m);
        for (size_t length = 0; length < b.length; length++)
            CU_ASSERT_EQUAL(decode(b.at, length), -EBADMSG);
        b.at[b.length] = 0;
        CU_ASSERT_EQUAL(decode(b.at, b.length + 1), -EBADMSG);
        made_free(&m);
        free(b.at);
    }
    end();
}

/* Changed anywhere it is refused, or is another message that is one. */
static void damage_is_refused_or_harmless(void)
{
    begin();
    uint32_t refused = 0, taken = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct raft_message m;
        message_make(&m, (unsigned short)(1 + round % RAFT_IO_TIMEOUT_NOW));
        struct bytes b = flatten(&m);
        b.at[below(min_u64(b.length, 60))] ^= (uint8_t)(1 + below(255));
        int error = decode(b.at, b.length);
        CU_ASSERT(error == 0 || error == -EBADMSG || error == -EPROTONOSUPPORT);
        refused += error != 0;
        taken += error == 0;
        made_free(&m);
        free(b.at);
    }
    CU_ASSERT(refused > ROUNDS / 10 && taken > ROUNDS / 10);
    end();
}

static void byte_is_refused(unsigned short type, size_t at, uint8_t value, int error)
{
    struct raft_message m;
    do {
        message_make(&m, type);
        /* With a server to look at. */
        if (type != RAFT_IO_INSTALL_SNAPSHOT || m.install_snapshot.conf.n != 0)
            break;
        made_free(&m);
    } while (true);
    struct bytes b = flatten(&m);
    CU_ASSERT_EQUAL(decode(b.at, b.length), 0);
    CU_ASSERT_NOT_EQUAL_FATAL(b.at[at], value);
    b.at[at] = value;
    CU_ASSERT_EQUAL(decode(b.at, b.length), error);
    made_free(&m);
    free(b.at);
}

static void fields_are_judged(void)
{
    begin();
    byte_is_refused(RAFT_IO_TIMEOUT_NOW, 0, 2, -EPROTONOSUPPORT);
    byte_is_refused(RAFT_IO_TIMEOUT_NOW, 1, 0, -EBADMSG);
    byte_is_refused(RAFT_IO_TIMEOUT_NOW, 1, 7, -EBADMSG);
    byte_is_refused(RAFT_IO_TIMEOUT_NOW, 2, 1, -EBADMSG);
    byte_is_refused(RAFT_IO_TIMEOUT_NOW, 4, 1, -EBADMSG);            /* nothing to count */
    byte_is_refused(RAFT_IO_REQUEST_VOTE, 16, SENDER + 1, -EBADMSG); /* a vote for another */
    byte_is_refused(RAFT_IO_REQUEST_VOTE, 40, 2, -EBADMSG);
    byte_is_refused(RAFT_IO_REQUEST_VOTE, 41, 2, -EBADMSG);
    byte_is_refused(RAFT_IO_REQUEST_VOTE_RESULT, 17, 3, -EBADMSG);
    byte_is_refused(RAFT_IO_INSTALL_SNAPSHOT, 58, 3, -EBADMSG); /* role of the first server */
    byte_is_refused(RAFT_IO_INSTALL_SNAPSHOT, 59, 1, -EBADMSG);
    byte_is_refused(RAFT_IO_INSTALL_SNAPSHOT, 48, 0, -EBADMSG); /* its id */
    byte_is_refused(RAFT_IO_INSTALL_SNAPSHOT, 60, 0, -EBADMSG); /* an address that ends early */
    byte_is_refused(RAFT_IO_INSTALL_SNAPSHOT, 47, 1, -EBADMSG); /* 2^56 bytes of data */
    end();
}

static int decode_entry(unsigned short type, const void *data, size_t length)
{
    struct raft_entry e = {.type = type, .buf = {.base = (void *)(uintptr_t)data, .len = length}};
    const struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES,
                                   .append_entries = {.entries = &e, .n_entries = 1}};
    struct bytes b = flatten(&m);
    int error = decode(b.at, b.length);
    free(b.at);
    return error;
}

/* libraft's own decoder reads on, past the end of what it has. */
static void changes_are_judged(void)
{
    static const uint8_t sound[24] = {1, 1, 0, 0, 0, 0,   0, 0, 0, 5, 0, 0,
                                      0, 0, 0, 0, 0, 'a', 0, 2, 0, 0, 0, 0};
    uint8_t bytes[24];
    begin();
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, sizeof(sound)), 0);
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 20), 0);
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 19), -EBADMSG); /* no role */
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 18), -EBADMSG); /* no end of the address */
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 17), -EBADMSG);
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 12), -EBADMSG);
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, sound, 0), -EBADMSG);
    CU_ASSERT_EQUAL(decode_entry(RAFT_COMMAND, sound, 17), 0);
    CU_ASSERT_EQUAL(decode_entry(0, sound, 17), -EBADMSG);
    CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE + 1, sound, sizeof(sound)), -EBADMSG);
    const struct {
        size_t at;
        uint8_t value;
    } bad[] = {{0, 2}, {1, 3}, {8, 1}, {19, 3}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memcpy(bytes, sound, sizeof(bytes));
        bytes[bad[i].at] = bad[i].value;
        CU_ASSERT_EQUAL(decode_entry(RAFT_CHANGE, bytes, sizeof(bytes)), -EBADMSG);
    }
    end();
}

static void what_can_not_be_encoded_is_refused(void)
{
    static char address[RAFT_WIRE_ADDRESS_BYTES + 2];
    struct raft_server server = {.id = 1, .address = address, .role = RAFT_VOTER};
    struct raft_message m = {.type = 9};
    struct raft_wire w;
    begin();
    CU_ASSERT_EQUAL(raft_wire_encode(&w, &m), -EINVAL);
    m.type = RAFT_IO_APPEND_ENTRIES;
    m.append_entries.n_entries = RAFT_WIRE_ENTRIES_MAX + 1;
    CU_ASSERT_EQUAL(raft_wire_encode(&w, &m), -EMSGSIZE);
    m = (struct raft_message){.type = RAFT_IO_INSTALL_SNAPSHOT};
    m.install_snapshot.conf = (struct raft_configuration){.servers = &server, .n = 1};
    memset(address, 'a', RAFT_WIRE_ADDRESS_BYTES);
    CU_ASSERT_EQUAL_FATAL(raft_wire_encode(&w, &m), 0);
    raft_wire_free(&w);
    address[RAFT_WIRE_ADDRESS_BYTES] = 'a';
    CU_ASSERT_EQUAL(raft_wire_encode(&w, &m), -EMSGSIZE);
    m.install_snapshot.conf.n = RAFT_WIRE_SERVERS_MAX + 1;
    CU_ASSERT_EQUAL(raft_wire_encode(&w, &m), -EMSGSIZE);
    end();
}

static void memory_that_is_short_leaves_nothing_behind(void)
{
    uint32_t failed = 0;
    begin();
    for (uint32_t round = 0; round < 600; round++) {
        struct raft_message m, again;
        struct raft_wire w;
        message_make(&m, round % 2 == 0 ? RAFT_IO_APPEND_ENTRIES : RAFT_IO_INSTALL_SNAPSHOT);
        struct bytes b = flatten(&m);
        blocks_left_to_give = (int64_t)below(6);
        int error = raft_wire_decode(b.at, b.length, SENDER, "5", &again);
        CU_ASSERT(error == 0 || error == -ENOMEM);
        failed += error != 0;
        if (error == 0)
            raft_wire_message_free(&again);
        blocks_left_to_give = 0;
        CU_ASSERT_EQUAL(raft_wire_encode(&w, &m), -ENOMEM);
        blocks_left_to_give = INT64_MAX;
        made_free(&m);
        free(b.at);
    }
    CU_ASSERT(failed > 100);
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_encoded_comes_back),
    UNIT_TEST(no_part_of_a_message_is_one),
    UNIT_TEST(damage_is_refused_or_harmless),
    UNIT_TEST(fields_are_judged),
    UNIT_TEST(changes_are_judged),
    UNIT_TEST(what_can_not_be_encoded_is_refused),
    UNIT_TEST(memory_that_is_short_leaves_nothing_behind),
};
UNIT_MAIN("raft_wire", tests)
