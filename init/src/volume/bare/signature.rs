//! What a disk may have on it, by the bytes that give it away: the places and magic numbers of libblkid
//! (`libblkid/src/superblocks`, `partitions`), of md's and drbd's own headers, and of lvm2.
//!
//! One look at both ends of the disk. To be wrong in one direction costs a disk's contents and in the other an
//! operator's `--wipe`, so a magic number alone is enough: no checksum is asked for.

use std::fmt;
use std::io;

/// Something that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub what: &'static str,
    /// Where its magic number is, in bytes.
    pub offset: u64,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.offset)
    }
}

/// Where a magic number is.
enum Place {
    /// From the start.
    Start(u64),
    /// Any of so many, a step apart from the start on: first, step, count.
    Steps(u64, u64, u64),
    /// Any of so many sectors of 512 bytes before the end.
    Before(&'static [u64]),
    /// From the end: the disk's size is rounded down to the first number, and this is behind that less the second one.
    End { unit: u64, back: u64, offset: u64 },
}

use Place::{Before, End, Start, Steps};

/// Names, places and magic numbers.
const TABLE: &[(&str, Place, &[u8])] = &[
    // Volume managers, RAID, encryption, caches.
    ("an LVM2 physical volume", Steps(0, 512, 4), b"LABELONE"),
    ("an LVM1 physical volume", Start(0), b"HM\x01\x00"),
    ("an MD array (1.1)", Start(0), MD),
    ("an MD array (1.2)", Start(4096), MD),
    (
        "an MD array (1.0)",
        End {
            unit: 4096,
            back: 8192,
            offset: 0,
        },
        MD,
    ),
    (
        "an MD array (0.90)",
        End {
            unit: 65536,
            back: 65536,
            offset: 0,
        },
        MD,
    ),
    (
        "an MD array (0.90)",
        End {
            unit: 65536,
            back: 65536,
            offset: 0,
        },
        b"\xa9\x2b\x4e\xfc",
    ),
    ("a DDF RAID", Before(&[1, 257]), b"\xde\x11\xde\x11"),
    ("a DDF RAID", Before(&[1, 257]), b"\x11\xde\x11\xde"),
    ("an Intel RAID", Before(&[2]), INTEL),
    (
        "an Intel RAID",
        End {
            unit: 4096,
            back: 8192,
            offset: 0,
        },
        INTEL,
    ),
    ("an LSI RAID", Before(&[1]), b"$XIDE$"),
    ("a VIA RAID", Before(&[1]), b"\x55\xaa\x00"),
    ("a VIA RAID", Before(&[1]), b"\x55\xaa\x01"),
    ("a VIA RAID", Before(&[1]), b"\x55\xaa\x02"),
    (
        "a Silicon Image RAID",
        End {
            unit: 512,
            back: 512,
            offset: 96,
        },
        b"\0\0\0\x2f",
    ),
    ("an NVIDIA RAID", Before(&[2]), b"NVIDIA"),
    (
        "a Promise RAID",
        Before(PROMISE),
        b"Promise Technology, Inc.",
    ),
    ("a HighPoint RAID", Start(9 * 512 + 32), b"\xf0\x16\x78\x5a"),
    ("a HighPoint RAID", Start(9 * 512 + 32), b"\xfd\x16\x78\x5a"),
    ("a HighPoint RAID", Before(&[11]), b"\xf3\x16\x78\x5a"),
    ("a HighPoint RAID", Before(&[11]), b"\xfd\x16\x78\x5a"),
    ("an Adaptec RAID", Before(&[1]), b"\x37\xfc\x4d\x1e"),
    ("a JMicron RAID", Before(&[1]), b"JM"),
    (
        "a DRBD device",
        End {
            unit: 4096,
            back: 4096,
            offset: 60,
        },
        b"\x83\x74\x02\x6b",
    ),
    (
        "a DRBD device",
        End {
            unit: 4096,
            back: 4096,
            offset: 60,
        },
        b"\x83\x74\x02\x6c",
    ),
    (
        "a DRBD device",
        End {
            unit: 4096,
            back: 4096,
            offset: 60,
        },
        b"\x83\x74\x02\x6d",
    ),
    ("a LUKS volume", Start(0), b"LUKS\xba\xbe"),
    ("a LUKS volume", Steps(16384, 16384, 15), b"SKUL\xba\xbe"),
    ("a BitLocker volume", Start(3), b"-FVE-FS-"),
    ("a bcache device", Start(4096 + 24), BCACHE),
    (
        "a bcachefs file system",
        Start(4096 + 24),
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef",
    ),
    ("a VDO volume", Start(0), b"dmvdo001"),
    (
        "a Stratis device",
        Start(512 + 4),
        b"!Stra0tis\x86\xff\x02^\x41rh",
    ),
    (
        "a Stratis device",
        Start(9 * 512 + 4),
        b"!Stra0tis\x86\xff\x02^\x41rh",
    ),
    ("a dm-integrity device", Start(0), b"integrt\0"),
    ("a dm-verity hash device", Start(0), b"verity\0\0"),
    ("a snapshot store", Start(0), b"SnAp"),
    ("a Ceph OSD", Start(0), b"bluestore block device"),
    // Partition tables.
    ("a GPT", Start(512), b"EFI PART"),
    ("a GPT", Start(4096), b"EFI PART"),
    (
        "a GPT (the copy at the end)",
        End {
            unit: 512,
            back: 512,
            offset: 0,
        },
        b"EFI PART",
    ),
    (
        "a GPT (the copy at the end)",
        End {
            unit: 4096,
            back: 4096,
            offset: 0,
        },
        b"EFI PART",
    ),
    ("an MBR or a boot sector", Start(510), b"\x55\xaa"),
    ("an Apple partition map", Start(512), b"PM\0\0"),
    ("a Sun label", Start(508), b"\xda\xbe"),
    ("an SGI label", Start(0), b"\x0b\xe5\xa9\x41"),
    ("a BSD label", Start(512), b"\x57\x45\x56\x82"),
    ("a BSD label", Start(64), b"\x57\x45\x56\x82"),
    // File systems and swap.
    (
        "an ext2, ext3 or ext4 file system",
        Start(1024 + 56),
        b"\x53\xef",
    ),
    ("an XFS file system", Start(0), b"XFSB"),
    ("an XFS log", Start(0), b"\xfe\xed\xba\xbe"),
    ("a btrfs file system", Start(65536 + 64), b"_BHRfS_M"),
    (
        "a ZFS member",
        Steps(131_072, 1024, 128),
        b"\x0c\xb1\xba\x00\0\0\0\0",
    ),
    (
        "a ZFS member",
        Steps(131_072, 1024, 128),
        b"\0\0\0\0\x00\xba\xb1\x0c",
    ),
    (
        "a ZFS member",
        Steps(393_216, 1024, 128),
        b"\x0c\xb1\xba\x00\0\0\0\0",
    ),
    (
        "a ZFS member",
        Steps(393_216, 1024, 128),
        b"\0\0\0\0\x00\xba\xb1\x0c",
    ),
    ("swap space", Start(4096 - 10), b"SWAPSPACE2"),
    ("swap space", Start(4096 - 10), b"SWAP-SPACE"),
    ("swap space", Start(16384 - 10), b"SWAPSPACE2"),
    ("swap space", Start(65536 - 10), b"SWAPSPACE2"),
    ("a hibernation image", Start(4096 - 10), b"S1SUSPEND"),
    ("a hibernation image", Start(4096 - 10), b"LINHIB0001"),
    ("an NTFS file system", Start(3), b"NTFS    "),
    ("an exFAT file system", Start(3), b"EXFAT   "),
    ("a FAT file system", Start(54), b"FAT"),
    ("a FAT file system", Start(82), b"FAT32   "),
    ("a FAT file system", Start(54), b"MSDOS"),
    ("a ReFS file system", Start(0), b"\0\0\0ReFS\0"),
    ("an ISO 9660 file system", Start(32769), b"CD001"),
    ("a UDF file system", Start(32769), b"BEA01"),
    ("a UDF file system", Start(32769), b"NSR0"),
    ("an F2FS file system", Start(1024), b"\x10\x20\xf5\xf2"),
    ("an EROFS file system", Start(1024), b"\xe2\xe1\xf5\xe0"),
    ("a NILFS2 file system", Start(1024 + 6), b"\x34\x34"),
    ("an HFS file system", Start(1024), b"BD"),
    ("an HFS+ file system", Start(1024), b"H+"),
    ("an HFS+ file system", Start(1024), b"HX"),
    ("an APFS container", Start(32), b"NXSB"),
    ("a JFS file system", Start(32768), b"JFS1"),
    ("a ReiserFS file system", Start(65536 + 52), b"ReIsEr"),
    (
        "a GFS or GFS2 file system",
        Start(65536),
        b"\x01\x16\x19\x70",
    ),
    ("an OCFS file system", Start(8192), b"OracleCFS"),
    ("an Oracle ASM disk", Start(32), b"ORCLDISK"),
    ("an OCFS2 file system", Steps(1024, 1024, 8), b"OCFSV2"),
    ("a squashfs file system", Start(0), b"hsqs"),
    ("a squashfs file system", Start(0), b"sqsh"),
    ("a cramfs file system", Start(0), b"\x45\x3d\xcd\x28"),
    (
        "a UFS file system",
        Steps(8192 + 1372, 57_344, 2),
        b"\x19\x01\x54\x19",
    ),
    ("a UFS file system", Start(8192 + 1372), b"\x54\x19\x01\x00"),
    ("a VMFS volume", Start(1 << 20), b"\x0d\xd0\x01\xc0"),
    ("a VMFS volume", Start(2 << 20), b"\x5e\xf1\xab\x2f"),
    ("a VxFS file system", Start(1024), b"\xf5\xfc\x01\xa5"),
    ("a VxFS file system", Start(8192), b"\xa5\x01\xfc\xf5"),
    ("an HPFS file system", Start(8192), b"\x49\xe8\x95\xf9"),
    ("a NetWare file system", Start(4096), b"SPB5"),
    ("a zonefs file system", Start(0), b"SFOZ"),
    ("a Minix file system", Start(1024 + 16), b"\x7f\x13"),
    ("a Minix file system", Start(1024 + 16), b"\x8f\x13"),
    ("a Minix file system", Start(1024 + 16), b"\x13\x7f"),
    ("a Minix file system", Start(1024 + 16), b"\x13\x8f"),
    ("a Minix file system", Start(1024 + 16), b"\x68\x24"),
    ("a Minix file system", Start(1024 + 16), b"\x78\x24"),
    ("a Minix file system", Start(1024 + 16), b"\x24\x68"),
    ("a Minix file system", Start(1024 + 16), b"\x24\x78"),
    ("a Minix file system", Start(1024 + 24), b"\x5a\x4d"),
    ("a Minix file system", Start(1024 + 24), b"\x4d\x5a"),
];

const INTEL: &[u8] = b"Intel Raid ISM Cfg Sig. ";
/// Where one of Promise's controllers or another put it.
const PROMISE: &[u64] = &[
    16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087,
];
/// `MD_SB_MAGIC`, as little-endian machines write it.
const MD: &[u8] = b"\xfc\x4e\x2b\xa9";
const BCACHE: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";

/// What is looked at from the start, and to the end.
const HEAD: u64 = (2 << 20) + 4096;
const TAIL: u64 = 2 << 20;

/// Everything that is recognised on a disk of so many bytes. `read` gets offsets and lengths in multiples of `block`.
///
/// # Errors
/// The disk's.
pub fn recognise(
    bytes: u64,
    block: usize,
    read: &mut dyn FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<Found>> {
    let block = block as u64;
    let whole = bytes / block * block;
    let head_bytes = HEAD.min(whole);
    let tail_start = whole.saturating_sub(TAIL) / block * block;
    let head = read(0, head_bytes as usize)?;
    let tail = read(tail_start, (whole - tail_start) as usize)?;
    let at = |offset: u64, magic: &[u8]| {
        let within = |window: &[u8], start: u64| {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            Some(window.get(from..from.checked_add(magic.len())?)? == magic)
        };
        within(&head, 0) == Some(true) || within(&tail, tail_start) == Some(true)
    };
    let mut found: Vec<Found> = Vec::new();
    for (what, place, magic) in TABLE {
        let places = place.offsets(bytes);
        let hit = places.into_iter().find(|offset| at(*offset, magic));
        if let Some(offset) = hit
            && !found.iter().any(|known| known.what == *what)
        {
            found.push(Found { what, offset });
        }
    }
    Ok(found)
}

impl Place {
    /// From the start of a disk of so many bytes.
    fn offsets(&self, bytes: u64) -> Vec<u64> {
        match self {
            Start(offset) => vec![*offset],
            Steps(first, step, count) => (0..*count).map(|index| first + index * step).collect(),
            Before(sectors) => {
                let starts = sectors.iter().map(|back| (bytes / 512).checked_sub(*back));
                starts.flatten().map(|start| start * 512).collect()
            }
            End { unit, back, offset } => {
                let start = (bytes / unit * unit).checked_sub(*back);
                start.map(|start| start + offset).into_iter().collect()
            }
        }
    }
}

/// Everything that is recognised, with the first and the last place of it on a disk of so many bytes.
#[cfg(test)]
pub(super) fn table(bytes: u64) -> impl Iterator<Item = (&'static str, Vec<u64>, &'static [u8])> {
    TABLE.iter().map(move |(what, place, magic)| {
        let mut offsets = place.offsets(bytes);
        if offsets.len() > 2 {
            offsets.drain(1..offsets.len() - 1);
        }
        (*what, offsets, *magic)
    })
}
