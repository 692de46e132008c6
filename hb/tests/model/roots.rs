//! Where the exploration begins, and what may strike from there.

use orthrus_hb::{Epoch, LinkId};

use crate::check::{Checks, Held};
use crate::choice::Choice;
use crate::shelf::{DISKS, Disk};
use crate::timing::FENCES;
use crate::world::{Budget, End, World};

/// A state to begin with.
pub struct Root {
    pub name: &'static str,
    pub world: World,
}

/// Disks as a head left them that lost its power while it served.
fn left_by(who: usize, epoch: u32) -> [Disk; DISKS] {
    let mut disk = Disk {
        holder: Some(who),
        stamp: Epoch(epoch),
        ..Disk::EMPTY
    };
    disk.keys[who] = Some(Epoch(epoch));
    [disk; DISKS]
}

/// Both heads without power, the shelf as it was left.
fn dark(budget: Budget, left: Option<usize>, ledger: bool) -> World {
    let epoch = Epoch(1);
    let (who, released) = (left.unwrap_or(0), false);
    let held = left.map(|_| Held {
        who,
        epoch,
        released,
    });
    let disks = left.map_or([Disk::EMPTY; DISKS], |who| left_by(who, 1));
    // The loss of power is a fault.
    World::new(
        budget,
        disks,
        ledger,
        Checks::new(held, i8::from(left.is_some())),
    )
}

/// One head serves, the other stands by, and all is well.
fn settled(budget: Budget, owner: usize, ledger: bool) -> World {
    settle(dark(Budget::default(), None, ledger), budget, owner)
}

fn settle(mut world: World, budget: Budget, owner: usize) -> World {
    world.apply(Choice::Boot(owner));
    for beat in 0..100 {
        if beat == 20 {
            world.apply(Choice::Boot(1 - owner));
        }
        world.apply(Choice::BEAT);
    }
    // What did not hold on the way is found in the first step from here, and shown by the root without faults.
    assert!(
        world.end() == End::Redundant || world.checks.violation.is_some(),
        "two healthy heads settle: {world}"
    );
    world.budget = budget;
    world
}

/// The same with one cable cut: nothing that the peer sends makes old what was recorded on it.
fn settled_with_one_cable(budget: Budget, owner: usize) -> World {
    let ether = 1 << LinkId::Ether.index() | 1 << (LinkId::ALL.len() + LinkId::Ether.index());
    let cuts = 1;
    let mut world = settled(Budget { cuts, ..budget }, owner, true);
    // One more, so that a frame of each cable was taken down.
    world.apply(Choice::BEAT);
    world.apply(Choice::Cut(ether));
    world
}

/// The same for whatever world: each head hears the other on one cable only, and on another one, until all is joined. Not
/// a fault that explains anything, as nobody is cut off.
fn crossed(mut world: World) -> World {
    world.carries[0][LinkId::Serial.index()] = false;
    world.carries[1][LinkId::Ether.index()] = false;
    unacknowledged(world)
}

/// The same: the other head hears nothing of the owner, and reads that it lives.
fn unheard(mut world: World, owner: usize) -> World {
    world.carries[owner].fill(false);
    let world = unacknowledged(world);
    World {
        unheard: Some(owner),
        ..world
    }
}

/// For so long that a cable on which nothing is acknowledged counts as not heard. A state does not tell how long it
/// has been so while the owner is well: with an owner that comes to be worse off after all was joined, `--twice` finds two
/// states taken for one here.
fn unacknowledged(mut world: World) -> World {
    for _ in 0..20 {
        world.apply(Choice::BEAT);
    }
    world
}

/// The same without a ledger, after so many deaths in turn that each head is barred.
fn settled_and_barred(budget: Budget) -> World {
    let mut world = settled(Budget::default(), 0, false);
    for _ in 0..FENCES {
        for who in [0, 1] {
            world.budget.crashes = 1;
            world.apply(Choice::Crash(who));
            for beat in 0..60 {
                if beat == 20 {
                    world.apply(Choice::Boot(who));
                }
                world.apply(Choice::BEAT);
            }
        }
    }
    assert!(world.end() == End::Redundant || world.checks.violation.is_some());
    world.budget = budget;
    world
}

/// The same with disks that have no reservations.
fn settled_by_lease(budget: Budget) -> World {
    let mut world = dark(Budget::default(), None, true);
    world.plain = true;
    settle(world, budget, 0)
}

/// Both heads just got their power together.
fn together(budget: Budget, left: Option<usize>, ledger: bool) -> World {
    let mut world = dark(budget, left, ledger);
    world.apply(Choice::Boot(0));
    world.apply(Choice::Boot(1));
    world
}

/// Both heads without power, all cables cut, and no ledger: what each may take is what it finds free.
fn dark_and_apart(budget: Budget) -> World {
    let mut world = dark(budget, None, false);
    world.carries.as_flattened_mut().fill(false);
    world
}

/// Both heads hear each other and are about to claim the pool, by lease.
fn together_by_lease(budget: Budget) -> World {
    let mut world = together(budget, None, true);
    world.plain = true;
    world
}

/// Both heads are faulted for want of the pool, and look for it again and again.
fn bare(budget: Budget, ledger: bool) -> World {
    let mut world = together(Budget::default(), None, ledger);
    world.bare = true;
    for _ in 0..60 {
        world.apply(Choice::BEAT);
    }
    world.budget = budget;
    world
}

/// Each pair of faults from where it can matter, so that it is a test; `deep`: all of them together, for hours.
pub fn roots(deep: bool) -> Vec<Root> {
    let n = u8::from(deep);
    let none = Budget::default();
    let (crashes, halts, cuts, troubles, commands, ails) = (1, 1, 1, 1, 1, 1);
    let crash_cut = Budget {
        crashes,
        cuts,
        halts: n,
        ..none
    };
    let halt_cut = Budget {
        halts,
        cuts,
        crashes: n,
        ..none
    };
    let crash_halt = Budget {
        crashes,
        halts,
        cuts: n,
        ..none
    };
    let cut = Budget {
        cuts,
        halts: n,
        ..none
    };
    let halt = Budget {
        halts,
        crashes: n,
        ..none
    };
    let crash = Budget { crashes, ..none };
    let trouble = Budget {
        troubles,
        crashes,
        cuts: n,
        ..none
    };
    // A claim that fails makes the numbers of two heads that do not hear each other differ.
    let apart = Budget {
        troubles,
        crashes: n,
        ..none
    };
    // From `together` with a trouble `--twice` finds two states taken for one, with a crash as with a halt: what is found
    // there is so, and not all of it is found.
    let trouble_halt = Budget {
        troubles,
        halts,
        crashes: n,
        ..none
    };
    let order_trouble = Budget {
        commands,
        troubles,
        crashes: n,
        ..none
    };
    let order = Budget {
        commands,
        cuts,
        crashes: n,
        ..none
    };
    // Not together with cuts: how long ago the peer heard this head tells states apart then, and they become too many.
    let ail = Budget {
        ails,
        crashes,
        halts: n,
        ..none
    };
    let ail_alone = Budget {
        ails,
        crashes: n,
        ..none
    };
    let forge = Budget {
        forgeries: 1,
        crashes,
        ..none
    };
    let repeat = Budget {
        repeats: 1,
        commands,
        crashes,
        ..none
    };
    let late = Budget { lates: 1, ..none };
    let late_crash = Budget { crashes, ..late };
    // A boot that another one followed, which is dead as well.
    let late_crashes = Budget { crashes: 2, ..late };
    let late_order = Budget { commands, ..late };
    let late_halt = Budget { halts, ..late };
    let late_cut = Budget { cuts, ..late };
    let make_twice = Budget {
        commands: 2,
        crashes: n,
        ..none
    };
    let make_crash = Budget {
        commands: 2,
        crashes,
        troubles: n,
        ..none
    };
    let make_cut = Budget {
        commands,
        cuts,
        crashes: n,
        ..none
    };
    let make_trouble = Budget {
        commands: 2,
        troubles,
        crashes: n,
        ..none
    };
    let root = |name, world| Root { name, world };
    // The small ones first, so that what is wrong shows soon.
    let mut roots = vec![
        root("boot-no-fault", dark(none, None, true)),
        root("bare-make-twice", bare(make_twice, true)),
        root("bare-make-crash", bare(make_crash, true)),
        root("bare-make-trouble", bare(make_trouble, true)),
        root("bare-make-cut", bare(make_cut, true)),
        root("bare-make-crossed", crossed(bare(make_twice, true))),
        root("a-serves-ail-crossed", crossed(settled(ail, 0, true))),
        root(
            "a-serves-ail-unheard",
            unheard(settled(ail_alone, 0, true), 0),
        ),
        root(
            "a-serves-order-crossed",
            crossed(settled(order_trouble, 0, true)),
        ),
        root("boot-left-by-b-crossed", crossed(dark(halt, Some(1), true))),
        root("a-serves-forge", settled(forge, 0, true)),
        root("a-serves-one-cable-forge", settled_with_one_cable(forge, 0)),
        root("a-serves-barred-cut-cables", settled_and_barred(cut)),
        root("a-serves-order-repeat", settled(repeat, 0, true)),
        root("a-serves-late-crash", settled(late_crash, 0, true)),
        root("a-serves-late-crash-cables", settled(late_crash, 0, false)),
        root("a-serves-late-crashes", settled(late_crashes, 0, false)),
        root("a-serves-late-order", settled(late_order, 0, true)),
        root("a-serves-late-halt", settled(late_halt, 0, true)),
        root("a-serves-late-cut-cables", settled(late_cut, 0, false)),
        root("together-late-cables", together(late, Some(1), false)),
        root("boot-late", dark(late, None, true)),
        root("boot-left-by-b-late", dark(late, Some(1), true)),
        root("a-serves-trouble", settled(trouble, 0, true)),
        root("a-serves-order-trouble", settled(order_trouble, 0, true)),
        root("a-serves-ail", settled(ail, 0, true)),
        root("b-serves-ail", settled(ail, 1, true)),
        root("a-serves-crash-halt", settled(crash_halt, 0, true)),
        root("a-serves-halt-cut", settled(halt_cut, 0, true)),
        root("a-serves-crash-cut", settled(crash_cut, 0, true)),
        root("a-serves-order", settled(order, 0, true)),
        root("lease-cut", settled_by_lease(cut)),
        root("lease-together-cut", together_by_lease(cut)),
        root("lease-halt", settled_by_lease(halt)),
        root("lease-crash", settled_by_lease(crash)),
        root("boot-clean", dark(cut, None, true)),
        root("boot-left-by-b", dark(cut, Some(1), true)),
        root("a-serves-halt-cut-cables", settled(halt_cut, 0, false)),
        root("a-serves-crash-cut-cables", settled(crash_cut, 0, false)),
        root("boot-clean-cables", dark(cut, None, false)),
        root("boot-left-by-b-cables", dark(cut, Some(1), false)),
        root("together-cables", together(halt_cut, None, false)),
        root("together-trouble", together(trouble, Some(1), true)),
        root("boot-apart-trouble", dark_and_apart(apart)),
        root(
            "together-trouble-halt-cables",
            together(trouble_halt, Some(1), false),
        ),
    ];
    if deep {
        roots.push(root("b-serves-halt-cut", settled(halt_cut, 1, true)));
        roots.push(root("b-serves-order", settled(order, 1, true)));
        roots.push(root(
            "b-serves-halt-cut-cables",
            settled(halt_cut, 1, false),
        ));
        roots.push(root("boot-left-by-a", dark(cut, Some(0), true)));
        roots.push(root("boot-left-by-a-cables", dark(cut, Some(0), false)));
        roots.push(root("boot-trouble", dark(trouble, Some(1), true)));
    }
    roots
}
