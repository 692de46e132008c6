//! Which devices go when one volume goes.

use super::made::{Made, VISIBLE};
use crate::volume::plan::{Choice, Plan};

#[test]
fn what_is_only_for_one_volume_is_it_with_its_parts_from_the_top() {
    let group = Made::on(3)
        .raid("r", "raid1", &[0, 1])
        .simple("v", 2)
        .group();
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    let only = |name: &str| -> Vec<String> {
        let lv = group.lvs.iter().position(|lv| lv.name == name).unwrap();
        let devices = plan.only_for(lv).into_iter();
        devices.map(|device| device.name.clone()).collect()
    };
    assert_eq!(only("v"), ["tank-v"]);
    let mut raid = only("r");
    assert_eq!(raid.remove(0), "tank-r");
    raid.sort();
    let parts = [
        "tank-r_rimage_0",
        "tank-r_rimage_1",
        "tank-r_rmeta_0",
        "tank-r_rmeta_1",
    ];
    assert_eq!(raid, parts);
}

#[test]
fn what_others_stand_on_is_not_only_for_one_volume() {
    let thin = |name: &str, id: u32| {
        let segment =
            format!("type = \"thin\"\nthin_pool = \"p\"\ntransaction_id = 0\ndevice_id = {id}");
        (name.to_owned(), segment)
    };
    let mut made = Made::on(2)
        .part("p_tdata", 0, 4)
        .part("p_tmeta", 1, 1)
        .volume(
            "p",
            VISIBLE,
            4,
            "type = \"thin-pool\"\nmetadata = \"p_tmeta\"\npool = \"p_tdata\"\ntransaction_id = 2\n\
             chunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1",
        );
    for (name, segment) in [thin("one", 1), thin("two", 2)] {
        made = made.volume(&name, VISIBLE, 4, &segment);
    }
    let group = made.group();
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    let lv = group.lvs.iter().position(|lv| lv.name == "one").unwrap();
    let only: Vec<_> = plan
        .only_for(lv)
        .into_iter()
        .map(|d| d.name.as_str())
        .collect();
    assert_eq!(only, ["tank-one"]);
}

#[test]
fn of_an_origin_what_its_snapshots_stand_on_stays() {
    let tie = "type = \"snapshot\"\nchunk_size = 8\norigin = \"v\"\ncow_store = \"s\"";
    let group = Made::on(1)
        .simple("v", 0)
        .part("s", 0, 1)
        .volume("snapshot0", VISIBLE, 4, tie)
        .group();
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    for (name, goes) in [("v", &["tank-v"][..]), ("s", &["tank-s", "tank-s-cow"])] {
        let lv = group.lvs.iter().position(|lv| lv.name == name).unwrap();
        let only = plan.only_for(lv).into_iter();
        assert_eq!(only.map(|one| one.name.as_str()).collect::<Vec<_>>(), goes);
    }
}
