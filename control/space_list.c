#include "control/space_list.h"

#include "engine/checksum.h"

#include <string.h>

/* ---- what may be ---- */

static bool name_is_valid(const char name[LIMIT_NAME_BYTES])
{
    const char *end = memchr(name, 0, LIMIT_NAME_BYTES);
    if (end == NULL || end == name)
        return false;
    for (const char *c = name; c < end; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        bool inner = (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.';
        if (!letter && (c == name || !inner))
            return false;
    }
    /* Why: equal lists have equal bytes. */
    for (const char *c = end; c < name + LIMIT_NAME_BYTES; c++)
        if (*c != 0)
            return false;
    return true;
}

static bool access_is_valid(const struct space_access *a)
{
    if (a->uid_count > LIMIT_ACCESS_RULES || (a->everyone && a->uid_count != 0))
        return false;
    for (uint32_t i = a->uid_count; i < LIMIT_ACCESS_RULES; i++)
        if (a->uids[i] != 0)
            return false;
    return true;
}

/* 0, -EINVAL or -ENOSPC. */
static int config_judge(const struct space_config *c)
{
    struct layout_geometry geometry;
    if (!name_is_valid(c->name) || !access_is_valid(&c->read) || !access_is_valid(&c->write) ||
        c->consistency != SPACE_STRONG || c->durability != SPACE_DURABILITY_NONE ||
        c->partition_prefix > LIMIT_KEY_BYTES || c->session_ttl_ns == 0)
        return -EINVAL;
    return space_geometry(c, &geometry);
}

static const char *entry_fault(const struct space_list *l, const struct space_entry *e)
{
    if (e->config.id == 0 || e->config.id > LIMIT_SPACES)
        return "id of a space";
    if (config_judge(&e->config) != 0)
        return "policy of a space";
    if (e->state < SPACE_MAKING || e->state > SPACE_DROPPING)
        return "state of a space";
    if (e->made == 0 || e->number < e->made || e->number > l->number)
        return "number of a space";
    if (e->lsn_start == 0 || e->lsn_start > INT64_MAX)
        return "LSN of a space";
    return NULL;
}

const char *space_list_fault(const struct space_list *l)
{
    const char *fault = NULL;
    if (l->count > LIMIT_SPACES)
        return "count of spaces";
    /* LSNs have 63 bits. */
    if (l->number > INT64_MAX || l->lsn_floor > INT64_MAX || l->epoch_floor > INT64_MAX)
        return "number of the spaces";
    for (uint32_t i = 0; i < l->count && fault == NULL; i++) {
        const struct space_entry *e = &l->entries[i];
        fault = entry_fault(l, e);
        if (fault == NULL && i != 0 && e->config.id <= l->entries[i - 1].config.id)
            fault = "order of spaces";
        if (fault == NULL && e->state != SPACE_DROPPING && space_list_find(l, e->config.name) != e)
            fault = "two spaces of one name";
    }
    return fault;
}

/* ---- changes ---- */

const struct space_entry *space_list_find(const struct space_list *l, const char *name)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->entries[i].state != SPACE_DROPPING &&
            strncmp(l->entries[i].config.name, name, LIMIT_NAME_BYTES) == 0)
            return &l->entries[i];
    return NULL;
}

static uint32_t place_of(const struct space_list *l, uint32_t id)
{
    uint32_t at = 0;
    while (at < l->count && l->entries[at].config.id < id)
        at++;
    return at;
}

static struct space_entry *entry_at(struct space_list *l, uint32_t id)
{
    uint32_t at = place_of(l, id);
    return at < l->count && l->entries[at].config.id == id ? &l->entries[at] : NULL;
}

const struct space_entry *space_list_at(const struct space_list *l, uint32_t id)
{
    uint32_t at = place_of(l, id);
    return at < l->count && l->entries[at].config.id == id ? &l->entries[at] : NULL;
}

/* 0: none is. */
static uint32_t id_free(const struct space_list *l, uint64_t taken)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if ((taken >> (id - 1) & 1) == 0 && space_list_at(l, id) == NULL)
            return id;
    return 0;
}

int space_list_create(struct space_list *l, const struct space_config *config, uint64_t lsn_start,
                      uint64_t taken)
{
    struct space_entry entry = {.config = *config, .state = SPACE_MAKING};
    if (config->id > LIMIT_SPACES || l->number >= INT64_MAX)
        return -EINVAL;
    int error = config_judge(config);
    if (error != 0)
        return error;
    uint32_t id = config->id != 0 ? config->id : id_free(l, taken);
    if (id == 0)
        return -ENOSPC;
    if ((taken >> (id - 1) & 1) != 0 || space_list_at(l, id) != NULL ||
        space_list_find(l, config->name) != NULL)
        return -EEXIST;
    uint32_t at = place_of(l, id);
    memmove(&l->entries[at + 1], &l->entries[at], (l->count - at) * sizeof l->entries[0]);
    l->count++;
    entry.config.id = id;
    entry.made = entry.number = ++l->number;
    entry.lsn_start = max_u64(lsn_start, l->lsn_floor);
    l->entries[at] = entry;
    return (int)id;
}

/* What may not change while it is served is the same in both. */
static bool is_same_space(const struct space_config *a, const struct space_config *b)
{
    return strncmp(a->name, b->name, LIMIT_NAME_BYTES) == 0 && a->consistency == b->consistency &&
           a->durability == b->durability && a->shard_count == b->shard_count &&
           a->quota_max_bytes == b->quota_max_bytes && a->partition_prefix == b->partition_prefix &&
           a->value_bytes_max == b->value_bytes_max && a->sessions_max == b->sessions_max &&
           a->ordered == b->ordered;
}

int space_list_alter(struct space_list *l, const struct space_config *config)
{
    struct space_entry *e = entry_at(l, config->id);
    if (e == NULL || e->state == SPACE_DROPPING)
        return -ENOENT;
    if (!is_same_space(&e->config, config) || l->number >= INT64_MAX)
        return -EINVAL;
    if (config->quota_bytes > max_u64(e->config.quota_max_bytes, e->config.quota_bytes))
        return -EDQUOT;
    int error = config_judge(config);
    if (error != 0)
        return error;
    e->config = *config;
    e->number = ++l->number;
    return 0;
}

bool space_list_serve(struct space_list *l, uint32_t id)
{
    struct space_entry *e = entry_at(l, id);
    if (e == NULL || e->state != SPACE_MAKING)
        return false;
    e->state = SPACE_SERVING;
    return true;
}

int space_list_drop(struct space_list *l, uint32_t id)
{
    struct space_entry *e = entry_at(l, id);
    if (e == NULL || e->state == SPACE_DROPPING || l->number >= INT64_MAX)
        return -ENOENT;
    e->state = SPACE_DROPPING;
    e->number = ++l->number;
    return 0;
}

bool space_list_forget(struct space_list *l, uint32_t id)
{
    const struct space_entry *e = space_list_at(l, id);
    if (e == NULL || e->state != SPACE_DROPPING)
        return false;
    uint32_t at = place_of(l, id);
    l->count--;
    memmove(&l->entries[at], &l->entries[at + 1], (l->count - at) * sizeof l->entries[0]);
    memset(&l->entries[l->count], 0, sizeof l->entries[0]);
    return true;
}

/* ---- bytes ---- */

#define MAGIC 0x314c5344u /* "DSL1" */
#define HEAD_BYTES 32u    /* magic, count, number, floors */
#define ACCESS_BYTES (4u + 4u * LIMIT_ACCESS_RULES)
#define ENTRY_BYTES (LIMIT_NAME_BYTES + 40u + 56u + 2u * ACCESS_BYTES)
#define CHECKSUM_BYTES 4u
_Static_assert(HEAD_BYTES + LIMIT_SPACES * ENTRY_BYTES + CHECKSUM_BYTES <= SPACE_LIST_BYTES_MAX,
               "room for all of them");

static uint8_t *put(uint8_t *at, uint64_t value, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static const uint8_t *get(const uint8_t *at, uint64_t *value, uint32_t bytes)
{
    *value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        *value |= (uint64_t)*at++ << (8 * i);
    return at;
}

static const uint8_t *get_32(const uint8_t *at, uint32_t *value)
{
    uint64_t wide;
    at = get(at, &wide, 4);
    *value = (uint32_t)wide;
    return at;
}

/* Everybody is UINT32_MAX uids. */
static uint8_t *access_put(uint8_t *at, const struct space_access *a)
{
    at = put(at, a->everyone ? UINT32_MAX : a->uid_count, 4);
    for (uint32_t i = 0; i < LIMIT_ACCESS_RULES; i++)
        at = put(at, a->uids[i], 4);
    return at;
}

static const uint8_t *access_get(const uint8_t *at, struct space_access *a)
{
    at = get_32(at, &a->uid_count);
    a->everyone = a->uid_count == UINT32_MAX;
    if (a->everyone)
        a->uid_count = 0;
    for (uint32_t i = 0; i < LIMIT_ACCESS_RULES; i++)
        at = get_32(at, &a->uids[i]);
    return at;
}

static uint8_t *entry_put(uint8_t *at, const struct space_entry *e)
{
    const struct space_config *c = &e->config;
    const uint32_t narrow[] = {c->id,
                               c->consistency,
                               c->durability,
                               c->shard_count,
                               c->partition_prefix,
                               c->value_bytes_max,
                               c->sessions_max,
                               c->history,
                               c->ordered,
                               (uint32_t)e->state};
    const uint64_t wide[] = {c->quota_bytes, c->quota_max_bytes, c->session_ttl_ns, c->history_ns,
                             e->made,        e->number,          e->lsn_start};
    memcpy(at, c->name, LIMIT_NAME_BYTES);
    at += LIMIT_NAME_BYTES;
    for (uint32_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++)
        at = put(at, narrow[i], 4);
    for (uint32_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        at = put(at, wide[i], 8);
    return access_put(access_put(at, &c->read), &c->write);
}

/* Returns NULL: a word that no such list has. */
static const uint8_t *entry_get(const uint8_t *at, struct space_entry *e)
{
    struct space_config *c = &e->config;
    uint32_t ordered, state;
    uint32_t *const narrow[] = {&c->id,
                                &c->consistency,
                                &c->durability,
                                &c->shard_count,
                                &c->partition_prefix,
                                &c->value_bytes_max,
                                &c->sessions_max,
                                &c->history,
                                &ordered,
                                &state};
    uint64_t *const wide[] = {
        &c->quota_bytes, &c->quota_max_bytes, &c->session_ttl_ns, &c->history_ns,
        &e->made,        &e->number,          &e->lsn_start};
    memcpy(c->name, at, LIMIT_NAME_BYTES);
    at += LIMIT_NAME_BYTES;
    for (uint32_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++)
        at = get_32(at, narrow[i]);
    for (uint32_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        at = get(at, wide[i], 8);
    if (ordered > 1 || state > SPACE_DROPPING)
        return NULL;
    c->ordered = ordered != 0;
    e->state = (enum space_state)state;
    return access_get(access_get(at, &c->read), &c->write);
}

uint32_t space_list_encode(const struct space_list *l, uint8_t *bytes)
{
    uint8_t *at = put(bytes, MAGIC, 4);
    at = put(at, l->count, 4);
    at = put(at, l->number, 8);
    at = put(at, l->lsn_floor, 8);
    at = put(at, l->epoch_floor, 8);
    for (uint32_t i = 0; i < l->count; i++)
        at = entry_put(at, &l->entries[i]);
    at = put(at, checksum(0, bytes, (size_t)(at - bytes)), 4);
    return (uint32_t)(at - bytes);
}

int space_list_decode(struct space_list *l, const uint8_t *bytes, uint64_t length)
{
    uint32_t magic, sum;
    memset(l, 0, sizeof *l); /* padding, too: equal lists are equal bytes */
    if (length < HEAD_BYTES + CHECKSUM_BYTES)
        return -EBADMSG;
    const uint8_t *at = get_32(bytes, &magic);
    at = get_32(at, &l->count);
    if (magic != MAGIC || l->count > LIMIT_SPACES ||
        length != HEAD_BYTES + l->count * ENTRY_BYTES + CHECKSUM_BYTES)
        return -EBADMSG;
    (void)get_32(bytes + length - CHECKSUM_BYTES, &sum);
    if (sum != checksum(0, bytes, length - CHECKSUM_BYTES))
        return -EBADMSG;
    at = get(at, &l->number, 8);
    at = get(at, &l->lsn_floor, 8);
    at = get(at, &l->epoch_floor, 8);
    for (uint32_t i = 0; i < l->count && at != NULL; i++)
        at = entry_get(at, &l->entries[i]);
    return at != NULL && space_list_fault(l) == NULL ? 0 : -EBADMSG;
}
