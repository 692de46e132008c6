//! The owner's machine is killed: I/O goes on without an error, nothing is lost, and the killed head
//! comes back as a standby.

use anyhow::{Result, ensure};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, resume_and_verify, start_writing};

use crate::files::FilesOnLun;

pub fn owner(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let files = (shelf == ShelfKind::Lio).then(|| FilesOnLun::begin(lab));
        let files = files.transpose()?;
        start_writing(lab)?;
        let crashed = unix_ms();
        lab.crash(first)?;
        if let Some(files) = &files {
            files.are_written(lab)?;
        }
        lab.wait_for(&format!("{} serves", first.peer()), LIMIT)?;
        resume_and_verify(lab, "crash of the owner", crashed)?;
        lab.boot(first)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(
            lab.owner(None)? == first.peer(),
            "the pool moved back by itself"
        );
        if let Some(files) = files {
            files.are_whole(lab)?;
        }
        Ok(())
    })
}
