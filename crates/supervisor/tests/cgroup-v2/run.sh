#!/bin/sh
# Boots a small virtual machine with control groups of version 2 alone, as systemd sets most
# machines up, and runs the supervisor's tests and the real `archipel` in it (guest.sh).
#
#   cargo xtask cgroup-v2
#   crates/supervisor/tests/cgroup-v2/run.sh target/debug/deps/it-<hash> [archipel]
#
# Everything is from Debian packages: QEMU and busybox are installed when they are missing (root
# only), the kernel is only unpacked. Without them: a line that begins with SKIPPED, and success.
# CGROUP_V2_KERNEL_PACKAGE picks another kernel; CGROUP_V2_ONLY="shell user" some of the variants.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 <test program> [archipel]" >&2; exit 2; }
built=$(cd "$(dirname "$1")/.." && pwd)
archipel=${2:-$built/archipel}
here=$(cd "$(dirname "$0")" && pwd)
limit=${CGROUP_V2_SECONDS:-900}

skip() { echo "SKIPPED: cgroup-v2: $*"; exit 0; }

missing() {
    for tool in qemu-system-x86_64 busybox mke2fs ldd setpriv; do
        command -v "$tool" >/dev/null || echo "$tool"
    done
}

PATH=$PATH:/usr/sbin:/sbin
[ "$(uname -m)" = x86_64 ] || skip "only for x86_64 so far"
command -v apt-get >/dev/null || skip "not a Debian machine"
if [ -n "$(missing)" ]; then
    [ "$(id -u)" = 0 ] || skip "$(missing | tr '\n' ' ')missing, and only root can install it"
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        qemu-system-x86 busybox-static e2fsprogs util-linux >&2
fi

base=$(mktemp -d)
qemu=
stop() {
    [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
    rm -rf "$base"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ── The kernel: what the metapackage names, unpacked beside the tests, never installed ──
meta=${CGROUP_V2_KERNEL_PACKAGE:-linux-image-cloud-amd64}
package=$(apt-cache depends "$meta" | awk '/Depends: linux-image/ { print $2; exit }')
mkdir "$base/deb"
(cd "$base/deb" && apt-get -o APT::Sandbox::User=root download -qq "${package:-$meta}") >&2 || skip "no kernel package $meta"
dpkg-deb -x "$base"/deb/*.deb "$base/kernel"
kernel=$(ls "$base"/kernel/boot/vmlinuz-*)

# ── The first file system: finds the disk and goes there ──
first=$base/first
mkdir -p "$first/bin" "$first/mnt" "$first/dev" "$first/proc" "$first/sys" "$first/modules"
cp "$(command -v busybox)" "$first/bin/busybox"
for name in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    for file in $(find "$base/kernel" -name "$name.ko" -o -name "$name.ko.xz"); do
        cp "$file" "$first/modules/"
    done
done
find "$first/modules" -name '*.xz' -exec xz -d {} +
cat > "$first/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
# In whatever order they need each other.
for _ in 1 2 3 4 5 6; do
    for module in /modules/*; do /bin/busybox insmod "$module" 2>/dev/null; done
done
until /bin/busybox mount -t ext4 /dev/vda /mnt 2>/dev/null; do /bin/busybox usleep 100000; done
/bin/busybox mount -o move /dev /mnt/dev 2>/dev/null || /bin/busybox umount /dev
exec /bin/busybox switch_root /mnt /guest.sh
END
chmod +x "$first/init"
(cd "$first" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 > "$base/first.gz"

# ── The disk: the programs under test, a few of this machine's own, and their libraries ──
disk=$base/disk
mkdir -p "$disk/usr/bin" "$disk/usr/sbin" "$disk/usr/lib" "$disk/usr/lib64" "$disk/deps" "$disk/examples" "$disk/etc"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$disk/$name"; done
mkdir -m 1777 "$disk/tmp" "$disk/var" "$disk/var/tmp"
mkdir "$disk/proc" "$disk/sys" "$disk/dev" "$disk/home" "$disk/mnt"
cp "$1" "$disk/deps/it"
cp "$built/examples/fixture" "$built/examples/host" "$disk/examples/"
cp "$archipel" "$disk/usr/bin/archipel"
cp "$(command -v busybox)" "$disk/usr/bin/busybox"
cp "$here/guest.sh" "$here/app.sh" "$here/it.sh" "$disk/"
for tool in sh bash sleep cat dd mv cp ls touch test true false mkdir rm chown chmod id env setsid setpriv unshare \
    mount umount timeout grep sed awk sort head tail tr seq cut readlink rmdir basename dirname; do
    path=$(PATH=/usr/bin:/bin:/usr/sbin:/sbin command -v "/usr/bin/$tool" || echo "/bin/$tool")
    [ ! -x "$path" ] || cp -L "$path" "$disk/usr/bin/$tool"
done
for program in "$disk"/usr/bin/* "$disk/deps/it" "$disk"/examples/*; do
    ldd "$program" 2>/dev/null | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }'
done | sort -u | while read -r library; do
    target=$disk$(echo "$library" | sed 's,^/lib,/usr/lib,')
    mkdir -p "$(dirname "$target")"
    cp -L "$library" "$target"
done
echo 'root:x:0:0::/home:/bin/sh
ada:x:1000:1000::/home:/bin/sh
nobody:x:65534:65534::/home:/bin/sh' > "$disk/etc/passwd"
echo '127.0.0.1 localhost' > "$disk/etc/hosts"
chmod 755 "$disk" "$disk"/deps/* "$disk"/examples/* "$disk"/usr/bin/* "$disk"/*.sh
mke2fs -q -t ext4 -d "$disk" -E root_owner=0:0 "$base/disk.img" 1500M >/dev/null 2>&1

# ── Run ──
# A /dev/kvm may be there and not work: it is tried.
works() {
    # In a shell of its own, which is silent about a QEMU that aborts.
    (echo quit | timeout 10 qemu-system-x86_64 -accel "$1" -cpu max -S -nodefaults -display none \
        -monitor stdio; exit $?) >/dev/null 2>&1
}
accel=tcg,thread=multi
[ ! -w /dev/kvm ] || ! works kvm || accel=kvm
echo "cgroup-v2: $(basename "$kernel" | sed s/vmlinuz-/Linux\ /), $accel, at most $limit s"
log=$base/log
: >"$log"
timeout "$limit" qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m 1536 -nodefaults \
    -display none -no-reboot -serial stdio -kernel "$kernel" -initrd "$base/first.gz" \
    -append "console=ttyS0 quiet loglevel=2 panic=-1 cgroup_no_v1=all only=$(echo "${CGROUP_V2_ONLY:-}" | tr ' ' ,)" \
    -drive "file=$base/disk.img,format=raw,if=virtio,cache=unsafe" </dev/null >"$log" 2>&1 &
qemu=$!
tail -n +1 -f --pid="$qemu" "$log" | sed -u 's,\r,,'
wait "$qemu" || { echo "cgroup-v2: the machine did not end by itself within $limit s" >&2; exit 1; }
qemu=
grep -q '^cgroup-v2: all variants green' "$log"
