run lvcreate -y --type raid1 -m 1 -R 64k -L 8M -n r1 k
run lvcreate -y --type raid1 -m 2 -R 64k -L 8M -n r3 k
run lvcreate -y --type raid4 -i 2 -R 64k -L 16M -n r4 k
run lvcreate -y --type raid5 -i 2 -R 64k -L 16M -n r5 k
run lvcreate -y --type raid6 -i 3 -R 64k -L 24M -n r6 k
run lvcreate -y --type raid10 -i 2 -m 1 -R 64k -L 16M -n r10 k
