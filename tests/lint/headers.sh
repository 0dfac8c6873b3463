#!/bin/sh
# Every header compiles alone and twice; the public one also as C++11, with both compilers.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

# Why: a header that includes one of these libraries needs their paths.
# shellcheck disable=SC2046
set -- $(pkg-config --cflags libdpdk libuv jansson libcyaml yaml-0.1 lmdb liburcu-qsbr cunit zlib 2>/dev/null |
    sed -E 's/(^| )-I ?/ -isystem /g; s/-march=[^ ]*//')
strict="-Wall -Wextra -Wpedantic -Wshadow -Wundef -Wstrict-prototypes -Werror"

# Why the declaration: a header of macros alone would make an empty unit, which C forbids.
twice() { printf '#include "%s"\n#include "%s"\nextern int not_empty;\n' "$1" "$1"; }

sources '*.h' | while read -r header; do
    # shellcheck disable=SC2086
    twice "$header" | gcc -x c -std=c11 -D_GNU_SOURCE -msse4.2 $strict -I. "$@" -fsyntax-only - \
        >>"$faults" 2>&1 || fault "$header:1: does not compile alone"
done

public=engine/agent/dunlin.h
for compiler in "gcc -x c -std=c11 $strict" "clang -x c -std=c99 $strict" \
    "g++ -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror" \
    "clang++ -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror"; do
    # shellcheck disable=SC2086
    twice "$public" | $compiler -I. -fsyntax-only - >>"$faults" 2>&1 ||
        fault "$public:1: not accepted by $compiler"
done
verdict
