//! The ends of a disk, read once each: what a disk is stands in several places there, and one that takes seconds for an answer would
//! not show all of them within [`super::READ_LIMIT`] if each were asked for by itself. It would pass for silent, and its pool be
//! refused by both heads.

use std::io;

use super::Read;

/// MD's superblocks 1.1 and 1.2, the label, and the header of the area as lvm2 lays it.
const FRONT: u64 = 8 << 10;
/// MD's superblock 1.0, up to 12 KiB before the end. That of 0.90 is further in front, where clients' data may be: a bad block there must
/// not cost the drive's whole patience, so it is read by itself.
const BACK: u64 = 16 << 10;
/// The largest block of a disk.
const BLOCK: u64 = 4096;

/// An end that may be asked for.
struct End {
    from: u64,
    to: u64,
    bytes: Bytes,
}

enum Bytes {
    Unread,
    /// One of its blocks is bad, and the others may be good.
    Unreadable,
    Read(Vec<u8>),
}

/// A reader of a disk of so many bytes that reads each end as a whole and keeps it, as long as this lives.
pub(super) fn at_once<'a>(
    bytes: u64,
    read: &'a mut Read<'_>,
) -> impl FnMut(u64, usize) -> io::Result<Vec<u8>> + 'a {
    let whole = bytes / BLOCK * BLOCK;
    let end = |from, to| End {
        from,
        to,
        bytes: Bytes::Unread,
    };
    let mut ends = [
        end(0, FRONT.min(whole)),
        end(whole.saturating_sub(BACK), whole),
    ];
    move |offset, length| {
        let last = offset.saturating_add(length as u64);
        let is_in = |end: &&mut End| offset >= end.from && last <= end.to;
        let Some(end) = ends.iter_mut().find(is_in) else {
            return read(offset, length);
        };
        if matches!(end.bytes, Bytes::Unread) {
            end.bytes = match read(end.from, (end.to - end.from) as usize) {
                Ok(bytes) => Bytes::Read(bytes),
                Err(_) => Bytes::Unreadable,
            };
        }
        let start = (offset - end.from) as usize;
        match &end.bytes {
            Bytes::Read(bytes) => Ok(bytes[start..start + length].to_vec()),
            Bytes::Unread | Bytes::Unreadable => read(offset, length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_read_once_and_the_rest_as_it_is_asked_for() {
        let disk: Vec<u8> = (0..(1 << 20) + 512_u32).map(|at| (at / 7) as u8).collect();
        let mut asked = Vec::new();
        let mut read = |offset: u64, length: usize| {
            asked.push((offset, length));
            Ok(disk[offset as usize..offset as usize + length].to_vec())
        };
        let mut few = at_once(disk.len() as u64, &mut read);
        let end = 1 << 20;
        for (offset, length) in [
            (0, 4096),
            (4096, 4096),
            (512, 2048),
            (end - 8192, 4096),
            (end - 65536, 12),
            (8192, 512),
            (end - 4096, 4608),
            (8000, 512),
        ] {
            let bytes = few(offset, length).unwrap();
            assert_eq!(bytes, disk[offset as usize..offset as usize + length]);
        }
        drop(few);
        assert_eq!(
            asked,
            [
                (0, 8192),
                (end - (16 << 10), 16 << 10),
                (end - 65536, 12),
                (8192, 512),
                (end - 4096, 4608),
                (8000, 512)
            ]
        );
    }

    #[test]
    fn a_bad_block_at_an_end_costs_only_what_is_on_it() {
        let mut calls = 0;
        let mut read = |offset: u64, length: usize| {
            calls += 1;
            match (offset..offset + length as u64).contains(&4096) {
                true => Err(io::Error::from_raw_os_error(libc::EIO)),
                false => Ok(vec![1; length]),
            }
        };
        let mut few = at_once(1 << 20, &mut read);
        assert!(few(4096, 4096).is_err());
        assert_eq!(few(0, 4096).unwrap(), vec![1; 4096]);
        assert_eq!(few(512, 512).unwrap(), vec![1; 512]);
        drop(few);
        assert_eq!(calls, 4, "the end as a whole only once");
    }
}
