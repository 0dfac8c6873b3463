#include "engine/agent/agent.h"

#include <string.h>

_Static_assert(DUNLIN_ZONE_MAX + 1 == LIMIT_NAME_BYTES, "a zone is a name");
_Static_assert(DUNLIN_REGION_BYTES < LIMIT_KEY_BYTES, "and a key with it is one");

/* Why zeros: no text has one, so no key that is text is a region's by accident, and in order those stand
 * right behind their key, before every longer text. */
static const char separator[] = {0, 'r', 'e', 'g', 'i', 'o', 'n', 0};
_Static_assert(sizeof separator + DUNLIN_ZONE_MAX == DUNLIN_REGION_BYTES, "what it adds to a key");

int64_t dunlin_zone(struct dunlin *handle, char *buffer, size_t capacity)
{
    if (handle == NULL || (buffer == NULL && capacity != 0))
        return -EINVAL;
    struct waiter w = agent_wait_begin(handle, handle->options.timeout_ns);
    int error = agent_handle_attached(handle, &w);
    if (error != 0)
        return error;
    const char *zone = handle->now->node->zone;
    size_t length = strnlen(zone, LIMIT_NAME_BYTES - 1);
    if (length >= capacity)
        return -ENOBUFS;
    memcpy(buffer, zone, length);
    buffer[length] = 0;
    return (int64_t)length;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_of_name(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Why as strict as the configuration: a brace here would say the shard. */
static bool zone_is_name(const char *zone)
{
    size_t length = strnlen(zone, LIMIT_NAME_BYTES);
    if (length == 0 || length == LIMIT_NAME_BYTES || !is_letter(zone[0]))
        return false;
    for (size_t i = 1; i < length; i++)
        if (!is_of_name(zone[i]))
            return false;
    return true;
}

int64_t dunlin_region_key(const void *key, size_t key_length, const char *zone, void *buffer,
                          size_t capacity)
{
    if (key == NULL || key_length == 0 || (buffer == NULL && capacity != 0) ||
        (zone != NULL && !zone_is_name(zone)))
        return -EINVAL;
    if (key_length > LIMIT_KEY_BYTES - DUNLIN_REGION_BYTES)
        return -EMSGSIZE;
    size_t zone_length = zone != NULL ? strlen(zone) : 0;
    size_t length = key_length + sizeof separator + zone_length;
    if (buffer == NULL || length > capacity)
        return -ENOBUFS;
    uint8_t *to = buffer;
    memmove(to, key, key_length);
    memcpy(to + key_length, separator, sizeof separator);
    if (zone_length != 0)
        memcpy(to + key_length + sizeof separator, zone, zone_length);
    return (int64_t)length;
}
