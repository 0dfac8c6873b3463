#include "control/control_net_frame.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_AT 4u
#define BODY_BYTES_MIN ((size_t)4 << 10)
#define BODY_BYTES_KEPT ((size_t)64 << 10) /* between messages */

void control_frame_head_encode(uint8_t head[CONTROL_FRAME_HEAD_BYTES], uint8_t type, size_t length)
{
    uint32_t wire = htole32((uint32_t)length);
    memset(head, 0, CONTROL_FRAME_HEAD_BYTES);
    memcpy(head, &wire, sizeof(wire));
    head[TYPE_AT] = type;
}

static size_t length_of(const uint8_t *head)
{
    uint32_t wire;
    memcpy(&wire, head, sizeof(wire));
    return le32toh(wire);
}

static int head_judge(const struct control_frame_reader *r, const uint8_t *head)
{
    for (size_t i = TYPE_AT + 1; i < CONTROL_FRAME_HEAD_BYTES; i++)
        if (head[i] != 0)
            return -EPROTO;
    return length_of(head) <= r->length_max ? 0 : -EMSGSIZE;
}

static size_t move(uint8_t *to, size_t room, const uint8_t **bytes, size_t *length)
{
    size_t n = min_u64(room, *length);
    if (n != 0)
        memcpy(to, *bytes, n);
    *bytes += n;
    *length -= n;
    return n;
}

/* Room for more bytes of a body of total bytes: twice as much each time, never more than it needs. */
static int body_reserve(struct control_frame_reader *r, size_t more, size_t total)
{
    size_t wanted = r->body_used + more;
    if (wanted <= r->body_capacity)
        return 0;
    wanted = max_u64(wanted, max_u64(2 * r->body_capacity, BODY_BYTES_MIN));
    wanted = min_u64(wanted, max_u64(total, BODY_BYTES_MIN));
    uint8_t *body = realloc(r->body, wanted);
    if (body == NULL)
        return -ENOMEM;
    r->body = body;
    r->body_capacity = wanted;
    return 0;
}

static void begin(struct control_frame_reader *r)
{
    r->delivered = false;
    r->head_used = 0;
    r->body_used = 0;
    if (r->body_capacity > BODY_BYTES_KEPT) {
        free(r->body);
        r->body = NULL;
        r->body_capacity = 0;
    }
}

/* A message that lies in the bytes whole is not copied. */
static bool take_whole(struct control_frame_reader *r, const uint8_t **bytes, size_t *length,
                       struct control_frame *f)
{
    if (r->head_used != 0 || *length < CONTROL_FRAME_HEAD_BYTES || head_judge(r, *bytes) != 0 ||
        *length - CONTROL_FRAME_HEAD_BYTES < length_of(*bytes))
        return false;
    *f = (struct control_frame){.type = (*bytes)[TYPE_AT],
                                .bytes = *bytes + CONTROL_FRAME_HEAD_BYTES,
                                .length = length_of(*bytes)};
    *bytes += CONTROL_FRAME_HEAD_BYTES + f->length;
    *length -= CONTROL_FRAME_HEAD_BYTES + f->length;
    return true;
}

int control_frame_take(struct control_frame_reader *r, const uint8_t **bytes, size_t *length,
                       struct control_frame *f)
{
    if (r->delivered)
        begin(r);
    if (take_whole(r, bytes, length, f))
        return 1;
    r->head_used += move(r->head + r->head_used, sizeof(r->head) - r->head_used, bytes, length);
    if (r->head_used < sizeof(r->head))
        return 0;
    int error = head_judge(r, r->head);
    size_t total = length_of(r->head);
    size_t more = error == 0 ? min_u64(total - r->body_used, *length) : 0;
    if (error == 0)
        error = body_reserve(r, more, total);
    if (error != 0)
        return error;
    if (more != 0)
        r->body_used += move(r->body + r->body_used, more, bytes, length);
    if (r->body_used < total)
        return 0;
    *f = (struct control_frame){.type = r->head[TYPE_AT], .bytes = r->body, .length = total};
    r->delivered = true;
    return 1;
}

void control_frame_reader_fini(struct control_frame_reader *r)
{
    free(r->body);
    *r = (struct control_frame_reader){0};
}

/* ---- HELLO ---- */

void control_frame_hello_encode(uint8_t hello[CONTROL_FRAME_HELLO_BYTES])
{
    const uint16_t versions[] = {htole16(CONTROL_FRAME_VERSION), htole16(CONTROL_FRAME_VERSION)};
    _Static_assert(sizeof(versions) == CONTROL_FRAME_HELLO_BYTES, "the lowest and the highest");
    memcpy(hello, versions, sizeof(versions));
}

void control_frame_hello_encode_refusal(uint8_t hello[CONTROL_FRAME_HELLO_BYTES])
{
    memset(hello, 0, CONTROL_FRAME_HELLO_BYTES);
}

int control_frame_hello_judge(const struct control_frame *f)
{
    uint16_t versions[2];
    if (f->type != CONTROL_FRAME_HELLO || f->length < sizeof(versions))
        return -EPROTO;
    memcpy(versions, f->bytes, sizeof(versions));
    uint16_t lowest = le16toh(versions[0]), highest = le16toh(versions[1]);
    if (highest == 0 && lowest == 0)
        return -ENOENT;
    if (lowest > highest || lowest == 0)
        return -EPROTO;
    return lowest <= CONTROL_FRAME_VERSION && highest >= CONTROL_FRAME_VERSION
               ? (int)CONTROL_FRAME_VERSION
               : -EPROTONOSUPPORT;
}
