#!/usr/bin/env bash
# The daemon is killed, frozen and restarted under a hundred agents: see daemon_killed.c.
#
#   daemon_killed.sh BUILD [AGENTS]
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
shift

{
    config_head
    space fleet 1 8 32MiB
} >"$config"
run "$programs/daemon_killed" "$dunlind" "$config" "$scratch" "$@"
finish $?
