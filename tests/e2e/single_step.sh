#!/usr/bin/env bash
# An agent (of another uid, as root) dies at every instruction of a call; nobody else notices: see
# single_step.c.
#
#   single_step.sh BUILD [SEED [SECONDS]]
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
shift

chmod 0711 "$scratch"
{
    config_head 0666
    # Why so short: each of thousands of dead leaves a session behind.
    space shared 1 4 16MiB 'sessions: 4096' 'session_ttl: 5s' 'read: any' 'write: any'
} >"$config"
run "$programs/single_step" "$dunlind" "$config" "$scratch" "$@"
finish $?
