//! Which members count, and what is refused.

use super::superblock::{Features, Role};
use super::*;
use crate::disk::DiskId;

fn fresh(decision: &Decision) -> usize {
    let slots = decision.slots.iter();
    slots.filter(|slot| matches!(slot, Slot::Fresh(_))).count()
}

/// The members of a fixture, changed.
fn changed(name: &str, change: impl Fn(&mut [Member])) -> Array {
    let mut array = array(name);
    change(&mut array.members);
    array
}

#[test]
fn arrays_that_were_stopped_in_order_run_whole() {
    for name in names().iter().filter(|name| name.starts_with("raid")) {
        let array = array(name);
        let decision = array.decide(false).unwrap();
        assert_eq!(fresh(&decision), array.members.len(), "{name}");
        assert!(!decision.is_degraded() && decision.is_clean, "{name}");
        assert!(decision.left_out.is_empty() && !decision.is_dirty_degraded);
        // As mdadm writes it: a host, and the name there.
        assert_eq!(array.name(), format!("any:{name}"));
    }
}

#[test]
fn with_one_member_absent_the_redundant_run_degraded_and_say_who_is_absent() {
    for name in names().iter().filter(|name| name.starts_with("raid")) {
        let count = images(name).len();
        for lost in 0..count {
            let rest: Vec<usize> = (0..count).filter(|index| *index != lost).collect();
            let decided = some_of(name, &rest).decide(false);
            if name.starts_with("raid0") {
                let refusal = decided.unwrap_err();
                assert!(
                    matches!(refusal, Refusal::NotEnough { .. }),
                    "{name}: {refusal}"
                );
                continue;
            }
            let decision = decided.unwrap();
            assert!(decision.is_degraded(), "{name}");
            assert_eq!(decision.absent().count(), 1, "{name}");
        }
    }
}

#[test]
fn the_last_member_of_a_mirror_alone_and_too_few_of_others() {
    let alone = some_of("raid1-12", &[2]).decide(false).unwrap();
    assert_eq!(alone.absent().collect::<Vec<_>>(), [0, 1]);
    // Either of the absent ones could be served by another head.
    assert!(alone.rest_is_enough());
    let refusal = |name: &str, disks: &[usize]| some_of(name, disks).decide(false).unwrap_err();
    for (name, disks) in [
        ("raid5-ls", &[0, 1][..]),
        ("raid6-ls", &[0, 1]),
        ("raid4", &[0]),
        ("raid10-n2", &[0, 1]),
        ("raid10-f2", &[0]),
    ] {
        let refusal = refusal(name, disks);
        assert!(
            matches!(refusal, Refusal::NotEnough { .. }),
            "{name}: {refusal}"
        );
    }
    // Pairs are (0, 1) and (2, 3).
    assert!(some_of("raid10-n2", &[0, 2]).decide(false).is_ok());
    let two_gone = some_of("raid6-ls", &[1, 3, 4]).decide(false).unwrap();
    assert!(!two_gone.rest_is_enough());
    let one_gone = some_of("raid5-ls", &[1, 2, 3]).decide(false).unwrap();
    assert!(!one_gone.rest_is_enough());
    let halves = some_of("raid10-n2", &[0, 2]).decide(false).unwrap();
    assert!(halves.rest_is_enough());
}

#[test]
fn members_that_the_array_went_on_without_are_left_out() {
    // Which of them were taken out by somebody, and which one was only called faulty, three changes ago.
    for (name, slots, expected_why) in [
        ("stale", &[1][..], LeftOut::Dropped),
        ("failed", &[2], LeftOut::ThrownOut),
        ("twice-stale", &[0, 3], LeftOut::Dropped),
    ] {
        let decision = array(name).decide(false).unwrap();
        assert_eq!(decision.missing().collect::<Vec<_>>(), slots, "{name}");
        // Written down by an owner: a claim may do without them.
        assert_eq!(decision.absent().count(), 0, "{name}");
        let left_out: Vec<usize> = decision.left_out.iter().map(|(index, _)| *index).collect();
        let expected: Vec<usize> = slots.iter().map(|slot| *slot as usize).collect();
        assert_eq!(left_out, expected, "{name}");
        for (index, why) in &decision.left_out {
            assert_eq!(*why, expected_why, "{name}");
            assert!(!decision.taken.contains(index));
        }
    }
}

#[test]
fn a_member_that_dropped_out_does_not_know_and_alone_it_is_not_enough_to_exclude_others() {
    // It calls the others good: what they are worth it cannot tell, and no claim may do without them.
    let alone = some_of("failed", &[2]).decide(false).unwrap();
    assert_eq!(alone.absent().count(), 2);
    assert!(alone.rest_is_enough());
}

#[test]
fn mirrors_that_went_on_without_one_another_are_refused() {
    for name in ["diverged", "diverged-unequally"] {
        let array = array(name);
        let refusal = array.decide(false).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Diverged { .. }),
            "{name}: {refusal}"
        );
        // Whatever the order in which they are found.
        let mut turned = array.clone();
        turned.members.reverse();
        assert!(matches!(turned.decide(true), Err(Refusal::Diverged { .. })));
        // One of them alone runs: that is for the claim to allow.
        for disk in [0, 1] {
            let decision = some_of(name, &[disk]).decide(false).unwrap();
            assert_eq!((fresh(&decision), decision.absent().count()), (1, 0));
            assert!(decision.rest_is_enough());
        }
    }
}

#[test]
fn three_that_saw_different_losses_are_one_history_when_a_witness_is_here() {
    // Of three mirrors: the second was lost, came back, and the first was lost while the second was away or not.
    let history = |witness: bool| {
        changed("raid1-12", |members| {
            let set = |member: &mut Member, events: u64, bad: usize| {
                member.superblock.events = events;
                member.superblock.roles[bad] = Role::Spare;
            };
            // The first went last while the second was away; the third saw the second come back.
            set(&mut members[0], 100, 1);
            set(&mut members[1], 200, 0);
            set(&mut members[2], if witness { 200 } else { 90 }, 0);
            if !witness {
                members[2].superblock.roles[0] = Role::Slot(0);
            }
        })
    };
    let decision = history(true).decide(false).unwrap();
    assert_eq!(decision.missing().collect::<Vec<_>>(), [0]);
    assert_eq!(decision.left_out, [(0, LeftOut::Dropped)]);
    let refusal = history(false).decide(false).unwrap_err();
    assert!(matches!(refusal, Refusal::Diverged { .. }), "{refusal}");
}

#[test]
fn of_the_same_age_there_is_one_history_only() {
    let array = changed("raid1-12", |members| {
        members[0].superblock.roles[2] = Role::Faulty;
    });
    assert!(matches!(array.decide(false), Err(Refusal::Diverged { .. })));
}

/// A member of each kind that a takeover threw out: it could not be told from a healthy one by itself.
const THROWN_OUT: [(&str, &[usize]); 7] = [
    ("raid1-10", &[0]),
    ("raid1-12", &[0, 2]),
    ("raid4", &[0]),
    ("raid5-ls", &[1]),
    ("raid6-ls", &[0]),
    ("raid6-ls", &[0, 3]),
    ("raid10-n2", &[0, 2]),
];

#[test]
fn what_was_thrown_out_by_a_takeover_is_left_out_and_known_and_the_others_run() {
    for (name, which) in THROWN_OUT {
        for lacks in [1, 2, 16] {
            let array = thrown_out(name, which, lacks);
            let decision = array.decide(false).unwrap();
            let expected: Vec<_> = which
                .iter()
                .map(|index| (*index, LeftOut::ThrownOut))
                .collect();
            assert_eq!(decision.left_out, expected, "{name} {lacks}");
            // An owner has written that it goes on without them: nobody waits for their disks.
            assert_eq!(decision.absent().count(), 0, "{name}");
            assert!(decision.taken.iter().all(|index| !which.contains(index)));
            // Whatever the order in which they are found.
            let mut turned = array.clone();
            turned.members.reverse();
            assert_eq!(turned.decide(false).unwrap().left_out.len(), which.len());
        }
    }
}

#[test]
fn one_that_failed_long_ago_or_was_taken_out_or_knows_another_history_was_not_thrown_out_by_a_takeover()
 {
    for (name, which) in THROWN_OUT {
        let why = |array: Array| -> Vec<LeftOut> {
            let decision = array.decide(false).unwrap();
            decision.left_out.iter().map(|(_, why)| *why).collect()
        };
        let dropped = vec![LeftOut::Dropped; which.len()];
        assert_eq!(why(thrown_out(name, which, 17)), dropped, "{name}");
        let mut taken_out = thrown_out(name, which, 1);
        for member in &mut taken_out.members {
            for role in &mut member.superblock.roles {
                if *role == Role::Faulty {
                    *role = Role::Spare;
                }
            }
        }
        assert_eq!(why(taken_out), dropped, "{name}");
        let mut other_shape = thrown_out(name, which, 1);
        for index in which {
            other_shape.members[*index].superblock.size -= 8;
        }
        assert_eq!(why(other_shape), dropped, "{name}");
        let mut dirty = thrown_out(name, which, 1);
        for (index, member) in dirty.members.iter_mut().enumerate() {
            if !which.contains(&index) {
                member.superblock.resync_offset = Some(0);
            }
        }
        let has_parity = !name.starts_with("raid1");
        assert_eq!(
            dirty.decide(false) == Err(Refusal::DirtyDegraded),
            has_parity,
            "{name}"
        );
    }
    let mut went_on = thrown_out("raid1-10", &[0], 1);
    went_on.members[0].superblock.roles[1] = Role::Faulty;
    let refusal = went_on.decide(false).unwrap_err();
    assert!(matches!(refusal, Refusal::Diverged { .. }), "{refusal}");
}

#[test]
fn of_the_same_count_the_one_that_calls_the_other_faulty_is_later_unless_both_do() {
    // The kernel counts back when an array becomes clean, which was refused to the first; then it was called faulty.
    for (name, which) in THROWN_OUT {
        let mut array = thrown_out(name, which, 0);
        for _ in 0..2 {
            let decision = array.decide(false).unwrap();
            assert_eq!(decision.left_out.len(), which.len(), "{name}");
            let why = |(_, why): &(usize, LeftOut)| *why == LeftOut::ThrownOut;
            assert!(decision.left_out.iter().all(why), "{name}");
            array.members.reverse();
        }
    }
    let mut both = thrown_out("raid1-10", &[0], 0);
    both.members[0].superblock.roles[1] = Role::Faulty;
    let refusal = both.decide(false).unwrap_err();
    assert!(matches!(refusal, Refusal::Diverged { .. }), "{refusal}");
}

#[test]
fn a_member_that_is_taken_back_takes_part_and_counts_when_it_is_filled() {
    for (name, which) in THROWN_OUT {
        let array = thrown_out(name, which, 2);
        let decision = array.decide(false).unwrap();
        let mut on = Judged {
            array,
            decision,
            is_running: true,
        };
        let before = on.disks().count();
        assert_eq!(on.thrown_out().collect::<Vec<_>>(), which);
        for index in which {
            on.took_back(*index);
            assert_eq!(
                on.decision.slots[*index],
                Slot::Rebuilding(*index),
                "{name}"
            );
        }
        assert_eq!(on.disks().count(), before + which.len());
        assert!(on.thrown_out().next().is_none() && on.decision.is_degraded());
        on.is_whole_again();
        assert!(!on.decision.is_degraded(), "{name}");
    }
}

#[test]
fn one_change_behind_is_fresh_and_two_are_not() {
    let behind = |by: u64| {
        changed("raid5-ls", move |members| {
            members[1].superblock.events -= by;
        })
    };
    assert!(!behind(1).decide(false).unwrap().is_degraded());
    let decision = behind(2).decide(false).unwrap();
    assert_eq!(decision.left_out, [(1, LeftOut::Behind)]);
    // Nobody has written that it is gone.
    assert_eq!(decision.absent().collect::<Vec<_>>(), [1]);
    // One behind, and the newest knows that it failed: its own word does not count.
    let failed = changed("raid5-ls", |members| {
        members[1].superblock.events -= 1;
        for index in [0, 2, 3] {
            members[index].superblock.roles[1] = Role::Faulty;
        }
    });
    let decision = failed.decide(false).unwrap();
    assert_eq!(decision.left_out, [(1, LeftOut::ThrownOut)]);
    assert_eq!(decision.absent().count(), 0);
}

#[test]
fn parity_that_may_be_wrong_is_not_computed_with_unless_told() {
    assert!(!array("dirty").decide(false).unwrap().is_degraded());
    assert!(!array("dirty").decide(false).unwrap().is_clean);
    for lost in 0..3 {
        let rest: Vec<usize> = (0..3).filter(|index| *index != lost).collect();
        let degraded = some_of("dirty", &rest);
        assert_eq!(degraded.decide(false), Err(Refusal::DirtyDegraded));
        assert!(degraded.decide(true).unwrap().is_dirty_degraded);
        // The log of partial parity is what makes it right.
        let with_log = some_of("ppl", &rest).decide(false).unwrap();
        assert!(with_log.is_degraded() && !with_log.is_clean && !with_log.is_dirty_degraded);
    }
    // Mirrors have no parity.
    let mirror = changed("failed", |members| {
        for member in members {
            member.superblock.resync_offset = Some(0);
        }
    });
    assert!(mirror.decide(false).is_ok());
}

#[test]
fn a_journal_is_part_of_the_data() {
    let whole = array("journal").decide(false).unwrap();
    assert_eq!((whole.taken.len(), fresh(&whole)), (4, 3));
    let refusal = some_of("journal", &[0, 1, 2]).decide(true);
    assert_eq!(refusal, Err(Refusal::NoJournal));
    // Neither is one that did not see the last writes.
    let old = changed("journal", |members| members[3].superblock.events -= 2);
    assert_eq!(old.decide(true), Err(Refusal::NoJournal));
}

#[test]
fn spares_wait_and_members_that_are_being_filled_do_not_count() {
    let spare = array("spare").decide(false).unwrap();
    assert_eq!((spare.taken.len(), fresh(&spare)), (3, 3));
    assert_eq!(spare.left_out, [(3, LeftOut::Spare)]);
    assert!(!spare.is_degraded());
    let rebuilding = array("rebuilding").decide(false).unwrap();
    assert_eq!(fresh(&rebuilding), 2);
    assert_eq!(rebuilding.missing().collect::<Vec<_>>(), [1]);
    assert!(matches!(rebuilding.slots[1], Slot::Rebuilding(3)));
    assert_eq!(rebuilding.left_out, [(1, LeftOut::Dropped)]);
    // What is being filled makes up for nothing.
    assert!(matches!(
        some_of("rebuilding", &[0, 3]).decide(true),
        Err(Refusal::NotEnough { .. })
    ));
    // A spare by itself is no array.
    assert_eq!(some_of("spare", &[3]).decide(true), Err(Refusal::NoMember));
}

#[test]
fn what_an_array_can_do_without_is_what_its_level_says() {
    for (name, one, two) in [
        ("raid0", false, false),
        ("raid1-10", true, false),
        ("raid1-12", true, true),
        ("raid5-ls", true, false),
        ("raid6-ls", true, true),
    ] {
        let array = array(name);
        let decision = array.decide(false).unwrap();
        let on = Judged {
            array,
            decision,
            is_running: true,
        };
        assert!(on.can_do_without(&[]), "{name}");
        let gone = |count: usize| -> Vec<DiskId> {
            let disks = on.disks().take(count);
            disks.map(|disk| disk.id.clone()).collect()
        };
        assert_eq!(on.can_do_without(&gone(1)), one, "{name}");
        assert_eq!(on.can_do_without(&gone(2)), two, "{name}");
    }
}

#[test]
fn a_reshape_and_a_cluster_are_left_alone() {
    assert_eq!(array("reshape").decide(true), Err(Refusal::Reshape));
    let clustered = changed("raid1-12", |members| {
        for member in members {
            member.superblock.features.0 |= Features::CLUSTERED;
        }
    });
    assert_eq!(clustered.decide(true), Err(Refusal::Clustered));
}

#[test]
fn copies_and_claims_to_one_slot_are_refused() {
    let copy = changed("raid1-12", |members| {
        members[2].superblock = members[1].superblock.clone();
    });
    assert!(matches!(copy.decide(true), Err(Refusal::SameMember { .. })));
    let replaced = changed("raid1-12", |members| {
        for member in members {
            member.superblock.roles.resize(4, Role::Spare);
            member.superblock.roles[3] = Role::Slot(1);
        }
    });
    assert_eq!(replaced.decide(true), Err(Refusal::Replacement { slot: 1 }));
    let same = changed("raid1-12", |members| {
        members[2].superblock.number = members[1].superblock.number;
    });
    assert!(matches!(
        same.decide(true),
        Err(Refusal::SameSlot { slot: 1, .. })
    ));
}

#[test]
fn shapes_that_differ_or_are_not_known_are_refused() {
    let other = changed("raid5-ls", |members| members[2].superblock.layout = 1);
    assert!(matches!(
        other.decide(true),
        Err(Refusal::Disagreement { .. })
    ));
    type Change = fn(&mut Superblock);
    let all: [(&str, Change); 6] = [
        ("raid1-12", |superblock| superblock.level = -1),
        ("raid5-ls", |superblock| superblock.layout = 7),
        ("raid6-ls", |superblock| superblock.layout = 11),
        ("raid10-n2", |superblock| superblock.layout = 0),
        ("raid10-n2", |superblock| superblock.layout = 0x8_0102),
        ("raid5-ls", |superblock| superblock.chunk = 24),
    ];
    for (name, change) in all {
        let array = changed(name, |members| {
            for member in members {
                change(&mut member.superblock);
            }
        });
        let refusal = array.decide(true).unwrap_err();
        assert!(matches!(refusal, Refusal::Geometry(_)), "{name}: {refusal}");
    }
    let zones = changed("raid0-zones", |members| {
        for member in members {
            member.superblock.features.0 &= !Features::RAID0_LAYOUT;
        }
    });
    assert_eq!(zones.decide(true), Err(Refusal::Zones));
}

#[test]
fn two_superblocks_on_one_disk_are_none_that_can_be_believed() {
    let mut image = images("raid1-11").remove(0);
    let other = images("raid1-12").remove(0);
    for sector in 8..16 {
        if let Some(contents) = other.sectors.get(&sector) {
            image.sectors.insert(sector, *contents);
        }
    }
    assert!(matches!(
        image.superblock(),
        Err(MemberError::Two("1.1", "1.2"))
    ));
}

#[test]
fn one_that_dropped_out_does_not_hold_back_what_is_left_of_another_array() {
    let mut members = members(&images("raid1-12"));
    members.extend(super::members(&images("raid5-ls")));
    assert_eq!(arrays(members).len(), 2);
}
