# File systems as the firmware has its helpers make them, and as it gives them more room while they are mounted.
# The image has no configuration of mke2fs.
rm -f /etc/mke2fs.conf
for m in xfs ext4; do modprobe $m; done
$tool pool tank $disks >/dev/null
edit create x $((20 * T)) linear
edit create e $((15 * T)) linear
edit create small $T linear
ours
written() { awk '{ sectors += $7 } END { print int(sectors / 2048) }' /sys/block/vd[a-z]/stat; }
seconds() { cut -d. -f1 /proc/uptime; }
make() {
  words=$($tool file-system $1 $(node $2)) || fail "$words"
  before=$(written)
  begun=$(seconds)
  said=$($words 2>&1) || fail "$words: $said"
  echo "$1 on $2: $(($(written) - before)) MiB written, $(($(seconds) - begun)) s"
  # What the firmware has 20 s for.
  [ $(($(written) - before)) -lt 1500 ] || fail "$1 on $2 takes too much"
  mkdir -p /mnt/$2
  # Nothing more is written by itself: the disks are sparse.
  case $1 in ext4) mount -t ext4 -o noinit_itable $(node $2) /mnt/$2;; *) mount -t $1 $(node $2) /mnt/$2;; esac
  echo "here $2" > /mnt/$2/file
}
blocks() { df -k /mnt/$1 | awk 'END { print int($2 / 1048576 / 1024) }'; }
make xfs x
make ext4 e
make ext4 small
change grow x $((24 * T))
change grow e $((17 * T))
change grow small $((2 * T))
for lv in x e small; do
  begun=$(seconds)
  said=$($tool more-room /mnt/$lv 2>&1) || fail "$lv: $said"
  [ "$(cat /mnt/$lv/file)" = "here $lv" ] || fail "$lv has lost its file"
  echo "$lv has $(blocks $lv) TiB after $(($(seconds) - begun)) s"
done
[ $(blocks x) -ge 23 ] && [ $(blocks e) -ge 16 ] && [ $(blocks small) -ge 1 ] || fail "they have not grown"
umount /mnt/x /mnt/e /mnt/small
gone
echo all is well
