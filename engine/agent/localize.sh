#!/bin/sh
# Makes of an archive one whose only global names are the exported ones: localize.sh IN.a OUT.o OUT.a
# Why: a static library brings all its global names into a user's program, where ring_take or checksum
# may well exist already. What is hidden in the shared library becomes local in the static one.
set -eu
ld -r -o "$2" --whole-archive "$1"
objcopy --localize-hidden "$2"
rm -f "$3"
ar rcs "$3" "$2"
