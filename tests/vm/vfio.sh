# shellcheck shell=bash disable=SC2034 # cards is for who sources it
# vfio - the network cards of the guest, given to vfio. Sourced by tests, in the guest.
#
#   cards          [PCI address]: device id, of each Ethernet card
#   cards_of ID    prints the addresses of those that have this device id, in order
#   vfio_bind      has vfio-pci take them; 1 if it took not all
#   vfio_grouped   whether each is in a group of the IOMMU
declare -A cards
for device in /sys/bus/pci/devices/*; do
    [[ $(cat "$device/class") != 0x0200* ]] || cards[${device##*/}]=$(cat "$device/device")
done

cards_of() {
    local address
    for address in "${!cards[@]}"; do
        [ "${cards[$address]}" != "$1" ] || echo "$address"
    done | sort
}

vfio_bind() {
    local address device
    modprobe -a vfio-pci vfio_iommu_type1 || return 1
    for address in "${!cards[@]}"; do
        device=/sys/bus/pci/devices/$address
        [ ! -e "$device/driver" ] || echo "$address" >"$device/driver/unbind"
        echo vfio-pci >"$device/driver_override"
        echo "$address" >/sys/bus/pci/drivers_probe
        [ "$(basename "$(readlink "$device/driver")")" = vfio-pci ] || return 1
    done
}

vfio_grouped() {
    local address
    for address in "${!cards[@]}"; do
        [ -e "/sys/bus/pci/devices/$address/iommu_group" ] || return 1
    done
}
