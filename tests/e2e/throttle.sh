#!/usr/bin/env bash
# A rogue that floods takes no more than its rate from others: throttle.c.
#
#   throttle.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
need_root

{
    config_head 0666
    space things 1 1 16MiB 'read: any' 'write: any'
} >"$scratch/free.yaml"
sed 's/^spaces:/agents: {rate: 1000, burst: 64}\nspaces:/' "$scratch/free.yaml" >"$config"
chmod 711 "$scratch" # the stranger reaches the socket

run "$programs/throttle" "$dunlind" "$config" "$scratch/free.yaml" "$socket" "$log"
finish $?
