# What the scripts beside this one have in common: the disks, lvm2 without udev, and the firmware's tool.
set -eu
exec 2>&1
export DM_DISABLE_UDEV=1 LVM_SUPPRESS_FD_WARNINGS=1

disk() { for d in /sys/block/vd*; do if [ "$(cat $d/serial)" = "$1" ]; then echo /dev/${d##*/}; fi; done; }
disks=$(for i in 0 1 2 3 4 5 6; do disk disk-$i; done)
nth() { echo $disks | cut -d' ' -f$1; }
for m in dm_raid raid0 raid1 raid10 raid456 dm_mirror dm_snapshot dm_thin_pool; do modprobe $m; done
tool=/run/metadata
cat $(disk tool) > $tool
chmod +x $tool

config='devices{use_devicesfile=0 obtain_device_list_from_udev=0} global{event_activation=0 use_lvmpolld=0} activation{monitoring=0 udev_sync=0 udev_rules=0} backup{backup=0 archive=0}'
# As the cluster that the group belongs to, where it belongs to one.
owner=
run() { lvm "$@" --config "$config $owner"; }
fail() { echo "FAILED: $*"; exit 1; }

# lvm2 has nothing to say: neither an error nor a warning. While a member is called missing (`lost`), it warns of that, or
# of a disk that is here all the same, and knows the group.
lost=
check() {
  if [ -n "$lost" ]; then
    said=$(run vgs --noheadings -o vg_name tank 2>/dev/null) || fail "vgs: $said"
    [ "$(echo $said)" = tank ] || fail "vgs: $said"
    return
  fi
  said=$(run vgck tank 2>&1) || fail "vgck: $said"
  [ -z "$said" ] || fail "vgck: $said"
  for d in $disks; do said=$(run pvck $d 2>&1) || fail "pvck $d: $said"; done
  said=$(run vgs --noheadings -o vg_name tank 2>&1) || fail "vgs: $said"
  [ "$(echo $said)" = tank ] || fail "vgs: $said"
}
edit() {
  said=$($tool edit $disks -- "$@" 2>&1) || fail "$*: $said"
  case $said in *'failures: []'*) ;; *) fail "$*: $said";; esac
  check
}
on() { said=$(run vgchange -ay "$@" tank 2>&1) || fail "vgchange -ay: $said"; }
off() {
  said=$(run vgchange -an tank 2>&1) || fail "vgchange -an: $said"
  [ "$(dmsetup ls)" = "No devices found" ] || fail "left behind: $(dmsetup ls)"
}
node() { echo /dev/mapper/tank-$1; }
# A megabyte that tells its volume, at its start and at its end.
fill() {
  for lv in "$@"; do
    size=$(blockdev --getsize64 $(node $lv))
    yes "$lv $lv $lv" | head -c 1048576 > /run/block
    dd if=/run/block of=$(node $lv) bs=1M oflag=direct status=none
    dd if=/run/block of=$(node $lv) bs=1M oflag=direct status=none seek=$((size / 1048576 - 1))
  done
}
verify() {
  for lv in "$@"; do
    yes "$lv $lv $lv" | head -c 1048576 > /run/block
    dd if=$(node $lv) bs=1M iflag=direct status=none count=1 | cmp - /run/block || fail "$lv has other bytes"
  done
}
synced() {
  for lv in "$@"; do
    tries=0
    until [ "$(run lvs --noheadings -o sync_percent tank/$lv 2>/dev/null | tr -d ' ')" = 100.00 ]; do
      tries=$((tries + 1))
      [ $tries -lt 300 ] || fail "$lv does not come in sync: $(dmsetup status tank-$lv)"
      sleep 0.2
    done
  done
}
