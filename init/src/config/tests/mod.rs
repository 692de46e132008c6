//! What the file may say, and that each mistake is named with its line, its field and the remedy.

mod mistakes;
mod network;
mod shares;
mod targets;

use super::*;

const GOOD: &str = r#"cluster = "lab"
secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

[heartbeat]
dead_ms = 1500

[[head]]
name = "a"
mac = "52:54:00:0a:01:01"
heartbeat = "52:54:00:0a:01:01"
data = "52:54:00:0a:01:02"

[[head]]
name = "b"
smbios = "QEMU-B"
heartbeat = "52:54:00:0a:02:01"
data = "52:54:00:0a:02:02"

[[pool]]
name = "tank"
home = "b"
address = "10.77.0.10/24"
[pool.iscsi]
iqn = "iqn.2026-01.org.orthrus:tank"
clients = ["iqn.1993-08.org.debian:01:client"]
[[pool.iscsi.lun]]
lun = 0
volume = "vol0"
[[pool.iscsi.lun]]
lun = 1
volume = "vol1"
serial = "0123456789abcdef"

[[pool]]
name = "bulk"
vg = "bulk.vg"
home = "a"
address = ["10.77.0.11/24", "10.77.0.12/24"]
[pool.iscsi]
iqn = "iqn.2026-01.org.orthrus:bulk"
clients = ["iqn.1993-08.org.debian:01:client"]
luns = "all"
"#;

/// Parses the good file with one piece replaced, which must be refused.
fn refused(from: &str, to: &str) -> ConfigError {
    assert!(GOOD.contains(from), "the test's own text: {from}");
    Config::parse(&GOOD.replacen(from, to, 1)).unwrap_err()
}

fn check(from: &str, to: &str, line: usize, field: &str, says: &str) {
    let error = refused(from, to);
    assert_eq!((error.line, error.field.as_str()), (line, field), "{error}");
    assert!(error.message.contains(says), "{error}");
}

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.cluster_id, ClusterId::from_name("lab"));
    assert_eq!(config.secret.expose()[31], 0x1f);
    assert_eq!(config.heartbeat.dead_ms, 1500);
    assert_eq!(config.heartbeat.serial, "ttyS1");
    assert_eq!(config.heartbeat.control, "ttyS2");
    assert_eq!(config.head(HeadId::Second).name, "b");
    let tank = config.pool("tank").unwrap();
    assert_eq!((tank.vg.as_str(), tank.home), ("tank", HeadId::Second));
    assert_eq!(tank.addresses[0].to_string(), "10.77.0.10/24");
    let Luns::Listed(luns) = &tank.targets[0].luns else {
        panic!("listed")
    };
    assert_eq!(luns[1].serial.as_deref(), Some("0123456789abcdef"));
    let bulk = config.pool("bulk").unwrap();
    assert_eq!(bulk.vg, "bulk.vg");
    assert_eq!(bulk.addresses.len(), 2);
    assert_eq!(bulk.targets[0].luns, Luns::All);
}

#[test]
fn a_file_without_pools_is_enough_to_boot() {
    let text = GOOD.split("[[pool]]").next().unwrap();
    assert!(Config::parse(text).unwrap().pools.is_empty());
}

#[test]
fn digest_is_of_the_bytes() {
    let first = Config::parse(GOOD).unwrap().digest;
    assert_eq!(first, Config::parse(GOOD).unwrap().digest);
    assert_ne!(first, Config::parse(&format!("{GOOD}#")).unwrap().digest);
}

#[test]
fn secret_is_in_no_output() {
    let config = Config::parse(GOOD).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("0a0b0c") && !shown.contains("10, 11, 12"));
    for (from, to) in [
        ("1c1d1e1f\"", "1c1d1e1\""),
        ("1c1d1e1f\"", "1c1d1e1f1\""),
        ("1c1d1e1f\"", "1c1d1e1g\""),
        ("\"000102", "\"\\u0"),
        ("1c1d1e1f\"", "1c1d1e1f"),
    ] {
        let error = refused(from, to);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("0a0b0c"), "{shown}");
        assert_eq!(error.line, 2, "{shown}");
    }
    check("\"0001", "5 # ", 2, "secret", "64 hex digits");
    let zeroes = GOOD.replace(&GOOD[26..90], &"0".repeat(64));
    assert!(
        Config::parse(&zeroes)
            .unwrap_err()
            .message
            .contains("placeholder")
    );
}

#[test]
fn a_head_knows_itself_by_port_or_smbios() {
    let config = Config::parse(GOOD).unwrap();
    let port: Mac = "52:54:00:0a:01:01".parse().unwrap();
    let other: Mac = "52:54:00:0a:09:09".parse().unwrap();
    assert_eq!(config.whoami(&[other, port], None, None), Ok(HeadId::First));
    assert_eq!(
        config.whoami(&[other], Some("uuid"), Some("qemu-b\n")),
        Ok(HeadId::Second)
    );
    let neither = config.whoami(&[other], Some("uuid"), None).unwrap_err();
    let shown = neither.to_string();
    for part in [
        "52:54:00:0a:01:01",
        "QEMU-B",
        "52:54:00:0a:09:09",
        "\"uuid\"",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let both = config.whoami(&[port], Some("QEMU-B"), None).unwrap_err();
    assert!(matches!(both, WhoamiError::Both { .. }));
}
