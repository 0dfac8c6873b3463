#!/bin/sh
# Words that do not belong in the tree: unfinished business, memory models that are none, orders of
# atomics left to the default, paths of somebody's machine.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2


# Why these two are left out: they have to spell the words.
texts() {
    { sources '*'; ls meson.build meson_options.txt README.md .ci/run 2>/dev/null; } |
        grep -vE '^tests/lint/(words|selftest)\.sh$|\.(gz|bin|png)$|^tests/fuzz/corpus/'
}

# look WHAT REGEX: in every text, comments included.
look() { texts | xargs -r grep -nIE -- "$2" | sed "s|\$|  -- $1|" >>"$faults"; }

# look_code WHAT REGEX: in C with its comments blanked out, strings kept.
look_code() {
    sources '*.c' '*.h' | xargs -r awk -v regex="$2" -v what="$1" '
        FNR == 1 { inside = 0 }
        {
            rest = $0; code = ""
            while (rest != "") {
                if (inside) {
                    at = index(rest, "*/")
                    if (at == 0) break
                    inside = 0; rest = substr(rest, at + 2); continue
                }
                block = index(rest, "/*"); line = index(rest, "//")
                if (line > 0 && (block == 0 || line < block)) { code = code substr(rest, 1, line - 1); break }
                if (block == 0) { code = code rest; break }
                code = code substr(rest, 1, block - 1) " "; inside = 1; rest = substr(rest, block + 2)
            }
            # Why asm may be volatile: there it qualifies no object, it keeps the instruction.
            gsub(/asm(__)?[ \t]+(__)?volatile(__)?/, "asm", code)
            if (code ~ regex) print FILENAME ":" FNR ": " $0 "  -- " what
        }' >>"$faults"
}

look 'unfinished: do it, or open an issue' '(^|[^A-Za-z0-9_])(TODO|FIXME|XXX|HACK)([^A-Za-z0-9_]|$)'
look 'a path of one machine' '(^|[^A-Za-z0-9_])/(work|farm)/|/tmp/(brief|build-)|/home/[a-z]'
look_code 'volatile is no memory model' '(^|[^A-Za-z0-9_])volatile([^A-Za-z0-9_]|$)'
look_code 'say the memory order: _explicit' \
    '(^|[^A-Za-z0-9_])atomic_(load|store|exchange|compare_exchange_strong|compare_exchange_weak|fetch_add|fetch_sub|fetch_or|fetch_xor|fetch_and|flag_test_and_set|flag_clear)[ \t]*\('
look_code 'C11 atomics instead' '(^|[^A-Za-z0-9_])__sync_[a-z]'
verdict
