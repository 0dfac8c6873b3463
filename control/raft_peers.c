#include "control/raft_peers.h"

#include "control/config_address.h"
#include "control/coordinator_command.h"
#include "control/secret_exchange.h"
#include "engine/hash.h"

#include <string.h>

/* Those of releases before had but the first two numbers, or all but the last. */
#define HELLO_BYTES_MIN offsetof(struct raft_peers_hello, revision)
#define HELLO_BYTES_PLACES offsetof(struct raft_peers_hello, members)

static struct raft_peer *find(struct raft_peers *p, uint32_t node)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (p->peers[i].node == node)
            return &p->peers[i];
    return NULL;
}

static const struct raft_node_member *member_of(const struct raft_peers *p, uint32_t node)
{
    for (uint32_t i = 0; i < p->config->member_count; i++)
        if (p->config->members[i].node == node)
            return &p->config->members[i];
    return NULL;
}

static const struct coordinator_node *node_of(const struct coordinator_state *s, uint32_t node)
{
    return s != NULL ? coordinator_state_node(s, node) : NULL;
}

/* Whatever their order. */
static uint64_t members_number(const struct raft_node_config *c)
{
    uint64_t sum = c->member_count;
    for (uint32_t i = 0; i < c->member_count; i++) {
        const uint32_t member[] = {c->members[i].node, c->members[i].is_voter ? 1 : 0};
        sum += hash_key(member, sizeof member);
    }
    return sum != 0 ? sum : 1;
}

void raft_peers_init(struct raft_peers *p)
{
    uint32_t count = 0;
    p->members = members_number(p->config);
    for (uint32_t i = 0; i < p->config->member_count; i++) {
        const struct raft_node_member *m = &p->config->members[i];
        if (m->node != p->config->node)
            p->peers[count++] = (struct raft_peer){.node = m->node, .address = m->address};
    }
}

/* ---- what is said ---- */

static struct raft_peers_hello hello_of(const struct raft_peers *p,
                                        const struct raft_peers_now *now, uint32_t node)
{
    const struct coordinator_state *s = now->state;
    struct raft_peers_hello h = {.was_new = p->was_new,
                                 .format = COORDINATOR_COMMAND_FORMAT,
                                 .leads = now->leads,
                                 .members = p->members};
    const struct coordinator_node *n = node_of(s, node);
    if (n != NULL)
        h.start_known = n->start;
    if (h.start_known != 0)
        h.known = RAFT_PEERS_REGISTERED;
    else if (now->leads && s != NULL && s->shard_count != 0 && !raft_roster_has(now->voters, node))
        h.known = n != NULL ? RAFT_PEERS_ADDED : RAFT_PEERS_NO_NODE;
    h.revision = s != NULL ? s->revision : 0;
    for (uint32_t i = 0; s != NULL && i < s->node_count && i < LIMIT_VOTERS; i++) {
        if (s->nodes[i].control[0] == 0)
            continue;
        h.places[i].node = s->nodes[i].id;
        memcpy(h.places[i].address, s->nodes[i].control, sizeof h.places[i].address);
    }
    return h;
}

/* Why not for the revision alone: it changes all the time. */
static bool says_the_same(const struct raft_peers_hello *a, const struct raft_peers_hello *b)
{
    return a->start_known == b->start_known && a->known == b->known && a->leads == b->leads &&
           memcmp(a->places, b->places, sizeof a->places) == 0;
}

static void hello_say(struct raft_peers *p, const struct raft_peers_now *now,
                      struct raft_peer *peer)
{
    struct raft_peers_hello h = hello_of(p, now, peer->node);
    const struct iovec piece = {.iov_base = &h, .iov_len = sizeof h};
    if ((peer->was_told && says_the_same(&h, &peer->told)) ||
        !control_net_is_up(p->net, peer->node))
        return;
    peer->was_told = control_net_send(p->net, peer->node, p->type, &piece, 1, NULL) == 0;
    peer->told = h;
}

void raft_peers_link(struct raft_peers *p, uint32_t node)
{
    struct raft_peer *peer = find(p, node);
    if (peer != NULL)
        peer->was_told = false;
}

/* ---- what is heard ---- */

static void suspect(struct raft_peers *p, uint32_t peer, uint64_t revision, uint64_t now)
{
    p->lost_peer = peer;
    p->suspect_ns = p->suspect_ns != 0 ? p->suspect_ns : now;
    p->revision_suspect = max_u64(p->revision_suspect, revision);
}

/* The leader's word, unless a newer state says more. */
static void leader_take(struct raft_peers *p, uint32_t node, const struct raft_peers_hello *h)
{
    if (h->revision < p->revision_said || h->revision < p->revision_suspect)
        return;
    p->revision_said = h->revision;
    p->suspect_ns = 0;
    p->is_lost = p->is_lost || h->known == RAFT_PEERS_REGISTERED;
    p->is_joining = h->known == RAFT_PEERS_ADDED;
    p->is_no_node = h->known == RAFT_PEERS_NO_NODE;
    p->no_node_peer = node;
    p->lost_peer = node;
}

static void held_take(struct raft_peers *p, struct raft_peer *peer,
                      const struct raft_peers_hello *h, uint64_t now)
{
    if (h->leads != 0 && h->known != RAFT_PEERS_UNKNOWN)
        leader_take(p, peer->node, h);
    else if (h->known != RAFT_PEERS_UNKNOWN && h->revision >= p->revision_said)
        suspect(p, peer->node, h->revision, now);
    else if (h->known == RAFT_PEERS_UNKNOWN && h->was_new != 0 && h->members != p->members &&
             h->members != 0)
        p->differs_peer = peer->node;
    /* Why not twice: the others may have begun since, and one of them may have started again. */
    else if (h->known == RAFT_PEERS_UNKNOWN && (h->was_new != 0 || peer->is_heard))
        peer->is_heard = true;
    else if (h->known == RAFT_PEERS_UNKNOWN && p->revision_said == 0)
        suspect(p, peer->node, 0, now);
}

/* Why only of who is no peer yet: what the state says of others counts more. */
static void place_take(struct raft_peers *p, const struct raft_peers_place *place,
                       uint64_t revision)
{
    struct control_net_peer added = {.node = place->node};
    struct raft_peer *peer = find(p, place->node), *room = find(p, 0);
    size_t length = strnlen(place->address, sizeof place->address);
    if (place->node == 0 || place->node == p->config->node || peer != NULL || room == NULL ||
        config_address_parse(place->address, length, &added.address) != 0 ||
        control_net_add(p->net, &added) != 0)
        return;
    *room = (struct raft_peer){.node = added.node, .address = added.address, .revision = revision};
}

void raft_peers_received(struct raft_peers *p, uint32_t node, const uint8_t *bytes, size_t length,
                         uint64_t now)
{
    struct raft_peers_hello h = {.format = 1};
    struct raft_peer *peer = find(p, node);
    if (peer == NULL || length < HELLO_BYTES_MIN)
        return;
    memcpy(&h, bytes,
           length >= sizeof h             ? sizeof h
           : length >= HELLO_BYTES_PLACES ? HELLO_BYTES_PLACES
                                          : HELLO_BYTES_MIN);
    if (h.start_known != 0)
        h.known = RAFT_PEERS_REGISTERED;
    peer->format = h.format;
    for (uint32_t i = 0; i < LIMIT_VOTERS && h.revision > p->revision; i++)
        place_take(p, &h.places[i], h.revision);
    if (p->is_held)
        held_take(p, peer, &h, now);
    if (h.known == RAFT_PEERS_ADDED || h.known == RAFT_PEERS_REGISTERED)
        p->revision_named = max_u64(p->revision_named, h.revision);
    else if (h.known == RAFT_PEERS_NO_NODE && !p->is_held && h.revision > p->revision_named)
        p->is_removed = true;
}

static uint32_t heard(const struct raft_peers *p)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        count += p->peers[i].is_heard && member_of(p, p->peers[i].node) != NULL ? 1 : 0;
    return count;
}

enum raft_peers_verdict raft_peers_verdict(const struct raft_peers *p, uint64_t now)
{
    if (p->is_lost)
        return RAFT_PEERS_LOST;
    if (p->is_joining)
        return RAFT_PEERS_JOIN;
    if (p->is_no_node)
        return RAFT_PEERS_WAIT;
    if (p->suspect_ns != 0)
        return now - p->suspect_ns >= RAFT_PEERS_LOST_NS ? RAFT_PEERS_LOST : RAFT_PEERS_WAIT;
    return heard(p) + 1 == p->config->member_count ? RAFT_PEERS_BEGIN : RAFT_PEERS_WAIT;
}

/* ---- who is there ---- */

static bool address_of(const struct raft_peers *p, const struct coordinator_node *n,
                       struct sockaddr_storage *address)
{
    const struct raft_node_member *m = member_of(p, n->id);
    if (n->control[0] != 0)
        return config_address_parse(n->control, strnlen(n->control, sizeof n->control), address) ==
               0;
    if (m != NULL)
        *address = m->address;
    return m != NULL;
}

static void peer_add(struct raft_peers *p, const struct coordinator_node *n)
{
    struct control_net_peer added = {.node = n->id};
    struct raft_peer *peer = find(p, 0);
    if (peer == NULL || !address_of(p, n, &added.address) || control_net_add(p->net, &added) != 0)
        return; /* there is no room, or no address: it is tried again */
    *peer = (struct raft_peer){.node = n->id, .address = added.address};
}

static void peer_remove(struct raft_peers *p, struct raft_peer *peer)
{
    control_net_remove(p->net, peer->node);
    secret_exchange_forget(p->config->secrets, peer->node);
    *peer = (struct raft_peer){.node = 0};
}

static void nodes_enter(struct raft_peers *p, const struct coordinator_state *s)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        struct sockaddr_storage address;
        struct raft_peer *peer = find(p, n->id);
        if (n->id == p->config->node)
            continue;
        /* Added anew, and lives elsewhere now. */
        if (peer != NULL && n->control[0] != 0 && address_of(p, n, &address) &&
            memcmp(&address, &peer->address, sizeof address) != 0) {
            peer_remove(p, peer);
            peer = NULL;
        }
        if (peer == NULL)
            peer_add(p, n);
    }
}

static void servers_enter(struct raft_peers *p, const struct raft_configuration *log)
{
    for (unsigned i = 0; log != NULL && i < log->n; i++) {
        const struct raft_server *s = &log->servers[i];
        struct control_net_peer added = {.node = (uint32_t)s->id};
        struct raft_peer *peer = find(p, 0);
        if (added.node == p->config->node || find(p, added.node) != NULL || peer == NULL ||
            config_address_parse(s->address, strlen(s->address), &added.address) != 0 ||
            control_net_add(p->net, &added) != 0)
            continue;
        *peer = (struct raft_peer){.node = added.node, .address = added.address};
    }
}

static void nodes_leave(struct raft_peers *p, const struct raft_peers_now *now)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++) {
        struct raft_peer *peer = &p->peers[i];
        if (peer->node == 0 || member_of(p, peer->node) != NULL)
            continue;
        if (node_of(now->state, peer->node) != NULL ||
            (now->log != NULL && raft_members_server(now->log, peer->node) != NULL) ||
            peer->revision > now->state->revision)
            peer->gone_ns = 0;
        else if (peer->gone_ns == 0)
            peer->gone_ns = now->now_ns;
        else if (now->now_ns - peer->gone_ns >= RAFT_PEERS_GONE_NS)
            peer_remove(p, peer);
    }
}

/* Why not by a state that is older than what others know of us: it is what we had applied before we were added. */
static void self_follow(struct raft_peers *p, const struct raft_peers_now *now)
{
    const struct coordinator_state *s = now->state;
    bool is_named = node_of(s, p->config->node) != NULL;
    if (is_named)
        p->revision_named = max_u64(p->revision_named, s->revision);
    else if (p->revision_named != 0 && s->revision > p->revision_named && now->voters != NULL &&
             !raft_roster_has(now->voters, p->config->node))
        p->is_removed = true;
}

void raft_peers_follow(struct raft_peers *p, const struct raft_peers_now *now)
{
    const struct coordinator_state *s = now->state;
    p->revision = s != NULL ? s->revision : 0;
    if (s != NULL && s->shard_count != 0) {
        /* Why for ever: an instance of libraft that is opened again has no state for a while, and the cluster is not
         * new for that. */
        p->was_new = false;
        self_follow(p, now);
        nodes_enter(p, s);
        nodes_leave(p, now);
    }
    servers_enter(p, now->log);
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (p->peers[i].node != 0)
            hello_say(p, now, &p->peers[i]);
}

uint32_t raft_peers_format(const struct raft_peers *p, const struct coordinator_state *s)
{
    uint32_t format = COORDINATOR_COMMAND_FORMAT;
    for (uint32_t i = 0; i < LIMIT_NODES; i++) {
        const struct raft_peer *peer = &p->peers[i];
        bool counts =
            peer->node != 0 && peer->format != 0 && (s == NULL || node_of(s, peer->node) != NULL);
        if (counts && peer->format < format)
            format = peer->format;
    }
    return format;
}
