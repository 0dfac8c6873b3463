#include "control/control_net_link.h"

#include "control/control_net_tls.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES ((size_t)128 << 10) /* encrypted ahead of the kernel */
#define BATCHES 16u                     /* written before others have their turn */
#define KEEPALIVE_S 1

struct control_link_message {
    struct control_link_message *next;
    struct control_net_request *request;
    size_t length, done; /* done: encrypted */
    uint8_t bytes[];     /* head and body */
};

void control_link_address_print(char text[CONTROL_LINK_ADDRESS_BYTES],
                                const struct sockaddr_storage *address)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = address->ss_family == AF_INET6;
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    if (v6)
        (void)uv_ip6_name(in6, host, sizeof(host));
    else if (address->ss_family == AF_INET)
        (void)uv_ip4_name(in, host, sizeof(host));
    (void)snprintf(text, CONTROL_LINK_ADDRESS_BYTES, v6 ? "[%s]:%u" : "%s:%u", host,
                   ntohs(v6 ? in6->sin6_port : in->sin_port));
}

/* ---- the end of a link ---- */

static void message_end(struct control_link_message *m, int error)
{
    struct control_net_request *r = m->request;
    free(m);
    if (r != NULL)
        r->sent(r, error);
}

static void on_closed(uv_handle_t *handle)
{
    struct control_link *l = handle->data;
    if (--l->handles_open != 0)
        return;
    while (l->first != NULL) {
        struct control_link_message *m = l->first;
        l->first = m->next;
        message_end(m, l->lost);
    }
    l->owner->closed(l);
    SSL_free(l->ssl);
    control_frame_reader_fini(&l->reader);
    free(l->wire);
    free(l);
}

/* Returns how many bytes of messages are the next record. */
static size_t record_fill(struct control_link *l)
{
    uint8_t *record = l->owner->record;
    size_t filled = 0;
    while (l->next_plain != NULL && filled < sizeof(l->owner->record)) {
        struct control_link_message *m = l->next_plain;
        size_t n = min_u64(m->length - m->done, sizeof(l->owner->record) - filled);
        memcpy(record + filled, m->bytes + m->done, n);
        filled += n;
        m->done += n;
        if (m->done == m->length)
            l->next_plain = m->next;
    }
    return filled;
}

/* Returns whether the next records went into the BIO: TLS over memory fails only for good. */
static bool encrypt(struct control_link *l)
{
    if (l->state != CONTROL_LINK_HELLO && l->state != CONTROL_LINK_UP)
        return true;
    while (BIO_ctrl_pending(l->out) < BATCH_BYTES) {
        int n = (int)record_fill(l);
        if (n == 0)
            return true;
        ERR_clear_error();
        if (SSL_write(l->ssl, l->owner->record, n) != n)
            return false;
    }
    return true;
}

/* Why: an alert tells the other side's log what is wrong; and who sends and then ends has sent. */
static void last_write(struct control_link *l)
{
    char *bytes;
    if (l->writing)
        return;
    (void)encrypt(l); /* if it fails, what it left is the alert */
    long size = BIO_get_mem_data(l->out, &bytes);
    uv_buf_t last = uv_buf_init(bytes, (unsigned)size);
    if (size > 0)
        (void)uv_try_write((uv_stream_t *)&l->tcp, &last, 1);
}

void control_link_drop(struct control_link *l, const char *reason)
{
    if (l->state == CONTROL_LINK_DOWN)
        return;
    last_write(l);
    l->state = CONTROL_LINK_DOWN;
    l->reason = reason;
    uv_close((uv_handle_t *)&l->tcp, on_closed);
    uv_close((uv_handle_t *)&l->deadline, on_closed);
    uv_close((uv_handle_t *)&l->due, on_closed);
}

static void drop_by_tls(struct control_link *l)
{
    control_link_drop(l, control_tls_reason(l->ssl));
}

static void on_deadline(uv_timer_t *timer)
{
    struct control_link *l = timer->data;
    control_link_drop(l, l->state == CONTROL_LINK_CONNECTING ? "connecting took too long"
                                                             : "the handshake took too long");
}

/* ---- sending ---- */

static bool wire_reserve(struct control_link *l, size_t bytes)
{
    if (bytes <= l->wire_capacity)
        return true;
    uint8_t *wire = realloc(l->wire, bytes);
    if (wire == NULL)
        return false;
    l->wire = wire;
    l->wire_capacity = bytes;
    return true;
}

/* Those whose last byte the kernel has; the others stay. */
static void written_end(struct control_link *l)
{
    struct control_link_message *done = l->first, **end = &done;
    while (*end != NULL && (*end)->done == (*end)->length) {
        l->queued_bytes -= sizeof(**end) + (*end)->length;
        end = &(*end)->next;
    }
    l->first = *end;
    *end = NULL;
    if (l->first == NULL)
        l->last = NULL;
    while (done != NULL) {
        struct control_link_message *m = done;
        done = m->next;
        message_end(m, 0);
    }
}

/* What is due is in wire.  Returns how much that is. */
static size_t batch_make(struct control_link *l)
{
    if (!encrypt(l)) {
        drop_by_tls(l);
        return 0;
    }
    size_t bytes = BIO_ctrl_pending(l->out);
    if (bytes != 0 &&
        (!wire_reserve(l, bytes) || BIO_read(l->out, l->wire, (int)bytes) != (int)bytes)) {
        control_link_drop(l, "no memory");
        return 0;
    }
    return bytes;
}

static void on_written(uv_write_t *write, int status);

/* What the kernel does not take at once, it takes later. */
static void batch_write_later(struct control_link *l, size_t from, size_t bytes)
{
    uv_buf_t rest = uv_buf_init((char *)l->wire + from, (unsigned)(bytes - from));
    l->write.data = l;
    int error = uv_write(&l->write, (uv_stream_t *)&l->tcp, &rest, 1, on_written);
    if (error != 0)
        control_link_drop(l, uv_strerror(error));
    else
        l->writing = true;
}

static void batch_write(struct control_link *l, size_t bytes)
{
    uv_buf_t buffer = uv_buf_init((char *)l->wire, (unsigned)bytes);
    int n = uv_try_write((uv_stream_t *)&l->tcp, &buffer, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0)
        control_link_drop(l, uv_strerror(n));
    else if ((size_t)n < bytes)
        batch_write_later(l, (size_t)n, bytes);
    else
        written_end(l);
}

/* What is due goes to the kernel, one write at a time. */
static void flush(struct control_link *l)
{
    for (unsigned i = 0; !l->writing && l->state != CONTROL_LINK_DOWN; i++) {
        size_t bytes = batch_make(l);
        if (bytes == 0)
            return;
        if (i < BATCHES)
            batch_write(l, bytes);
        else
            batch_write_later(l, 0, bytes);
    }
}

static void on_due(uv_prepare_t *prepare)
{
    (void)uv_prepare_stop(prepare);
    flush(prepare->data);
}

/* Before the loop waits, there is something to flush. */
static void flush_soon(struct control_link *l)
{
    if (l->state != CONTROL_LINK_DOWN)
        (void)uv_prepare_start(&l->due, on_due); /* there is a callback */
}

static void on_written(uv_write_t *write, int status)
{
    struct control_link *l = write->data;
    l->writing = false;
    if (l->state == CONTROL_LINK_DOWN)
        return;
    if (status != 0) {
        control_link_drop(l, uv_strerror(status));
        return;
    }
    written_end(l);
    flush_soon(l);
}

static int queue(struct control_link *l, uint8_t type, const struct iovec *pieces, unsigned count,
                 struct control_net_request *request)
{
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].iov_len > CONTROL_FRAME_LENGTH_MAX - length)
            return -EMSGSIZE;
        length += pieces[i].iov_len;
    }
    if (l->queued_bytes > CONTROL_NET_QUEUE_BYTES)
        return -ENOBUFS;
    struct control_link_message *m = malloc(sizeof(*m) + CONTROL_FRAME_HEAD_BYTES + length);
    if (m == NULL)
        return -ENOMEM;
    *m = (struct control_link_message){.request = request,
                                       .length = CONTROL_FRAME_HEAD_BYTES + length};
    control_frame_head_encode(m->bytes, type, length);
    uint8_t *at = m->bytes + CONTROL_FRAME_HEAD_BYTES;
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].iov_len != 0)
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    if (l->last != NULL)
        l->last->next = m;
    else
        l->first = m;
    l->last = m;
    if (l->next_plain == NULL)
        l->next_plain = m;
    l->queued_bytes += sizeof(*m) + m->length;
    flush_soon(l);
    return 0;
}

int control_link_send(struct control_link *l, uint8_t type, const struct iovec *pieces,
                      unsigned count, struct control_net_request *request)
{
    if (l->state != CONTROL_LINK_UP)
        return -ENOTCONN;
    return queue(l, type, pieces, count, request);
}

/* ---- receiving ---- */

static void hello_say(struct control_link *l)
{
    uint8_t hello[CONTROL_FRAME_HELLO_BYTES];
    control_frame_hello_encode(hello);
    const struct iovec piece = {.iov_base = hello, .iov_len = sizeof(hello)};
    l->state = CONTROL_LINK_HELLO;
    l->reader.length_max = CONTROL_FRAME_HELLO_BYTES_MAX;
    if (queue(l, CONTROL_FRAME_HELLO, &piece, 1, NULL) != 0)
        control_link_drop(l, "no memory");
}

/* Why in TLS: only who has shown that it is a node of this cluster's authority learns what we know of it. */
static void refuse(struct control_link *l, const char *reason)
{
    uint8_t hello[CONTROL_FRAME_HELLO_BYTES];
    control_frame_hello_encode_refusal(hello);
    const struct iovec piece = {.iov_base = hello, .iov_len = sizeof(hello)};
    if (l->is_unknown) {
        l->state = CONTROL_LINK_HELLO;
        /* Why the result does not matter: it comes again, and is told then. */
        (void)!queue(l, CONTROL_FRAME_HELLO, &piece, 1, NULL);
    }
    control_link_drop(l, reason);
}

static void hello_take(struct control_link *l, const struct control_frame *f)
{
    int version = control_frame_hello_judge(f);
    l->is_refused = version == -ENOENT;
    if (l->is_refused) {
        control_link_drop(l, "we are no node that it knows");
        return;
    }
    if (version < 0) {
        control_link_drop(l, version == -EPROTO ? "no HELLO" : "no version that both know");
        return;
    }
    (void)uv_timer_stop(&l->deadline);
    l->state = CONTROL_LINK_UP;
    l->up_ms = uv_now(l->tcp.loop);
    l->reader.length_max = CONTROL_FRAME_LENGTH_MAX;
    l->owner->up(l);
}

static void frame_take(struct control_link *l, const struct control_frame *f)
{
    if (l->state == CONTROL_LINK_HELLO)
        hello_take(l, f);
    else if (f->type == CONTROL_FRAME_HELLO)
        control_link_drop(l, "a second HELLO");
    else
        l->owner->received(l, f);
}

static void plain_take(struct control_link *l, const uint8_t *bytes, size_t length)
{
    struct control_frame f;
    while (l->state != CONTROL_LINK_DOWN) {
        int taken = control_frame_take(&l->reader, &bytes, &length, &f);
        if (taken == 0)
            return;
        if (taken < 0)
            control_link_drop(l, taken == -EMSGSIZE ? "a message that is too long"
                                 : taken == -EPROTO ? "bytes that are no message"
                                                    : "no memory");
        else
            frame_take(l, &f);
    }
}

/* Why it is asked: to be told that nothing is left costs as much as a short message. */
static bool may_have_plain(const struct control_link *l)
{
    bool is_on = l->state == CONTROL_LINK_HELLO || l->state == CONTROL_LINK_UP;
    return is_on && (BIO_ctrl_pending(l->in) != 0 || SSL_pending(l->ssl) != 0);
}

/* Returns whether there may be more. */
static bool read_plain(struct control_link *l)
{
    ERR_clear_error();
    int n = SSL_read(l->ssl, l->owner->plain, sizeof(l->owner->plain));
    if (n > 0) {
        plain_take(l, l->owner->plain, (size_t)n);
        return true;
    }
    int why = SSL_get_error(l->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN)
        control_link_drop(l, "closed by the other side");
    else if (why != SSL_ERROR_WANT_READ)
        drop_by_tls(l);
    return false;
}

static void handshake(struct control_link *l)
{
    struct authority_identity who;
    ERR_clear_error();
    int n = SSL_do_handshake(l->ssl);
    if (n != 1) {
        if (SSL_get_error(l->ssl, n) != SSL_ERROR_WANT_READ)
            drop_by_tls(l);
        return;
    }
    const X509 *certificate = SSL_get0_peer_certificate(l->ssl);
    const char *refused = certificate == NULL || authority_identity_of(certificate, &who) != 0
                              ? "its certificate names no node"
                              : l->owner->judge(l, &who);
    if (refused != NULL)
        refuse(l, refused);
    else
        hello_say(l);
}

static void step(struct control_link *l)
{
    if (l->state == CONTROL_LINK_TLS)
        handshake(l);
    while (may_have_plain(l) && read_plain(l))
        ;
    /* Of the handshake, or an answer of TLS; messages have said it themselves. */
    if (BIO_ctrl_pending(l->out) != 0)
        flush_soon(l);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct control_link *l = handle->data;
    (void)suggested;
    *buffer = uv_buf_init((char *)l->owner->read_bytes, sizeof(l->owner->read_bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct control_link *l = stream->data;
    if (n == 0 || l->state == CONTROL_LINK_DOWN)
        return;
    if (n < 0)
        control_link_drop(l, n == UV_EOF ? "closed by the other side" : uv_strerror((int)n));
    else if (BIO_write(l->in, buffer->base, (int)n) != (int)n)
        control_link_drop(l, "no memory");
    else
        step(l);
}

/* ---- the beginning of a link ---- */

/* The other side of the socket is there. */
static void begin(struct control_link *l)
{
    int fd;
    const unsigned silence_ms = CONTROL_NET_SILENCE_MS;
    uv_tcp_t *tcp = &l->tcp;
    l->state = CONTROL_LINK_TLS;
    int error = uv_tcp_nodelay(tcp, 1);
    if (error == 0)
        error = uv_tcp_keepalive(tcp, 1, KEEPALIVE_S);
    if (error == 0)
        error = uv_fileno((uv_handle_t *)tcp, &fd);
    if (error == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms)) != 0)
        error = uv_translate_sys_error(errno);
    if (error == 0)
        error = uv_timer_start(&l->deadline, on_deadline, CONTROL_NET_HANDSHAKE_MS, 0);
    if (error == 0)
        error = uv_read_start((uv_stream_t *)tcp, on_room, on_read);
    if (error != 0)
        control_link_drop(l, uv_strerror(error));
    else
        step(l);
}

static bool tls_make(struct control_link *l, SSL_CTX *tls)
{
    l->ssl = SSL_new(tls);
    l->in = BIO_new(BIO_s_mem());
    l->out = BIO_new(BIO_s_mem());
    if (l->ssl == NULL || l->in == NULL || l->out == NULL) {
        BIO_free(l->in);
        BIO_free(l->out);
        SSL_free(l->ssl);
        return false;
    }
    SSL_set_bio(l->ssl, l->in, l->out); /* theirs now */
    if (l->outgoing)
        SSL_set_connect_state(l->ssl);
    else
        SSL_set_accept_state(l->ssl);
    return true;
}

static struct control_link *make(const struct control_link_config *c, bool outgoing)
{
    struct control_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->owner = c->owner;
    l->context = c->context;
    l->peer = c->peer;
    l->outgoing = outgoing;
    l->lost = -ECONNRESET;
    if (!tls_make(l, c->tls)) {
        free(l);
        return NULL;
    }
    int error = uv_tcp_init(c->loop, &l->tcp);
    ASSERT(error == 0); /* it makes no socket yet */
    error = uv_timer_init(c->loop, &l->deadline);
    ASSERT(error == 0);
    error = uv_prepare_init(c->loop, &l->due);
    ASSERT(error == 0);
    l->tcp.data = l;
    l->deadline.data = l;
    l->due.data = l;
    l->handles_open = 3;
    return l;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct control_link *l = request->data;
    if (l->state == CONTROL_LINK_DOWN)
        return;
    if (status != 0)
        control_link_drop(l, uv_strerror(status));
    else
        begin(l);
}

struct control_link *control_link_connect(const struct control_link_config *c,
                                          const struct sockaddr_storage *address)
{
    struct control_link *l = make(c, true);
    if (l == NULL)
        return NULL;
    l->address = *address;
    l->connecting.data = l;
    int error =
        uv_tcp_connect(&l->connecting, &l->tcp, (const struct sockaddr *)address, on_connected);
    if (error == 0)
        error = uv_timer_start(&l->deadline, on_deadline, CONTROL_NET_CONNECT_MS, 0);
    if (error != 0)
        control_link_drop(l, uv_strerror(error));
    return l;
}

struct control_link *control_link_accept(const struct control_link_config *c, uv_tcp_t *listener)
{
    int length = sizeof(((struct control_link *)NULL)->address);
    struct control_link *l = make(c, false);
    if (l == NULL)
        return NULL;
    int error = uv_accept((uv_stream_t *)listener, (uv_stream_t *)&l->tcp);
    if (error == 0)
        error = uv_tcp_getpeername(&l->tcp, (struct sockaddr *)&l->address, &length);
    if (error != 0)
        control_link_drop(l, uv_strerror(error));
    else
        begin(l);
    return l;
}
