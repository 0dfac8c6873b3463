#!/usr/bin/env bash
# mk-guest.sh - makes what the guest of tests/vm boots: Debian's kernel, its modules, a small initramfs.
#
#   mk-guest.sh        prints the directory of it; makes it if it is not there yet
#
# It is kept, by the name of the kernel's package, in $XDG_CACHE_HOME/dunlin/vm, or in build/vm where that is
# not set. Nothing is installed. Exit 0; 77 with the reason as the last line where it cannot be had; 1.
set -eu
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin # depmod and modprobe are there, for whoever is not root
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:+$XDG_CACHE_HOME/dunlin/vm}
cache=${cache:-$here/../../build/vm}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd -P) # its own name: the guest has another root while it mounts

cannot() {
    echo "no guest: $*"
    exit 77
}

[ "$(uname -m)" = x86_64 ] || cannot "it is made for x86-64"
for program in qemu-system-x86_64 busybox depmod cpio python3 setpriv; do
    command -v "$program" >/dev/null || cannot "$program is missing; tests/install.sh vm"
done

# Why twice: two runs may make it at once, and most find it made.
exec 9>"$cache/lock"
flock 9

package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
# Why: without lists of packages, what was made from older ones still serves.
[ -n "$package" ] || package=$(find "$cache" -mindepth 2 -maxdepth 2 -name made -printf '%T@ %h\n' |
    sort -n | sed -n '$s|.*/||p')
[ -n "$package" ] || cannot "no package linux-image-amd64 is known; apt-get update"
guest=$cache/$package
stamp=$(cat "$here/init" "$0" | sha256sum)

if [ "$(cat "$guest/made" 2>/dev/null)" = "$stamp" ]; then
    echo "$guest"
    exit 0
fi

# ---- the kernel ------------------------------------------------------------------------------------

work=$(mktemp -d "$cache/making.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

if [ ! -s "$guest/vmlinux" ]; then
    # Why from inside: it downloads into the current directory. Why its sandbox is off: that user may not
    # write there, and apt-get says so each time.
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package") >&2 ||
        cannot "the package $package cannot be downloaded"
    dpkg-deb -x "$work/$package"_*.deb "$work/kernel"
    # Why unpacked here: the guest is emulated, and would take longer for it than for all of its start.
    python3 - "$work"/kernel/boot/vmlinuz-* "$work/vmlinux" <<'END'
import lzma, sys
image = open(sys.argv[1], "rb").read()
start = image.find(b"\xfd7zXZ\0")
kernel = lzma.LZMADecompressor().decompress(image[start:]) if start >= 0 else b""
if kernel[:4] != b"\x7fELF":
    sys.exit("mk-guest.sh: this kernel is not packed by xz")
open(sys.argv[2], "wb").write(kernel)
END
    depmod -b "$work/kernel" "$(ls "$work/kernel/lib/modules")"
    rm -rf "$guest"
    mkdir "$guest"
    mv "$work/kernel/lib/modules" "$work/vmlinux" "$guest/"
fi

# ---- the initramfs ---------------------------------------------------------------------------------

# busybox, and the few modules that it takes to reach the host's root.
tree=$work/tree
mkdir -p "$tree"/{bin,mod,proc,sys,dev,lower,rw,root,job} "$work/modules/lib"
cp "$(command -v busybox)" "$tree/bin/busybox"
install -m 0755 "$here/init" "$tree/init"
ln -s "$guest/modules" "$work/modules/lib/modules"
number=10
modprobe -d "$work/modules" -S "$(ls "$guest/modules")" -a --show-depends \
    virtio_pci virtio_console 9pnet_virtio 9p overlay |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/list"
while read -r module; do
    cp "$module" "$tree/mod/$number-$(basename "$module")"
    number=$((number + 1))
done <"$work/list"
(cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs"
mv "$work/initramfs" "$guest/initramfs"
echo "$stamp" >"$guest/made"
echo "$guest"
