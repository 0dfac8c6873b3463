/* attach_validate - judging the requests of the attach protocol (engine/agent/attach_protocol.h).
 *
 * Pure: bytes in, a request or a refusal out.  The bytes are a stranger's. */
#ifndef DUNLIN_CONTROL_ATTACH_VALIDATE_H
#define DUNLIN_CONTROL_ATTACH_VALIDATE_H

#include "engine/agent/attach_protocol.h"
#include "engine/base.h"

/* What a connection may ask depends on whether it said HELLO: SPACE and CHUNK come after it, HELLO
 * comes once; STATUS, CLOCK, MOVE and NODES at any time.
 * Returns 0 and *request, a copy in which every field that its kind uses is within its limits, or
 *   -EPROTO  any other length, kind, order, size, name or fingerprint: refuse and close.  *request
 *            then has the kind as far as the bytes name one, else 0. */
MUST_USE int attach_validate(const void *bytes, size_t length, bool attached,
                             struct attach_request *request);

#endif
