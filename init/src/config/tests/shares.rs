//! Shares.

use super::*;

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
fn what_a_client_may_do_is_said_by_the_longest_prefix_that_it_is_in() {
    let mixed = "clients = [\"10.77.0.0/24\", { network = \"10.77.0.64/26\", access = \"ro\" }, \"10.77.0.70\", \
                 { network = \"10.77.0.71\", squash = \"all\" }, { network = \"fd00::/16\", access = \"ro\", squash = \"none\" }]";
    let config = with_shares("clients = [\"10.77.0.0/24\", \"10.78.0.5\"]", mixed).unwrap();
    let home = &config.pool("bulk").unwrap().nfs.as_ref().unwrap().shares[0];
    let (rw, ro) = (Access::ReadWrite, Access::ReadOnly);
    for (client, rights) in [
        ("10.77.0.1", Some((rw, Squash::Root))),
        ("10.77.0.65", Some((ro, Squash::Root))),
        ("10.77.0.70", Some((rw, Squash::Root))),
        ("10.77.0.71", Some((rw, Squash::All))),
        ("10.77.0.128", Some((rw, Squash::Root))),
        ("10.77.1.1", None),
        ("fd00:77::1", Some((ro, Squash::None))),
        ("fe00::1", None),
    ] {
        let found = home.rights(client.parse().unwrap());
        let found = found.map(|rights| (rights.access, rights.squash));
        assert_eq!(found, rights, "{client}");
    }
    // Wherever the entries stand.
    let mut turned = home.clone();
    turned.clients.reverse();
    for last in 0..=255 {
        let client = [10, 77, 0, last].into();
        assert_eq!(home.rights(client), turned.rights(client), "{client}");
    }
    // What the share says of all is for those of which nothing else is said.
    let mut closed = home.clone();
    closed.access = ro;
    let of = |client: &str| closed.rights(client.parse().unwrap()).unwrap().access;
    assert_eq!(of("10.77.0.1"), ro);
    let written = "clients = [{ network = \"10.78.0.5\", access = \"rw\" }]\naccess = \"ro\"";
    let config = with_shares("clients = [\"10.77.0.0/24\", \"10.78.0.5\"]", written).unwrap();
    let home = &config.pool("bulk").unwrap().nfs.as_ref().unwrap().shares[0];
    let rights = home.rights([10, 78, 0, 5].into()).unwrap();
    assert_eq!((rights.access, rights.squash), (rw, Squash::Root));
}

#[test]
fn a_network_that_is_named_twice_without_rights_of_its_own_is_named_once() {
    assert!(with_shares("\"10.78.0.5\"", "\"10.77.0.0/24\"").is_ok());
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
            "\"10.78.0.5\"",
            "{ network = \"10.77.0.0/24\", access = \"ro\" }",
            "pool[1].nfs.share[0].clients[1]",
            "the same network as pool[1].nfs.share[0].clients[0] in line",
        ),
        (
            "[\"10.77.0.0/24\", \"10.78.0.5\"]",
            "[{ network = \"10.78.0.5/32\", access = \"ro\" }, \"10.78.0.5\"]",
            "pool[1].nfs.share[0].clients[1]",
            "the same network",
        ),
        (
            "\"10.78.0.5\"",
            "{ network = \"10.78.0.5\", access = \"r\" }",
            "pool[1].nfs.share[0].clients[1].access",
            "is \"r\"; allowed: rw, ro",
        ),
        (
            "\"10.78.0.5\"",
            "{ net = \"10.78.0.5\", access = \"ro\" }",
            "pool[1].nfs.share[0].clients[1].net",
            "network, access, squash",
        ),
        (
            "\"10.78.0.5\"",
            "{ access = \"ro\" }",
            "pool[1].nfs.share[0].clients[1].network",
            "is missing",
        ),
        (
            "\"10.78.0.5\"",
            "{ network = \"10.78.0.5/24\" }",
            "pool[1].nfs.share[0].clients[1].network",
            "10.77.0.0/24",
        ),
        (
            "\"10.78.0.5\"",
            "5",
            "pool[1].nfs.share[0].clients[1]",
            "access = \"ro\"",
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
