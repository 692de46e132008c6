//! Disks without reservations: the pool is held by a lease, and what keeps a hung owner from the disks is its watchdog.
//!
//! A machine that is paused and goes on is not tried here: its watchdog is paused with it, and a lease cannot
//! cover that, as `status` says.

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::Lab;
use orthrus_qemu::clock::unix_ms;
use orthrus_qemu::console;
use orthrus_qemu::names::{Head, ShelfKind};
use orthrus_tests::Bench;
use orthrus_tests::steps::{LIMIT, resume_and_verify, start_writing, until};

/// What a head prints when it boots: seconds after its watchdog reset it, on a slow machine many.
const BOOTS: &str = "Orthrus";
/// What may stand before a line of the log.
const PROMPT: &str = "orthrus> ";
/// What the other one prints before it writes anything at all, its own claim first.
const IS_FREE: &str = "nothing of the former owner can be alive any more";

/// Its heartbeat thread stops for ever; the kernel and all else go on.
pub fn hung(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    struck(bench, shelf, "hung owner of a lease", |lab, head| {
        lab.hang(head)
    })
}

/// Nothing runs any more, not even what answers clients.
pub fn hung_kernel(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let what = "owner of a lease whose kernel hangs";
    struck(bench, shelf, what, |lab, head| {
        lab.tell_ok(head, "rehearse hang kernel --yes").map(drop)
    })
}

/// The worker is stuck, and found so when it is to let go; the lease is renewed by others, until the head resets itself.
pub fn hung_worker(bench: &Bench, shelf: ShelfKind) -> Result<()> {
    let what = "owner of a lease whose worker hangs";
    struck(bench, shelf, what, |lab, head| {
        lab.tell_ok(head, "rehearse hang worker tank --yes")?;
        lab.tell_ok(head, "handover tank").map(drop)
    })
}

fn struck(
    bench: &Bench,
    shelf: ShelfKind,
    what: &str,
    strike: impl FnOnce(&Lab, Head) -> Result<()>,
) -> Result<()> {
    bench.with(shelf, |lab| {
        let first = lab.owner(None)?;
        let second = first.peer();
        lab.wait_for(&format!("{second} ready tank"), LIMIT)?;
        start_writing(lab)?;
        let hung = unix_ms();
        strike(lab, first)?;
        lab.wait_for(&format!("{second} serves"), LIMIT)?;
        until(
            || Ok(said_at(lab, second, hung, IS_FREE)?.is_some()),
            "the other head serves, and has not waited for the hung one",
        )?;
        // On a slow machine this is seen long after the other head has written: it counts when the kernel began, not when it says so.
        until(
            || Ok(began_at(lab, first, hung)?.is_some()),
            "the other head serves, and the watchdog has not reset the hung one",
        )?;
        // Whatever had been on its way is gone with the machine that sent it.
        let reset = began_at(lab, first, hung)?.context("booted, and not booted")?;
        let free = said_at(lab, second, hung, IS_FREE)?.context("said, and not said")?;
        let seconds = |at: u64| at.saturating_sub(hung) as f64 / 1000.0;
        println!(
            "    {what}: its new kernel runs after {:.1} s, and the other one writes after {:.1} s",
            seconds(reset),
            seconds(free)
        );
        ensure!(
            reset < free,
            "the other head has written before the watchdog had reset the hung one"
        );
        resume_and_verify(lab, what, hung)?;
        lab.wait_for(&format!("{first} standby"), LIMIT)?;
        ensure!(lab.owner(None)? == second, "the pool moved again");
        Ok(())
    })
}

/// When a head's console first said something after a moment, by the host's clock.
fn said_at(lab: &Lab, head: Head, since_unix_ms: u64, words: &str) -> Result<Option<u64>> {
    let lines = console::lines(lab.state().path(), head.into())?;
    let mut since = lines
        .into_iter()
        .filter(|line| line.unix_ms >= since_unix_ms);
    Ok(since
        .find(|line| line.text.contains(words))
        .map(|line| line.unix_ms))
}

/// The latest moment at which the kernel that runs on a head since it was hung can have begun, by the host's clock. The reset
/// was before it: by what the firmware and the loading of the kernel took.
///
/// The first line of any kind would not do. A head that is hung goes on logging, as only its heartbeat thread stands still; neither the
/// firmware nor the new kernel writes to the console, and the first that arrives comes with the banner, once PID 1 has set
/// the console up. But each line has the time since its kernel began, and arrives after it was said. So each tells a moment before
/// which the kernel began, and the earliest of those is the closest. The banner is passed over: half a line of the former kernel may
/// stand before it, with that one's time.
fn began_at(lab: &Lab, head: Head, since_unix_ms: u64) -> Result<Option<u64>> {
    let lines = console::lines(lab.state().path(), head.into())?;
    let since = lines
        .into_iter()
        .filter(|line| line.unix_ms >= since_unix_ms);
    let of_new_kernel = since.skip_while(|line| !line.text.contains(BOOTS)).skip(1);
    Ok(of_new_kernel
        .filter_map(|line| line.unix_ms.checked_sub(uptime_ms(&line.text)?))
        .min())
}

/// How long the kernel had run when a line of its log was said.
fn uptime_ms(line: &str) -> Option<u64> {
    let (seconds, _) = line
        .trim_start_matches(PROMPT)
        .strip_prefix('[')?
        .split_once(']')?;
    let seconds: f64 = seconds.trim().parse().ok()?;
    Some((seconds * 1000.0) as u64)
}
