//! What can break, in words of the parts that the heads play when it does, and how it is mended.

use std::fmt;
use std::time::Duration;

use crate::Lab;
use crate::cable::{Cable, Cut, Mode};
use crate::names::{Head, Machine};
use crate::request::LabStatus;
use crate::vm::Power;

/// Which heads, by the part that they play when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one that serves the pool.
    Owner,
    /// The other one.
    Standby,
    /// Both, at once.
    Both,
}

impl Who {
    /// The heads that are meant.
    pub fn heads(self, owner: Head) -> Vec<Head> {
        match self {
            Self::Owner => vec![owner],
            Self::Standby => vec![owner.peer()],
            Self::Both => vec![owner, owner.peer()],
        }
    }

    fn machines(self, owner: Head) -> Vec<Machine> {
        self.heads(owner).into_iter().map(Machine::from).collect()
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Standby => "standby",
            Self::Both => "both",
        })
    }
}

/// A cable, by the part of the head that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The heartbeat's serial line.
    Serial,
    /// The heartbeat's Ethernet.
    Ether,
    /// From a head to the shelf.
    Shelf(Who),
    /// From a head to the client network.
    Data(Who),
}

impl Wire {
    fn cables(self, owner: Head) -> Vec<Cable> {
        let of = |who: Who, cable: fn(Head) -> Cable| who.heads(owner).into_iter().map(cable);
        match self {
            Self::Serial => vec![Cable::Serial],
            Self::Ether => vec![Cable::Ether],
            Self::Shelf(who) => of(who, Cable::Shelf).collect(),
            Self::Data(who) => of(who, Cable::Data).collect(),
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial => f.write_str("serial"),
            Self::Ether => f.write_str("ether"),
            Self::Shelf(who) => write!(f, "shelf path of {who}"),
            Self::Data(who) => write!(f, "client network of {who}"),
        }
    }
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes on a cable, and nobody is told.
    Cut(Wire),
    /// A cable is pulled: both ends see it.
    Pull(Wire),
    /// Power is lost.
    Crash(Who),
    /// Power is lost and comes back at once.
    PowerCycle(Who),
    /// The machine stops; its clock goes on.
    Pause(Who),
    /// The machine stops, and its clock with it.
    Freeze(Who),
    /// The heartbeat thread stops for ever.
    Hang(Who),
    /// The reset button.
    Reset(Who),
    /// The shelf loses its power.
    ShelfOff,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(wire) => write!(f, "cut {wire}"),
            Self::Pull(wire) => write!(f, "pull {wire}"),
            Self::Crash(who) => write!(f, "crash {who}"),
            Self::PowerCycle(who) => write!(f, "power-cycle {who}"),
            Self::Pause(who) => write!(f, "pause {who}"),
            Self::Freeze(who) => write!(f, "freeze {who}"),
            Self::Hang(who) => write!(f, "hang {who}"),
            Self::Reset(who) => write!(f, "reset {who}"),
            Self::ShelfOff => f.write_str("shelf off"),
        }
    }
}

impl Fault {
    /// Whether it can strike as things are: what is off can neither be paused nor asked to hang, and a machine
    /// whose shelf is away does not start.
    pub fn is_possible(self, owner: Head, status: &LabStatus) -> bool {
        let runs = |head: Head| status.heads[head.index()].power == Power::Running;
        let all_run = |who: Who| who.heads(owner).into_iter().all(runs);
        let answers = |who: Who| {
            let mut heads = who.heads(owner).into_iter();
            heads.all(|head| status.heads[head.index()].report.is_some())
        };
        match self {
            Self::Cut(_) => true,
            // QEMU tells the machine, and one that is stopped cannot be told.
            Self::Pull(Wire::Ether) => all_run(Who::Both),
            Self::Pull(Wire::Data(who)) => all_run(who),
            Self::Pull(_) => true,
            Self::Crash(who) | Self::Pause(who) | Self::Freeze(who) | Self::Reset(who) => {
                all_run(who)
            }
            Self::PowerCycle(who) => {
                let no_path_cut = status.cuts.iter().all(|cut| !cut.starts_with("shelf"));
                all_run(who) && status.shelf.on && no_path_cut
            }
            Self::Hang(who) => all_run(who) && answers(who),
            Self::ShelfOff => status.shelf.on,
        }
    }

    /// Strikes.
    pub fn strike(self, lab: &Lab, owner: Head) -> anyhow::Result<()> {
        let cut = |wire: Wire, mode: Mode| -> anyhow::Result<()> {
            let to = None;
            let mut cables = wire.cables(owner).into_iter();
            cables.try_for_each(|cable| lab.cut(Cut { cable, mode, to }))
        };
        let each = |who: Who, verb: &dyn Fn(Head) -> anyhow::Result<()>| {
            who.heads(owner).into_iter().try_for_each(verb)
        };
        match self {
            Self::Cut(wire) => cut(wire, Mode::Silent),
            Self::Pull(wire) => cut(wire, Mode::Carrier),
            Self::Crash(who) => lab.crash_all(&who.machines(owner)),
            Self::PowerCycle(who) => {
                lab.crash_all(&who.machines(owner))?;
                lab.boot_all(&who.machines(owner))
            }
            Self::Pause(who) => each(who, &|head| lab.pause(head)),
            Self::Freeze(who) => each(who, &|head| lab.freeze(head)),
            Self::Hang(who) => each(who, &|head| lab.hang(head)),
            Self::Reset(who) => each(who, &|head| lab.reset(head)),
            Self::ShelfOff => lab.shelf(false),
        }
    }
}

/// Joins, resumes, switches on and boots whatever is not as it should be. The shelf first, as a head's machine
/// does not start without its disks. Beats before paths: a standby that finds its disks again should know that
/// its peer lives. Pulled cables after them: QEMU tells the machine, and does not while it waits for a disk.
///
/// # Errors
/// The lab's.
pub fn mend(lab: &Lab) -> anyhow::Result<()> {
    let status = lab.status()?;
    if !status.shelf.on {
        lab.shelf(true)?;
    }
    for head in &status.heads {
        if matches!(head.power, Power::Paused | Power::Frozen) {
            lab.resume(head.head)?;
        }
    }
    let mut cuts: Vec<(u8, Cable)> = status.cuts.iter().filter_map(|cut| order(cut)).collect();
    cuts.sort_unstable();
    for (_, cable) in cuts {
        lab.join(cable)?;
    }
    let off = status.heads.iter().filter(|head| head.power == Power::Off);
    let off: Vec<Machine> = off.map(|head| head.head.into()).collect();
    if !off.is_empty() {
        lab.boot_all(&off)?;
    }
    Ok(())
}

/// When a cut is to be mended, of those that a status lists: its first word is the cable.
fn order(cut: &str) -> Option<(u8, Cable)> {
    let cable: Cable = cut.split(' ').next()?.parse().ok()?;
    let turn = match cable {
        Cable::Shelf(_) => 1,
        _ if cut.contains("carrier") => 2,
        _ => 0,
    };
    Some((turn, cable))
}

/// How long a fault is left to work where nothing else ends it: long enough to be noticed by everybody.
pub fn long_enough(dead: Duration) -> Duration {
    dead * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_joined_before_paths_and_pulled_cables_last() {
        let cuts = [
            Cut::carrier(Cable::Ether),
            Cut::silent(Cable::Shelf(Head::B)),
            Cut::silent(Cable::Serial),
        ];
        let mut turns: Vec<_> = cuts
            .iter()
            .filter_map(|cut| order(&cut.to_string()))
            .collect();
        turns.sort_unstable();
        let cables: Vec<Cable> = turns.into_iter().map(|(_, cable)| cable).collect();
        assert_eq!(cables, [Cable::Serial, Cable::Shelf(Head::B), Cable::Ether]);
    }
}
