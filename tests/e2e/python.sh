#!/usr/bin/env bash
# The Python module: as it is installed, by its example and README.md's, then by python_test.py.
#
#   python.sh BUILD [TEST...]    TEST: what unittest takes, e.g. OneNode.test_delete
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
shift

command -v python3 >/dev/null || skip "no python3 here"
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1 # nothing is to be left in the tree
export TMPDIR=$scratch

# says REGEX: in the output of the last program.
says() {
    grep -qE -- "$1" "$scratch/said" && return
    fault "it does not say '$1'"
    sed 's/^/      /' "$scratch/said"
}

# expect STATUS PROGRAM ARGUMENT...: how it ends; what it says goes to $scratch/said.
expect() {
    local wanted=$1 status
    shift
    run "$@" >"$scratch/said" 2>&1
    status=$?
    [ $status -eq "$wanted" ] && return
    fault "exit $status instead of $wanted: $*"
    sed 's/^/      /' "$scratch/said"
}

# ---- as it is installed ----------------------------------------------------------------------

DESTDIR=$scratch/stage meson install -C "$build" --no-rebuild --quiet >"$scratch/said" 2>&1 || {
    cat "$scratch/said"
    finish 1
}
library=$(find "$scratch/stage" -name libdunlin.so.0)
example=$(find "$scratch/stage" -path '*/share/dunlin/python/example.py')
if [ -z "$library" ] || [ ! -x "$example" ]; then
    echo "it is not installed"
    finish 1
fi
PYTHONPATH=$(dirname "$example")
export PYTHONPATH

# Why setpriv: should this script be killed, nobody else would end the daemon.
setpriv --pdeathsig KILL "$dunlind" dev --nodes 1 --dir "$scratch/nest" >"$scratch/ready" 2>"$log" &
daemon=$!
children+=("$daemon")
for _ in $(seq 1 400); do
    grep -qx ready "$scratch/ready" && break
    sleep 0.05
done
DUNLIN_SOCKET=$(sed -n 's/^node 1 socket //p' "$scratch/ready")
export DUNLIN_SOCKET

export DUNLIN_LIBRARY=$scratch/none
expect 1 "$example"
says "LibraryNotFound.*$scratch/none"
unset DUNLIN_LIBRARY
# Found by the loader; then beside the module.
expect 0 env LD_LIBRARY_PATH="$(dirname "$library")" "$example" sector drone-1
says '^drone-1 claimed sector at version [0-9]+\.[0-9]+$'
says '^sector is held by drone-1 at version'
says '^drone-8 came too late: version'
says '^drone-1 gave sector back; [0-9]+ read in place'
cp "$library" "$PYTHONPATH"
"$dunlin" put airspace sector drone-9 >/dev/null || fault "put fails"
expect 1 "$example" sector drone-1
says '^sector is taken, by drone-9, at version'

awk '/^```python$/ { on = 1; next } /^```$/ { on = 0 } on' "$root/README.md" >"$scratch/readme.py"
expect 0 python3 "$scratch/readme.py"
says '^claimed at version [0-9]+\.[0-9]+$'
says '^held by drone-7$'
expect 0 python3 "$scratch/readme.py"
says '^somebody else was first, at version [0-9]+\.[0-9]+$'

kill -TERM "$daemon"
wait "$daemon" || fault "the daemon ended with status $?"
expect 3 "$example"
says 'is dunlind running'
unset DUNLIN_SOCKET

# ---- every call --------------------------------------------------------------------------------

export DUNLIN_LIBRARY=$library DUNLIN_TEST_DUNLIND=$dunlind DUNLIN_TEST_SCRATCH=$scratch/test
mkdir "$DUNLIN_TEST_SCRATCH"
log=$DUNLIN_TEST_SCRATCH/dunlind.log
run python3 -W error "$root/tests/e2e/python_test.py" "$@" || fault "python_test.py"

[ $faults -eq 0 ]
finish $?
