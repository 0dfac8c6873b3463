# shellcheck shell=bash
# common - what the tests of the guest share. Sourced by them; each gets the build directory as $1.
#
# A test is one file that runs twice: here, where it only asks for its guest, and in the guest, where it goes
# on. There it says a line for each thing looked at, `ok` or `FAIL`, and ends by `verdict`.
#
#   in_guest OPTION...      those of run-in-guest.sh; on this machine it does not return
#   iommu_cards COUNT       prints options of qemu for it: an IOMMU, and so many cards of virtio-net, on a hub of
#                           their own, and of e1000, on another; netdev hHUB.CARD, each counted from 1
#   monitor WORD...         tells it to qemu; where in_guest was given -w
#   check WHAT COMMAND...   a fault, and 1, unless it succeeds
#   said WHAT FILE REGEX    a fault unless a line of the file matches; then with its end
#   verdict                 ends the test
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $(basename "$0") BUILD" >&2; exit 2; }
build=$(cd "$1" && pwd) || exit 2
faults=0
arguments=("${@:2}")

in_guest() {
    [ -z "${DUNLIN_GUEST:-}" ] || return 0
    exec "$here/run-in-guest.sh" "$@" "$here/$(basename "$0")" "$build" "${arguments[@]}"
}

fault() {
    echo "FAIL  $*"
    faults=$((faults + 1))
}

# Why platform: only then does a virtio card keep to the IOMMU. Why 48 bits: the 39 it has else do not reach
# the log's memory.
iommu_cards() {
    local kind hub=0 card
    printf '%s' "-device intel-iommu,aw-bits=48"
    for kind in virtio-net-pci,iommu_platform=on,disable-legacy=on e1000; do
        hub=$((hub + 1))
        for ((card = 1; card <= $1; card++)); do
            printf ' %s' "-netdev hubport,id=h$hub.$card,hubid=$hub -device $kind,netdev=h$hub.$card"
        done
    done
}

monitor() {
    local port
    for port in /sys/class/virtio-ports/vport*; do
        [ "$(cat "$port/name")" != monitor ] || echo "$*" >"/dev/${port##*/}"
    done
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
