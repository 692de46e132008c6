//! How everything is, asked afresh each time.

use std::sync::TryLockError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use super::{Supervisor, lock};
use crate::headview;
use crate::names::{Head, Machine, ShelfKind};
use crate::namespace;
use crate::request::{ClientStatus, HeadStatus, LabStatus, PoolStatus, ShelfStatus};
use crate::vm::Power;

/// A head answers its control port in milliseconds when it is well; under emulation on a busy host
/// it may take a second.
const ANSWER_LIMIT: Duration = Duration::from_millis(2500);

impl Supervisor {
    pub(super) fn status(&self) -> LabStatus {
        let heads: Vec<HeadStatus> = thread::scope(|scope| {
            let asked = Head::BOTH.map(|head| scope.spawn(move || self.head_status(head)));
            asked
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .collect()
        });
        let client = &self.spec.dir;
        let mut client_vm = self.vm(Machine::Client);
        let client = ClientStatus {
            power: client_vm.power(),
            pid: client_vm.pid(),
            up: self.client.is_up(),
            logged_in: self.logged_in.load(Ordering::Relaxed),
            console_log: client.join("client.console.log"),
        };
        drop(client_vm);
        LabStatus {
            name: self.spec.name.clone(),
            dir: self.spec.dir.clone(),
            supervisor_pid: namespace::outer_pid(std::process::id()),
            accel: self.spec.accel.name().into(),
            shelf: self.shelf_status(),
            pools: self.pool_status(&heads),
            heads,
            client,
            cuts: lock(&self.cuts).iter().map(ToString::to_string).collect(),
            io: lock(&self.io)
                .as_ref()
                .map(|writer| lock(&writer.run).report()),
            stalls: self.clock.stalls(),
        }
    }

    fn head_status(&self, head: Head) -> HeadStatus {
        let mut vm = self.vm(head.into());
        let (power, pid) = (vm.power(), vm.pid());
        drop(vm);
        let asked = match power {
            Power::Running => self.ask_status(head).map_err(|e| format!("{e:#}")),
            _ => Err(format!("{power:?}").to_lowercase()),
        };
        let (report, silence) = match asked {
            Ok(report) => (Some(report), None),
            Err(why) => (None, Some(why)),
        };
        HeadStatus {
            head,
            power,
            pid,
            console_log: self.spec.dir.join(format!("{head}.console.log")),
            report,
            silence,
        }
    }

    fn ask_status(&self, head: Head) -> anyhow::Result<Value> {
        let until = Instant::now() + ANSWER_LIMIT;
        // Another shell's command may have the port for long; a status must not wait for that.
        let mut control = loop {
            match self.controls[head.index()].try_lock() {
                Ok(control) => break control,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => bail!("busy with another command"),
            }
        };
        let answer = control.ask("status --json", ANSWER_LIMIT)?;
        Ok(serde_json::from_str(&answer.text)?)
    }

    fn shelf_status(&self) -> ShelfStatus {
        let pid = match self.spec.shelf {
            ShelfKind::Tgt => lock(&self.tgt)
                .as_ref()
                .and_then(|tgt| namespace::outer_pid(tgt.id())),
            ShelfKind::Lio => self.vm(Machine::Shelf).pid(),
            ShelfKind::Plain => None,
        };
        ShelfStatus {
            kind: self.spec.shelf,
            on: self.shelf_on(),
            pid,
            disks: self.spec.disks.clone(),
            seen: self.witness.seen(),
        }
    }

    fn pool_status(&self, heads: &[HeadStatus]) -> Vec<PoolStatus> {
        let serving = |pool: &str| {
            heads.iter().find_map(|head| {
                let views = headview::pools(head.report.as_ref()?);
                let view = views
                    .into_iter()
                    .find(|view| view.name == pool && view.state == "serving")?;
                Some((head.head, view.epoch))
            })
        };
        let luns = lock(&self.luns).clone();
        self.spec
            .pools
            .iter()
            .map(|pool| {
                let found = serving(&pool.name);
                PoolStatus {
                    pool: pool.clone(),
                    owner: found.map(|(head, _)| head),
                    epoch: found.and_then(|(_, epoch)| epoch),
                    luns: luns.get(&pool.name).cloned().unwrap_or_default(),
                }
            })
            .collect()
    }
}
