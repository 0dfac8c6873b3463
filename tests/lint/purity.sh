#!/bin/sh
# Pure cores do no I/O, read no clock, allocate nothing: `purity.sh BUILD` looks at what the objects of
# the pure libraries (lib*_pure.a) take from outside. `purity.sh BUILD ARCHIVE...` looks at those.
[ $# -ge 1 ] || { echo "usage: purity.sh BUILD [ARCHIVE...]" >&2; exit 2; }
build=$1
shift
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(find "$build" -name 'lib*_pure.a' | sort)
if [ $# -eq 0 ]; then
    echo "no pure library in $build"
    exit 1
fi

# What they may take: memory and strings, ISA-L's checksum, the failed assert, the planted bug, what
# the compiler itself adds.
allowed='mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|chr)|__mem(cpy|move|set)_chk|crc32_iscsi|(__)?explicit_bzero(_chk)?
|base_assert_failed|plant_active|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__u?(div|mod)ti3
|__(a|t|ub|h|l)san_.*|__sanitizer_.*|__tls_get_addr'
allowed=$(printf '%s' "$allowed" | tr -d '\n')

own=$(mktemp) || exit 2
trap 'rm -f "$faults" "$own"' EXIT
nm --defined-only -g "$@" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$own"
for archive in "$@"; do
    # Meson's archives are thin: nm names the member by its path.
    nm -u -A "$archive" 2>/dev/null | awk '{ print $(NF - 2), $NF }' | sort -u |
        while read -r where symbol; do
            echo "$symbol" | grep -qxE "$allowed" && continue
            grep -qxF "$symbol" "$own" && continue
            fault "$where takes $symbol: not for a pure core"
        done
done
verdict
