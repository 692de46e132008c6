//! The owner's machine is killed: I/O goes on without an error, nothing is lost, and the killed head
//! comes back as a standby.

use anyhow::{Result, ensure};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::ShelfKind;
use orthrus_qemu::{Lab, guest};
use orthrus_tests::Bench;
use orthrus_tests::steps::{CheckedFile, LIMIT, resume_and_verify, said, start_writing};

pub fn owner(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let files = (shelf == ShelfKind::Lio).then(|| files(lab)).transpose()?;
        start_writing(lab)?;
        let crashed = unix_ms();
        lab.crash(first)?;
        if let Some((_, file)) = &files {
            file.is_at_it(lab)?;
        }
        lab.wait_for(&format!("{} serves", first.peer()), LIMIT)?;
        resume_and_verify(lab, "crash of the owner", crashed)?;
        lab.boot(first)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(
            lab.owner(None)? == first.peer(),
            "the pool moved back by itself"
        );
        if let Some((device, file)) = files {
            file.is_whole(lab)?;
            said(lab, &format!("umount {PLACE} && e2fsck -fn {device}"))?;
        }
        Ok(())
    })
}

const PLACE: &str = "/mnt/second";

/// ext4 on the LUN that the checked writer leaves alone, and fio on it.
fn files(lab: &Lab) -> Result<(String, CheckedFile)> {
    let pool = &lab.status()?.pools[0].pool;
    let iqn = pool.iqn.as_deref().unwrap_or_default();
    let device = said(lab, &format!("{} device {iqn} 1", guest::SELF))?;
    said(
        lab,
        &format!("mkfs.ext4 -q -F {device} && mkdir -p {PLACE} && mount {device} {PLACE}"),
    )?;
    Ok((device, CheckedFile::start(lab, PLACE)?))
}
