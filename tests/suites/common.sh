# shellcheck shell=bash
# common - what the suites of tests/run.sh share: jobs, reports, the closing line. Sourced by it.
#
# A job is one command in a session of its own, so that it can be ended with all that it started, and
# nothing else. There is one job at a time; when run.sh is interrupted the job gets SIGTERM, fifteen
# seconds to clean up, then SIGKILL.

passed=0
failed=0
skipped=0
job_pid=

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# seconds_since START_MS: with two decimals, for people.
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%02d' $((ms / 1000)) $((ms % 1000 / 10))
}

# report ok|FAIL|skip SUITE NAME SECONDS [REASON]: counts a test, once, and prints its line.
report() {
    case "$1" in
    ok) passed=$((passed + 1)) ;;
    skip) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
    printf '%-4s  %-8s %-40s %8s s%s\n' "$1" "$2" "$3" "$4" "${5:+  ($5)}"
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# Processes of the job's session, one a line. Why not by kill -0: a zombie that waits for init to
# fetch it is not at work any more.
job_members() {
    [ -z "$job_pid" ] || ps -o pid=,stat= -s "$job_pid" | awk '$2 !~ /^Z/ { print $1 }'
}

# job_is_over_within SECONDS [PID]: waits for the job's session to be empty, or for one process of it.
job_is_over_within() {
    local tries=$(($1 * 10))
    while job_members | grep -q "${2:+^$2\$}"; do
        [ $tries -gt 0 ] || return 1
        sleep 0.1
        tries=$((tries - 1))
    done
}

# End what is left of the job. Why the first process alone at first: it ends what it started, in its
# own order, and a script that is told twice might not get to the end of its cleaning up.
job_stop() {
    job_is_over_within 0 && return 0
    kill -TERM "$job_pid" 2>/dev/null && job_is_over_within 15 "$job_pid"
    job_members | xargs -r kill -TERM 2>/dev/null
    job_is_over_within 5 || job_members | xargs -r kill -KILL 2>/dev/null
    return 0
}

interrupted() {
    trap '' INT TERM HUP
    job_stop
    echo "interrupted" >&2
    echo "$passed passed, $failed failed, $skipped skipped"
    exit "$1"
}
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
trap 'interrupted 129' HUP

# job_start LOG COMMAND...: runs it without stdin, its output in LOG; job_wait returns its exit status.
# Why not in the foreground: bash would run a trap only when the command has ended.
job_start() {
    local log=$1
    shift
    : >"$log" # Why here: meson_results may look before the job has made it.
    setsid -- "$@" >"$log" 2>&1 </dev/null 8>&- &
    job_pid=$!
}

job_wait() { wait "$job_pid"; }

job_run() {
    job_start "$@"
    job_wait
}

# show_tail LOG: the end of a failed test's log, indented.
show_tail() {
    tail -n "${2:-40}" "$1" | sed 's/^/        /'
    echo "        -- all of it: $1"
}

# first_fault LOG: what a script says went wrong. Why beside its log: where that is cut, this is still there.
first_fault() { grep -a '^FAIL ' "$1" | head -n 1 | cut -c 6-120; }

# last_line LOG: a reason in a few words.
last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c 1-120; }

# build SUITE FLAVOUR: compiles; a build that fails is one failed test of the suite.
build() {
    local start
    start=$(now_ms)
    if ! job_run "build/logs/$1-build.log" tests/build.sh "$2"; then
        report FAIL "$1" "build of $2" "$(seconds_since "$start")"
        show_tail "build/logs/$1-build.log" 60
        return 1
    fi
}

# script_test SUITE NAME TIMEOUT_S COMMAND...: exit 0 is ok, 77 is skip with the last line as reason.
# What the command leaves running is a failure of its own, and is ended.
script_test() {
    local suite=$1 name=$2 timeout_s=$3
    local log=build/logs/$1-${2//\//-}.log
    local start status fault
    shift 3
    start=$(now_ms)
    job_run "$log" timeout --foreground -k 15 "$timeout_s" "$@"
    status=$?
    # Why a second: what was killed a moment ago may still be on its way out.
    if ! job_is_over_within 1; then
        ps -o pid,args -s "$job_pid" >>"$log" 2>&1
        job_stop
        report FAIL "$suite" "$name" "$(seconds_since "$start")" "left processes running"
        show_tail "$log"
        return 1
    fi
    case $status in
    0) report ok "$suite" "$name" "$(seconds_since "$start")" ;;
    77) report skip "$suite" "$name" "$(seconds_since "$start")" "$(last_line "$log")" ;;
    *)
        [ $status -eq 124 ] && echo "no end after $timeout_s s" >>"$log"
        fault=$(first_fault "$log")
        report FAIL "$suite" "$name" "$(seconds_since "$start")" "status $status${fault:+: $fault}"
        show_tail "$log"
        return 1
        ;;
    esac
}

# meson_results LOG: name, result and seconds of each test, as soon as the job's meson prints its line:
#    1/12 dunlin:unit / engine/log    OK    0.03s
# or, when the build knows a single suite, without "dunlin:unit /".
meson_results() {
    tail -n +1 -f -s 0.2 --pid="$job_pid" "$1" 8>&- | awk '
        /^Summary of Failures:/ { exit }
        $1 ~ /^[0-9]+\/[0-9]+$/ {
            at = $3 == "/" ? 4 : 2
            sub(/s$/, "", $(at + 2))
            print $at, $(at + 1), $(at + 2)
            fflush()
        }'
}

# meson_tests SUITE FLAVOUR MESON_SUITE...: one report per meson test.
meson_tests() {
    local suite=$1 flavour=$2
    local log=build/logs/$1.log
    local start status name result seconds seen=0 bad=0
    local -a only=() prefix=()
    shift 2
    build "$suite" "$flavour" || return 1
    for name in "$@"; do
        only+=(--suite "$name")
    done
    # Why: clang 14's thread sanitizer cannot place its shadow where the kernel randomizes more bits.
    # Some containers do not allow the call; most of those randomize fewer.
    [ "$flavour" = tsan ] && setarch -R true 2>/dev/null && prefix=(setarch -R)
    start=$(now_ms)
    job_start "$log" "${prefix[@]}" meson test -C "build/$flavour" --no-rebuild --print-errorlogs \
        "${only[@]}"
    while read -r name result seconds; do
        seen=$((seen + 1))
        case $result in
        OK) report ok "$suite" "$name" "$seconds" ;;
        SKIP) report skip "$suite" "$name" "$seconds" ;;
        *)
            bad=$((bad + 1))
            report FAIL "$suite" "$name" "$seconds" "$result"
            ;;
        esac
    done < <(meson_results "$log")
    job_wait
    status=$?
    if [ $bad -gt 0 ]; then
        show_tail "$log" 80
    elif [ $status -ne 0 ] || [ $seen -eq 0 ]; then
        report FAIL "$suite" "run of meson test" "$(seconds_since "$start")" "status $status, $seen tests"
        show_tail "$log" 80
    fi
}
