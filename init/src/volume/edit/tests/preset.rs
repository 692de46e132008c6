//! How volumes lie when nobody says it.

use super::super::preset::RAID_TAG;
use super::*;

fn create(name: &str, layout: Option<Layout>) -> VolumeOrder {
    VolumeOrder::Create {
        name: name.to_owned(),
        bytes: 4 << 20,
        layout,
        filesystem: None,
    }
}

fn kind(metadata: &Metadata, volume: &str) -> String {
    let mut volumes = metadata.volumes();
    let (_, section) = volumes.find(|(name, _)| *name == volume).unwrap();
    tree::kind(section).unwrap().to_owned()
}

fn images(metadata: &Metadata, volume: &str) -> usize {
    let begin = format!("{volume}_rimage_");
    let volumes = metadata.volumes();
    volumes.filter(|(name, _)| name.starts_with(&begin)).count()
}

fn with(layout: Layout, members: u64) -> Result<Metadata, EditError> {
    edited(group(members), |edit| {
        edit.create_reserved(Layout::Raid(Raid::Raid1, 2))?;
        edit.set_default(layout)
    })
}

#[test]
fn where_there_is_no_room_for_the_default_it_is_named_with_the_way_out() {
    let pool = with(Layout::Raid(Raid::Raid6, 6), 6).unwrap();
    let refused = |layout: Option<Layout>| {
        let order = VolumeOrder::Create {
            name: "data".to_owned(),
            bytes: 1 << 50,
            layout,
            filesystem: None,
        };
        let error = edited(pool.clone(), |edit| order.apply(edit)).unwrap_err();
        error.to_string()
    };
    let says = |text: String| text.contains("is the pool's default") && text.contains("--raid");
    assert!(says(refused(None)), "{}", refused(None));
    assert!(!says(refused(Some(Layout::Raid(Raid::Raid6, 6)))));
}

#[test]
fn a_volume_of_which_nothing_is_said_lies_as_its_pool_has_it() {
    let pool = with(Layout::Raid(Raid::Raid6, 6), 7).unwrap();
    check(&pool);
    assert_eq!(pool.tags().collect::<Vec<_>>(), ["orthrus.raid=raid6:6"]);
    // What the firmware has of its own is made as in any pool.
    assert_eq!(kind(&pool, "orthrus_state"), "raid1");
    let made = edited(pool, |edit| {
        create("data", None).apply(edit)?;
        create("scratch", Some(Layout::Linear)).apply(edit)?;
        create("mirror", Some(Layout::Raid(Raid::Raid1, 2))).apply(edit)?;
        let order = VolumeOrder::CreatePool {
            name: "tp".to_owned(),
            bytes: 4 << 20,
            layout: None,
        };
        order.apply(edit)
    })
    .unwrap();
    check(&made);
    assert_eq!(kind(&made, "data"), "raid6_zr");
    assert_eq!(images(&made, "data"), 6);
    assert_eq!(kind(&made, "scratch"), "striped");
    assert_eq!(kind(&made, "mirror"), "raid1");
    assert_eq!(kind(&made, "tp_tdata"), "raid6_zr");
    // What the pool is nothing without outlives the loss of as many disks.
    assert_eq!(kind(&made, "tp_tmeta"), "raid1");
    assert_eq!(images(&made, "tp_tmeta"), 3);
    // A snapshot is what it is in any pool.
    let with_snapshot = edited(made, |edit| {
        let order = VolumeOrder::Snapshot {
            name: "before".to_owned(),
            origin: "data".to_owned(),
            bytes: Some(4 << 20),
        };
        order.apply(edit)
    })
    .unwrap();
    check(&with_snapshot);
    assert_eq!(kind(&with_snapshot, "before"), "striped");
    let plain = edited(group(2), |edit| create("data", None).apply(edit)).unwrap();
    assert_eq!(kind(&plain, "data"), "striped");
}

#[test]
fn a_level_for_which_disks_are_lacking_is_refused_with_their_number() {
    let why = with(Layout::Raid(Raid::Raid6, 5), 4).unwrap_err();
    let said = "raid6 on 5 disks: 5 disks at least are wanted, and there are 4";
    assert_eq!(why.to_string(), said);
    assert!(with(Layout::Raid(Raid::Raid6, 5), 5).is_ok());
    assert!(with(Layout::Raid(Raid::Raid6, 4), 5).is_err(), "no raid6");
    assert!(with(Layout::Raid(Raid::Raid10, 5), 5).is_err(), "odd");
    assert!(with(Layout::Striped(2), 5).is_err());
    let plain = with(Layout::Linear, 2).unwrap();
    assert_eq!(plain.tags().count(), 0);
}

#[test]
fn a_default_that_is_not_known_makes_no_volume_without_redundancy() {
    for tags in [
        &["orthrus.raid=raid7:9"][..],
        &["orthrus.raid=raid6"],
        &["orthrus.raid="],
        &["orthrus.raid=raid6:4"],
        &["orthrus.raid=raid6:x"],
        &["orthrus.raid=raid5_ls:3"],
        &["orthrus.raid=raid1:2", "mine", "orthrus.raid=raid6:5"],
    ] {
        let mut metadata = group(5);
        let list = tags.iter().map(|tag| tree::text(*tag)).collect();
        let list = text::Value::List(list);
        metadata.body.insert("tags".to_owned(), list);
        let refused = edited(metadata.clone(), |edit| create("data", None).apply(edit));
        assert!(
            matches!(refused, Err(EditError::Default(_))),
            "{tags:?}: {refused:?}"
        );
        let said = Some(Layout::Linear);
        assert!(edited(metadata.clone(), |edit| create("data", said).apply(edit)).is_ok());
        // Another one takes their place, and no other tag's.
        let layout = Layout::Raid(Raid::Raid5, 3);
        let again = edited(metadata, |edit| edit.set_default(layout)).unwrap();
        let others = tags.iter().filter(|tag| !tag.starts_with(RAID_TAG));
        let wanted: Vec<&str> = others.copied().chain(["orthrus.raid=raid5:3"]).collect();
        assert_eq!(again.tags().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn each_default_reads_back_and_has_only_characters_that_lvm2_allows() {
    for level in Raid::ALL {
        for images in [level.fewest(), 64] {
            let layout = Layout::Raid(level, images);
            let metadata = edited(group(64), |edit| edit.set_default(layout)).unwrap();
            let tags: Vec<&str> = metadata.tags().collect();
            assert_eq!(default_layout(tags.iter().copied()), Ok(layout));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+/=!:&#".contains(&byte);
            assert!(tags[0].bytes().all(allowed), "{tags:?}");
        }
    }
}
