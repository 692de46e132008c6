//! The table of a device that joins paths, and what its status says. Pure.
//!
//! `drivers/md/dm-mpath.c`, `multipath_status`. A group of its own for each path, so that one at a time is used; which one is
//! not the order's doing but ours: all others are marked as failed.

use crate::sys::dm::TableLine;

/// What a device is told.
const TARGET: &str = "multipath";

/// What the kernel says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// Its device number.
    pub number: (u32, u32),
    /// The kernel would send I/O there: it has not failed.
    pub is_active: bool,
    /// Commands that were sent there and are not back.
    pub under_way: u64,
}

/// A table over these paths: I/O that has nowhere to go waits.
pub fn line(sectors: u64, paths: &[(u32, u32)]) -> TableLine {
    let groups = paths.iter().map(|(major, minor)| {
        // Selector without arguments, one path with one argument: I/Os before the next choice.
        format!(" queue-length 0 1 1 {major}:{minor} 1")
    });
    let groups: String = groups.collect();
    TableLine {
        start: 0,
        length: sectors,
        kind: TARGET.to_owned(),
        parameters: format!("1 queue_if_no_path 0 {} 1{groups}", paths.len()),
    }
}

/// What the status says of each path; `None` when it is not understood.
pub fn parse(line: &TableLine) -> Option<Vec<PathStatus>> {
    if line.kind != TARGET {
        return None;
    }
    let mut words = line.parameters.split_ascii_whitespace();
    let mut next = || words.next();
    let number = |word: Option<&str>| word?.parse::<usize>().ok();
    // Features, then the handler's: a count, and as many words.
    for _ in 0..2 {
        for _ in 0..number(next())? {
            next()?;
        }
    }
    let groups = number(next())?;
    let _current = number(next())?;
    let mut paths = Vec::new();
    for _ in 0..groups {
        let _state = next()?;
        for _ in 0..number(next())? {
            next()?;
        }
        let (count, arguments) = (number(next())?, number(next())?);
        for _ in 0..count {
            let (major, minor) = next()?.split_once(':')?;
            let is_active = match next()? {
                "A" => true,
                "F" => false,
                _ => return None,
            };
            let _failures = number(next())?;
            let mut under_way = None;
            for _ in 0..arguments {
                let word = next()?.parse().ok()?;
                under_way.get_or_insert(word);
            }
            paths.push(PathStatus {
                number: (major.parse().ok()?, minor.parse().ok()?),
                is_active,
                under_way: under_way?,
            });
        }
    }
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(parameters: &str) -> Option<Vec<PathStatus>> {
        parse(&TableLine {
            start: 0,
            length: 8,
            kind: TARGET.to_owned(),
            parameters: parameters.to_owned(),
        })
    }

    #[test]
    fn each_path_has_a_group_of_its_own() {
        assert_eq!(
            line(2048, &[(8, 0), (8, 64)]).to_string(),
            "0 2048 multipath 1 queue_if_no_path 0 2 1 queue-length 0 1 1 8:0 1 queue-length 0 1 1 8:64 1"
        );
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        let text = "2 0 0 0 2 1 A 0 1 1 8:0 A 0 5 E 0 1 1 8:64 F 1 0 ";
        let path = |number, is_active, under_way| PathStatus {
            number,
            is_active,
            under_way,
        };
        let both = vec![path((8, 0), true, 5), path((8, 64), false, 0)];
        assert_eq!(status(text), Some(both));
        for words in 0..text.split(' ').count() - 2 {
            let cut: Vec<&str> = text.split(' ').take(words).collect();
            assert_eq!(status(&cut.join(" ")), None, "{cut:?}");
        }
        assert_eq!(status("2 0 0 0 1 1 A 0 1 1 8:0 X 0 5"), None);
        // A selector that does not count what is under way is none of ours.
        assert_eq!(status("2 0 0 0 1 1 A 0 1 0 8:0 A 0"), None);
    }
}
