raids=r10
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
run vgchange -an k
echo all is well
