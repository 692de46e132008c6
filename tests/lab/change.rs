//! Volumes are made, grown, renamed and removed while the pool is served, and move with it.

use anyhow::{Context, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{
    LIMIT, boot_and_hand_over, pool_field, resume_and_verify, said, start_writing, until,
    wait_for_writes,
};

/// Sorts behind all volumes of the lab's pool, so that it changes no LUN's number.
const NAME: &str = "zvol";
/// The name that it gets for a while; sorts there as well.
const OTHER: &str = "zvolume-2";
pub const MIB: u64 = 1 << 20;

pub fn volumes(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let before = offered(lab, first)?;
        start_writing(lab)?;
        refused(lab, first)?;
        said(lab, "dmesg -C")?;
        lab.tell_ok(
            first,
            &format!("volume create tank/{NAME} 24M --raid raid1"),
        )?;
        let lun = before.len() as u64;
        let mut with = before.clone();
        with.push((NAME.to_owned(), lun, 24 * MIB));
        ensure!(offered(lab, first)? == with, "after it was made");
        // By the unit attention that meets the writer's next command.
        until(
            || Ok(said(lab, "dmesg")?.contains("LUN assignments on this target have changed")),
            "the client is not told of the new LUN",
        )?;
        let sum = fill(lab, lun).context("the client fills the new LUN")?;
        lab.tell_ok(first, &format!("volume grow tank/{NAME} 40M"))?;
        with[before.len()].2 = 40 * MIB;
        ensure!(offered(lab, first)? == with, "after it grew");
        holds(lab, lun, 40 * MIB, &sum).context("after it grew")?;
        lab.tell_ok(first, &format!("volume rename tank/{NAME} {OTHER}"))?;
        OTHER.clone_into(&mut with[before.len()].0);
        ensure!(offered(lab, first)? == with, "after it was renamed");
        holds(lab, lun, 40 * MIB, &sum).context("after it was renamed")?;
        wait_for_writes(lab, 50)?;

        let struck = unix_ms();
        lab.crash(first)?;
        let second = first.peer();
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        resume_and_verify(lab, "a crash after a volume was made", struck)?;
        ensure!(offered(lab, second)? == with, "after a crash of the owner");
        holds(lab, lun, 40 * MIB, &sum).context("after a crash of the owner")?;

        lab.tell_ok(second, &format!("volume rename tank/{OTHER} {NAME}"))?;
        NAME.clone_into(&mut with[before.len()].0);
        ensure!(offered(lab, second)? == with, "after it was renamed back");
        lab.tell_ok(second, &format!("volume remove tank/{NAME} --yes"))?;
        ensure!(offered(lab, second)? == before, "after it was removed");
        // Its extents can be used again at once.
        lab.tell_ok(
            second,
            &format!("volume create tank/{NAME} 40M --stripes 2"),
        )?;
        lab.tell_ok(second, &format!("volume remove tank/{NAME} --yes"))?;
        boot_and_hand_over(lab, first, "tank")?;
        ensure!(offered(lab, first)? == before, "after a handover");
        lab.wait_for(&format!("{second} standby"), LIMIT)?;
        Ok(())
    })
}

/// What would hurt a client, or cannot be, changes nothing and says why.
fn refused(lab: &Lab, owner: Head) -> Result<()> {
    for (head, command, why) in [
        (owner, "volume create tank/aaa 8M", "another number"),
        (owner, "volume create tank/zvol 900T", "extents are wanted"),
        (
            owner,
            "volume create tank/orthrus_x 8M",
            "the firmware's own",
        ),
        (owner, "volume grow tank/vol0 4M", "are not more"),
        (owner, "volume grow tank/nobody 4M", "no volume nobody"),
        (owner, "volume rename tank/vol0 zzz", "another number"),
        (owner, "volume rename tank/nobody zzz", "no volume nobody"),
        (
            owner,
            "volume rename tank/vol0 vol1",
            "a volume vol1 already",
        ),
        (
            owner,
            "volume rename tank/vol0 orthrus_x",
            "the firmware's own",
        ),
        (owner, "volume remove tank/vol0 --yes", "another number"),
        (owner, "volume remove pond/vol0 --yes", "no pool"),
        (owner.peer(), "volume create tank/zvol 8M", "does not serve"),
    ] {
        answered(lab, head, command, why)?;
    }
    Ok(())
}

/// That a command is refused for this reason.
pub fn answered(lab: &Lab, head: Head, command: &str, why: &str) -> Result<()> {
    let answer = lab.tell(head, command)?;
    ensure!(
        answer.code == 1 && answer.text.contains(why),
        "{command:?} was answered with {}: {}",
        answer.code,
        answer.text
    );
    Ok(())
}

/// Names, LUNs and sizes of what clients are offered, by LUN.
pub fn offered(lab: &Lab, owner: Head) -> Result<Vec<(String, u64, u64)>> {
    let volumes = pool_field(lab, owner, "volumes")?;
    let volumes = volumes.as_array().context("no volumes")?.iter();
    let mut offered: Vec<_> = volumes
        .filter_map(|volume| {
            let name = volume["name"].as_str()?.to_owned();
            Some((name, volume["lun"].as_u64()?, volume["bytes"].as_u64()?))
        })
        .collect();
    offered.sort_by_key(|(_, lun, _)| *lun);
    Ok(offered)
}

/// The device of a LUN, after the client looked again.
fn device(lab: &Lab, lun: u64) -> Result<String> {
    let iqn = lab.status()?.pools[0].pool.iqn.clone();
    let iqn = iqn.context("no target")?;
    Ok(format!(
        "for host in /sys/class/scsi_host/*; do echo '- - -' > $host/scan; done; \
         until device=$(/run/guest device {iqn} {lun}); do sleep 0.2; done; \
         echo 1 > /sys/block/${{device##*/}}/device/rescan; "
    ))
}

/// Fills the first 24 MiB of a LUN; the sum of it.
pub fn fill(lab: &Lab, lun: u64) -> Result<String> {
    let script = device(lab, lun)?
        + "head -c 24M /dev/urandom > /tmp/fill; \
           dd if=/tmp/fill of=$device bs=1M oflag=direct conv=fsync status=none && sha256sum < /tmp/fill; rm /tmp/fill";
    said(lab, &script)
}

/// That a LUN has this size, and at its start what it was filled with.
pub fn holds(lab: &Lab, lun: u64, bytes: u64, sum: &str) -> Result<()> {
    let script = device(lab, lun)?
        + "echo $(($(cat /sys/block/${device##*/}/size) * 512)); \
           dd if=$device bs=1M count=24 iflag=direct status=none | sha256sum";
    let found = said(lab, &script)?;
    ensure!(
        found == format!("{bytes}\n{sum}"),
        "LUN {lun} is {found}, and should be {bytes} bytes of {sum}"
    );
    Ok(())
}

/// The sum of the first 24 MiB of a LUN.
pub fn start_of(lab: &Lab, lun: u64) -> Result<String> {
    let script =
        device(lab, lun)? + "dd if=$device bs=1M count=24 iflag=direct status=none | sha256sum";
    said(lab, &script)
}
