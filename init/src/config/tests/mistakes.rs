//! Mistakes that any part of the file may have: what is not TOML, not known, not allowed, there twice, too much, or damaged.

use super::*;

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
