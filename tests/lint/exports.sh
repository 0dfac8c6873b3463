#!/bin/sh
# libdunlin.so needs libc alone, exports dunlin_* alone, and everything that dunlin.h declares;
# libdunlin.a brings no other global name into a user's program.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments "ROOT BUILD" "$@"

header=$1/engine/agent/dunlin.h
build=$2
shared=$(find "$build" -name libdunlin.so | head -n 1)
static=$(find "$build" -name libdunlin.a | head -n 1)
if [ -z "$shared" ] || [ -z "$static" ]; then
    echo "no libdunlin.so or no libdunlin.a in $build"
    exit 1
fi

readelf -d "$shared" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | while read -r library; do
    case $library in
    libc.so.* | ld-linux*.so.*) ;;
    *) fault "$shared: needs $library" ;;
    esac
done
nm -D --defined-only "$shared" | awk '{ print $NF }' | sed 's/@.*//' | grep -v '^dunlin_' |
    sed "s|^|$shared: exports |" >>"$faults"
nm -g --defined-only "$static" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -v '^dunlin_' |
    sed "s|^|$static: has the global name |" >>"$faults"
grep -oE '\bdunlin_[a-z_]+\(' "$header" | tr -d '(' | sort -u | while read -r name; do
    nm -D --defined-only "$shared" | grep -qE " T $name(@|\$)" ||
        fault "$header: declares $name, which $shared does not export"
done
verdict
