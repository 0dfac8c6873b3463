#!/usr/bin/env bash
# order.sh ROOT: a pass of the simulator has the steps of the poll loop, by name and in order.
#
# The poll loop is an edge that the simulator cannot link, so it mirrors what stands there: the calls of
# poll_pass, and that a board is shown before what a step says is sent.  That boards and cells are shown
# before a frame leaves is one function, boards_frame, which both call.
set -u
loop=$1/dataplane/poll.c
cluster=$1/dataplane/poll_cluster.c
mirror=$1/tests/sim/sim_pass.c
faults=0

# Body of a function of a file.
body() { sed -n "/^[a-z].*[ *]$2(/,/^}/p" "$1"; }
# Which of some words begin something in the text on stdin, a line each, in its order.
order() { grep -oE "\b($(
    IFS='|'
    echo "$*"
))( =|\()" | tr -d ' (='; }

# same TEXT EXPECTED WHAT
same() {
    [ -n "$1" ] && [ "$1" = "$2" ] && return
    printf '%s: expected\n%s\nfound\n%s\n' "$3" "$2" "$1"
    faults=$((faults + 1))
}

stages=$(sed -n '/^} stages\[\] = {/,/^};/ s/.*{"\([a-z_]*\)".*/\1/p' "$mirror")
mapfile -t names <<<"$stages"
same "$(body "$loop" poll_pass | order "${names[@]}")" "$stages" "poll_pass of $loop"
same "$(body "$loop" poll_pass | order poll_commit now_late poll_answers)" \
    $'poll_commit\nnow_late\npoll_answers' "clock of poll_pass of $loop"
# How messages and frames are sent is the transport's; that they are sent after is what counts.
for file in "$cluster" "$mirror"; do
    same "$(body "$file" update_send | order board_show message_send datagram_make datagrams_send | head -1)" \
        board_show "update_send of $file"
done
same "$(body "$cluster" poll_cluster_flush | order boards_frame group_frame group_settle group_rest)" \
    $'boards_frame\ngroup_settle\ngroup_rest' "poll_cluster_flush of $cluster"
same "$(body "$mirror" frames | order boards_frame group_frame group_settle group_rest)" \
    $'boards_frame\ngroup_settle\ngroup_rest' "frames of $mirror"
# What rides on bytes that leave anyhow is looked at when all of them are known.
same "$(body "$cluster" poll_cluster_decide | order decide replica_rides)" \
    $'decide\nreplica_rides\ndecide' "poll_cluster_decide of $cluster"
same "$(body "$mirror" decide | order decide_one replica_rides)" \
    $'decide_one\nreplica_rides\ndecide_one' "decide of $mirror"
exit $((faults != 0))
