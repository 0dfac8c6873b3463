# shellcheck shell=sh
# common - what the lint checks share. A check is `check.sh ROOT [BUILD]`: it prints each fault as
# `file:line: what`, and ends by 0 without faults, 1 with some, 2 when it could not look.
# Each check has a bad sample in selftest.sh.
export LC_ALL=C
lint_name=$(basename "$0")
faults=$(mktemp) || exit 2
trap 'rm -f "$faults"' EXIT
trap 'exit 1' INT TERM HUP

# arguments NAMES "$@": as many arguments as names, or usage and exit 2.
arguments() {
    names=$1
    shift
    # shellcheck disable=SC2086
    [ $# -eq "$(set -- $names && echo $#)" ] && return
    echo "usage: $lint_name $names" >&2
    exit 2
}

# sources PATTERN...: the files under the source directories of the current directory, by name.
sources() {
    for pattern in "$@"; do
        for dir in engine dataplane control bench tests; do
            [ ! -d "$dir" ] || find "$dir" -type f -name "$pattern"
        done
    done | sort
}

# Why a file: the last stage of a pipe, where most faults are found, cannot set a variable of ours.
fault() { echo "$*" >>"$faults"; }

verdict() {
    cat "$faults"
    [ ! -s "$faults" ]
    exit
}
