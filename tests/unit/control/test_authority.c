/* Authorities and certificates: what is made says what it should, under the right permissions, is never
 * written over, and what others may read is refused; names of nodes are read strictly. */
#include "control/authority_make.h"

#include "tests/unit/unit.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DAY_S INT64_C(86400)

static char directory[64];
static struct authority_made made;

static void begin(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/dunlin-authority-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    const struct authority_create create = {.directory = directory, .cluster = "flock"};
    CU_ASSERT_EQUAL_FATAL(authority_create(&create, &made, stderr), 0);
}

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static uint32_t next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static void end(void)
{
    static const char *const names[] = {"authority.key", "authority.crt", "node-7.key",
                                        "node-7.crt",    "node-8.key",    "node-8.crt"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(path_of(names[i]));
    CU_ASSERT_EQUAL(rmdir(directory), 0); /* nothing else is left, no temporary file either */
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static X509 *certificate_load(const char *path)
{
    STACK_OF(X509) *all = NULL;
    CU_ASSERT_EQUAL_FATAL(authority_certificates_load(path, &all, stderr), 0);
    CU_ASSERT_EQUAL(sk_X509_num(all), 1);
    X509 *c = sk_X509_shift(all);
    sk_X509_free(all);
    return c;
}

/* A call that fails, and what it says: one line, with the words. */
static char *said;
static size_t said_bytes;

static FILE *errors_open(void)
{
    FILE *errors = open_memstream(&said, &said_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    return errors;
}

static void errors_close(FILE *errors, const char *words)
{
    (void)fclose(errors);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, words));
    CU_ASSERT_PTR_EQUAL(strchr(said, '\n'), said + said_bytes - 1);
    free(said);
}

static void create_fails(const struct authority_create *a, int error, const char *words)
{
    FILE *errors = errors_open();
    CU_ASSERT_EQUAL(authority_create(a, &made, errors), error);
    errors_close(errors, words);
}

static void issue_fails(const struct authority_issue *i, int error, const char *words)
{
    FILE *errors = errors_open();
    CU_ASSERT_EQUAL(authority_issue(i, &made, errors), error);
    errors_close(errors, words);
}

/* ---- what is made ---- */

static void an_authority_is_what_it_should_be(void)
{
    begin();
    int64_t now_s = (int64_t)time(NULL);
    CU_ASSERT_EQUAL(mode_of(path_of("authority.key")), 0600);
    CU_ASSERT_EQUAL(mode_of(path_of("authority.crt")), 0644);
    CU_ASSERT_STRING_EQUAL(made.key_path, path_of("authority.key"));
    const struct authority_certificate *a = &made.certificate;
    CU_ASSERT(a->is_authority && a->identity.node == 0);
    CU_ASSERT_STRING_EQUAL(a->identity.cluster, "flock");
    CU_ASSERT_STRING_EQUAL(a->common_name, "authority of flock");
    CU_ASSERT(a->from_s <= now_s - 3600 && a->until_s >= now_s + 3652 * DAY_S - 60);
    X509 *c = certificate_load(made.certificate_path);
    EVP_PKEY *key = NULL;
    CU_ASSERT_EQUAL_FATAL(authority_key_load(made.key_path, &key, stderr), 0);
    CU_ASSERT_EQUAL(X509_check_private_key(c, key), 1);
    CU_ASSERT_EQUAL(X509_verify(c, key), 1);
    CU_ASSERT_EQUAL(X509_get_pathlen(c), 0);
    CU_ASSERT_EQUAL(X509_get_key_usage(c), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    EVP_PKEY_free(key);
    X509_free(c);
    end();
}

static void a_certificate_is_what_it_should_be(void)
{
    begin();
    struct authority_identity id;
    const struct authority_issue i = {
        .directory = directory, .node = 7, .name = "roost-7", .validity_s = 30 * DAY_S};
    CU_ASSERT_EQUAL_FATAL(authority_issue(&i, &made, stderr), 0);
    CU_ASSERT_EQUAL(mode_of(path_of("node-7.key")), 0600);
    CU_ASSERT_EQUAL(mode_of(path_of("node-7.crt")), 0644);
    const struct authority_certificate first = made.certificate;
    CU_ASSERT(!first.is_authority && first.identity.node == 7);
    CU_ASSERT_STRING_EQUAL(first.identity.cluster, "flock");
    CU_ASSERT_STRING_EQUAL(first.common_name, "roost-7");
    X509 *authority = certificate_load(path_of("authority.crt"));
    X509 *c = certificate_load(made.certificate_path);
    CU_ASSERT_EQUAL(authority_identity_of(c, &id), 0);
    CU_ASSERT(id.node == 7 && strcmp(id.cluster, "flock") == 0);
    CU_ASSERT_EQUAL(authority_identity_of(authority, &id), -EINVAL);
    CU_ASSERT_EQUAL(X509_check_issued(authority, c), X509_V_OK);
    CU_ASSERT_EQUAL(X509_verify(c, X509_get0_pubkey(authority)), 1);
    CU_ASSERT_EQUAL(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
    CU_ASSERT_EQUAL(X509_get_extended_key_usage(c), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    X509_free(c);
    X509_free(authority);
    /* Another one has another serial number; it ends with the authority at the latest. */
    const struct authority_issue longer = {
        .directory = directory, .node = 8, .validity_s = 10000 * DAY_S};
    CU_ASSERT_EQUAL_FATAL(authority_issue(&longer, &made, stderr), 0);
    CU_ASSERT_STRING_EQUAL(made.certificate.common_name, "node 8");
    CU_ASSERT_STRING_NOT_EQUAL(made.certificate.serial, first.serial);
    CU_ASSERT(made.certificate.until_s < (int64_t)time(NULL) + 3653 * DAY_S);
    end();
}

/* ---- what is refused ---- */

static void nothing_is_written_over(void)
{
    struct stat before, after;
    begin();
    const struct authority_create create = {.directory = directory, .cluster = "flock"};
    CU_ASSERT_EQUAL(stat(path_of("authority.key"), &before), 0);
    create_fails(&create, -EEXIST, "authority.key: is there already; --force");
    CU_ASSERT_EQUAL(unlink(path_of("authority.key")), 0);
    create_fails(&create, -EEXIST, "authority.crt: is there already; --force");
    CU_ASSERT_EQUAL(mode_of(path_of("authority.key")), 0); /* nor half of it made */
    const struct authority_create force = {
        .directory = directory, .cluster = "herd", .force = true};
    CU_ASSERT_EQUAL(authority_create(&force, &made, stderr), 0);
    CU_ASSERT_STRING_EQUAL(made.certificate.identity.cluster, "herd");
    CU_ASSERT_EQUAL(stat(path_of("authority.key"), &after), 0);
    struct authority_issue i = {.directory = directory, .node = 7, .validity_s = DAY_S};
    CU_ASSERT_EQUAL(authority_issue(&i, &made, stderr), 0);
    issue_fails(&i, -EEXIST, "node-7.key: is there already");
    i.force = true;
    CU_ASSERT_EQUAL(authority_issue(&i, &made, stderr), 0);
    CU_ASSERT_EQUAL(mode_of(path_of("node-7.key")), 0600);
    end();
}

static void what_makes_no_sense_is_refused(void)
{
    static const char *const names[] = {
        "", "1st", "a b", "a/b", "a,URI:x", "-a", "abcdefghijklmnopqrstuvwxyz012345"};
    begin();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct authority_create a = {.directory = directory, .cluster = names[i]};
        create_fails(&a, -EINVAL, "no name of a cluster");
    }
    struct authority_issue i = {.directory = directory, .validity_s = DAY_S};
    issue_fails(&i, -EINVAL, "no node");
    i.node = 7;
    i.name = "";
    issue_fails(&i, -EINVAL, "no name");
    i.name = "a\nb";
    issue_fails(&i, -EINVAL, "no name");
    i.name = NULL;
    i.out = "/nowhere/at/all";
    issue_fails(&i, -ENOENT, "cannot be made");
    i.out = NULL;
    i.directory = "/nowhere";
    issue_fails(&i, -ENOENT, "not readable");
    end();
}

static void an_authority_that_is_none_issues_nothing(void)
{
    begin();
    struct authority_issue i = {.directory = directory, .node = 7, .validity_s = DAY_S};
    CU_ASSERT_EQUAL(chmod(path_of("authority.key"), 0604), 0);
    issue_fails(&i, -EPERM, "make its mode 0600");
    CU_ASSERT_EQUAL(chmod(path_of("authority.key"), 0400), 0);
    CU_ASSERT_EQUAL(authority_issue(&i, &made, stderr), 0);
    /* A node's certificate in its place, and one whose key is another. */
    i.node = 8;
    CU_ASSERT_EQUAL(rename(path_of("node-7.key"), path_of("authority.key")), 0);
    issue_fails(&i, -EINVAL, "does not belong to the key beside it");
    CU_ASSERT_EQUAL(rename(path_of("node-7.crt"), path_of("authority.crt")), 0);
    issue_fails(&i, -EINVAL, "no authority of a cluster");
    CU_ASSERT_EQUAL(truncate(path_of("authority.crt"), 100), 0);
    issue_fails(&i, -EINVAL, "damaged");
    CU_ASSERT_EQUAL(truncate(path_of("authority.crt"), 0), 0);
    issue_fails(&i, -EINVAL, "no certificate in it");
    CU_ASSERT_EQUAL(truncate(path_of("authority.crt"), (off_t)AUTHORITY_FILE_BYTES_MAX + 1), 0);
    issue_fails(&i, -EFBIG, "more than 65536 bytes");
    CU_ASSERT_EQUAL(truncate(path_of("authority.key"), 20), 0);
    issue_fails(&i, -EINVAL, "no private key in it");
    CU_ASSERT_EQUAL(unlink(path_of("authority.key")), 0);
    CU_ASSERT_EQUAL(mkdir(path_of("authority.key"), 0700), 0);
    issue_fails(&i, -EINVAL, "no regular file");
    CU_ASSERT_EQUAL(rmdir(path_of("authority.key")), 0);
    end();
}

/* ---- names ---- */

static void names_are_read_strictly(void)
{
    static const char *const bad[] = {
        "",
        "dunlin://",
        "dunlin:///node/1",
        "dunlin://flock",
        "dunlin://flock/",
        "dunlin://flock/node",
        "dunlin://flock/node/",
        "dunlin://flock/node/0",
        "dunlin://flock/node/01",
        "dunlin://flock/node/+1",
        "dunlin://flock/node/1/",
        "dunlin://flock/node/1 ",
        "dunlin://flock/node/4294967296",
        "dunlin://flock/node/18446744073709551617",
        "dunlin://flock/Node/1",
        "Dunlin://flock/node/1",
        "dunlin://fl ock/node/1",
        "dunlin://1flock/node/1",
        "dunlin://flock//node/1",
        "dunlin://abcdefghijklmnopqrstuvwxyz012345/node/1",
        "spiffe://flock/node/1",
    };
    struct authority_identity id;
    char uri[AUTHORITY_URI_BYTES];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_EQUAL(authority_uri_parse(bad[i], strlen(bad[i]), &id), -EINVAL);
    const struct authority_identity good[] = {
        {"flock", 1}, {"a", UINT32_MAX}, {"abcdefghijklmnopqrstuvwxyz-_.01", 10}};
    for (size_t i = 0; i < 3; i++) {
        authority_uri_print(uri, &good[i]);
        CU_ASSERT_EQUAL(authority_uri_parse(uri, strlen(uri), &id), 0);
        CU_ASSERT(id.node == good[i].node && strcmp(id.cluster, good[i].cluster) == 0);
    }
    CU_ASSERT_EQUAL(authority_uri_parse("dunlin://flock/node/12", 21, &id), 0);
    CU_ASSERT_EQUAL(id.node, 1); /* no byte past the length */
    CU_ASSERT_EQUAL(authority_uri_parse("dunlin://flock/node/1\0", 22, &id), -EINVAL);
}

/* ---- the command ---- */

static int run(const char *arguments)
{
    char line[512];
    (void)snprintf(line, sizeof(line), "'%s' %s >'%s/out' 2>'%s/err'", DUNLIN_PROGRAM, arguments,
                   directory, directory);
    /* Why the shell: it is how people run it. */
    int status = system(line); /* NOLINT(cert-env33-c) */
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool file_has(const char *name, const char *words)
{
    static char text[8192];
    FILE *in = fopen(path_of(name), "r");
    size_t length = in != NULL ? fread(text, 1, sizeof(text) - 1, in) : 0;
    text[length] = 0;
    if (in != NULL)
        (void)fclose(in);
    return strstr(text, words) != NULL;
}

static void expect(int exit_code, const char *format, const char *out, const char *err)
{
    char arguments[256];
    (void)snprintf(arguments, sizeof(arguments), "%s '%s'%s", format, directory,
                   strstr(format, "show") != NULL ? "/node-7.crt" : "");
    CU_ASSERT_EQUAL(run(arguments), exit_code);
    CU_ASSERT(file_has("out", out));
    CU_ASSERT(file_has("err", err));
}

static void the_command_does_it(void)
{
    begin();
    CU_ASSERT_EQUAL(unlink(path_of("authority.key")), 0);
    CU_ASSERT_EQUAL(unlink(path_of("authority.crt")), 0);
    expect(2, "authority create", "", "authority create needs --cluster");
    expect(2, "authority create --cluster 1st", "", "no name of a cluster");
    expect(2, "authority create --cluster flock --days 3", "", "has no option --days");
    expect(0, "authority create --cluster flock", "authority of cluster flock until ", "");
    expect(5, "authority create --cluster flock", "", "is there already; --force");
    expect(2, "authority issue", "", "authority issue needs --node");
    expect(2, "authority issue --node 0", "", "--node: '0' is no id");
    expect(2, "authority issue --node 7 --days 0", "", "--days: '0' is not a number from 1 to");
    expect(0, "authority issue --node 7 --name roost --days 9", "node 7 of cluster flock", "");
    expect(5, "authority issue --node 7", "", "is there already");
    expect(0, "--json authority issue --node 7 --force", "\"node\":7", "");
    expect(0, "authority show", "node 7 of cluster flock", "");
    expect(0, "--json authority show", "\"days_left\":7", "");
    expect(2, "authority show --node 7", "", "authority show has no option --node");
    expect(2, "authority destroy", "", "expected create, issue or show");
    expect(2, "put --node 7 a b", "", "put has no option --node");
    CU_ASSERT_EQUAL(chmod(path_of("authority.key"), 0644), 0);
    expect(5, "authority issue --node 8", "", "make its mode 0600");
    CU_ASSERT_EQUAL(unlink(path_of("node-7.crt")), 0);
    expect(2, "authority show", "", "not readable");
    (void)unlink(path_of("out"));
    (void)unlink(path_of("err"));
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(an_authority_is_what_it_should_be),
    UNIT_TEST(a_certificate_is_what_it_should_be),
    UNIT_TEST(nothing_is_written_over),
    UNIT_TEST(what_makes_no_sense_is_refused),
    UNIT_TEST(an_authority_that_is_none_issues_nothing),
    UNIT_TEST(names_are_read_strictly),
    UNIT_TEST(the_command_does_it),
};
UNIT_MAIN("authority", tests)
