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
