#!/bin/sh
# The top level holds the agreed names and nothing else.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

# Why git first: what it ignores (build directories, caches of editors) is nobody's business.
{
    git ls-files --cached --others --exclude-standard --deduplicate 2>/dev/null | cut -d/ -f1 | grep . ||
        find . -mindepth 1 -maxdepth 1 ! -name 'build*' -printf '%f\n'
} | sort -u | while read -r name; do
    case $name in
    engine | dataplane | control | bench | tests) ;;
    meson.build | meson_options.txt | README.md | LICENSE | .?*) ;;
    *) fault "$name:1: not among the names agreed for the top level" ;;
    esac
done
for name in engine dataplane control bench tests meson.build README.md LICENSE; do
    [ -e "$name" ] || fault "$name:1: is missing"
done
verdict
