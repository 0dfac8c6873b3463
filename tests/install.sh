#!/usr/bin/env bash
# Installs the Debian packages that this project needs and that are missing; the only script that does.
#
#   tests/install.sh [build|test|bench|vm]...
#
#   build  compiler, meson and libraries: what bench/demo.sh needs
#   test   clang and its tools: what tests/run.sh needs beyond that
#   bench  what dunlin-bench holds itself against beyond that; without it those rows say "skipped"
#   vm     the guest of `tests/run.sh vm`, and what its tests run in it beyond that
#
# Without an argument: all but vm. Works as root or through sudo; does nothing, and asks the network
# nothing, when all is there. Exit 0 when all is there, 1 when it cannot be had, 2 on bad usage.
set -eu
export LC_ALL=C

build_packages=(
    gcc libc6-dev meson ninja-build pkg-config
    liburcu-dev libxxhash-dev libisal-dev    # engine
    libssl-dev libipsec-mb-dev               # frames between servers
    libuv1-dev libjansson-dev libraft-dev    # control plane
    libcyaml-dev libyaml-dev                 # configuration
    libncurses-dev                           # dunlin top
    zlib1g-dev                               # compressed recordings
    libcunit1-dev                            # tests; part of every build
    libdpdk-dev                              # frames past the kernel
    libibverbs-dev librdmacm-dev             # memory of other nodes, past the kernel
    liblmdb-dev                              # a baseline of the benchmarks
    procps                                   # ps, for the demo's table
)
test_packages=(
    g++                                      # the public header compiles as C++
    python3                                  # the Python module and its example
    clang clang-format clang-tidy libclang-rt-dev
    shellcheck git
    iproute2 nftables ethtool                # networks of their own for real processes
)
bench_packages=(
    redis-tools                              # has the server, but unlike redis-server starts none
)
vm_packages=(
    qemu-system-x86 busybox-static kmod cpio python3
    dpdk-dev                                 # dpdk-testpmd
    rdma-core ibverbs-providers ibverbs-utils perftest
)

wanted=()
[ $# -gt 0 ] || set -- build test bench
for group in "$@"; do
    case "$group" in
    build) wanted+=("${build_packages[@]}") ;;
    test) wanted+=("${test_packages[@]}") ;;
    bench) wanted+=("${bench_packages[@]}") ;;
    vm) wanted+=("${vm_packages[@]}") ;;
    *)
        echo "install.sh: unknown group '$group'; groups: build test bench vm" >&2
        exit 2
        ;;
    esac
done

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | sort -u)" = installed ]
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install.sh: this is not a Debian system; install by hand what matches: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install.sh: missing: ${missing[*]}" >&2
        echo "install.sh: run it as root, or install sudo" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Why the lock timeout: on a fresh machine the unattended upgrade often holds the lock for a minute.
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

echo "installing: ${missing[*]}"
# Why a failed update is no end: another source of the system may be broken and ours still work.
apt update || echo "install.sh: apt-get update failed; trying with the lists that are there" >&2
if ! apt install --no-install-recommends "${missing[@]}"; then
    echo "install.sh: apt-get failed; missing: ${missing[*]}" >&2
    exit 1
fi
