//! Copies of sparse files: only what holds data is read and written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

const CHUNK_BYTES: usize = 1 << 20;

/// The stretches of a file that may hold data: start and end.
pub fn data(file: &File) -> anyhow::Result<Vec<(u64, u64)>> {
    let length = file.metadata()?.len();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < length {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,              // only a hole is left
            Err(_) => return Ok(vec![(0, length)]), // a file system that does not know holes
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        found.push((start, end));
        at = end;
    }
    Ok(found)
}

/// Copies a file, holes staying holes.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let source = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let target = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    target.set_len(source.metadata()?.len())?;
    let mut buffer = vec![0; CHUNK_BYTES];
    for (start, end) in data(&source)? {
        let mut at = start;
        while at < end {
            let count = CHUNK_BYTES.min((end - at) as usize);
            source.read_exact_at(&mut buffer[..count], at)?;
            target
                .write_all_at(&buffer[..count], at)
                .with_context(|| format!("writing {}", to.display()))?;
            at += count as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_equal_and_as_sparse() {
        let dir = tempfile::TempDir::new().unwrap();
        let (from, to) = (dir.path().join("sparse"), dir.path().join("copy"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 33 << 20).unwrap();
        copy(&from, &to).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
        assert!(std::fs::metadata(&to).unwrap().blocks() * 512 < 8 << 20);
    }
}
