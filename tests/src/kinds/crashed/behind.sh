raids="r3 r5 r6 r10"
fail() { echo "FAILED: $*"; dmsetup status; exit 1; }
word() { dmsetup status k-$1 | cut -d' ' -f$2; }
# Every image has all, and dm-raid rests: its letter for each of them, and what it does.
whole() { tries=0
  until case "$(word $1 6) $(word $1 8)" in *[aD-]*\ *) false;; *\ idle) ;; *) false;; esac; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || fail "$1 does not come to rest"; sleep 0.2; done; }
unequal() { whole $1; dmsetup message k-$1 0 check; sleep 0.2; whole $1; word $1 9; }
sum() { dd if=$(node $1) bs=1M count=4 iflag=direct status=none | sha256sum; }
table() { dmsetup suspend --noflush --nolockfs $1; dmsetup load $1 --table "$2"; dmsetup resume $1; }
# The first image fails a write and answers again: what is acknowledged meanwhile only the others have.
thrown_out() { run vgchange -ay --poll n k
  for r in $raids; do
    whole $r
    image=k-${r}_rimage_0; was=$(dmsetup table $image)
    table $image "0 $(echo $was | cut -d' ' -f2) error"
    dd if=/dev/urandom of=$(node $r) bs=1M count=2 oflag=direct conv=notrunc status=none
    table $image "$was"
    case $(word $r 6) in D*) ;; *) fail "$r has its first image still";; esac
    sum $r >/run/$r.sum
  done
  for i in 0 1 2 3; do dmsetup table k-r10_rmeta_$i >/run/rmeta.$i; done; }

# What MD does with a raid10 that is to be made equal, and has an image that is old.
thrown_out
run vgchange -an k
for i in 0 1 2 3; do
  dmsetup create begun /run/rmeta.$i
  at=/dev/dm-$(dmsetup info -c --noheadings -o minor begun)
  dd if=$at of=/run/block bs=4096 count=1 iflag=direct status=none
  dd if=/dev/zero of=/run/block bs=1 seek=40 count=8 conv=notrunc status=none
  dd if=/run/block of=$at bs=4096 oflag=direct conv=notrunc status=none
  dmsetup remove begun
done
run vgchange -ay --poll n k
whole r10
[ "$(sum r10)" = "$(cat /run/r10.sum)" ] && kept=new || kept=old
echo "made equal with an old image, a raid10 has what is $kept"
for r in $raids; do whole $r; done
run vgchange -an k

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
