//! What Tab adds to a line.

use super::client;
use super::command::{HANG_WHAT, LEDGER, Takes, VERBS};
use super::pool::{DISK_ACTIONS, POOL_ACTIONS};

/// What the word before the cursor can become.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// Nothing fits.
    Nothing,
    /// This text goes in at the cursor.
    Insert(String),
    /// Several fit: to be shown.
    Choices(Vec<String>),
}

/// Completes the last word of `before`, the line up to the cursor.
pub(super) fn complete(before: &str, pools: &[String]) -> Completion {
    let start = before.rfind([' ', '\t']).map_or(0, |at| at + 1);
    let (earlier, word) = before.split_at(start);
    let earlier: Vec<&str> = earlier.split_ascii_whitespace().collect();
    let Some(first) = earlier.first() else {
        return choose(word, VERBS.iter().map(|verb| verb.name));
    };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == *first) else {
        return Completion::Nothing;
    };
    if word.starts_with('-') {
        let unused = verb
            .options()
            .iter()
            .filter(|option| !earlier.contains(option));
        return choose(word, unused.copied());
    }
    let said: Vec<&str> = earlier
        .iter()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .copied()
        .collect();
    let pool_names = || pools.iter().map(String::as_str);
    match (verb.takes, &said[..]) {
        (Takes::PoolWords, [action]) if POOL_ACTIONS.contains(action) => {
            return choose(word, pool_names());
        }
        (Takes::DiskWords, [action]) if *action != "locate" && DISK_ACTIONS.contains(action) => {
            return choose(word, pool_names());
        }
        (Takes::ClientWords, [action]) if client::ACTIONS.contains(action) => {
            return choose(word, pool_names());
        }
        (Takes::Rehearsal, ["hang"]) => return choose(word, HANG_WHAT.into_iter()),
        (Takes::Rehearsal, ["hang", "worker"]) => return choose(word, pool_names()),
        (Takes::DiskWords, ["locate", _]) => return choose(word, ["on", "off"].into_iter()),
        (_, []) => {}
        _ => return Completion::Nothing,
    }
    match verb.takes {
        Takes::Lines if earlier.contains(&LEDGER) => choose(word, pool_names()),
        Takes::Pool => choose(word, pool_names()),
        _ => choose(word, verb.actions().iter().copied()),
    }
}

fn choose<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Completion {
    let mut fitting: Vec<&str> = all.filter(|one| one.starts_with(word)).collect();
    fitting.sort_unstable();
    match fitting.as_slice() {
        [] => Completion::Nothing,
        [one] => Completion::Insert(format!("{} ", &one[word.len()..])),
        [first, .., last] => {
            // Sorted, so what the outermost have in common, all have.
            let common: usize = first
                .chars()
                .zip(last.chars())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a.len_utf8())
                .sum();
            if common > word.len() {
                Completion::Insert(first[word.len()..common].to_owned())
            } else {
                Completion::Choices(fitting.into_iter().map(str::to_owned).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> Vec<String> {
        vec!["tank".to_owned(), "tape".to_owned(), "vault".to_owned()]
    }

    fn insert(before: &str) -> String {
        match complete(before, &pools()) {
            Completion::Insert(text) => text,
            other => panic!("{before:?}: {other:?}"),
        }
    }

    #[test]
    fn unique_word_is_finished_and_a_common_part_is_added() {
        assert_eq!(insert("sta"), "tus ");
        assert_eq!(insert("handover v"), "ault ");
        assert_eq!(insert("handover t"), "a");
        assert_eq!(insert("rehearse "), "hang ");
        assert_eq!(insert("rehearse hang k"), "ernel ");
        assert_eq!(insert("rehearse hang worker v"), "ault ");
        assert_eq!(insert("volume g"), "row ");
        assert_eq!(insert("volume ren"), "ame ");
        assert_eq!(insert("volume t"), "hin-pool ");
        assert_eq!(insert("snapshot res"), "tore ");
        assert_eq!(insert("pool d"), "estroy ");
        assert_eq!(insert("pool destroy v"), "ault ");
        assert_eq!(insert("disk a"), "dd ");
        assert_eq!(insert("disk remove v"), "ault ");
        assert_eq!(insert("disk locate sda of"), "f ");
        assert_eq!(insert("reboot --y"), "es ");
        assert_eq!(insert("log --l"), "edger ");
        assert_eq!(insert("log --ledger v"), "ault ");
    }

    #[test]
    fn several_are_shown_and_nonsense_adds_nothing() {
        let Completion::Choices(all) = complete("", &pools()) else {
            panic!()
        };
        assert_eq!(all.len(), VERBS.len());
        assert_eq!(
            complete("giveback ta", &pools()),
            Completion::Choices(vec!["tank".into(), "tape".into()])
        );
        assert_eq!(complete("status ", &pools()), Completion::Nothing);
        assert_eq!(complete("nonsense x", &pools()), Completion::Nothing);
        assert_eq!(complete("handover tank t", &pools()), Completion::Nothing);
        let kernel = complete("rehearse hang kernel ", &pools());
        assert_eq!(kernel, Completion::Nothing);
    }
}
