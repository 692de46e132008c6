//! NVMe over TCP by the kernel's nvmet, driven through configfs (`drivers/nvme/target/configfs.c`).
//!
//! ```text
//! nvmet/hosts/NQN                              a client that some pool lets in
//! nvmet/subsystems/NQN/attr_*                  one a pool: serial number, model, firmware
//! nvmet/subsystems/NQN/namespaces/N            block device, UUID and NGUID, enable
//! nvmet/subsystems/NQN/allowed_hosts/NQN ─► host
//! nvmet/ports/N/addr_*                         one a service address
//! nvmet/ports/N/subsystems/NQN ─► subsystem    from here on it listens
//! ```
//!
//! A client that reaches a subsystem which does not let it in is told never to come back, so that the last link is made when all
//! the rest stands. A port can be made while its address is absent, which [`crate::net::settle`] allows (nvmet binds without
//! `IP_FREEBIND`). On release the address went and our sockets were ended before: what nvmet still says, as it ends its
//! controllers, reaches nobody. Disabling a namespace waits for all commands on it (`nvmet_ns_disable`): for its volume, and for a client that
//! sent a write and died before its data, as long as its connection stands. It holds a lock meanwhile without which no client of any pool
//! connects. So the ports always go first, and with them the connections.
//!
//! Writes go to the volume past the page cache (`buffered_io` stays 0), flush and FUA are the volume's own. Reservations by
//! clients are not offered: this kernel has none to offer here.
//!
//! The entries of hosts are of all pools together and stay: they let nobody in by themselves.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ExportError;
use super::iscsi::action::Action;
use super::iscsi::sequence::{self, Way};
use super::iscsi::tree::{Configfs, Tree};
use crate::Step;
pub use plan::{NamespacePlan, NvmePlan};

/// What clients read of a subsystem. Not the kernel's version, which the firmware would be otherwise: heads are upgraded one at a time.
const MODEL: &str = "ORTHRUS";
const FIRMWARE: &str = "1";

/// nvmet of this kernel.
pub struct Nvmet<T: Tree = Configfs> {
    root: PathBuf,
    limit: Duration,
    tree: Arc<T>,
}

impl Nvmet {
    /// That at its usual place.
    pub fn new(step_limit: Duration) -> Nvmet {
        Nvmet::at("/sys/kernel/config/nvmet", step_limit, Configfs)
    }
}

impl<T: Tree> Nvmet<T> {
    pub(super) fn at(root: impl Into<PathBuf>, limit: Duration, tree: T) -> Nvmet<T> {
        Nvmet {
            root: root.into(),
            limit,
            tree: Arc::new(tree),
        }
    }

    /// Makes the plan true, and has clients look again at volumes that may have grown. After an error call [`Nvmet::close`].
    pub fn open(&self, plan: &NvmePlan) -> Result<Step, ExportError> {
        let hosts = plan.hosts.iter();
        let hosts = hosts.map(|host| Action::Directory(self.root.join("hosts").join(host)));
        sequence::run(&self.tree, hosts.collect(), Way::Forth, self.limit)?;
        let step = sequence::run(&self.tree, self.actions(plan), Way::Forth, self.limit)?;
        let sizes = plan.namespaces.iter().map(|namespace| {
            let path = self.namespace(plan, namespace).join("revalidate_size");
            Action::Tell(path, "1".to_owned())
        });
        sequence::run(&self.tree, sizes.collect(), Way::Forth, self.limit)?;
        Ok(step)
    }

    /// Takes the plan back, in reverse, from whatever state there is.
    pub fn close(&self, plan: &NvmePlan) -> Result<Step, ExportError> {
        let mut actions = self.actions(plan);
        actions.reverse();
        sequence::run(&self.tree, actions, Way::Back, self.limit)
    }

    /// Takes one namespace out of a plan that is open: clients find it gone. None is let in until the plan is opened again, and
    /// those of the other namespaces wait; after an error it is open again already.
    pub fn withdraw(
        &self,
        plan: &NvmePlan,
        namespace: &NamespacePlan,
    ) -> Result<Step, ExportError> {
        let namespace = self.namespace(plan, namespace);
        self.take_back(plan, |path| path.starts_with(&namespace))
    }

    /// Takes a part of a plan back, the ports first.
    fn take_back(
        &self,
        plan: &NvmePlan,
        part: impl Fn(&Path) -> bool,
    ) -> Result<Step, ExportError> {
        let ports = self.root.join("ports");
        let mut actions = self.actions(plan);
        actions.retain(|action| {
            let is_link = matches!(action, Action::Link { .. });
            part(action.path()) || (is_link && action.path().starts_with(&ports))
        });
        actions.reverse();
        let done = sequence::run(&self.tree, actions, Way::Back, self.limit);
        if done.is_err() {
            // The others are to be served; what keeps this one is said already.
            self.open(plan).ok();
        }
        done
    }

    /// Ends all connections of a plan that is open, and lets one host in no more. None is let in until the plan is opened again;
    /// after an error it is already.
    pub fn dismiss(&self, plan: &NvmePlan, host: &str) -> Result<Step, ExportError> {
        let allowed = self.subsystem(plan).join("allowed_hosts").join(host);
        self.take_back(plan, |path| path == allowed)
    }

    #[cfg(test)]
    pub(super) fn fake(&self) -> &T {
        &self.tree
    }

    fn subsystem(&self, plan: &NvmePlan) -> PathBuf {
        self.root.join("subsystems").join(&plan.nqn)
    }

    fn namespace(&self, plan: &NvmePlan, namespace: &NamespacePlan) -> PathBuf {
        let number = namespace.nsid.to_string();
        self.subsystem(plan).join("namespaces").join(number)
    }

    fn actions(&self, plan: &NvmePlan) -> Vec<Action> {
        let subsystem = self.subsystem(plan);
        let mut actions = vec![Action::Directory(subsystem.clone())];
        let mut attributes = |directory: &PathBuf, values: &[(&str, &str)]| {
            for (name, value) in values {
                let path = directory.join(name);
                actions.push(Action::Attribute(path, (*value).to_owned()));
            }
        };
        attributes(
            &subsystem,
            &[
                ("attr_allow_any_host", "0"),
                ("attr_serial", &plan.serial),
                ("attr_model", MODEL),
                ("attr_firmware", FIRMWARE),
            ],
        );
        for namespace in &plan.namespaces {
            let path = self.namespace(plan, namespace);
            actions.push(Action::Directory(path.clone()));
            let node = namespace.node.to_string_lossy().into_owned();
            for (name, value) in [
                ("device_path", node),
                ("device_uuid", namespace.uuid.clone()),
                ("device_nguid", namespace.uuid.clone()),
                ("buffered_io", "0".to_owned()),
            ] {
                actions.push(Action::Attribute(path.join(name), value));
            }
            actions.push(Action::Enable(path.join("enable")));
        }
        for host in &plan.hosts {
            actions.push(Action::Link {
                path: subsystem.join("allowed_hosts").join(host),
                target: self.root.join("hosts").join(host),
            });
        }
        for (number, portal) in (plan.first_port()..).zip(&plan.portals) {
            let port = self.root.join("ports").join(number.to_string());
            actions.push(Action::Directory(port.clone()));
            let family = if portal.is_ipv4() { "ipv4" } else { "ipv6" };
            for (name, value) in [
                ("addr_trtype", "tcp".to_owned()),
                ("addr_adrfam", family.to_owned()),
                ("addr_traddr", portal.ip().to_string()),
                ("addr_trsvcid", portal.port().to_string()),
            ] {
                actions.push(Action::Attribute(port.join(name), value));
            }
            actions.push(Action::Link {
                path: port.join("subsystems").join(&plan.nqn),
                target: subsystem.clone(),
            });
        }
        actions
    }
}

#[cfg(test)]
mod tests;
