#include "control/cli_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* Digits from *text on, at least one, no leading zero; *text then stands behind them. */
static int take_number(const char **text, uint64_t maximum, uint64_t *number)
{
    const char *at = *text;
    uint64_t value = 0;
    if (at[0] == '0' && at[1] >= '0' && at[1] <= '9')
        return -EINVAL;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (digit > maximum || value > (maximum - digit) / 10)
            return -EINVAL;
        value = value * 10 + digit;
    }
    if (at == *text)
        return -EINVAL;
    *text = at;
    *number = value;
    return 0;
}

int cli_number_parse(const char *text, uint64_t maximum, uint64_t *number)
{
    return take_number(&text, maximum, number) == 0 && *text == 0 ? 0 : -EINVAL;
}

/* ---- versions ---- */

void cli_version_print(char text[CLI_VERSION_BYTES], struct dunlin_version version)
{
    (void)snprintf(text, CLI_VERSION_BYTES, "%" PRIu64 ".%" PRIu64, version.log, version.lsn);
}

int cli_version_parse(const char *text, struct dunlin_version *version)
{
    *version = (struct dunlin_version){0};
    if (strcmp(text, "0") == 0)
        return 0;
    if (take_number(&text, UINT64_MAX, &version->log) != 0 || *text++ != '.' ||
        take_number(&text, UINT64_MAX, &version->lsn) != 0 || *text != 0)
        return -EINVAL;
    return version->lsn != 0 ? 0 : -EINVAL;
}

/* ---- names of writes ---- */

static const char hex_digits[] = "0123456789abcdef";

void cli_write_id_print(char text[CLI_WRITE_ID_BYTES], const struct dunlin_write_id *id)
{
    for (size_t i = 0; i < sizeof id->session; i++) {
        text[2 * i] = hex_digits[id->session[i] >> 4];
        text[2 * i + 1] = hex_digits[id->session[i] & 15];
    }
    size_t done = 2 * sizeof id->session;
    (void)snprintf(text + done, CLI_WRITE_ID_BYTES - done, ".%" PRIu32 ":%" PRIu64, id->shard,
                   id->sequence);
}

static int take_hex(const char **text, uint8_t *byte)
{
    unsigned value = 0;
    for (int i = 0; i < 2; i++) {
        const char *digit = **text != 0 ? strchr(hex_digits, **text) : NULL;
        if (digit == NULL)
            return -EINVAL;
        value = value * 16 + (unsigned)(digit - hex_digits);
        (*text)++;
    }
    *byte = (uint8_t)value;
    return 0;
}

int cli_write_id_parse(const char *text, struct dunlin_write_id *id)
{
    uint64_t shard = 0;
    *id = (struct dunlin_write_id){0};
    for (size_t i = 0; i < sizeof id->session; i++)
        if (take_hex(&text, &id->session[i]) != 0)
            return -EINVAL;
    if (*text++ != '.' || take_number(&text, UINT32_MAX, &shard) != 0 || *text++ != ':' ||
        take_number(&text, UINT64_MAX, &id->sequence) != 0 || *text != 0 || id->sequence == 0)
        return -EINVAL;
    id->shard = (uint32_t)shard;
    return 0;
}

/* ---- values ---- */

/* Length of the sequence that this byte begins, with the least code point it may say; 0: none. */
static unsigned utf8_length(uint8_t first, uint32_t *least)
{
    static const uint32_t leasts[] = {0, 0x1, 0x80, 0x800, 0x10000};
    unsigned length = first < 0x80                     ? 1
                      : first >= 0xc0 && first < 0xe0  ? 2
                      : first >= 0xe0 && first < 0xf0  ? 3
                      : first >= 0xf0 && first <= 0xf4 ? 4
                                                       : 0;
    *least = leasts[length];
    return length;
}

bool cli_is_text(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    const uint8_t *end = at + length;
    while (at < end) {
        uint32_t least;
        unsigned count = utf8_length(*at, &least);
        if (count == 0 || count > (size_t)(end - at))
            return false;
        uint32_t code = count == 1 ? *at : *at & (0x7fu >> count);
        for (unsigned i = 1; i < count; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (at[i] & 0x3fu);
        }
        if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        at += count;
    }
    return true;
}

char *cli_base64(const void *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = bytes;
    char *text = malloc((length + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    char *to = text;
    for (size_t i = 0; i < length; i += 3, to += 4) {
        size_t left = length - i;
        uint32_t group = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0u);
        to[0] = digits[group >> 18];
        to[1] = digits[group >> 12 & 63];
        to[2] = left > 1 ? digits[group >> 6 & 63] : '=';
        to[3] = left > 2 ? digits[group & 63] : '=';
    }
    *to = 0;
    return text;
}

/* Value of a digit; 64 and above: it is none. */
static uint32_t base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? (uint32_t)(c - 'A')
           : c >= 'a' && c <= 'z' ? (uint32_t)(c - 'a' + 26)
           : c >= '0' && c <= '9' ? (uint32_t)(c - '0' + 52)
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : 64;
}

int cli_base64_parse(const char *text, size_t text_length, uint8_t *bytes, size_t *length)
{
    size_t pads = 0, at = 0;
    if (text_length % 4 != 0)
        return -EINVAL;
    while (pads < 2 && pads < text_length && text[text_length - 1 - pads] == '=')
        pads++;
    for (size_t i = 0; i < text_length; i += 4) {
        uint32_t group = 0;
        size_t missing = i + 4 == text_length ? pads : 0;
        for (size_t j = 0; j < 4; j++) {
            uint32_t digit = j < 4 - missing ? base64_digit(text[i + j]) : 0;
            if (digit > 63)
                return -EINVAL;
            group = group << 6 | digit;
        }
        /* Why: bits that say nothing would make two texts of the same bytes. */
        if ((missing == 1 && (group & 0xff) != 0) || (missing == 2 && (group & 0xffff) != 0))
            return -EINVAL;
        for (size_t j = 0; j < 3 - missing; j++)
            bytes[at++] = (uint8_t)(group >> (16 - 8 * j));
    }
    *length = at;
    return 0;
}
