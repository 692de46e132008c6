//! Archives in the `newc` format, to be appended to an initramfs: the kernel unpacks one after the
//! other, later files replacing earlier ones.

/// One regular file of an archive.
pub struct Entry<'a> {
    /// Path without a leading slash.
    pub path: &'a str,
    /// Permissions.
    pub mode: u32,
    /// Content.
    pub bytes: &'a [u8],
}

/// An archive of regular files, padded so that another may follow.
pub fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    const REGULAR: u32 = 0o100_000;
    let mut out = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        member(
            &mut out,
            index as u32 + 1,
            REGULAR | entry.mode,
            entry.path,
            entry.bytes,
        );
    }
    member(&mut out, 0, 0, "TRAILER!!!", &[]);
    pad(&mut out, 512);
    out
}

fn member(out: &mut Vec<u8>, inode: u32, mode: u32, path: &str, bytes: &[u8]) {
    // Fields: inode, mode, uid, gid, links, mtime, size, device (4 words), length of name, checksum.
    let (size, name_size) = (bytes.len() as u32, path.len() as u32 + 1);
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out, 4);
    out.extend_from_slice(bytes);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_aligned_and_the_end_is_marked() {
        let bytes = archive(&[Entry {
            path: "a.toml",
            mode: 0o600,
            bytes: b"xyz",
        }]);
        assert!(bytes.starts_with(b"0707010000000100008180"));
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(&bytes[110..116], b"a.toml");
        assert_eq!(&bytes[120..123], b"xyz");
        assert!(bytes.windows(10).any(|w| w == b"TRAILER!!!"));
    }
}
