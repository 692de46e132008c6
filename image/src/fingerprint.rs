//! When a piece has to be built again: a hash of all that it is made of, kept beside it.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::progress::step;

/// The hash of the inputs of one piece.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// A piece by the source text of its builder, which is an input as well: a change of the code
    /// builds it again. (The whole program is not: `cargo lab` and `cargo image` are two.)
    pub fn new(builder: &str) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.text(builder);
        fingerprint.text(include_str!("mkosi.rs"));
        fingerprint.text(include_str!("modules.rs"));
        fingerprint
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
        let hash = self
            .0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Stamp {
            output: output.to_path_buf(),
            hash,
        }
    }
}

/// Says whether a piece was built of given inputs, in a file beside it: the hash of the inputs, and
/// how many seconds the piece took.
#[derive(Debug)]
pub struct Stamp {
    output: PathBuf,
    hash: String,
}

impl Stamp {
    /// Builds the piece as a named step, unless it is there and was built of these inputs.
    pub fn build(&self, what: &str, build: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.output.exists() && read(&self.output).is_some_and(|(hash, _)| hash == self.hash) {
            return Ok(());
        }
        // While the piece is being built there is no stamp, so half a piece never counts.
        self.clear()?;
        let start = Instant::now();
        step(what, build)?;
        let path = stamp_path(&self.output);
        let text = format!("{}\n{:.1}\n", self.hash, start.elapsed().as_secs_f32());
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Forgets that the piece was built.
    pub fn clear(&self) -> Result<()> {
        let path = stamp_path(&self.output);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// How many seconds the piece at `output` took when it was last built.
pub fn build_seconds(output: &Path) -> Option<f32> {
    Some(read(output)?.1)
}

fn read(output: &Path) -> Option<(String, f32)> {
    let text = fs::read_to_string(stamp_path(output)).ok()?;
    let (hash, seconds) = text.trim().split_once('\n')?;
    Some((hash.to_owned(), seconds.parse().ok()?))
}

fn stamp_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".stamp");
    path.into()
}
