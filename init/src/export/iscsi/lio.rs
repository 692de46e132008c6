//! An export plan as steps in LIO's configfs tree (`Documentation/target/tcm_mod_builder.rst`,
//! `drivers/target/target_core_configfs.c`, `drivers/target/iscsi/iscsi_target_configfs.c`).
//!
//! ```text
//! core/iblock_NUMBER/POOL.VOLUME        backstore: block device, vendor, product, serial, what it can
//! iscsi/IQN/tpgt_1/rtpi, attrib/*, param/*  portal group
//! iscsi/IQN/tpgt_1/np/IP:3260          portal, one a service address
//! iscsi/IQN/tpgt_1/lun/lun_N/volume  ─► backstore
//! iscsi/IQN/tpgt_1/acls/CLIENT/lun_N/volume ─► lun_N
//! iscsi/IQN/tpgt_1/enable
//! ```
//!
//! The modules target_core_mod, target_core_iblock and iscsi_target_mod are loaded before, as the kernel of
//! a head cannot call modprobe.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tracing::warn;

use super::action::Action;
use super::identity::REVISION;
use super::sequence::{self, Way};
use super::tree::{Configfs, Tree};
use super::{ExportError, ExportPlan, LunPlan, reservations};
use crate::Step;
use crate::config::ChapConfig;

/// A step's time limit: longer than the 7 to 10 s in which a disk recovers from an error of its own, for which
/// a disable waits, and shorter than the limit of a whole release, past which the head resets.
pub const STEP_LIMIT: Duration = Duration::from_secs(12);

/// Who is let in and how: by explicit ACL alone, and CHAP unless the ACL says otherwise, as it does for a client without a password. An ACL that is
/// just being made while clients log in thus lets nobody in without one. A login without an ACL is refused; no ACL is made of
/// a login, and none is kept in memory, so that both heads let the same clients in. Nor is a target named to who asks for targets and has
/// no ACL (`iscsit_build_sendtargets_response`): all pools of a head answer at one port, whatever address was asked.
const PORTAL_GROUP: [(&str, &str); 5] = [
    ("authentication", "1"),
    ("generate_node_acls", "0"),
    ("cache_dynamic_acls", "0"),
    ("demo_mode_discovery", "0"),
    ("demo_mode_write_protect", "1"),
];

/// How sessions are negotiated. `DefaultTime2Wait` is how long, in seconds, a client waits before it connects
/// again after its connection broke. LIO's 2 would be most of a takeover, and nothing has to be waited for, as
/// sessions do not outlive a head. LIO answers with its own value even a client that proposed more (seen on 6.12,
/// where RFC 7143 section 13.15 has the greater one), and open-iscsi goes by that answer.
const PARAMETERS: [(&str, &str); 1] = [("DefaultTime2Wait", "0")];

/// What every LUN can, whatever a kernel begins with: COMPARE AND WRITE (clusters' heartbeats), writes with FUA, and EXTENDED COPY.
/// Two heads may run different kernels while they are upgraded, and a client asks once.
const ALWAYS: [&str; 3] = ["emulate_caw", "emulate_fua_write", "emulate_3pc"];

/// Behind the name of a file that was kept in memory, while it is copied to the pool.
const MOVED: &str = ".moved";

/// LIO of this kernel.
pub struct Lio<T: Tree = Configfs> {
    root: PathBuf,
    state: PathBuf,
    limit: Duration,
    tree: Arc<T>,
}

impl Lio {
    /// LIO at `/sys/kernel/config/target`, keeping its files (client reservations, ALUA) in `/run/target`, which is memory:
    /// those of a LUN are links into its pool.
    pub fn new(step_limit: Duration) -> Lio {
        Lio::at(
            "/sys/kernel/config/target",
            "/run/target",
            step_limit,
            Configfs,
        )
    }
}

impl<T: Tree> Lio<T> {
    /// LIO with its configfs tree and the directory of its files elsewhere.
    pub(super) fn at(
        root: impl Into<PathBuf>,
        state: impl Into<PathBuf>,
        limit: Duration,
        tree: T,
    ) -> Lio<T> {
        Lio {
            root: root.into(),
            state: state.into(),
            limit,
            tree: Arc::new(tree),
        }
    }

    /// What is there once in a kernel, before the first export: the directory of LIO's files, and the
    /// iSCSI fabric. LIO takes another directory only while there is no backstore. There is no undo.
    pub fn prepare(&self) -> Result<Step, ExportError> {
        // LIO makes neither; without them a client's REGISTER with APTPL fails.
        for directory in ["pr", "alua"] {
            let path = self.state.join(directory);
            match fs::create_dir_all(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(failed(path, "make", &error));
                }
            }
        }
        let actions = vec![
            Action::Attribute(
                self.root.join("dbroot"),
                self.state.to_string_lossy().into_owned(),
            ),
            Action::Directory(self.root.join("iscsi")),
            Action::Directory(self.root.join("core")),
        ];
        sequence::run(&self.tree, actions, Way::Forth, self.limit)
    }

    /// Makes the plan true, up to an enabled portal group; clients come when the address does.
    /// What is there already is left; what is there and differs is an error. After an error call
    /// [`Lio::close`].
    pub fn open(&self, plan: &ExportPlan) -> Result<Step, ExportError> {
        self.prepare()?;
        for lun in &plan.luns {
            self.place_reservations(plan, lun)?;
        }
        let mut actions = self.actions(plan);
        // Only of one that is new are the reservations restored: the kernel would have the others' twice.
        let mut running = Vec::new();
        for lun in &plan.luns {
            let backstore = self.backstore(plan, lun);
            let enabled = self.tree.read(&backstore.join("enable"));
            if !enabled.is_ok_and(|enabled| enabled.trim() == "1") {
                continue;
            }
            match self.is_offered(plan, lun) {
                true => running.push(backstore),
                false => {
                    self.withdraw(plan, lun)?;
                    self.place_reservations(plan, lun)?;
                }
            }
        }
        actions.retain(|action| match action {
            Action::Restore(path, _) => !running.iter().any(|running| path.starts_with(running)),
            _ => true,
        });
        sequence::run(&self.tree, actions, Way::Forth, self.limit)
    }

    /// Whether some client may be using a LUN, or it is for none. Of one that was half withdrawn or half made no client is left: with
    /// the mapping of each the kernel forgot what that client had registered and reserved. While one client has it still, it is not
    /// taken from that one for what another one lacks.
    fn is_offered(&self, plan: &ExportPlan, lun: &LunPlan) -> bool {
        let (group, name) = (self.group(plan), format!("lun_{}", lun.lun));
        let is_linked = |place: PathBuf| self.tree.link_target(&place.join("volume")).is_ok();
        let clients = || plan.clients.iter().filter(|client| lun.is_for(client));
        let has_it = |client: &String| is_linked(group.join("acls").join(client).join(&name));
        is_linked(group.join("lun").join(&name))
            && (clients().next().is_none() || clients().any(has_it))
    }

    /// The portal group of a plan's target.
    fn group(&self, plan: &ExportPlan) -> PathBuf {
        self.root.join("iscsi").join(&plan.iqn).join("tpgt_1")
    }

    /// Makes the file in which LIO keeps a LUN's reservations one of the pool's.
    fn place_reservations(&self, plan: &ExportPlan, lun: &LunPlan) -> Result<(), ExportError> {
        let Some(directory) = &plan.reservations else {
            return Ok(());
        };
        let name = reservations::name(&lun.serial);
        let (link, file) = (self.state.join("pr").join(&name), directory.join(&name));
        if fs::read_link(&link).is_ok_and(|found| found == file) {
            return Ok(());
        }
        // A file is what the kernel kept in memory while the pool had no place for it. From the link on it writes to the pool.
        let old = self.state.join("pr").join(format!("{name}{MOVED}"));
        let was_kept = fs::symlink_metadata(&link).is_ok_and(|found| found.is_file());
        if was_kept {
            fs::rename(&link, &old).map_err(|error| failed(link.clone(), "rename", &error))?;
        }
        self.forget_reservations(lun)?;
        std::os::unix::fs::symlink(&file, &link)
            .map_err(|error| failed(link.clone(), "link", &error))?;
        if was_kept {
            if let Err(error) = reservations::take_over(directory, &lun.serial, &old) {
                warn!(
                    pool = plan.pool,
                    lun = lun.lun,
                    "clients' reservations are kept from their next change on: {error}"
                );
            }
            fs::remove_file(&old).map_err(|error| failed(old, "remove", &error))?;
        }
        Ok(())
    }

    /// Takes the link away again; what is kept on the pool stays.
    fn forget_reservations(&self, lun: &LunPlan) -> Result<(), ExportError> {
        let link = self.state.join("pr").join(reservations::name(&lun.serial));
        match fs::remove_file(&link) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(link, "remove", &error)),
        }
    }

    fn backstore(&self, plan: &ExportPlan, lun: &LunPlan) -> PathBuf {
        backstore_path(
            &self.root.join(format!("core/iblock_{}", plan.number)),
            plan,
            lun,
        )
    }

    /// Takes the plan back, in reverse, from whatever state there is. A step that is late ends it: then
    /// the volumes are still in use.
    pub fn close(&self, plan: &ExportPlan) -> Result<Step, ExportError> {
        let mut actions = self.actions(plan);
        actions.reverse();
        let closed = sequence::run(&self.tree, actions, Way::Back, self.limit)?;
        for lun in &plan.luns {
            self.forget_reservations(lun)?;
        }
        Ok(closed)
    }

    /// Takes one LUN out of a plan that is open, from whatever state there is: clients find it gone.
    pub fn withdraw(&self, plan: &ExportPlan, lun: &LunPlan) -> Result<Step, ExportError> {
        let number = format!("lun_{}", lun.lun);
        let backstore = self.backstore(plan, lun);
        let mut actions = self.actions(plan);
        // Its mappings and the LUN are directories of its number, and all else is below its backstore.
        actions.retain(|action| {
            let path = action.path();
            path.starts_with(&backstore) || path.iter().any(|part| part == number.as_str())
        });
        actions.reverse();
        let withdrawn = sequence::run(&self.tree, actions, Way::Back, self.limit)?;
        self.forget_reservations(lun)?;
        Ok(withdrawn)
    }

    /// Ends the sessions of a client of a plan that is open, and lets it in no more.
    pub fn dismiss(&self, plan: &ExportPlan, client: &str) -> Result<Step, ExportError> {
        let acl = self.group(plan).join("acls").join(client);
        let mut actions = self.actions(plan);
        actions.retain(|action| action.path().starts_with(&acl));
        actions.reverse();
        sequence::run(&self.tree, actions, Way::Back, self.limit)
    }

    #[cfg(test)]
    pub(super) fn fake(&self) -> &T {
        &self.tree
    }

    #[cfg(test)]
    pub(super) fn limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Until no thread has the tree any more.
    #[cfg(test)]
    pub(super) fn wait_for_threads(&self) {
        while Arc::strong_count(&self.tree) > 1 {
            std::thread::yield_now();
        }
    }

    /// All steps of a plan, in order.
    fn actions(&self, plan: &ExportPlan) -> Vec<Action> {
        let mut actions = Vec::new();
        let adapter = self.root.join(format!("core/iblock_{}", plan.number));
        let target = self.root.join("iscsi").join(&plan.iqn);
        let group = self.group(plan);

        actions.push(Action::Directory(adapter.clone()));
        for lun in &plan.luns {
            backstore(
                &mut actions,
                &backstore_path(&adapter, plan, lun),
                plan,
                lun,
            );
        }
        actions.push(Action::Directory(target));
        actions.push(Action::Directory(group.clone()));
        // Clients know the port by it.
        let rtpi = (plan.number + 1).to_string();
        actions.push(Action::Attribute(group.join("rtpi"), rtpi));
        for (directory, settings) in [("attrib", &PORTAL_GROUP[..]), ("param", &PARAMETERS[..])] {
            for (name, value) in settings {
                let path = group.join(directory).join(name);
                actions.push(Action::Attribute(path, (*value).to_owned()));
            }
        }
        for portal in &plan.portals {
            let path = group.join("np").join(portal.to_string());
            actions.push(Action::Directory(path));
        }
        for lun in &plan.luns {
            let path = group.join(format!("lun/lun_{}", lun.lun));
            let target = backstore_path(&adapter, plan, lun);
            link(&mut actions, path, target);
        }
        for client in &plan.clients {
            let acl = group.join("acls").join(client);
            actions.push(Action::Directory(acl.clone()));
            let chap = plan.chap.iter().find(|chap| chap.client == *client);
            match chap {
                Some(chap) => prove(&mut actions, &acl, chap),
                None => {
                    let required = acl.join("attrib/authentication");
                    actions.push(Action::Attribute(required, "0".to_owned()));
                }
            }
            for lun in plan.luns.iter().filter(|lun| lun.is_for(client)) {
                let name = format!("lun_{}", lun.lun);
                link(&mut actions, acl.join(&name), group.join("lun").join(&name));
            }
        }
        actions.push(Action::Enable(group.join("enable")));
        actions
    }
}

/// What a client has to prove, before it is let in, and what it may ask for.
fn prove(actions: &mut Vec<Action>, acl: &Path, chap: &ChapConfig) {
    let auth = acl.join("auth");
    let mut secret = |name: &str, value: &str| {
        actions.push(Action::Secret(auth.join(name), value.to_owned()));
    };
    secret("userid", &chap.user);
    secret("password", chap.password.expose());
    if let Some((user, password)) = &chap.mutual {
        secret("userid_mutual", user);
        secret("password_mutual", password.expose());
    }
    let required = acl.join("attrib/authentication");
    actions.push(Action::Attribute(required, "1".to_owned()));
}

fn failed(path: PathBuf, step: &'static str, error: &io::Error) -> ExportError {
    ExportError::kernel(path, step, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// Called by what a volume never changes: it may get another name while clients use it, and configfs renames nothing.
fn backstore_path(adapter: &Path, plan: &ExportPlan, lun: &LunPlan) -> PathBuf {
    adapter.join(format!("{}.{}", plan.pool, lun.serial))
}

// All else comes after the block device: LIO fills in its own when a backstore is switched on.
fn backstore(actions: &mut Vec<Action>, path: &Path, plan: &ExportPlan, lun: &LunPlan) {
    actions.push(Action::Directory(path.to_owned()));
    actions.push(Action::Backing {
        backstore: path.to_owned(),
        node: lun.node.clone(),
        is_read_only: lun.is_read_only,
    });
    for (name, value) in [
        ("vendor_id", plan.vendor.as_str()),
        ("product_id", plan.product.as_str()),
        ("revision", REVISION),
        ("vpd_unit_serial", lun.serial.as_str()),
    ] {
        let path = path.join("wwn").join(name);
        actions.push(Action::Attribute(path, value.to_owned()));
    }
    let mut attribute = |name: &str, value: String| {
        let path = path.join("attrib").join(name);
        actions.push(Action::Attribute(path, value));
    };
    if let Some(bytes) = lun.block_size {
        attribute("block_size", bytes.to_string());
    }
    // Not asked of the disks below: what a client is told is the same on both heads.
    for name in ["emulate_tpu", "emulate_tpws"] {
        let value = if lun.unmaps { "1" } else { "0" };
        attribute(name, value.to_owned());
    }
    for name in ALWAYS {
        attribute(name, "1".to_owned());
    }
    for registration in &lun.registrations {
        let path = path.join("pr/res_aptpl_metadata");
        actions.push(Action::Restore(path, registration.clone()));
    }
}

/// A directory and the link in it that gives it its meaning.
fn link(actions: &mut Vec<Action>, path: PathBuf, target: PathBuf) {
    actions.push(Action::Directory(path.clone()));
    actions.push(Action::Link {
        path: path.join("volume"),
        target,
    });
}
