//! Where things go. Everything that is built or downloaded lies under `target/` of the workspace:
//! `target/cache` holds what came from the network and can be shared between checkouts,
//! `target/image` the artefacts. Nothing outside of `target/` is written.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// A checkout of Orthrus, by its root directory.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

/// Held while a piece of `target/` is being made; another process that wants it waits.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Workspace {
    /// The checkout that this program was compiled from.
    pub fn here() -> Result<Self> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir
            .parent()
            .context("the crate `image` lies in a workspace")?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// The root of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory of this checkout.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Downloads and unpacked packages.
    pub fn cache(&self) -> PathBuf {
        self.target().join("cache")
    }

    /// Artefacts of `cargo image`.
    pub fn images(&self) -> PathBuf {
        self.target().join("image")
    }

    /// The committed configuration of this crate: `image/` of the checkout.
    pub fn image_source(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Waits for, and takes, the lock whose file is `path`: whoever makes a piece of `target/` holds
    /// that piece's. The lock dies with its holder, however it ends.
    pub fn lock(path: &Path) -> Result<Lock> {
        let dir = path.parent().context("a lock lies in a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!(
                "  waiting for another build, which holds {}",
                path.display()
            );
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("lock {}", path.display()))?;
        }
        Ok(Lock { _file: file })
    }
}
