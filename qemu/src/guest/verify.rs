//! Reads back through the initiator what was acknowledged. Standard input: one `BLOCK SEQ` a line,
//! the newest acknowledged write of each block. A block may hold a newer write than the acknowledged
//! one (it was in flight when the writer ended), never an older one, another run's, or a torn one.

use std::fs::OpenOptions;
use std::io::BufRead;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::Context as _;

use super::tag::{Aligned, BLOCK_BYTES, Tag};

/// What the verifier is told.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// Block device or file to read.
    #[arg(long)]
    pub device: String,
    /// Number of the run that wrote.
    #[arg(long)]
    pub run: u64,
}

/// Verifies; prints `lost BLOCK SEQ WHAT` for each loss and `verified N LOST` at the end.
pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
        .open(&args.device)
        .with_context(|| format!("opening {}", args.device))?;
    let mut buffer = Aligned::new(1);
    let (mut verified, mut lost) = (0u64, 0u64);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some((block, seq)) = line.split_once(' ') else {
            continue;
        };
        let (block, seq): (u64, u64) = (block.parse()?, seq.trim().parse()?);
        let found = match file.read_exact_at(buffer.bytes_mut(), block * BLOCK_BYTES as u64) {
            Ok(()) => judge(Tag::read(buffer.bytes()), args.run, block, seq),
            Err(e) => Err(format!("cannot be read: {e}")),
        };
        match found {
            Ok(()) => verified += 1,
            Err(what) => {
                lost += 1;
                println!("lost {block} {seq} {what}");
            }
        }
    }
    println!("verified {verified} {lost}");
    Ok(())
}

/// Whether a block holds what was promised: shared by the client's check and the raw disks' check.
pub fn judge(found: Option<Tag>, run: u64, block: u64, seq: u64) -> Result<(), String> {
    match found {
        None => Err("holds no whole tagged block".into()),
        Some(tag) if tag.run != run => Err(format!("holds a block of run {}", tag.run)),
        Some(tag) if tag.block != block => Err(format!("holds block {}", tag.block)),
        Some(tag) if tag.seq < seq => Err(format!("holds the older write {}", tag.seq)),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_write_is_a_loss_and_a_newer_one_is_not() {
        let tag = |seq| {
            Some(Tag {
                run: 1,
                block: 2,
                seq,
            })
        };
        assert!(judge(tag(5), 1, 2, 5).is_ok());
        assert!(judge(tag(6), 1, 2, 5).is_ok());
        assert!(judge(tag(4), 1, 2, 5).is_err());
        assert!(judge(tag(5), 9, 2, 5).is_err());
        assert!(judge(tag(5), 1, 3, 5).is_err());
        assert!(judge(None, 1, 2, 5).is_err());
    }
}
