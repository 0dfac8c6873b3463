#!/usr/bin/env bash
# Shows that every check can fail: each gets a sound sample, which it must pass, and bad ones, each
# with a single fault, which it must refuse for that fault.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM HUP
faults=0
checks=0

# A small tree that every check accepts.
sound_tree() {
    rm -rf "$scratch/tree" "$scratch/build"
    mkdir -p "$scratch/tree"/{engine/agent,dataplane,control,bench,tests,.ci} "$scratch/build"
    cd "$scratch/tree" || exit 2
    cp "$top/.clang-format" "$top/.clang-tidy" .
    touch meson.build meson_options.txt LICENSE
    printf '#include <stddef.h>\n#include <stdint.h>\n#ifdef __cplusplus\nextern "C" {\n#endif\n#ifndef D\n#define D\nint dunlin_open(void);\n#endif\n#ifdef __cplusplus\n}\n#endif\n' >engine/agent/dunlin.h
    printf '#ifndef E\n#define E\n#include <stdint.h>\n/* Why not volatile: an atomic_load( is none. */\nint base_sum(int a, int b);\n#endif\n' >engine/base.h
    printf '#include "engine/base.h"\n\nint base_sum(int a, int b)\n{\n    __asm__ volatile("" ::: "memory");\n    return a + b;\n}\n' >engine/base.c
    printf '#include "engine/base.h"\n' >dataplane/node.c
    printf '#!/bin/sh\necho fine\n' >tests/fine.sh
    printf '#!/bin/sh\n' >.ci/run
    chmod +x tests/fine.sh .ci/run
    printf '# Sample\n\n```c\n#include <dunlin.h>\nint main(void)\n{\n    return dunlin_open();\n}\n```\n' >README.md
}

# expect pass|refuse CHECK WHAT PATTERN ARGUMENT...: PATTERN is what a refusal has to name.
expect() {
    local wanted=$1 check=$2 what=$3 pattern=$4
    local output status
    shift 4
    checks=$((checks + 1))
    output=$("$here/$check.sh" "$@" 2>&1)
    status=$?
    if [ "$wanted" = pass ] && [ $status -ne 0 ]; then
        echo "$check refuses $what (status $status):"
    elif [ "$wanted" = refuse ] && { [ $status -ne 1 ] && [ $status -ne 123 ]; }; then
        echo "$check passes $what (status $status):"
    elif [ "$wanted" = refuse ] && ! grep -qE -- "$pattern" <<<"$output"; then
        echo "$check refuses $what, but not for '$pattern':"
    else
        return 0
    fi
    echo "$output" | sed 's/^/    /'
    faults=$((faults + 1))
}

# bad CHECK WHAT PATTERN FILE TEXT: the sound tree with one more line in one file.
bad() {
    sound_tree
    printf '%b\n' "$5" >>"$4"
    expect refuse "$1" "$2" "$3" .
}

for check in names layers words size shell headers format; do
    sound_tree
    expect pass "$check" "a sound tree" '' .
done

bad names 'a stray file' '^notes\.txt:' notes.txt 'x'
sound_tree && rm LICENSE
expect refuse names 'a tree without a licence' '^LICENSE:.*missing' .

bad layers 'engine including dataplane' 'engine/base.c:.*dataplane/node.h' engine/base.c '#include "dataplane/node.h"'
bad layers 'a path from the file' 'does not start at the root' engine/base.c '#include "base.h"'
bad layers 'a path that climbs' 'does not start at the root' engine/base.c '#include "engine/../control/x.h"'
bad layers 'an included source' 'source file' tests/x.c '#include "engine/base.c"'
bad layers 'libuv below control' 'layers above' dataplane/node.c '#include <uv.h>'
bad layers 'a public header that needs ours' 'stands alone' engine/agent/dunlin.h '#include "engine/base.h"'
bad layers 'a public header that needs POSIX' 'C standard' engine/agent/dunlin.h '#include <pthread.h>'

bad words 'unfinished business' 'engine/base.c:.*unfinished' engine/base.c '/* TODO: later */'
bad words 'unfinished business in a script' 'tests/fine.sh:.*unfinished' tests/fine.sh '# FIXME'
bad words 'a path of this machine' 'one machine' README.md 'see /work/notes'
bad words 'volatile' 'memory model' engine/base.c 'static volatile int x;'
bad words 'volatile after a comment' 'memory model' engine/base.c '/* a\n b */ volatile int x; // c'
bad words 'an implicit order' 'memory order' engine/base.c 'x = atomic_load(&y);'
bad words 'an implicit order' 'memory order' engine/base.c 'atomic_fetch_add (&y, 1);'
bad words 'an old builtin' 'C11 atomics' engine/base.c '__sync_synchronize();'

sound_tree && yes '/* x */' | head -n 801 >engine/long.c
expect refuse size 'a file of 801 lines' 'engine/long.c:.*split' .
sound_tree && yes '/* x */' | head -n 700 >engine/long.c
expect pass size 'a file of 700 lines' '' .

bad shell 'an unset variable' 'SC2154' tests/fine.sh 'echo "$nowhere"'
sound_tree && chmod -x tests/fine.sh
expect refuse shell 'a script that cannot be run' 'not executable' .

bad headers 'a header that lacks an include' 'engine/x.h:.*alone' engine/x.h 'uint64_t x(void);'
bad headers 'a header without a guard' 'redefinition' engine/x.h 'struct x { int y; };'
bad headers 'a public header that is not C++' 'not accepted by g\+\+' engine/agent/dunlin.h 'struct a { int x; }; static inline int f(int new) { return new; }'

bad format 'a line out of shape' 'base.c:.*clang-format' engine/base.c 'int   f( void );'

# Objects and libraries.
compile() { gcc -O1 -fPIC -c -o "$scratch/build/$1.o" -x c - && ar cr "$scratch/build/lib$1.a" "$scratch/build/$1.o"; }
pure() {
    sound_tree
    rm -f "$scratch/build"/*
    compile "$1_pure" <<<"$2"
}
pure sound '#include <string.h>
int f(void *a, void *b, size_t n); int f(void *a, void *b, size_t n) { memcpy(a, b, n); return memcmp(a, b, n); }'
expect pass purity 'memcpy' '' "$scratch/build"
for call in 'void *malloc(unsigned long); void *f(void) { return malloc(8); }' \
    'long write(int, const void *, unsigned long); long f(void) { return write(1, "x", 1); }' \
    'int clock_gettime(int, void *); int f(void *t) { return clock_gettime(0, t); }' \
    'int printf(const char *, ...); int f(int x) { return printf("%d", x); }' \
    'int rte_eal_init(int, char **); int f(void) { return rte_eal_init(0, 0); }'; do
    pure bad "$call"
    expect refuse purity "${call%%(*}" 'not for a pure core' "$scratch/build"
done
rm -f "$scratch/build"/*
expect refuse purity 'a build without a pure library' 'no pure library' "$scratch/build"

# library TEXT_SHARED TEXT_STATIC [LINK...]
library() {
    local shared=$1 static=$2
    shift 2
    sound_tree
    gcc -shared -fPIC -o "$scratch/build/libdunlin.so" -x c - -x none "$@" <<<"$shared"
    compile dunlin <<<"$static"
}
open='int dunlin_open(void); int dunlin_open(void) { return 0; }'
library "$open" "$open"
expect pass exports 'a sound library' '' . "$scratch/build"
library "$open int helper(void) { return 1; }" "$open"
expect refuse exports 'an exported helper' 'exports helper' . "$scratch/build"
library "$open" "$open int helper(void) { return 1; }"
expect refuse exports 'a global helper in the archive' 'global name helper' . "$scratch/build"
library 'int dunlin_close(void) { return 0; }' "$open"
expect refuse exports 'a declared function that is absent' 'declares dunlin_open' . "$scratch/build"
library "$open" "$open" -Wl,--no-as-needed -lz
expect refuse exports 'a library beyond libc' 'needs libz' . "$scratch/build"

# A project that installs a library, a daemon that says it is ready and a program, built by meson.
package_tree() {
    sound_tree
    cat >meson.build <<'MESON'
project('sample', 'c', version: '1', default_options: ['default_library=both'])
lib = library('dunlin', 'd.c', install: true)
install_headers('engine/agent/dunlin.h')
import('pkgconfig').generate(lib, name: 'dunlin', description: 'sample')
executable('dunlin', 'p.c', install: true)
install_data('dunlind', install_dir: get_option('bindir'), install_mode: 'rwxr-xr-x')
MESON
    echo 'int dunlin_open(void); int dunlin_open(void) { return 0; }' >d.c
    echo 'int main(void) { return 0; }' >p.c
    printf '%s\n' '#!/bin/sh' '[ "$1" = --help ] && exit' 'trap "exit 0" TERM' 'echo ready' 'exec >&-' \
        'for i in $(seq 300); do sleep 0.1; done' >dunlind
    cat >README.md <<'README'
```c
#include <dunlin.h>
#include <stdio.h>
int main(void)
{
    puts("claimed at version 1, somebody else was first, held by drone-7");
    return dunlin_open();
}
```
```yaml
node: 1
```
README
}
# package WANTED WHAT PATTERN: builds what stands there, and looks at it.
package() {
    rm -rf "$scratch/build/sample"
    { meson setup "$scratch/build/sample" && ninja -C "$scratch/build/sample"; } >"$scratch/log" 2>&1 </dev/null ||
        cat "$scratch/log"
    expect "$1" package "$2" "$3" . "$scratch/build/sample"
}
package_tree
package pass 'a sound package' ''
sed -i 's/dunlin_open()/dunlin_open(1)/' README.md
package refuse 'an example that does not compile' 'example fails: C, shared'
package_tree && sed -i 's/return dunlin_open()/return 1 + dunlin_open()/' README.md
package refuse 'an example that fails' 'example fails: shared run'
package_tree && sed -i 's/held by/owned by/' README.md
package refuse 'an example that says something else' "does not say 'held by"
package_tree && sed -i 's/import.*//' meson.build
package refuse 'a package without pkg-config file' 'no dunlin.pc'
package_tree && echo 'int main(void) { return 3; }' >p.c
package refuse 'a program that cannot say how it is used' 'help fails'
package_tree && sed -i 's/echo ready/exit 2/' dunlind
package refuse 'a daemon that refuses the configuration shown' 'does not serve'
package_tree && sed -i 's/exit 0/exit 3/' dunlind
package refuse 'a daemon that does not end well' 'does not end by 0'

# tidy TEXT: one source with its compilation database.
tidy_tree() {
    sound_tree
    printf '%b\n' "$1" >engine/base.c
    printf '[{"directory": "%s", "command": "clang -std=c11 -I%s -c engine/base.c",\n "file": "%s/engine/base.c"\n}]\n' \
        "$PWD" "$PWD" "$PWD" | sed 's/"file"/\n  "file"/' >"$scratch/build/compile_commands.json"
}
tidy_tree '#include "engine/base.h"\nint base_sum(int a, int b)\n{\n    return a + b;\n}'
expect pass tidy 'a sound source' '' . "$scratch/build"
tidy_tree 'int f(int a, int b, int c, int d, int e, int g);\nint f(int a, int b, int c, int d, int e, int g)\n{\n    return a + b + c + d + e + g;\n}'
expect refuse tidy 'six parameters' 'function-size' . "$scratch/build"
tidy_tree "int f(int a);\nint f(int a)\n{\n$(printf '    a += 1;\\n%.0s' $(seq 80))    return a;\n}"
expect refuse tidy 'a function of 83 lines' 'function-size' . "$scratch/build"
tidy_tree 'int f(int badName);\nint f(int badName)\n{\n    return badName;\n}'
expect refuse tidy 'a name in camel case' 'identifier-naming' . "$scratch/build"
tidy_tree 'int f(void);\nint f(void)\n{\n    int *p = 0;\n    return *p;\n}'
expect refuse tidy 'a null pointer followed' 'clang-analyzer' . "$scratch/build"
tidy_tree 'int f(void)\n{\n    return nowhere;\n}'
expect refuse tidy 'a source that does not compile' 'undeclared' . "$scratch/build"

echo "$checks samples, $faults judged wrong"
[ $faults -eq 0 ]
