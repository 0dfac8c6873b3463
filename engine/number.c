#include "engine/number.h"

#include <string.h>

int number_parse(const uint8_t *value, uint64_t length, int64_t *number)
{
    bool negative = length != 0 && value[0] == '-';
    uint64_t at = negative ? 1 : 0;
    int64_t sum = 0;
    if (at == length || length > NUMBER_BYTES_MAX)
        return -EDOM;
    for (; at < length; at++) {
        int digit = value[at] - '0';
        if (digit < 0 || digit > 9)
            return -EDOM;
        /* Why below zero: the least int64_t has no positive one. */
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, digit, &sum))
            return -EDOM;
    }
    if (!negative && sum == INT64_MIN)
        return -EDOM;
    *number = negative ? sum : -sum;
    return 0;
}

uint32_t number_print(int64_t number, uint8_t text[NUMBER_BYTES_MAX])
{
    uint8_t reversed[NUMBER_BYTES_MAX];
    uint32_t digits = 0, at = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        reversed[digits++] = (uint8_t)('0' + left % 10);
    while ((left /= 10) != 0);
    if (number < 0)
        text[at++] = '-';
    while (digits != 0)
        text[at++] = reversed[--digits];
    return at;
}
