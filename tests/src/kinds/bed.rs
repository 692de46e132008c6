//! The machine in which the kinds are made, one after the other, on the same disks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::artifacts;
use orthrus_qemu::maker::{Drive, Maker};

use crate::program;

use super::tables;
use super::{KINDS, Kind};

/// Size of a disk; sparse. A volume without duplicates wants gigabytes.
const DISK_BYTES: u64 = 6 << 30;

/// Limit of one script. Emulation on a busy machine takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(240);

/// What every script begins with. The group is `k` unless `vg` says otherwise.
///
/// `insync` knows of a resync that stood still: in one run of some thousand volumes the kernel's thread of a raid4 that lvm2 had
/// just made waited for ever in the kernel, with no I/O under way. It says where the kernel's threads wait, and reads from the volume,
/// which wakes them: it is the kernel's, and what is tried here comes after it.
pub(super) const PRELUDE: &str = r#"
set -e
vg=${vg:-k}
export DM_DISABLE_UDEV=1
run() { lvm "$@" --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0} global{event_activation=0 use_lvmpolld=0 thin_check_executable="" cache_check_executable=""} activation{monitoring=0 udev_sync=0 udev_rules=0 thin_pool_autoextend_threshold=100} allocation{raid_stripe_all_devices=0}' >/run/said 2>&1 || { echo "lvm $*"; cat /run/said; exit 5; } }
said() { run "$@"; grep -v WARNING /run/said || true; }
disk() { for d in /sys/block/vd*; do case $(cat $d/serial) in disk-$1) echo /dev/${d##*/};; esac; done; }
node() { echo /dev/dm-$(dmsetup info -c --noheadings -o minor $vg-$1); }
last() { echo $(($(blockdev --getsize64 $1) / 1048576 - 1)); }
fill() { n=$(node $1)
  dd if=/dev/urandom of=$n bs=1M count=4 oflag=direct conv=notrunc status=none
  dd if=/dev/urandom of=$n bs=1M count=1 seek=$(last $n) oflag=direct conv=notrunc status=none; }
names() { said lvs --noheadings -o lv_name --select 'lv_layout!="pool"' $vg | tr -d ' '; }
sums() { for n in $(names); do [ -e /dev/mapper/$vg-$n ] || dmsetup info $vg-$n >/dev/null 2>&1 || continue
  d=$(node $n)
  echo $n $({ dd if=$d bs=1M count=16 iflag=direct status=none; dd if=$d bs=1M skip=$(last $d) iflag=direct status=none; } | sha256sum | cut -d' ' -f1); done; }
behind() { said lvs --noheadings -o sync_percent --select 'segtype=~raid || segtype=mirror' -a $vg | tr -d ' ' | grep -v '^$' | grep -v '^100.00$' || true; }
stands() { echo "a resync of the kernel's stands still at $(behind):"; dmsetup status
  for p in /proc/[0-9]*; do case $(cat $p/comm) in md*|lvm|dd|kworker*dm*|kworker*raid*) echo "$p $(cat $p/comm) $(sed -n 's/^State://p' $p/status)"; cat $p/stack;; esac; done 2>/dev/null; }
insync() { for i in $(seq 200); do
  case "$(behind)" in '') return;; esac; sleep 0.2; done
  stands
  for n in $(names); do dd if=$(node $n) of=/dev/null bs=4k count=1 iflag=direct status=none & done
  for i in $(seq 100); do
  case "$(behind)" in '') echo "it went on after its volume was read"; return;; esac; sleep 0.2; done
  exit 6; }
dump() { dmsetup table --showkeys; echo ---; dmsetup info -c --noheadings --separator : -o name,major,minor,uuid,readonly; }
"#;

/// The machine, its disks, and the firmware's program in it.
pub struct Bed {
    maker: Maker,
    dir: PathBuf,
}

impl Bed {
    /// Boots it, with this build of `src/bin/volumes.rs`.
    ///
    /// # Errors
    /// What is missing, or does not build.
    pub fn up(program: &Path) -> Result<Bed> {
        let dir = artifacts::machine_dir("kinds")?;
        let disks = KINDS.iter().map(|kind| kind.disks).max().unwrap_or(1);
        let mut drives = Vec::new();
        for index in 0..disks {
            let name = format!("disk{index}.raw");
            File::create(dir.join(&name))?.set_len(DISK_BYTES)?;
            drives.push(Drive::new(format!("disk-{index}"), name));
        }
        drives.push(program::drive(&dir, program)?);
        let maker = artifacts::maker(&dir, &drives)?;
        let bed = Bed { maker, dir };
        bed.script(&program::unpack("/run/volumes"))?;
        bed.script(
            "for m in dm_raid dm_cache_smq dm_writecache dm_integrity dm_zero dm_mirror dm_thin_pool dm_snapshot dm_vdo \
               raid0 raid1 raid10 raid456; do modprobe $m; done",
        )?;
        Ok(bed)
    }

    /// Runs a script in it; what it says.
    pub(super) fn script(&self, script: &str) -> Result<String> {
        self.maker.script(&format!("{PRELUDE}\n{script}"), LIMIT)
    }

    /// Makes a kind, activates it by lvm2 and by the firmware in turn, and holds one against the other.
    ///
    /// # Errors
    /// Where they differ, and how.
    pub fn compare(&self, kind: &Kind) -> Result<()> {
        self.with(kind, || self.hold_against())
    }

    /// RAID as a crash leaves it: a write that one image lacks, and a bitmap that knows of it. lvm2 and the kernel leave it so; after
    /// an activation by the firmware all is equal, and nothing is made equal after a stop in order. And RAID with an image that was thrown
    /// out and is here again: after an activation it has what was acknowledged meanwhile.
    ///
    /// # Errors
    /// What differs.
    pub fn crash(&self) -> Result<()> {
        let kind = Kind {
            name: "crashed",
            disks: 5,
            script: include_str!("crashed/make.sh"),
            is_redundant: true,
        };
        self.with(&kind, || {
            for script in [
                concat!(
                    include_str!("crashed/thrown_out.sh"),
                    include_str!("crashed/old.sh")
                ),
                concat!(
                    include_str!("crashed/thrown_out.sh"),
                    include_str!("crashed/behind.sh")
                ),
                include_str!("crashed/compare.sh"),
            ] {
                let said = self.script(script)?;
                print!("{said}");
                ensure!(said.ends_with("all is well\n"), "{said}");
            }
            Ok(())
        })
    }

    /// Like [`Bed::compare`], without one of its disks; what is read must be what was read before.
    ///
    /// # Errors
    /// Where they differ, and how.
    pub fn compare_without(&self, kind: &Kind, lost: usize) -> Result<()> {
        self.with(kind, || self.hold_against_without(lost))
    }

    /// A kind for a while. The next one needs the disks, whatever becomes of this one.
    fn with(&self, kind: &Kind, run: impl FnOnce() -> Result<()>) -> Result<()> {
        self.make(kind).context("lvm2 makes it")?;
        let outcome = run();
        self.clear(kind).context("taking it down")?;
        outcome
    }

    fn hold_against_without(&self, lost: usize) -> Result<()> {
        let whole = self.script("sums; run vgchange -an k")?;
        // A disk without its label is as good as none.
        self.script(&format!(
            "dd if=/dev/zero of=$(disk {lost}) bs=1M count=1 oflag=direct conv=notrunc status=none"
        ))?;
        let lvm = self.script(
            "run vgchange -ay --activationmode degraded k; sums; echo ===; dump; run vgchange -an k",
        )?;
        let (sums, lvm) = parse(&lvm)?;
        let said = self.script("/run/volumes activate k 2>&1 && exit 9; dmsetup ls")?;
        ensure!(
            said.contains("refused: a disk is missing") && said.contains("No devices found"),
            "not refused as it must be: {said}"
        );
        let said = self.script(
            "/run/volumes degraded k >/run/active; sums; echo ===; dump; cat /run/active",
        )?;
        let (said, active) = said.rsplit_once("\nv ").context("no volume v")?;
        ensure!(
            active.contains("degraded"),
            "v is not called degraded: {active}"
        );
        let (our_sums, ours) = parse(said)?;
        let difference = tables::difference(&lvm, &ours);
        ensure!(difference.is_empty(), "the tables differ:\n{difference}");
        ensure!(
            sums == whole && our_sums == whole,
            "before: {whole}\nlvm2: {sums}\nours: {our_sums}"
        );
        self.deactivate()?;
        Ok(())
    }

    fn make(&self, kind: &Kind) -> Result<()> {
        let disks = kind.disks;
        self.script(&format!(
            "for i in $(seq 0 {last}); do disks=\"$disks $(disk $i)\"; done
             run pvcreate -y -ff $disks
             run vgcreate k $disks
             {script}
             for n in $(names); do case $(dmsetup info -c --noheadings -o readonly k-$n 2>/dev/null) in Writeable) fill $n;; esac; done
             insync
             sync",
            last = disks - 1,
            script = kind.script,
        ))
        .map(|said| print!("{said}"))
    }

    fn hold_against(&self) -> Result<()> {
        // A snapshot that was made a moment ago is as it will be only when it was activated anew. A merge lvm2 would end in the
        // background, and change the tables.
        let lvm = self.script("run vgchange -an k; run vgchange -ay --poll n k; sums; echo ===; dump; run vgchange -an k; dmsetup ls >&2")?;
        let (sums, lvm) = parse(&lvm)?;
        let said = self.script("/run/volumes activate k >/run/active; cat /run/active >&2; sums; echo ===; dump; /run/volumes again k")?;
        let (our_sums, ours) = parse(&said)?;
        let difference = tables::difference(&lvm, &ours);
        ensure!(difference.is_empty(), "the tables differ:\n{difference}");
        ensure!(
            sums == our_sums,
            "the contents differ:\nlvm2: {sums}\nours: {our_sums}"
        );
        ensure!(sums.lines().count() >= 1, "nothing was read");
        self.deactivate()?;
        let after = self.script("run vgchange -ay --poll n k; sums; run vgchange -an k")?;
        ensure!(
            after == sums,
            "lvm2 reads something else afterwards:\nbefore: {sums}\nafter: {after}"
        );
        Ok(())
    }

    /// Ours, after which nothing may be left.
    fn deactivate(&self) -> Result<()> {
        let left = self.script("/run/volumes deactivate k; dmsetup ls")?;
        ensure!(left.trim() == "No devices found", "left behind: {left}");
        Ok(())
    }

    fn clear(&self, kind: &Kind) -> Result<()> {
        self.script(&format!(
            "/run/volumes deactivate k >/dev/null 2>&1 || true
             (run vgchange -an k) || dmsetup remove_all --force || true
             for i in $(seq 0 {last}); do
               dd if=/dev/zero of=$(disk $i) bs=1M count=2 oflag=direct conv=notrunc status=none
             done",
            last = kind.disks - 1
        ))
        .map(drop)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Sparse files of no use to anybody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Sums and tables of one activation.
fn parse(said: &str) -> Result<(String, String)> {
    let (sums, dump) = said.split_once("===\n").context("no tables")?;
    let (table, info) = dump.split_once("---\n").context("no names")?;
    Ok((sums.to_owned(), tables::by_name(table, info)?))
}
