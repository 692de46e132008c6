//! Changes a volume group on the given disks by the firmware's own writer, beside the real lvm2: for tests only, in a
//! virtual machine or on loop devices. Nothing is fenced here.
//!
//!     metadata stamp EPOCH DISK...
//!     metadata pool NAME DISK...                      a new group on bare disks, with the ledger's volumes
//!     metadata add NEW DISK...                        one more disk into the group of the others
//!     metadata wipe DISK...                           what a pool that is destroyed or a disk that leaves it ends as
//!     metadata edit DISK... -- WORDS                  WORDS as in `edit` below
//!     metadata change DISK... -- WORDS                the same while the group is active, which follows
//!     metadata usage DISK...                          how full pools and stores are, and how far RAID is, a line each
//!     metadata file-system ext4|xfs NODE              the command that makes one as `volume create --fs` does
//!     metadata more-room PLACE                        gives the one that is mounted there its volume's room
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use orthrus_hb::Epoch;
use orthrus_init::disk;
use orthrus_init::filesystem::{self, Kind, Use, probe};
use orthrus_init::volume::bare::BareDisk;
use orthrus_init::volume::edit::{
    self, Edit, EditError, Layout, PoolSize, Raid, VolumeOrder, apply,
};
use orthrus_init::volume::group::{Segment, SegmentKind};
use orthrus_init::volume::label;
use orthrus_init::volume::write::stamp::Stamp;
use orthrus_init::volume::write::{Author, BlockDevice, Medium as _, Metadata};
use orthrus_init::volume::{self, Uuid, VolumeGroup};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["stamp", epoch, disks @ ..] => {
            let stamp = Stamp {
                system_id: "orthrus-lab".to_owned(),
                epoch: Epoch(epoch.parse()?),
                parity_in_use: false,
                author: author(),
            };
            let written = stamp.put(open(disks)?, &group(disks)?)?;
            match written {
                Some(stamped) => println!("{:?}", stamped.written),
                None => println!("nothing to write"),
            }
            Ok(())
        }
        ["pool", name, disks @ ..] => pool(name, disks),
        ["add", new, disks @ ..] => {
            let group = group(disks)?;
            let member = bare(new, |bare| Ok(bare.make(Uuid::random()?)?))?;
            let all = [&[*new], disks].concat();
            let (_, written) = apply::apply(open(&all)?, &group, &author(), |work| {
                work.add_member(&member)
            })?;
            println!("{written:?}");
            Ok(())
        }
        ["wipe", disks @ ..] => disks
            .iter()
            .try_for_each(|disk| bare(disk, |bare| Ok(bare.wipe()?))),
        ["file-system", kind, node] => file_system(kind, node),
        ["more-room", place] => {
            filesystem::grow(Path::new(place))?;
            Ok(())
        }
        ["edit", rest @ ..] => {
            let (disks, words) = words_of(rest)?;
            changed(disks, words)
        }
        ["change", rest @ ..] => {
            let (disks, words) = words_of(rest)?;
            change(disks, words)
        }
        ["usage", disks @ ..] => usage(&now(&group(disks)?)?),
        _ => Err("see the head of the source".into()),
    }
}

fn pool(name: &str, disks: &[&str]) -> Outcome<()> {
    let mut members = Vec::new();
    for disk in disks {
        members.push(bare(disk, |bare| Ok(bare.make(Uuid::random()?)?))?);
    }
    let group = edit::new_group(name, Uuid::random()?, 8192)?;
    let (_, written) = apply::create(open(disks)?, group, &author(), |work| {
        members
            .iter()
            .try_for_each(|member| work.add_member(member))?;
        work.create_reserved(Layout::Raid(Raid::Raid1, 2))
    })?;
    println!("{written:?}");
    Ok(())
}

fn words_of<'a>(rest: &'a [&'a str]) -> Outcome<(&'a [&'a str], &'a [&'a str])> {
    let end = rest.iter().position(|word| *word == "--");
    let (disks, words) = rest.split_at(end.ok_or("no -- before the words")?);
    Ok((disks, &words[1..]))
}

fn changed(disks: &[&str], words: &[&str]) -> Outcome<()> {
    let group = group(disks)?;
    let (_, written) = apply::apply(open(disks)?, &group, &author(), |work| edit(work, words))?;
    println!("{written:?}");
    Ok(())
}

/// As the owner does it under clients: the metadata, then the kernel, then the metadata without what thin pools were told.
fn change(disks: &[&str], words: &[&str]) -> Outcome<()> {
    let id = group(disks)?;
    let before = now(&id)?;
    changed(disks, words)?;
    let after = now(&id)?;
    volume::reactivate(&before, &after)?;
    let waits = |segment: &Segment| matches!(&segment.kind, SegmentKind::ThinPool(pool) if !pool.messages.is_empty());
    if after.lvs.iter().flat_map(|lv| &lv.segments).any(waits) {
        apply::apply(open(disks)?, &id, &author(), |work| work.settle_all())?;
    }
    Ok(())
}

fn usage(group: &VolumeGroup) -> Outcome<()> {
    for one in volume::pool_usage(group)? {
        println!(
            "{}: data {} %, metadata {} %",
            one.pool, one.data, one.metadata
        );
    }
    for one in volume::store_usage(group)? {
        println!(
            "{}: {:?} %, invalid: {}",
            one.snapshot, one.percent, one.is_invalid
        );
    }
    for one in volume::progress(group)? {
        println!(
            "{}: {} %, of all: {}, whole: {}",
            one.lv, one.percent, one.is_resync, one.is_whole
        );
    }
    Ok(())
}

/// The group as it is on the disks.
fn now(id: &Uuid) -> Outcome<VolumeGroup> {
    let disks: Vec<_> = disk::scan().into_iter().filter_map(Result::ok).collect();
    let found = volume::read_groups(&disks);
    let mut groups = found.groups.iter();
    let group = groups.find(|group| group.uuid == *id).cloned();
    Ok(group.ok_or_else(|| format!("no group {id}: {:?}", found.problems))?)
}

fn file_system(kind: &str, node: &str) -> Outcome<()> {
    let mut kinds = Kind::ALL.into_iter();
    let kind = kinds.find(|known| known.name() == kind);
    let kind = kind.ok_or("no such kind")?;
    let bytes = std::io::Seek::seek(&mut fs::File::open(node)?, std::io::SeekFrom::End(0))?;
    let bytes = bytes - probe::TAIL as u64;
    let (helper, words) = filesystem::command(node, bytes, kind, "share", Use::Share);
    println!("{helper} {}", words.join(" "));
    Ok(())
}

/// Does something to a disk that is to be bare.
fn bare<T>(
    disk: &str,
    work: impl FnOnce(&mut BareDisk<'_, BlockDevice>) -> Outcome<T>,
) -> Outcome<T> {
    let (_, device) = open(&[disk])?.remove(0);
    let bytes = std::io::Seek::seek(&mut fs::File::open(disk)?, std::io::SeekFrom::End(0))?;
    work(&mut BareDisk {
        name: disk,
        device: disk,
        bytes,
        medium: &mut device?,
    })
}

fn edit(work: &mut Edit<'_>, words: &[&str]) -> Result<(), EditError> {
    let bad = |_| EditError::Size("no number".to_owned());
    match words {
        ["default", layout] => work.set_default(layout_of(layout)),
        ["create", name, extents, "default"] => {
            let extents: u64 = extents.parse().map_err(bad)?;
            let order = VolumeOrder::Create {
                name: (*name).to_owned(),
                bytes: extents * (4 << 20),
                layout: None,
                filesystem: None,
            };
            order.apply(work)
        }
        ["create", name, extents, layout] => {
            work.create(name, extents.parse().map_err(bad)?, layout_of(layout))
        }
        ["thin-pool", name, extents, data, metadata] => {
            let size = PoolSize {
                extents: extents.parse().map_err(bad)?,
                data: layout_of(data),
                metadata: layout_of(metadata),
            };
            work.create_pool(name, size)
        }
        ["thin", pool, name, extents] => {
            work.create_thin(pool, name, extents.parse().map_err(bad)?)
        }
        ["thin-snapshot", origin, name] => work.snapshot_thin(origin, name),
        ["snapshot", origin, name, extents] => {
            work.create_snapshot(origin, name, extents.parse().map_err(bad)?)
        }
        ["grow", name, extents] => work.grow(name, extents.parse().map_err(bad)?),
        ["rename", old, new] => work.rename(old, new),
        ["remove", name] => work.remove(name),
        ["lose", name] => work.lose_snapshot(name),
        ["settle", pool] => work.settle_thin(pool),
        ["rebuilt", name] => work.rebuilt(name),
        ["missing", id] => work.set_missing(uuid(id)?, true),
        ["replace", old, new] => work.replace_member(uuid(old)?, uuid(new)?),
        ["reduce", id] => work.remove_member(uuid(id)?),
        ["restore", snapshot] => work.restore_thin(snapshot),
        ["merge", snapshot] => work.begin_merge(snapshot),
        ["merged", snapshot] => work.end_merge(snapshot),
        ["complete"] => work.complete_reserved(&[], true),
        ["destroy"] => {
            work.destroy();
            Ok(())
        }
        _ => Err(EditError::Malformed("these words are unknown")),
    }
}

fn uuid(text: &str) -> Result<Uuid, EditError> {
    Uuid::from_text(text).ok_or_else(|| EditError::NoMember(text.to_owned()))
}

/// `linear`, `striped2`, `raid1x2`, ...
fn layout_of(word: &str) -> Layout {
    let split = |prefix: &str| word.strip_prefix(prefix)?.parse().ok();
    let raids = [
        ("raid0x", Raid::Raid0),
        ("raid1x", Raid::Raid1),
        ("raid5x", Raid::Raid5),
        ("raid6x", Raid::Raid6),
        ("raid10x", Raid::Raid10),
    ];
    if let Some(stripes) = split("striped") {
        return Layout::Striped(stripes);
    }
    let mut raids = raids.into_iter();
    let found = raids.find_map(|(prefix, level)| Some(Layout::Raid(level, split(prefix)?)));
    found.unwrap_or(Layout::Linear)
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
