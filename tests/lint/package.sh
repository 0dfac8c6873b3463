#!/bin/sh
# What `meson install` lays down works, and README.md is true of it: its example is compiled with
# pkg-config's flags alone, shared and static, as C and as C++, and run against the daemon with the
# configuration that README.md shows.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments "ROOT BUILD" "$@"

readme=$1/README.md
build=$2
stage=$(mktemp -d) || exit 2
daemon=
finish() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null
    rm -rf "$faults" "$stage"
}
trap finish EXIT

# block LANGUAGE [NUMBER]: what stands in the README between the fences of the first one, or that one.
block() {
    awk -v open="^\`\`\`$1\$" -v number="${2:-1}" \
        '$0 ~ open { on = ++seen == number; next } /^```$/ { if (on) exit; next } on' "$readme"
}

block c >"$stage/example.c"
grep -q 'dunlin_open' "$stage/example.c" || fault "$readme:1: holds no example in C"
if ! DESTDIR=$stage meson install -C "$build" --no-rebuild --quiet >"$stage/log" 2>&1; then
    cat "$stage/log"
    exit 1
fi
file=$(find "$stage" -name dunlin.pc | head -n 1)
if [ -z "$file" ]; then
    echo "no dunlin.pc was installed"
    exit 1
fi
PKG_CONFIG_PATH=$(dirname "$file")
PKG_CONFIG_SYSROOT_DIR=$stage
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
flags=$(pkg-config --cflags dunlin) || exit 1
libs=$(pkg-config --libs dunlin) || exit 1
archive=$(find "$stage" -name libdunlin.a)
strict="-Wall -Wextra -Wpedantic -Werror"

# try WHAT COMMAND...
try() {
    what=$1
    shift
    "$@" >>"$faults" 2>&1 || fault "README.md: the example fails: $what"
}
# shellcheck disable=SC2086
{
    try 'C, shared' gcc -std=c11 $strict $flags "$stage/example.c" $libs -o "$stage/shared"
    try 'C, static' gcc -std=c11 $strict $flags "$stage/example.c" "$archive" -o "$stage/static"
    try 'C++' g++ -x c++ -std=c++11 $strict $flags "$stage/example.c" -x none $libs -o "$stage/plus"
}
LD_LIBRARY_PATH=$(dirname "$(find "$stage" -name libdunlin.so)")
export LD_LIBRARY_PATH
for program in dunlind dunlin; do
    path=$(find "$stage" -type f -name "$program" -perm -u+x)
    if [ -z "$path" ]; then
        fault "meson install lays down no $program"
    else
        "$path" --help >/dev/null 2>>"$faults" </dev/null || fault "$program --help fails"
    fi
done
[ ! -s "$faults" ] || verdict

{ block yaml && printf 'socket:\n  path: %s/dunlin.sock\n' "$stage"; } >"$stage/dunlin.yaml"
block yaml 2 >"$stage/cluster.yaml"
if [ -s "$stage/cluster.yaml" ]; then
    "$(find "$stage" -type f -name dunlind)" --config "$stage/cluster.yaml" --check 2>>"$faults" ||
        fault "README.md: dunlind refuses the second configuration that is shown"
fi
mkfifo "$stage/ready"
"$(find "$stage" -type f -name dunlind)" --config "$stage/dunlin.yaml" >"$stage/ready" 2>"$stage/log" &
daemon=$!
read -r word <"$stage/ready"
if [ "$word" != ready ]; then
    fault "README.md: dunlind does not serve with the configuration shown: $(tail -n 1 "$stage/log")"
    verdict
fi
DUNLIN_SOCKET=$stage/dunlin.sock
export DUNLIN_SOCKET
for round in "shared:claimed at version" "static:somebody else was first" "plus:held by drone-7"; do
    "$stage/${round%%:*}" >"$stage/said" 2>&1 || fault "README.md: the example fails: ${round%%:*} run"
    grep -q "${round#*:}" "$stage/said" || fault "README.md: the example does not say '${round#*:}'"
done
kill "$daemon"
wait "$daemon" || fault "dunlind does not end by 0 after SIGTERM: $(tail -n 1 "$stage/log")"
daemon=
verdict
