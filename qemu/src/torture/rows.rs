//! The matrix: what breaks, and what must come of it. Read by the tests and by torture alike.

use super::fault::Fault::{
    self, Crash, Cut, Freeze, Hang, Pause, PowerCycle, Pull, Reset, ShelfOff,
};
use super::fault::Who::{self, Both, Owner, Standby};
use super::fault::Wire::{Data, Ether, Serial, Shelf};

/// What must come of a row while it lasts. Always: never two owners, nothing acknowledged is lost, and once
/// all is mended one head serves and the other stands by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The owner serves on, and nobody claims anything, not even when it is mended.
    Stays,
    /// The other head serves, after one takeover and no more.
    Moves,
    /// One head serves and the other stands by, whoever it is.
    OneServes,
    /// Nobody can serve before it is mended.
    Waits,
    /// Whether it moves is left open.
    Open,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, as a test's.
    pub name: &'static str,
    /// What breaks, in this order and without a pause.
    pub faults: &'static [Fault],
    /// What must come of it.
    pub expect: Expect,
    /// Nothing but a ledger tells a dead peer from cut cables in it: a pool without one may move, or wait.
    pub needs_ledger: bool,
    /// Who must say while it lasts that the box is not redundant, with words that occur in one of the problems.
    pub says: &'static [(Who, &'static str)],
    /// Whether clients are promised to see no error. They are not where an owner is fenced that still runs, or
    /// where the disks themselves went away.
    pub no_errors: bool,
    /// The shelf forgets its reservations: the owner must reset, and what it had registered must not come back.
    pub forgets: bool,
}

const fn row(name: &'static str, faults: &'static [Fault], expect: Expect) -> Row {
    Row {
        name,
        faults,
        expect,
        needs_ledger: false,
        says: &[],
        no_errors: true,
        forgets: false,
    }
}

impl Row {
    const fn needs_ledger(self) -> Self {
        Self {
            needs_ledger: true,
            ..self
        }
    }

    const fn says(self, says: &'static [(Who, &'static str)]) -> Self {
        Self { says, ..self }
    }

    const fn may_err(self) -> Self {
        Self {
            no_errors: false,
            ..self
        }
    }

    const fn forgets(self) -> Self {
        Self {
            forgets: true,
            ..self
        }
    }
}

use Expect::{Moves, OneServes, Open, Stays, Waits};

/// All of them.
pub const ROWS: &[Row] = &[
    row("nothing_broken", &[], Stays),
    // Every subset of the cables between the heads and the standby's sight of the ledger.
    row("serial_cut", &[Cut(Serial)], Stays).says(&[(Both, "serial")]),
    row("ether_cut", &[Cut(Ether)], Stays).says(&[(Both, "ether")]),
    row("ether_pulled", &[Pull(Ether)], Stays).says(&[(Both, "ether")]),
    row("shelf_path_of_standby_cut", &[Cut(Shelf(Standby))], Stays)
        .says(&[(Standby, ""), (Owner, "does not see its disks")]),
    row("serial_and_ether_cut", &[Cut(Serial), Cut(Ether)], Stays)
        .needs_ledger()
        .says(&[(Standby, "it lives"), (Owner, "dead")]),
    row(
        "serial_and_shelf_path_of_standby_cut",
        &[Cut(Serial), Cut(Shelf(Standby))],
        Stays,
    )
    .says(&[(Both, "serial")]),
    row(
        "ether_and_shelf_path_of_standby_cut",
        &[Cut(Ether), Cut(Shelf(Standby))],
        Stays,
    )
    .says(&[(Both, "ether")]),
    row(
        "serial_ether_and_shelf_path_of_standby_cut",
        &[Cut(Shelf(Standby)), Cut(Serial), Cut(Ether)],
        Stays,
    )
    .needs_ledger()
    .says(&[(Both, "")]),
    // Machines.
    row("owner_crashed", &[Crash(Owner)], Moves).says(&[(Standby, "dead")]),
    row("standby_crashed", &[Crash(Standby)], Stays).says(&[(Owner, "dead")]),
    row("owner_reset", &[Reset(Owner)], Moves),
    row("owner_paused", &[Pause(Owner)], Moves),
    row("owner_frozen", &[Freeze(Owner)], Moves),
    row("standby_paused", &[Pause(Standby)], Stays).says(&[(Owner, "dead")]),
    row("standby_frozen", &[Freeze(Standby)], Stays).says(&[(Owner, "dead")]),
    row("owner_hung", &[Hang(Owner)], Moves).may_err(),
    row("standby_hung", &[Hang(Standby)], Stays),
    row("both_crashed", &[Crash(Both)], Waits),
    row("both_power_cycled", &[PowerCycle(Both)], OneServes),
    row(
        "owner_crashed_as_standby_boots",
        &[PowerCycle(Standby), Crash(Owner)],
        Moves,
    )
    .needs_ledger(),
    row(
        "both_booted_with_all_cables_cut",
        &[Cut(Serial), Cut(Ether), PowerCycle(Both)],
        OneServes,
    )
    .needs_ledger(),
    row("both_paused", &[Pause(Both)], Waits),
    // What the owner serves with.
    row("shelf_path_of_owner_cut", &[Cut(Shelf(Owner))], Moves).may_err(),
    row("shelf_path_of_owner_pulled", &[Pull(Shelf(Owner))], Moves).may_err(),
    row(
        "serial_and_shelf_path_of_owner_cut",
        &[Cut(Shelf(Owner)), Cut(Serial)],
        Moves,
    )
    .may_err(),
    row(
        "ether_and_shelf_path_of_owner_cut",
        &[Cut(Shelf(Owner)), Cut(Ether)],
        Moves,
    )
    .may_err(),
    // Nobody hears it, it cannot read who holds the arbiter, and what it wrote last waits in its path.
    row(
        "serial_ether_and_shelf_path_of_owner_cut",
        &[Cut(Shelf(Owner)), Cut(Serial), Cut(Ether)],
        Moves,
    )
    .needs_ledger()
    .may_err(),
    // Both are equally broken: nothing would be better for it.
    row("shelf_paths_of_both_cut", &[Cut(Shelf(Both))], Stays)
        .says(&[(Both, "")])
        .may_err(),
    row(
        "client_network_of_owner_pulled",
        &[Pull(Data(Owner))],
        Moves,
    ),
    // Nothing tells the owner's network card; what may tell the owner is not promised.
    row("client_network_of_owner_cut", &[Cut(Data(Owner))], Open),
    row(
        "client_network_of_standby_cut",
        &[Cut(Data(Standby))],
        Stays,
    ),
    row(
        "client_network_of_standby_pulled",
        &[Pull(Data(Standby))],
        Stays,
    )
    .says(&[(Both, "has no way to its clients")]),
    row("client_networks_of_both_pulled", &[Pull(Data(Both))], Stays),
    row("shelf_power_cycled", &[ShelfOff], Open)
        .may_err()
        .forgets(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_names_and_each_is_there_once() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(plain)));
    }

    #[test]
    fn every_subset_of_the_links_is_cut() {
        for of in [Standby, Owner] {
            let links = [Cut(Serial), Cut(Ether), Cut(Shelf(of))];
            for subset in 0..8usize {
                let chosen = |index: usize| subset & 1 << index != 0;
                let has = |row: &Row| {
                    let mut wanted = links.iter().enumerate();
                    wanted.all(|(index, link)| row.faults.contains(link) == chosen(index))
                        && row.faults.iter().all(|fault| links.contains(fault))
                };
                assert!(
                    ROWS.iter().any(has),
                    "subset {subset:03b} with the shelf of {of:?}"
                );
            }
        }
    }
}
