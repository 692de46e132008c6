# Extents of a few kilobytes, in groups that lvm2 made: of disks of this size there are more than it counts, and a bitmap takes many.
run pvcreate -y $disks >/dev/null
all=$disks
run vgcreate -s 4k tank $(nth 1) >/dev/null
disks=$(nth 1)
if run vgextend tank $(echo $all | cut -d' ' -f2) >/dev/null 2>&1; then fail "lvm2 takes a second disk"; fi
fresh=$(echo $all | cut -d' ' -f3)
$tool wipe $fresh || fail wipe
said=$($tool add $fresh $disks 2>&1) && fail "a second disk is taken: $said"
case $said in *'lvm2 counts to 4294967295'*) ;; *) fail "$said";; esac
check
run vgremove -y tank >/dev/null
run pvcreate -y -ff $fresh >/dev/null
disks=$all
run vgcreate -s 64k tank $disks >/dev/null
# In extents of 64 KiB.
T=16777216
edit create r10 $T raid10x4
edit create r1 $((T / 10)) raid1x2
ours
for lv in r1 r10; do mark $lv 0; mark $lv $(end $lv); done
change grow r1 $((5 * T))
change grow r10 $((5 * T))
for lv in r1 r10; do mark $lv $(end $lv); done
gone
on
for lv in r1 r10; do
  seen $lv 0
  seen $lv $(end $lv)
  mark $lv $(end $lv)
  # No image is out, as it would be whose bitmap has no room.
  case "$(dmsetup status tank-$lv)" in *' aa'*' '*|*' AA'*' '*) ;; *) fail "$(dmsetup status tank-$lv)";; esac
  case "$(dmsetup status tank-$lv | cut -d' ' -f6)" in *D*|*-*) fail "$(dmsetup status tank-$lv)";; esac
done
off
echo all is well
