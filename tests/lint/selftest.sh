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
bad words 'a path of this machine' 'one machine' README.md 'see /wor''k/notes'
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
    cat >"$scratch/build/compile_commands.json" <<DATABASE
[
  {
    "directory": "$PWD",
    "command": "clang -std=c11 -I$PWD -c engine/base.c",
    "file": "$PWD/engine/base.c",
    "output": "engine/base.o"
  },
  {
    "directory": "$PWD",
    "command": "clang -std=c11 -I$PWD -Dreturn=hooked -c engine/base.c",
    "file": "$PWD/engine/base.c",
    "output": "tests/base.o"
  }
]
DATABASE
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
echo '[]' >"$scratch/build/compile_commands.json"
expect refuse tidy 'a build without sources' 'no source of ours' . "$scratch/build"

# unit STATUS WHAT PATTERN TEXT [ARGUMENT...]: a CUnit program by tests/unit/unit.h.
unit() {
    local wanted=$1 what=$2 pattern=$3 text=$4
    local output status
    shift 4
    checks=$((checks + 1))
    printf '#include "tests/unit/unit.h"\n%b\nUNIT_MAIN("sample", tests)\n' "$text" |
        gcc -std=c11 -I"$top" -o "$scratch/unit" -x c - -x none -lcunit || exit 2
    output=$("$scratch/unit" "$@" 2>&1)
    status=$?
    [ $status -eq "$wanted" ] && grep -q -- "$pattern" <<<"$output" && return 0
    echo "unit.h: $what ends by $status instead of $wanted, or without '$pattern':"
    echo "$output" | sed 's/^/    /'
    faults=$((faults + 1))
}
table='static const struct unit_test tests[] = {UNIT_TEST(f), UNIT_TEST(g)};'
good='static void f(void) { CU_ASSERT(1 == 1); } static void g(void) { CU_ASSERT(1); }'
unit 0 'a good test' 'Test: g ...passed' "$good $table"
unit 0 'the list of tests' '^g$' "$good $table" --list
unit 2 'a name that is none' 'no such test' "$good $table" h
unit 1 'a failed assert' 'CU_ASSERT_EQUAL(1,2)' "static void f(void) { CU_ASSERT_EQUAL(1, 2); } static void g(void) { CU_ASSERT(1); } $table"
unit 0 'the sound one of two' 'Test: g ...passed' "static void f(void) { CU_ASSERT(0); } static void g(void) { CU_ASSERT(1); } $table" g
unit 1 'tests that assert nothing' 'nothing was asserted' "static void f(void) {} static void g(void) {} $table"
unit 2 'a name that stands twice' 'cannot add' "$good static const struct unit_test tests[] = {UNIT_TEST(f), UNIT_TEST(f)};"

# The runner: one test of each outcome, by meson and as a script.
runner_tree() {
    sound_tree
    rm -rf tests
    mkdir -p tests/e2e
    cp -r "$top"/tests/{run,build,install}.sh "$top/tests/suites" tests/
    cp "$top/meson_options.txt" .
    cat >meson.build <<'MESON'
project('dunlin', 'c')
sh = find_program('sh')
foreach name, command : {'good': 'exit 0', 'bad': 'exit 1', 'absent': 'exit 77', 'slow': 'sleep 9', 'crash': 'kill -SEGV $$'}
  test('x/' + name, sh, args: ['-c', command], suite: 'unit', timeout: name == 'slow' ? 1 : 30)
endforeach
MESON
    printf '#!/bin/sh\nexit 0\n' >tests/e2e/good.sh
    printf '#!/bin/sh\nexit 3\n' >tests/e2e/bad.sh
    printf '#!/bin/sh\necho needs a network\nexit 77\n' >tests/e2e/absent.sh
    printf '#!/bin/sh\nsleep 99 &\n' >tests/e2e/leaves.sh
    chmod +x tests/e2e/*.sh
}
# runner STATUS LAST_LINE PATTERN SUITE...
runner() {
    local wanted=$1 last=$2 pattern=$3
    local output status
    shift 3
    checks=$((checks + 1))
    output=$(tests/run.sh "$@" 2>&1)
    status=$?
    [ $status -eq "$wanted" ] && [ "$(tail -n 1 <<<"$output")" = "$last" ] &&
        grep -qE -- "$pattern" <<<"$output" && return 0
    echo "run.sh $*: ended by $status instead of $wanted, or not with '$last', or without '$pattern':"
    echo "$output" | sed 's/^/    /'
    faults=$((faults + 1))
}
runner_tree
runner 1 '2 passed, 5 failed, 2 skipped' '^skip +e2e +absent .*needs a network' unit e2e
runner 1 '1 passed, 2 failed, 1 skipped' 'leaves .*left processes running' e2e
rm tests/e2e/{bad,leaves}.sh
runner 0 '1 passed, 0 failed, 1 skipped' '^ok +e2e +good' e2e
rm tests/e2e/good.sh
runner 1 '0 passed, 0 failed, 1 skipped' '^skip' e2e
echo broken >>meson.build
runner 1 '0 passed, 1 failed, 0 skipped' 'build of plain' unit
checks=$((checks + 1))
if tests/run.sh everything >"$scratch/log" 2>&1 || [ $? -ne 2 ] || ! grep -q 'suites: format' "$scratch/log"; then
    echo "run.sh: an unknown suite is not refused by status 2 and the list of suites"
    faults=$((faults + 1))
fi
runner_tree
rm tests/e2e/*.sh
cat >tests/e2e/long.sh <<'LONG'
#!/bin/sh
trap 'echo cleaned >cleaned; exit 1' TERM
sleep 99 &
echo $! >started.part && mv started.part started
wait
LONG
chmod +x tests/e2e/long.sh
tests/run.sh e2e >"$scratch/log" 2>&1 &
runner_pid=$!
for _ in $(seq 200); do
    [ -e started ] && break
    sleep 0.1
done
left=$(cat started)
kill -TERM "$runner_pid"
wait "$runner_pid"
status=$?
checks=$((checks + 1))
if [ $status -ne 143 ] || [ ! -e cleaned ] || ps -o stat= -p "$left" | grep -qv '^Z'; then
    echo "run.sh, interrupted: status $status, or its test had no time to clean up, or lives on"
    cat "$scratch/log"
    faults=$((faults + 1))
fi
cd "$top" || exit 2

echo "$checks samples, $faults judged wrong"
[ $faults -eq 0 ]
