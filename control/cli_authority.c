/* cli_authority - dunlin authority create, issue, show: a cluster's certificates.  Asks no daemon. */
#include "control/authority_make.h"
#include "control/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_S INT64_C(86400)

/* ---- options ---- */

enum { CLUSTER, NODE, NAME, DAYS, OUT, FORCE, OPTIONS };

static const char *const option_names[OPTIONS] = {"--cluster", "--node", "--name",
                                                  "--days",    "--out",  "--force"};

int cli_authority_option(struct cli *c, const char *name, const char *value)
{
    struct cli_authority_options *o = &c->authority;
    uint64_t number = 0;
    int i = 0;
    while (i + 1 < OPTIONS && strcmp(option_names[i], name) != 0)
        i++;
    o->given |= 1u << i;
    switch (i) {
    case CLUSTER:
        o->cluster = value;
        return 0;
    case NODE:
        if (cli_number_parse(value, UINT32_MAX, &number) != 0 || number == 0)
            return cli_fail(CLI_USAGE, "--node: '%s' is no id of a node, from 1 to %u", value,
                            UINT32_MAX);
        o->node = (uint32_t)number;
        return 0;
    case NAME:
        o->name = value;
        return 0;
    case DAYS:
        if (cli_number_parse(value, AUTHORITY_NODE_DAYS_MAX, &number) != 0 || number == 0)
            return cli_fail(CLI_USAGE, "--days: '%s' is not a number from 1 to %u", value,
                            AUTHORITY_NODE_DAYS_MAX);
        o->days = (uint32_t)number;
        return 0;
    case OUT:
        o->out = value;
        return 0;
    default:
        o->force = true;
        return 0;
    }
}

/* needed among allowed: bits of options. */
static int options_check(const struct cli *c, const char *verb, uint32_t allowed, uint32_t needed)
{
    for (int i = 0; i < OPTIONS; i++) {
        if ((c->authority.given & ~allowed & 1u << i) != 0)
            return cli_fail(CLI_USAGE, "authority %s has no option %s", verb, option_names[i]);
        if ((needed & ~c->authority.given & 1u << i) != 0)
            return cli_fail(CLI_USAGE, "authority %s needs %s; see dunlin --help", verb,
                            option_names[i]);
    }
    return CLI_DONE;
}

/* ---- what goes wrong ---- */

/* The library's words, and the exit code. */
struct failure {
    char *text;
    size_t size;
    FILE *stream;
};

static int failure_open(struct failure *f)
{
    f->stream = open_memstream(&f->text, &f->size);
    return f->stream != NULL ? CLI_DONE : cli_fail(CLI_UNAVAILABLE, "authority: no memory");
}

static int exit_code_of(int error)
{
    switch (error) {
    case 0:
        return CLI_DONE;
    case -EEXIST:
    case -EPERM:
    case -EACCES:
    case -EKEYEXPIRED:
        return CLI_REFUSED;
    case -EINVAL:
    case -EFBIG:
    case -ENOENT:
    case -ENOTDIR:
    case -ENAMETOOLONG:
        return CLI_USAGE;
    default:
        return CLI_UNAVAILABLE;
    }
}

static int failure_close(struct failure *f, int error)
{
    (void)fclose(f->stream);
    int exit_code = exit_code_of(error);
    if (error != 0)
        exit_code = cli_fail(exit_code, "authority: %.*s", (int)strcspn(f->text, "\n"), f->text);
    free(f->text);
    return exit_code;
}

/* ---- what is printed ---- */

static json_t *certificate_json(const struct authority_certificate *a)
{
    char from[AUTHORITY_TIME_BYTES], until[AUTHORITY_TIME_BYTES];
    authority_time_print(from, a->from_s);
    authority_time_print(until, a->until_s);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "kind",
                          a->is_authority ? "authority" : "node", "cluster", a->identity.cluster,
                          "name", a->common_name, "serial", a->serial, "from", from, "until", until,
                          "days_left", (json_int_t)((a->until_s - (int64_t)time(NULL)) / DAY_S));
    if (o != NULL && !a->is_authority)
        (void)json_object_set_new(o, "node", json_integer(a->identity.node));
    return o;
}

static void print_whose(const struct authority_certificate *a)
{
    if (a->is_authority)
        (void)printf("authority of cluster %s", a->identity.cluster);
    else
        (void)printf("node %u of cluster %s", a->identity.node, a->identity.cluster);
}

static int print_made(const struct cli *c, const struct authority_made *made)
{
    char until[AUTHORITY_TIME_BYTES];
    if (c->json) {
        json_t *o = certificate_json(&made->certificate);
        (void)json_object_set_new(o, "key", json_string(made->key_path));
        (void)json_object_set_new(o, "certificate", json_string(made->certificate_path));
        return cli_print_json(o, CLI_DONE);
    }
    authority_time_print(until, made->certificate.until_s);
    print_whose(&made->certificate);
    (void)printf(" until %s\n  key          %s\n  certificate  %s\n", until, made->key_path,
                 made->certificate_path);
    return cli_flushed(CLI_DONE);
}

static void print_certificate(const struct authority_certificate *a)
{
    char from[AUTHORITY_TIME_BYTES], until[AUTHORITY_TIME_BYTES];
    int64_t left_s = a->until_s - (int64_t)time(NULL);
    authority_time_print(from, a->from_s);
    authority_time_print(until, a->until_s);
    print_whose(a);
    (void)printf("\n  name    %s\n  serial  %s\n  from    %s\n  until   %s", a->common_name,
                 a->serial, from, until);
    if (left_s > 0)
        (void)printf(" (%" PRId64 " days left)\n", left_s / DAY_S);
    else
        (void)printf(" (it is over)\n");
}

/* ---- verbs ---- */

static int create(const struct cli *c)
{
    struct authority_made made;
    struct failure f;
    const struct authority_create a = {
        .directory = c->operands[1], .cluster = c->authority.cluster, .force = c->authority.force};
    int exit_code = options_check(c, "create", 1u << CLUSTER | 1u << FORCE, 1u << CLUSTER);
    if (exit_code == CLI_DONE)
        exit_code = failure_open(&f);
    if (exit_code == CLI_DONE)
        exit_code = failure_close(&f, authority_create(&a, &made, f.stream));
    return exit_code == CLI_DONE ? print_made(c, &made) : exit_code;
}

static int issue(const struct cli *c)
{
    struct authority_made made;
    struct failure f;
    const struct cli_authority_options *o = &c->authority;
    int64_t days = o->days != 0 ? o->days : AUTHORITY_NODE_DAYS;
    const struct authority_issue i = {.directory = c->operands[1],
                                      .out = o->out,
                                      .name = o->name,
                                      .node = o->node,
                                      .validity_s = days * DAY_S,
                                      .force = o->force};
    int exit_code = options_check(
        c, "issue", 1u << NODE | 1u << NAME | 1u << DAYS | 1u << OUT | 1u << FORCE, 1u << NODE);
    if (exit_code == CLI_DONE)
        exit_code = failure_open(&f);
    if (exit_code == CLI_DONE)
        exit_code = failure_close(&f, authority_issue(&i, &made, f.stream));
    return exit_code == CLI_DONE ? print_made(c, &made) : exit_code;
}

static int show_all(const struct cli *c, STACK_OF(X509) * all)
{
    struct authority_certificate a;
    json_t *list = json_array();
    int exit_code = CLI_DONE;
    for (int i = 0; exit_code == CLI_DONE && i < sk_X509_num(all); i++) {
        if (authority_describe(sk_X509_value(all, i), &a) != 0)
            exit_code = cli_fail(CLI_USAGE,
                                 "authority: %s: neither an authority's certificate nor "
                                 "that of a node of a cluster",
                                 c->operands[1]);
        else if (c->json)
            (void)json_array_append_new(list, certificate_json(&a));
        else
            print_certificate(&a);
    }
    if (c->json && exit_code == CLI_DONE)
        return cli_print_json(json_pack("{s:o}", "certificates", list), CLI_DONE);
    json_decref(list);
    return exit_code == CLI_DONE ? cli_flushed(CLI_DONE) : exit_code;
}

static int show(const struct cli *c)
{
    STACK_OF(X509) *all = NULL;
    struct failure f;
    int exit_code = options_check(c, "show", 0, 0);
    if (exit_code == CLI_DONE)
        exit_code = failure_open(&f);
    if (exit_code == CLI_DONE)
        exit_code = failure_close(&f, authority_certificates_load(c->operands[1], &all, f.stream));
    if (exit_code == CLI_DONE)
        exit_code = show_all(c, all);
    sk_X509_pop_free(all, X509_free);
    return exit_code;
}

int cli_authority(const struct cli *c)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *c);
    } verbs[] = {{"create", create}, {"issue", issue}, {"show", show}};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, c->operands[0]) == 0)
            return verbs[i].run(c);
    return cli_fail(CLI_USAGE, "authority: unknown '%s'; expected create, issue or show",
                    c->operands[0]);
}
