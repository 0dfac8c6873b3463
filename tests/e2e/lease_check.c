/* lease_check - judges the journal of lease_agents (see there), of all flags by themselves:
 *
 *   lease_check FILE
 *
 * Holdings, one for each token: from the answer to the acquire until the last end that its holder believed in, or
 * until it asked for the release.
 *   - a token is one holder's
 *   - in the order of tokens, each holding begins when the one before is over: no two overlap, and tokens grow
 *     over all changes of hands
 * Work: what was written under a token, and what readers found, as operations with a begin and an end.
 *   - who begins after another one's end meets no older token than that one did
 *   - nobody is denied anything while its clock says that it holds the lease
 * Prints a line FLAG NAME=VALUE... for each flag; exit 0 all held, 1 something did not (the first are on stdout),
 * 2 no such file, or it is no journal. */
#include "tests/e2e/e2e.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 48u
#define FLAGS_MAX 8u

struct holding {
    uint64_t token, from_ns, until_ns;
    char owner[NAME_BYTES];
};

struct operation {
    uint64_t token, begun_ns, ended_ns;
    const char *what;
};

struct flag {
    char name[NAME_BYTES];
    struct holding *holdings;
    struct operation *operations;
    size_t holding_count, holding_room, operation_count, operation_room;
    uint64_t wrote, read, stale, late, fenced, denied;
};

static struct flag flags[FLAGS_MAX];

/* Room for one more of so many; the address may change. */
static void *grown(void *list, size_t count, size_t *room, size_t bytes)
{
    if (count < *room)
        return list;
    *room = *room == 0 ? 1024 : *room * 2;
    void *more = realloc(list, *room * bytes);
    if (more == NULL)
        e2e_die("lease_check: no memory");
    return more;
}

static struct flag *flag_find(const char *name)
{
    for (size_t i = 0; i < FLAGS_MAX; i++) {
        if (flags[i].name[0] == 0)
            memcpy(flags[i].name, name, strlen(name) + 1);
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    }
    e2e_die("lease_check: more than %u flags", FLAGS_MAX);
}

/* ---- what is read ---- */

struct line {
    char event[NAME_BYTES], flag[NAME_BYTES], owner[NAME_BYTES];
    uint64_t token, a, b;
};

static struct holding *holding_of(struct flag *f, const struct line *l)
{
    /* Why from the end: it is one of the last. */
    for (size_t i = f->holding_count; i-- > 0;)
        if (f->holdings[i].token == l->token)
            return &f->holdings[i];
    return NULL;
}

static void on_held(struct flag *f, const struct line *l)
{
    struct holding *h = holding_of(f, l);
    if (h != NULL && strcmp(h->owner, l->owner) != 0)
        e2e_fail("%s: token %" PRIu64 " is held by %s and %s", f->name, l->token, h->owner,
                 l->owner);
    if (h == NULL) {
        f->holdings = grown(f->holdings, f->holding_count, &f->holding_room, sizeof f->holdings[0]);
        h = &f->holdings[f->holding_count++];
        *h = (struct holding){.token = l->token, .from_ns = l->a};
        memcpy(h->owner, l->owner, sizeof h->owner);
    }
    h->until_ns = max_u64(h->until_ns, l->b);
}

static void on_ended(struct flag *f, const struct line *l)
{
    struct holding *h = holding_of(f, l);
    if (h != NULL)
        h->until_ns = min_u64(h->until_ns, l->a);
}

static void on_operation(struct flag *f, const struct line *l, const char *what)
{
    f->operations =
        grown(f->operations, f->operation_count, &f->operation_room, sizeof f->operations[0]);
    f->operations[f->operation_count++] =
        (struct operation){.token = l->token, .begun_ns = l->a, .ended_ns = l->b, .what = what};
}

static bool take(const struct line *l)
{
    struct flag *f = flag_find(l->flag);
    if (strcmp(l->event, "held") == 0) {
        on_held(f, l);
    } else if (strcmp(l->event, "ended") == 0) {
        on_ended(f, l);
    } else if (strcmp(l->event, "wrote") == 0) {
        on_operation(f, l, "wrote");
        f->wrote++;
    } else if (strcmp(l->event, "read") == 0) {
        on_operation(f, l, "read");
        f->read++;
    } else if (strcmp(l->event, "stale") == 0) {
        f->stale++;
    } else if (strcmp(l->event, "late") == 0) {
        f->late++;
    } else if (strcmp(l->event, "fenced") == 0) {
        f->fenced++;
    } else if (strcmp(l->event, "denied") == 0) {
        f->denied++;
        e2e_fail("%s: %s is refused under token %" PRIu64 " %" PRIu64 " us before its end", f->name,
                 l->owner, l->token, (l->b - l->a) / 1000);
    } else {
        return false;
    }
    return true;
}

/* Why a last line without its end is left out: who was killed there wrote half of it. */
static void journal_read(FILE *file)
{
    char text[256];
    for (uint32_t number = 1; fgets(text, sizeof text, file) != NULL; number++) {
        struct line l;
        if (strchr(text, '\n') == NULL && feof(file) != 0)
            return;
        if (sscanf(text, "%47s %47s %47s %" SCNu64 " %" SCNu64 " %" SCNu64, l.event, l.flag,
                   l.owner, &l.token, &l.a, &l.b) != 6 ||
            !take(&l))
            e2e_die("lease_check: line %" PRIu32 " is none of a journal", number);
    }
}

/* ---- what is judged ---- */

static int by_token(const void *a, const void *b)
{
    const struct holding *x = a, *y = b;
    return (x->token > y->token) - (x->token < y->token);
}

static int by_begin(const void *a, const void *b)
{
    const struct operation *x = a, *y = b;
    return (x->begun_ns > y->begun_ns) - (x->begun_ns < y->begun_ns);
}

static int by_end(const void *a, const void *b)
{
    const struct operation *x = a, *y = b;
    return (x->ended_ns > y->ended_ns) - (x->ended_ns < y->ended_ns);
}

/* Prints the longest time that nobody held it, and how often it changed hands. */
static void judge_holdings(struct flag *f)
{
    uint64_t changes = 0, gap_ns = 0;
    if (f->holding_count != 0)
        qsort(f->holdings, f->holding_count, sizeof f->holdings[0], by_token);
    for (size_t i = 1; i < f->holding_count; i++) {
        const struct holding *before = &f->holdings[i - 1], *h = &f->holdings[i];
        changes += strcmp(before->owner, h->owner) != 0 ? 1 : 0;
        if (h->from_ns < before->until_ns)
            e2e_fail("%s: %s holds it under token %" PRIu64 " %" PRIu64 " us before the end of "
                     "%s, token %" PRIu64,
                     f->name, h->owner, h->token, (before->until_ns - h->from_ns) / 1000,
                     before->owner, before->token);
        else
            gap_ns = max_u64(gap_ns, h->from_ns - before->until_ns);
    }
    (void)printf("%s held=%zu changes=%" PRIu64 " longest_gap_ms=%" PRIu64, f->name,
                 f->holding_count, changes, gap_ns / NS_PER_MS);
}

static void judge_operations(struct flag *f)
{
    size_t count = f->operation_count, ended = 0, bytes = count * sizeof f->operations[0];
    struct operation *by_ends = malloc(bytes != 0 ? bytes : 1);
    const struct operation *newest = NULL;
    if (by_ends == NULL)
        e2e_die("lease_check: no memory");
    if (count != 0) {
        memcpy(by_ends, f->operations, bytes);
        qsort(by_ends, count, sizeof by_ends[0], by_end);
        qsort(f->operations, count, sizeof f->operations[0], by_begin);
    }
    for (size_t i = 0; i < count; i++) {
        const struct operation *o = &f->operations[i];
        for (; ended < count && by_ends[ended].ended_ns < o->begun_ns; ended++)
            if (newest == NULL || by_ends[ended].token > newest->token)
                newest = &by_ends[ended];
        if (newest != NULL && o->token < newest->token)
            e2e_fail("%s: %s token %" PRIu64 ", %" PRIu64 " us after the end of: %s %" PRIu64,
                     f->name, o->what, o->token, (o->begun_ns - newest->ended_ns) / 1000,
                     newest->what, newest->token);
    }
    free(by_ends);
    (void)printf(" wrote=%" PRIu64 " read=%" PRIu64 " stale=%" PRIu64 " late=%" PRIu64
                 " fenced=%" PRIu64 " denied=%" PRIu64 "\n",
                 f->wrote, f->read, f->stale, f->late, f->fenced, f->denied);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: lease_check FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "re");
    if (file == NULL)
        e2e_die("lease_check: %s: %s", argv[1], strerror(errno));
    e2e_begin();
    journal_read(file);
    (void)fclose(file);
    for (struct flag *f = flags; f < flags + FLAGS_MAX && f->name[0] != 0; f++) {
        judge_holdings(f);
        judge_operations(f);
        free(f->holdings);
        free(f->operations);
    }
    return e2e_verdict();
}
