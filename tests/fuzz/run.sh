#!/bin/sh
# Runs one fuzzer for a time: run.sh TARGET SECONDS CORPUS. New inputs and what broke it stay beside
# the target, in TARGET.inputs and TARGET.found-*; the corpus in the tree is only read.
set -eu
target=$1
seconds=$2
corpus=$3
mkdir -p "$target.inputs"
set -- "$target.inputs"
[ ! -d "$corpus" ] || set -- "$@" "$corpus"
# Why the exit code: that of libFuzzer means "skipped" to who runs tests.
exec "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -error_exitcode=1 -timeout_exitcode=1 \
    -artifact_prefix="$target.found-" "$@"
