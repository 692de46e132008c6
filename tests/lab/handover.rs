//! A planned handover, there and back, while the client writes.

use anyhow::{Result, ensure};
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, hand_over, resume_and_verify, start_writing, wait_for_writes};

use crate::files::FilesOnLun;

pub fn there_and_back(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let pool = lab.status()?.pools[0].pool.name.clone();
        let files = (shelf == ShelfKind::Lio).then(|| FilesOnLun::begin(lab));
        let files = files.transpose()?;
        start_writing(lab)?;
        hand_over(lab, first, &pool)?;
        if let Some(files) = &files {
            files.are_written(lab)?;
        }
        lab.wait_for(&format!("{} serves", first.peer()), LIMIT)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        wait_for_writes(lab, 100)?;
        let back = unix_ms();
        // Asked for at the standby this time: it asks the owner.
        lab.tell_ok(first, &format!("takeover {pool} --yes"))?;
        lab.wait_for(&format!("{first} serves"), LIMIT)?;
        lab.wait_for(&format!("{} standby", first.peer()), LIMIT)?;
        resume_and_verify(lab, "handover there and back", back)?;
        ensure!(
            lab.owner(None)? == first,
            "the pool is not where it was asked to be"
        );
        if let Some(files) = files {
            files.are_whole(lab)?;
        }
        Ok(())
    })
}
