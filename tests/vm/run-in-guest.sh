#!/usr/bin/env bash
# run-in-guest.sh - boots a throw-away guest that sees the root of this machine (what it writes there is gone
# with it), runs a command in it as root, prints its output, and ends by its exit status.
#
#   run-in-guest.sh [OPTION...] COMMAND [ARGUMENT...]
#     -m MB       memory; 1536                 -t SECONDS  until it must have ended; 120
#     -c N        processors; 2                -k WORDS    more for the kernel's command line
#     -d WORDS    more arguments for qemu, as words      -v  the kernel's log to stderr at the end
#     -w          what the guest writes to its virtio port "monitor" are commands for qemu
#
# The processor is emulated unless DUNLIN_VM_ACCEL=kvm says otherwise; so nothing in it may be measured, and
# nothing built with -march=native runs. In the guest DUNLIN_GUEST is set. Exit: that of the command; 77 where no guest can be had, with the reason as the last
# line; 124 it took too long; 125 the guest died before the command ended; 2 bad usage.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
memory=1536 processors=2 seconds=120 words='' devices='' verbose='' steered=''
accel=${DUNLIN_VM_ACCEL:-tcg,thread=multi}
while getopts m:c:t:k:d:vw option; do
    case $option in
    m) memory=$OPTARG ;;
    c) processors=$OPTARG ;;
    t) seconds=$OPTARG ;;
    k) words=$OPTARG ;;
    d) devices=$OPTARG ;;
    v) verbose=1 ;;
    w) steered=1 ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "usage: run-in-guest.sh [OPTION...] COMMAND [ARGUMENT...]" >&2; exit 2; }

said=$("$here/mk-guest.sh")
status=$?
guest=${said##*$'\n'}
[ $status -eq 0 ] || { echo "$guest"; exit $status; }

job=$(mktemp -d /tmp/dunlin-vm.XXXXXX) || exit 2
pid=
clean_up() {
    trap '' INT TERM HUP
    [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null && wait "$pid"; }
    rm -rf "$job"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

printf 'cd %q && %s\n' "$PWD" "$(printf '%q ' "$@")" >"$job/script"
echo "$guest/modules" >"$job/modules"
cpu=max
[ "${accel%%,*}" = kvm ] && cpu=host
more=()
[ -z "$devices" ] || read -ra more <<<"$devices"
# Why a socket between qemu and itself: a port and a monitor cannot be joined otherwise.
[ -z "$steered" ] || more+=(-chardev "socket,id=monitor,path=$job/monitor,server=on,wait=off" -mon monitor
    -chardev "socket,id=commands,path=$job/monitor" -device "virtserialport,chardev=commands,name=monitor")

# Why no_timer_check: on a busy machine the emulated timer is late, which the kernel takes for a broken one.
kernel="console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable no_timer_check"
# Why: on a busy machine the guest measures this counter, which is the host's, wrongly by a factor, and its time runs
# so. Not where the frequency varies: what is said there is not the counter's.
khz=$(awk '/^cpu MHz/ { printf "%.0f", $4 * 1000; exit }' /proc/cpuinfo)
[ "${accel%%,*}" = kvm ] || [ -d /sys/devices/system/cpu/cpu0/cpufreq ] || [ -z "$khz" ] ||
    kernel+=" tsc_early_khz=$khz"

# Why a pipe that stays open: qemu closes the port of the output when its input ends.
mkfifo "$job/input"
exec 9<>"$job/input"
# Why twice setpriv: qemu goes with this script, whatever happens to it.
setpriv --pdeathsig TERM timeout -k 3 "$seconds" setpriv --pdeathsig KILL nice qemu-system-x86_64 \
    -accel "$accel" -cpu "$cpu" -M q35 -smp "$processors" -m "$memory" \
    -nodefaults -no-user-config -display none -no-reboot -monitor none \
    -kernel "$guest/vmlinux" -initrd "$guest/initramfs" -serial "file:$job/kernel.log" \
    -append "$kernel $words" \
    -chardev stdio,id=output,signal=off -device virtio-serial-pci \
    -device virtserialport,chardev=output,name=output \
    -fsdev local,id=hostroot,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=hostroot,mount_tag=hostroot \
    -fsdev local,id=job,path="$job",security_model=none -device virtio-9p-pci,fsdev=job,mount_tag=job \
    "${more[@]}" <&9 2>"$job/qemu.log" &
pid=$!
wait "$pid"
ended=$?
pid=

[ -z "$verbose" ] || { echo "-- shell after $(cat "$job/boot") s" && cat "$job/kernel.log"; } >&2
if [ -s "$job/status" ]; then
    exit "$(cat "$job/status")"
fi
grep -v "TCG doesn't support requested feature" "$job/qemu.log"
echo "-- the end of the kernel's log:"
tail -n 25 "$job/kernel.log"
[ -s "$job/boot" ] || echo "the guest never came so far as to run the command"
if [ $ended -eq 124 ] || [ $ended -eq 137 ]; then
    echo "the guest did not end within $seconds s"
    exit 124
fi
echo "the guest died: qemu ended by $ended"
exit 125
