//! When a piece has to be built again: a hash of all that it is made of, kept beside it.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The hash of the inputs of one piece.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// A piece whose builder is called `what`; a change of the builder's own code changes it too.
    pub fn new(what: &str) -> Result<Self> {
        let mut fingerprint = Self::default();
        fingerprint.text(what);
        fingerprint.file(&std::env::current_exe().context("find this program")?)?;
        Ok(fingerprint)
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text);
    }

    /// Adds the name, mode and bytes of a file, or of all files in a directory.
    pub fn path(&mut self, path: &Path) -> Result<()> {
        if !path.is_dir() {
            return self.file(path);
        }
        let entries = fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
        let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        entries
            .iter()
            .try_for_each(|entry| self.path(&entry.path()))
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let context = || format!("read {}", path.display());
        let mut file = fs::File::open(path).with_context(context)?;
        let meta = file.metadata().with_context(context)?;
        self.text(&path.file_name().unwrap_or_default().to_string_lossy());
        self.0.update(meta.permissions().mode().to_le_bytes());
        self.0.update(meta.len().to_le_bytes());
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).with_context(context)?;
            if read == 0 {
                return Ok(());
            }
            self.0.update(&buffer[..read]);
        }
    }

    /// The stamp of these inputs for the piece at `output`.
    pub fn stamp(self, output: &Path) -> Stamp {
        let text = self
            .0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut path = output.as_os_str().to_owned();
        path.push(".stamp");
        Stamp {
            output: output.to_path_buf(),
            path: path.into(),
            text,
        }
    }
}

/// Says whether a piece was built of given inputs.
#[derive(Debug)]
pub struct Stamp {
    output: PathBuf,
    path: PathBuf,
    text: String,
}

impl Stamp {
    /// Whether the piece is there and was built of these inputs.
    pub fn is_current(&self) -> bool {
        self.output.exists() && fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }

    /// Forgets the stamp while the piece is being built, so that half a piece never counts.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Records that the piece was built of these inputs.
    pub fn set(&self) -> Result<()> {
        fs::write(&self.path, &self.text).with_context(|| format!("write {}", self.path.display()))
    }
}
