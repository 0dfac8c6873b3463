#!/usr/bin/env bash
# Configures and compiles one flavour in build/FLAVOUR.
#
#   tests/build.sh FLAVOUR [TARGET...]
#
#   plain  gcc -O2, what users run              asan   gcc, address and undefined-behaviour sanitizer
#   plant  plain, with bugs to switch on        tsan   clang, thread sanitizer, the tests alone
#   clang  everything by the other compiler     fuzz   clang, the fuzzers alone
#
# DUNLIN_TORTURE_SECONDS and DUNLIN_FUZZ_SECONDS set how long those tests run. A directory that was
# configured otherwise, or not to the end, is made anew. Quiet when all goes well: the compiler's words
# go to build/FLAVOUR/build.log, and to stderr when it fails. Exit 0 done, 1 failed, 2 bad usage.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

flavour=${1:-}
[ $# -eq 0 ] || shift
case "$flavour" in
plain) compiler=gcc options=() ;;
plant) compiler=gcc options=(-Dplant=true) ;;
asan) compiler=gcc options=("-Db_sanitize=address,undefined" -Dslow_asserts=true) ;;
clang) compiler=clang options=() ;;
tsan)
    compiler=clang options=(-Db_sanitize=thread -Db_lundef=false)
    [ $# -gt 0 ] || set -- meson-test-prereq
    ;;
fuzz)
    compiler=clang
    options=(-Dfuzz=true "-Db_sanitize=address,undefined" -Db_lundef=false -Dslow_asserts=true)
    [ $# -gt 0 ] || set -- fuzzers
    ;;
*)
    echo "build.sh: unknown flavour '$flavour'; flavours: plain plant asan clang tsan fuzz" >&2
    exit 2
    ;;
esac
seconds=("-Dtorture_seconds=${DUNLIN_TORTURE_SECONDS:-5}" "-Dfuzz_seconds=${DUNLIN_FUZZ_SECONDS:-20}")

dir=build/$flavour
log=$dir/build.log
wanted="$compiler ${options[*]}"
mkdir -p "$dir"

# Why: two runs at once would configure the same directory.
exec 9>"$dir.lock"
flock 9

fail() {
    echo "build.sh: $flavour failed; from $log:" >&2
    grep -vE '^\[[0-9]+/[0-9]+\] ' "$log" | tail -n 60 >&2
    exit 1
}

if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/configured" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    CC=$compiler meson setup "${options[@]}" "${seconds[@]}" "$dir" >"$log" 2>&1 </dev/null 9>&- || fail
    printf '%s\n' "$wanted" >"$dir/configured"
    printf '%s\n' "${seconds[*]}" >"$dir/seconds"
elif [ "$(cat "$dir/seconds" 2>/dev/null)" != "${seconds[*]}" ]; then
    meson configure "${seconds[@]}" "$dir" >"$log" 2>&1 </dev/null 9>&- || fail
    printf '%s\n' "${seconds[*]}" >"$dir/seconds"
fi
ninja -C "$dir" -k 0 "$@" >"$log" 2>&1 </dev/null 9>&- || fail
