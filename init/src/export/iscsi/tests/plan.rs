//! What the configuration and the volumes say of targets and LUNs.

use super::*;

#[test]
fn plan_is_the_configuration_and_the_volumes() {
    let plan = planned();
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
    let ours = planned();
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
    assert_eq!(super::planned().luns[1].block_size, None);
}
