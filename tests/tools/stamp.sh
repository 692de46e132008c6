# lvm2 makes a group of several kinds; the firmware stamps it; lvm2 leaves it alone, and takes it back.
run pvcreate -y --pvmetadatacopies 2 $(nth 1) >/dev/null
run pvcreate -y --pvmetadatacopies 0 $(nth 2) >/dev/null
run pvcreate -y --metadataignore y $(nth 3) >/dev/null
run pvcreate -y $(nth 4) $(nth 5) $(nth 6) $(nth 7) >/dev/null
run vgcreate tank $disks >/dev/null
run lvcreate -y -l 2 -n lin tank >/dev/null
run lvcreate -y --type raid1 -m1 -l 2 -n r1 tank >/dev/null
run lvcreate -y --type thin-pool -l 2 -n tp tank >/dev/null
run lvcreate -y -V 100M --thinpool tp -n tv tank >/dev/null
run lvcreate -y -s -l 1 -n sn tank/lin >/dev/null
fill lin r1 tv
off
run vgcfgbackup -f /run/before tank >/dev/null
for epoch in 1 2 3; do
  said=$($tool stamp $epoch $disks 2>&1) || fail "stamp: $said"
  case $said in *'failures: []'*) ;; *) fail "stamp: $said";; esac
done
said=$($tool stamp 3 $disks) || fail "stamp: $said"
[ "$said" = "nothing to write" ] || fail "the same stamp was written again: $said"
# Another host: hidden, and not activated.
if run vgs --noheadings tank >/dev/null 2>&1; then fail "another host sees the group as its own"; fi
if run vgchange -ay tank >/dev/null 2>&1; then fail "another host activates it"; fi
said=$(run vgs --foreign --noheadings -o vg_systemid,vg_tags tank | tr -s ' ')
[ "$said" = " orthrus-lab orthrus.epoch=3" ] || fail "the stamp is not there: $said"
# Its owner.
owner='global{system_id_source="lvmlocal"} local{system_id="orthrus-lab"}'
check
on
verify lin r1 tv
off
run lvchange --addtag mine tank/lin >/dev/null
said=$($tool stamp 4 $disks 2>&1) || fail "stamp: $said"
check
# Given back, as README has it.
run vgchange -y --systemid "" tank >/dev/null 2>&1
owner=
check
on
verify lin r1 tv
off
run vgcfgbackup -f /run/after tank >/dev/null
grep -v '^#' /run/before | grep -vE 'seqno|description|creation_time = |^$' > /run/a
grep -v '^#' /run/after | grep -vE 'seqno|description|creation_time = |orthrus.epoch|"mine"|^$' > /run/b
diff /run/a /run/b || fail "something else has changed"
echo all is well
