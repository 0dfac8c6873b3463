#include "control/frame_secrets.h"

#include <string.h>

#define VERSION 1u
#define NEVER UINT64_MAX

enum kind { START = 1, SECRET, HELD, DONE, RENEW, KINDS };

struct message {
    enum kind kind;
    bool has_file;
    uint32_t number;
    uint64_t start_own, start_other; /* of the sender, of the receiver */
    uint8_t secret[FRAME_SECRET_BYTES];
};

/* ---- bytes ---- */

static void put(uint8_t *to, uint64_t v, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *from, uint32_t bytes)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < bytes; i++)
        v |= (uint64_t)from[i] << (8 * i);
    return v;
}

static bool decode(struct message *m, const uint8_t *bytes, uint64_t length)
{
    if (length < FRAME_SECRETS_MESSAGE_BYTES || bytes[0] != VERSION || bytes[1] == 0 ||
        bytes[1] >= KINDS || bytes[2] > 1)
        return false;
    m->kind = (enum kind)bytes[1];
    m->has_file = bytes[2] == 1;
    m->number = (uint32_t)get(bytes + 4, 4);
    m->start_own = get(bytes + 8, 8);
    m->start_other = get(bytes + 16, 8);
    memcpy(m->secret, bytes + 24, sizeof m->secret);
    return m->start_own != 0;
}

static void encode(const struct frame_secrets *s, const struct frame_secrets_peer *p,
                   enum kind kind, uint8_t bytes[FRAME_SECRETS_MESSAGE_BYTES])
{
    const struct pair_secret *newest = &p->shared.secrets[0];
    memset(bytes, 0, FRAME_SECRETS_MESSAGE_BYTES);
    bytes[0] = VERSION;
    bytes[1] = (uint8_t)kind;
    bytes[2] = s->config.has_file;
    put(bytes + 4, newest->number, 4);
    put(bytes + 8, s->config.start, 8);
    put(bytes + 16, p->start, 8);
    if (kind == SECRET)
        memcpy(bytes + 24, newest->bytes, sizeof newest->bytes);
}

/* ---- peers ---- */

static struct frame_secrets_peer *find(struct frame_secrets *s, uint32_t node)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (s->peers[i].node == node)
            return &s->peers[i];
    return NULL;
}

static bool draws(const struct frame_secrets *s, const struct frame_secrets_peer *p)
{
    return !s->config.has_file && s->config.node < p->node;
}

static void owe(struct frame_secrets_peer *p, enum kind kind)
{
    if (p->is_met || (p->is_linked && kind == START))
        p->owed |= 1u << kind;
}

/* Nothing is shared with that start. */
static void begin(struct frame_secrets_peer *p, uint64_t start)
{
    p->is_changed = p->is_changed || p->shared.start != 0;
    p->shared = (struct pair_secrets_view){.start = 0};
    p->start = start;
    p->wants = false;
    p->floor = p->held = p->renewed = p->worn = 0;
    p->void_at = NEVER;
}

void frame_secrets_init(struct frame_secrets *s, const struct frame_secrets_config *config)
{
    ASSERT(config->node != 0 && config->start != 0);
    *s = (struct frame_secrets){.config = *config};
    if (s->config.age_ns == 0)
        s->config.age_ns = FRAME_SECRETS_AGE_NS;
    if (s->config.grace_ns == 0)
        s->config.grace_ns = FRAME_SECRETS_GRACE_NS;
}

void frame_secrets_link(struct frame_secrets *s, uint32_t node, bool up)
{
    struct frame_secrets_peer *p = find(s, node);
    if (p == NULL && up)
        p = find(s, 0);
    if (p == NULL)
        return;
    if (p->node == 0)
        *p = (struct frame_secrets_peer){.node = node, .void_at = NEVER};
    p->is_linked = up;
    p->is_met = p->is_told = false;
    p->owed = 0;
    p->renewed = 0;
    if (up)
        owe(p, START);
}

void frame_secrets_forget(struct frame_secrets *s, uint32_t node)
{
    struct frame_secrets_peer *p = find(s, node);
    if (p == NULL)
        return;
    begin(p, 0);
    p->is_linked = p->is_met = false;
    p->owed = 0;
}

void frame_secrets_renew(struct frame_secrets *s)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        s->peers[i].worn = s->peers[i].shared.secrets[0].number;
}

/* ---- secrets ---- */

static void add(struct frame_secrets_peer *p, uint32_t number,
                const uint8_t bytes[FRAME_SECRET_BYTES])
{
    p->shared.start = p->start;
    p->shared.secrets[1] = p->shared.secrets[0];
    p->shared.secrets[0].number = number;
    memcpy(p->shared.secrets[0].bytes, bytes, FRAME_SECRET_BYTES);
    p->is_changed = true;
    p->since = NEVER; /* until a step says when */
    /* Why: messages speak of the newest, and what is owed is of the one before. */
    p->owed &= ~(1u << DONE | 1u << RENEW);
}

static void forget_before(struct frame_secrets_peer *p)
{
    p->is_changed = p->is_changed || p->shared.secrets[1].number != 0;
    p->shared.secrets[1] = (struct pair_secret){.number = 0};
    p->void_at = NEVER;
}

/* The lower's: whether the peer holds the newest, and there is no other but that. */
static bool is_settled(const struct frame_secrets_peer *p)
{
    return p->shared.secrets[0].number != 0 && p->held == p->shared.secrets[0].number &&
           p->shared.secrets[1].number == 0;
}

/* The lower's: the peer holds the newest. */
static void hold(struct frame_secrets_peer *p)
{
    uint32_t number = p->shared.secrets[0].number;
    p->held = number;
    if (p->shared.seals == number)
        return; /* it is the first one, or void_at runs, or all is done */
    p->shared.seals = number;
    p->is_changed = true;
    p->void_at = 0; /* a step says from when on */
}

/* ---- what comes ---- */

static void hold_take(struct frame_secrets_peer *p)
{
    hold(p);
    /* Why not behind the very first: the peer has none before it.  Others may stand alone here and not there, when
     * the peer was forgotten meanwhile or DONE was lost. */
    if (is_settled(p) && p->held > 1)
        owe(p, DONE);
}

static void start_take(struct frame_secrets *s, struct frame_secrets_peer *p,
                       const struct message *m)
{
    p->is_met = true;
    uint32_t known = m->start_other == s->config.start ? m->number : 0;
    if (m->start_own > p->start)
        begin(p, m->start_own);
    if (!draws(s, p))
        return;
    if (p->shared.secrets[0].number == 0) {
        p->wants = true;
        p->floor = known; /* 0, unless a start was issued twice */
    } else if (known == p->shared.secrets[0].number) {
        hold_take(p);
    } else {
        owe(p, SECRET);
    }
}

static void secret_take(struct frame_secrets_peer *p, const struct message *m)
{
    uint32_t newest = p->shared.secrets[0].number;
    if (m->start_own > p->start)
        begin(p, m->start_own);
    if (m->start_own == p->start && p->shared.start != 0 && m->number <= newest) {
        if (m->number == newest)
            owe(p, HELD);
        return;
    }
    add(p, m->number, m->secret);
    p->shared.seals = m->number;
    owe(p, HELD);
}

static void pair_take(struct frame_secrets_peer *p, const struct message *m)
{
    bool is_newest = m->number == p->shared.secrets[0].number && m->start_own == p->start;
    if (m->kind == SECRET)
        secret_take(p, m);
    else if (!is_newest)
        return;
    else if (m->kind == HELD)
        hold_take(p);
    else if (m->kind == DONE)
        forget_before(p);
    else
        p->worn = m->number;
}

/* Behind START, all is between two starts, and has a direction. */
static bool is_for_us(const struct frame_secrets *s, const struct frame_secrets_peer *p,
                      const struct message *m)
{
    bool downward = m->kind == SECRET || m->kind == DONE;
    return m->start_other == s->config.start && m->number != 0 &&
           downward == (p->node < s->config.node);
}

static int take(struct frame_secrets *s, struct frame_secrets_peer *p, const struct message *m)
{
    if (m->start_own < p->start)
        return 0; /* of a start that is over */
    if (m->has_file != s->config.has_file) {
        bool is_told = p->is_told;
        p->is_told = true;
        begin(p, p->start);
        return is_told ? 0 : -EXDEV;
    }
    if (m->kind != START && (s->config.has_file || !is_for_us(s, p, m)))
        return -EPROTO;
    if (m->kind == START)
        start_take(s, p, m);
    else
        pair_take(p, m);
    return 0;
}

int frame_secrets_received(struct frame_secrets *s, uint32_t node, const uint8_t *bytes,
                           uint64_t length)
{
    struct message m;
    struct frame_secrets_peer *p = find(s, node);
    if (p == NULL || !p->is_linked || !decode(&m, bytes, length))
        return -EPROTO;
    int error = take(s, p, &m);
    explicit_bzero(m.secret, sizeof m.secret);
    return error;
}

/* ---- what is due ---- */

static void draw_due(struct frame_secrets_peer *p, const struct frame_secrets_edge *edge)
{
    uint8_t bytes[FRAME_SECRET_BYTES];
    uint32_t before = p->shared.secrets[0].number;
    uint32_t number = (before > p->floor ? before : p->floor) + 1;
    if (!p->wants || !p->is_met || !edge->draw(edge->context, bytes))
        return;
    p->wants = false;
    add(p, number, bytes);
    explicit_bzero(bytes, sizeof bytes);
    /* Why at once if it is the first: there is nothing else to ask the peer with. */
    if (before == 0)
        p->shared.seals = number;
    owe(p, SECRET);
}

static bool is_worn(const struct frame_secrets *s, const struct frame_secrets_peer *p, uint64_t now,
                    const struct frame_secrets_edge *edge)
{
    uint32_t newest = p->shared.secrets[0].number;
    if (newest == 0)
        return false;
    bool is_old = draws(s, p) && p->since != NEVER && now - p->since >= s->config.age_ns;
    return is_old || p->worn == newest || edge->spent(edge->context, p->node) == newest;
}

/* The peer's time: what it means that it goes on. */
static void time_pass(struct frame_secrets *s, struct frame_secrets_peer *p, uint64_t now,
                      const struct frame_secrets_edge *edge)
{
    if (p->since == NEVER)
        p->since = now;
    if (p->void_at == 0)
        p->void_at = now + s->config.grace_ns;
    if (now >= p->void_at) {
        forget_before(p);
        owe(p, DONE);
    }
    if (!is_worn(s, p, now, edge))
        return;
    if (draws(s, p) && is_settled(p))
        p->wants = true;
    if (draws(s, p) || !p->is_met || p->renewed == p->shared.secrets[0].number)
        return;
    p->renewed = p->shared.secrets[0].number;
    owe(p, RENEW);
}

static void send_due(struct frame_secrets *s, struct frame_secrets_peer *p,
                     const struct frame_secrets_edge *edge)
{
    uint8_t bytes[FRAME_SECRETS_MESSAGE_BYTES];
    for (uint32_t kind = START; kind < KINDS && p->owed != 0; kind++) {
        if ((p->owed & 1u << kind) == 0)
            continue;
        encode(s, p, (enum kind)kind, bytes);
        if (!edge->send(edge->context, p->node, bytes, sizeof bytes))
            break; /* in order, later */
        p->owed &= ~(1u << kind);
    }
    explicit_bzero(bytes, sizeof bytes);
}

void frame_secrets_step(struct frame_secrets *s, uint64_t now,
                        const struct frame_secrets_edge *edge)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++) {
        struct frame_secrets_peer *p = &s->peers[i];
        if (p->node == 0)
            continue;
        time_pass(s, p, now, edge);
        draw_due(p, edge);
        if (p->is_changed && edge->share(edge->context, p->node, &p->shared))
            p->is_changed = false;
        /* Why only then: who is told may seal with it at once. */
        if (!p->is_changed)
            send_due(s, p, edge);
        if (!p->is_linked && p->start == 0 && !p->is_changed)
            p->node = 0; /* forgotten, or never heard of: for another one */
    }
}
