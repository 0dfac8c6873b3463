# shellcheck shell=bash disable=SC2154 # those of common.sh
# expect - command lines and what they are to say. Sourced after common.sh, by a script that counts what went
# wrong: $checks were made, $faults of them failed.

out=$scratch/out
err=$scratch/err
checks=0

fault_details() {
    sed 's/^/      out: /' "$out" | head -n 5
    sed 's/^/      err: /' "$err" | head -n 5
}

# expect STATUS COMMAND...: its exit status; a failure says why on stderr, a success says nothing there.
expect() {
    local wanted=$1 status
    shift
    checks=$((checks + 1))
    "$@" >"$out" 2>"$err"
    status=$?
    if [ "$status" -ne "$wanted" ]; then
        fault "exit $status instead of $wanted: $*"
    elif [ "$wanted" -ne 0 ] && ! grep -q '[a-z]' "$err"; then
        fault "exit $wanted and not a word why: $*"
    elif [ "$wanted" -eq 0 ] && [ -s "$err" ]; then
        fault "words on stderr although it went well: $*"
    fi
}

# says REGEX, complains REGEX: what the last command wrote to stdout, to stderr.
says() {
    checks=$((checks + 1))
    grep -qE -- "$1" "$out" || fault "stdout does not say '$1'"
}
complains() {
    checks=$((checks + 1))
    grep -qiE -- "$1" "$err" || fault "stderr does not say '$1'"
}
# prints TEXT: exactly this on stdout.
prints() {
    checks=$((checks + 1))
    [ "$(cat "$out")" = "$1" ] || fault "stdout is not '$1'"
}
# same FILE: the bytes on stdout are those of the file.
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$out" || fault "stdout is not the content of $1"
}

d() { "$dunlin" --socket "$socket" "$@"; }
bytes() { head -c "$1" /dev/zero | tr '\0' "${2:-x}"; }

daemon=
daemon_start() {
    : >"$scratch/ready"
    # Why setpriv: should this script be killed, nobody else would end the daemon.
    setpriv --pdeathsig KILL "$dunlind" --config "$config" >"$scratch/ready" 2>>"$log" &
    daemon=$!
    children+=("$daemon")
    for _ in $(seq 1 200); do
        grep -q '^ready$' "$scratch/ready" && return
        sleep 0.05
    done
    echo "the daemon is not ready"
    finish 2
}
daemon_stop() {
    kill -CONT "$daemon"
    kill -TERM "$daemon"
    wait "$daemon"
    local status=$?
    [ $status -eq 0 ] || fault "the daemon ended with status $status on SIGTERM"
    [ ! -e "$socket" ] || fault "the daemon left its socket behind"
}
