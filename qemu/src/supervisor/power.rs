//! Machines and the shelf: on, off, paused, hung.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{Supervisor, lock};
use crate::cable::{Cable, Mode};
use crate::names::{Head, Machine, ShelfKind};
use crate::shelf::{lio, tgt::Tgt};
use crate::vm::{Power, wiring};

/// A guest's boot, on an emulated processor of a busy machine.
const GUEST_BOOT_LIMIT: Duration = Duration::from_secs(240);

impl Supervisor {
    /// Starts everything that is to run at once. The shelf first: a head's QEMU opens its disks when
    /// it starts.
    pub(super) fn switch_on(&self) -> anyhow::Result<()> {
        self.vm(Machine::Client).start()?;
        self.set_shelf(true)?;
        if self.spec.neighbour {
            self.vm(Machine::Neighbour).start()?;
        }
        for &head in &self.spec.heads {
            self.boot(head.into())?;
        }
        Ok(())
    }

    /// The shelf's power.
    pub(super) fn set_shelf(&self, on: bool) -> anyhow::Result<()> {
        if self.spec.disks.is_empty() {
            return Ok(());
        }
        if on {
            self.witness.forget();
        }
        match (self.spec.shelf, on) {
            (ShelfKind::Plain, true) => Ok(()),
            (ShelfKind::Plain, false) => bail!("a plain shelf is files: it has no power to lose"),
            (ShelfKind::Tgt, true) => {
                let mut tgt = lock(&self.tgt);
                if tgt.is_some() {
                    bail!("the shelf is on already");
                }
                *tgt = Some(Tgt::start(&self.tools, &self.spec.dir, &self.spec.disks)?);
                Ok(())
            }
            (ShelfKind::Tgt, false) => {
                let tgt = lock(&self.tgt).take();
                drop(tgt.context("the shelf is off already")?);
                // Not before: what it still answered was from before it lost its power.
                self.witness.forget();
                Ok(())
            }
            (ShelfKind::Lio, true) => {
                self.vm(Machine::Shelf).start()?;
                self.shelf
                    .wait_up(GUEST_BOOT_LIMIT)
                    .context("the LIO shelf")?;
                let script =
                    lio::script(self.spec.disks.len(), self.spec.paths, self.spec.neighbour);
                self.shelf
                    .script(&script, GUEST_BOOT_LIMIT)
                    .context("setting up the LIO shelf")
                    .map(drop)
            }
            (ShelfKind::Lio, false) => self.crash(&[Machine::Shelf]),
        }
    }

    pub(super) fn shelf_on(&self) -> bool {
        match self.spec.shelf {
            ShelfKind::Plain => true,
            ShelfKind::Tgt => lock(&self.tgt).is_some(),
            ShelfKind::Lio => self.vm(Machine::Shelf).power() != Power::Off,
        }
    }

    fn has_neighbour(&self) -> anyhow::Result<()> {
        match self.spec.neighbour {
            true => Ok(()),
            false => bail!("this lab was started without a neighbour"),
        }
    }

    pub(super) fn boot(&self, machine: Machine) -> anyhow::Result<()> {
        if machine == Machine::Neighbour {
            self.has_neighbour()?;
        }
        self.vm(machine).start()?;
        self.forget(machine);
        // A machine that comes up finds its cables as they were left.
        let cuts = lock(&self.cuts).clone();
        for cut in cuts.iter().filter(|cut| cut.mode == Mode::Carrier) {
            let netdev = match cut.cable {
                Cable::Ether if machine.head().is_some() => wiring::HEARTBEAT,
                Cable::Data(head) if Machine::from(head) == machine => wiring::DATA,
                _ => continue,
            };
            self.vm(machine).set_link(netdev, false)?;
        }
        Ok(())
    }

    /// All of them are killed before the end of the first is waited for.
    pub(super) fn crash(&self, machines: &[Machine]) -> anyhow::Result<()> {
        for &machine in machines {
            self.vm(machine).kill()?;
        }
        for &machine in machines {
            self.vm(machine).crash()?;
            self.forget(machine);
        }
        Ok(())
    }

    pub(super) fn reset(&self, machine: Machine) -> anyhow::Result<()> {
        self.vm(machine).reset()?;
        self.forget(machine);
        Ok(())
    }

    /// What was known of a machine ended with what ran on it.
    fn forget(&self, machine: Machine) {
        match machine {
            Machine::Client => {
                self.client.disconnect();
                self.logged_in.store(false, Ordering::Relaxed);
            }
            Machine::Shelf => {
                self.witness.forget();
                self.shelf.disconnect();
            }
            Machine::Neighbour => self.neighbour.disconnect(),
            Machine::A | Machine::B => {
                if let Some(head) = machine.head() {
                    self.control(head).disconnect();
                }
            }
        }
    }

    pub(super) fn hang(&self, head: Head) -> anyhow::Result<()> {
        let answer = self
            .control(head)
            .ask("rehearse hang --yes", Duration::from_secs(5))?;
        if answer.code != 0 {
            bail!("head {head} refused: {}", answer.text.trim());
        }
        Ok(())
    }

    pub(super) fn wait_neighbour(&self) -> anyhow::Result<()> {
        self.has_neighbour()?;
        self.neighbour
            .wait_up(GUEST_BOOT_LIMIT)
            .context("the neighbour")
    }

    pub(super) fn wait_client(&self) -> anyhow::Result<()> {
        self.client.wait_up(GUEST_BOOT_LIMIT).context("the client")
    }
}
