//! What is kept of an array for the unit tests: the sectors of its members that are not empty.
//!
//! The program in the machine fills arrays with sectors that repeat one word of eight bytes, another one in each. Parity
//! of such sectors, P or Q, is such a sector, so that a word is kept for each and a fixture is small. A record is: number of
//! the member (one byte), 1 for words or 0 for whole sectors (one byte), how many (two bytes), the first sector (four
//! bytes), all with the low byte first; then that many words or sectors.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use orthrus_qemu::disks::sparse;

const SECTOR: usize = 512;

/// The record of one array, from the files of its disks.
///
/// # Errors
/// A file cannot be read, or is longer than can be written down.
pub fn record(disks: &[&Path]) -> Result<Vec<u8>> {
    let mut record = Vec::new();
    for (member, path) in disks.iter().enumerate() {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut runs = Runs {
            member: u8::try_from(member)?,
            record: &mut record,
            open: None,
        };
        for (start, end) in sparse::data(&file)? {
            let mut sector = [0; SECTOR];
            for at in (start / SECTOR as u64)..end.div_ceil(SECTOR as u64) {
                file.read_exact_at(&mut sector, at * SECTOR as u64)?;
                runs.push(u32::try_from(at)?, &sector)?;
            }
        }
        runs.close()?;
    }
    ensure!(!record.is_empty(), "nothing on the disks");
    Ok(record)
}

/// A run of sectors of one kind that grows.
struct Runs<'a> {
    member: u8,
    record: &'a mut Vec<u8>,
    open: Option<Run>,
}

struct Run {
    is_words: bool,
    first: u32,
    count: u16,
    bytes: Vec<u8>,
}

impl Runs<'_> {
    fn push(&mut self, at: u32, sector: &[u8; SECTOR]) -> Result<()> {
        if sector.iter().all(|byte| *byte == 0) {
            return self.close();
        }
        let is_words = sector.chunks(8).all(|word| word == &sector[..8]);
        let bytes = if is_words { &sector[..8] } else { &sector[..] };
        let fits = self.open.as_ref().is_some_and(|run| {
            run.is_words == is_words
                && run.first + u32::from(run.count) == at
                && run.count < u16::MAX
        });
        if !fits {
            self.close()?;
        }
        let run = self.open.get_or_insert_with(|| Run {
            is_words,
            first: at,
            count: 0,
            bytes: Vec::new(),
        });
        run.count += 1;
        run.bytes.extend(bytes);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(run) = self.open.take() {
            self.record.extend([self.member, u8::from(run.is_words)]);
            self.record.extend(run.count.to_le_bytes());
            self.record.extend(run.first.to_le_bytes());
            self.record.extend(run.bytes);
        }
        Ok(())
    }
}
