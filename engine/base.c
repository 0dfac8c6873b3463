#include "engine/base.h"

#include <stdio.h>
#include <stdlib.h>

void base_assert_failed(const char *expression, const char *file, int line)
{
    (void)fprintf(stderr, "event=assertion_failed expression=\"%s\" file=%s line=%d\n", expression,
                  file, line);
    abort();
}
