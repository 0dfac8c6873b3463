/* doctor_said - what the doctor says in words, as its tests look at it. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_DOCTOR_SAID_H
#define DUNLIN_TESTS_UNIT_CONTROL_DOCTOR_SAID_H

#include "tests/unit/unit.h"

#include <stdio.h>

static inline void contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        (void)fprintf(stderr, "\n--- wanted %s\n--- got %s\n", part, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, part));
}

#endif
