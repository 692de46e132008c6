//! Activates a volume group by the firmware's own code, beside the real lvm2: for tests only, in a virtual machine.
//! Nothing is fenced here.
//!
//!     volumes tables GROUP       the tables that would be loaded, by name, disks by their numbers
//!     volumes activate GROUP     name, node and length in bytes of each volume, a line each
//!     volumes degraded GROUP     the same without the disks that are not here
//!     volumes again GROUP        the same where all is active already: fails if anything had to be made
//!     volumes deactivate GROUP
//!     volumes time PROGRAM...    microseconds that another program takes, which must succeed

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Instant;

use orthrus_init::Step;
use orthrus_init::disk;
use orthrus_init::volume::{self, Active, Choice, Plan, Refusal, VolumeGroup};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["time", program, rest @ ..] = &words[..] {
        return time(program, rest);
    }
    let [what, name] = words[..] else {
        return Err("see the head of the source".into());
    };
    let group = find(name)?;
    match group.refusal("lab") {
        // What an owner would have had to write down first.
        Some(Refusal::MissingDisk { .. }) if what == "degraded" || what == "deactivate" => {}
        Some(refusal) => return Err(format!("refused: {refusal}").into()),
        None => {}
    }
    match what {
        "tables" => {
            let plan = Plan::new(&group, &Choice::serving())?;
            print!(
                "{}",
                plan.show(&|(major, minor)| format!("{major}:{minor}"))
            );
        }
        "activate" | "degraded" => show(&volume::activate(&group).volumes?),
        "again" => {
            let active = volume::activate(&group).volumes?;
            if let Some(made) = active.iter().find(|volume| volume.step != Step::Already) {
                return Err(format!("{} was made again", made.lv).into());
            }
        }
        "deactivate" => {
            volume::deactivate(&group.uuid)?;
        }
        _ => return Err(format!("{what}: see the head of the source").into()),
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // it is what this is for
fn time(program: &str, words: &[&str]) -> Outcome<()> {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let took = begun.elapsed();
    if !status.success() {
        return Err(format!("{program}: {status}").into());
    }
    println!("{}", took.as_micros());
    Ok(())
}

fn find(name: &str) -> Outcome<VolumeGroup> {
    let disks: Vec<_> = disk::scan().into_iter().filter_map(Result::ok).collect();
    let found = volume::read_groups(&disks);
    let group = found.find(name, "").cloned();
    Ok(group.ok_or_else(|| format!("no group {name}: {:?}", found.problems))?)
}

fn show(volumes: &[Active]) {
    for volume in volumes {
        let (node, bytes) = (volume.node.display(), volume.sectors * 512);
        let degraded = if volume.is_degraded { " degraded" } else { "" };
        println!("{} {node} {bytes}{degraded}", volume.lv);
    }
}
