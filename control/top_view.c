#include "control/top_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_BYTES 32u
#define NO_RATE (-1.0)

__attribute__((format(printf, 3, 4))) static void say(const struct top_sink *sink, bool is_heading,
                                                      const char *format, ...)
{
    char text[TOP_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (size_t i = strlen(text); i-- > 0 && text[i] == ' ';)
        text[i] = '\0';
    sink->line(sink->context, is_heading, text);
}

/* ---- what the texts say ---- */

static int64_t number_at(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "?";
}

static const json_t *at(const json_t *object, const char *name)
{
    return json_object_get(object, name);
}

/* The entry of a list with this number, or NULL. */
static const json_t *entry_of(const json_t *list, const char *name, int64_t number)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (number_at(entry, name) == number)
            return entry;
    }
    return NULL;
}

static const json_t *nodes_of(const struct top_look *look)
{
    return at(at(look->status, "cluster"), "nodes");
}

static int64_t self_of(const struct top_view *v)
{
    return number_at(at(v->now.status, "node"), "id");
}

/* ---- numbers for people ---- */

/* A number of bytes, or of anything, in at most seven characters. */
static const char *short_text(double value, char cell[CELL_BYTES])
{
    static const char units[] = {' ', 'K', 'M', 'G', 'T'};
    uint32_t unit = 0;
    for (; value >= 9999.5 && unit + 1 < sizeof units; unit++)
        value /= 1024;
    if (unit == 0)
        (void)snprintf(cell, CELL_BYTES, "%.0f", value);
    else
        (void)snprintf(cell, CELL_BYTES, "%.*f%c", value < 99.95 ? 1 : 0, value, units[unit]);
    return cell;
}

static const char *rate_text(double rate, char cell[CELL_BYTES])
{
    if (rate < 0)
        return "-";
    return short_text(rate, cell);
}

static const char *number_text(const json_t *object, const char *name, char cell[CELL_BYTES])
{
    const json_t *number = at(object, name);
    return json_is_integer(number) ? short_text((double)json_integer_value(number), cell) : "-";
}

static double rate_of(const struct top_view *v, double before, double now)
{
    return v->before.status != NULL && now >= before ? (now - before) / v->seconds : NO_RATE;
}

/* Why the start: counters of another start are no measure. */
static bool is_same_start(const struct top_view *v)
{
    return number_at(v->before.status, "start") == number_at(v->now.status, "start");
}

static double rate_at(const struct top_view *v, const json_t *before, const json_t *now,
                      const char *name)
{
    if (before == NULL || !is_same_start(v))
        return NO_RATE;
    return rate_of(v, (double)number_at(before, name), (double)number_at(now, name));
}

/* ---- the node ---- */

static void node_show(const struct top_view *v, const struct top_sink *sink)
{
    char cell[CELL_BYTES];
    const json_t *s = v->now.status;
    const json_t *cluster = at(s, "cluster");
    double rate = rate_at(v, at(v->before.status, "counters"), at(s, "counters"), "operations");
    say(sink, false,
        "node %s (%" PRId64 ")%s%s, up %" PRId64 " s, agents %" PRId64 ", operations/s %s",
        text_at(at(s, "node"), "name"), self_of(v), cluster != NULL ? " of cluster " : "",
        cluster != NULL ? text_at(cluster, "cluster") : "", number_at(s, "uptime_ms") / 1000,
        number_at(at(s, "agents"), "attached"), rate_text(rate, cell));
}

static void control_show(const json_t *control, const struct top_sink *sink)
{
    char margin[CELL_BYTES] = "none";
    if (!json_is_object(control))
        return;
    if (json_is_integer(at(control, "lease_ms")))
        (void)snprintf(margin, sizeof margin, "%" PRId64 " ms", number_at(control, "lease_ms"));
    say(sink, false,
        "control leader %" PRId64 ", term %" PRId64 "; this node is %s, lease margin %s, "
        "connected to %" PRId64 "%s",
        number_at(control, "leader"), number_at(control, "term"),
        json_is_true(at(control, "voter")) ? "a voter" : "no voter", margin,
        number_at(control, "connected"),
        json_is_true(at(control, "full")) ? ", ITS DISK IS FULL" : "");
}

static void rdma_show(const json_t *p, const struct top_sink *sink)
{
    say(sink, false,
        "port %s (rdma), link %s %" PRId64 " Mbit/s; downs %" PRId64 ", removals %" PRId64
        ", connections %" PRId64 ", broken %" PRId64 ", failures %" PRId64 ", chunks %" PRId64
        ", short %" PRId64,
        text_at(p, "name"), json_is_true(at(p, "link_up")) ? "up" : "DOWN",
        number_at(p, "speed_mbps"), number_at(p, "link_downs"), number_at(p, "removals"),
        number_at(p, "connections"), number_at(p, "broken"), number_at(p, "failures"),
        number_at(p, "chunks"), number_at(p, "chunks_short"));
}

static void port_show(const struct top_view *v, const struct top_sink *sink)
{
    char missed[CELL_BYTES];
    const json_t *before = at(at(v->before.status, "cluster"), "port");
    const json_t *p = at(at(v->now.status, "cluster"), "port");
    if (!json_is_object(p))
        return;
    if (strcmp(text_at(p, "kind"), "rdma") == 0) {
        rdma_show(p, sink);
        return;
    }
    say(sink, false,
        "port %s (%s) %s, link %s %" PRId64 " Mbit/s; downs %" PRId64 ", resets %" PRId64
        ", failed %" PRId64 ", missed/s %s, errors %" PRId64,
        text_at(p, "name"), text_at(p, "driver"), text_at(p, "state"),
        json_is_true(at(p, "link_up")) ? "up" : "DOWN", number_at(p, "speed_mbps"),
        number_at(p, "link_downs"), number_at(p, "resets"), number_at(p, "resets_failed"),
        rate_text(rate_at(v, before, p, "missed"), missed),
        number_at(p, "errors_in") + number_at(p, "errors_out") + number_at(p, "no_mbuf"));
}

/* "-" where it is not told, or empty. */
static const char *word_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(at(object, name));
    return text != NULL && text[0] != '\0' ? text : "-";
}

static void nodes_show(const struct top_view *v, const struct top_sink *sink)
{
    size_t i;
    const json_t *n;
    const json_t *nodes = nodes_of(&v->now);
    const json_t *control = at(at(v->now.status, "cluster"), "control");
    say(sink, true, "%10s %-4s %6s %6s %6s %9s %9s %7s %-8s %-12s %s", "node", "up", "leads",
        "votes", "learns", "heard ms", "lag bytes", "lag ms", "standing", "zone", "");
    json_array_foreach(nodes, i, n)
    {
        char leads[CELL_BYTES], heard[CELL_BYTES], lag[CELL_BYTES], behind[CELL_BYTES];
        char voting[CELL_BYTES], learning[CELL_BYTES];
        bool leads_control = control != NULL && number_at(control, "leader") == number_at(n, "id");
        say(sink, false, "%10" PRId64 " %-4s %6s %6s %6s %9s %9s %7s %-8s %-12s %s",
            number_at(n, "id"), json_is_true(at(n, "up")) ? "yes" : "NO",
            number_text(n, "leads", leads), number_text(n, "votes", voting),
            number_text(n, "learns", learning), number_text(n, "heard_ms", heard),
            number_text(n, "lag", lag), number_text(n, "lag_ms", behind), word_at(n, "standing"),
            word_at(n, "zone"), leads_control ? "control leader" : "");
    }
}

/* ---- redundancy ---- */

static double shard_rate(const struct top_view *v, size_t place)
{
    const json_t *now = json_array_get(at(v->now.shards, "shards"), place);
    const json_t *before = json_array_get(at(v->before.shards, "shards"), place);
    if (before == NULL || number_at(before, "log") != number_at(now, "log"))
        return NO_RATE;
    /* Texts, since a position does not fit a double; their difference does. */
    uint64_t from = strtoull(text_at(before, "lsn_committed"), NULL, 10);
    uint64_t to = strtoull(text_at(now, "lsn_committed"), NULL, 10);
    return from != 0 && to >= from ? rate_of(v, 0, (double)(to - from)) : NO_RATE;
}

static bool is_led_here(const struct top_view *v, const json_t *shard)
{
    return number_at(shard, "leader") == self_of(v);
}

/* Who votes, as far as it is told; else all nodes. */
static size_t voter_count(const struct top_view *v, const json_t *shard)
{
    const json_t *voters = at(shard, "voters");
    return voters != NULL ? json_array_size(voters) : json_array_size(nodes_of(&v->now));
}

static bool votes(const json_t *shard, int64_t node)
{
    size_t i;
    const json_t *voter;
    const json_t *voters = at(shard, "voters");
    json_array_foreach(voters, i, voter)
    {
        if (json_integer_value(voter) == node)
            return true;
    }
    return voters == NULL;
}

/* Voters that hold a shard that is led here. */
static uint32_t holders(const struct top_view *v, const json_t *shard, double rate)
{
    size_t i;
    const json_t *peer;
    uint32_t count = 1;
    double near = rate > TOP_NEAR_BYTES ? rate : TOP_NEAR_BYTES;
    json_array_foreach(at(shard, "lag"), i, peer)
    {
        if (!votes(shard, number_at(peer, "node")))
            continue;
        const json_t *node = entry_of(nodes_of(&v->now), "id", number_at(peer, "node"));
        bool is_up = json_is_true(at(node, "up"));
        count += is_up && (double)number_at(peer, "bytes") <= near ? 1 : 0;
    }
    return count;
}

/* Why a node is missing, and when it is there again. */
static void missing_show(const struct top_view *v, const json_t *n, const struct top_sink *sink)
{
    char cell[CELL_BYTES];
    int64_t id = number_at(n, "id"), lag = number_at(n, "lag");
    const json_t *before = entry_of(nodes_of(&v->before), "id", id);
    double gain = before != NULL ? (double)(number_at(before, "lag") - lag) / v->seconds : 0;
    if (!json_is_true(at(n, "up")))
        say(sink, false, "  node %" PRId64 " is down", id);
    else if ((double)lag <= TOP_NEAR_BYTES)
        return;
    else if (gain > 0)
        say(sink, false, "  node %" PRId64 " lacks %s bytes, back in about %.0f s", id,
            short_text((double)lag, cell), (double)lag / gain + 0.5);
    else
        say(sink, false, "  node %" PRId64 " lacks %s bytes, and does not gain", id,
            short_text((double)lag, cell));
}

static void redundancy_show(const struct top_view *v, const struct top_sink *sink)
{
    size_t i;
    const json_t *shard;
    uint32_t led = 0, least = UINT32_MAX, with_least = 0;
    size_t wanted = 0;
    json_array_foreach(at(v->now.shards, "shards"), i, shard)
    {
        if (!is_led_here(v, shard))
            continue;
        uint32_t count = holders(v, shard, shard_rate(v, i));
        with_least = count < least ? 1 : with_least + (count == least ? 1 : 0);
        least = count < least ? count : least;
        wanted = voter_count(v, shard) > wanted ? voter_count(v, shard) : wanted;
        led++;
    }
    if (led == 0)
        say(sink, false, "redundancy: this node leads no shard; ask the node that does");
    else
        say(sink, false, "redundancy: %u of %zu voters hold %u of the %u shards led here%s", least,
            wanted, with_least, led, with_least == led ? "" : ", more the others");
    if (led == 0 || least >= wanted)
        return;
    const json_t *n;
    json_array_foreach(nodes_of(&v->now), i, n) missing_show(v, n, sink);
}

/* Of all shards, as far as the daemon knows of them. */
static void cluster_redundancy_show(const json_t *cluster, const struct top_sink *sink)
{
    const json_t *r = at(cluster, "redundancy");
    if (!json_is_object(r))
        return;
    say(sink, false,
        "voters wanted %" PRId64 "; of any shard at least %" PRId64 " are up and hold all, below "
        "that %" PRId64 " shards, changing %" PRId64,
        number_at(cluster, "replicas"), number_at(r, "least"), number_at(r, "below"),
        number_at(r, "changing"));
}

/* ---- spaces ---- */

static void spaces_show(const struct top_view *v, const struct top_sink *sink)
{
    size_t i;
    const json_t *s;
    say(sink, true, "%-20s %9s %9s %9s %9s %9s %12s", "space", "log B/s", "keys", "live", "used",
        "quota", "uncommitted");
    json_array_foreach(at(v->now.status, "spaces"), i, s)
    {
        char rate[CELL_BYTES], keys[CELL_BYTES], live[CELL_BYTES], used[CELL_BYTES];
        char quota[CELL_BYTES], open[CELL_BYTES];
        const json_t *before = entry_of(at(v->before.status, "spaces"), "id", number_at(s, "id"));
        say(sink, false, "%-20s %9s %9s %9s %9s %9s %12s", text_at(s, "name"),
            rate_text(rate_at(v, before, s, "log_bytes"), rate), number_text(s, "keys", keys),
            number_text(s, "live_bytes", live), number_text(s, "used_bytes", used),
            number_text(s, "quota_bytes", quota), number_text(s, "uncommitted_bytes", open));
    }
}

/* ---- all ---- */

void top_view_head(const struct top_view *v, const struct top_sink *sink)
{
    const json_t *cluster = at(v->now.status, "cluster");
    node_show(v, sink);
    if (cluster != NULL) {
        control_show(at(cluster, "control"), sink);
        port_show(v, sink);
        say(sink, false,
            "shards %" PRId64 ", pending %" PRId64 ", moving %" PRId64 ", lost %" PRId64,
            number_at(cluster, "shards"), number_at(cluster, "pending"),
            number_at(cluster, "moving"), number_at(cluster, "lost"));
        cluster_redundancy_show(cluster, sink);
        redundancy_show(v, sink);
        nodes_show(v, sink);
    }
    spaces_show(v, sink);
    say(sink, true, "%-20s %5s %10s %12s %-8s %9s %9s %s", "shard of", "", "leader", "epoch",
        "state", "commit/s", "lag", "held by");
}

/* The worst that any node lacks; -1: nobody knows here. */
static double shard_lag(const json_t *shard)
{
    size_t i;
    const json_t *peer;
    double worst = NO_RATE;
    json_array_foreach(at(shard, "lag"), i, peer)
    {
        double bytes = (double)number_at(peer, "bytes");
        worst = bytes > worst ? bytes : worst;
    }
    return worst;
}

struct place {
    size_t place;
    double rate;
};

static int compare(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->rate > y->rate || x->rate < y->rate)
        return x->rate > y->rate ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void shard_show(const struct top_view *v, const struct place *p, const struct top_sink *sink)
{
    char rate[CELL_BYTES], lag[CELL_BYTES], held[CELL_BYTES] = "-";
    const json_t *shard = json_array_get(at(v->now.shards, "shards"), p->place);
    if (is_led_here(v, shard) && nodes_of(&v->now) != NULL)
        (void)snprintf(held, sizeof held, "%u of %zu", holders(v, shard, p->rate),
                       voter_count(v, shard));
    say(sink, false, "%-20s %5" PRId64 " %10" PRId64 " %12" PRId64 " %-8s %9s %9s %s",
        text_at(shard, "space"), number_at(shard, "shard"), number_at(shard, "leader"),
        number_at(shard, "epoch"), text_at(shard, "state"), rate_text(p->rate, rate),
        rate_text(shard_lag(shard), lag), held);
}

void top_view_shards(const struct top_view *v, bool by_rate, const struct top_sink *sink)
{
    size_t count = json_array_size(at(v->now.shards, "shards"));
    struct place *places = calloc(count + 1, sizeof *places);
    if (places == NULL) {
        say(sink, false, "no memory for the shards");
        return;
    }
    for (size_t i = 0; i < count; i++)
        places[i] = (struct place){i, shard_rate(v, i)};
    if (by_rate)
        qsort(places, count, sizeof *places, compare);
    for (size_t i = 0; i < count; i++)
        shard_show(v, &places[i], sink);
    free(places);
}
