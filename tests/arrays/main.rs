//! Linux MD arrays: what mdadm makes, the firmware reads and assembles alike. Run by `cargo test`; one alone with
//! `cargo test -p orthrus-tests --test arrays -- NAME`, all with `--include-ignored`. The fixtures of the unit tests are made anew by
//! `ORTHRUS_FIXTURES=1 cargo test -p orthrus-tests --test arrays -- fixtures`: other identifiers each time, so only when asked.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use orthrus_image::Workspace;
use orthrus_tests::arrays::{ARRAYS, Array, Bed};

/// Arrays of every run; all others by `--include-ignored`.
const CHOSEN: [&str; 9] = [
    "raid0",
    "raid0-zones",
    "raid1-10",
    "raid1-12",
    "raid4",
    "raid5-rs",
    "raid6-ls",
    "raid10-n2",
    "raid10-f2",
];

/// One machine for all, booted by the first that needs it.
#[derive(Default)]
struct Shared(Mutex<Option<Bed>>);

impl Shared {
    fn with<T>(&self, run: impl FnOnce(&Bed) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = match place.take() {
            Some(bed) => bed,
            None => Bed::up(env!("CARGO_BIN_EXE_arrays").as_ref())?,
        };
        let outcome = run(&bed);
        // One that an array could not be taken down on is of no use to the next.
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
    let mut trials = Vec::new();
    let mut trial =
        |what: &str, array: &'static Array, run: fn(&Bed, &Array) -> anyhow::Result<()>| {
            let shared = shared.clone();
            let run = move || {
                let outcome = shared.with(|bed| run(bed, array));
                outcome.map_err(|error| Failed::from(format!("{error:#}")))
            };
            // Layouts that differ in a calculation alone are covered by their fixtures.
            let is_chosen = CHOSEN.contains(&array.name);
            let trial = Trial::test(format!("{what}::{}", array.name), run);
            trials.push(trial.with_ignored_flag(!is_chosen));
        };
    for array in ARRAYS {
        trial("read", array, Bed::read);
        trial("assembled", array, Bed::assemble);
    }
    type Run = fn(&Bed) -> anyhow::Result<()>;
    let states: [(&str, Run); 2] = [("dirty", Bed::dirty), ("diverged", Bed::diverged)];
    for (name, run) in states {
        let shared = shared.clone();
        let run = move || {
            let outcome = shared.with(run);
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        };
        trials.push(Trial::test(format!("state::{name}"), run));
    }
    let fixtures = move || {
        let made = Workspace::here().and_then(|workspace| {
            let into = workspace.root().join("init/tests/fixtures/md");
            shared.with(|bed| bed.fixtures(&into))
        });
        made.map_err(|error| Failed::from(format!("{error:#}")))
    };
    if std::env::var_os("ORTHRUS_FIXTURES").is_some() {
        trials.push(Trial::test("fixtures", fixtures));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
