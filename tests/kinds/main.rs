//! Volumes of every kind: what lvm2 makes and activates, the firmware activates alike. Run by `cargo test`; one alone with
//! `cargo test -p orthrus-tests --test kinds -- NAME`. How fast: `cargo test --release -p orthrus-tests --test kinds -- --ignored speed`.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use orthrus_tests::kinds::{Bed, KINDS, speed};

/// One machine for all, booted by the first that needs it.
#[derive(Default)]
struct Shared(Mutex<Option<Bed>>);

impl Shared {
    fn with<T>(&self, run: impl FnOnce(&Bed) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = match place.take() {
            Some(bed) => bed,
            None => Bed::up(env!("CARGO_BIN_EXE_volumes").as_ref())?,
        };
        let outcome = run(&bed);
        // One that a kind could not be taken down on is of no use to the next.
        if outcome.is_ok() {
            *place = Some(bed);
        }
        outcome
    }
}

fn main() -> ExitCode {
    orthrus_qemu::supervisor::enter_if_asked();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let shared = Arc::<Shared>::default();
    let trial = |kind: &'static orthrus_tests::kinds::Kind| {
        let shared = shared.clone();
        let run = move || {
            let compared = shared.with(|bed| bed.compare(kind));
            compared.map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(format!("lvm2::{}", kind.name.replace(' ', "_")), run)
    };
    let mut trials: Vec<Trial> = KINDS.iter().map(trial).collect();
    for (index, kind) in KINDS
        .iter()
        .enumerate()
        .filter(|(_, kind)| kind.is_redundant)
    {
        for lost in 0..kind.disks {
            let name = format!("lvm2::{}::without_disk_{lost}", kind.name.replace(' ', "_"));
            let shared = shared.clone();
            let run = move || {
                let compared = shared.with(|bed| bed.compare_without(kind, lost));
                compared.map_err(|error| Failed::from(format!("{error:#}")))
            };
            // One disk of each in every run, another one of each; all of them by `--include-ignored`.
            let is_chosen = index % kind.disks == lost;
            trials.push(Trial::test(name, run).with_ignored_flag(!is_chosen));
        }
    }
    let measure = move || {
        let table = shared.with(speed::table);
        println!(
            "{}",
            table.map_err(|error| Failed::from(format!("{error:#}")))?
        );
        Ok(())
    };
    trials.push(Trial::test("speed", measure).with_ignored_flag(true));
    libtest_mimic::run(&arguments, trials).exit_code()
}
