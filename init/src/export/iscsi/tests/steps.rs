//! What is built in LIO, in which order, and taken down again.

use super::*;

#[test]
fn one_lun_is_withdrawn_with_its_mappings_and_the_rest_stays_open() {
    let (lio, _state) = lio(STEP_LIMIT);
    let plan = planned();
    lio.open(&plan).unwrap();
    lio.fake().forget();
    assert_eq!(lio.withdraw(&plan, &plan.luns[1]), Ok(Step::Changed));
    let changes = lio.fake().changes();
    let backstore = format!("iblock_1/tank.{}", plan.luns[1].serial);
    let gone = [
        "acls/iqn.1993-08.org.debian:01:client/lun_1",
        "tpgt_1/lun/lun_1",
        &backstore,
    ];
    let positions: Vec<usize> = gone.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
    let is_its = |change: &String| change.contains("lun_1") || change.contains(&backstore);
    assert!(changes.iter().all(is_its), "{changes:#?}");
    assert_eq!(lio.withdraw(&plan, &plan.luns[1]), Ok(Step::Already));
    // It can come back, and all can go.
    assert_eq!(lio.open(&plan), Ok(Step::Changed));
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    lio.close(&plan).unwrap();
}

#[test]
fn a_volume_that_is_renamed_stays_open_as_it_is() {
    let (lio, _state) = lio(STEP_LIMIT);
    let mut plan = planned();
    lio.open(&plan).unwrap();
    lio.fake().forget();
    plan.luns[1].volume = "renamed".to_owned();
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    assert_eq!(lio.fake().changes(), [] as [&str; 0]);
    lio.close(&plan).unwrap();
}

#[test]
fn export_is_built_in_the_order_that_lio_needs() {
    let (lio, state) = lio(STEP_LIMIT);
    assert_eq!(lio.open(&planned()), Ok(Step::Changed));
    let changes = lio.fake().changes();
    let second = format!("tank.{}", unit_serial("lab", "tank", "uuid-1"));
    let second = format!("lun/lun_1/volume to /t/core/iblock_1/{second}");
    let order = [
        "write /t/dbroot",
        "mkdir /t/iscsi",
        "mkdir /t/core/iblock_1",
        "mkdir /t/core/iblock_1/tank.0123456789abcdef",
        "write /t/core/iblock_1/tank.0123456789abcdef/control udev_path=/dev/dm-0",
        "write /t/core/iblock_1/tank.0123456789abcdef/enable 1",
        "write /t/core/iblock_1/tank.0123456789abcdef/wwn/vendor_id ORTHRUS",
        "write /t/core/iblock_1/tank.0123456789abcdef/wwn/vpd_unit_serial 0123456789abcdef",
        "write /t/core/iblock_1/tank.0123456789abcdef/attrib/emulate_tpu 1",
        "write /t/core/iblock_1/tank.0123456789abcdef/attrib/emulate_tpws 1",
        "write /t/core/iblock_1/tank.0123456789abcdef/attrib/emulate_caw 1",
        "write /t/core/iblock_1/tank.0123456789abcdef/attrib/emulate_fua_write 1",
        "write /t/core/iblock_1/tank.0123456789abcdef/attrib/emulate_3pc 1",
        "mkdir /t/iscsi/iqn.2026-01.org.orthrus:tank/tpgt_1",
        "tpgt_1/rtpi 2",
        "mkdir /t/iscsi/iqn.2026-01.org.orthrus:tank/tpgt_1/np/10.77.0.10:3260",
        "tpgt_1/np/10.77.1.10:3260",
        "lun/lun_0/volume to /t/core/iblock_1/tank.0123456789abcdef",
        &second,
        "acls/iqn.1993-08.org.debian:01:client/attrib/authentication 0",
        "acls/iqn.1993-08.org.debian:01:client/lun_0/volume to /t/iscsi/iqn.2026-01.org.orthrus:tank/tpgt_1/lun/lun_0",
        "acls/iqn.1993-08.org.debian:01:other/lun_1/volume",
        "tpgt_1/enable 1",
    ];
    let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
    // An ACL that is just being made is of somebody who must prove who it is: the kernel's own value stays.
    let required = "tpgt_1/attrib/authentication 0";
    assert!(!changes.iter().any(|change| change.ends_with(required)));
    assert_eq!(positions.last(), Some(&(changes.len() - 1)));
    assert!(state.path().join("pr").is_dir() && state.path().join("alua").is_dir());
}

#[test]
fn opening_and_closing_again_changes_nothing() {
    let (lio, _state) = lio(STEP_LIMIT);
    assert_eq!(lio.close(&planned()), Ok(Step::Already));
    assert_eq!(lio.open(&planned()), Ok(Step::Changed));
    lio.fake().forget();
    assert_eq!(lio.open(&planned()), Ok(Step::Already));
    assert!(lio.fake().changes().is_empty());
    assert_eq!(lio.close(&planned()), Ok(Step::Changed));
    assert!(lio.fake().left().is_empty(), "{:#?}", lio.fake().left());
    assert_eq!(lio.close(&planned()), Ok(Step::Already));
}

#[test]
fn close_is_the_exact_reverse() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&planned()).unwrap();
    let made: Vec<String> = lio.fake().changes()[2..]
        .iter()
        .filter(|change| !change.starts_with("write"))
        .map(|change| change.split(' ').nth(1).unwrap().to_owned())
        .collect();
    lio.fake().forget();
    lio.close(&planned()).unwrap();
    let undone = lio.fake().changes();
    assert!(undone[0].ends_with("tpgt_1/enable 0"), "{}", undone[0]);
    let removed: Vec<&str> = undone[1..]
        .iter()
        .map(|change| change.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(removed, made.iter().rev().collect::<Vec<_>>());
}

#[test]
fn every_half_built_state_can_be_left_and_retried() {
    let (whole, _state) = lio(STEP_LIMIT);
    whole.open(&planned()).unwrap();
    let steps = whole.fake().changes().len();
    for step in 0..steps {
        let (lio, _state) = lio(STEP_LIMIT);
        lio.fake().fail_at(step, Errno::IO);
        let error = lio.open(&planned()).unwrap_err();
        assert_eq!(error.cause, Cause::Kernel(Errno::IO), "step {step}");
        lio.close(&planned()).unwrap();
        assert!(lio.fake().left().is_empty(), "step {step}");
        assert_eq!(lio.open(&planned()), Ok(Step::Changed), "step {step}");
        lio.close(&planned()).unwrap();
        assert!(lio.fake().left().is_empty(), "step {step}");
    }
}

#[test]
fn close_frees_what_it_can_and_reports_the_first_failure() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&planned()).unwrap();
    lio.fake().fail_at(1, Errno::BUSY);
    let error = lio.close(&planned()).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("/lun_1/volume: unlink: "), "{shown}");
    assert_eq!(error.cause, Cause::Kernel(Errno::BUSY));
    let left = lio.fake().left();
    assert!(
        !left.iter().any(|path| path.contains("np/10.77.0.10")),
        "{left:#?}"
    );
    assert_eq!(lio.close(&planned()), Ok(Step::Changed));
    assert!(lio.fake().left().is_empty());
}

#[test]
fn something_else_in_the_way_is_an_error_and_not_taken_over() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&planned()).unwrap();
    let mut other = planned();
    other.luns[0].node = PathBuf::from("/dev/dm-00");
    let error = lio.open(&other).unwrap_err();
    assert!(
        matches!(&error.cause, Cause::Other(found) if found.contains("/dev/dm-0 ")),
        "{error}"
    );
}

#[test]
fn a_step_that_hangs_ends_the_wait_and_nothing_follows_it() {
    let (mut lio, _state) = lio(STEP_LIMIT);
    lio.open(&planned()).unwrap();
    lio.fake().forget();
    // The first step of all.
    lio.fake().hang_on("enable 0");
    let limit = Duration::from_millis(200);
    lio.limit(limit);
    let error = lio.close(&planned()).unwrap_err();
    assert_eq!(error.cause, Cause::TimedOut(limit));
    assert!(
        error.to_string().contains("tpgt_1/enable: switch off"),
        "{error}"
    );
    // The late call returns; the steps after it must not be done then.
    assert!(lio.fake().go_on());
    lio.wait_for_threads();
    assert_eq!(lio.fake().changes().len(), 1, "{:#?}", lio.fake().changes());
}
