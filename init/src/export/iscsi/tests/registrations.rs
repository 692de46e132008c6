//! What clients reserved comes back, before their LUN does.

use super::*;

#[test]
fn clients_reservations_come_back_before_a_lun_does_and_only_once() {
    let (lio, state) = lio(STEP_LIMIT);
    let directory = TempDir::new().unwrap();
    let pool = directory.path();
    let mut plan = planned();
    plan.keep_reservations(pool.to_owned());
    assert_eq!(plan.luns[1].unrestored, Some(Unrestored::NoFile));
    plan.luns[1].registrations = vec!["sa_res_key=1".to_owned(), "sa_res_key=2".to_owned()];
    lio.open(&plan).unwrap();
    let changes = lio.fake().changes();
    let serial = plan.luns[1].serial.clone();
    let order = [
        format!("tank.{serial}/wwn/vpd_unit_serial"),
        format!("tank.{serial}/pr/res_aptpl_metadata sa_res_key=1"),
        format!("tank.{serial}/pr/res_aptpl_metadata sa_res_key=2"),
        "lun/lun_1/volume".to_owned(),
    ];
    let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
    // What the kernel writes of it lands on the pool.
    let link = state.path().join("pr").join(format!("aptpl_{serial}"));
    std::fs::write(&link, "kept").unwrap();
    assert_eq!(
        std::fs::read(pool.join(format!("aptpl_{serial}"))).unwrap(),
        b"kept"
    );
    lio.fake().forget();
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    assert_eq!(lio.fake().changes(), [] as [&str; 0]);
    lio.close(&plan).unwrap();
    assert!(
        std::fs::read_link(&link).is_err(),
        "a link into a pool that is gone"
    );
    assert!(pool.join(format!("aptpl_{serial}")).exists());
}

#[test]
fn what_a_client_that_is_not_let_in_had_registered_does_not_come_back() {
    let directory = TempDir::new().unwrap();
    let mut plan = planned();
    let registration = |number: usize, client: &str| {
        format!(
            "PR_REG_START: {number}\ninitiator_fabric=iSCSI\ninitiator_node={client}\nsa_res_key=1\nres_holder=0\nres_all_tg_pt=0\n\
             mapped_lun=1\ntarget_fabric=iSCSI\ntarget_node=iqn.2026-01.org.orthrus:tank\ntpgt=1\nport_rtpi=1\ntarget_lun=1\n\
             PR_REG_END: {number}\n"
        )
    };
    let clients = plan.clients.clone();
    let file = format!(
        "{}{}\0",
        registration(0, &clients[0]),
        registration(1, &clients[1])
    );
    let name = reservations::name(&plan.luns[1].serial);
    std::fs::write(directory.path().join(name), file).unwrap();
    let restored = |plan: &mut ExportPlan| {
        plan.keep_reservations(directory.path().to_owned());
        let registrations = plan.luns[1].registrations.iter();
        let names = registrations.filter_map(|one| reservations::initiator(one));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(restored(&mut plan), clients);
    plan.luns[1].clients = Some(clients[1..].to_vec());
    assert_eq!(restored(&mut plan), clients[1..]);
    plan.luns[1].clients = None;
    plan.unknown_clients = Some("the list cannot be read".to_owned());
    assert_eq!(restored(&mut plan), clients);
    assert_eq!(plan.luns[1].unrestored, None, "all of them are let in");
    // Whether the other one is not let in any more is not known: it must not be left out.
    let left = plan.clients.pop();
    assert_eq!(restored(&mut plan), clients[..1]);
    let unknown = Unrestored::UnknownClient {
        initiator: left.unwrap(),
        why: "the list cannot be read".to_owned(),
    };
    assert_eq!(plan.luns[1].unrestored, Some(unknown));
    assert_eq!(plan.luns[0].unrestored, Some(Unrestored::NoFile));
    // Nobody of the list sees a LUN that has clients of its own.
    plan.luns[1].clients = Some(plan.clients.clone());
    assert_eq!(restored(&mut plan), clients[..1]);
    assert_eq!(plan.luns[1].unrestored, None);
    plan.luns[1].clients = None;
    plan.unknown_clients = None;
    assert_eq!(restored(&mut plan), clients[..1]);
    assert_eq!(plan.luns[1].unrestored, None);
}

#[test]
fn what_was_kept_in_memory_goes_to_the_pool_when_there_is_a_place_for_it() {
    let (lio, state) = lio(STEP_LIMIT);
    let directory = TempDir::new().unwrap();
    let pool = directory.path();
    let mut plan = planned();
    lio.open(&plan).unwrap();
    // The kernel wrote these, and nothing was to keep them.
    let whole = b"No Registrations or Reservations\0";
    let names: Vec<String> = plan
        .luns
        .iter()
        .map(|lun| reservations::name(&lun.serial))
        .collect();
    std::fs::write(state.path().join("pr").join(&names[0]), whole).unwrap();
    std::fs::write(state.path().join("pr").join(&names[1]), &whole[..9]).unwrap();
    plan.keep_reservations(pool.to_owned());
    lio.open(&plan).unwrap();
    for file in [names[0].clone(), format!("{}.kept", names[0])] {
        assert_eq!(std::fs::read(pool.join(&file)).unwrap(), whole, "{file}");
    }
    assert!(
        !pool.join(&names[1]).exists(),
        "one that was cut off is none"
    );
    for name in &names {
        let link = std::fs::read_link(state.path().join("pr").join(name)).unwrap();
        assert_eq!(link, pool.join(name));
    }
    let left = std::fs::read_dir(state.path().join("pr")).unwrap().count();
    assert_eq!(left, 2, "what was moved is not left");
    // What the kernel has written there since stays.
    std::fs::remove_file(state.path().join("pr").join(&names[0])).unwrap();
    std::fs::write(
        state.path().join("pr").join(&names[0]),
        b"No Registrations or Reservations\n\0",
    )
    .unwrap();
    lio.open(&plan).unwrap();
    assert_eq!(std::fs::read(pool.join(&names[0])).unwrap(), whole);
    lio.close(&plan).unwrap();
}

#[test]
fn clients_reservations_come_back_before_a_lun_does_that_was_half_withdrawn() {
    let (lio, _state) = lio(STEP_LIMIT);
    let directory = TempDir::new().unwrap();
    let mut plan = planned();
    plan.keep_reservations(directory.path().to_owned());
    plan.luns[1].registrations = vec!["sa_res_key=1".to_owned()];
    lio.open(&plan).unwrap();
    let group = std::path::Path::new("/t/iscsi")
        .join(&plan.iqn)
        .join("tpgt_1");
    let acls = group.join("acls");
    let mapping = |client: &String| acls.join(client).join("lun_1/volume");
    let mappings: Vec<PathBuf> = plan.clients.iter().map(mapping).collect();
    let [one, _, ..] = &mappings[..] else {
        panic!("{mappings:?}")
    };
    // While somebody else has it, it is taken from nobody.
    lio.fake().unlink(one).unwrap();
    lio.fake().forget();
    lio.open(&plan).unwrap();
    let changes = lio.fake().changes();
    assert!(
        changes.len() == 1 && changes[0].starts_with("link /t/iscsi"),
        "{changes:#?}"
    );
    for half in [mappings, vec![group.join("lun/lun_1/volume")]] {
        for link in half {
            lio.fake().unlink(&link).unwrap();
        }
        lio.fake().forget();
        lio.open(&plan).unwrap();
        let changes = lio.fake().changes();
        let restored = position(&changes, "pr/res_aptpl_metadata sa_res_key=1");
        assert!(
            restored < position(&changes, "tpgt_1/lun/lun_1/volume to"),
            "{changes:#?}"
        );
        assert!(
            !changes.iter().any(|change| change.contains("lun_0")),
            "{changes:#?}"
        );
    }
    // One that is let in is no reason: it had nothing yet.
    plan.clients.push("iqn.2026-01.org.example:late".to_owned());
    lio.fake().forget();
    lio.open(&plan).unwrap();
    let changes = lio.fake().changes();
    assert!(
        !changes
            .iter()
            .any(|change| change.contains("res_aptpl_metadata")),
        "{changes:#?}"
    );
}
