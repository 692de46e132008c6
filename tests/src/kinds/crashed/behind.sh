raids="r3 r5 r6 r10"
# An import has what was acknowledged, and all images of it, also where a write was under way that another image lacks. Of a raid10 MD
# forgets that while it recovers the old one: it is compared afterwards.
thrown_out
for m in r3_rimage_2 r10_rimage_3; do dd if=/dev/urandom of=$(node $m) bs=64k seek=1 count=1 oflag=direct conv=notrunc status=none; done
run vgchange -an k
/run/volumes activate k >/run/active
for r in $raids; do
  whole $r
  if [ $r = r10 ]; then
    echo "recovered, a raid10 has $(unequal $r) sectors of another pair that differ"
    dmsetup message k-$r 0 repair; sleep 0.2; whole $r
  fi
  [ "$(sum $r)" = "$(cat /run/$r.sum)" ] || fail "$r lost what was acknowledged"
  found=$(unequal $r); [ "$found" = 0 ] || fail "$r has $found sectors that differ"
done
/run/volumes deactivate k
run vgck k
run vgchange -ay --poll n k
for r in $raids; do [ "$(sum $r)" = "$(cat /run/$r.sum)" ] || fail "lvm2 reads something else of $r"; done
echo all is well
