//! Reads what was built: cpio archives and the headers of ELF files, as far as the tests look.

/// One entry of an initramfs.
#[derive(Debug)]
pub struct Entry {
    /// Its path, without a leading slash.
    pub name: String,
    /// Type and permission bits, as in `stat`.
    pub mode: u32,
    /// Where its bytes lie in the archive.
    pub data: Vec<u8>,
}

/// The entries of a cpio archive in the "newc" form (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).
pub fn cpio(archive: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(&archive[at..at + 6], b"070701", "a newc header at {at}");
        let field = |index: usize| {
            let start = at + 6 + 8 * index;
            let digits = std::str::from_utf8(&archive[start..start + 8]).unwrap();
            u32::from_str_radix(digits, 16).unwrap()
        };
        let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
        let name_at = at + 110;
        let name = String::from_utf8(archive[name_at..name_at + name_size - 1].to_vec()).unwrap();
        let data_at = (name_at + name_size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return entries;
        }
        entries.push(Entry {
            name,
            mode,
            data: archive[data_at..data_at + size].to_vec(),
        });
        at = (data_at + size).next_multiple_of(4);
    }
}

/// The types of the program headers of a 64-bit little-endian ELF file.
pub fn program_headers(elf: &[u8]) -> Vec<u32> {
    assert_eq!(
        &elf[..6],
        b"\x7fELF\x02\x01",
        "a 64-bit little-endian ELF file"
    );
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes]
            .iter()
            .rev()
            .fold(0, |value: usize, byte| value << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count)
        .map(|index| number(table + index * size, 4) as u32)
        .collect()
}
