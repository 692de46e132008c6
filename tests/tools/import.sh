# lvm2 makes a group, with small extents, a full member and one in pieces; the firmware adds what its pools have; lvm2 activates
# all of it, works on, and takes it out again.
run pvcreate -y --pvmetadatacopies 2 $(nth 1) >/dev/null
run pvcreate -y --pvmetadatacopies 0 $(nth 2) >/dev/null
run pvcreate -y $(nth 3) $(nth 4) $(nth 5) $(nth 6) $(nth 7) >/dev/null
run vgcreate -s 64k tank $disks >/dev/null
run lvcreate -y -l 100%PVS -n full tank $(nth 1) >/dev/null
# Holes of two extents, in which no copy fits, up to the end of the second member.
for i in 1 2 3; do
  run lvcreate -y -Wn -Zn -l 2 -n hole$i tank $(nth 2) >/dev/null
  run lvcreate -y -Wn -Zn -l 2 -n wall$i tank $(nth 2) >/dev/null
done
run lvcreate -y -Wn -Zn -l 100%PVS -n rest tank $(nth 2) >/dev/null
for i in 1 2 3; do run lvremove -y tank/hole$i >/dev/null; done
run lvcreate -y --type raid5 -i 2 -L 12M -n r5 tank $(nth 3) $(nth 4) $(nth 5) >/dev/null
run lvcreate -y --type thin-pool -L 8M -n tp tank $(nth 6) >/dev/null
run lvcreate -y -V 32M --thinpool tp -n tv tank >/dev/null
fill full r5 tv
synced r5
off
run vgcfgbackup -f /run/before tank >/dev/null
edit complete
edit complete
at() { run lvs --noheadings -o devices tank/$1 | tr -d ' '; }
for i in 0 1 2; do
  case "$(run lvs --noheadings -o lv_size,seg_count,segtype --units k tank/orthrus_ledger$i | tr -s ' ')" in
    ' 192.00k 1 linear') ;;
    *) fail "copy $i: $(run lvs -o +seg_count,segtype,devices tank/orthrus_ledger$i)" ;;
  esac
done
[ "$(for i in 0 1 2; do at orthrus_ledger$i; done | cut -d'(' -f1 | sort -u | wc -l)" = 3 ] || fail "copies share a member"
for d in $(nth 1) $(nth 2); do
  case "$(at orthrus_ledger0) $(at orthrus_ledger1) $(at orthrus_ledger2)" in *$d*) fail "a copy where none fits" ;; esac
done
[ "$(run lvs --noheadings -o segtype,lv_size --units m tank/orthrus_state | tr -s ' ')" = ' raid1 8.00m' ] ||
  fail "the state volume: $(run lvs -a -o +devices tank)"
on
synced orthrus_state r5
verify full r5 tv
# Where a file system or a record would be looked for there is nothing of before.
for lv in orthrus_state orthrus_ledger0 orthrus_ledger1 orthrus_ledger2; do
  cmp -n 131072 $(node $lv) /dev/zero || fail "$lv begins with something"
done
fill orthrus_state
verify full r5 tv orthrus_state
# lvm2 works on, also on what is new.
run lvextend -y -l +4 tank/orthrus_state >/dev/null
run lvcreate -y -l 4 -n theirs tank >/dev/null
check
verify full r5 tv orthrus_state
said=$($tool stamp 1 $disks 2>&1) || fail "stamp: $said"
owner='global{system_id_source="lvmlocal"} local{system_id="orthrus-lab"}'
check
run vgchange -y --systemid "" tank >/dev/null 2>&1
owner=
run lvremove -y tank/theirs tank/orthrus_state tank/orthrus_ledger0 tank/orthrus_ledger1 tank/orthrus_ledger2 >/dev/null
check
verify full r5 tv
off
run vgcfgbackup -f /run/after tank >/dev/null
grep -v '^#' /run/before | grep -vE 'seqno|description|creation_time = |^$' > /run/a
grep -v '^#' /run/after | grep -vE 'seqno|description|creation_time = |orthrus.epoch|^$' > /run/b
diff /run/a /run/b || fail "something else has changed"
# One without room stays as it is.
run vgremove -y -f tank >/dev/null
run vgcreate tank $(nth 3) $(nth 4) >/dev/null
disks="$(nth 3) $(nth 4)"
run lvcreate -y -Wn -Zn -l 100%FREE -n all tank >/dev/null
off
edit complete
[ "$(run lvs --noheadings -o lv_name tank | tr -d ' ')" = all ] || fail "$(run lvs tank)"
# Two extents are left, on the second.
run lvremove -y tank/all >/dev/null
run lvcreate -an -Wn -Zn -l 44 -n all tank >/dev/null
edit complete
[ "$(run lvs --noheadings -o lv_name tank | tr -d ' ' | sort | tr '\n' ' ')" = 'all orthrus_ledger0 ' ] || fail "$(run lvs tank)"
on
off
echo all is well
