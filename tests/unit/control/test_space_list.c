#include "control/space_list.h"

#include "tests/unit/unit.h"

#define MIB (UINT64_C(1) << 20)

static struct space_list list;

static struct space_config config_of(const char *name, uint32_t id)
{
    struct space_config c;
    memset(&c, 0, sizeof c);
    space_config_default(&c);
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    c.id = id;
    c.shard_count = 4;
    c.quota_bytes = 64 * MIB;
    c.quota_max_bytes = 256 * MIB;
    return c;
}

static int create(const char *name, uint32_t id)
{
    const struct space_config c = config_of(name, id);
    return space_list_create(&list, &c, 1000, 0);
}

static void list_is_whole(void)
{
    static struct space_list again;
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    CU_ASSERT_PTR_NULL(space_list_fault(&list));
    uint32_t length = space_list_encode(&list, bytes);
    CU_ASSERT_TRUE(length <= sizeof bytes);
    CU_ASSERT_EQUAL(space_list_decode(&again, bytes, length), 0);
    CU_ASSERT_EQUAL(memcmp(&list, &again, sizeof list), 0);
}

static void begin(void)
{
    memset(&list, 0, sizeof list);
}

static void a_space_has_the_lowest_free_id(void)
{
    begin();
    const struct space_config c = config_of("a", 0);
    CU_ASSERT_EQUAL(space_list_create(&list, &c, 1000, 0x3), 3);
    CU_ASSERT_EQUAL(create("b", 1), 1);
    CU_ASSERT_EQUAL(create("c", 0), 2);
    CU_ASSERT_EQUAL(list.number, 3);
    CU_ASSERT_EQUAL(list.count, 3);
    CU_ASSERT_PTR_EQUAL(space_list_find(&list, "a"), space_list_at(&list, 3));
    CU_ASSERT_EQUAL(space_list_at(&list, 1)->state, SPACE_MAKING);
    CU_ASSERT_EQUAL(space_list_at(&list, 1)->made, 2);
    CU_ASSERT_PTR_NULL(space_list_at(&list, 4));
    list_is_whole();
}

static void what_is_used_is_refused(void)
{
    begin();
    CU_ASSERT_EQUAL(create("a", 7), 7);
    CU_ASSERT_EQUAL(create("a", 0), -EEXIST);
    CU_ASSERT_EQUAL(create("b", 7), -EEXIST);
    const struct space_config c = config_of("b", 5);
    CU_ASSERT_EQUAL(space_list_create(&list, &c, 1, UINT64_C(1) << 4), -EEXIST);
    CU_ASSERT_EQUAL(create("b", LIMIT_SPACES + 1), -EINVAL);
    CU_ASSERT_EQUAL(create("", 0), -EINVAL);
    CU_ASSERT_EQUAL(create("1a", 0), -EINVAL);
    CU_ASSERT_EQUAL(create("a\nb", 0), -EINVAL);
    struct space_config small = config_of("small", 0);
    small.quota_bytes = 2 * MIB;
    small.shard_count = 64;
    CU_ASSERT_EQUAL(space_list_create(&list, &small, 1, 0), -ENOSPC);
    CU_ASSERT_EQUAL(list.number, 1);
    CU_ASSERT_EQUAL(list.count, 1);
}

static void there_are_so_many_ids(void)
{
    char name[8];
    begin();
    for (uint32_t i = 1; i <= LIMIT_SPACES; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        CU_ASSERT_EQUAL(create(name, 0), (int)i);
    }
    CU_ASSERT_EQUAL(create("more", 0), -ENOSPC);
    list_is_whole();
}

static void what_may_change_does(void)
{
    begin();
    CU_ASSERT_EQUAL(create("a", 1), 1);
    struct space_config c = config_of("a", 1);
    c.quota_bytes = 256 * MIB;
    c.history = 5;
    c.history_ns = 7;
    c.session_ttl_ns = 9 * NS_PER_S;
    c.read.everyone = true;
    c.write.uid_count = 1;
    c.write.uids[0] = 1000;
    CU_ASSERT_EQUAL(space_list_alter(&list, &c), 0);
    CU_ASSERT_EQUAL(memcmp(&space_list_at(&list, 1)->config, &c, sizeof c), 0);
    CU_ASSERT_EQUAL(space_list_at(&list, 1)->number, 2);
    CU_ASSERT_EQUAL(space_list_at(&list, 1)->made, 1);
    list_is_whole();
    c.quota_bytes = 257 * MIB;
    CU_ASSERT_EQUAL(space_list_alter(&list, &c), -EDQUOT);
    c.quota_bytes = 64 * MIB;
    c.shard_count = 5;
    CU_ASSERT_EQUAL(space_list_alter(&list, &c), -EINVAL);
    c.shard_count = 4;
    c.quota_bytes = MIB;
    CU_ASSERT_EQUAL(space_list_alter(&list, &c), -ENOSPC);
    c.quota_bytes = 64 * MIB;
    c.id = 2;
    CU_ASSERT_EQUAL(space_list_alter(&list, &c), -ENOENT);
    CU_ASSERT_EQUAL(list.number, 2);
}

static void a_name_is_free_at_once_and_an_id_when_it_is_forgotten(void)
{
    begin();
    CU_ASSERT_EQUAL(create("a", 1), 1);
    CU_ASSERT_TRUE(space_list_serve(&list, 1));
    CU_ASSERT_FALSE(space_list_serve(&list, 1));
    CU_ASSERT_FALSE(space_list_forget(&list, 1));
    CU_ASSERT_EQUAL(space_list_drop(&list, 1), 0);
    CU_ASSERT_EQUAL(space_list_drop(&list, 1), -ENOENT);
    CU_ASSERT_PTR_NULL(space_list_find(&list, "a"));
    CU_ASSERT_EQUAL(create("b", 1), -EEXIST);
    list.lsn_floor = 5000;
    CU_ASSERT_EQUAL(create("a", 0), 2);
    CU_ASSERT_EQUAL(space_list_at(&list, 2)->lsn_start, 5000); /* above all that was dropped */
    list_is_whole();
    CU_ASSERT_TRUE(space_list_forget(&list, 1));
    CU_ASSERT_EQUAL(create("b", 1), 1);
    CU_ASSERT_TRUE(space_list_at(&list, 1)->made > 1); /* another one of that id */
    list_is_whole();
}

static void damage_is_refused(void)
{
    static struct space_list other;
    uint8_t bytes[SPACE_LIST_BYTES_MAX];
    begin();
    CU_ASSERT_EQUAL(create("a", 1), 1);
    uint32_t length = space_list_encode(&list, bytes);
    for (uint32_t i = 0; i < length; i++) {
        CU_ASSERT_EQUAL(space_list_decode(&other, bytes, i), -EBADMSG);
        bytes[i] ^= 0x10;
        CU_ASSERT_EQUAL(space_list_decode(&other, bytes, length), -EBADMSG);
        bytes[i] ^= 0x10;
    }
    CU_ASSERT_EQUAL(space_list_decode(&other, bytes, length), 0);
}

static void what_cannot_be_is_refused(void)
{
    begin();
    CU_ASSERT_EQUAL(create("a", 1), 1);
    CU_ASSERT_EQUAL(create("b", 2), 2);
    const struct space_list good = list;
    struct space_list *l = &list;
    l->entries[1].config.id = 1;
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "order of spaces");
    *l = good;
    memcpy(l->entries[1].config.name, l->entries[0].config.name, LIMIT_NAME_BYTES);
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "two spaces of one name");
    *l = good;
    l->entries[0].number = 3;
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "number of a space");
    *l = good;
    l->entries[0].lsn_start = 0;
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "LSN of a space");
    *l = good;
    l->entries[0].config.history = 0;
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "policy of a space");
    *l = good;
    l->count = LIMIT_SPACES + 1;
    CU_ASSERT_STRING_EQUAL(space_list_fault(l), "count of spaces");
    *l = good;
    CU_ASSERT_PTR_NULL(space_list_fault(l));
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_space_has_the_lowest_free_id),
    UNIT_TEST(what_is_used_is_refused),
    UNIT_TEST(there_are_so_many_ids),
    UNIT_TEST(what_may_change_does),
    UNIT_TEST(a_name_is_free_at_once_and_an_id_when_it_is_forgotten),
    UNIT_TEST(damage_is_refused),
    UNIT_TEST(what_cannot_be_is_refused),
};
UNIT_MAIN("space_list", tests)
