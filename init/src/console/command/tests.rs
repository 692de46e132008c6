//! Tests of the parser.

use super::*;
use crate::volume::edit::Layout;
use crate::worker::NewPool;

fn parsed(line: &str) -> Request {
    parse(line).unwrap().unwrap()
}

fn refused(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

#[test]
fn every_verb_parses_and_has_its_line_in_help() {
    let help = help();
    for verb in VERBS {
        let line = match verb.takes {
            Takes::Pool => format!("{} tank", verb.name),
            Takes::Rehearsal => format!("{} hang", verb.name),
            Takes::Volume => format!("{} remove tank/vol", verb.name),
            Takes::SnapshotWords => format!("{} restore tank/vol", verb.name),
            Takes::PoolWords => format!("{} create tank sda", verb.name),
            Takes::DiskWords => format!("{} replace tank sda", verb.name),
            Takes::ClientWords => format!("{} remove tank/home 10.0.0.1", verb.name),
            _ => verb.name.to_owned(),
        };
        let request = parsed(&line);
        assert!(!request.json && !request.yes);
        let asks = request.command.question();
        match verb.takes {
            Takes::PoolWords | Takes::DiskWords | Takes::SnapshotWords => {
                assert!(asks.is_some());
            }
            _ => assert_eq!(asks, verb.question, "{}", verb.name),
        }
        assert!(help.contains(&format!("\n  {}", verb.name)) || help.starts_with("  status"));
    }
}

#[test]
fn each_rehearsal_says_what_stops_and_asks_first() {
    let worker = Rehearsal::HangWorker {
        pool: "tank".into(),
    };
    for (line, rehearsal, asks) in [
        ("rehearse hang", Rehearsal::Hang, "heartbeat stops"),
        (
            "rehearse hang kernel",
            Rehearsal::HangKernel,
            "kernel stops",
        ),
        ("rehearse hang worker tank", worker, "worker stops"),
    ] {
        let request = parsed(line);
        assert_eq!(request.command, Command::Rehearse(rehearsal));
        assert!(!request.yes);
        let question = request.command.question().unwrap();
        assert!(question.contains(asks), "{question}");
        assert!(parsed(&format!("{line} --yes")).yes);
    }
}

#[test]
fn arguments_and_options_come_in_any_order() {
    let request = parsed("  takeover\t--yes tank --json ");
    assert_eq!(
        request.command,
        Command::Takeover {
            pool: "tank".into()
        }
    );
    assert!(request.json && request.yes);
    assert_eq!(parsed("log").command, Command::Log { lines: LOG_LINES });
    assert_eq!(parsed("log 7").command, Command::Log { lines: 7 });
    let flight = |pool: Option<&str>| Command::FlightRecord {
        pool: pool.map(str::to_owned),
    };
    assert_eq!(parsed("log --ledger --json").command, flight(None));
    assert_eq!(parsed("log tank --ledger").command, flight(Some("tank")));
    assert_eq!(parse("   ").unwrap(), None);
    let request = parsed("volume create tank/vol 2G --raid raid1 --json");
    assert!(request.json && request.command.question().is_none());
    assert!(matches!(request.command, Command::Order { pool, .. } if pool == "tank"));
    assert!(parsed("volume remove tank/vol --yes").yes);
    let request = parsed(
        "client add --user u tank iqn.2026-01.org.example:a --password secret-of-16-chr --json",
    );
    assert!(request.json && request.command.question().is_none());
    assert!(!format!("{request:?}").contains("secret-of"));
    let made = |disks: &[&str], wipe| Command::Order {
        pool: "tank".into(),
        order: PoolOrder::Create(NewPool {
            disks: disks.iter().map(|disk| (*disk).to_owned()).collect(),
            wipe,
            layout: Layout::Linear,
        }),
    };
    assert_eq!(
        parsed("pool create tank sda sdb").command,
        made(&["sda", "sdb"], false)
    );
    assert_eq!(
        parsed("pool --wipe create tank sda --yes").command,
        made(&["sda"], true)
    );
}

#[test]
fn errors_name_the_word_and_what_is_allowed() {
    let text = refused("stauts");
    assert!(
        text.contains("\"stauts\"") && text.contains("status, pools"),
        "{text}"
    );
    let text = refused("status --yes");
    assert!(
        text.contains("\"--yes\"") && text.contains("--json"),
        "{text}"
    );
    assert!(refused("handover").contains("usage: handover POOL"));
    assert!(refused("log many").contains("a number from 1 to"));
    assert!(refused("log 0").contains("a number from 1 to"));
    assert!(refused("log --ledger tank 7").contains("\"7\""));
    assert!(refused("status --ledger").contains("\"--ledger\""));
    assert!(refused("rehearse panic").contains("is not hang"));
    assert!(refused("rehearse hang disk").contains("is not kernel or worker"));
    assert!(refused("rehearse hang kernel tank").contains("\"tank\""));
    assert!(refused("rehearse hang worker").contains("the name of a pool"));
    assert!(refused("rehearse hang worker tank tape").contains("\"tape\""));
    assert!(refused("volume create tank/vol 2G --raid").contains("usage: volume create"));
    assert!(refused("volume create tank 2G").contains("POOL/NAME"));
    assert!(refused("handover tank --raid raid1").contains("\"--raid\""));
    assert!(refused("pool create tank").contains("see `disks`"));
    assert!(refused("pool create tank sda --raid raid7").contains("linear, raid0, raid1, raid5"));
    assert!(refused("pool create tank sda --stripes 2").contains("\"--stripes\""));
    assert!(refused("pool import tank --raid raid1").contains("of create only"));
    assert!(refused("disk replace tank").contains("a pool and a disk"));
    assert!(refused("disk replace tank sda sdb").contains("\"sdb\""));
    assert!(refused("disk locate sda bright").contains("\"bright\""));
    assert!(refused("client add tank").contains("a pool and the name"));
    assert!(refused("client admit tank a").contains("\"admit\""));
    assert!(refused("client add tank tank").contains("name of an initiator"));
    let login = "client add tank iqn.2026-01.org.example:a --user u --password";
    assert!(refused(login).contains("a value behind each option"));
    let text = refused(&format!("{login} too-short"));
    assert!(
        text.contains("12 to 16") && !text.contains("too-short"),
        "{text}"
    );
    let late = "client remove tank iqn.2026-01.org.example:a --user u";
    assert!(refused(late).contains("of add only"));
    let rights = "client add tank/home 10.0.0.0/8 --access w";
    assert!(refused(rights).contains("access is \"w\"; allowed: rw, ro"));
    let late = "client remove tank/home 10.0.0.0/8 --access ro";
    assert!(refused(late).contains("of add only"));
    let no_share = "client add tank iqn.2026-01.org.example:a --squash all";
    assert!(refused(no_share).contains("only a client of a share"));
    assert!(refused("pool make tank").contains("\"make\""));
    assert!(refused("pool destroy tank --wipe").contains("\"--wipe\""));
    assert!(refused("disk add tank sda --volumes").contains("\"--volumes\""));
    assert!(refused("status --wipe").contains("\"--wipe\""));
    assert!(refused("status now").contains("\"now\""));
    assert!(refused("handover tank tank2").contains("\"tank2\""));
    assert!(refused(&"x".repeat(5000)).len() < 300);
}
