# What the scripts here have in common: the firmware's own activation, and RAID that makes nothing equal.
vols=/run/volumes
cat $(disk volumes) > $vols
chmod +x $vols
echo 0 > /proc/sys/dev/raid/speed_limit_min
echo 0 > /proc/sys/dev/raid/speed_limit_max
# Extents of 4 MiB in a TiB, and MiB.
T=262144
M=1048576
# Of both, where the firmware activates there are no names below /dev/mapper.
node() { echo /dev/dm-$(dmsetup info -c --noheadings -o minor tank-$1); }
end() { echo $(($(blockdev --getsize64 $(node $1)) / M - 1)); }
words() { yes "$1 at $2" | head -c $M > /run/block; }
# A megabyte at this place of a volume, in MiB, that tells both; and whether it is there, be it on another one.
mark() { words $1 $2; dd if=/run/block of=$(node $1) bs=$M oflag=direct status=none seek=$2; }
seen() { words ${3:-$1} $2
  dd if=$(node $1) bs=$M iflag=direct status=none count=1 skip=$2 | cmp - /run/block || fail "$1 has other bytes at MiB $2"; }
# As a head does it under its clients.
change() {
  said=$($tool change $disks -- "$@" 2>&1) || fail "$*: $said"
  case $said in *'failures: []'*) ;; *) fail "$*: $said";; esac
}
refused() { said=$($tool edit $disks -- "$@" 2>&1) && fail "$*: not refused"; echo "$*: $said"; }
ours() { said=$($vols activate tank 2>&1) || fail "the firmware's activation: $said"; }
gone() { said=$($vols deactivate tank 2>&1) || fail "$said"; [ "$(dmsetup ls)" = "No devices found" ] || fail "left behind: $(dmsetup ls)"; }
# All tables, devices by their names. Only lvm2 activates copies of the ledger.
tables() {
  dmsetup info -c --noheadings --separator ' ' -o major,minor,name | sed 's/ /:/' > /run/names
  dmsetup table | awk 'FILENAME == "/run/names" { n[$1] = $2; next } { for (i = 2; i <= NF; i++) if ($i in n) $i = n[$i]; print }' /run/names - | grep -v orthrus_ledger | sort
}
# The disks are many and all hold the same: `vgck` has to do.
check() { said=$(run vgck tank 2>&1) || fail "vgck: $said"; [ -z "$said" ] || fail "vgck: $said"; }
