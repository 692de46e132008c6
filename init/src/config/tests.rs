//! What the file may say, and that each mistake is named with its line, its field and the remedy.

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
fn luns_may_have_another_vendor_product_and_block_size() {
    let text = GOOD.replacen(
        "[pool.iscsi]\n",
        "[pool.iscsi]\nvendor = \"A&B Inc.\"\nproduct = \"Store 16\"\n",
        1,
    );
    let text = text.replacen("lun = 1\n", "lun = 1\nblock_size = 4096\n", 1);
    let config = Config::parse(&text).unwrap();
    let target = &config.pools[0].targets[0];
    assert_eq!(target.vendor.as_deref(), Some("A&B Inc."));
    assert_eq!(target.product.as_deref(), Some("Store 16"));
    let Luns::Listed(luns) = &target.luns else {
        panic!("listed")
    };
    let sizes: Vec<Option<u32>> = luns.iter().map(|lun| lun.block_size).collect();
    assert_eq!(sizes, [None, Some(4096)]);
    let plain = &config.pools[1].targets[0];
    assert_eq!((&plain.vendor, &plain.product), (&None, &None));
}

#[test]
fn addresses_of_both_kinds_may_stand_beside_each_other_and_each_is_there_once() {
    let both = "\"fd00:77::10/64\", \"10.77.0.12/24\"";
    let text = GOOD.replacen("\"10.77.0.12/24\"", both, 1);
    let bulk = Config::parse(&text).unwrap().pools[1].addresses.clone();
    assert_eq!(bulk[1].to_string(), "fd00:77::10/64");
    for (from, to, says) in [
        ("10.77.0.12/24", "fe80::1/64", "not link-local"),
        ("10.77.0.12/24", "fd00:77::/64", "of one host"),
        ("10.77.0.12/24", "10.77.0.11/16", "the same service address"),
    ] {
        check(from, to, 38, "pool[1].address[1]", says);
    }
    // Written in two ways.
    let twice = GOOD.replacen("\"10.77.0.10/24\"", "\"fd00:77::b/64\"", 1);
    let twice = twice.replacen("10.77.0.11/24", "fd00:0077:0::B/64", 1);
    let error = Config::parse(&twice).unwrap_err();
    assert_eq!(error.field, "pool[1].address[0]");
    assert!(
        error.message.contains("the same service address"),
        "{error}"
    );
}

#[test]
fn a_data_port_may_be_several_cards_and_a_vlan() {
    let plain = Config::parse(GOOD).unwrap().heads[0].data.clone();
    assert_eq!((plain.bond, plain.vlan, plain.mtu), (None, None, None));
    assert_eq!(plain.cards.len(), 1);
    let two = GOOD.replacen(
        "data = \"52:54:00:0a:01:02\"",
        "data = [\"52:54:00:0a:01:02\", \"52:54:00:0a:01:03\"]",
        1,
    );
    let error = Config::parse(&two).unwrap_err();
    assert_eq!((error.line, error.field.as_str()), (11, "head[0].data"));
    assert!(error.message.contains("active-backup, 802.3ad"), "{error}");
    let said = |text: &str| Config::parse(&format!("{two}[data]\n{text}\n"));
    let port = said("bond = \"802.3ad\"\nvlan = 77\nmtu = 9000")
        .unwrap()
        .heads[0]
        .data
        .clone();
    assert_eq!(port.bond, Some(crate::net::Bond::Lacp));
    assert_eq!((port.vlan, port.mtu), (Some(77), Some(9000)));
    assert_eq!(port.cards[1].to_string(), "52:54:00:0a:01:03");
    for (text, field, says) in [
        (
            "bond = \"round-robin\"",
            "data.bond",
            "active-backup, 802.3ad",
        ),
        ("bond = 1", "data.bond", "active-backup, 802.3ad"),
        (
            "bond = \"802.3ad\"\nvlan = 4095",
            "data.vlan",
            "from 1 to 4094",
        ),
        (
            "bond = \"802.3ad\"\nmtu = 576",
            "data.mtu",
            "from 1280 to 9216",
        ),
        ("mode = 1", "data.mode", "bond, vlan, mtu"),
    ] {
        let error = said(text).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.message.contains(says), "{error}");
    }
    // The same card in two places.
    let twice =
        two.replacen("52:54:00:0a:01:03", "52:54:00:0A:02:02", 1) + "[data]\nbond = \"802.3ad\"\n";
    let error = Config::parse(&twice).unwrap_err();
    assert!(error.message.contains("the same port"), "{error}");
}

#[test]
fn namespaces_are_read_and_a_volume_is_offered_in_one_way() {
    const NVME: &str = "[pool.nvme]\nnqn = \"nqn.2026-01.org.orthrus:bulk\"\n\
        hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]\n\
        [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"fast\"\n";
    let said = |nvme: &str| Config::parse(&format!("{GOOD}{nvme}"));
    let bulk = said(NVME).unwrap().pools[1].clone();
    assert!(bulk.keeps_from_luns("fast") && !bulk.keeps_from_luns("slow"));
    let nvme = bulk.nvme.unwrap();
    assert_eq!((nvme.namespaces[0].nsid, nvme.hosts.len()), (1, 1));
    let second = "[[pool.nvme.namespace]]\nnsid = 1\nvolume = \"other\"\n";
    let share = "[[pool.nfs.share]]\nvolume = \"fast\"\nclients = \"10.77.0.0/24\"\n";
    for (text, says) in [
        (NVME.replace("nsid = 1", "nsid = 0"), "from 1 to 1024"),
        (NVME.replace("nqn.2026", "iqn.2026"), "an NVMe name"),
        (
            NVME.replace("\"fast\"", "\"orthrus_state\""),
            "never exported",
        ),
        (
            NVME.replace(
                "hosts = [\"nqn.2014-08.org.nvmexpress:uuid:1\"]",
                "hosts = []",
            ),
            "1 to 64",
        ),
        (format!("{NVME}{second}"), "the same namespace"),
        (format!("{NVME}{share}"), "the same volume"),
        (
            NVME.split("[[").next().unwrap().to_owned(),
            "tables [[pool.nvme.namespace]]",
        ),
    ] {
        let error = said(&text).unwrap_err();
        assert!(error.message.contains(says), "{error}");
    }
}

#[test]
fn a_file_without_pools_is_enough_to_boot() {
    let text = GOOD.split("[[pool]]").next().unwrap();
    assert!(Config::parse(text).unwrap().pools.is_empty());
}

#[test]
fn a_gateway_is_for_the_addresses_on_its_network() {
    let with = |lines: &str| {
        let addresses =
            r#"address = ["10.77.0.10/24", "10.78.0.10/16", "fd00:77::10/64", "fd00:78::10/64"]"#;
        let text = GOOD.replacen("home = \"b\"", &format!("home = \"b\"\n{lines}"), 1);
        let mut lines = text.lines().map(|line| {
            if line.starts_with("address = ") && line.contains("10.77.0.10/24") {
                addresses
            } else {
                line
            }
        });
        let mut text = String::new();
        lines.by_ref().for_each(|line| text += &format!("{line}\n"));
        Config::parse(&text).map(|config| {
            let pool = config.pools[0].clone();
            let ways = pool.addresses.iter().map(|address| address.way);
            let ways = ways.map(|way| way.map(|way| (way.gateway.to_string(), way.table)));
            (ways.collect::<Vec<_>>(), pool.gateway_watch)
        })
    };
    let by = |gateway: &str, table| Some((gateway.to_owned(), table));
    assert_eq!(with(""), Ok((vec![None; 4], true)));
    assert_eq!(
        with("gateway = \"10.77.0.1\"\ngateway_watch = false"),
        Ok((vec![by("10.77.0.1", 1000), None, None, None], false))
    );
    assert_eq!(
        with("gateway = [\"10.78.3.1\", \"fe80::1\"]"),
        Ok((
            vec![
                None,
                by("10.78.3.1", 1000),
                by("fe80::1", 1001),
                by("fe80::1", 1002)
            ],
            true
        ))
    );
    for (gateway, says) in [
        ("\"10.79.0.1\"", "on the network of no service address"),
        ("\"10.77.0.10\"", "a service address (line 23)"),
        ("\"10.77.0.255\"", "on the network of no service address"),
        ("\"10.77.0.1/24\"", "allowed: the address of a router"),
        ("\"router\"", "allowed: the address of a router"),
        (
            "[\"10.77.0.1\", \"10.77.0.2\"]",
            "the second for 10.77.0.10/24",
        ),
        (
            "[\"fd00:77::1\", \"fe80::1\"]",
            "the second for fd00:77::10/64",
        ),
    ] {
        let error = with(&format!("gateway = {gateway}")).unwrap_err();
        assert!(error.to_string().contains(says), "{gateway}: {error}");
    }
}

#[test]
fn an_address_is_checked_for_unless_the_pool_says_otherwise() {
    let with = |line: &str| {
        let text = GOOD.replacen("home = \"b\"", &format!("home = \"b\"\n{line}"), 1);
        Config::parse(&text).map(|config| config.pools[0].address_check)
    };
    assert_eq!(with(""), Ok(true));
    assert_eq!(with("address_check = true"), Ok(true));
    assert_eq!(with("address_check = false"), Ok(false));
    let error = with("address_check = \"no\"").unwrap_err();
    assert!(error.to_string().contains("true or false"), "{error}");
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
fn text_that_is_not_toml_names_the_line() {
    let error = refused("dead_ms = 1500", "dead_ms = ");
    assert_eq!((error.line, error.field.as_str()), (5, ""));
    assert!(
        error.to_string().starts_with("orthrus.toml, line 5: "),
        "{error}"
    );
    assert_eq!(Config::parse("").unwrap_err().field, "cluster");
}

#[test]
fn unknown_fields_name_the_known_ones() {
    check(
        "dead_ms",
        "dead",
        5,
        "heartbeat.dead",
        "dead_ms, serial, control",
    );
    check("cluster =", "claster =", 1, "claster", "cluster, secret");
    check(
        "vg =",
        "volume_group =",
        36,
        "pool[1].volume_group",
        "name, vg, home",
    );
    check(
        "serial = \"0123",
        "wwn = \"0123",
        32,
        "pool[0].iscsi.lun[1].wwn",
        "lun, volume, serial, clients",
    );
}

#[test]
fn wrong_values_say_what_is_allowed() {
    check("\"lab\"", "\"Lab\"", 1, "cluster", "a-z, 0-9");
    check("1500", "50", 5, "heartbeat.dead_ms", "300 to 60000");
    check("1500", "\"1 s\"", 5, "heartbeat.dead_ms", "300 to 60000");
    check(
        "dead_ms = 1500",
        "serial = \"ttyS0\"",
        5,
        "heartbeat.serial",
        "console",
    );
    check(
        "dead_ms = 1500",
        "serial = \"ttyS2\"",
        4,
        "heartbeat.control",
        "another serial port",
    );
    check(
        "mac = \"52:54:00:0a:01:01\"",
        "mac = \"ff:ff:ff:ff:ff:ff\"",
        9,
        "head[0].mac",
        "one port",
    );
    check(
        "mac = \"52:54:00:0a:01:01\"\n",
        "",
        7,
        "head[0].mac",
        "or smbios",
    );
    check(
        "smbios =",
        "mac = \"52:54:00:0a:02:01\"\nsmbios =",
        16,
        "head[1].smbios",
        "one of the two",
    );
    check("home = \"b\"", "home = \"c\"", 21, "pool[0].home", "a or b");
    check(
        "10.77.0.10/24",
        "10.77.0.10",
        22,
        "pool[0].address",
        "10.77.0.10/24",
    );
    check(
        "10.77.0.12/24",
        "fe80::1/64",
        38,
        "pool[1].address[1]",
        "fd00:77::10/64",
    );
    check(
        "org.orthrus:tank",
        "org.Orthrus:tank",
        24,
        "pool[0].iscsi.iqn",
        "lower case",
    );
    check(
        "[\"iqn.1993-08.org.debian:01:client\"]",
        "[]",
        25,
        "pool[0].iscsi.clients",
        "1 to 64",
    );
    check(
        "lun = 1",
        "lun = 256",
        30,
        "pool[0].iscsi.lun[1].lun",
        "0 to 255",
    );
    check("lun = 1\n", "", 29, "pool[0].iscsi.lun[1].lun", "missing");
    check(
        "0123456789abcdef",
        "xyz",
        32,
        "pool[0].iscsi.lun[1].serial",
        "hex",
    );
    check(
        "lun = 1\n",
        "lun = 1\nclients = [\"iqn.1993-08.org.debian:01:other\"]\n",
        31,
        "pool[0].iscsi.lun[1].clients[0]",
        "some of the target's clients: iqn.1993-08.org.debian:01:client",
    );
    for (size, says) in [
        ("1024", "is 1024; allowed: 512 or 4096"),
        ("0", "is 0; allowed: 512 or 4096"),
        ("\"4k\"", "is of kind string; allowed: 512 or 4096"),
        ("-512", "is -512; allowed: 512 or 4096"),
    ] {
        let to = format!("lun = 1\nblock_size = {size}\n");
        check(
            "lun = 1\n",
            &to,
            31,
            "pool[0].iscsi.lun[1].block_size",
            says,
        );
    }
    for (key, value, says) in [
        ("vendor", "123456789", "1 to 8 printable ASCII"),
        ("vendor", "", "1 to 8 printable ASCII"),
        ("vendor", "Fuß", "1 to 8 printable ASCII"),
        ("product", "12345678901234567", "1 to 16 printable ASCII"),
        ("product", " A", "no blank at either end"),
    ] {
        let to = format!("org.orthrus:tank\"\n{key} = \"{value}\"\n");
        let field = format!("pool[0].iscsi.{key}");
        check("org.orthrus:tank\"\n", &to, 25, &field, says);
    }
    check(
        "lun = 1\n",
        "lun = 1\nclients = []\n",
        31,
        "pool[0].iscsi.lun[1].clients",
        "names nobody",
    );
    check(
        "luns = \"all\"",
        "luns = \"some\"",
        42,
        "pool[1].iscsi.luns",
        "all",
    );
    check(
        "luns = \"all\"\n",
        "",
        39,
        "pool[1].iscsi.lun",
        "[[pool.iscsi.lun]]",
    );
}

#[test]
fn duplicates_name_both_lines() {
    check("name = \"b\"", "name = \"a\"", 14, "head[1].name", "line 8");
    check(
        "52:54:00:0a:02:02",
        "52:54:00:0A:01:02",
        17,
        "head[1].data",
        "line 11",
    );
    check(
        "52:54:00:0a:02:01",
        "52:54:00:0a:02:02",
        17,
        "head[1].data",
        "line 16",
    );
    check(
        "mac = \"52:54:00:0a:01:01\"",
        "mac = \"52:54:00:0a:02:01\"",
        9,
        "head[0].mac",
        "line 16",
    );
    check("\"bulk\"", "\"tank\"", 35, "pool[1].name", "line 20");
    check("\"bulk.vg\"", "\"tank\"", 36, "pool[1].vg", "line 20");
    check(
        "10.77.0.12/24",
        "10.77.0.10/16",
        38,
        "pool[1].address[1]",
        "line 22",
    );
    check(
        "orthrus:bulk",
        "orthrus:tank",
        40,
        "pool[1].iscsi.iqn",
        "line 24",
    );
    check(
        "lun = 1",
        "lun = 0",
        30,
        "pool[0].iscsi.lun[1].lun",
        "line 27",
    );
    check(
        "\"vol1\"",
        "\"vol0\"",
        31,
        "pool[0].iscsi.lun[1].volume",
        "line 28",
    );
    check(
        "\"vol1\"",
        "\"orthrus_ledger0\"",
        31,
        "pool[0].iscsi.lun[1].volume",
        "never exported",
    );
}

#[test]
fn limits_are_kept() {
    let pool = |n: usize| {
        format!(
            "[[pool]]\nname = \"p{n}\"\nhome = \"a\"\naddress = \"10.0.0.{}/24\"\n",
            n + 1
        )
    };
    let base = GOOD.split("[[pool]]").next().unwrap().to_owned();
    let pools = |count| base.clone() + &(0..count).map(pool).collect::<String>();
    assert_eq!(Config::parse(&pools(MAX_POOLS)).unwrap().pools.len(), 8);
    let error = Config::parse(&pools(MAX_POOLS + 1)).unwrap_err();
    assert_eq!(error.field, "pool[8]");
    assert!(error.message.contains("at most 8"), "{error}");

    let third = GOOD.replacen("[[pool]]", "[[head]]\nname = \"c\"\n[[pool]]", 1);
    assert!(
        Config::parse(&third)
            .unwrap_err()
            .message
            .contains("at most 2")
    );
    let one = GOOD.replacen("[[head]]\nname = \"b\"", "[[hat]]\nname = \"b\"", 1);
    assert_eq!(Config::parse(&one).unwrap_err().field, "hat");
    assert!(Config::parse(&" ".repeat(MAX_BYTES + 1)).is_err());
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

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let mut chance = crate::chance::Chance(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: usize| chance.below(below);
    let pieces = [
        "[", "]", "\"", "\n", "=", "é", "-", "9", "pool", "\u{0}", "{", "'''", ".",
    ];
    for _ in 0..3000 {
        let mut text: Vec<char> = GOOD.chars().collect();
        for _ in 0..=next(4) {
            let at = next(text.len());
            let cut = next(12).min(text.len() - at);
            text.splice(at..at + cut, pieces[next(pieces.len())].chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Config::parse(&text) {
            assert!(error.line <= text.lines().count() + 1, "{error}\n{text}");
        }
    }
}

/// The good file with shares on its second pool, in place of its target.
fn with_shares(from: &str, to: &str) -> Result<Config, ConfigError> {
    let shares = r#"[pool.nfs]
threads = 4
[[pool.nfs.share]]
volume = "home"
clients = ["10.77.0.0/24", "10.78.0.5"]
[[pool.nfs.share]]
name = "public"
volume = "vol9"
clients = "0.0.0.0/0"
access = "ro"
squash = "all"
anonymous_uid = 99
check = "always"
"#;
    let (file, _) = GOOD.rsplit_once("[pool.iscsi]").unwrap();
    assert!(shares.contains(from), "the test's own text: {from}");
    Config::parse(&format!("{file}{}", shares.replacen(from, to, 1)))
}

#[test]
fn shares_are_read() {
    let config = with_shares("", "").unwrap();
    let nfs = config.pool("bulk").unwrap().nfs.as_ref().unwrap();
    assert_eq!((nfs.threads, nfs.lease_s), (4, 30));
    let [home, public] = &nfs.shares[..] else {
        panic!("{nfs:?}")
    };
    assert_eq!((home.name.as_str(), home.volume.as_str()), ("home", "home"));
    assert_eq!(
        (home.access, home.squash),
        (Access::ReadWrite, Squash::Root)
    );
    assert_eq!((home.anonymous_uid, home.anonymous_gid), (65534, 65534));
    assert_eq!(home.clients.len(), 2);
    assert_eq!((home.check, public.check), (Check::Needed, Check::Always));
    assert_eq!((public.name.as_str(), public.anonymous_uid), ("public", 99));
    assert_eq!(
        (public.access, public.squash),
        (Access::ReadOnly, Squash::All)
    );
}

#[test]
fn wrong_shares_say_what_is_allowed() {
    for (from, to, field, says) in [
        ("\"ro\"", "\"w\"", "pool[1].nfs.share[1].access", "rw, ro"),
        (
            "\"all\"",
            "\"some\"",
            "pool[1].nfs.share[1].squash",
            "root, all, none",
        ),
        (
            "10.78.0.5",
            "10.78.0.5/24",
            "pool[1].nfs.share[0].clients",
            "10.77.0.0/24",
        ),
        (
            "\"public\"",
            "\"../x\"",
            "pool[1].nfs.share[1].name",
            "1 to 64",
        ),
        (
            "\"public\"",
            "\"home\"",
            "pool[1].nfs.share[1].name",
            "the same share",
        ),
        (
            "\"vol9\"",
            "\"home\"",
            "pool[1].nfs.share[1].volume",
            "the same volume",
        ),
        (
            "\"vol9\"",
            "\"orthrus_state\"",
            "pool[1].nfs.share[1].volume",
            "never shared",
        ),
        (
            "threads = 4",
            "threads = 0",
            "pool[1].nfs.threads",
            "1 to 256",
        ),
        (
            "threads = 4",
            "lease_s = 9",
            "pool[1].nfs.lease_s",
            "10 to 3600",
        ),
        (
            "threads = 4",
            "grace = 9",
            "pool[1].nfs.grace",
            "threads, lease_s, share",
        ),
    ] {
        let error = with_shares(from, to).unwrap_err();
        assert!(error.field.starts_with(field), "{error}");
        assert!(error.message.contains(says), "{error}");
    }
    let twice = GOOD.replace(
        "[pool.iscsi]",
        "[[pool.nfs.share]]\nvolume = \"x\"\nclients = \"10.0.0.1\"\n[pool.iscsi]",
    );
    assert!(Config::parse(&twice).is_ok(), "each pool has its own");
    let both = GOOD.replacen(
        "[pool.iscsi]",
        "[[pool.nfs.share]]\nvolume = \"vol0\"\nclients = \"10.0.0.1\"\n[pool.iscsi]",
        1,
    );
    let error = Config::parse(&both).unwrap_err();
    assert!(error.message.contains("the same volume"), "{error}");
}

#[test]
fn passwords_are_in_no_output_and_wrong_ones_say_what_is_allowed() {
    let chap = "[[pool.iscsi.chap]]\nclient = \"iqn.1993-08.org.debian:01:client\"\nuser = \"u\"\npassword = \"correct-horse\"\n";
    let with =
        |from: &str, to: &str| Config::parse(&format!("{GOOD}{}", chap.replacen(from, to, 1)));
    let config = with("", "").unwrap();
    let known = &config.pool("bulk").unwrap().targets[0].chap;
    assert_eq!(known[0].password.expose(), "correct-horse");
    assert!(!format!("{config:?}").contains("horse"));
    for (from, to, field, says) in [
        (":client", ":nobody", "client", "one of the pool's clients"),
        ("\"u\"", "\"a b\"", "user", "without blanks"),
        ("correct-horse", "short", "password", "12 to 16"),
        (
            "correct-horse",
            "a much too long one",
            "password",
            "12 to 16",
        ),
        ("user", "name = 1\nuser", "name", "mutual_user"),
        (
            "user",
            "mutual_user = \"t\"\nuser",
            "mutual_password",
            "12 to 16",
        ),
        (
            "user",
            "mutual_user = \"t\"\nmutual_password = \"correct-horse\"\nuser",
            "mutual_password",
            "another one",
        ),
    ] {
        let error = with(from, to).unwrap_err();
        assert!(
            error
                .field
                .starts_with(&format!("pool[1].iscsi.chap[0].{field}")),
            "{error}"
        );
        assert!(error.message.contains(says), "{error}");
        assert!(!error.to_string().contains("horse"), "{error}");
    }
    let twice = Config::parse(&format!("{GOOD}{chap}{chap}")).unwrap_err();
    assert!(
        twice.message.contains("the same client with a password"),
        "{twice}"
    );
}

#[test]
fn a_pool_has_several_targets_of_which_one_may_have_all_that_the_others_do_not_list() {
    let (before, tank) = GOOD.split_once("[pool.iscsi]").unwrap();
    let second = "[[pool.iscsi]]\niqn = \"iqn.2026-01.org.orthrus:second\"\nclients = [\"iqn.1993-08.org.debian:01:other\"]\nluns = \"all\"\n";
    let with = |from: &str, to: &str| {
        let second = second.replacen(from, to, 1);
        let (listed, bulk) = tank.split_once("\n[[pool]]").unwrap();
        Config::parse(&format!(
            "{before}[[pool.iscsi]]{listed}{second}\n[[pool]]{bulk}"
        ))
    };
    let config = with("", "").unwrap();
    let pool = config.pool("tank").unwrap();
    assert_eq!(pool.targets.len(), 2);
    assert_eq!(pool.targets[1].luns, Luns::All);
    assert!(pool.lists("vol0") && pool.lists("vol1") && !pool.lists("vol2"));
    let list = |lun: &str| format!("[[pool.iscsi.lun]]\n{lun}\n");
    // A number is a target's own.
    let fresh = list("lun = 0\nvolume = \"vol2\"");
    assert!(with("luns = \"all\"\n", &fresh).is_ok());
    let all_twice = GOOD.replacen(
        "luns = \"all\"\n",
        &format!("luns = \"all\"\n{}", second.replacen("second", "third", 1)),
        1,
    );
    let all_twice = all_twice.replace(
        "[pool.iscsi]\niqn = \"iqn.2026-01.org.orthrus:bulk",
        "[[pool.iscsi]]\niqn = \"iqn.2026-01.org.orthrus:bulk",
    );
    for (error, field, says) in [
        (
            Config::parse(&all_twice).unwrap_err(),
            "pool[1].iscsi[1].luns",
            "for one target of a pool",
        ),
        (
            with("orthrus:second", "orthrus:tank").unwrap_err(),
            "pool[0].iscsi[1].iqn",
            "the same target name",
        ),
        (
            with("luns = \"all\"\n", &list("lun = 0\nvolume = \"vol1\"")).unwrap_err(),
            "pool[0].iscsi[1].lun[0].volume",
            "the same volume",
        ),
        (
            with(
                "luns = \"all\"\n",
                &format!("luns = \"all\"\n{}", second.repeat(8)),
            )
            .unwrap_err(),
            "pool[0].iscsi[8]",
            "at most 8",
        ),
    ] {
        assert_eq!(error.field, field, "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}
