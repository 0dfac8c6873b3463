# shellcheck shell=bash
suite_format() { script_test format clang-format 120 tests/lint/format.sh .; }
