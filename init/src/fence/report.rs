//! What an NVMe controller answers to Reservation Report and Identify, from bytes (NVM Express Base Specification 2.0, 7.5.5 and 5.17;
//! `struct nvme_reservation_status_ext` and `nvme_id_ns` of `include/linux/nvme.h`). Pure: the bytes may be anything.

use super::reservations::{Holder, ReadError, Seen};

/// Bytes of the report before the first registrant, and of each, with host identifiers of 128 bits.
const HEADER_BYTES: usize = 64;
const REGISTRANT_BYTES: usize = 64;

/// More registrants than this are not looked at: a namespace with so many hosts is none of ours, and 4 KiB go through every
/// controller.
const MOST_REGISTRANTS: usize = 63;

/// Room for a whole report.
pub(super) const REPORT_BYTES: usize = HEADER_BYTES + MOST_REGISTRANTS * REGISTRANT_BYTES;

/// The name of the command, in errors.
pub(super) const REPORT: &str = "RESERVATION REPORT";

/// The identifier by which a controller knows a host, and each registration's.
pub(super) type HostId = [u8; 16];

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Keys and holder.
    pub(super) seen: Seen,
    /// Whose each key is, in the order of [`Seen::keys`].
    pub(super) hosts: Vec<HostId>,
    /// Registrations are kept through a loss of power: PTPLS.
    pub(super) persists: bool,
}

/// NVMe's number of a reservation's type by SPC's.
pub(super) fn nvme_type(kind: u8) -> Option<u8> {
    TYPES
        .iter()
        .find(|(_, spc)| *spc == kind)
        .map(|(nvme, _)| *nvme)
}

/// NVMe's types and SPC's.
const TYPES: [(u8, u8); 6] = [(1, 1), (2, 3), (3, 5), (4, 6), (5, 7), (6, 8)];

/// All registrants hold it together: SPC's types.
const ALL_REGISTRANTS: [u8; 2] = [7, 8];

fn malformed(what: &'static str) -> ReadError {
    ReadError::Malformed { step: REPORT, what }
}

/// Reads one, which was asked for with the extended data structure.
pub(super) fn parse(bytes: &[u8]) -> Result<Report, ReadError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(malformed("answer is shorter than its header"));
    };
    let [g0, g1, g2, g3, kind, c0, c1, _, _, persists, ..] = *header;
    let count = usize::from(u16::from_le_bytes([c0, c1]));
    let (all, _) = rest.as_chunks::<REGISTRANT_BYTES>();
    let Some(registrants) = all.get(..count) else {
        let what = "answer is cut short, or there are more registrants than we look at";
        return Err(malformed(what));
    };
    let registrants: Vec<Registrant> = registrants.iter().map(Registrant::of).collect();
    let persists = match persists {
        0 => false,
        1 => true,
        _ => {
            return Err(malformed(
                "persistence through a loss of power is neither on nor off",
            ));
        }
    };
    Ok(Report {
        seen: Seen {
            generation: u32::from_le_bytes([g0, g1, g2, g3]),
            keys: registrants.iter().map(|one| one.key).collect(),
            holder: holder(kind, &registrants)?,
        },
        hosts: registrants.iter().map(|one| one.host).collect(),
        persists,
    })
}

struct Registrant {
    key: u64,
    host: HostId,
    holds: bool,
}

impl Registrant {
    /// CNTLID, RCSTS, five bytes reserved, RKEY, HOSTID.
    fn of(bytes: &[u8; REGISTRANT_BYTES]) -> Registrant {
        let [
            _,
            _,
            status,
            _,
            _,
            _,
            _,
            _,
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
            rest @ ..,
        ] = bytes;
        let mut host = HostId::default();
        host.copy_from_slice(&rest[..16]);
        Registrant {
            key: u64::from_le_bytes([*k0, *k1, *k2, *k3, *k4, *k5, *k6, *k7]),
            host,
            holds: status & 1 != 0,
        }
    }
}

/// The holder in SPC's words, in which of all registrants together none is named.
fn holder(kind: u8, registrants: &[Registrant]) -> Result<Option<Holder>, ReadError> {
    let mut holders = registrants.iter().filter(|one| one.holds);
    let (first, second) = (holders.next(), holders.next());
    if kind == 0 {
        return match first {
            None => Ok(None),
            Some(_) => Err(malformed("a registrant holds what is not reserved")),
        };
    }
    let Some((_, kind)) = TYPES.iter().find(|(nvme, _)| *nvme == kind) else {
        return Err(malformed("type of the reservation is unknown"));
    };
    if ALL_REGISTRANTS.contains(kind) {
        let (key, kind) = (0, *kind);
        return Ok(Some(Holder { key, kind }));
    }
    match (first, second) {
        (Some(one), None) => Ok(Some(Holder {
            key: one.key,
            kind: *kind,
        })),
        (None, _) => Err(malformed("it is reserved, and no registrant holds it")),
        // A controller lists a host once for each of its controllers there.
        (Some(one), Some(_)) if holders_agree(registrants, one) => Ok(Some(Holder {
            key: one.key,
            kind: *kind,
        })),
        (Some(_), Some(_)) => Err(malformed("it is reserved by several registrants")),
    }
}

fn holders_agree(registrants: &[Registrant], one: &Registrant) -> bool {
    let mut holders = registrants.iter().filter(|other| other.holds);
    holders.all(|other| (other.key, other.host) == (one.key, one.host))
}

/// Of Identify Controller: whether it has reservations, and knows hosts by 128 bits. `None` for an answer that is too short.
pub(super) fn has_reservations(identify: &[u8]) -> Option<bool> {
    const HOSTS_OF_128_BITS: u8 = 1;
    const RESERVATIONS: u8 = 1 << 5;
    let (attributes, commands) = (identify.get(96)?, identify.get(520)?);
    Some(attributes & HOSTS_OF_128_BITS != 0 && commands & RESERVATIONS != 0)
}

/// Of Identify Namespace: whether it can be reserved write exclusive for registrants only, and whether it keeps that through a loss of
/// power. `None` for an answer that is too short.
pub(super) fn can(identify: &[u8]) -> Option<(bool, bool)> {
    const PERSISTS: u8 = 1;
    const WRITE_EXCLUSIVE_REGISTRANTS_ONLY: u8 = 1 << 3;
    let can = identify.get(31)?;
    Some((
        can & WRITE_EXCLUSIVE_REGISTRANTS_ONLY != 0,
        can & PERSISTS != 0,
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fence::reservations::WRITE_EXCLUSIVE_REGISTRANTS_ONLY;

    /// A report as a controller sends it.
    pub(in crate::fence) fn report(kind: u8, registrants: &[(u64, HostId, bool)]) -> Vec<u8> {
        let mut bytes = vec![7, 0, 0, 0, kind, registrants.len() as u8];
        bytes.resize(HEADER_BYTES, 0);
        for (key, host, holds) in registrants {
            bytes.extend([0xff, 0xff, u8::from(*holds), 0, 0, 0, 0, 0]);
            bytes.extend(key.to_le_bytes());
            bytes.extend(host);
            bytes.resize(bytes.len().next_multiple_of(REGISTRANT_BYTES), 0);
        }
        bytes.resize(REPORT_BYTES, 0);
        bytes
    }

    const A: HostId = [0xaa; 16];
    const B: HostId = [0xbb; 16];

    #[test]
    fn keys_and_holder_are_read_little_endian_with_their_hosts() {
        let mut bytes = report(3, &[(0x1122_3344_5566_7788, A, false), (9, B, true)]);
        bytes[9] = 1;
        let read = parse(&bytes).unwrap();
        assert_eq!(read.seen.generation, 7);
        assert_eq!(read.seen.keys, [0x1122_3344_5566_7788, 9]);
        let kind = WRITE_EXCLUSIVE_REGISTRANTS_ONLY;
        assert_eq!(read.seen.holder, Some(Holder { key: 9, kind }));
        assert_eq!(read.hosts, [A, B]);
        assert!(read.persists);
        for end in 0..HEADER_BYTES + 2 * REGISTRANT_BYTES {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(parse(&bytes[..HEADER_BYTES + 2 * REGISTRANT_BYTES]).is_ok());
    }

    #[test]
    fn nobody_is_registered_on_a_namespace_without_registrants() {
        let read = parse(&report(0, &[])).unwrap();
        assert!(read.seen.keys.is_empty());
        assert_eq!(read.seen.holder, None);
    }

    #[test]
    fn each_type_has_spcs_number_and_of_all_registrants_together_none_is_named() {
        for (nvme, spc) in TYPES {
            let read = parse(&report(nvme, &[(5, A, true)])).unwrap();
            let key = if spc >= 7 { 0 } else { 5 };
            assert_eq!(read.seen.holder, Some(Holder { key, kind: spc }));
            assert_eq!(nvme_type(spc), Some(nvme));
        }
        assert_eq!(nvme_type(WRITE_EXCLUSIVE_REGISTRANTS_ONLY), Some(3));
        assert_eq!(nvme_type(2), None);
    }

    #[test]
    fn what_contradicts_itself_is_malformed() {
        let two = [(5, A, true), (6, B, true)];
        for bytes in [
            report(0, &[(5, A, true)]),
            report(3, &[(5, A, false)]),
            report(3, &[]),
            report(3, &two),
            report(7, &[(5, A, true)]),
            report(0xff, &[(5, A, true)]),
        ] {
            let read = parse(&bytes);
            assert!(matches!(read, Err(ReadError::Malformed { .. })), "{read:?}");
        }
        // One host by two controllers.
        assert!(parse(&report(3, &[(5, A, true), (5, A, true)])).is_ok());
        let mut bytes = report(0, &[]);
        bytes[9] = 2;
        assert!(parse(&bytes).is_err());
        (bytes[9], bytes[5]) = (0, MOST_REGISTRANTS as u8 + 1);
        assert!(parse(&bytes).is_err());
    }

    /// Any bytes are an error or a report that says no more than they do.
    #[test]
    fn damaged_reports_are_refused_or_read_without_invention() {
        let good = report(3, &[(5, A, true), (6, B, false), (7, B, false)]);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random() % 4 {
                // The header and the first few registrants.
                let at = (random() % 320) as usize;
                bytes[at] = random() as u8;
            }
            bytes.truncate((random() % (REPORT_BYTES as u64 + 1)) as usize);
            let Ok(read) = parse(&bytes) else { continue };
            assert_eq!(read.seen.keys.len(), usize::from(bytes[5]));
            assert_eq!(read.hosts.len(), read.seen.keys.len());
            assert!(bytes.len() >= HEADER_BYTES + read.hosts.len() * REGISTRANT_BYTES);
            if let Some(holder) = read.seen.holder {
                assert!(holder.key == 0 || read.seen.keys.contains(&holder.key));
            }
        }
    }

    #[test]
    fn what_a_controller_can_is_read_where_it_stands() {
        let mut controller = vec![0; 4096];
        assert_eq!(has_reservations(&controller), Some(false));
        controller[520] = 1 << 5;
        assert_eq!(has_reservations(&controller), Some(false));
        controller[96] = 1;
        assert_eq!(has_reservations(&controller), Some(true));
        assert_eq!(has_reservations(&controller[..520]), None);
        let mut namespace = vec![0; 4096];
        assert_eq!(can(&namespace), Some((false, false)));
        namespace[31] = 0b1001;
        assert_eq!(can(&namespace), Some((true, true)));
        assert_eq!(can(&namespace[..31]), None);
    }
}
