#!/usr/bin/env bash
# An agent of another uid does all the harm it can think of, while a good one beside it must not notice:
# see hostile.h.
#
#   hostile.sh BUILD [SEED [CASE...]]      CASE: a part of the name of a case, as the table prints it
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
shift
need_root

chmod 0711 "$scratch"
{
    config_head 0666 2
    space shared 1 8 32MiB 'sessions: 4096' 'read: any' 'write: any'
    space secret 2 4 16MiB
    space flood 3 2 16MiB 'sessions: 4096' 'session_ttl: 1s' 'read: any' 'write: any'
} >"$config"
run "$programs/hostile" "$dunlind" "$config" "$scratch" "$@"
finish $?
