//! A pool with volumes of many kinds in one group, on disks for a lab.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use orthrus_image::Workspace;
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::Drive;

use super::bed::PRELUDE;

/// Size of a disk.
const DISK_BYTES: u64 = 1 << 30;
const DISKS: usize = 5;
const LIMIT: Duration = Duration::from_secs(400);

/// The volumes that clients are to have, each with something in it; what each holds is printed as the sum of its first
/// 8 MiB. The cache is dirty when the machine ends, and the file system of the state is marked as damaged.
const OF_KINDS: &str = r#"
run lvcreate -y -L 16M -n linear tank
run lvcreate -y -i 3 -I 64k -L 24M -n striped tank
run lvcreate -y --type raid1 -m 1 -L 16M -n raid1 tank
run lvcreate -y --type raid5 -i 3 -I 64k -L 24M -n raid5 tank
run lvcreate -y --type raid6 -i 3 -I 64k -L 24M -n raid6 tank
run lvcreate -y --type raid10 -m 1 -i 2 -I 64k -L 16M -n raid10 tank
run lvcreate -y --type raid1 -m 1 -L 32M -n pool tank
run lvcreate -y --type raid1 -m 1 -L 8M -n meta tank
run lvconvert -y --type thin-pool -c 64k --poolmetadata tank/meta tank/pool
run lvcreate -y -V 64M --thinpool tank/pool -n thin
fill thin
run lvcreate -y -s -n thinsnap tank/thin
run lvchange -y -kn tank/thinsnap
run lvchange -ay tank/thinsnap
run lvcreate -y -L 16M -n origin tank
fill origin
run lvcreate -y -s -L 16M -n copy tank/origin
run lvcreate -y -L 16M -n cached tank
run lvcreate -y -L 12M -n fast tank
run lvconvert -y --type cache --cachevol tank/fast --cachemode writeback tank/cached
copy=0
for i in 0 1 2; do run lvcreate -an -Zn -Wn -l 1 -n orthrus_ledger$i tank $(disk $i); done
run lvcreate -y -Wn -l 2 -n orthrus_state tank
mkfs.ext4 -q $(node orthrus_state)
debugfs -w -R 'set_super_value state 2' $(node orthrus_state) 2>/dev/null
run lvchange -an tank/orthrus_state
insync
for n in linear striped raid1 raid5 raid6 raid10 thin origin cached; do fill $n; done
for n in linear striped raid1 raid5 raid6 raid10 thin thinsnap origin copy cached; do
  [ -b $(node $n) ]
  echo $n $(dd if=$(node $n) bs=1M count=8 iflag=direct status=none | sha256sum | cut -d' ' -f1)
done
sync
"#;

/// Every disk a physical volume.
const WHOLE_DISKS: &str = "for i in 0 1 2 3 4; do disks=\"$disks $(disk $i)\"; done";

/// Volumes that can do without one disk, and the first of them for a writer.
const REDUNDANT: &str = r#"
run lvcreate -y --type raid1 -m 1 -L 200M -n a tank $(disk 0) $(disk 1)
run lvcreate -y --type raid5 -i 2 -I 64k -L 32M -n raid5 tank $(disk 0) $(disk 1) $(disk 2)
run lvcreate -y --type raid6 -i 3 -I 64k -L 24M -n raid6 tank
run lvcreate -y --type raid10 -m 1 -i 2 -I 64k -L 16M -n raid10 tank $(disk 0) $(disk 1) $(disk 2) $(disk 3)
for i in 0 1 2; do run lvcreate -an -Zn -Wn -l 1 -n orthrus_ledger$i tank $(disk $i); done
run lvcreate -y --type raid1 -m 1 -L 8M -Wn -n orthrus_state tank $(disk 1) $(disk 2)
insync
run lvchange -an tank/orthrus_state
for n in raid5 raid6 raid10; do fill $n; done
for n in raid5 raid6 raid10; do
  echo $n $(dd if=$(node $n) bs=1M count=8 iflag=direct status=none | sha256sum | cut -d' ' -f1)
done
sync
"#;

/// Two disks, each of which has all that is needed to go on by itself.
const MIRROR_DISKS: usize = 2;
const MIRRORED: &str = r#"
run lvcreate -y --type raid1 -m 1 -L 200M -n a tank
for i in 0 1; do run lvcreate -an -Zn -Wn -l 1 -n orthrus_ledger$i tank $(disk $i); done
run lvcreate -y --type raid1 -m 1 -L 8M -Wn -n orthrus_state tank
insync
run vgchange -an tank
sync
"#;

/// The same of two arrays: mirrors, with the volume for a writer, and a raid5. `$disks` are what physical volumes are made of.
const ARRAYS: &str = r#"
export MDADM_NO_UDEV=1
mdadm --create /dev/md7 --run --quiet --homehost=any --name=pair -l1 -n2 -z300M -b internal $(disk 0) $(disk 1) >&2
mdadm --create /dev/md8 --run --quiet --homehost=any --name=trio -l5 -n3 -c64 -z64M -b internal $(disk 2) $(disk 3) $(disk 4) >&2
disks='/dev/md7 /dev/md8'
"#;
const ON_ARRAYS: &str = r#"
run lvcreate -y -Wn -L 200M -n a tank /dev/md7
run lvcreate -y -Wn -L 64M -n trio tank /dev/md8
run lvcreate -y -Wn -L 16M -n across tank /dev/md8
run lvextend -y -L +16M tank/across /dev/md7
run lvcreate -y -Wn -L 8M -n orthrus_state tank /dev/md7
for n in trio across; do fill $n; done
for n in trio across; do
  echo $n $(dd if=$(node $n) bs=1M count=8 iflag=direct status=none | sha256sum | cut -d' ' -f1)
done
run vgchange -an tank
for md in md7 md8; do
  for i in $(seq 600); do
    [ "$(cat /sys/block/$md/md/sync_action /sys/block/$md/md/degraded | tr -d '
')" != idle0 ] || break
    sleep 0.2
  done
  mdadm --stop --quiet /dev/$md >&2
done
sync
"#;

/// Its disks, and for each volume the sum of its first 8 MiB.
pub struct Pool {
    /// The images, which are removed with this.
    pub disks: Vec<PathBuf>,
    /// Volumes and sums, by name.
    pub sums: Vec<(String, String)>,
    dir: PathBuf,
}

impl Pool {
    /// Makes one of every kind.
    ///
    /// # Errors
    /// lvm2's.
    pub fn of_kinds() -> Result<Pool> {
        Pool::make("kinds", WHOLE_DISKS, OF_KINDS)
    }

    /// Makes one that can do without any one disk.
    ///
    /// # Errors
    /// lvm2's.
    pub fn redundant() -> Result<Pool> {
        Pool::make("redundant", WHOLE_DISKS, REDUNDANT)
    }

    /// Makes one of two disks, either of which is enough.
    ///
    /// # Errors
    /// lvm2's.
    pub fn mirrored() -> Result<Pool> {
        let members = format!(
            "for i in $(seq 0 {}); do disks=\"$disks $(disk $i)\"; done",
            MIRROR_DISKS - 1
        );
        let mut pool = Pool::make("mirrored", &members, MIRRORED)?;
        pool.disks.truncate(MIRROR_DISKS);
        Ok(pool)
    }

    /// Makes one on MD arrays, a mirror and a raid5.
    ///
    /// # Errors
    /// mdadm's, or lvm2's.
    pub fn on_arrays() -> Result<Pool> {
        Pool::make("arrays", ARRAYS, ON_ARRAYS)
    }

    fn make(name: &str, members: &str, volumes: &str) -> Result<Pool> {
        let lab = Workspace::here()?.target().join("lab");
        let dir = lab.join(format!("pool-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let (mut disks, mut drives) = (Vec::new(), Vec::new());
        for index in 0..DISKS {
            let name = format!("disk{index}.raw");
            File::create(dir.join(&name))?.set_len(DISK_BYTES)?;
            disks.push(dir.join(&name));
            drives.push(Drive::new(format!("disk-{index}"), name));
        }
        let maker = artifacts::maker(&dir, &drives)?;
        let script = format!(
            "vg=tank
             {PRELUDE}
             for m in dm_raid dm_cache_smq dm_thin_pool dm_snapshot raid1 raid10 raid456; do modprobe $m; done
             {members}
             run pvcreate -y -ff $disks
             run vgcreate --setautoactivation n tank $disks
             {volumes}"
        );
        let said = maker
            .script(&script, LIMIT)
            .context("lvm2 makes the pool")?;
        let sums = said.lines().filter_map(|line| line.split_once(' '));
        let sums = sums.map(|(name, sum)| (name.to_owned(), sum.to_owned()));
        Ok(Pool {
            disks,
            sums: sums.collect(),
            dir,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
