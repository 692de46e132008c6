//! The ledger's copies and the state volume, in a group of ours and of others.

use super::*;

/// Members of the segments of a volume.
fn homes(metadata: &Metadata, name: &str) -> Vec<String> {
    let (_, volume) = metadata.volumes().find(|(one, _)| *one == name).unwrap();
    let homes = tree::segments(volume).flat_map(tree::references);
    homes.map(str::to_owned).collect()
}

fn reserved_of(metadata: &Metadata) -> Vec<&str> {
    let names = metadata.volumes().map(|(name, _)| name);
    let mut names: Vec<&str> = names
        .filter(|name| name.starts_with("orthrus_") && !name.contains("_r"))
        .collect();
    names.sort_unstable();
    names
}

const RESERVED: [&str; 4] = [
    "orthrus_ledger0",
    "orthrus_ledger1",
    "orthrus_ledger2",
    "orthrus_state",
];

#[test]
fn a_group_of_others_gets_what_it_lacks_and_keeps_what_it_has() {
    let theirs = edited(group(4), |edit| {
        edit.create("v", 20, Layout::Raid(Raid::Raid5, 3))
    })
    .unwrap();
    let made = change(theirs.clone(), |edit| edit.complete_reserved(&[], true)).unwrap();
    check(&made.metadata);
    assert_eq!(reserved_of(&made.metadata), RESERVED);
    let copies: BTreeSet<String> = RESERVED[..3]
        .iter()
        .flat_map(|name| homes(&made.metadata, name))
        .collect();
    assert_eq!(copies.len(), 3, "{copies:?}");
    let region = orthrus_hb::ledger::REGION_BYTES as u64;
    let zeroed = made.zeroes.iter().filter(|zero| zero.bytes == region);
    assert_eq!(zeroed.count(), 3, "{:?}", made.zeroes);
    let (_, state) = made
        .metadata
        .volumes()
        .find(|(n, _)| *n == "orthrus_state")
        .unwrap();
    assert_eq!(
        (tree::kind(state), tree::extents(state)),
        (Some("raid1"), 2)
    );
    let again = change(made.metadata.clone(), |edit| {
        edit.complete_reserved(&[], true)
    })
    .unwrap();
    assert_eq!((&again.metadata, again.zeroes.len()), (&made.metadata, 0));
    let undone = edited(made.metadata, |edit| {
        RESERVED.iter().try_for_each(|name| edit.remove(name))
    });
    assert_eq!(undone.unwrap(), theirs);
}

#[test]
fn what_a_full_group_has_no_room_for_is_left_out() {
    // The third member has one extent left, the fourth none.
    let theirs = edited(group(4), |edit| {
        edit.create("a", 29, Layout::Linear)?;
        edit.create("b", 31, Layout::Linear)?;
        edit.create("c", 30, Layout::Linear)?;
        edit.create("d", 31, Layout::Linear)
    })
    .unwrap();
    let made = edited(theirs, |edit| edit.complete_reserved(&[], true)).unwrap();
    check(&made);
    assert_eq!(reserved_of(&made), RESERVED[..2]);
    let full = edited(group(2), |edit| edit.create("a", 62, Layout::Linear)).unwrap();
    let made = edited(full.clone(), |edit| edit.complete_reserved(&[], true));
    assert_eq!(made.unwrap(), full);
}

#[test]
fn a_state_volume_is_a_mirror_but_where_nothing_is() {
    let kind = |members, arrays: &[Uuid], wanted| {
        let made = edited(group(members), |edit| {
            edit.complete_reserved(arrays, wanted)
        })
        .unwrap();
        check(&made);
        let state = made.volumes().find(|(name, _)| *name == "orthrus_state");
        let kind = state.and_then(|(_, state)| tree::kind(state).map(str::to_owned));
        (kind, reserved_of(&made).len(), made)
    };
    let (of_one, volumes, _) = kind(1, &[], true);
    assert_eq!((of_one.as_deref(), volumes), (Some("striped"), 2));
    let (unwanted, volumes, _) = kind(3, &[], false);
    assert_eq!((unwanted, volumes), (None, 3));
    // On an array by itself, and no copy of the ledger there.
    let array = member(1).id;
    let (on_array, volumes, made) = kind(3, &[array], true);
    assert_eq!((on_array.as_deref(), volumes), (Some("striped"), 3));
    let on_it = |name: &str| homes(&made, name) == ["pv1"];
    assert!(on_it("orthrus_state") && !on_it("orthrus_ledger0") && !on_it("orthrus_ledger1"));
}

#[test]
fn a_copy_of_the_ledger_is_in_one_piece_at_a_whole_block() {
    // Extents of 1 KiB, the first of them amid a block, with a hole that is too small in front.
    let id = Uuid::from_compact(&[b'v'; 32]).unwrap();
    let theirs = edited(new_group("tank", id, 8).unwrap(), |edit| {
        edit.add_member(&NewMember {
            data_start: 2050,
            ..member(0)
        })?;
        let body = &mut edit.metadata.body;
        body.insert("extent_size".to_owned(), tree::value(2));
        edit.create("hole", 40, Layout::Linear)?;
        edit.create("v", 1, Layout::Linear)
    })
    .unwrap();
    let theirs = edited(theirs, |edit| edit.remove("hole")).unwrap();
    let made = change(theirs, |edit| edit.complete_reserved(&[], false)).unwrap();
    check(&made.metadata);
    let [region] = &made.zeroes[..] else {
        panic!("{:?}", made.zeroes)
    };
    assert!(region.start % 4096 == 0 && region.bytes == orthrus_hb::ledger::REGION_BYTES as u64);
    let author = Author {
        host: "a".to_owned(),
        time: 1,
        description: "x".to_owned(),
    };
    let text = made.metadata.encode(&author).unwrap();
    let group = VolumeGroup::parse(text.trim_end_matches('\0')).unwrap();
    let [copy] = group
        .lvs
        .iter()
        .filter(|lv| lv.name == RESERVED[0])
        .collect::<Vec<_>>()[..]
    else {
        panic!("no copy")
    };
    assert!(copy.segments.len() == 1 && group.bytes_of(copy) >= region.bytes);
}
