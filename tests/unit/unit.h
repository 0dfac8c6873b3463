/* unit - the main function of a CUnit executable: a table of named tests, nothing else.
 *
 * One file tests/unit/<part>/test_<module>.c is one executable and one meson test. It ends with
 *
 *     static const struct unit_test tests[] = {
 *         UNIT_TEST(append_refuses_a_full_segment),
 *         UNIT_TEST(append_keeps_the_lsn),
 *     };
 *     UNIT_MAIN("log", tests)
 *
 * and checks with the CU_ASSERT_* macros of CUnit. They are for the thread that main started:
 * a helper thread hands its findings back to the test, which asserts them after the join.
 *
 * Run without arguments the program runs the whole table; with names, those tests alone; with
 * --list it prints the names. Exit status: 0 all ran and none failed, 1 something failed or nothing
 * was asserted at all (a test that cannot fail proves nothing), 2 unknown name or CUnit broken. */
#ifndef DUNLIN_TESTS_UNIT_UNIT_H
#define DUNLIN_TESTS_UNIT_UNIT_H

#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit_test {
    const char *name;
    void (*run)(void);
};

#define UNIT_TEST(function)                                                                        \
    {                                                                                              \
        .name = #function, .run = (function)                                                       \
    }

#define UNIT_MAIN(suite_name, table)                                                               \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return unit_main((suite_name), (table), sizeof(table) / sizeof((table)[0]), argc, argv);   \
    }

/* True if test_name is among the arguments, or there are none. */
static inline bool unit_is_selected(const char *test_name, int argc, char **argv)
{
    if (argc < 2) {
        return true;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], test_name) == 0) {
            return true;
        }
    }
    return false;
}

/* Adds the selected tests to the suite. Returns how many, or -1 if CUnit refused one (a name that
 * stands twice in the table). */
static inline int unit_add(CU_pSuite suite, const struct unit_test *tests, size_t test_count,
                           int argc, char **argv)
{
    int added = 0;

    for (size_t i = 0; i < test_count; i++) {
        if (!unit_is_selected(tests[i].name, argc, argv)) {
            continue;
        }
        if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL ||
            CU_get_error() != CUE_SUCCESS) {
            fprintf(stderr, "unit: cannot add %s: %s\n", tests[i].name, CU_get_error_msg());
            return -1;
        }
        added++;
    }
    return added;
}

/* Runs what was added. Returns the exit status of the program. */
static inline int unit_run(void)
{
    CU_basic_set_mode(CU_BRM_VERBOSE);
    if (CU_basic_run_tests() != CUE_SUCCESS) {
        fprintf(stderr, "unit: %s\n", CU_get_error_msg());
        return 2;
    }
    if (CU_get_number_of_asserts() == 0) {
        fprintf(stderr, "unit: nothing was asserted\n");
        return 1;
    }
    return CU_get_number_of_failures() == 0 ? 0 : 1;
}

static inline int unit_main(const char *suite_name, const struct unit_test *tests,
                            size_t test_count, int argc, char **argv)
{
    CU_pSuite suite;
    int added;
    int status = 2;

    /* Why: without it the lines before a crash stay in the buffer when stdout is a log file. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < test_count; i++) {
            printf("%s\n", tests[i].name);
        }
        return 0;
    }
    if (CU_initialize_registry() != CUE_SUCCESS) {
        fprintf(stderr, "unit: %s\n", CU_get_error_msg());
        return 2;
    }
    suite = CU_add_suite(suite_name, NULL, NULL);
    added = suite == NULL ? -1 : unit_add(suite, tests, test_count, argc, argv);
    if (added > 0 && (argc < 2 || added == argc - 1)) {
        status = unit_run();
    } else if (added >= 0) {
        fprintf(stderr, "unit: no such test; --list prints the names\n");
    }
    CU_cleanup_registry();
    return status;
}

#endif
