//! Bare `cargo lab`: the product's one promise, shown. A client writes, its head is killed, the
//! other head carries on, and every acknowledged block is there.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::clock::{time_of_day, unix_ms};
use crate::request::IoOptions;
use crate::spec::Options;
use crate::{Lab, report};

/// Writing before and after the crash.
const STEADY_WRITES: u64 = 300;
const TAKEOVER_LIMIT: Duration = Duration::from_secs(120);
const REJOIN_LIMIT: Duration = Duration::from_secs(240);

/// Runs it; an error is a broken promise.
pub fn run(name: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let options = Options {
        name: name.into(),
        ..Options::default()
    };
    let lab = Lab::up(&options)?;
    eprintln!(
        "lab: two heads, a shelf and a client are up after {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let story = tell(&lab).map_err(|e| e.context(lab.trouble()))?;
    print!("{story}");
    lab.down()
}

fn tell(lab: &Lab) -> anyhow::Result<String> {
    let first = lab.owner(None)?;
    lab.io_start(&IoOptions::default())?;
    lab.wait_for("client io", TAKEOVER_LIMIT)?;
    lab.wait_for_writes(STEADY_WRITES, TAKEOVER_LIMIT)?;
    eprintln!("lab: the client writes; killing head {first}, which serves it");
    let crash_unix_ms = unix_ms();
    lab.crash(first)?;
    let second = first.peer();
    lab.wait_for(&format!("{second} serves"), TAKEOVER_LIMIT)?;
    wait_writes_after(lab, crash_unix_ms)?;
    lab.wait_for_writes(STEADY_WRITES, TAKEOVER_LIMIT)?;
    eprintln!("lab: head {second} serves; booting head {first} again, which must stay standby");
    lab.boot(first)?;
    lab.wait_for(&format!("{first} standby"), REJOIN_LIMIT)?;
    lab.wait_for(&format!("{second} serves"), TAKEOVER_LIMIT)?;
    let io = lab.io_stop()?;
    let verified = lab.verify_all()?;
    let status = lab.status()?;
    let stall = io.longest_since(crash_unix_ms);
    let mut story = String::from("\nOrthrus: a takeover\n");
    let mut line = |what: &str, value: String| story.push_str(&format!("  {what:<22}{value}\n"));
    line("served before", format!("head {first}"));
    line("killed at", format!("{} UTC", time_of_day(crash_unix_ms)));
    line("served after", format!("head {second}"));
    line(
        "client resumed at",
        format!("{} UTC", time_of_day(stall.ended_unix_ms)),
    );
    line(
        "longest stall",
        format!("{:.2} s", stall.ms as f64 / 1000.0),
    );
    line(
        "blocks written",
        format!("{} acknowledged writes, {} errors", io.writes, io.errors),
    );
    line(
        "blocks verified",
        format!(
            "{verified} of {}, through head {second} and on the raw disks",
            io.blocks
        ),
    );
    line(
        "killed head",
        format!("head {first}: booted again, stays standby"),
    );
    line("accelerator", status.accel.clone());
    story.push_str(&report::stalls(&status));
    if io.errors > 0 {
        bail!(
            "the client saw {} errors, such as: {}",
            io.errors,
            io.first_errors.join("; ")
        );
    }
    Ok(story)
}

/// The takeover is over for the client when one of its writes completes after the crash.
pub fn wait_writes_after(lab: &Lab, unix_ms: u64) -> anyhow::Result<()> {
    let until = Instant::now() + TAKEOVER_LIMIT;
    while Instant::now() < until {
        let io = lab.io_report()?;
        if io.flowing() && io.longest_since(unix_ms).ms > 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!(
        "the client's writes did not go on within {} s",
        TAKEOVER_LIMIT.as_secs()
    )
}
