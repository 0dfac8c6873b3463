# shellcheck shell=bash
# By name only: each tests/vm/*.test.sh in a throw-away guest of its own, with network cards, an IOMMU and RDMA
# that this machine need not have.
suite_vm() {
    local script
    if ! tests/install.sh vm >build/logs/vm-install.log 2>&1; then
        report skip vm guest 0 "$(last_line build/logs/vm-install.log)"
        return
    fi
    build vm plain || return 1
    for script in tests/vm/*.test.sh; do
        script_test vm "$(basename "$script" .test.sh)" 1600 "$script" "$PWD/build/plain"
    done
}
