# What lvm2 makes of the same order has the same shape: regions of RAID, chunks and metadata of thin pools, their stores.
$tool pool tank $disks >/dev/null
shape() { run lvs -a --noheadings -o lv_name,lv_size,region_size,chunk_size,stripe_size,segtype,seg_size_pe tank | grep ' \[*a[ _\]]' | tr -s ' ' | sort; }
theirs() {
  said=$(run lvcreate -y -an -n a "$@" tank 2>&1) || fail "lvcreate $*: $said"
  shape > /run/theirs
  said=$(run lvremove -y tank/a 2>&1) || fail "lvremove: $said"
}
as() {
  edit "$@"
  shape > /run/ours
  diff /run/theirs /run/ours || fail "$*: lvm2 makes another one"
  edit remove a
}
for size in 1 4 5 10; do
  theirs -Wn -Zn --type linear -L ${size}T
  as create a $((size * T)) linear
  theirs -Wn -Zn --type striped -i 4 -L ${size}T
  as create a $((size * T)) striped4
  theirs -Wn -Zn --type raid1 -m 1 --nosync -L ${size}T
  as create a $((size * T)) raid1x2
done
for size in 4 5 20; do
  theirs -Wn -Zn --type raid5 -i 2 -L ${size}T
  as create a $((size * T)) raid5x3
  theirs -Wn -Zn --type raid6 -i 3 -L ${size}T
  as create a $((size * T)) raid6x5
  theirs -Wn -Zn --type raid10 -m 1 -i 2 --nosync -L ${size}T
  as create a $((size * T)) raid10x4
done
for size in 1 20 100; do
  theirs --type thin-pool -L ${size}T
  as thin-pool a $((size * T)) linear linear
done
echo all is well
