//! Ports, addresses, gateways.

use super::*;

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
fn a_lun_is_not_served_without_its_reservations_unless_the_pool_says_so() {
    let with = |line: &str| {
        let text = GOOD.replacen("home = \"b\"", &format!("home = \"b\"\n{line}"), 1);
        Config::parse(&text).map(|config| config.pools[0].serve_without_reservations)
    };
    assert_eq!(with(""), Ok(false));
    assert_eq!(with("serve_without_reservations = true"), Ok(true));
    let error = with("serve_without_reservations = 1").unwrap_err();
    assert!(error.to_string().contains("true or false"), "{error}");
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
