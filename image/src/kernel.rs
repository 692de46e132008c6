//! Debian's kernel: the package unpacked, with the index of its modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{Tools, progress::step, tree, workspace::Workspace};

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
        // The package of the kernel itself, and those that later releases have split off it.
        let parts = ["linux-image-", "linux-modules-", "linux-binary-"];
        let wanted = |name: &str| {
            parts.iter().any(|part| {
                name.strip_prefix(part)
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        let index = |root: &Path| {
            let version = version(root)?;
            step("index the kernel's modules", || {
                crate::tools::run(tools.command("depmod")?.arg("-b").arg(root).arg(&version))
            })
        };
        let root = tree::ensure(
            workspace,
            "kernel",
            &[PACKAGE],
            |apt| apt.some_of(PACKAGE, wanted),
            index,
        )?;
        let version = version(&root)?;
        Ok(Self { root, version })
    }

    /// What `uname -r` says under it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The bootable file.
    pub fn image(&self) -> PathBuf {
        self.root
            .join("boot")
            .join(format!("vmlinuz-{}", self.version))
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
