//! The order of an export's steps, that each can be repeated, and that every half-built state can be left.

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

fn plan() -> ExportPlan {
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

#[test]
fn plan_is_the_configuration_and_the_volumes() {
    let plan = plan();
    assert_eq!(plan.number, 1);
    assert_eq!(plan.portals[1].to_string(), "10.77.1.10:3260");
    assert_eq!(plan.luns[0].serial, "0123456789abcdef");
    assert_eq!(plan.luns[1].serial, unit_serial("lab", "tank", "uuid-1"));
    assert_eq!(plan.luns[1].node, PathBuf::from("/dev/dm-1"));
}

#[test]
fn all_volumes_are_numbered_by_name() {
    let start = CONFIG.find("[[pool.iscsi.lun]]").unwrap();
    let text = format!("{}luns = \"all\"\n", &CONFIG[..start]);
    let config = Config::parse(&text).unwrap();
    let pool = config.pool("tank").unwrap();
    let plan = |volumes: &[Volume]| {
        ExportPlan::all(&config, pool, volumes).map(|mut targets| targets.remove(0))
    };
    let luns = plan(&volumes()).unwrap().luns;
    let numbered: Vec<_> = luns.iter().map(|l| (l.lun, l.volume.as_str())).collect();
    assert_eq!(numbered, [(0, "vol0"), (1, "vol1")]);
    // A new pool: clients find a target without a LUN.
    assert_eq!(plan(&[]).unwrap().luns, []);
    // The firmware's own volumes are not offered, and do not change the others' numbers.
    let mut own = volumes();
    own.push(Volume {
        name: "orthrus_state".to_owned(),
        ..own[0].clone()
    });
    assert_eq!(plan(&own).unwrap().luns, luns);
    let many: Vec<Volume> = (0..65).map(|_| volumes().remove(0)).collect();
    let error = plan(&many).unwrap_err().to_string();
    assert!(
        error.contains("65") && error.contains("at most 64"),
        "{error}"
    );
}

#[test]
fn targets_of_a_pool_have_their_own_numbers_and_stand_beside_each_other() {
    let list = |lun: u32, volume: &str| {
        format!("[[pool.iscsi.lun]]\nlun = {lun}\nvolume = \"{volume}\"\n")
    };
    let (before, first) = CONFIG.split_once("[pool.iscsi]").unwrap();
    let first = &first[..first.find("[[pool.iscsi.lun]]").unwrap()];
    let second = first.replace("orthrus:tank", "orthrus:second");
    let text = format!(
        "{before}[[pool.iscsi]]{first}{}[[pool.iscsi]]{second}luns = \"all\"\n",
        list(0, "vol0")
    );
    let config = Config::parse(&text).unwrap();
    let pool = config.pool("tank").unwrap();
    let targets = ExportPlan::all(&config, pool, &volumes()).unwrap();
    // The first one's is what it was before there was a second.
    let numbers: Vec<u16> = targets.iter().map(|target| target.number).collect();
    assert_eq!(numbers, [1, 65]);
    // What one lists is none of the other's.
    assert_eq!((targets[0].luns.len(), targets[1].luns.len()), (1, 1));
    assert_eq!(targets[1].luns[0].volume, "vol1");
    let (lio, _state) = lio(STEP_LIMIT);
    for target in &targets {
        assert_eq!(lio.open(target), Ok(Step::Changed));
    }
    let changes = lio.fake().changes();
    assert!(
        changes
            .iter()
            .any(|change| change.ends_with("orthrus:second/tpgt_1/rtpi 66"))
    );
    lio.fake().forget();
    // Each goes alone.
    let client = targets[1].clients[0].clone();
    assert_eq!(lio.dismiss(&targets[1], &client), Ok(Step::Changed));
    assert_eq!(lio.close(&targets[1]), Ok(Step::Changed));
    let changes = lio.fake().changes();
    assert!(
        !changes.iter().any(|change| change.contains("orthrus:tank")),
        "{changes:#?}"
    );
    assert_eq!(lio.open(&targets[0]), Ok(Step::Already));
    assert_eq!(lio.close(&targets[0]), Ok(Step::Changed));
    assert!(lio.fake().left().is_empty(), "{:#?}", lio.fake().left());
}

#[test]
fn a_lun_without_a_volume_is_withheld_and_the_others_are_offered() {
    let config = Config::parse(CONFIG).unwrap();
    let pool = config.pool("tank").unwrap();
    let plan = |volumes: &[Volume]| ExportPlan::all(&config, pool, volumes).unwrap().remove(0);
    let missing = plan(&volumes()[..1]);
    let offered: Vec<u32> = missing.luns.iter().map(|lun| lun.lun).collect();
    assert_eq!(offered, [1]);
    let said = "LUN 0 of iqn.2026-01.org.orthrus:tank is not offered: no volume vol0 is active";
    assert_eq!(missing.withheld, [said]);
    // It comes while the other one is open.
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&missing).unwrap();
    assert_eq!(plan(&volumes()).withheld, [] as [&str; 0]);
    assert_eq!(lio.open(&plan(&volumes())), Ok(Step::Changed));
    lio.close(&plan(&volumes())).unwrap();
    assert!(lio.fake().left().is_empty());
    let spare = config.pool("spare").unwrap();
    assert_eq!(ExportPlan::all(&config, spare, &volumes()), Ok(Vec::new()));
}

#[test]
fn one_lun_is_withdrawn_with_its_mappings_and_the_rest_stays_open() {
    let (lio, _state) = lio(STEP_LIMIT);
    let plan = plan();
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
    lio.open(&plan()).unwrap();
    let changes = lio.fake().changes();
    let order = ["attrib/demo_mode_discovery 0", "np/", "tpgt_1/enable 1"];
    let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
    assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
}

#[test]
fn one_client_is_shut_out_and_the_others_keep_what_they_have() {
    let (lio, _state) = lio(STEP_LIMIT);
    let mut plan = plan();
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
fn a_volume_that_is_renamed_stays_open_as_it_is() {
    let (lio, _state) = lio(STEP_LIMIT);
    let mut plan = plan();
    lio.open(&plan).unwrap();
    lio.fake().forget();
    plan.luns[1].volume = "renamed".to_owned();
    assert_eq!(lio.open(&plan), Ok(Step::Already));
    assert_eq!(lio.fake().changes(), [] as [&str; 0]);
    lio.close(&plan).unwrap();
}

#[test]
fn a_volume_that_takes_no_writes_is_a_lun_that_takes_none() {
    let config = Config::parse(CONFIG).unwrap();
    let pool = config.pool("tank").unwrap();
    let mut volumes = volumes();
    volumes[1].is_writable = false;
    let plan = ExportPlan::all(&config, pool, &volumes).unwrap().remove(0);
    let (lio, _state) = lio(STEP_LIMIT);
    assert_eq!(lio.open(&plan), Ok(Step::Changed));
    let changes = lio.fake().changes();
    let at = |end: &str| changes.iter().position(|change| change.ends_with(end));
    let backstore = "tank.0123456789abcdef";
    // LIO opens the device as it is switched on.
    let told = at(&format!("{backstore}/control readonly=1")).unwrap();
    assert!(told < at(&format!("{backstore}/enable 1")).unwrap());
    assert_eq!(at(&format!("{backstore}/attrib/emulate_tpu 1")), None);
    let read_only = changes.iter().filter(|change| change.contains("readonly"));
    assert_eq!(read_only.count(), 1);
    assert_eq!(lio.open(&plan), Ok(Step::Already));
}

#[test]
fn export_is_built_in_the_order_that_lio_needs() {
    let (lio, state) = lio(STEP_LIMIT);
    assert_eq!(lio.open(&plan()), Ok(Step::Changed));
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
fn luns_are_called_what_the_configuration_calls_them() {
    let text = CONFIG.replace(
        "[pool.iscsi]\n",
        "[pool.iscsi]\nvendor = \"A&B Inc.\"\nproduct = \"Store 16\"\n",
    );
    let config = Config::parse(&text).unwrap();
    let pool = config.pool("tank").unwrap();
    let named = ExportPlan::all(&config, pool, &volumes())
        .unwrap()
        .remove(0);
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&named).unwrap();
    let changes = lio.fake().changes();
    for end in ["wwn/vendor_id A&B Inc.", "wwn/product_id Store 16"] {
        let written = changes.iter().filter(|change| change.ends_with(end));
        assert_eq!(written.count(), 2, "{end} in {changes:#?}");
    }
    assert_eq!(lio.open(&named), Ok(Step::Already));
    let ours = plan();
    assert_eq!(
        (ours.vendor.as_str(), ours.product.as_str()),
        ("ORTHRUS", "VOLUME")
    );
    lio.close(&named).unwrap();
}

#[test]
fn a_lun_has_the_blocks_that_the_configuration_says_and_is_withheld_where_its_volume_has_larger_ones()
 {
    let planned = |block_size: u32, own: Option<u32>| {
        let text = CONFIG.replace(
            "lun = 1\n",
            &format!("lun = 1\nblock_size = {block_size}\n"),
        );
        let config = Config::parse(&text).unwrap();
        let pool = config.pool("tank").unwrap();
        let mut volumes = volumes();
        volumes[0].logical_block = own;
        ExportPlan::all(&config, pool, &volumes).unwrap().remove(0)
    };
    for (block_size, own) in [(512, 512), (4096, 512), (4096, 4096)] {
        let plan = planned(block_size, Some(own));
        assert_eq!(plan.withheld, [] as [&str; 0]);
        let (lio, _state) = lio(STEP_LIMIT);
        lio.open(&plan).unwrap();
        let changes = lio.fake().changes();
        let is_written = changes
            .iter()
            .any(|change| change.contains("/attrib/block_size "));
        assert_eq!(is_written, block_size != 512, "what it has already is left");
        if is_written {
            let backstore = format!("tank.{}", plan.luns[1].serial);
            let order = [
                format!("{backstore}/enable 1"),
                format!("{backstore}/attrib/block_size {block_size}"),
                "lun/lun_1/volume".to_owned(),
            ];
            let positions: Vec<usize> = order.iter().map(|part| position(&changes, part)).collect();
            assert!(positions.is_sorted(), "{positions:?} {changes:#?}");
        }
        assert_eq!(lio.open(&plan), Ok(Step::Already));
        lio.close(&plan).unwrap();
    }
    for (own, why) in [
        (
            Some(4096),
            "block_size = 512, and a block of volume vol1 has 4096 bytes; allowed: no block_size, or 4096",
        ),
        (
            None,
            "block_size = 512, and how large a block of volume vol1 is cannot be read",
        ),
    ] {
        let plan = planned(512, own);
        assert_eq!(
            plan.withheld,
            [format!(
                "LUN 1 of iqn.2026-01.org.orthrus:tank is not offered: {why}"
            )]
        );
        let offered: Vec<u32> = plan.luns.iter().map(|lun| lun.lun).collect();
        assert_eq!(offered, [0]);
    }
    // Without a word of it nobody asks for the size.
    assert_eq!(plan().luns[1].block_size, None);
}

#[test]
fn opening_and_closing_again_changes_nothing() {
    let (lio, _state) = lio(STEP_LIMIT);
    assert_eq!(lio.close(&plan()), Ok(Step::Already));
    assert_eq!(lio.open(&plan()), Ok(Step::Changed));
    lio.fake().forget();
    assert_eq!(lio.open(&plan()), Ok(Step::Already));
    assert!(lio.fake().changes().is_empty());
    assert_eq!(lio.close(&plan()), Ok(Step::Changed));
    assert!(lio.fake().left().is_empty(), "{:#?}", lio.fake().left());
    assert_eq!(lio.close(&plan()), Ok(Step::Already));
}

#[test]
fn close_is_the_exact_reverse() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&plan()).unwrap();
    let made: Vec<String> = lio.fake().changes()[2..]
        .iter()
        .filter(|change| !change.starts_with("write"))
        .map(|change| change.split(' ').nth(1).unwrap().to_owned())
        .collect();
    lio.fake().forget();
    lio.close(&plan()).unwrap();
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
    whole.open(&plan()).unwrap();
    let steps = whole.fake().changes().len();
    for step in 0..steps {
        let (lio, _state) = lio(STEP_LIMIT);
        lio.fake().fail_at(step, Errno::IO);
        let error = lio.open(&plan()).unwrap_err();
        assert_eq!(error.cause, Cause::Kernel(Errno::IO), "step {step}");
        lio.close(&plan()).unwrap();
        assert!(lio.fake().left().is_empty(), "step {step}");
        assert_eq!(lio.open(&plan()), Ok(Step::Changed), "step {step}");
        lio.close(&plan()).unwrap();
        assert!(lio.fake().left().is_empty(), "step {step}");
    }
}

#[test]
fn close_frees_what_it_can_and_reports_the_first_failure() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&plan()).unwrap();
    lio.fake().fail_at(1, Errno::BUSY);
    let error = lio.close(&plan()).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("/lun_1/volume: unlink: "), "{shown}");
    assert_eq!(error.cause, Cause::Kernel(Errno::BUSY));
    let left = lio.fake().left();
    assert!(
        !left.iter().any(|path| path.contains("np/10.77.0.10")),
        "{left:#?}"
    );
    assert_eq!(lio.close(&plan()), Ok(Step::Changed));
    assert!(lio.fake().left().is_empty());
}

#[test]
fn something_else_in_the_way_is_an_error_and_not_taken_over() {
    let (lio, _state) = lio(STEP_LIMIT);
    lio.open(&plan()).unwrap();
    let mut other = plan();
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
    lio.open(&plan()).unwrap();
    lio.fake().forget();
    // The first step of all.
    lio.fake().hang_on("enable 0");
    let limit = Duration::from_millis(200);
    lio.limit(limit);
    let error = lio.close(&plan()).unwrap_err();
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

#[test]
fn clients_reservations_come_back_before_a_lun_does_and_only_once() {
    let (lio, state) = lio(STEP_LIMIT);
    let directory = TempDir::new().unwrap();
    let pool = directory.path();
    let mut plan = plan();
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
    let mut plan = plan();
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
    plan.unknown_clients = None;
    assert_eq!(restored(&mut plan), clients[..1]);
    assert_eq!(plan.luns[1].unrestored, None);
}

#[test]
fn what_was_kept_in_memory_goes_to_the_pool_when_there_is_a_place_for_it() {
    let (lio, state) = lio(STEP_LIMIT);
    let directory = TempDir::new().unwrap();
    let pool = directory.path();
    let mut plan = plan();
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
    let mut plan = plan();
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
