//! Tests only: a group with every kind of volume, written by hand as lvm2 writes it (the `text_export` functions), and
//! the tables that its `add_target_line` functions make of it. What the fixtures show of real lvm2 is beside it; this
//! one has the settings that nobody makes by default.

use super::made::{HIDDEN, Made, VISIBLE};
use crate::volume::group::{Discards, SegmentKind};
use crate::volume::plan::{Backing, Choice, Device, Plan, Purpose};
use crate::volume::{Refusal, VolumeGroup};

/// All kinds on six disks.
pub fn museum() -> Made {
    let read_only = "\"READ\", \"VISIBLE\"";
    Made::on(6)
        .simple("plain", 0)
        .volume("nothing", VISIBLE, 2, "type = \"error\"")
        .volume("zeros", VISIBLE, 2, "type = \"zero\"")
        .raid_with(
            "fast", VISIBLE, "raid1", &[0, 1],
            "writebehind = 256\nmin_recovery_rate = 100\nmax_recovery_rate = 2000\n",
        )
        .raid("pairs", "raid10", &[0, 1, 2, 3])
        .raid("parity", "raid6", &[0, 1, 2, 3, 4])
        .raid_with("room", VISIBLE, "raid5", &[0, 1, 2], "data_offset = 0\nreshape_count = 1\n")
        .part("stripes_rimage_0", 4, 4)
        .part("stripes_rimage_1", 5, 4)
        .volume(
            "stripes", VISIBLE, 8,
            "type = \"raid0\"\nstripe_count = 2\nstripe_size = 128\nraid0_lvs = [\"stripes_rimage_0\", \"stripes_rimage_1\"]",
        )
        .part("old_mimage_0", 0, 4)
        .part("old_mimage_1", 1, 4)
        .part("old_mlog", 2, 1)
        .volume(
            "old", VISIBLE, 4,
            "type = \"mirror\"\nmirror_count = 2\nmirror_log = \"old_mlog\"\nregion_size = 1024\n\
             mirrors = [\"old_mimage_0\", 0, \"old_mimage_1\", 0]",
        )
        // Classic snapshots, one of them read-only.
        .simple("origin", 0)
        .part("snap", 1, 2)
        .linear("snap-ro", read_only, 1, 2)
        .volume("snapshot0", VISIBLE, 4, "type = \"snapshot\"\nchunk_size = 8\norigin = \"origin\"\ncow_store = \"snap\"")
        .volume("snapshot1", VISIBLE, 4, "type = \"snapshot\"\nchunk_size = 16\norigin = \"origin\"\ncow_store = \"snap-ro\"")
        // A sparse volume.
        .volume("sparse_vorigin", HIDDEN, 100, "type = \"zero\"")
        .part("sparse", 2, 2)
        .volume("snapshot2", VISIBLE, 100, "type = \"snapshot\"\nchunk_size = 8\norigin = \"sparse_vorigin\"\ncow_store = \"sparse\"")
        // A pool on RAID, with a thin volume, its snapshot that is skipped, and one from an external origin.
        .raid_with("pool_tdata", HIDDEN, "raid1", &[2, 3], "")
        .part("pool_tmeta", 4, 1)
        .volume(
            "pool", VISIBLE, 4,
            "type = \"thin-pool\"\nmetadata = \"pool_tmeta\"\npool = \"pool_tdata\"\ntransaction_id = 3\nchunk_size = 128\n\
             discards = \"nopassdown\"\nzero_new_blocks = 0\nmessage1 {\ncreate = \"thinsnap\"\n}\nmessage2 {\ndelete = 9\n}",
        )
        .volume("thin", VISIBLE, 50, "type = \"thin\"\nthin_pool = \"pool\"\ntransaction_id = 0\ndevice_id = 1")
        .volume(
            "thinsnap", VISIBLE, 50,
            "type = \"thin\"\nthin_pool = \"pool\"\ntransaction_id = 1\ndevice_id = 2\norigin = \"thin\"",
        )
        .simple("golden", 5)
        .volume(
            "clone", VISIBLE, 4,
            "type = \"thin\"\nthin_pool = \"pool\"\ntransaction_id = 2\ndevice_id = 3\nexternal_origin = \"golden\"",
        )
        .part("fresh_tdata", 5, 2)
        .part("fresh_tmeta", 5, 1)
        .volume(
            "fresh", VISIBLE, 2,
            "type = \"thin-pool\"\nmetadata = \"fresh_tmeta\"\npool = \"fresh_tdata\"\ntransaction_id = 0\nchunk_size = 256\n\
             discards = \"passdown\"\nzero_new_blocks = 1",
        )
        // Caches, on a pool and on a volume.
        .part("cached_corig", 3, 4)
        .part("cpool_cdata", 4, 2)
        .part("cpool_cmeta", 4, 1)
        .volume(
            "cpool", HIDDEN, 2,
            "type = \"cache-pool+METADATA_FORMAT\"\ndata = \"cpool_cdata\"\nmetadata = \"cpool_cmeta\"\nmetadata_format = 2\n\
             chunk_size = 128\ncache_mode = \"writeback\"\npolicy = \"smq\"\npolicy_settings {\nmigration_threshold = 4096\n\
             random_threshold = 4\n}",
        )
        .volume("cachedvol", VISIBLE, 4, "type = \"cache\"\ncache_pool = \"cpool\"\norigin = \"cached_corig\"")
        .part("quick_corig2", 3, 4)
        .part("quick_cvol", 4, 3)
        .volume(
            "quick", VISIBLE, 4,
            "type = \"cache+CACHE_USES_CACHEVOL\"\ncache_pool = \"quick_cvol\"\norigin = \"quick_corig2\"\nchunk_size = 512\n\
             cache_mode = \"writethrough\"\npolicy = \"mq\"\npolicy_settings {\nrandom_threshold = 4\n}\n\
             metadata_start = 0\nmetadata_len = 8192\ndata_start = 8192\ndata_len = 16384",
        )
        .part("wc_wcorig", 3, 4)
        .part("wc_cvol", 4, 1)
        .volume(
            "wc", VISIBLE, 4,
            "type = \"writecache\"\norigin = \"wc_wcorig\"\nwritecache = \"wc_cvol\"\nwritecache_block_size = 4096\n\
             high_watermark = 60\nfua = 1\ncleaner = 1\nmax_age = 5000",
        )
        // Checksums.
        .part("sum_rimage_0_iorig", 0, 4)
        .part("sum_rimage_0_imeta", 0, 1)
        .volume("sum_rimage_0", HIDDEN, 4, &integrity("sum_rimage_0"))
        .part("sum_rimage_1_iorig", 1, 4)
        .part("sum_rimage_1_imeta", 1, 1)
        .volume("sum_rimage_1", HIDDEN, 4, &integrity("sum_rimage_1"))
        .part("sum_rmeta_0", 0, 1)
        .part("sum_rmeta_1", 1, 1)
        .volume(
            "sum", VISIBLE, 4,
            "type = \"raid1\"\ndevice_count = 2\nregion_size = 4096\n\
             raids = [\"sum_rmeta_0\", \"sum_rimage_0\", \"sum_rmeta_1\", \"sum_rimage_1\"]",
        )
        // Deduplication.
        .part("vpool_vdata", 5, 500)
        .volume(
            "vpool", VISIBLE, 500,
            "type = \"vdo-pool\"\ndata = \"vpool_vdata\"\nheader_size = 1024\nvirtual_extents = 600\nuse_compression = 1\n\
             use_deduplication = 1\nuse_metadata_hints = 1\nminimum_io_size = 4096\nblock_map_cache_size_mb = 128\n\
             block_map_era_length = 16380\nuse_sparse_index = 0\nindex_memory_size_mb = 256\nmax_discard = 1\n\
             slab_size_mb = 128\nack_threads = 1\nbio_threads = 4\nbio_rotation = 64\ncpu_threads = 2\n\
             hash_zone_threads = 1\nlogical_threads = 1\nphysical_threads = 1\nwrite_policy = \"auto\"",
        )
        .volume("dedup", VISIBLE, 600, "type = \"vdo\"\nvdo_pool = \"vpool\"\nvdo_offset = 0")
}

fn integrity(name: &str) -> String {
    format!(
        "type = \"integrity\"\norigin = \"{name}_iorig\"\ndata_sectors = 32768\nmode = \"J\"\ntag_size = 4\n\
         block_size = 512\ninternal_hash = \"crc32c\"\nmeta_dev = \"{name}_imeta\""
    )
}

fn shown(group: &VolumeGroup, choice: &Choice) -> String {
    let plan = Plan::new(group, choice).unwrap();
    plan.show(&|(major, minor)| format!("{major}:{minor}"))
}

#[test]
fn every_kind_has_the_table_that_lvm2_gives_it() {
    let group = museum().group();
    assert_eq!(group.refusal("lab"), None);
    let expected = include_str!("museum.txt");
    let ours = shown(&group, &Choice::default());
    if ours != expected {
        for (line, (one, other)) in ours.lines().zip(expected.lines()).enumerate() {
            assert_eq!(one, other, "line {}", line + 1);
        }
        panic!("{ours}");
    }
}

fn device<'a>(plan: &'a Plan, name: &str) -> &'a Device {
    plan.devices
        .iter()
        .find(|device| device.name == name)
        .unwrap()
}

#[test]
fn uuids_have_the_suffix_that_lvm2_gives_to_parts_and_layers() {
    let plan = Plan::new(&museum().group(), &Choice::default()).unwrap();
    for (name, suffix) in [
        ("tank-plain", None),
        ("tank-fast_rimage_0", None),
        ("tank-fast_rmeta_1", None),
        ("tank-old_mimage_0", None),
        ("tank-old_mlog", None),
        ("tank-origin", None),
        ("tank-origin-real", Some("real")),
        ("tank-snap", None),
        ("tank-snap-cow", Some("cow")),
        ("tank-pool", Some("pool")),
        ("tank-pool-tpool", Some("tpool")),
        ("tank-pool_tdata", Some("tdata")),
        ("tank-pool_tdata_rimage_0", None),
        ("tank-pool_tmeta", Some("tmeta")),
        ("tank-fresh", Some("tpool")),
        ("tank-golden-real", Some("real")),
        ("tank-cached_corig", Some("real")),
        ("tank-cpool_cdata", Some("cdata")),
        ("tank-cpool_cmeta", Some("cmeta")),
        ("tank-quick_cvol", Some("cvol")),
        ("tank-quick_cvol-cdata", Some("cdata")),
        ("tank-quick_cvol-cmeta", Some("cmeta")),
        ("tank-wc_wcorig", Some("real")),
        ("tank-wc_cvol", Some("cvol")),
        ("tank-sum_rimage_0_iorig", None),
        ("tank-sum_rimage_0_imeta", None),
        ("tank-vpool-vpool", Some("vpool")),
        ("tank-vpool_vdata", Some("vdata")),
        ("tank-dedup", None),
    ] {
        let uuid = &device(&plan, name).uuid;
        let found = uuid
            .split_once('-')
            .and_then(|(_, rest)| rest.split_once('-'));
        assert_eq!(found.map(|(_, suffix)| suffix), suffix, "{name} {uuid}");
    }
}

#[test]
fn only_what_must_not_be_written_is_read_only() {
    let plan = Plan::new(&museum().group(), &Choice::default()).unwrap();
    let read_only = plan.devices.iter().filter(|device| device.is_read_only);
    let mut names: Vec<&str> = read_only.map(|device| device.name.as_str()).collect();
    names.sort();
    // A read-only snapshot's copies are written all the same.
    let expected = [
        "tank-golden",
        "tank-golden-real",
        "tank-pool",
        "tank-snap--ro",
    ];
    assert_eq!(names, expected);
}

#[test]
fn everything_comes_after_what_it_stands_on_and_origins_after_their_snapshots() {
    let plan = Plan::new(&museum().group(), &Choice::default()).unwrap();
    for (place, device) in plan.devices.iter().enumerate() {
        device.table(&|backing| {
            assert!(!matches!(backing, Backing::Device(below) if below >= place));
            String::new()
        });
    }
    let place = |name| plan.devices.iter().position(|device| device.name == name);
    for snapshot in ["tank-snap", "tank-snap--ro"] {
        assert!(place(snapshot) < place("tank-origin"));
    }
    assert!(place("tank-sparse") < place("tank-sparse_vorigin"));
    let volumes = plan.devices.iter().filter(|d| d.purpose == Purpose::Volume);
    let volumes: Vec<&str> = volumes.map(|device| device.name.as_str()).collect();
    assert!(volumes.contains(&"tank-sparse") && volumes.contains(&"tank-thin"));
    assert!(
        !volumes
            .iter()
            .any(|name| name.contains("pool") || name.contains("_vorigin"))
    );
}

#[test]
fn a_pool_that_is_one_change_behind_is_told_what_the_metadata_know() {
    let plan = Plan::new(&museum().group(), &Choice::default()).unwrap();
    let check = device(&plan, "tank-pool-tpool").check.clone().unwrap();
    assert_eq!(check.transaction_id, 3);
    let texts: Vec<&str> = check.messages.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(texts, ["create_snap 2 1", "delete 9"]);
    // What is copied must hold still; who is deleted is not there any more.
    let held: Vec<bool> = check.messages.iter().map(|m| m.origin.is_some()).collect();
    assert_eq!(held, [true, false]);
    assert!(device(&plan, "tank-pool").check.is_none());
}

#[test]
fn thin_volumes_give_space_back_unless_their_pool_ignores_it() {
    let mut group = museum().group();
    let giving = |group: &VolumeGroup| {
        let lvs = group.lvs.iter().enumerate();
        lvs.filter(|&(index, _)| group.gives_space_back(index))
            .map(|(_, lv)| lv.name.clone())
            .collect::<Vec<_>>()
    };
    let all = giving(&group);
    assert!(all.contains(&"thin".to_owned()) && all.contains(&"thinsnap".to_owned()));
    assert!(
        all.iter()
            .all(|name| !["pool", "plain", "pool_tdata", "golden"].contains(&name.as_str()))
    );
    for lv in &mut group.lvs {
        for segment in &mut lv.segments {
            if let SegmentKind::ThinPool(pool) = &mut segment.kind {
                pool.discards = Discards::Ignore;
            }
        }
    }
    assert_eq!(giving(&group), [""; 0]);
}

#[test]
fn all_modules_are_asked_for() {
    let modules: Vec<_> = museum().group().modules().into_iter().collect();
    assert_eq!(
        modules,
        [
            "crc32c_generic",
            "dm_cache",
            "dm_cache_smq",
            "dm_integrity",
            "dm_mirror",
            "dm_raid",
            "dm_snapshot",
            "dm_thin_pool",
            "dm_vdo",
            "dm_writecache",
            "dm_zero",
            "raid0",
            "raid1",
            "raid10",
            "raid456",
        ]
    );
    assert!(Made::on(1).simple("plain", 0).group().modules().is_empty());
}

fn refused(made: &Made) -> String {
    let refusal = made.group().refusal("lab");
    refusal.expect("it is not refused").to_string()
}

#[test]
fn work_under_way_is_refused_with_the_way_out() {
    let flagged = |word: &str| format!("\"READ\", \"WRITE\", \"VISIBLE\", \"{word}\"");
    let pvmove = refused(&Made::on(1).linear("v", &flagged("PVMOVE"), 0, 1));
    assert!(
        pvmove.contains("volume v") && pvmove.contains("pvmove --abort"),
        "{pvmove}"
    );
    let locked = refused(&Made::on(1).linear("v", &flagged("LOCKED"), 0, 1));
    assert!(locked.contains("lvconvert"), "{locked}");
    let unknown = refused(&Made::on(1).linear("v", &flagged("FROBNICATED"), 0, 1));
    assert!(
        unknown.contains("FROBNICATED") && unknown.contains("lvm2"),
        "{unknown}"
    );
    let merging = |store: &str| {
        format!("type = \"snapshot\"\nchunk_size = 8\norigin = \"v\"\nmerging_store = \"{store}\"")
    };
    let of = |status: &str| {
        let made = Made::on(1).linear("v", status, 0, 4).part("s", 0, 1);
        made.volume("snapshot0", HIDDEN, 4, &merging("s"))
    };
    assert_eq!(of(VISIBLE).group().refusal("lab"), None);
    let twice = of(VISIBLE)
        .part("t", 0, 1)
        .volume("snapshot1", HIDDEN, 4, &merging("t"));
    let read_only = of("\"READ\", \"VISIBLE\"");
    let sparse = of(HIDDEN);
    for made in [twice, read_only, sparse] {
        assert!(refused(&made).contains("merge is over"));
    }
    let mut lost = of(VISIBLE).group();
    for lv in &mut lost.lvs {
        lv.is_lost = lv.name == "s";
    }
    let why = lost.refusal("lab").map(|refusal| refusal.to_string());
    assert!(why.is_some_and(|why| why.contains("merge is over")));
    let thin = "type = \"thin\"\nthin_pool = \"fresh\"\ntransaction_id = 0\ndevice_id = 1\nmerge = \"plain\"";
    let made = museum().volume("merging", VISIBLE, 4, thin);
    assert!(refused(&made).contains("merge is over"));
    for (kind, says) in [
        ("raid5_ls+RESHAPE", "reshape is over"),
        ("raid5_ls+RESHAPE_DELTA_DISKS_PLUS", "reshape is over"),
        ("striped+SOMETHING", "striped+SOMETHING"),
        ("raid7", "raid7"),
    ] {
        let made = Made::on(1).volume("v", VISIBLE, 1, &format!("type = \"{kind}\""));
        assert!(refused(&made).contains(says), "{kind}");
    }
    let mut moving = Made::on(1).simple("v", 0).group();
    moving.status.push("PVMOVE".to_owned());
    assert_eq!(moving.refusal("lab"), Some(Refusal::Moving));
}

#[test]
fn what_nobody_uses_is_no_reason_to_refuse_the_rest() {
    let made = Made::on(1)
        .simple("v", 0)
        .volume("w", HIDDEN, 1, "type = \"raid7\"");
    assert_eq!(made.group().refusal("lab"), None);
}

#[test]
fn volumes_that_are_to_be_skipped_are_skipped_unless_asked_for() {
    let skip = format!("{VISIBLE}, \"ACTIVATION_SKIP\"");
    let group = Made::on(1).linear("v", &skip, 0, 1).simple("w", 0).group();
    let count = |choice: &Choice| Plan::new(&group, choice).unwrap().devices.len();
    assert_eq!(count(&Choice::default()), 1);
    let skipped = true;
    assert_eq!(
        count(&Choice {
            skipped,
            ..Choice::default()
        }),
        2
    );
}

#[test]
fn nonsense_between_volumes_is_an_error() {
    let linear =
        |on: &str| format!("type = \"striped\"\nstripe_count = 1\nstripes = [\"{on}\", 0]");
    let error = |made: &Made| VolumeGroup::parse(&made.text()).unwrap_err().to_string();
    let itself = Made::on(1).volume("v", VISIBLE, 1, &linear("v"));
    assert!(error(&itself).contains("part of itself"));
    let ring =
        Made::on(1)
            .volume("v", VISIBLE, 1, &linear("w"))
            .volume("w", VISIBLE, 1, &linear("v"));
    assert!(error(&ring).contains("part of itself"));
    let overlap =
        Made::on(1)
            .volume("v", VISIBLE, 2, &linear("pv0"))
            .volume("w", VISIBLE, 2, &linear("pv0"));
    assert!(error(&overlap).contains("extents of another volume"));
    let beyond = Made::on(1).volume("v", VISIBLE, 1001, &linear("pv0"));
    assert!(error(&beyond).contains("beyond"));
    let twice = Made::on(2).raid("v", "raid1", &[0, 1]).volume(
        "w",
        VISIBLE,
        4,
        "type = \"raid1\"\ndevice_count = 1\nregion_size = 1\nraids = [\"v_rimage_0\"]",
    );
    assert!(error(&twice).contains("part of two"));
    let mut tower = Made::on(1).simple("v0", 0);
    for level in 1..40 {
        tower = tower.volume(
            &format!("v{level}"),
            VISIBLE,
            4,
            &linear(&format!("v{}", level - 1)),
        );
    }
    assert!(error(&tower).contains("stacked too high"));
}

#[test]
fn a_thin_volume_whose_pool_is_none_is_an_error() {
    let thin = "type = \"thin\"\nthin_pool = \"v\"\ntransaction_id = 0\ndevice_id = 1";
    let group = Made::on(1)
        .simple("v", 0)
        .volume("t", VISIBLE, 1, thin)
        .group();
    let error = Plan::new(&group, &Choice::default()).unwrap_err();
    let why = error.to_string();
    assert!(why.starts_with("volume t: v is no thin pool"), "{why}");
}

#[test]
fn stretches_that_go_on_in_one_another_are_one() {
    let text = Made::on(1).simple("v", 0).text();
    let one = "segment_count = 1\nsegment1 {\nstart_extent = 0\nextent_count = 4\ntype = \"striped\"\n\
               stripe_count = 1\nstripes = [\"pv0\", 0]\n}";
    let two = "segment_count = 2\nsegment1 {\nstart_extent = 0\nextent_count = 3\ntype = \"striped\"\n\
               stripe_count = 1\nstripes = [\"pv0\", 0]\n}\nsegment2 {\nstart_extent = 3\nextent_count = 1\n\
               type = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", 3]\n}";
    assert!(text.contains(one));
    assert_eq!(
        VolumeGroup::parse(&text.replace(one, two)).unwrap(),
        VolumeGroup::parse(&text).unwrap()
    );
}

/// A thousand thin volumes and a thousand linear ones on a hundred disks: no device is looked at for each other one.
#[test]
fn large_groups_are_planned_in_as_many_steps_as_they_have_devices() {
    let mut made = museum_pool();
    for number in 0..1000 {
        let thin = format!(
            "type = \"thin\"\nthin_pool = \"p\"\ntransaction_id = {number}\ndevice_id = {number}"
        );
        made = made.volume(&format!("t{number}"), VISIBLE, 10, &thin);
        made = made.simple(&format!("l{number}"), number % 100);
    }
    let group = made.group();
    assert_eq!(group.refusal("lab"), None);
    let plan = Plan::new(&group, &Choice::serving()).unwrap();
    assert_eq!(plan.devices.len(), 2000 + 4);
}

fn museum_pool() -> Made {
    Made::on(100).part("p_tdata", 0, 100).part("p_tmeta", 0, 1).volume(
        "p", VISIBLE, 100,
        "type = \"thin-pool\"\nmetadata = \"p_tmeta\"\npool = \"p_tdata\"\ntransaction_id = 1000\nchunk_size = 128",
    )
}
