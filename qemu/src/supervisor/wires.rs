//! Cutting and joining cables.

use anyhow::{anyhow, bail};

use super::{Supervisor, lock};
use crate::cable::{Cable, Cut, Mode};
use crate::names::Head;
use crate::namespace;
use crate::vm::{Power, wiring};

impl Supervisor {
    pub(super) fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        cut.check().map_err(|why| anyhow!(why))?;
        // One cut a cable and direction: whatever was cut before in another way is joined first.
        if cut.to.is_none() && lock(&self.cuts).iter().any(|old| old.cable == cut.cable) {
            self.join(cut.cable, None)?;
        }
        match (cut.cable, cut.mode) {
            (Cable::Serial, _) => self.serial.set_cut(cut.to, true),
            (Cable::Ether, Mode::Silent) => self.ether.set_cut(cut.to, true),
            (Cable::Ether, Mode::Carrier) => self.set_heartbeat_carrier(false)?,
            (Cable::Shelf(head), mode) => self.set_path(head, Some(mode))?,
            (Cable::Data(head), Mode::Silent) => {
                namespace::set_data_port(&self.tools, head, false)?
            }
            (Cable::Data(head), Mode::Carrier) => self.set_link(head, wiring::DATA, false)?,
        }
        let mut cuts = lock(&self.cuts);
        if !cuts.contains(&cut) {
            cuts.push(cut);
        }
        Ok(())
    }

    pub(super) fn join(&self, cable: Cable, to: Option<Head>) -> anyhow::Result<()> {
        let cuts: Vec<Cut> = lock(&self.cuts)
            .iter()
            .copied()
            .filter(|cut| cut.cable == cable)
            .collect();
        let carrier = cuts.iter().any(|cut| cut.mode == Mode::Carrier);
        match cable {
            Cable::Serial => self.serial.set_cut(to, false),
            Cable::Ether => {
                self.ether.set_cut(to, false);
                if carrier {
                    self.set_heartbeat_carrier(true)?;
                }
            }
            Cable::Shelf(head) => self.set_path(head, None)?,
            Cable::Data(head) => {
                namespace::set_data_port(&self.tools, head, true)?;
                if carrier {
                    self.set_link(head, wiring::DATA, true)?;
                }
            }
        }
        // A cut of both directions of which one was joined is a cut of the other.
        let mut all = lock(&self.cuts);
        all.retain(|cut| cut.cable != cable);
        if let Some(joined) = to {
            let other = joined.peer();
            if cuts
                .iter()
                .any(|cut| cut.to.is_none_or(|towards| towards == other))
            {
                all.push(Cut::silent(cable).towards(other));
            }
        }
        Ok(())
    }

    fn set_heartbeat_carrier(&self, up: bool) -> anyhow::Result<()> {
        for head in Head::BOTH {
            self.set_link(head, wiring::HEARTBEAT, up)?;
        }
        Ok(())
    }

    /// A machine that is off is told when it boots; one that is paused cannot be told.
    fn set_link(&self, head: Head, netdev: &str, up: bool) -> anyhow::Result<()> {
        let mut vm = self.vm(head.into());
        match vm.power() {
            Power::Off => Ok(()),
            _ => vm.set_link(netdev, up),
        }
    }

    fn set_path(&self, head: Head, cut: Option<Mode>) -> anyhow::Result<()> {
        if self.paths.is_empty() {
            bail!("a plain shelf has no cable: its disks are files of the heads' machines");
        }
        // They stand head by head, path by path.
        let mine = self
            .paths
            .chunks(2)
            .filter_map(|path| path.get(head.index()));
        mine.for_each(|path| path.set_cut(cut));
        Ok(())
    }
}
