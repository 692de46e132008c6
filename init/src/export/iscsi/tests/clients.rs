//! Who is let in, and proves it.

use super::*;

#[test]
fn a_lun_is_mapped_to_its_clients_and_to_no_others() {
    let of_one = "lun = 1\nvolume = \"vol1\"\nclients = [\"iqn.1993-08.org.debian:01:other\"]\n";
    let text = CONFIG.replace("lun = 1\nvolume = \"vol1\"\n", of_one);
    let config = Config::parse(&text).unwrap();
    let pool = config.pool("tank").unwrap();
    let plan = ExportPlan::all(&config, pool, &volumes())
        .unwrap()
        .remove(0);
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&plan).unwrap();
    let changes = lio.fake().changes();
    let maps = |client: &str, lun: u32| {
        let part = format!("acls/iqn.1993-08.org.debian:01:{client}/lun_{lun}");
        changes.iter().any(|change| change.contains(&part))
    };
    assert!(maps("client", 0) && maps("other", 0) && maps("other", 1));
    assert!(!maps("client", 1), "{changes:#?}");
    lio.close(&plan).unwrap();
}

#[test]
fn a_target_is_named_to_nobody_who_is_not_let_in() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&planned()).unwrap();
    let changes = lio.fake().changes();
    let order = ["attrib/demo_mode_discovery 0", "np/", "tpgt_1/enable 1"];
    let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
}

#[test]
fn one_client_is_shut_out_and_the_others_keep_what_they_have() {
    let (lio, _state) = lio(STEP_LIMIT);
    let mut plan = planned();
    lio.open(&plan).unwrap();
    lio.fake().forget();
    let client = plan.clients.remove(1);
    assert_eq!(lio.dismiss(&plan, &client), Ok(Step::Already));
    plan.clients.push(client.clone());
    assert_eq!(lio.dismiss(&plan, &client), Ok(Step::Changed));
    let changes = lio.fake().changes();
    let acl = format!("acls/{client}");
    assert!(
        changes.iter().all(|change| change.contains(&acl)),
        "{changes:#?}"
    );
    assert!(changes.last().is_some_and(|last| last.ends_with(&acl)));
    assert_eq!(lio.dismiss(&plan, &client), Ok(Step::Already));
    plan.clients.pop();
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    lio.close(&plan).unwrap();
}

#[test]
fn a_client_with_a_password_must_prove_it_before_it_is_let_in() {
    let chap = "[[pool.iscsi.chap]]\nclient = \"iqn.1993-08.org.debian:01:other\"\nuser = \"other\"\n\
        password = \"correct-horse\"\nmutual_user = \"tank\"\nmutual_password = \"battery-staple\"\n";
    let config = Config::parse(&format!("{CONFIG}{chap}")).unwrap();
    let pool = config.pool("tank").unwrap();
    let plan = ExportPlan::all(&config, pool, &volumes())
        .unwrap()
        .remove(0);
    assert!(!format!("{plan:?}").contains("horse"));
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&plan).unwrap();
    let changes = lio.fake().changes();
    let order = [
        "acls/iqn.1993-08.org.debian:01:other/auth/userid other",
        "acls/iqn.1993-08.org.debian:01:other/auth/password correct-horse",
        "acls/iqn.1993-08.org.debian:01:other/auth/userid_mutual tank",
        "acls/iqn.1993-08.org.debian:01:other/auth/password_mutual battery-staple",
        "acls/iqn.1993-08.org.debian:01:other/attrib/authentication 1",
        "tpgt_1/enable 1",
    ];
    let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
    let others = |change: &&String| change.contains("debian:01:client/auth");
    assert_eq!(changes.iter().filter(others).count(), 0);
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    lio.close(&plan).unwrap();
    // An error does not tell what was there, nor what should be.
    lio.open(&plan).unwrap();
    let mut other = plan.clone();
    other.chap = Config::parse(&format!("{CONFIG}{}", chap.replace("tank", "pond")))
        .unwrap()
        .pool("tank")
        .unwrap()
        .targets[0]
        .chap
        .clone();
    assert_eq!(lio.open(&other), Ok(Step::Changed));
}
