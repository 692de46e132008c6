//! The kinds.

/// A volume group to be made.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in the matrix.
    pub name: &'static str,
    /// How many disks it takes.
    pub disks: usize,
    /// Makes the volumes of the group `k`, which is there, and has all of them active. `run` is lvm.
    pub script: &'static str,
    /// Every volume survives the loss of any one disk.
    pub is_redundant: bool,
}

const fn kind(name: &'static str, disks: usize, script: &'static str) -> Kind {
    Kind {
        name,
        disks,
        script,
        is_redundant: false,
    }
}

const fn redundant(name: &'static str, disks: usize, script: &'static str) -> Kind {
    Kind {
        is_redundant: true,
        ..kind(name, disks, script)
    }
}

/// All of them.
pub const KINDS: &[Kind] = &[
    kind("linear", 1, "run lvcreate -y -L 16M -n v k"),
    kind(
        "linear in segments",
        2,
        "run lvcreate -y -L 8M -n v k $(disk 0)
         run lvcreate -y -L 8M -n w k $(disk 0)
         run lvextend -y -L +8M k/v $(disk 1)
         run lvextend -y -L +12M k/v $(disk 0)",
    ),
    kind("striped", 3, "run lvcreate -y -i 3 -I 64k -L 24M -n v k"),
    kind("read-only", 1, "run lvcreate -y -L 8M -n v k; fill v; run lvchange -pr k/v"),
    kind(
        "zero and error",
        1,
        "run lvcreate -y -L 8M -n v k
         run lvcreate -y --type zero -L 8M -n z k",
    ),
    kind("raid0", 3, "run lvcreate -y --type raid0 -i 3 -I 64k -L 24M -n v k"),
    kind("raid0_meta", 3, "run lvcreate -y --type raid0_meta -i 3 -I 64k -L 24M -n v k"),
    redundant("raid1", 2, "run lvcreate -y --type raid1 -m 1 -L 16M -n v k"),
    redundant("raid1 of three", 3, "run lvcreate -y --type raid1 -m 2 -L 16M -n v k"),
    redundant(
        "raid1 with settings",
        2,
        "run lvcreate -y --type raid1 -m 1 --minrecoveryrate 128k --maxrecoveryrate 2M -L 16M -n v k
         insync
         run lvchange -y --writemostly $(disk 1) --writebehind 128 k/v",
    ),
    redundant("raid4", 3, "run lvcreate -y --type raid4 -i 2 -I 64k -L 16M -n v k"),
    redundant("raid5_ls", 3, "run lvcreate -y --type raid5_ls -i 2 -I 64k -L 16M -n v k"),
    redundant("raid5_la", 3, "run lvcreate -y --type raid5_la -i 2 -I 64k -L 16M -n v k"),
    redundant("raid5_rs", 3, "run lvcreate -y --type raid5_rs -i 2 -I 64k -L 16M -n v k"),
    redundant("raid5_ra", 3, "run lvcreate -y --type raid5_ra -i 2 -I 64k -L 16M -n v k"),
    redundant("raid5_n", 3, "run lvcreate -y --type raid5_n -i 2 -I 64k -L 16M -n v k"),
    redundant("raid6_zr", 5, "run lvcreate -y --type raid6_zr -i 3 -I 64k -L 24M -n v k"),
    redundant("raid6_nr", 5, "run lvcreate -y --type raid6_nr -i 3 -I 64k -L 24M -n v k"),
    redundant("raid6_nc", 5, "run lvcreate -y --type raid6_nc -i 3 -I 64k -L 24M -n v k"),
    redundant("raid6_ls_6", 5, "run lvcreate -y --type raid6_ls_6 -i 3 -I 64k -L 24M -n v k"),
    redundant("raid6_n_6", 5, "run lvcreate -y --type raid6_n_6 -i 3 -I 64k -L 24M -n v k"),
    redundant("raid10", 4, "run lvcreate -y --type raid10 -m 1 -i 2 -I 64k -L 16M -n v k"),
    kind(
        "raid1 with checksums",
        2,
        "run lvcreate -y --type raid1 -m 1 --raidintegrity y -L 16M -n v k",
    ),
    kind("mirror with a core log", 2, "run lvcreate -y --type mirror -m 1 --mirrorlog core -L 8M -n v k"),
    kind("mirror with a log on disk", 3, "run lvcreate -y --type mirror -m 1 --mirrorlog disk -L 8M -n v k"),
    kind(
        "thin",
        2,
        "run lvcreate -y --type thin-pool -L 32M -c 64k -n pool k
         run lvcreate -y -V 64M --thinpool k/pool -n v
         fill v
         run lvcreate -y -s -n s k/v
         run lvchange -y -kn k/s",
    ),
    kind(
        "thin on raid1",
        3,
        "run lvcreate -y --type raid1 -m 1 -L 32M -n pool k
         run lvcreate -y --type raid1 -m 1 -L 8M -n meta k
         run lvconvert -y --type thin-pool -c 64k --poolmetadata k/meta k/pool
         run lvcreate -y -V 64M --thinpool k/pool -n v",
    ),
    kind(
        "thin with an external origin",
        2,
        "run lvcreate -y -L 8M -n o k
         fill o
         run lvchange -an k/o
         run lvchange -pr k/o
         run lvcreate -y --type thin-pool -L 16M -c 64k -n pool k
         run lvcreate -y -s k/o --thinpool k/pool -n v
         run lvchange -y -kn k/v",
    ),
    kind(
        "snapshots",
        2,
        "run lvcreate -y -L 16M -n v k
         fill v
         run lvcreate -y -s -L 8M -n s k/v
         run lvcreate -y -s -L 8M -c 16k -n t k/v",
    ),
    kind(
        "snapshot that is merged",
        2,
        "run lvcreate -y -L 16M -n v k
         fill v
         run lvcreate -y -s -L 8M -n s k/v
         run lvcreate -y -s -L 8M -c 16k -n t k/v
         fill v
         run vgchange -an k
         run lvconvert -y --merge k/s",
    ),
    kind(
        "snapshot of a raid1 that is merged",
        3,
        "run lvcreate -y --type raid1 -m 1 -L 16M -n v k
         fill v
         insync
         run lvcreate -y -s -L 8M -n s k/v
         fill v
         run vgchange -an k
         run lvconvert -y --merge k/s",
    ),
    kind(
        "snapshot of a raid1",
        3,
        "run lvcreate -y --type raid1 -m 1 -L 16M -n v k
         fill v
         run lvcreate -y -s -L 8M -n s k/v",
    ),
    kind(
        "cache with a pool",
        2,
        "run lvcreate -y -L 16M -n v k $(disk 0)
         run lvcreate -y --type cache-pool -L 8M -n c k $(disk 1)
         run lvconvert -y --type cache --cachepool k/c --cachemode writethrough k/v",
    ),
    kind(
        "cache with a volume",
        2,
        "run lvcreate -y -L 16M -n v k $(disk 0)
         run lvcreate -y -L 12M -n c k $(disk 1)
         run lvconvert -y --type cache --cachevol k/c --cachemode writeback k/v",
    ),
    kind(
        "cache of writes",
        2,
        "run lvcreate -y -an -L 16M -n v k $(disk 0)
         run lvcreate -y -L 8M -n c k $(disk 1)
         run lvchange -an k/c
         run lvconvert -y --type writecache --cachevol k/c k/v",
    ),
    kind(
        "vdo",
        1,
        "run lvcreate -y --type vdo -L 5G -V 8G -n v k/pool",
    ),
];
