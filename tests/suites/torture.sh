# shellcheck shell=bash
suite_torture() { meson_tests torture plain torture; }
