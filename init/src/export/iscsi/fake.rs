//! A configfs that behaves as LIO's does as far as the steps go: objects with attributes, links that hold
//! their targets, refusals; it records each change and can be told to fail or to hang at one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::io::Errno;

use super::tree::Tree;

#[derive(Default)]
pub(in crate::export) struct Fake {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<PathBuf, Entry>,
    changes: Vec<String>,
    fail_at: Option<(usize, Errno)>,
    hang_on: Option<&'static str>,
    /// A change hangs there now.
    hangs: bool,
}

#[derive(Clone, PartialEq)]
enum Entry {
    Directory,
    Attribute(String),
    Link(PathBuf),
}

impl Fake {
    /// A tree as it is after the modules were loaded.
    pub(in crate::export) fn new(root: &str) -> Fake {
        let fake = Fake::default();
        {
            let mut state = fake.state.lock().unwrap();
            let root = Path::new(root);
            state.entries.insert(root.to_owned(), Entry::Directory);
            state.entries.insert(root.join("core"), Entry::Directory);
            state
                .entries
                .insert(root.join("dbroot"), Entry::Attribute("/var/target".into()));
        }
        fake
    }

    /// One of nvmet's, as it is after the modules were loaded.
    pub(in crate::export) fn nvmet(root: &str) -> Fake {
        let fake = Fake::default();
        {
            let entries = &mut fake.state.lock().unwrap().entries;
            for name in ["", "hosts", "subsystems", "ports"] {
                entries.insert(Path::new(root).join(name), Entry::Directory);
            }
        }
        fake
    }

    pub(in crate::export) fn changes(&self) -> Vec<String> {
        self.state.lock().unwrap().changes.clone()
    }

    pub(in crate::export) fn forget(&self) {
        self.state.lock().unwrap().changes.clear();
    }

    /// Everything but the root, core, dbroot and the fabric, and their attributes.
    pub(in crate::export) fn left(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .entries
            .keys()
            .map(|path| path.display().to_string())
            .filter(|path| path.matches('/').count() > 2)
            .collect()
    }

    /// Fails the n-th change from now on.
    pub(in crate::export) fn fail_at(&self, change: usize, errno: Errno) {
        let mut state = self.state.lock().unwrap();
        let change = state.changes.len() + change;
        state.fail_at = Some((change, errno));
    }

    /// Hangs at a change that contains this, until it is told to go on.
    pub(in crate::export) fn hang_on(&self, what: &'static str) {
        self.state.lock().unwrap().hang_on = Some(what);
    }

    /// Lets a change that hangs go on; whether one hung.
    pub(in crate::export) fn go_on(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.hang_on = None;
        state.hangs
    }

    fn hang_at(&self, what: &str) {
        loop {
            let mut state = self.state.lock().unwrap();
            if !state.hang_on.is_some_and(|part| what.contains(part)) {
                return;
            }
            state.hangs = true;
            drop(state);
            std::thread::yield_now();
        }
    }

    fn change<R>(
        &self,
        what: String,
        apply: impl FnOnce(&mut State) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.hang_at(&what);
        let mut state = self.state.lock().unwrap();
        if let Some((at, errno)) = state.fail_at
            && state.changes.len() == at
        {
            state.fail_at = None;
            return Err(errno);
        }
        let done = apply(&mut state)?;
        state.changes.push(what);
        Ok(done)
    }
}

/// What a `mkdir` brings along: by depth below `core` or `iscsi`.
fn attributes(path: &Path) -> Vec<(&'static str, &'static str)> {
    let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
    match parts.as_slice() {
        [_, _, "core", _, _] => vec![
            ("enable", "0\n"),
            (
                "pr/res_aptpl_metadata",
                "Ready to process PR APTPL metadata..\n",
            ),
            ("control", ""),
            ("info", ""),
            ("attrib/emulate_tpu", "0\n"),
            ("attrib/emulate_tpws", "0\n"),
            // Unlike LIO of 6.12, which begins with 1: another kernel may not.
            ("attrib/emulate_caw", "0\n"),
            ("attrib/emulate_fua_write", "0\n"),
            ("attrib/emulate_3pc", "0\n"),
            ("attrib/block_size", "512\n"),
            ("wwn/vendor_id", "LIO-ORG\n"),
            ("wwn/product_id", "IBLOCK\n"),
            ("wwn/revision", "6.12\n"),
            (
                "wwn/vpd_unit_serial",
                "T10 VPD Unit Serial Number: random\n",
            ),
        ],
        [_, _, "iscsi", _, "tpgt_1"] => vec![
            ("enable", "0\n"),
            ("rtpi", "0x7\n"),
            ("attrib/authentication", "1\n"),
            ("attrib/generate_node_acls", "0\n"),
            ("attrib/cache_dynamic_acls", "0\n"),
            ("attrib/demo_mode_discovery", "1\n"),
            ("attrib/demo_mode_write_protect", "1\n"),
            ("param/DefaultTime2Wait", "2\n"),
            ("np/", ""),
            ("lun/", ""),
            ("acls/", ""),
        ],
        [_, _, "iscsi", _, "tpgt_1", "acls", _] => vec![
            ("attrib/authentication", "-1\n"),
            ("auth/userid", "\n"),
            ("auth/password", "\n"),
            ("auth/userid_mutual", "\n"),
            ("auth/password_mutual", "\n"),
        ],
        [_, "nvmet", "subsystems", _] => vec![
            ("attr_allow_any_host", "0\n"),
            ("attr_serial", "random\n"),
            ("attr_model", "Linux\n"),
            ("attr_firmware", "6.12\n"),
            ("namespaces/", ""),
            ("allowed_hosts/", ""),
        ],
        [_, "nvmet", "subsystems", _, "namespaces", _] => vec![
            ("enable", "0\n"),
            ("device_path", "\n"),
            ("device_uuid", "random\n"),
            ("device_nguid", "random\n"),
            ("buffered_io", "0\n"),
            ("revalidate_size", ""),
        ],
        [_, "nvmet", "ports", _] => vec![
            ("addr_trtype", "\n"),
            ("addr_adrfam", "\n"),
            ("addr_traddr", "\n"),
            ("addr_trsvcid", "\n"),
            ("subsystems/", ""),
        ],
        _ => vec![],
    }
}

impl State {
    fn busy(&self, path: &Path) -> bool {
        self.entries.iter().any(|(entry, kind)| match kind {
            // Made by a user: keeps its parent, default groups in between notwithstanding.
            Entry::Directory => entry != path && entry.starts_with(path) && !is_default(entry),
            Entry::Link(target) => entry.starts_with(path) || target == path,
            Entry::Attribute(_) => false,
        })
    }
}

fn is_default(path: &Path) -> bool {
    let name = path.file_name().unwrap();
    [
        "np",
        "lun",
        "acls",
        "namespaces",
        "allowed_hosts",
        "subsystems",
    ]
    .iter()
    .any(|group| name == *group)
}

impl Tree for Fake {
    fn mkdir(&self, path: &Path) -> Result<(), Errno> {
        if self.state.lock().unwrap().entries.contains_key(path) {
            return Err(Errno::EXIST);
        }
        self.change(format!("mkdir {}", path.display()), |state| {
            let parent = path.parent().unwrap();
            if state.entries.get(parent) != Some(&Entry::Directory) {
                return Err(Errno::NOENT);
            }
            state.entries.insert(path.to_owned(), Entry::Directory);
            for (name, value) in attributes(path) {
                let entry = match name.strip_suffix('/') {
                    Some(_) => Entry::Directory,
                    None => Entry::Attribute(value.to_owned()),
                };
                state
                    .entries
                    .insert(path.join(name.trim_end_matches('/')), entry);
            }
            Ok(())
        })
    }

    fn rmdir(&self, path: &Path) -> Result<(), Errno> {
        if !self.state.lock().unwrap().entries.contains_key(path) {
            return Err(Errno::NOENT);
        }
        self.change(format!("rmdir {}", path.display()), |state| {
            if state.busy(path) {
                return Err(Errno::BUSY);
            }
            state.entries.retain(|entry, _| !entry.starts_with(path));
            Ok(())
        })
    }

    fn read(&self, path: &Path) -> Result<String, Errno> {
        match self.state.lock().unwrap().entries.get(path) {
            Some(Entry::Attribute(value)) => Ok(value.clone()),
            Some(_) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    fn write(&self, path: &Path, value: &str) -> Result<(), Errno> {
        self.change(format!("write {} {value}", path.display()), |state| {
            let Some(Entry::Attribute(old)) = state.entries.get_mut(path) else {
                return Err(Errno::NOENT);
            };
            *old = match path.file_name().and_then(|name| name.to_str()) {
                Some("rtpi") => format!("{:#x}\n", value.parse::<u16>().unwrap()),
                Some("vpd_unit_serial") => format!("T10 VPD Unit Serial Number: {value}\n"),
                _ => format!("{value}\n"),
            };
            if value == "readonly=1" {
                let info = path.with_file_name("info");
                if let Some(Entry::Attribute(info)) = state.entries.get_mut(&info) {
                    *info = info.replace("readonly: 0", "readonly: 1");
                }
            }
            if let Some(node) = value.strip_prefix("udev_path=") {
                let info = format!(
                    "Status: ACTIVATED\n iBlock device: dm-0  UDEV PATH: {node}  readonly: 0\n"
                );
                let path = path.with_file_name("info");
                state.entries.insert(path, Entry::Attribute(info));
            }
            Ok(())
        })
    }

    fn symlink(&self, target: &Path, path: &Path) -> Result<(), Errno> {
        if self.state.lock().unwrap().entries.contains_key(path) {
            return Err(Errno::EXIST);
        }
        self.change(
            format!("link {} to {}", path.display(), target.display()),
            |state| {
                if state.entries.get(target) != Some(&Entry::Directory) {
                    return Err(Errno::NOENT);
                }
                state
                    .entries
                    .insert(path.to_owned(), Entry::Link(target.to_owned()));
                Ok(())
            },
        )
    }

    fn unlink(&self, path: &Path) -> Result<(), Errno> {
        if !self.state.lock().unwrap().entries.contains_key(path) {
            return Err(Errno::NOENT);
        }
        self.change(format!("unlink {}", path.display()), |state| {
            state.entries.remove(path);
            Ok(())
        })
    }

    fn link_target(&self, path: &Path) -> Result<String, Errno> {
        match self.state.lock().unwrap().entries.get(path) {
            Some(Entry::Link(target)) => {
                Ok(target.file_name().unwrap().to_str().unwrap().to_owned())
            }
            Some(_) => Err(Errno::INVAL),
            None => Err(Errno::NOENT),
        }
    }
}
