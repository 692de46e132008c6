//! Debian's kernels: a package unpacked, with the index of its modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    Tools,
    apt::{Apt, sources},
    progress::step,
    tree,
    workspace::Workspace,
};

/// The package that depends on the current kernel of the release.
const PACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    root: PathBuf,
    version: String,
}

impl Kernel {
    /// Finds the unpacked kernel, or downloads (108 MB) and unpacks it.
    pub fn ensure(workspace: &Workspace, tools: &Tools) -> Result<Self> {
        let fetch = |wanted: &dyn Fn(&str) -> bool| Apt::new(workspace)?.some_of(PACKAGE, wanted);
        Self::unpacked(workspace, tools, ("kernel", &[PACKAGE]), fetch)
    }

    /// The same with the newest one that Debian offers for the release (121 MB), for tests that want what the release's own lacks:
    /// nothing that is shipped is built of it.
    pub fn ensure_backported(workspace: &Workspace, tools: &Tools) -> Result<Self> {
        let list = [PACKAGE, sources::BACKPORTS];
        let fetch =
            |wanted: &dyn Fn(&str) -> bool| Apt::backports(workspace)?.some_of(PACKAGE, wanted);
        Self::unpacked(workspace, tools, ("kernel-backports", &list), fetch)
    }

    fn unpacked(
        workspace: &Workspace,
        tools: &Tools,
        (name, list): (&str, &[&str]),
        fetch: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>>,
    ) -> Result<Self> {
        // The package of the kernel itself, and those that later releases have split off it.
        let parts = ["image", "modules", "binary", "base"].map(|part| format!("linux-{part}-"));
        let wanted = |name: &str| {
            parts.iter().any(|part| {
                name.strip_prefix(part.as_str())
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        let index = |root: &Path| {
            let version = version(root)?;
            step("index the kernel's modules", || {
                crate::tools::run(tools.command("depmod")?.arg("-b").arg(root).arg(&version))
            })
        };
        let root = tree::ensure(workspace, name, list, || fetch(&wanted), index)?;
        let version = version(&root)?;
        Ok(Self { root, version })
    }

    /// What `uname -r` says under it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The bootable file.
    pub fn image(&self) -> PathBuf {
        let boot = self.root.join("boot");
        let file = boot.join(format!("vmlinuz-{}", self.version));
        // Where packages of newer kernels have it.
        match file.exists() {
            true => file,
            false => self.modules().join("vmlinuz"),
        }
    }

    /// `/lib/modules/VERSION` of the whole package.
    pub fn modules(&self) -> PathBuf {
        self.root.join("usr/lib/modules").join(&self.version)
    }
}

fn version(root: &Path) -> Result<String> {
    let dir = root.join("usr/lib/modules");
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    ensure!(
        found.len() == 1,
        "{} holds {found:?}, not one kernel",
        dir.display()
    );
    found.pop().context("one kernel was found")
}
