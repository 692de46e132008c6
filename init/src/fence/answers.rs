//! What a disk answers to PERSISTENT RESERVE IN, from bytes (SPC-4, 6.15). Pure: the bytes may be anything.

use super::reservations::{Capabilities, Holder, ReadError};

/// Generation and length of the list that follow.
fn parse_header<'a>(
    step: &'static str,
    bytes: &'a [u8],
) -> Result<(u32, usize, &'a [u8]), ReadError> {
    let [g0, g1, g2, g3, l0, l1, l2, l3, rest @ ..] = bytes else {
        let what = "answer is shorter than its header";
        return Err(ReadError::Malformed { step, what });
    };
    let generation = u32::from_be_bytes([*g0, *g1, *g2, *g3]);
    let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
    if length > rest.len() {
        let what = "answer is cut short, or there are more registrants than we look at";
        return Err(ReadError::Malformed { step, what });
    }
    Ok((generation, length, rest))
}

/// READ KEYS: the generation and the keys.
pub(super) fn parse_keys(bytes: &[u8]) -> Result<(u32, Vec<u64>), ReadError> {
    let step = "READ KEYS";
    let (generation, length, rest) = parse_header(step, bytes)?;
    let (keys, odd) = rest[..length].as_chunks::<8>();
    if !odd.is_empty() {
        let what = "length is not a multiple of a key's";
        return Err(ReadError::Malformed { step, what });
    }
    Ok((
        generation,
        keys.iter().map(|key| u64::from_be_bytes(*key)).collect(),
    ))
}

/// READ RESERVATION: the generation, and who holds it.
pub(super) fn parse_reservation(bytes: &[u8]) -> Result<(u32, Option<Holder>), ReadError> {
    let step = "READ RESERVATION";
    let (generation, length, rest) = parse_header(step, bytes)?;
    if length == 0 {
        return Ok((generation, None));
    }
    let [
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        _,
        _,
        _,
        _,
        _,
        scope_and_type,
        _,
        _,
        ..,
    ] = rest[..length]
    else {
        let what = "descriptor is shorter than 16 bytes";
        return Err(ReadError::Malformed { step, what });
    };
    let holder = Holder {
        key: u64::from_be_bytes([k0, k1, k2, k3, k4, k5, k6, k7]),
        kind: scope_and_type & 0xf,
    };
    Ok((generation, Some(holder)))
}

/// REPORT CAPABILITIES; `None` for an answer that is too short.
pub(super) fn parse_capabilities(bytes: &[u8]) -> Option<Capabilities> {
    let [_, _, can, does, ..] = bytes else {
        return None;
    };
    Some(Capabilities {
        persist_capable: can & 1 != 0,
        persist_active: does & 1 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_big_endian_with_their_generation() {
        let mut bytes = vec![0, 0, 0, 7, 0, 0, 0, 16];
        bytes.extend(0x1122_3344_5566_7788_u64.to_be_bytes());
        bytes.extend(9_u64.to_be_bytes());
        bytes.extend([0xff; 100]);
        assert_eq!(parse_keys(&bytes), Ok((7, vec![0x1122_3344_5566_7788, 9])));
        for end in 0..24 {
            assert!(parse_keys(&bytes[..end]).is_err());
        }
        bytes[7] = 15;
        assert!(parse_keys(&bytes).is_err());
    }

    #[test]
    fn type_in_the_read_back_is_spcs_five_where_the_kernel_says_three() {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 16];
        bytes.extend(5_u64.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0x05, 0, 0]);
        let holder = Holder { key: 5, kind: 5 };
        assert_eq!(parse_reservation(&bytes), Ok((1, Some(holder))));
        assert!(parse_reservation(&bytes[..20]).is_err());
        assert_eq!(parse_reservation(&[0, 0, 0, 1, 0, 0, 0, 0]), Ok((1, None)));
    }
}
