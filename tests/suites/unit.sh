# shellcheck shell=bash
suite_unit() { meson_tests unit plain unit; }
