//! Makes the default disks: a volume group by the real lvm2, in a small machine, because lvm2 refuses
//! plain files and an ordinary user has no loop devices. Done once and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use orthrus_image::{Tools, Workspace};

use super::machine::{Drive, Machine};
use super::{DISK_BYTES, DISK_COUNT};
use crate::accel::Accel;
use crate::spec::GuestImage;

const LVM_LIMIT: Duration = Duration::from_secs(120);

/// What is made: a group over all disks, with a linear volume and one striped over two disks; with a
/// ledger also its copies, one extent each on up to three disks, and the volume of the state that goes
/// with the pool. Without activating anything (`-an`), as a head must be the first to do that, and
/// without zeroing: the disks are new files, which read as zeroes.
const SCRIPT: &str = r#"
set -e
export DM_DISABLE_UDEV=1
disks=$(for d in /sys/block/vd*; do case $(cat $d/serial) in disk-*) echo $(cat $d/serial):/dev/${d##*/};; esac; done | sort | cut -d: -f2)
run() { lvm "$@" --config 'devices{use_devicesfile=0 obtain_device_list_from_udev=0} global{event_activation=0 use_lvmpolld=0} activation{monitoring=0 udev_sync=0 udev_rules=0}'; }
run pvcreate $disks
run vgcreate --setautoactivation n tank $disks
run lvcreate -an -Zn -Wn -L 512M -n vol0 tank
run lvcreate -an -Zn -Wn -i 2 -I 64k -L 512M -n vol1 tank
if [ $ledger = yes ]; then
  copy=0
  for disk in $disks; do
    [ $copy -lt 3 ] || break
    run lvcreate -an -Zn -Wn -l 1 -n orthrus_ledger$copy tank $disk
    copy=$((copy + 1))
  done
  run lvcreate -an -Zn -Wn -l 2 -n orthrus_state tank
fi
run vgs; run lvs
sync
"#;

/// The made disks; making them takes half a minute under emulation.
pub fn ensure(
    workspace: &Workspace,
    tools: &Tools,
    accel: Accel,
    guest: &GuestImage,
    ledger: bool,
) -> anyhow::Result<Vec<PathBuf>> {
    let script = format!("ledger={}\n{SCRIPT}", if ledger { "yes" } else { "no" });
    let recipe = script
        .bytes()
        .fold(DISK_BYTES ^ DISK_COUNT as u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let place = workspace.cache().join(format!("disks-{recipe:016x}"));
    let files = |dir: &Path| {
        (0..DISK_COUNT)
            .map(|index| dir.join(format!("disk{index}.raw")))
            .collect::<Vec<_>>()
    };
    if place.exists() {
        return Ok(files(&place));
    }
    eprintln!("lab: making disks with a volume group by lvm2");
    let making = workspace
        .cache()
        .join(format!("disks.making-{recipe:016x}-{}", std::process::id()));
    fs::create_dir_all(&making)?;
    for file in files(&making) {
        File::create(file)?.set_len(DISK_BYTES)?;
    }
    let drives: Vec<Drive> = (0..)
        .zip(files(&making))
        .map(|(index, file)| Drive::new(&format!("disk-{index}"), &file))
        .collect();
    Machine {
        tools,
        accel,
        guest,
    }
    .run(&making, &drives, &script, LVM_LIMIT)
    .context("making disks")?;
    match fs::rename(&making, &place) {
        Ok(()) => {}
        // Another process was faster: its disks are as good.
        Err(_) if place.exists() => fs::remove_dir_all(&making)?,
        Err(e) => return Err(e).context("keeping the made disks"),
    }
    Ok(files(&place))
}
