//! The flashable image boots under UEFI, with no peer and no pool, and says so.

use anyhow::{Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_qemu::spec::{Disks, Options, Ready};
use orthrus_tests::{Bench, lab_options};

pub fn boots_to_standby(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    bench.alone(
        &Options {
            shelf,
            disks: Disks::None,
            uefi: true,
            heads: vec![Head::A],
            ready: Ready::Answering,
            ..lab_options()
        },
        says_that_it_is_alone,
    )
}

fn says_that_it_is_alone(lab: &Lab) -> Result<()> {
    let status = lab.tell_json(Head::A, "status --json")?;
    ensure!(status["head"] == "a", "it does not know itself: {status:#}");
    ensure!(
        status["peer_state"] == "unheard" && status["redundant"] == false,
        "{status:#}"
    );
    let text = lab.tell_ok(Head::A, "status")?;
    ensure!(text.contains("head b is unheard on every link"), "{text}");
    let pools = lab.tell_ok(Head::A, "pools")?;
    ensure!(pools.contains("no pool is configured"), "{pools}");
    Ok(())
}
