//! The lab tests: two real kernels, real reservations, a real client that checks every byte it was
//! promised. Run by `cargo test`; one alone with `cargo test -p orthrus-tests --test lab -- NAME`.

mod bad_input;
mod boot;
mod cables;
mod crash;
mod handover;
mod mutant;
mod pause;
mod uefi;

use std::process::ExitCode;
use std::sync::Arc;

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

fn main() -> ExitCode {
    orthrus_qemu::supervisor::enter_if_asked();
    let mut arguments = Arguments::from_args();
    // A lab needs the whole machine, and its stories are worth reading as they happen.
    arguments.test_threads = Some(1);
    let bench = Arc::new(Bench::default());
    let trials = TESTS
        .iter()
        .map(|&(name, shelf, test)| {
            let bench = bench.clone();
            Trial::test(format!("{shelf}::{name}"), move || {
                test(&bench, shelf).map_err(|error| Failed::from(format!("{error:?}")))
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = bench.clear() {
        eprintln!("the last lab cannot be taken down: {error:?}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
