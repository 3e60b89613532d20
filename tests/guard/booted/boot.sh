# Boots systemd on a copy of this machine's files that is gone afterwards, with
# the butler and the units that are in $1. Needs namespaces of its own (mounts,
# processes and so on), and root. $1/run and $1/log are the butler's
# directories, $1/root is where all that is mounted.
set -eu
dir=$1
mount --make-rprivate /
mkdir -p "$dir"/{root,run,log}
mount -t tmpfs tmpfs "$dir/root"
cd "$dir/root"
mkdir upper work new
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay new
cd new
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
mount -t tmpfs -o mode=755 tmpfs dev
for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
  set -- $device
  mknod -m 666 "dev/$1" c "$2" "$3"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/butler var/log/butler
mount --bind "$dir/run" run/butler
mount --bind "$dir/log" var/log/butler

install -m 755 "$dir/butler" usr/bin/butler
install -m 644 "$dir"/butler.{service,socket} etc/systemd/system
echo 'butler:x:4242:4242::/nonexistent:/usr/sbin/nologin' >>etc/passwd
echo 'butler:x:4242:' >>etc/group
# Nothing of the machine itself is started.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service \
  systemd-logind.service systemd-resolved.service systemd-networkd.service; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done
mkdir old
pivot_root . old
umount -l old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot / \
  "$(command -v /lib/systemd/systemd /usr/lib/systemd/systemd | head -n 1)" \
  --system --unit=butler.service --show-status=no </dev/null
