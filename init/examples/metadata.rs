//! Changes a volume group on the given disks by the firmware's own writer, beside the real lvm2: for tests only, in a
//! virtual machine or on loop devices. Nothing is fenced here.
//!
//!     metadata stamp EPOCH DISK...

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

use orthrus_hb::Epoch;
use orthrus_init::volume::Uuid;
use orthrus_init::volume::label;
use orthrus_init::volume::write::stamp::Stamp;
use orthrus_init::volume::write::{Author, BlockDevice, Medium as _, Metadata};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["stamp", epoch, disks @ ..] => {
            let stamp = Stamp {
                system_id: "orthrus-lab".to_owned(),
                epoch: Epoch(epoch.parse()?),
                author: author(),
            };
            let written = stamp.put(open(disks)?, &group(disks)?)?;
            match written {
                Some(stamped) => println!("{:?}", stamped.written),
                None => println!("nothing to write"),
            }
            Ok(())
        }
        _ => Err("see the head of the source".into()),
    }
}

fn author() -> Author {
    Author {
        host: "test".to_owned(),
        time: 1_800_000_000,
        description: "orthrus: a test".to_owned(),
    }
}

fn open(disks: &[&str]) -> Outcome<Vec<(String, std::io::Result<BlockDevice>)>> {
    let open = |disk: &&str| {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(disk)?;
        let name = disk.rsplit('/').next().unwrap_or(disk);
        let block = fs::read_to_string(format!("/sys/block/{name}/queue/logical_block_size"))?;
        let device = BlockDevice::of(file, block.trim().parse()?);
        Ok(((*disk).to_owned(), Ok(device)))
    };
    disks.iter().map(open).collect()
}

/// The group of the first disk that has one.
fn group(disks: &[&str]) -> Outcome<Uuid> {
    for (_, device) in open(disks)? {
        let mut device = device?;
        let block = device.block();
        let bytes = device.read(0, label::SCANNED.next_multiple_of(block))?;
        let Some(label) = label::find(&bytes[..label::SCANNED])? else {
            continue;
        };
        for area in label.areas {
            let bytes = device.read(area.start, area.size as usize)?;
            let header = orthrus_init::volume::area::Header::parse(area, &bytes[..512])?;
            let Some(current) = header.current else {
                continue;
            };
            let stretches = current.stretches();
            let text = stretches.iter().flat_map(|stretch| {
                let from = (stretch.start.saturating_sub(area.start)) as usize;
                &bytes[from..from + stretch.size as usize]
            });
            let text = current.text(text.copied().collect())?;
            if let Some(id) = Metadata::parse(&text).and_then(|metadata| metadata.id()) {
                return Ok(id);
            }
        }
    }
    Err("no disk is of a volume group".into())
}
