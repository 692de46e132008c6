# The firmware makes a group and everything in it; lvm2 looks, activates, and changes something itself.

# A pool is told what its messages say, and they go: the part of the firmware's own activation. lvm2 does it only
# within the command that made them.
tell() {
  pool=$1 words=$2 before=$3
  said=$(run lvchange -ay tank/$pool 2>&1) || fail "lvchange: $said"
  dmsetup message tank-$pool-tpool 0 "$words"
  dmsetup message tank-$pool-tpool 0 "set_transaction_id $before $((before + 1))"
  edit settle $pool
  # Not by lvm2, which looks for the pool below volumes of it that are active, and none is.
  dmsetup remove_all
  [ "$(dmsetup ls)" = "No devices found" ] || fail "devices are left: $(dmsetup ls)"
}
$tool pool tank $disks >/dev/null
check
edit create lin 3 linear
edit create str 6 striped3
edit create r0 2 raid0x2
edit create r1 2 raid1x2
edit default raid5x3
edit create r5 2 default
said=$(echo $(run lvs --noheadings -o segtype,stripes tank/r5))
[ "$said" = "raid5 3" ] || [ "$said" = "raid5_ls 3" ] || fail "r5 is not as the pool has it: $said"
edit create r6 3 raid6x5
edit create r10 2 raid10x4
edit thin-pool tp 2 raid1x2 linear
edit thin tp tv 50
tell tp "create_thin 1" 0
edit create org 2 linear
edit snapshot org sn 2
all="lin str r0 r1 r5 r6 r10 org tv"
on
for lv in $all; do [ -b $(node $lv) ] || fail "$lv is not active"; done
fill $all
verify $all
synced r1 r5 r6 r10
off
edit thin-snapshot tv ts
tell tp "create_snap 2 1" 1
edit grow lin 5
edit grow str 9
edit grow r1 4
edit grow r5 4
edit grow r6 6
edit grow r10 4
edit grow tp 4
edit grow tv 60
edit grow sn 3
edit lose sn
edit rename r5 five
edit rename tp pool
on
verify lin str r0 r1 r6 r10 org tv
yes "r5 r5 r5" | head -c 1048576 > /run/block
dd if=$(node five) bs=1M iflag=direct status=none count=1 | cmp - /run/block || fail "five has other bytes"
yes "tv tv tv" | head -c 1048576 > /run/block
dd if=$(node ts) bs=1M iflag=direct status=none count=1 | cmp - /run/block || fail "the thin snapshot has other bytes"
synced r1 five r6 r10
[ $(blockdev --getsize64 $(node five)) = $((4 * 4194304)) ] || fail "five has not grown"
# A snapshot that is written down as lost is a snapshot to lvm2.
[ -b $(node sn) ] || fail "sn is not active"
# A change of lvm2's own in between.
run lvcreate -y -l 1 -n theirs tank >/dev/null
run lvrename tank/theirs tank/lvm2s >/dev/null
off
# The volume gets back what the snapshot has, and stays what lvm2 knows it as.
known=$(run lvs --noheadings -o lv_uuid tank/tv | tr -d ' ')
on
yes "other other" | head -c 1048576 > /run/block
dd if=/run/block of=$(node tv) bs=1M oflag=direct status=none
off
edit restore ts
tell pool "delete 1" 2
said=$(run lvs --noheadings -o lv_uuid tank/tv | tr -d ' ')
[ "$said" = "$known" ] || fail "tv was $known and is $said"
on
verify tv
off
edit thin-snapshot tv ts
tell pool "create_snap 3 2" 3
edit remove ts
tell pool "delete 3" 4
said=$(run lvs --noheadings -o lv_tags tank/sn | tr -d ' ')
[ "$said" = orthrus.snapshot_lost ] || fail "sn has the tags $said"
edit remove sn
edit remove lvm2s
edit remove r0
edit remove org
edit remove str
edit remove lin
# A disk goes for another one. All that is on it is redundant.
on
verify r1 r6 r10 tv
off
edit remove tv
tell pool "delete 2" 5
edit remove pool
first=$(nth 1)
gone=$(run pvs --noheadings -o pv_uuid $first | tr -d ' ')
fresh=$(run pvs --noheadings -o pv_uuid $(nth 7) | tr -d ' ')
edit remove r6
lost=1
edit missing $gone
edit replace $gone $fresh
edit reduce $gone
disks=$(echo $disks | cut -d' ' -f2-)
dd if=/dev/zero of=$first bs=1M count=90 oflag=direct status=none
lost=
check
on
synced r1 five r10
verify r1 r10
yes "r5 r5 r5" | head -c 1048576 > /run/block
dd if=$(node five) bs=1M iflag=direct status=none count=1 | cmp - /run/block || fail "five has other bytes after the replacement"
off
edit rebuilt r1
edit rebuilt five
edit rebuilt r10
on
synced r1 five r10
off
run lvs -a -o lv_name,lv_attr,segtype,seg_size_pe,devices tank
# One more disk, which lvm2 uses; then it is empty again, and leaves.
said=$($tool add $first $disks 2>&1) || fail "add: $said"
case $said in *'failures: []'*) ;; *) fail "add: $said";; esac
disks="$first $disks"
check
run lvcreate -y -l 1 -n onit tank $first >/dev/null
on
fill onit
verify onit r1
off
edit remove onit
new=$(run pvs --noheadings -o pv_uuid $first | tr -d ' ')
# Until it is wiped its metadata are those of before.
lost=1
edit reduce $new
$tool wipe $first || fail "wipe $first"
lost=
disks=$(echo $disks | cut -d' ' -f2-)
check
! run pvs $first >/dev/null 2>&1 || fail "$first is known still"
on
verify r1 r10
off
# The group goes. What is left before the wipe is a group without volumes, which lvm2 has nothing to say about.
edit destroy
said=$(run lvs --noheadings tank 2>&1)
[ -z "$said" ] || fail "destroyed, and left: $said"
said=$(run vgs --noheadings -o tags tank | tr -d ' ')
case ,$said, in *,orthrus.destroyed,*) ;; *) fail "destroyed, and not said: $said";; esac
# A tag that lvm2 kept through changes of its own.
case ,$said, in *,orthrus.raid=raid5:3,*) ;; *) fail "the default is gone: $said";; esac
$tool wipe $disks || fail "wipe"
said=$(run pvs --noheadings 2>&1)
[ -z "$said" ] || fail "wiped, and left: $said"
$tool pool tank $disks >/dev/null
check
echo all is well
