//! What is recognised, and what becomes of a disk.

use std::collections::BTreeMap;

use super::super::area;
use super::super::write::Store;
use super::signature::table;
use super::*;

const SIZE: u64 = 64 << 20;

/// A disk in memory, of the sectors that are not zero.
struct Disk {
    sectors: BTreeMap<u64, [u8; 512]>,
    block: usize,
}

impl Disk {
    fn new(block: usize) -> Disk {
        Disk {
            sectors: BTreeMap::new(),
            block,
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let sector = self.sectors.entry(at / 512).or_insert([0; 512]);
            sector[(at % 512) as usize] = *byte;
        }
        self.sectors.retain(|_, sector| *sector != [0; 512]);
    }

    fn bare(&mut self) -> BareDisk<'_, Disk> {
        BareDisk {
            name: "sdx",
            device: "/dev/sdx",
            bytes: SIZE,
            medium: self,
        }
    }
}

impl Medium for Disk {
    fn block(&self) -> usize {
        self.block
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        assert!(offset.is_multiple_of(self.block as u64) && length.is_multiple_of(self.block));
        assert!(offset + length as u64 <= SIZE);
        let mut bytes = vec![0; length];
        for (number, sector) in self.sectors.range(offset / 512..) {
            let Some(part) = bytes.get_mut((number * 512 - offset) as usize..) else {
                break;
            };
            if part.len() >= 512 {
                part[..512].copy_from_slice(sector);
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(self.block as u64) && bytes.len().is_multiple_of(self.block));
        assert!(offset + bytes.len() as u64 <= SIZE);
        for (number, sector) in (offset / 512..).zip(bytes.as_chunks().0) {
            match sector == &[0; 512] {
                true => self.sectors.remove(&number),
                false => self.sectors.insert(number, *sector),
            };
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn id() -> Uuid {
    Uuid::from_compact(&[b'p'; 32]).unwrap()
}

#[test]
fn whatever_is_in_the_table_keeps_a_disk_from_being_taken_and_a_wipe_takes_all_of_it() {
    let mut places = 0;
    for block in [512, 4096] {
        for (what, offsets, magic) in table(SIZE) {
            for offset in offsets {
                let mut disk = Disk::new(block);
                disk.put(offset, magic);
                let before = disk.sectors.clone();
                let refused = disk.bare().make(id()).unwrap_err();
                assert!(refused.to_string().contains(what), "{refused}");
                assert_eq!(disk.sectors, before, "{what}: it was written to");
                disk.bare().wipe().unwrap();
                assert!(disk.bare().make(id()).is_ok(), "{what}");
                places += 1;
            }
        }
    }
    assert!(places > 150, "{places}");
}

#[test]
fn what_real_tools_write_is_recognised() {
    // Where mdadm, mke2fs, mkswap and sgdisk put their magic numbers on a disk of 64 MiB.
    for (offset, bytes, what) in [
        (
            4096,
            &b"\xfc\x4e\x2b\xa9\x01\0\0\0"[..],
            "an MD array (1.2)",
        ),
        (
            SIZE - 8192,
            b"\xfc\x4e\x2b\xa9\x01\0\0\0",
            "an MD array (1.0)",
        ),
        (
            SIZE - 65536,
            b"\xfc\x4e\x2b\xa9\0\0\0\0",
            "an MD array (0.90)",
        ),
        (1080, b"\x53\xef\x01\0", "ext4"),
        (4086, b"SWAPSPACE2", "swap"),
        (SIZE - 512, b"EFI PART", "GPT"),
        (SIZE - 4096 + 60, b"\x83\x74\x02\x6b", "DRBD"),
        // Of controllers, counted in sectors from the end: see libblkid.
        (SIZE - 257 * 512, b"\xde\x11\xde\x11", "a DDF RAID"),
        (SIZE - 8192, b"Intel Raid ISM Cfg Sig. 1.3", "an Intel RAID"),
        (SIZE - 512, b"$XIDE$", "an LSI RAID"),
        (SIZE - 512, b"\x55\xaa\x02", "a VIA RAID"),
        (SIZE - 512 + 0x60, b"\0\0\0\x2f", "a Silicon Image RAID"),
        (SIZE - 1024, b"NVIDIA  ", "an NVIDIA RAID"),
        (
            SIZE - 3087 * 512,
            b"Promise Technology, Inc.",
            "a Promise RAID",
        ),
        (
            SIZE - 951 * 512,
            b"Promise Technology, Inc.",
            "a Promise RAID",
        ),
        (4640, b"\xf0\x16\x78\x5a", "a HighPoint RAID"),
        (SIZE - 11 * 512, b"\xf3\x16\x78\x5a", "a HighPoint RAID"),
        (SIZE - 512, b"\x37\xfc\x4d\x1e", "an Adaptec RAID"),
        (SIZE - 512, b"JM\x01\x02", "a JMicron RAID"),
        (32, b"ORCLDISK", "an Oracle ASM disk"),
        (8192, b"OracleCFS", "an OCFS file"),
        (2 << 20, b"\x5e\xf1\xab\x2f", "a VMFS volume"),
        (1040, b"\x8f\x13", "a Minix file"),
    ] {
        let mut disk = Disk::new(512);
        disk.put(offset, bytes);
        let refused = disk.bare().check().unwrap_err().to_string();
        assert!(refused.contains(what), "{what}: {refused}");
    }
}

#[test]
fn a_physical_volume_is_one_for_our_own_reader_and_empty() {
    let mut disk = Disk::new(4096);
    let member = disk.bare().make(id()).unwrap();
    assert_eq!((member.sectors, member.data_start), (SIZE / 512, 2048));
    let label = label::find(&disk.read(0, 4096).unwrap()[..label::SCANNED])
        .unwrap()
        .unwrap();
    assert_eq!((label.uuid, label.device_bytes), (id(), SIZE));
    let header = disk.read(4096, 4096).unwrap();
    let [area] = label.areas[..] else { panic!() };
    let header = Header::parse(area, &header[..area::HEADER]).unwrap();
    assert!(header.current.is_none() && !header.is_ignored);
    // And it is not taken a second time.
    let refused = disk.bare().make(id()).unwrap_err();
    assert!(refused.to_string().contains("LVM2"), "{refused}");
}

#[test]
fn a_small_disk_is_refused() {
    let mut disk = Disk::new(512);
    let mut bare = disk.bare();
    bare.bytes = 1 << 20;
    assert!(matches!(bare.make(id()), Err(BareError::Small { .. })));
    assert!(matches!(bare.wipe(), Err(BareError::Small { .. })));
}

#[test]
fn a_group_is_made_on_bare_disks_and_on_nothing_else() {
    use super::super::edit::{Layout, apply, new_group};
    use super::super::write::Author;

    let author = Author {
        host: "a".to_owned(),
        time: 1,
        description: "pool create".to_owned(),
    };
    let mut disk = Disk::new(512);
    let member = disk.bare().make(id()).unwrap();
    let group = Uuid::from_compact(&[b'v'; 32]).unwrap();
    let fresh = new_group("tank", group, 8192).unwrap();
    let shared = std::sync::Arc::new(std::sync::Mutex::new(disk));
    let disks = || vec![("sdx".to_owned(), Ok(Shared(shared.clone())))];
    let made = apply::create(disks(), fresh.clone(), &author, |edit| {
        edit.add_member(&member)?;
        edit.create_reserved(Layout::Linear)
    });
    assert_eq!(made.unwrap().1.seqno, 1);
    let store = Store::open(disks(), &group).unwrap();
    let names: Vec<&str> = store.newest().volumes().map(|(name, _)| name).collect();
    assert_eq!(names, ["orthrus_ledger0", "orthrus_state"]);
    let again = apply::create(disks(), fresh, &author, |edit| edit.add_member(&member));
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains("has metadata already")
    );
}

/// One disk for several openings.
struct Shared(std::sync::Arc<std::sync::Mutex<Disk>>);

impl Medium for Shared {
    fn block(&self) -> usize {
        self.0.lock().unwrap().block
    }

    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.lock().unwrap().read(offset, length)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().write(offset, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
