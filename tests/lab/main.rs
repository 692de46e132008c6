//! The lab tests: two real kernels, real reservations, a real client that checks every byte it was
//! promised. `cargo test` runs those of [`CHOSEN`], which take less than half an hour; one alone is
//! `cargo test -p orthrus-tests --test lab -- --include-ignored NAME`, and all of them are `cargo labs`, but for
//! those that take minutes each for a table (`long`), show what is not mended (`open`), or are rows of `cargo lab matrix`.

mod adopt;
mod alone;
mod arrays;
mod bad_input;
mod bond;
mod boot;
mod breaker;
mod cables;
mod cached;
mod change;
mod clients;
mod conformance;
mod crash;
mod create;
mod delegation;
mod files;
mod flight;
mod gateway;
mod halves;
mod handover;
mod ipv6;
mod lease;
mod lost;
mod matrix;
mod mutant;
mod nfs_suite;
mod nvme;
mod outcomes;
mod paths;
mod pause;
mod reservations;
mod shares;
mod snapshot;
mod stalls;
mod state;
mod stubborn;
mod taken;
mod targets;
mod thin;
mod throughput;
mod uefi;
mod volumes;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use orthrus_qemu::names::ShelfKind;
use orthrus_tests::Bench;

type Test = fn(&Bench, ShelfKind) -> anyhow::Result<()>;

/// In an order in which neighbours can share a lab.
const TESTS: &[(&str, ShelfKind, Test)] = &[
    (
        "one_head_serves_and_the_other_stands_by",
        ShelfKind::Tgt,
        boot::one_serves,
    ),
    (
        "one_cut_cable_moves_nothing_and_is_told",
        ShelfKind::Tgt,
        cables::one_cut,
    ),
    (
        "handover_there_and_back_under_io",
        ShelfKind::Tgt,
        handover::there_and_back,
    ),
    (
        "crash_of_the_owner_loses_nothing",
        ShelfKind::Tgt,
        crash::owner,
    ),
    (
        "paused_owner_cannot_write_after_takeover",
        ShelfKind::Tgt,
        pause::paused,
    ),
    (
        "frozen_owner_cannot_write_after_takeover",
        ShelfKind::Tgt,
        pause::frozen,
    ),
    ("torture_by_the_seed", ShelfKind::Tgt, matrix::torture),
    (
        "a_disk_dies_and_then_its_owner",
        ShelfKind::Tgt,
        lost::disk_and_owner,
    ),
    (
        "parity_without_an_image_that_was_not_let_go_of_is_not_served",
        ShelfKind::Tgt,
        lost::unsure_parity,
    ),
    (
        "handover_there_and_back_under_io",
        ShelfKind::Lio,
        handover::there_and_back,
    ),
    (
        "crash_of_the_owner_loses_nothing",
        ShelfKind::Lio,
        crash::owner,
    ),
    (
        "paused_owner_cannot_write_after_takeover",
        ShelfKind::Lio,
        pause::paused,
    ),
    (
        "frozen_owner_cannot_write_after_takeover",
        ShelfKind::Lio,
        pause::frozen,
    ),
    (
        "flight_record_is_read_after_both_heads_died",
        ShelfKind::Lio,
        flight::after_both_died,
    ),
    (
        "both_lose_power_and_the_standby_that_boots_alone_serves",
        ShelfKind::Lio,
        alone::standby_boots,
    ),
    (
        "a_group_without_ledger_gets_one_while_it_is_served",
        ShelfKind::Lio,
        adopt::under_writes,
    ),
    (
        "state_volume_moves_with_the_pool",
        ShelfKind::Lio,
        state::moves,
    ),
    (
        "volumes_are_made_grown_and_removed_while_served",
        ShelfKind::Lio,
        change::volumes,
    ),
    (
        "clients_reservations_move_with_the_pool",
        ShelfKind::Lio,
        reservations::move_with_the_pool,
    ),
    (
        "a_client_is_let_in_and_shut_out_at_a_console",
        ShelfKind::Lio,
        clients::come_and_go,
    ),
    (
        "clients_of_two_targets_see_their_own_luns_before_and_after_a_crash",
        ShelfKind::Lio,
        targets::each_their_own,
    ),
    (
        "thin_volumes_and_snapshots_come_and_go_while_served",
        ShelfKind::Lio,
        thin::volumes,
    ),
    (
        "iscsi_test_cu_families",
        ShelfKind::Lio,
        conformance::families,
    ),
    (
        "snapshots_with_stores_come_and_go_under_writes",
        ShelfKind::Lio,
        snapshot::with_stores,
    ),
    (
        "a_snapshot_is_given_back_through_a_crash",
        ShelfKind::Lio,
        snapshot::is_given_back,
    ),
    ("torture_by_the_seed", ShelfKind::Lio, matrix::torture),
    (
        "a_path_is_lost_and_nothing_moves_then_the_other_and_the_peer_takes_over",
        ShelfKind::Lio,
        paths::one_after_the_other,
    ),
    (
        "handover_and_crash_with_two_paths",
        ShelfKind::Lio,
        paths::handover_and_crash,
    ),
    (
        "volumes_of_every_kind_move_with_the_pool",
        ShelfKind::Lio,
        volumes::every_kind_moves,
    ),
    (
        "arrays_move_with_the_pool_and_go_on_without_a_disk",
        ShelfKind::Lio,
        arrays::crash_and_loss,
    ),
    (
        "a_head_that_is_fenced_again_and_again_is_trusted_less",
        ShelfKind::Lio,
        breaker::bars_and_still_takes_over,
    ),
    (
        "a_pool_is_made_of_bare_disks_and_served",
        ShelfKind::Lio,
        create::from_bare_disks,
    ),
    (
        "a_disk_that_was_lost_while_nobody_held_the_pool_is_given_up_by_an_order",
        ShelfKind::Lio,
        lost::while_nobody_held,
    ),
    (
        "two_heads_with_half_of_a_mirror_each_never_both_serve",
        ShelfKind::Lio,
        halves::never_both,
    ),
    (
        "raid_on_disks_whose_caches_stay_on_is_refused",
        ShelfKind::Lio,
        cached::raid_is_refused,
    ),
    (
        "shares_and_locks_move_with_the_pool",
        ShelfKind::Lio,
        shares::locks_move,
    ),
    (
        "locks_outlive_a_hung_owner_and_the_loss_of_both_heads",
        ShelfKind::Lio,
        shares::locks_outlive_both_heads,
    ),
    (
        "a_card_of_a_bond_loses_its_link_and_nothing_moves",
        ShelfKind::Tgt,
        bond::loses_a_card,
    ),
    (
        "namespaces_move_with_the_pool_and_their_client_sees_no_error",
        ShelfKind::Lio,
        nvme::moves,
    ),
    (
        "a_client_that_never_closes_holds_no_release",
        ShelfKind::Lio,
        stubborn::holds_no_release,
    ),
    (
        "an_address_that_somebody_else_has_is_not_taken_over",
        ShelfKind::Lio,
        taken::address_is_not_taken_over,
    ),
    (
        "clients_of_ipv6_see_a_pause_and_no_error",
        ShelfKind::Lio,
        ipv6::moves,
    ),
    (
        "clients_behind_a_router_are_answered_by_either_head",
        ShelfKind::Lio,
        gateway::clients_beyond,
    ),
    (
        "pools_with_shares_move_one_by_one",
        ShelfKind::Lio,
        shares::pools_move_one_by_one,
    ),
    (
        "crash_of_the_owner_loses_nothing",
        ShelfKind::Plain,
        crash::owner,
    ),
    (
        "hung_owner_is_reset_by_its_watchdog_before_the_other_writes",
        ShelfKind::Plain,
        lease::hung,
    ),
    (
        "owner_whose_kernel_hangs_is_reset_by_its_watchdog_before_the_other_writes",
        ShelfKind::Plain,
        lease::hung_kernel,
    ),
    (
        "owner_whose_worker_hangs_is_reset_before_the_other_writes",
        ShelfKind::Plain,
        lease::hung_worker,
    ),
    (
        "paused_owner_test_fails_without_preempt",
        ShelfKind::Tgt,
        mutant::without_preempt,
    ),
    (
        "flashable_image_boots_to_standby",
        ShelfKind::Tgt,
        uefi::boots_to_standby,
    ),
    (
        "bad_configuration_is_named_with_line_and_field",
        ShelfKind::Tgt,
        bad_input::configuration,
    ),
    (
        "unknown_disk_is_left_alone",
        ShelfKind::Tgt,
        bad_input::unknown_disk,
    ),
    (
        "group_with_a_missing_disk_is_refused",
        ShelfKind::Tgt,
        bad_input::missing_disk,
    ),
    (
        "strangers_reservation_is_left_alone",
        ShelfKind::Tgt,
        bad_input::stranger,
    ),
];

/// What takes minutes, for tables more than for a verdict. Run by `--ignored` and its name, which begins with `long::`.
const LONG: &[(&str, ShelfKind, Test)] = &[
    (
        "iscsi_test_cu_as_on_plain_lio",
        ShelfKind::Lio,
        conformance::as_on_plain_lio,
    ),
    (
        "pynfs_as_on_plain_nfsd",
        ShelfKind::Lio,
        nfs_suite::as_on_plain_nfsd,
    ),
    (
        "pynfs_reboots_are_takeovers",
        ShelfKind::Lio,
        nfs_suite::reboots_are_takeovers,
    ),
    (
        "stalls_of_each_protocol",
        ShelfKind::Lio,
        stalls::of_each_protocol,
    ),
    (
        "throughput_against_plain_lio",
        ShelfKind::Lio,
        throughput::against_plain_lio,
    ),
];

/// What shows a fault that is known and not mended: README, "Disks by two paths". Run by `--ignored`.
/// Its name begins with `open::`.
const OPEN: &str = "a_path_is_lost_and_nothing_moves_then_the_other_and_the_peer_takes_over";

/// What runs each time: takeovers on each kind of shelf and by each protocol. All of the tests took an hour and a half on
/// two slow processors, which nobody waits for before a commit; what is not here is run by whoever works on it, and before a release.
const CHOSEN: &[(ShelfKind, &str)] = &[
    (ShelfKind::Tgt, "one_head_serves_and_the_other_stands_by"),
    (ShelfKind::Tgt, "one_cut_cable_moves_nothing_and_is_told"),
    (ShelfKind::Tgt, "handover_there_and_back_under_io"),
    (ShelfKind::Tgt, "crash_of_the_owner_loses_nothing"),
    (ShelfKind::Tgt, "paused_owner_cannot_write_after_takeover"),
    (ShelfKind::Lio, "handover_there_and_back_under_io"),
    (ShelfKind::Lio, "crash_of_the_owner_loses_nothing"),
    (ShelfKind::Lio, "frozen_owner_cannot_write_after_takeover"),
    (
        ShelfKind::Lio,
        "volumes_are_made_grown_and_removed_while_served",
    ),
    (ShelfKind::Lio, "clients_reservations_move_with_the_pool"),
    (ShelfKind::Lio, "torture_by_the_seed"),
    (
        ShelfKind::Lio,
        "arrays_move_with_the_pool_and_go_on_without_a_disk",
    ),
    (ShelfKind::Lio, "shares_and_locks_move_with_the_pool"),
    (
        ShelfKind::Lio,
        "namespaces_move_with_the_pool_and_their_client_sees_no_error",
    ),
    (ShelfKind::Plain, "crash_of_the_owner_loses_nothing"),
    (
        ShelfKind::Plain,
        "hung_owner_is_reset_by_its_watchdog_before_the_other_writes",
    ),
    (ShelfKind::Tgt, "flashable_image_boots_to_standby"),
    (
        ShelfKind::Tgt,
        "bad_configuration_is_named_with_line_and_field",
    ),
    (ShelfKind::Tgt, "strangers_reservation_is_left_alone"),
];

fn main() -> ExitCode {
    orthrus_qemu::supervisor::enter_if_asked();
    let mut arguments = Arguments::from_args();
    // A lab needs the whole machine, and its stories are worth reading as they happen.
    arguments.test_threads = Some(1);
    let bench = Arc::new(Bench::default());
    let mut trials = Vec::new();
    let mut chosen = 0;
    for &(name, shelf, test) in TESTS {
        let is_chosen = CHOSEN.contains(&(shelf, name));
        chosen += usize::from(is_chosen);
        let group = if name == OPEN { "open::" } else { "" };
        let trial = trial(&bench, group, name, shelf, test);
        trials.push(trial.with_ignored_flag(!is_chosen));
        // The rows of the matrix follow the last of the tests that share a lab with this shelf.
        if name == "torture_by_the_seed" {
            trials.extend(matrix_trials(&bench, shelf));
        }
    }
    assert_eq!(chosen, CHOSEN.len(), "a name in CHOSEN is of no test");
    for &(name, shelf, test) in LONG {
        trials.push(trial(&bench, "long::", name, shelf, test).with_ignored_flag(true));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = bench.clear() {
        eprintln!("the last lab cannot be taken down: {error:?}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trial(bench: &Arc<Bench>, group: &str, name: &str, shelf: ShelfKind, test: Test) -> Trial {
    let bench = bench.clone();
    Trial::test(format!("{shelf}::{group}{name}"), move || {
        timed(|| test(&bench, shelf))
    })
}

/// Runs a test and says what it took: the whole suite has a limit, and whoever shortens it must know where time goes.
fn timed(test: impl FnOnce() -> anyhow::Result<()>) -> Result<(), Failed> {
    let started = Instant::now();
    let outcome = test();
    eprintln!("    took {:.0} s", started.elapsed().as_secs_f64());
    // The causes and no backtrace: a report of which only the end is kept must show why.
    outcome.map_err(|error| Failed::from(format!("{error:#}")))
}

fn matrix_trials(bench: &Arc<Bench>, shelf: ShelfKind) -> Vec<Trial> {
    let trial = |case: matrix::Case| {
        let bench = bench.clone();
        let name = format!("{shelf}::matrix::{}", case.row.name);
        let run = move || timed(|| matrix::row(&bench, shelf, &case.row));
        Trial::test(name, run).with_ignored_flag(!case.in_slice)
    };
    matrix::cases(shelf).into_iter().map(trial).collect()
}
