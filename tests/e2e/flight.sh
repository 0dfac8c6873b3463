# shellcheck shell=bash disable=SC2154 # those of cluster.sh
# flight - a fleet over a cluster of three whose leader dies by kill -9 and comes back. To be sourced after cluster.sh.
#
#   flight KIND1 KIND2 KIND3     what nodes use: see transports
#   flap n AT                    the cable of what n drives is out for a second; seen at node AT. To be said by the
#                                script: cable n down|up
#
# Settings: flight_seconds, that the fleet flies; where its leader takes longer than that to come back, the flight is
# done again with twice as many; flight_options, more of the fleet's.
flight_seconds=8
flight_options=()

flight() {
    local n seconds=$flight_seconds
    for n in 1 2 3; do
        # shellcheck disable=SC2034 # of cluster.sh
        transports[n]=${!n}
    done
    until flight_of "$seconds"; do
        seconds=$((2 * seconds))
        told "the leader was back too late for the fleet; once more, with $seconds s"
        [ $seconds -le 640 ] || { fault "no flight was long enough"; return; }
    done
    for n in 1 2 3; do
        check "node $n refused no frame of another cluster" [ "$(status "$n" frames_other_cluster)" = 0 ]
    done
}

# flight_of SECONDS: 1 if it was about to end before the leader was back.
flight_of() {
    local how=may-fail begun
    cluster_end
    cluster_begin
    cluster_move 3
    told "all serve"
    begun=$(now_ms)
    fleet_start "$1" 2 "${flight_options[@]}"
    agent_start there --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[1]}"
    agent_goes_on there w.done
    told "fleet and agent are at work"
    cluster_kill 3
    sleep 1
    cluster_start 3
    cluster_ready 3
    told "it serves again"
    await "$patience" "all shards active" is_active 1
    # Why two seconds: all leaderships move in the last one.
    [ $(($(now_ms) - begun)) -lt $((($1 - 2) * 1000)) ] || how=cut-short
    caught_up 3 "$(committed 1)"
    told "it caught up after $took_ms ms"
    agent_goes_on there w.done
    agent_goes_on there r0.done
    agent_end there
    fleet_end $how
    [ $how = may-fail ]
}

flap() {
    cable "$1" down
    await "$patience" "node $1 is heard no more" is_down "$2" "$1"
    sleep 1
    cable "$1" up
    await "$patience" "node $1 is heard again" is_up "$2" "$1"
    told "cable out and in again, heard after $took_ms ms"
    await "$patience" "all shards active" is_active "$2"
    caught_up "$1" "$(committed "$2")"
}
