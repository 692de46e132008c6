//! Tests: whatever comes through the kernel's caches and its pipe of clients, or stands in the file of their records, is answered
//! or refused. Never a panic, never an answer of two lines, never a path outside of the pool's shares.
//!
//! `ORTHRUS_FUZZ=N` makes N times as many.

use std::path::Path;

use super::caches::tests::{IN, plan};
use super::caches::{Answer, Cache, answer};
use super::line::words;
use super::records::Records;
use super::tracking::tests::{client, message};
use super::tracking::{Ask, Message};
use crate::chance::{Chance, times};

#[test]
fn a_damaged_question_gets_one_line_or_none_and_no_path_of_anybody_elses() {
    let uuid = "01".repeat(16);
    let questions = [
        (Cache::Address, format!("nfsd {IN}\n")),
        (Cache::Handle, format!("{IN} 6 \\x{uuid}\n")),
        (
            Cache::Handle,
            format!("{IN} 7 \\x{}{uuid}\n", "80".repeat(8)),
        ),
        (Cache::Export, format!("{IN} /run/pool/tank/shares/home\n")),
        (Cache::Export, format!("{IN} /run/pool/tank/sh\\141res\n")),
    ];
    let plan = plan();
    let mut chance = Chance(1);
    let mut answered = 0;
    for _ in 0..times(20_000) {
        let (cache, question) = chance.of(&questions);
        let mut bytes = question.clone().into_bytes();
        chance.damage(&mut bytes);
        let Ok(Answer::Now(said)) = answer(*cache, &bytes, &plan, 0) else {
            continue;
        };
        answered += 1;
        assert_eq!(said.find('\n'), Some(said.len() - 1), "{said:?}");
        // What it repeats of the question is what was asked, so that it is no answer to another one.
        let (asked, said) = (words(&bytes).unwrap(), words(said.as_bytes()).unwrap());
        assert_eq!(asked[..], said[..asked.len()], "{asked:?}");
        let granted = said.get(asked.len() + 1);
        let path = match cache {
            Cache::Address => None,
            Cache::Handle => granted,
            Cache::Export => granted.map(|_| &asked[1]),
        };
        if let Some(path) = path {
            let path = Path::new(std::str::from_utf8(path).unwrap());
            let known = plan.shares.iter().any(|share| share.place == path);
            assert!(known || path == plan.root, "{}", path.display());
        }
    }
    assert!(answered > 100, "only {answered} were questions at all");
}

#[test]
fn a_damaged_message_is_answered_in_its_own_size_or_not_at_all() {
    let mut chance = Chance(2);
    for _ in 0..times(20_000) {
        let mut bytes = message(chance.below(7) as u8, Some(&client("Linux NFSv4.2 client")));
        for _ in 0..=chance.below(4) {
            let at = chance.below(48);
            bytes[at] = chance.next() as u8;
        }
        if chance.below(8) == 0 {
            bytes.truncate(chance.below(1068));
        }
        match Message::parse(&bytes) {
            Ok((kept, ask)) => {
                if let Ask::Create(found) | Ask::Remove(found) | Ask::Check(found) = &ask {
                    assert!((1..=1024).contains(&found.name.len()));
                    assert!(found.principal.len() <= 32);
                    assert_eq!(kept.may_reclaim(found).unwrap().len(), bytes.len());
                }
                assert_eq!(kept.done().len(), bytes.len());
            }
            Err(_) => {
                let refusal = Message::refusal(&bytes);
                assert!(refusal.is_none_or(|refusal| refusal.len() == bytes.len()));
            }
        }
    }
}

#[test]
fn a_damaged_file_of_records_is_an_error_or_other_records_and_they_are_kept_as_they_are_read() {
    let whole = br#"{"format":1,"in_grace":true,"before":[{"name":"6f6e65"}],"current":[{"name":"74776f","principal":"07"}]}"#;
    let mut chance = Chance(3);
    for _ in 0..times(20_000) {
        let mut bytes = whole.to_vec();
        chance.damage(&mut bytes);
        let Ok(mut records) = Records::parse(&bytes) else {
            continue;
        };
        let mut written = Vec::new();
        let followed = records.follow(vec![Ask::Create(client("new"))], &mut |bytes| {
            written = bytes.to_vec();
            Ok(())
        });
        followed.kept.unwrap();
        assert_eq!(Records::parse(&written).unwrap(), records);
    }
}
