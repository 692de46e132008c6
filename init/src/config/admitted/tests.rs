//! Clients of the list.

use super::*;
use crate::chance::{Chance, times};
use crate::config::Config;

const FIRST: &str = "iqn.2026-01.org.example:new";
const HOST: &str = "nqn.2026-01.org.example:new";

fn pool() -> PoolConfig {
    let text = crate::worker::tests::CONFIG.to_owned()
        + "[[pool.nfs.share]]\nvolume = \"home\"\nclients = [\"10.77.0.0/24\"]\n\
           [pool.nvme]\nnqn = \"nqn.2026-01.org.example:tank\"\nhosts = [\"nqn.2026-01.org.example:old\"]\n\
           [[pool.nvme.namespace]]\nnsid = 1\nvolume = \"fast\"\n";
    Config::parse(&text).unwrap().pools.remove(0)
}

fn initiator(login: Login<'_>) -> Result<Client, String> {
    Client::new(None, FIRST, login)
}

const CHAP: Login<'_> = Login {
    user: Some("new"),
    password: Some("twelve-or-more"),
    mutual_user: None,
    mutual_password: None,
};

#[test]
fn what_was_let_in_is_let_in_by_who_reads_the_list() {
    let pool = pool();
    let mut list = Admitted::default();
    let mutual = Login {
        mutual_user: Some("box"),
        mutual_password: Some("another-one-12"),
        ..CHAP
    };
    for client in [
        initiator(mutual).unwrap(),
        Client::new(None, HOST, Login::default()).unwrap(),
        Client::new(Some("home"), "10.78.0.0/16", Login::default()).unwrap(),
    ] {
        list.add(&pool, client.clone()).unwrap();
        let again = list.add(&pool, client.clone());
        assert_eq!(again, Err(AdmitError::Already(client.to_string())));
    }
    let read = Admitted::parse(&list.text());
    assert_eq!(read, list);
    let all = read.applied(&pool);
    let iscsi = &all.targets[0];
    assert!(iscsi.clients.contains(&FIRST.to_owned()));
    let chap = iscsi.chap.iter().find(|chap| chap.client == FIRST).unwrap();
    assert_eq!(chap.password.expose(), "twelve-or-more");
    assert_eq!(chap.mutual.as_ref().unwrap().1.expose(), "another-one-12");
    assert!(all.nvme.unwrap().hosts.contains(&HOST.to_owned()));
    let networks = &all.nfs.unwrap().shares[0].clients;
    assert!(
        networks
            .iter()
            .any(|one| one.network.has([10, 78, 3, 4].into()))
    );
    // The password is what only the list has.
    assert!(!format!("{list:?}").contains("twelve"));
}

#[test]
fn what_a_client_may_do_at_a_share_is_kept_and_changed_in_its_place() {
    let pool = pool();
    let client = |network: &str, access: Option<&str>, squash: Option<&str>| {
        let client = Client::new(Some("home"), network, Login::default()).unwrap();
        client.with_rights(access, squash).unwrap()
    };
    let rights = |list: &Admitted| {
        let all = Admitted::parse(&list.text()).applied(&pool);
        let share = &all.nfs.unwrap().shares[0];
        let of = |client: [u8; 4]| share.rights(client.into()).map(|rights| rights.access);
        (of([10, 78, 3, 4]), of([10, 78, 200, 4]))
    };
    let (rw, ro) = (Some(Access::ReadWrite), Some(Access::ReadOnly));
    let mut list = Admitted::default();
    list.add(&pool, client("10.78.0.0/16", None, None)).unwrap();
    assert_eq!(rights(&list), (rw, rw));
    let plain = list.text();
    assert!(
        !plain.contains("access") && !plain.contains("squash"),
        "an older firmware reads it: {plain}"
    );
    list.add(&pool, client("10.78.0.0/17", Some("ro"), None))
        .unwrap();
    assert_eq!(rights(&list), (ro, rw));
    // One that is there with other rights has those of the last order, and is there once.
    let (before, again) = (
        list.clients().len(),
        client("10.78.0.0/17", Some("rw"), Some("all")),
    );
    list.add(&pool, again.clone()).unwrap();
    assert_eq!(list.clients().len(), before);
    assert_eq!(rights(&list), (rw, rw));
    assert_eq!(
        list.add(&pool, again.clone()),
        Err(AdmitError::Already(again.to_string()))
    );
    assert_eq!(again.to_string(), "10.78.0.0/17 (rw, squash all) at /home");
    // What the file says of a network is the file's to change.
    let of_file = client("10.77.0.0/24", Some("ro"), None);
    assert!(matches!(
        list.add(&pool, of_file),
        Err(AdmitError::Already(_))
    ));
    // Taken out by its network, whatever it may do.
    list.remove(&pool, &client("10.78.0.0/17", None, None))
        .unwrap();
    assert_eq!(list.text(), plain);
    // A word of a later firmware lets nobody in rather than in with more than was meant.
    let later = "{\"share\":\"home\",\"network\":\"10.79.0.0/16\",\"access\":\"append\"}";
    assert_eq!(Admitted::parse(later).not_understood(), 1);
}

#[test]
fn a_damaged_list_lets_in_whom_it_names_and_is_kept_as_it_is_read() {
    let whole = "{\"initiator\":\"iqn.2026-01.org.example:a\",\"user\":\"new\",\"password\":\"twelve-or-more\",\
         \"mutual_user\":\"box\",\"mutual_password\":\"another-one-12\"}\n\
         {\"target\":\"iqn.2026-01.org.example:t\",\"initiator\":\"iqn.2026-01.org.example:b\"}\r\n\
         {\"host\":\"nqn.2026-01.org.example:new\"}\n\
         {\"share\":\"home\",\"network\":\"10.78.0.0/16\"}\n";
    assert_eq!(Admitted::parse(whole).clients().len(), 4);
    let mut chance = Chance(1);
    let mut found = 0;
    for _ in 0..times(20_000) {
        let mut bytes = whole.as_bytes().to_vec();
        chance.damage(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let list = Admitted::parse(&text);
        for client in list.clients() {
            found += 1;
            match client {
                Client::Initiator { target, name, .. } => {
                    assert!(target.as_deref().is_none_or(names::is_iscsi), "{target:?}");
                    assert!(names::is_iscsi(name) && text.contains(name), "{name:?}");
                }
                Client::Host(name) => assert!(names::is_nqn(name) && text.contains(name)),
                Client::Network { .. } => {}
            }
        }
        assert_eq!(Admitted::parse(&list.text()), list, "{text}");
    }
    assert!(found > 1000, "only {found} were clients");
}

#[test]
fn only_what_was_let_in_here_is_shut_out_here() {
    let pool = pool();
    let mut list = Admitted::default();
    let new = initiator(CHAP).unwrap();
    assert_eq!(
        list.remove(&pool, &new),
        Err(AdmitError::NotThere(new.to_string()))
    );
    let name = pool.targets[0].clients[0].clone();
    let old = Client::new(None, &name, Login::default()).unwrap();
    assert_eq!(
        list.remove(&pool, &old),
        Err(AdmitError::OfTheFile(old.to_string()))
    );
    assert_eq!(
        list.add(&pool, old.clone()),
        Err(AdmitError::Already(old.to_string()))
    );
    list.add(&pool, new).unwrap();
    // By its name alone.
    list.remove(&pool, &initiator(Login::default()).unwrap())
        .unwrap();
    assert_eq!(list.applied(&pool), pool);
}

#[test]
fn a_client_of_one_target_of_several_is_let_in_there_and_nowhere_else() {
    const SECOND: &str = "iqn.2026-01.org.example:second";
    let one = pool();
    let mut several = one.clone();
    let mut second = one.targets[0].clone();
    SECOND.clone_into(&mut second.iqn);
    several.targets.push(second);
    let first = several.targets[0].iqn.clone();
    let at = |target: &str| Client::new(Some(target), FIRST, CHAP).unwrap();
    let is_in = |list: &Admitted, pool: &PoolConfig| -> Vec<bool> {
        let targets = list.applied(pool).targets.into_iter();
        targets
            .map(|target| target.clients.iter().any(|client| client == FIRST))
            .collect()
    };

    // From the time when there was one: it is the first one's from then on.
    let mut list = Admitted::default();
    list.add(&one, initiator(CHAP).unwrap()).unwrap();
    assert_eq!(is_in(&list, &several), [true, false]);
    let again = list.add(&several, at(&first));
    assert!(matches!(again, Err(AdmitError::Already(_))), "{again:?}");
    list.add(&several, at(SECOND)).unwrap();
    assert_eq!(Admitted::parse(&list.text()), list);
    assert_eq!(is_in(&list, &several), [true, true]);
    list.remove(&several, &at(&first)).unwrap();
    assert_eq!(is_in(&list, &several), [false, true]);
    // Who was let in to the only one stays with that one, whichever is the first later.
    let mut pinned = Admitted::default();
    pinned.add(&one, initiator(CHAP).unwrap()).unwrap();
    let mut turned = several.clone();
    turned.targets.reverse();
    assert_eq!(is_in(&pinned, &turned), [false, true]);
    turned.targets.pop();
    assert_eq!(is_in(&pinned, &turned), [false]);
    // The one that it was let in to is not there any more, and comes back.
    assert_eq!(is_in(&list, &one), [false]);
    list.remove(&several, &at(SECOND)).unwrap();
    assert_eq!(list.text(), "");

    // Which one has to be said.
    let some = initiator(Login::default()).unwrap();
    for refused in [
        list.add(&several, some.clone()),
        list.remove(&several, &some),
    ] {
        let there = format!("{first}, {SECOND}");
        assert_eq!(refused, Err(AdmitError::WhichTarget(there)));
    }
    let elsewhere = list.add(&several, at("iqn.2026-01.org.example:third"));
    assert!(
        matches!(elsewhere, Err(AdmitError::NoTarget { there, .. }) if there.ends_with(SECOND))
    );
    assert!(Client::new(Some(SECOND), "10.0.0.1", Login::default()).is_err());
    assert_eq!(
        at(SECOND).to_string(),
        format!("{FIRST} (CHAP) at {SECOND}")
    );
}

#[test]
fn lines_that_are_not_understood_let_nobody_in_and_stay() {
    let good = format!("{{\"initiator\":\"{FIRST}\"}}");
    let bad = [
        "{\"initiator\":\"iqn.2026-01.org.example:a\",\"since\":4}",
        "{\"initiator\":\"../../x\"}",
        "{\"initiator\":\"iqn.2026-01.org.example:a\",\"user\":\"u\"}",
        "{\"host\":\"iqn.2026-01.org.example:a\"}",
        "{\"initiator\":\"nqn.2026-01.org.example:a\"}",
        "{\"share\":\"home\"}",
        "{\"host\":\"nqn.2026-01.org.example:a\",\"network\":\"10.0.0.0/8\"}",
        "{\"host\":\"nqn.2026-01.org.example:a\",\"access\":\"ro\"}",
        "{}",
        "torn {",
    ];
    let text = format!("{good}\n{}\n{good}\n", bad.join("\n"));
    let mut list = Admitted::parse(&text);
    assert_eq!(list.clients().len(), 1);
    assert_eq!(list.not_understood(), bad.len());
    // What a later release says of a share or a host is of no initiator; what is torn may be.
    let later = "{\"share\":\"home\",\"network\":\"10.0.0.0/8\",\"more\":\"x\"}\n{\"host\":\"nqn.2026-01.org.example:h\",\"more\":1}\n";
    assert_eq!(Admitted::parse(later).unknown_initiators(), 0);
    let torn = "{\"initiator\":\"iqn.2026-01.org.exa\n{\"share\":\"home\",\"netw\n";
    assert_eq!(Admitted::parse(torn).unknown_initiators(), 2);
    let host = Client::new(None, HOST, Login::default()).unwrap();
    list.add(&pool(), host).unwrap();
    for line in bad {
        assert!(list.text().contains(line), "{line}");
    }
}

#[test]
fn what_the_configuration_has_no_place_for_is_refused_or_left_out() {
    let mut bare = pool();
    (bare.targets, bare.nvme) = (Vec::new(), None);
    let mut list = Admitted::default();
    let new = initiator(CHAP).unwrap();
    assert_eq!(
        list.add(&bare, new.clone()),
        Err(AdmitError::Nothing("target"))
    );
    let elsewhere = Client::new(Some("attic"), "10.0.0.1", Login::default()).unwrap();
    assert!(matches!(
        list.add(&bare, elsewhere),
        Err(AdmitError::NoShare { there, .. }) if there == "home"
    ));
    list.add(&pool(), new).unwrap();
    assert_eq!(list.applied(&bare), bare);
    let mut many = Admitted::default();
    let count = pool().targets[0].clients.len();
    for number in count..MAX_CLIENTS {
        let name = format!("iqn.2026-01.org.example:n{number}");
        let client = Client::new(None, &name, Login::default()).unwrap();
        many.add(&pool(), client).unwrap();
    }
    let one_more = initiator(CHAP).unwrap();
    assert_eq!(many.add(&pool(), one_more), Err(AdmitError::TooMany));
}

#[test]
fn errors_say_what_is_allowed_and_no_password() {
    for (share, name, login, says) in [
        (None, "tank", Login::default(), "of an initiator"),
        (
            Some("home"),
            "iqn.2026-01.org.example:a",
            Login::default(),
            "a network",
        ),
        (
            None,
            HOST,
            CHAP,
            "only an initiator logs in with a password",
        ),
        (
            None,
            FIRST,
            Login {
                password: None,
                ..CHAP
            },
            "go together",
        ),
        (
            None,
            FIRST,
            Login {
                password: Some("short"),
                ..CHAP
            },
            "12 to 16",
        ),
        (
            None,
            FIRST,
            Login {
                mutual_user: Some("box"),
                mutual_password: CHAP.password,
                ..CHAP
            },
            "another one",
        ),
        (
            None,
            FIRST,
            Login {
                mutual_user: Some("box"),
                mutual_password: CHAP.password,
                ..Login::default()
            },
            "as well",
        ),
    ] {
        let error = Client::new(share, name, login).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(
            !error.contains("twelve") && !error.contains("short"),
            "{error}"
        );
    }
}
