/* udp_proxy - relays datagrams between clients and one server, through a bad network.
 *
 * One thread.  Each client (at most CLIENTS_MAX) has an upstream socket of its own, so that the server
 * can tell them apart, and faults of its own in both directions (udp_faults.h).  With --bind-upstream
 * there is one client, the one heard last: the server then finds it at a fixed address, and may send
 * first, which is lost until the client was heard.  So it stands between two servers that know each other
 * by configuration and answer to no other address: A's configuration says that B is at --listen, B's
 * that A is at --bind-upstream; one proxy for each pair of ports.
 *
 * Sockets take what any UDP sender sends, segmentation offload or not: the kernel hands out single
 * datagrams to a socket that did not ask for more.  Sends wait for the kernel's buffer; what the proxy
 * itself could not take in time is counted as kernel_dropped.
 *
 * At SIGTERM or SIGINT it takes what has arrived, sends what waits, prints the counts and ends by 0.
 * Nothing but libc.  Times: nanoseconds of CLOCK_MONOTONIC. */
#include "tests/e2e/udp_proxy_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 16u
#define BUFFER_BYTES 65536u /* longer than any UDP payload */
#define SOCKET_BYTES (8 << 20)
#define TURN 64u         /* datagrams of one socket before the others get their turn */
#define TURN_LAST 65536u /* at a signal: more than a socket's buffer holds */

enum direction { TO_SERVER, TO_CLIENT };

struct flow {
    struct udp_faults faults;
    uint64_t sent, send_errors;
    uint64_t no_client; /* left, but no client was heard yet */
};

struct client {
    struct sockaddr_in address; /* sin_family 0: not heard yet */
    int fd;                     /* to the server */
    uint32_t kernel_dropped;
    struct flow flows[2]; /* by direction */
};

struct proxy {
    struct udp_proxy_options options;
    int fd; /* of all clients */
    int signal_fd;
    uint32_t kernel_dropped;
    uint32_t client_count;
    struct client clients[CLIENTS_MAX];
    uint64_t refused;   /* datagrams of clients beyond CLIENTS_MAX, or without a socket */
    uint64_t strangers; /* datagrams to an upstream socket that are not the server's */
    FILE *record;
    uint8_t buffer[BUFFER_BYTES];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool address_is(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_family == b->sin_family && a->sin_port == b->sin_port &&
           a->sin_addr.s_addr == b->sin_addr.s_addr;
}

/* ---- what came, for the record ---- */

static void put(FILE *file, const void *bytes, size_t length)
{
    if (file != NULL && fwrite(bytes, 1, length, file) != length) {
        perror("udp_proxy: --record");
        exit(1);
    }
}

static void record_start(FILE *file)
{
    const uint32_t head[] = {0xa1b2c3d4, 4u << 16 | 2, 0, 0, BUFFER_BYTES + 4, 147};
    put(file, head, sizeof head);
}

static void record_add(struct proxy *p, enum direction direction, uint32_t client, uint32_t length)
{
    struct timespec t;
    if (p->record == NULL)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    const uint32_t head[] = {(uint32_t)t.tv_sec, (uint32_t)(t.tv_nsec / 1000), length + 4,
                             length + 4};
    const uint8_t whence[4] = {(uint8_t)direction, (uint8_t)client};
    put(p->record, head, sizeof head);
    put(p->record, whence, sizeof whence);
    put(p->record, p->buffer, length);
}

/* ---- sockets ---- */

/* A bound socket (address NULL: any), or -1 with errno. */
static int socket_open(const struct sockaddr_in *address)
{
    const int on = 1, bytes = SOCKET_BYTES;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Why twice: as root beyond the system's limit, else up to it. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    (void)setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
    if (address == NULL || bind(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

/* One datagram into the buffer; its length, or -1: none is there. */
static ssize_t receive(struct proxy *p, int fd, struct sockaddr_in *from, uint32_t *kernel_dropped)
{
    struct iovec part = {.iov_base = p->buffer, .iov_len = sizeof p->buffer};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof *kernel_dropped)];
    struct msghdr m = {
        .msg_name = from,
        .msg_namelen = sizeof *from,
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t length = recvmsg(fd, &m, MSG_DONTWAIT);
    for (struct cmsghdr *c = length < 0 ? NULL : CMSG_FIRSTHDR(&m); c != NULL;
         c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
            memcpy(kernel_dropped, CMSG_DATA(c), sizeof *kernel_dropped);
    return length;
}

static struct client *client_add(struct proxy *p)
{
    const struct udp_proxy_options *o = &p->options;
    struct client *c = &p->clients[p->client_count];
    if (p->client_count == CLIENTS_MAX)
        return NULL;
    *c = (struct client){
        .fd = socket_open(o->bind_upstream.sin_family != 0 ? &o->bind_upstream : NULL)};
    if (c->fd < 0)
        return NULL;
    udp_faults_init(&c->flows[TO_SERVER].faults, &o->faults, 2 * (uint64_t)p->client_count);
    udp_faults_init(&c->flows[TO_CLIENT].faults, &o->faults, 2 * (uint64_t)p->client_count + 1);
    p->client_count++;
    return c;
}

static struct client *client_of(struct proxy *p, const struct sockaddr_in *address)
{
    struct client *c;
    for (c = p->clients; c < p->clients + p->client_count; c++)
        if (address_is(&c->address, address))
            return c;
    c = p->options.bind_upstream.sin_family != 0 ? p->clients : client_add(p);
    if (c != NULL)
        c->address = *address;
    return c;
}

/* ---- relaying ---- */

static void take_from_clients(struct proxy *p, uint32_t count)
{
    struct sockaddr_in from;
    for (ssize_t length;
         count-- != 0 && (length = receive(p, p->fd, &from, &p->kernel_dropped)) >= 0;) {
        struct client *c = client_of(p, &from);
        if (c == NULL) {
            p->refused++;
            continue;
        }
        record_add(p, TO_SERVER, (uint32_t)(c - p->clients), (uint32_t)length);
        udp_faults_take(&c->flows[TO_SERVER].faults, p->buffer, (uint32_t)length, now_ns());
    }
}

static void take_from_server(struct proxy *p, struct client *c, uint32_t count)
{
    struct sockaddr_in from;
    for (ssize_t length;
         count-- != 0 && (length = receive(p, c->fd, &from, &c->kernel_dropped)) >= 0;) {
        if (!address_is(&from, &p->options.to)) {
            p->strangers++;
            continue;
        }
        record_add(p, TO_CLIENT, (uint32_t)(c - p->clients), (uint32_t)length);
        udp_faults_take(&c->flows[TO_CLIENT].faults, p->buffer, (uint32_t)length, now_ns());
    }
}

/* What is due at now leaves; a kernel that refuses one (no route, a firewall) is the network's loss. */
static void flow_send(struct flow *f, int fd, const struct sockaddr_in *to, uint64_t now)
{
    struct udp_datagram *d;
    while ((d = udp_faults_next(&f->faults, now)) != NULL) {
        if (to->sin_family == 0)
            f->no_client++;
        else if (sendto(fd, d->bytes, d->length, 0, (const struct sockaddr *)to, sizeof *to) < 0)
            f->send_errors++;
        else
            f->sent++;
        free(d);
    }
}

static void send_due(struct proxy *p, uint64_t now)
{
    for (struct client *c = p->clients; c < p->clients + p->client_count; c++) {
        flow_send(&c->flows[TO_SERVER], c->fd, &p->options.to, now);
        flow_send(&c->flows[TO_CLIENT], p->fd, &c->address, now);
    }
}

static void take_all(struct proxy *p, uint32_t count)
{
    take_from_clients(p, count);
    for (struct client *c = p->clients; c < p->clients + p->client_count; c++)
        take_from_server(p, c, count);
}

/* ---- counts ---- */

static void print_direction(const struct proxy *p, enum direction direction, const char *name)
{
    struct flow all = {0};
    struct udp_faults_counters *sum = &all.faults.counters;
    for (const struct client *c = p->clients; c < p->clients + p->client_count; c++) {
        const struct flow *f = &c->flows[direction];
        const struct udp_faults_counters *one = &f->faults.counters;
        sum->received += one->received;
        sum->lost += one->lost;
        sum->corrupted += one->corrupted;
        sum->duplicated += one->duplicated;
        sum->reordered += one->reordered;
        sum->replayed += one->replayed;
        sum->dropped += one->dropped;
        all.sent += f->sent;
        all.send_errors += f->send_errors;
        all.no_client += f->no_client;
    }
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"received", sum->received},      {"lost", sum->lost},
        {"corrupted", sum->corrupted},    {"duplicated", sum->duplicated},
        {"reordered", sum->reordered},    {"replayed", sum->replayed},
        {"dropped", sum->dropped},        {"no_client", all.no_client},
        {"send_errors", all.send_errors}, {"sent", all.sent},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf(" %s.%s=%" PRIu64, name, counts[i].name, counts[i].value);
}

static void print_counts(const struct proxy *p)
{
    uint64_t kernel_dropped = p->kernel_dropped;
    for (uint32_t i = 0; i < p->client_count; i++)
        kernel_dropped += p->clients[i].kernel_dropped;
    printf("counts clients=%" PRIu32 " refused=%" PRIu64 " strangers=%" PRIu64
           " kernel_dropped=%" PRIu64,
           p->client_count, p->refused, p->strangers, kernel_dropped);
    print_direction(p, TO_SERVER, "to_server");
    print_direction(p, TO_CLIENT, "to_client");
    printf("\n");
}

/* ---- the loop ---- */

static void wait_for(struct proxy *p)
{
    struct pollfd fds[CLIENTS_MAX + 2] = {{.fd = p->signal_fd, .events = POLLIN},
                                          {.fd = p->fd, .events = POLLIN}};
    uint64_t deadline = UINT64_MAX, now = now_ns();
    for (uint32_t i = 0; i < p->client_count; i++) {
        fds[2 + i] = (struct pollfd){.fd = p->clients[i].fd, .events = POLLIN};
        for (uint32_t j = 0; j < 2; j++) {
            uint64_t due = udp_faults_deadline(&p->clients[i].flows[j].faults);
            deadline = due < deadline ? due : deadline;
        }
    }
    uint64_t ns = deadline > now ? deadline - now : 0;
    const struct timespec left = {.tv_sec = (time_t)(ns / 1000000000u),
                                  .tv_nsec = (long)(ns % 1000000000u)};
    if (ns != 0 && p->record != NULL && fflush(p->record) != 0)
        perror("udp_proxy: --record");
    (void)ppoll(fds, 2 + p->client_count, deadline == UINT64_MAX ? NULL : &left, NULL);
}

/* True: it is time to end. */
static bool signalled(struct proxy *p)
{
    struct signalfd_siginfo info;
    if (read(p->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    /* Why: the counts are of all that has arrived before the signal. */
    take_all(p, TURN_LAST);
    if (info.ssi_signo != SIGUSR1)
        return true;
    print_counts(p);
    return false;
}

static void serve(struct proxy *p)
{
    while (!signalled(p)) {
        take_all(p, TURN);
        send_due(p, now_ns());
        wait_for(p);
    }
    send_due(p, UINT64_MAX);
    print_counts(p);
}

static int signals_open(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        /* Why: a shell's background process ignores SIGINT, and what is ignored is never read. */
        (void)signal(numbers[i], SIG_DFL);
        (void)sigaddset(&set, numbers[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* What was opened is closed by the end of the process. */
static bool proxy_open(struct proxy *p)
{
    char text[INET_ADDRSTRLEN] = "";
    socklen_t length = sizeof p->options.listen;
    if (p->options.record != NULL) {
        p->record = fopen(p->options.record, "we");
        if (p->record == NULL)
            return perror("udp_proxy: --record"), false;
        record_start(p->record);
    }
    p->signal_fd = signals_open();
    p->fd = socket_open(&p->options.listen);
    if (p->signal_fd < 0 || p->fd < 0)
        return perror("udp_proxy: --listen"), false;
    if (p->options.bind_upstream.sin_family != 0 && client_add(p) == NULL)
        return perror("udp_proxy: --bind-upstream"), false;
    if (getsockname(p->fd, (struct sockaddr *)&p->options.listen, &length) != 0)
        return perror("udp_proxy: getsockname"), false;
    (void)inet_ntop(AF_INET, &p->options.listen.sin_addr, text, sizeof text);
    printf("listening %s:%u\n", text, ntohs(p->options.listen.sin_port));
    return true;
}

int main(int argc, char **argv)
{
    static struct proxy proxy = {.options.faults.seed = 1};
    setvbuf(stdout, NULL, _IOLBF, 0);
    int status = udp_proxy_options_parse(&proxy.options, argc, argv);
    if (status != 0)
        return status;
    if (!proxy_open(&proxy))
        return 1;
    serve(&proxy);
    for (uint32_t i = 0; i < proxy.client_count; i++)
        for (uint32_t j = 0; j < 2; j++)
            udp_faults_fini(&proxy.clients[i].flows[j].faults);
    return proxy.record != NULL && fclose(proxy.record) != 0 ? 1 : 0;
}
