raids="r1 r3 r4 r5 r6 r10"
fail() { echo "FAILED: $*"; dmsetup status; exit 1; }
metas() { dmsetup ls | cut -f1 | sed -n 's/^k-\(.*_rmeta_[0-9]*\)$/\1/p'; }
# What dm-raid does with a volume, and the mismatches that its last check found.
action() { dmsetup status k-$1 | cut -d' ' -f8; }
idle() { tries=0
  until [ "$(action $1)" = idle ]; do tries=$((tries + 1)); [ $tries -lt 300 ] || fail "$1 does not come to rest"; sleep 0.2; done; }
unequal() { idle $1; dmsetup message k-$1 0 check; idle $1; dmsetup status k-$1 | cut -d' ' -f9; }
# The images of a volume that is not there itself.
parts() { run vgchange -ay --poll n k; for r in $raids; do dmsetup remove k-$r; done; }
# Bits that are set, and are none of those behind the last one: these images have 128 regions, raid10 has 256.
bits() { dd if=$1 bs=4096 count=1 skip=1 iflag=direct status=none | od -A n -v -t x1 -j 256 -N $2 | tr -d ' 0\n'; }
long() { dd if=$1 bs=4096 count=1 iflag=direct status=none | od -A n -t x1 -j 40 -N 8 | tr -d ' \n'; }
# A write under way: one image lacks it, and the superblocks and bitmaps are those of that moment.
crash() { parts
  for m in $saved; do dd if=/run/$m of=$(node $m) bs=64k oflag=direct conv=notrunc status=none; done
  for r in $raids; do dd if=/dev/urandom of=$(node ${r}_rimage_1) bs=64k seek=1 count=1 oflag=direct conv=notrunc status=none; done
  run vgchange -an k; }

# No more of them than has bits, which are gone some seconds after the writes.
saved=$(metas)
for r in $raids; do dd if=/dev/urandom of=$(node $r) bs=1M count=1 oflag=direct conv=notrunc status=none; done
for m in $saved; do dd if=$(node $m) of=/run/$m bs=64k count=1 iflag=direct status=none; done
run vgchange -an k

crash
run vgchange -ay --poll n k
left=
for r in $raids; do [ "$(unequal $r)" = 0 ] || left="$left $r"; done
echo "lvm2 leaves unequal:${left:- nothing}"
run vgchange -an k

crash
/run/volumes activate k >/run/active
for r in $raids; do idle $r; found=$(unequal $r); [ "$found" = 0 ] || fail "$r has $found sectors that differ"; done
/run/volumes deactivate k

# Stopped in order: no bit is left, and nothing is made equal.
parts
for m in $saved; do
  case $m in r10_*) bytes=32;; *) bytes=16;; esac
  [ -z "$(bits $(node $m) $bytes)" ] || fail "$m has bits: $(bits $(node $m) $bytes)"
done
run vgchange -an k
/run/volumes activate k >/run/active
for m in $(metas); do [ "$(long $(node $m))" = ffffffffffffffff ] || fail "$m: equal up to $(long $(node $m))"; done
/run/volumes deactivate k
run vgchange -ay --poll n k
echo all is well
