//! Tests: a request is what its line would be, or refused; and whatever comes in, one line goes out.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::command::{Command, Request, parse};
use super::super::{DONE, REFUSED, USAGE};
use super::*;
use crate::chance::{Chance, times};

/// Notes what it is asked to do.
#[derive(Default)]
struct Noting(Mutex<Vec<Request>>);

impl Operator for Noting {
    fn run(&self, request: &Request) -> Reply {
        self.0.lock().unwrap().push(request.clone());
        match &request.command {
            Command::Handover { .. } => Reply::refused("tank: the peer is\nnot there"),
            command => Reply::done("two\nlines", json!({ "ran": format!("{command:?}") })),
        }
    }
}

/// What the answer is, and what was done.
fn told(line: &str) -> (Value, Vec<Request>) {
    let operator = Noting::default();
    let reply = carry_out(&operator, line);
    assert_eq!(reply.payload(false).find('\n'), Some(reply.text.len()));
    let answer: Value = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(answer["code"], reply.code);
    (answer, operator.0.into_inner().unwrap())
}

/// The place and the words of an error; nothing was done.
fn refused(line: &str) -> (String, String) {
    let (answer, done) = told(line);
    assert!(done.is_empty(), "{line}: {done:?}");
    assert_eq!(answer["code"], USAGE, "{line}");
    let text = |key: &str| answer["error"][key].as_str().unwrap().to_owned();
    (text("where"), text("what"))
}

/// Requests, and the lines that say the same.
const ALIKE: [(&str, &str); 14] = [
    (r#"{"command":"status"}"#, "status"),
    (r#"{"command":"log","arguments":[7]}"#, "log 7"),
    (
        r#"{"command":"log","arguments":["tank"],"options":{"ledger":true}}"#,
        "log tank --ledger",
    ),
    (
        r#"{"command":"takeover","arguments":["tank"],"options":{"yes":true}}"#,
        "takeover tank --yes",
    ),
    (
        r#"{"command": "volume create", "arguments": ["tank/vol", "50G"], "options": {"raid": "raid6", "images": 8, "yes": true}}"#,
        "volume create tank/vol 50G --raid raid6 --images 8 --yes",
    ),
    (
        r#"{"options":{"thin":"room"},"arguments":["tank/vol","50G"],"command":"volume create"}"#,
        "volume create tank/vol 50G --thin room",
    ),
    (
        r#"{"command":"volume grow","arguments":["tank/vol","80G"]}"#,
        "volume grow tank/vol 80G",
    ),
    (
        r#"{"command":"snapshot restore","arguments":["tank/s"],"options":{"yes":true}}"#,
        "snapshot restore tank/s --yes",
    ),
    (
        r#"{"command":"pool create","arguments":["tank","sda","sdb"],"options":{"raid":"raid1","wipe":true,"yes":true}}"#,
        "pool create tank sda sdb --raid raid1 --wipe --yes",
    ),
    (
        r#"{"command":"pool destroy","arguments":["tank"],"options":{"volumes":true,"yes":true}}"#,
        "pool destroy tank --volumes --yes",
    ),
    (
        r#"{"command":"disk locate","arguments":["sda","on"],"options":{"wipe":false}}"#,
        "disk locate sda on",
    ),
    (
        r#"{"command":"client add","arguments":["tank","iqn.2026-01.org.example:a"],"options":{"user":"u","password":"--yes-sixteen!!"}}"#,
        "client add tank iqn.2026-01.org.example:a --user u --password --yes-sixteen!!",
    ),
    (
        r#"{"command":"rehearse hang","arguments":["worker","tank"],"options":{"yes":true}}"#,
        "rehearse hang worker tank --yes",
    ),
    (
        "\t{ \"command\" : \"re\\u0062oot\" ,\t\"options\":{\"yes\":true} } ",
        "reboot --yes",
    ),
];

#[test]
fn a_request_is_what_its_line_is() {
    for (request, line) in ALIKE {
        assert!(is_request(request) && !is_request(line));
        let (_, read) = read(request);
        assert_eq!(read.unwrap(), parse(line).unwrap().unwrap(), "{line}");
    }
}

#[test]
fn the_answer_is_one_line_with_the_number_of_its_request() {
    let (answer, done) = told(r#"{"id": 17, "command": "pools"}"#);
    assert_eq!(done.len(), 1);
    let wanted = json!({ "id": 17, "code": DONE, "answer": { "ran": "Pools" } });
    assert_eq!(answer, wanted);
    let (answer, done) = told(r#"{"command": "handover", "arguments": ["tank"]}"#);
    assert_eq!(done.len(), 1);
    let error = json!({ "what": "tank: the peer is\nnot there", "where": "head" });
    assert_eq!(answer, json!({ "code": REFUSED, "error": error }));
    // What the console answers itself.
    let (answer, _) = told(r#"{"id": 18446744073709551615, "command": "help"}"#);
    assert_eq!(answer["id"], u64::MAX);
    assert_eq!(answer["answer"]["commands"][0], "status");
    let (answer, _) = told(r#"{"id": 5, "command": "help", "more": 1}"#);
    assert_eq!((&answer["id"], &answer["code"]), (&json!(5), &json!(USAGE)));
}

#[test]
fn nobody_is_asked_and_nothing_that_would_be_is_done() {
    for (request, _) in ALIKE {
        let without = request.replace("\"yes\":true", "\"yes\":false");
        let without = without.replace("\"yes\": true", "\"yes\": false");
        let (_, read) = read(&without);
        let command = read.unwrap().command;
        let asks = command.question();
        let (answer, done) = told(&without);
        // The log is the console's own.
        let is_done_here = matches!(command, Command::Log { .. });
        assert_eq!(done.is_empty(), asks.is_some() || is_done_here);
        if asks.is_some() {
            assert_eq!(answer["code"], REFUSED);
            assert_eq!(answer["error"]["where"], "options.yes");
            let what = answer["error"]["what"].as_str().unwrap();
            assert!(what.ends_with("Say it with \"yes\": true"), "{what}");
        }
    }
    let (answer, done) = told(r#"{"command":"pool destroy","arguments":["tank"]}"#);
    assert!(done.is_empty() && answer["code"] == REFUSED);
}

#[test]
fn no_value_becomes_an_option_an_action_or_another_word() {
    for (argument, why) in [
        ("--yes", "no hyphen"),
        ("--wipe", "no hyphen"),
        ("-", "no hyphen"),
        ("sdb --wipe", "one word"),
        ("sdb\\n--wipe", "one word"),
        ("sdb\\t--wipe", "one word"),
        ("sdb\\u0000", "one word"),
        ("sdb\\u001b[2J", "one word"),
        ("sd\\u00e4", "one word"),
        ("sdb\\u00a0--wipe", "one word"),
        ("", "one word"),
    ] {
        let line = format!(
            r#"{{"command":"pool create","arguments":["tank","{argument}"],"options":{{"yes":true}}}}"#
        );
        let (place, what) = refused(&line);
        assert_eq!(place, "arguments[1]", "{argument}");
        assert!(what.contains(why), "{argument}: {what}");
        let line = format!(
            r#"{{"command":"volume create","arguments":["tank/v","1G"],"options":{{"raid":"{argument}"}}}}"#
        );
        assert_eq!(refused(&line).0, "options.raid", "{argument}");
    }
    // Nor does a quote end anything.
    let line = r#"{"command":"volume remove","arguments":["tank/a\"b"],"options":{"yes":true}}"#;
    let (_, done) = told(line);
    assert!(
        matches!(&done[0].command, Command::Order { pool, order } if pool == "tank" && order.to_string() == "volume remove a\"b")
    );
    for command in [
        "pool",
        "pool destroy tank",
        "pool  destroy",
        " status",
        "status ",
        "status --json",
        "status\\n",
        "rehearse",
        "",
        "{",
    ] {
        let (place, what) = refused(&format!(r#"{{"command":"{command}"}}"#));
        assert_eq!(place, "command", "{command}");
        assert!(what.contains("pool destroy, "), "{what}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let volume = |rest: &str| format!(r#"{{"command":"volume create",{rest}}}"#);
    for (line, place, words) in [
        ("{", "column 1", "EOF"),
        (r#"{"command":"status"} x"#, "column 22", "trailing"),
        (r#"{"command":"status",}"#, "column 21", "trailing comma"),
        ("{'command':'status'}", "column 2", "key must be a string"),
        (r#"{}"#, "command", "no \"command\""),
        (r#"{"arguments":["status"]}"#, "command", "no \"command\""),
        (r#"{"command":["status"]}"#, "command", "a text"),
        (r#"{"command":"stauts"}"#, "command", "\"stauts\""),
        (
            r#"{"command":"status","comand":"x"}"#,
            "comand",
            "\"comand\"",
        ),
        (
            r#"{"command":"status","command":"reboot"}"#,
            "command",
            "twice",
        ),
        (r#"{"command":"status","id":"a"}"#, "id", "whole number"),
        (r#"{"command":"status","id":-1}"#, "id", "whole number"),
        (
            r#"{"command":"status","options":{"yes":true}}"#,
            "options.yes",
            "\"yes\"",
        ),
        (
            r#"{"command":"status","options":{"json":true}}"#,
            "options.json",
            "\"json\"",
        ),
        (
            r#"{"command":"status","options":["json"]}"#,
            "options",
            "an object",
        ),
        (
            r#"{"command":"status","arguments":"now"}"#,
            "arguments",
            "a list",
        ),
        (
            r#"{"command":"status","arguments":["now"]}"#,
            "arguments[0]",
            "\"now\"",
        ),
        (
            r#"{"command":"status","arguments":[["now"]]}"#,
            "arguments[0]",
            "a text",
        ),
        (
            r#"{"command":"log","arguments":[1.5]}"#,
            "arguments[0]",
            "whole number",
        ),
        (
            r#"{"command":"reboot","options":{"yes":"true"}}"#,
            "options.yes",
            "true or false",
        ),
        (
            r#"{"command":"reboot","options":{"yes":1}}"#,
            "options.yes",
            "true or false",
        ),
        (
            r#"{"command":"reboot","options":{"yes":null}}"#,
            "options.yes",
            "true or false",
        ),
        (
            r#"{"command":"reboot","options":{"yes":false,"yes":true}}"#,
            "options.yes",
            "twice",
        ),
        (
            r#"{"command":"reboot","options":{"--yes":true}}"#,
            "options.--yes",
            "allowed: yes",
        ),
        (
            &volume(r#""arguments":["tank"]"#),
            "arguments[0]",
            "POOL/NAME",
        ),
        (&volume(r#""arguments":["tank/v"]"#), "arguments", "a size"),
        (
            &volume(r#""arguments":["tank/v","1G"],"options":{"thin":true}"#),
            "options.thin",
            "a text",
        ),
        (
            &volume(r#""arguments":["tank/v","1G"],"options":{"raid":"raid7"}"#),
            "options.raid",
            "raid6",
        ),
        (
            &volume(r#""arguments":["tank/v","1G"],"options":{"raid":"raid1","images":99}"#),
            "options.images",
            "from 2 to 64",
        ),
    ] {
        let (at, what) = refused(line);
        assert_eq!(at, place, "{line}: {what}");
        assert!(what.contains(words), "{line}: {what}");
    }
    let (_, what) = refused(
        r#"{"command":"client add","arguments":["tank","iqn.2026-01.org.example:a"],"options":{"user":"u","password":["secret-of"]}}"#,
    );
    assert!(!what.contains("secret-of"), "{what}");
    assert!(refused(&format!("{{\"{}\":1}}", "x".repeat(3000))).1.len() < 300);
    // Deeper than anybody means it.
    let deep = format!("{{\"id\":{}", "[".repeat(3000));
    assert!(refused(&deep).1.contains("recursion"));
}

/// The texts in a line, with their quotes: where they begin and end.
fn texts(bytes: &[u8]) -> Vec<(usize, usize)> {
    let quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"');
    let quotes: Vec<usize> = quotes.map(|(at, _)| at).collect();
    let pairs = quotes.chunks_exact(2);
    pairs.map(|pair| (pair[0], pair[1] + 1)).collect()
}

/// `ORTHRUS_FUZZ=N` makes N times as many.
#[test]
fn a_damaged_request_is_what_some_line_is_or_does_nothing_and_gets_one_line() {
    const PARTS: [&str; 10] = [
        "--yes", " --wipe", "-", "\\n", "\\\"", "\\u0020", "\\ud800", "{", "reboot", "tank",
    ];
    let mut chance = Chance(11);
    let (mut understood, mut done) = (0, 0);
    for _ in 0..times(20_000) {
        let (request, _) = chance.of(&ALIKE);
        let mut bytes = request.as_bytes().to_vec();
        match chance.below(4) {
            0 => chance.damage(&mut bytes),
            // Parts that mean something, where nobody expects them.
            1 => {
                let at = chance.below(bytes.len());
                bytes.splice(at..at, chance.of(&PARTS).bytes());
            }
            2 => {
                let (from, to) = *chance.of(&texts(&bytes));
                bytes.splice(from..to, format!("\"{}\"", chance.of(&PARTS)).bytes());
            }
            // A text of another one.
            _ => {
                let (other, _) = chance.of(&ALIKE);
                let (begin, end) = *chance.of(&texts(other.as_bytes()));
                let (from, to) = *chance.of(&texts(&bytes));
                bytes.splice(from..to, other.as_bytes()[begin..end].iter().copied());
            }
        }
        let line = String::from_utf8_lossy(&bytes);
        let (answer, ran) = told(&line);
        assert_ne!(
            answer.get("answer").is_some(),
            answer.get("error").is_some()
        );
        done += usize::from(!ran.is_empty());
        let Ok(Node::Fields(fields)) = serde_json::from_str(&line) else {
            assert!(ran.is_empty(), "{line}");
            continue;
        };
        let (_, Ok(request)) = read(&line) else {
            assert!(ran.is_empty(), "{line}");
            continue;
        };
        understood += 1;
        let words: Vec<String> = words(&fields)
            .unwrap()
            .into_iter()
            .map(|w| w.text)
            .collect();
        let same = parse(&words.join(" ")).unwrap().unwrap();
        assert_eq!(same, request, "{line}");
        assert!(ran.iter().all(|ran| *ran == request));
        let asks = request.command.question().is_some();
        assert!(ran.is_empty() || request.yes || !asks, "{line}");
        // Nothing but its own field says so.
        let says_yes = fields.iter().any(|(name, value)| match value {
            Node::Fields(options) if name == "options" => options
                .iter()
                .any(|(name, value)| name == "yes" && matches!(value, Node::Flag(true))),
            _ => false,
        });
        assert_eq!(request.yes, says_yes, "{line}");
    }
    assert!(understood > 1000 && done > 500, "{understood} and {done}");
}
