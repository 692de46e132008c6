//! The checksum of LVM2's labels and metadata: CRC-32, but from a start value of LVM's own and not inverted
//! (`lib/misc/crc.c`).

/// LVM's start value, `INITIAL_CRC`.
pub const START: u32 = 0xf597_a6cf;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// Continues the checksum `crc` over `bytes`.
pub fn crc(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomial_is_that_of_every_crc_32() {
        assert_eq!(!crc(!0, b"123456789"), 0xcbf4_3926);
    }
}
