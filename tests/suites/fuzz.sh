# shellcheck shell=bash
suite_fuzz() { meson_tests fuzz fuzz fuzz; }
