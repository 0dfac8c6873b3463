#!/usr/bin/env bash
# A small space is filled, emptied and overwritten many times, agents come and go, a large one shrinks: see memory.c.
#
#   memory.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
shift

{
    config_head
    space small 1 4 8MiB
} >"$config"
run "$programs/memory" "$dunlind" "$config" "$scratch"
finish $?
