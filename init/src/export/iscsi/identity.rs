//! What a client recognises a volume by: the same on both heads, for ever.
//!
//! The vendor, product and revision strings, of which the configuration may have its own vendor and product, and the unit serial
//! number (VPD page 0x80). LIO derives the NAA identifier of page 0x83, which multipath and `/dev/disk/by-id/wwn-*` go by, from the
//! hex digits of the serial number. So none of them may depend on the head, the firmware's version or the order of anything.

use crate::export::digest;

/// T10 vendor identification where the configuration has none, at most eight characters.
pub(super) const VENDOR: &str = "ORTHRUS";
/// Product identification where the configuration has none, at most 16 characters.
pub(super) const PRODUCT: &str = "VOLUME";
/// Product revision, at most four characters. Not the firmware's: heads are upgraded one at a time.
pub(super) const REVISION: &str = "1";

/// Before the hashed parts, so that another derivation can be told apart should one be needed.
const DOMAIN: &str = "orthrus unit serial 1";

/// The serial number of a volume that the configuration gives none: 32 hex digits.
///
/// From the volume's UUID, which stays through renames and moves with the disks, and from cluster and pool, so
/// that a copy of the disks in another box is another device to a client that sees both.
pub fn unit_serial(cluster: &str, pool: &str, lv_uuid: &str) -> String {
    digest(DOMAIN, &[cluster, pool, lv_uuid])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The digits of a serial number that reach the NAA identifier: 100 bits, after the four of its type
/// and the 24 of the company (`spc_gen_naa_6h_vendor_specific` in `target_core_spc.c`). Two serial numbers
/// that agree in these are one device to multipath.
pub fn naa_digits(serial: &str) -> &str {
    serial.get(..25).unwrap_or(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "dZqvXl-7mYn-0Vg1-9vJX-OPfE-pkgU-2mHqyV";

    #[test]
    fn serial_is_frozen() {
        // A change of this value is a change of every client's device names.
        assert_eq!(
            unit_serial("lab", "tank", UUID),
            "f8833eb7eaf868bf01d7478ec6056cfb"
        );
    }

    #[test]
    fn serial_differs_by_each_part() {
        let one = unit_serial("lab", "tank", UUID);
        assert_ne!(one, unit_serial("lab2", "tank", UUID));
        assert_ne!(one, unit_serial("lab", "tank2", UUID));
        assert_ne!(one, unit_serial("labt", "ank", UUID));
        assert_ne!(one, unit_serial("lab", "tank", "x"));
        assert_eq!(naa_digits(&one).len(), 25);
        assert_eq!(naa_digits("0123"), "0123");
    }

    #[test]
    fn strings_fit_their_fields() {
        assert!(VENDOR.len() <= 8 && PRODUCT.len() <= 16 && REVISION.len() <= 4);
    }
}
