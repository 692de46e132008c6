//! An export of LUNs, in a tree of files that behaves as LIO's configfs does.

mod clients;
mod plan;
mod registrations;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use tempfile::TempDir;

use super::fake::Fake;
use super::reservations::Unrestored;
use super::tree::Tree as _;
use super::*;
use crate::Step;
use crate::config::Config;

const CONFIG: &str = r#"cluster = "lab"
secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
[[head]]
name = "a"
mac = "52:54:00:0a:01:01"
heartbeat = "52:54:00:0a:01:01"
data = "52:54:00:0a:01:02"
[[head]]
name = "b"
mac = "52:54:00:0a:02:01"
heartbeat = "52:54:00:0a:02:01"
data = "52:54:00:0a:02:02"
[[pool]]
name = "spare"
home = "a"
address = "10.77.0.9/24"
[[pool]]
name = "tank"
home = "a"
address = ["10.77.0.10/24", "10.77.1.10/24"]
[pool.iscsi]
iqn = "iqn.2026-01.org.orthrus:tank"
clients = ["iqn.1993-08.org.debian:01:client", "iqn.1993-08.org.debian:01:other"]
[[pool.iscsi.lun]]
lun = 1
volume = "vol1"
[[pool.iscsi.lun]]
lun = 0
volume = "vol0"
serial = "0123456789abcdef"
"#;

fn volumes() -> Vec<Volume> {
    let volume = |name: &str, number: u32| Volume {
        name: name.to_owned(),
        uuid: format!("uuid-{number}"),
        node: PathBuf::from(format!("/dev/dm-{number}")),
        is_writable: true,
        gives_space_back: number == 0,
        logical_block: Some(512),
    };
    vec![volume("vol1", 1), volume("vol0", 0)]
}

fn planned() -> ExportPlan {
    let config = Config::parse(CONFIG).unwrap();
    let pool = config.pool("tank").unwrap();
    ExportPlan::all(&config, pool, &volumes())
        .unwrap()
        .remove(0)
}

/// The directory is to be held: it goes with the test.
fn lio(limit: Duration) -> (Lio<Fake>, TempDir) {
    let state = TempDir::new().unwrap();
    let lio = Lio::at("/t", state.path(), limit, Fake::new("/t"));
    (lio, state)
}

fn position(changes: &[String], part: &str) -> usize {
    let found = changes.iter().position(|change| change.contains(part));
    found.unwrap_or_else(|| panic!("{part} in {changes:#?}"))
}
