#!/usr/bin/env bash
# The short form of tests/soak/soak.sh.
#
#   soak.sh BUILD
DUNLIN_SOAK_SECONDS=30 exec "$(dirname "$0")/../soak/soak.sh" "$@"
