# Volumes of all kinds grow past what was enough for them, under what is active, and lvm2 activates them alike.
$tool pool tank $disks >/dev/null
check
edit create lin $T linear
edit create str $T striped3
edit create r1 $((3 * T)) raid1x2
edit create r5 $((3 * T)) raid5x3
edit create r6 $((3 * T)) raid6x5
edit create r10 $((3 * T)) raid10x4
edit thin-pool tp $T raid1x2 linear
edit thin tp tv $((20 * T))
ours
raids="r1 r5 r6 r10"
all="lin str $raids tv"
for lv in $all; do
  eval $lv=$(end $lv)
  mark $lv 0
  eval mark $lv \$$lv
done
# Those first that want the most disks: a disk that another one has filled is none of them.
change grow r6 $((9 * T))
change grow r10 $((9 * T))
change grow r5 $((9 * T))
change grow r1 $((5 * T))
change grow str $((4 * T))
change grow tp $((5 * T))
change grow lin $((20 * T))
change grow tv $((40 * T))
for lv in $all; do
  seen $lv 0
  eval seen $lv \$$lv
  eval "[ \$$lv -lt $(end $lv) ]" || fail "$lv has not grown"
  mark $lv $(end $lv)
done
# A store of a TiB, of which what is overwritten takes two pieces.
change snapshot lin sn $T
words sn 0
dd if=/run/block of=$(node lin) bs=$M oflag=direct status=none
seen lin 0 sn
seen sn 0 lin
seen sn $(end lin) lin
# What the kernel says of such numbers is understood.
$tool usage $disks > /run/usage
for said in 'tp: data 0 %, metadata' 'sn: Some(0) %, invalid: false' 'r1: 0 %, of all: true' 'tp_tdata: 0 %'; do
  grep -q "^$said" /run/usage || fail "no '$said' in: $(cat /run/usage)"
done
# Not more regions than the kernel takes, and not fewer.
for lv in $raids; do
  size=$(($(end $lv) + 1))
  region=$(run lvs --noheadings --nosuffix --units m -o region_size tank/$lv | cut -d. -f1)
  [ $((size / region)) -le 2097152 ] && [ $((size / region)) -gt 1048576 ] || fail "$lv of $size MiB has regions of $region"
done
tables > /run/ours
gone
on
tables > /run/theirs
diff /run/ours /run/theirs || fail "the tables are others than lvm2's"
for lv in $all; do
  eval seen $lv \$$lv
  seen $lv $(end $lv)
done
seen sn 0 lin
off
edit rename r5 five
edit remove sn
refused grow r1 $((40 * T))
refused create most 4294967295 linear
edit destroy
$tool wipe $disks || fail wipe
said=$(run pvs --noheadings 2>&1)
[ -z "$said" ] || fail "wiped, and left: $said"
echo all is well
