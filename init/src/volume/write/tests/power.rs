//! Disks in memory that lose their power, refuse writes, or forget what was not flushed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::super::medium::Medium;
use crate::chance::Chance;
use crate::sync::lock;

const SECTOR: usize = 512;

/// Sectors by number; what is in none is zero.
pub type Sectors = BTreeMap<u64, [u8; SECTOR]>;

/// A fixture: records of a sector's number and its bytes.
pub fn fixture(records: &[u8]) -> Sectors {
    let (records, rest) = records.as_chunks::<520>();
    assert!(rest.is_empty());
    let sector = |record: &[u8; 520]| {
        let (number, bytes) = record.split_at(8);
        (
            u64::from_le_bytes(number.try_into().unwrap()),
            bytes.try_into().unwrap(),
        )
    };
    records.iter().map(sector).collect()
}

/// Bytes of any alignment.
pub fn bytes(sectors: &Sectors, offset: u64, length: usize) -> Vec<u8> {
    let at = |position: u64| {
        let sector = sectors.get(&(position / SECTOR as u64));
        sector.map_or(0, |sector| sector[(position % SECTOR as u64) as usize])
    };
    (offset..offset + length as u64).map(at).collect()
}

/// A disk, and what is wrong with it.
#[derive(Clone)]
pub struct Disk {
    pub state: Arc<Mutex<State>>,
}

pub struct State {
    /// What is on the medium.
    pub sectors: Sectors,
    /// What was written since the last flush.
    pending: Vec<(u64, Vec<u8>)>,
    block: usize,
    /// Writes and flushes until the power goes, or until an error.
    pub left: Option<usize>,
    /// What comes then; after EIO it cannot be read either.
    pub errno: i32,
    /// It has come.
    failed: bool,
    /// Writes so far.
    pub writes: usize,
}

impl Disk {
    pub fn new(sectors: Sectors, block: usize) -> Disk {
        let state = State {
            sectors,
            pending: Vec::new(),
            block,
            left: None,
            errno: libc::EIO,
            failed: false,
            writes: 0,
        };
        Disk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// From then on nothing is written.
    pub fn fail_after(self, steps: usize, errno: i32) -> Disk {
        let mut state = lock(&self.state);
        (state.left, state.errno) = (Some(steps), errno);
        drop(state);
        self
    }

    /// What is left when the power goes: of what was not flushed any part, in units of `unit` bytes.
    pub fn crashed(&self, dice: &mut Chance, unit: usize) -> Sectors {
        let state = lock(&self.state);
        let mut sectors = state.sectors.clone();
        for (offset, bytes) in &state.pending {
            for (index, part) in bytes.chunks(unit).enumerate() {
                if dice.below(2) == 0 {
                    put(&mut sectors, offset + (index * unit) as u64, part);
                }
            }
        }
        sectors
    }

    /// What is there when nothing goes wrong.
    pub fn sectors(&self) -> Sectors {
        let state = lock(&self.state);
        let mut sectors = state.sectors.clone();
        for (offset, bytes) in &state.pending {
            put(&mut sectors, *offset, bytes);
        }
        sectors
    }

    pub fn writes(&self) -> usize {
        lock(&self.state).writes
    }
}

fn put(sectors: &mut Sectors, offset: u64, bytes: &[u8]) {
    for (at, byte) in (offset..).zip(bytes) {
        let sector = sectors.entry(at / SECTOR as u64).or_insert([0; SECTOR]);
        sector[(at % SECTOR as u64) as usize] = *byte;
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => {
                self.failed = true;
                return Err(io::Error::from_raw_os_error(self.errno));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }
}

impl Medium for Disk {
    fn block(&self) -> usize {
        lock(&self.state).block
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let block = self.block();
        assert!(offset.is_multiple_of(block as u64) && length.is_multiple_of(block));
        let state = lock(&self.state);
        if state.failed && state.errno == libc::EIO {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        drop(state);
        Ok(bytes(&self.sectors(), offset, length))
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        assert!(
            offset.is_multiple_of(state.block as u64) && bytes.len().is_multiple_of(state.block)
        );
        // The one during which the power goes may be on the disk, in part or whole.
        let outcome = state.step();
        if outcome.is_ok() || state.errno == libc::EIO {
            state.pending.push((offset, bytes.to_vec()));
            state.writes += 1;
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.step()?;
        for (offset, bytes) in std::mem::take(&mut state.pending) {
            put(&mut state.sectors, offset, &bytes);
        }
        Ok(())
    }
}
