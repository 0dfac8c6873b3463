#!/usr/bin/env bash
# rdma_doctor.test.sh BUILD - what `dunlin doctor` says of a machine without an RDMA device, of one that has it in
# software, and after each command that it names.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 300
dunlin=$build/control/dunlin

# doctor: its findings in /tmp/doctor.
doctor() { "$dunlin" doctor --config /tmp/dunlind.yaml >/tmp/doctor 2>&1; }

# mend FINDING: carries out the command that stands below it, and looks again.
mend() {
    local command
    command=$(grep -A 2 -E "^(warning|fault) +$1" /tmp/doctor | sed -n 's/^ *mend: //p' | head -n 1)
    [ -n "$command" ] || { fault "nothing mends $1"; return 1; }
    echo "      $command"
    bash -c "$command" || fault "$command"
    doctor
}

cat >/tmp/dunlind.yaml <<END
node: {name: roost, id: 1}
cluster:
  name: flock
  transport: rdma
  encrypt: false
  control: {directory: /tmp/c, certificate: /tmp/crt, key: /tmp/key, authority: /tmp/ca}
  nodes: [{id: 1, address: 10.99.0.1:7700}, {id: 2, address: 10.99.0.2:7700}]
spaces: [{name: s, id: 1, quota: 64MiB}]
END
ulimit -l 8192
modprobe veth
ip link add va type veth peer name vb && ip link set vb up && ip link set va up && ip route add 10.99.0.2 dev va

doctor
check "something is at fault" test $? -eq 1
said "there is no device" /tmp/doctor '^fault +rdma_device: there is none:'
said "nor what is used to have one" /tmp/doctor '^fault +rdma_modules: neither'
said "too little may be locked" /tmp/doctor '^fault +memlock: 8\.0 MiB'

mend rdma_device
said "a device that has not the address" /tmp/doctor '^fault +rdma_device: none of 1 has 10\.99\.0\.1,'
mend rdma_modules
said "modules are there" /tmp/doctor '^ok +rdma_modules:'
mend rdma_device
said "the device has the address" /tmp/doctor '^ok +rdma_device rxe0: port 1, Ethernet, has 10\.99\.0\.1$'
said "as one of RoCE v2" /tmp/doctor '^ok +rdma_gid rxe0: RoCE v2 for 10\.99\.0\.1$'
said "its port is up" /tmp/doctor '^ok +rdma_port rxe0: ACTIVE$'
said "its packets are short" /tmp/doctor '^warning +rdma_mtu rxe0: packets carry 1024, of an MTU of 1500 at va$'
ip link set vb mtu 4200
mend rdma_mtu
said "they are long" /tmp/doctor '^ok +rdma_mtu rxe0: packets carry 4096, of an MTU of 4192 at va$'
ibv_devinfo -d rxe0 >/tmp/info 2>&1
said "so the device says" /tmp/info 'active_mtu:[[:space:]]+4096'
ip link set va down
doctor
said "its port is down" /tmp/doctor '^fault +rdma_port rxe0: DOWN$'
mend rdma_port
said "and up again" /tmp/doctor '^ok +rdma_port rxe0: ACTIVE$'
# Why not v1 as well: the device has none, and refuses it.
check "settings of connections" mount -t configfs configfs /sys/kernel/config
mkdir /sys/kernel/config/rdma_cm/rxe0
said "they are made over v2" /sys/kernel/config/rdma_cm/rxe0/ports/1/default_roce_mode '^RoCE v2$'
doctor
said "which is well" /tmp/doctor '^ok +rdma_gid rxe0: RoCE v2 for 10\.99\.0\.1$'
ulimit -l unlimited
doctor
check "nothing is at fault" test $? -eq 0
verdict
