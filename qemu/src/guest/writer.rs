//! The checked writer: tagged blocks written with O_DIRECT and O_DSYNC, several in flight, each
//! acknowledgment printed as soon as the kernel gives it.
//!
//! Each thread owns every depth-th block and has one write in flight, so two writes to one block are
//! never in flight together and "the newest acknowledged" is well defined. The printed line leaves
//! the guest at once: an acknowledgment must survive the client's own crash, or losing the block
//! could not be noticed.
//!
//! Lines: `ack SEQ BLOCK BEGAN_US ENDED_US`, `err SEQ BLOCK BEGAN_US ENDED_US TEXT`, with microseconds
//! since the writer began; then `done`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::tag::{Aligned, BLOCK_BYTES, Tag};

/// What the writer is told.
#[derive(Clone, Debug, clap::Args)]
pub struct WriterArgs {
    /// Block device or file to write.
    #[arg(long)]
    pub device: String,
    /// Number of this run; goes into every block.
    #[arg(long)]
    pub run: u64,
    /// Writes in flight.
    #[arg(long, default_value_t = 4)]
    pub depth: u64,
    /// Pause of each thread after a write.
    #[arg(long, default_value_t = 50)]
    pub pace_ms: u64,
    /// Make it, a file of so many blocks.
    #[arg(long)]
    pub create: bool,
    /// Blocks that are written over and over, from the start of the device.
    #[arg(long, default_value_t = 4096)]
    pub blocks: u64,
}

/// Pause after a failed write, so that a dead device fills no journal.
const ERROR_PAUSE: Duration = Duration::from_millis(200);

/// Writes until its standard input ends.
pub fn run(args: &WriterArgs) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(args.create)
        .custom_flags((rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC).bits() as i32)
        .open(&args.device)
        .with_context(|| format!("opening {}", args.device))?;
    if args.create {
        let bytes = args.blocks * BLOCK_BYTES as u64;
        file.set_len(bytes)
            .with_context(|| format!("giving {} its size", args.device))?;
    }
    let shared = Arc::new(Shared {
        file,
        args: args.clone(),
        began: Instant::now(),
        seq: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let threads: Vec<_> = (0..args.depth.max(1))
        .map(|lane| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.write_lane(lane))
        })
        .collect();
    // Ends with its input: the lab closes it to stop the writer, and so does the lab's own death.
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
    println!("done");
    Ok(())
}

struct Shared {
    file: File,
    args: WriterArgs,
    began: Instant,
    seq: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn write_lane(&self, lane: u64) {
        let depth = self.args.depth.max(1);
        let mut buffer = Aligned::new(1);
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let block = block_of(round, lane, depth, self.args.blocks);
            let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
            Tag {
                run: self.args.run,
                block,
                seq,
            }
            .fill(buffer.bytes_mut());
            let began_us = self.began.elapsed().as_micros();
            let outcome = self
                .file
                .write_all_at(buffer.bytes(), block * BLOCK_BYTES as u64);
            let ended_us = self.began.elapsed().as_micros();
            let line = match &outcome {
                Ok(()) => format!("ack {seq} {block} {began_us} {ended_us}\n"),
                Err(e) => format!("err {seq} {block} {began_us} {ended_us} {e}\n"),
            };
            // A lab that no longer listens has stopped us: there is nobody to report to.
            if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                return;
            }
            thread::sleep(match outcome {
                Ok(()) => Duration::from_millis(self.args.pace_ms),
                Err(_) => ERROR_PAUSE,
            });
        }
    }
}

/// The block that a lane writes in a round: over and over through the blocks that only it writes.
fn block_of(round: u64, lane: u64, depth: u64, blocks: u64) -> u64 {
    let rounds = (blocks / depth).max(1);
    (round % rounds) * depth + lane
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lanes_write_the_same_block() {
        let (depth, blocks) = (4, 64);
        let mut owner = vec![None; blocks as usize];
        for round in 0..3 * blocks / depth {
            for lane in 0..depth {
                let block = block_of(round, lane, depth, blocks) as usize;
                assert!(owner[block].is_none_or(|owner| owner == lane));
                owner[block] = Some(lane);
            }
        }
        assert!(owner.iter().all(Option::is_some));
    }
}
