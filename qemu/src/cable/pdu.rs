//! iSCSI as it passes on a cable (RFC 7143, section 11): where each unit begins, its header, and the first
//! bytes of its data. Only what the [`super::witness`] needs; nothing is changed here and nothing refused.
//!
//! Digests would move the boundaries: the heads' initiators are told to use none.

/// Length of a header.
pub const HEADER_BYTES: usize = 48;
/// First bytes of data that are kept: the answer of READ KEYS with eight keys.
const DATA_KEPT_BYTES: usize = 72;

/// One unit: its header, and the beginning of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// The header.
    pub header: [u8; HEADER_BYTES],
    /// The first bytes of its data.
    pub data: Vec<u8>,
}

/// Bytes of additional header, and of data with its padding, from the fifth to the eighth byte of a header.
pub fn lengths([additional, a, b, c]: [u8; 4]) -> (usize, usize) {
    let data = u32::from_be_bytes([0, a, b, c]) as usize;
    (usize::from(additional) * 4, data.next_multiple_of(4))
}

/// What a unit means, as far as it is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A command to a LUN, with its first two bytes: operation and service action.
    Command {
        /// The LUN.
        lun: u16,
        /// The operation.
        operation: u8,
        /// The service action, where the operation has some.
        action: u8,
    },
    /// Data that a command asked for.
    DataIn {
        /// It is the end of the command as well, which ended well or did not.
        ends: Option<bool>,
    },
    /// The end of a command.
    Response {
        /// It ended well.
        good: bool,
    },
    /// Something else.
    Other,
}

impl Pdu {
    /// What it means.
    pub fn kind(&self) -> Kind {
        let header = &self.header;
        match header[0] & 0x3f {
            0x01 => Kind::Command {
                // Peripheral and flat addressing differ in the two bits on top.
                lun: u16::from_be_bytes([header[8] & 0x3f, header[9]]),
                operation: header[32],
                action: header[33] & 0x1f,
            },
            0x25 => Kind::DataIn {
                // The bit S: the status is in here.
                ends: (header[1] & 1 != 0).then_some(header[3] == 0),
            },
            0x21 => Kind::Response {
                good: header[2] == 0 && header[3] == 0,
            },
            _ => Kind::Other,
        }
    }

    /// The tag that a command and its answers share.
    pub fn tag(&self) -> u32 {
        let header = &self.header;
        u32::from_be_bytes([header[16], header[17], header[18], header[19]])
    }
}

/// Finds the units in one direction of a connection.
#[derive(Default)]
pub struct Reader {
    header: Vec<u8>,
    data: Vec<u8>,
    /// Bytes of additional header, data and padding that are still to come.
    rest: usize,
    additional: usize,
}

impl Reader {
    /// Takes the next bytes; gives the units that they complete. A unit counts as complete when the kept
    /// part of its data is there.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(&Pdu)) {
        loop {
            if self.header.len() < HEADER_BYTES {
                let count = bytes.len().min(HEADER_BYTES - self.header.len());
                self.header.extend_from_slice(&bytes[..count]);
                bytes = &bytes[count..];
                if self.header.len() < HEADER_BYTES {
                    return;
                }
                let header = &self.header;
                let (additional, data) = lengths([header[4], header[5], header[6], header[7]]);
                self.additional = additional;
                self.rest = additional + data;
            }
            let additional = bytes.len().min(self.additional);
            let count = bytes.len().min(self.rest);
            let data = &bytes[additional..count];
            let kept = data.len().min(DATA_KEPT_BYTES - self.data.len());
            self.data.extend_from_slice(&data[..kept]);
            self.additional -= additional;
            self.rest -= count;
            bytes = &bytes[count..];
            if self.rest > 0 {
                return;
            }
            let mut header = [0; HEADER_BYTES];
            header.copy_from_slice(&self.header);
            each(&Pdu {
                header,
                data: std::mem::take(&mut self.data),
            });
            self.header.clear();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A command unit.
    pub fn command(lun: u8, tag: u32, operation: u8, action: u8) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        (header[0], header[9]) = (0x01, lun);
        header[16..20].copy_from_slice(&tag.to_be_bytes());
        (header[32], header[33]) = (operation, action);
        header.to_vec()
    }

    /// A response unit.
    pub fn response(tag: u32, status: u8) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        (header[0], header[3]) = (0x21, status);
        header[16..20].copy_from_slice(&tag.to_be_bytes());
        header.to_vec()
    }

    /// A unit of data that ends its command as well.
    pub fn data_in(tag: u32, data: &[u8]) -> Vec<u8> {
        let mut unit = data_before_end(tag, data);
        unit[1] = 0x81;
        unit
    }

    /// A unit of data with the end still to come.
    pub fn data_before_end(tag: u32, data: &[u8]) -> Vec<u8> {
        let mut unit = vec![0; HEADER_BYTES];
        (unit[0], unit[7]) = (0x25, data.len() as u8);
        unit[16..20].copy_from_slice(&tag.to_be_bytes());
        unit.extend_from_slice(data);
        unit.resize(unit.len().next_multiple_of(4), 0);
        unit
    }

    #[test]
    fn units_are_found_however_the_bytes_fall() {
        let mut stream = data_in(7, b"12345");
        stream.extend(command(3, 8, 0x2a, 0));
        stream.extend(response(8, 0));
        for piece in [1, 5, 48, 61, 1000] {
            let (mut reader, mut found) = (Reader::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                reader.take(bytes, |pdu| found.push(pdu.clone()));
            }
            let kinds: Vec<Kind> = found.iter().map(Pdu::kind).collect();
            let command = Kind::Command {
                lun: 3,
                operation: 0x2a,
                action: 0,
            };
            assert_eq!(
                kinds,
                [
                    Kind::DataIn { ends: Some(true) },
                    command,
                    Kind::Response { good: true }
                ]
            );
            assert_eq!(&found[0].data[..5], b"12345");
            assert_eq!(found[2].tag(), 8);
        }
    }

    #[test]
    fn long_data_is_passed_over() {
        let mut unit = vec![0; HEADER_BYTES];
        (unit[4], unit[6]) = (2, 1); // two words of additional header, 256 bytes of data
        unit.extend([9; 8]);
        unit.extend([1; 256]);
        unit.extend(response(1, 2));
        let (mut reader, mut found) = (Reader::default(), Vec::new());
        for bytes in unit.chunks(13) {
            reader.take(bytes, |pdu| found.push(pdu.clone()));
        }
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].data, [1; DATA_KEPT_BYTES]);
        assert_eq!(found[1].kind(), Kind::Response { good: false });
    }
}
