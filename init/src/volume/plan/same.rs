//! Whether a table that the kernel reports is the one that was loaded.
//!
//! Most targets report what they were given, to the letter; some report the same in other words. Both sides are brought
//! to one form, per target, and then compared whole. What a target says beside what it was told (the settings that
//! dm-integrity chose itself) is the only thing that is passed over, by name.

use crate::sys::dm::TableLine;
use crate::volume::group::INTEGRITY_SETTINGS;

/// Whether two tables are the same: `wanted` as it would be loaded, `found` as the kernel reports it.
pub fn is_same(wanted: &[TableLine], found: &[TableLine]) -> bool {
    wanted.len() == found.len()
        && wanted.iter().zip(found).all(|(wanted, found)| {
            wanted.start == found.start
                && wanted.length == found.length
                && wanted.kind == found.kind
                && parameters_are_same(&wanted.kind, &wanted.parameters, &found.parameters)
        })
}

fn parameters_are_same(kind: &str, wanted: &str, found: &str) -> bool {
    let (wanted, found) = (words(wanted), words(found));
    match kind {
        "raid" => raid(wanted) == raid(found),
        "cache" => cache(wanted) == cache(found),
        "writecache" => options(&wanted, 4) == options(&found, 4),
        "integrity" => integrity_is_same(&wanted, &found),
        // With the blank that the kernel leaves at the end, words are all there is to compare.
        _ => wanted == found,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The limit for write-mostly images is what MD's bitmap was made with, whatever is said later, and that is reported:
/// only whether one was given can be compared.
fn raid(mut words: Vec<String>) -> Vec<String> {
    for at in 1..words.len() {
        if words[at - 1] == "max_write_behind" {
            words[at] = "any".to_owned();
        }
    }
    words
}

/// `mq` is the kernel's other name for `smq`. lvm2 up to 2.03.31 at least gives a cache on one volume the former,
/// whatever the metadata say, later ones what they say: either finds the same policy at work.
fn cache(mut words: Vec<String>) -> Vec<String> {
    /// Three devices and the size of a block, then how many features, and those.
    const FEATURES: usize = 4;
    let count = words
        .get(FEATURES)
        .and_then(|count| count.parse::<usize>().ok());
    let policy = count.and_then(|count| count.checked_add(FEATURES + 1));
    if let Some(policy) = policy.and_then(|at| words.get_mut(at))
        && policy == "mq"
    {
        *policy = "smq".to_owned();
    }
    words
}

/// The words before the options, and the options in one order: names, each with its value if it has one.
fn options(words: &[String], before: usize) -> (Vec<String>, Vec<String>) {
    let (fixed, options) = words.split_at(words.len().min(before + 1));
    let mut named: Vec<String> = Vec::new();
    for word in options {
        let is_value = word.bytes().all(|byte| byte.is_ascii_digit());
        match named.last_mut() {
            Some(last) if is_value => {
                last.push(' ');
                last.push_str(word);
            }
            _ => named.push(word.clone()),
        }
    }
    named.sort();
    (fixed.to_vec(), named)
}

fn integrity_is_same(wanted: &[String], found: &[String]) -> bool {
    /// `DEVICE START TAG MODE COUNT`, then options.
    const BEFORE: usize = 4;
    // It reports its settings whether it was told or not, rounded to what it can do.
    let told = |words: &[String]| -> Vec<String> {
        let options = words.get(BEFORE + 1..).unwrap_or_default().iter();
        let mut options: Vec<String> = options
            .filter(|word| {
                let key = word.split(':').next().unwrap_or(word);
                // It recalculates until it is done, told or not, and says how the padding is, not what it was told of
                // it; and 512 goes without saying.
                !INTEGRITY_SETTINGS.contains(&key)
                    && !matches!(key, "recalculate" | "fix_padding")
                    && *word != "block_size:512"
            })
            .cloned()
            .collect();
        options.sort();
        options
    };
    wanted.get(..BEFORE) == found.get(..BEFORE) && told(wanted) == told(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(kind: &str, wanted: &str, found: &str) -> bool {
        let line = |parameters: &str| TableLine {
            start: 0,
            length: 8,
            kind: kind.to_owned(),
            parameters: parameters.to_owned(),
        };
        is_same(&[line(wanted)], &[line(found)])
    }

    #[test]
    fn what_the_kernel_says_in_other_words_is_the_same() {
        assert!(same(
            "thin-pool",
            "254:1 254:2 128 0 0",
            "254:1 254:2 128 0 0 "
        ));
        assert!(same(
            "raid",
            "raid1 5 0 max_write_behind 256 region_size 4096 2 254:0 254:1 254:2 254:3",
            "raid1 5 0 max_write_behind 0 region_size 4096 2 254:0 254:1 254:2 254:3"
        ));
        assert!(same(
            "cache",
            "254:1 254:2 254:3 128 2 metadata2 writethrough smq 0",
            "254:1 254:2 254:3 128 2 metadata2 writethrough mq 0"
        ));
        assert!(same(
            "writecache",
            "s 254:1 254:2 4096 5 high_watermark 50 cleaner max_age 100",
            "s 254:1 254:2 4096 5 high_watermark 50 max_age 100 cleaner"
        ));
        assert!(same(
            "integrity",
            "254:1 0 4 J 4 fix_padding block_size:512 internal_hash:crc32c meta_device:254:2",
            "254:1 0 4 J 8 meta_device:254:2 journal_sectors:512 interleave_sectors:1 buffer_sectors:128 \
             journal_watermark:50 commit_time:10000 fix_padding internal_hash:crc32c"
        ));
    }

    #[test]
    fn what_differs_in_anything_that_was_said_is_not_the_same() {
        for (kind, wanted, found) in [
            (
                "cache",
                "254:1 254:2 254:3 128 1 writethrough smq 0",
                "254:1 254:2 254:3 128 1 writeback smq 0",
            ),
            (
                "cache",
                "254:1 254:2 254:3 128 1 writethrough smq 0",
                "254:1 254:2 254:3 128 1 writethrough cleaner 0",
            ),
            (
                "raid",
                "raid1 5 0 max_write_behind 8 region_size 4096 1 - 254:1",
                "raid1 3 0 region_size 4096 1 - 254:1",
            ),
            ("linear", "8:0 2048", "8:16 2048"),
            (
                "thin-pool",
                "254:1 254:2 128 0 0",
                "254:1 254:2 128 0 1 read_only ",
            ),
            (
                "raid",
                "raid1 3 0 region_size 4096 2 - - 254:2 254:3",
                "raid1 3 0 region_size 4096 2 254:0 254:1 254:2 254:3",
            ),
            (
                "writecache",
                "s 254:1 254:2 4096 0",
                "s 254:1 254:2 4096 1 cleaner",
            ),
            (
                "writecache",
                "s 254:1 254:2 4096 2 max_age 1",
                "s 254:1 254:2 4096 2 max_age 2",
            ),
            (
                "integrity",
                "254:1 0 4 J 3 fix_padding internal_hash:crc32c",
                "254:1 0 4 B 3 fix_padding internal_hash:crc32c",
            ),
            (
                "integrity",
                "254:1 0 4 J 3 fix_padding internal_hash:crc32c",
                "254:1 0 4 J 3 fix_padding internal_hash:sha1",
            ),
        ] {
            assert!(!same(kind, wanted, found), "{kind} {wanted} {found}");
        }
        assert!(!is_same(
            &[],
            &[TableLine {
                start: 0,
                length: 1,
                kind: "error".into(),
                parameters: String::new()
            }]
        ));
    }
}
