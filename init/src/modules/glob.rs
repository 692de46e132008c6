//! The patterns of `modules.alias`: `*`, `?`, `[...]`, as `fnmatch` has them.

/// Whether `text` matches `pattern` as a whole.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go back to: after the last star, and the text that it does not cover yet.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if let Some(length) = match_one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
            continue;
        }
        // The last star must cover one byte more; earlier ones need not be tried again.
        let Some((after, covered)) = star else {
            return false;
        };
        p = after;
        t = covered + 1;
        star = Some((after, t));
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Length of the pattern's first element, if that matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().position(|one| *one == b']')?;
            let set = &pattern[1..end];
            let mut at = 0;
            let mut inside = false;
            while at < set.len() {
                if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() {
                    inside |= (set[at]..=set[at + 2]).contains(&byte);
                    at += 3;
                } else {
                    inside |= set[at] == byte;
                    at += 1;
                }
            }
            inside.then_some(end + 1)
        }
        literal => (*literal == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_of_real_modules_match_real_devices() {
        let virtio_net = "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00";
        assert!(matches("pci:v00001AF4d*sv*sd*bc*sc*i*", virtio_net));
        assert!(!matches("pci:v00008086d*sv*sd*bc*sc*i*", virtio_net));
        assert!(matches("scsi:t-0x00*", "scsi:t-0x00"));
        assert!(!matches("scsi:t-0x05*", "scsi:t-0x00"));
        assert!(matches("acpi*:IPI0001:*", "acpi:IPI0001:PNP0C50:"));
        assert!(matches(
            "usb:v*p*d*dc*dsc*dp*ic03isc*ip*in*",
            "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00"
        ));
        assert!(matches(
            "cpu:type:x86,ven*fam*mod*:feature:*0094*",
            "cpu:type:x86,ven0000fam0006mod003A:feature:,0093,0094"
        ));
    }

    #[test]
    fn stars_sets_and_ends() {
        assert!(matches("a*b*c", "aXXbYYbZc"));
        assert!(!matches("a*b*c", "aXXbYYbZcd"));
        assert!(matches("usb:d0[1-3]0[a-c]", "usb:d020b"));
        assert!(!matches("usb:d0[1-3]", "usb:d04"));
        assert!(matches("x[ab]?", "xbz"));
        assert!(!matches("x[ab", "xa"));
        assert!(matches("*", "") && matches("", "") && !matches("", "x") && !matches("?", ""));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let text = "a".repeat(2000);
        assert!(!matches(&("a*".repeat(200) + "b"), &text));
    }
}
