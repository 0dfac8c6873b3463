# shellcheck shell=bash
# common - what the tests of the guest share. Sourced by them; each gets the build directory as $1.
#
# A test is one file that runs twice: here, where it only asks for its guest, and in the guest, where it goes
# on. There it says a line for each thing looked at, `ok` or `FAIL`, and ends by `verdict`.
#
#   in_guest OPTION...      those of run-in-guest.sh; on this machine it does not return
#   check WHAT COMMAND...   a fault, and 1, unless it succeeds
#   said WHAT FILE REGEX    a fault unless a line of the file matches; then with its end
#   verdict                 ends the test
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $(basename "$0") BUILD" >&2; exit 2; }
build=$(cd "$1" && pwd) || exit 2
faults=0

in_guest() {
    [ -z "${DUNLIN_GUEST:-}" ] || return 0
    exec "$here/run-in-guest.sh" "$@" "$here/$(basename "$0")" "$build"
}

fault() {
    echo "FAIL  $*"
    faults=$((faults + 1))
}

check() {
    local what=$1
    shift
    if "$@"; then
        echo "ok    $what"
    else
        fault "$what ($*)"
        return 1
    fi
}

said() {
    if grep -qE -- "$3" "$2"; then
        echo "ok    $1"
    else
        fault "$1: no line like $3 in:"
        tail -n 30 "$2" | sed 's/^/        /'
    fi
}

verdict() {
    [ $faults -eq 0 ] && echo "all as it should be" || echo "$faults faults"
    [ $faults -eq 0 ]
    exit
}
