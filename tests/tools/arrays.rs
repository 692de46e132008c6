//! Linux MD arrays: what mdadm makes, the firmware reads and assembles alike. The fixtures of the unit tests are made anew by
//! `ORTHRUS_FIXTURES=1 cargo test -p orthrus-tests --test tools -- fixtures`: other identifiers each time, so only when asked.

use libtest_mimic::Trial;
use orthrus_image::Workspace;
use orthrus_tests::arrays::{ARRAYS, Array, Bed, THROWN};

use crate::beds::Beds;

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

/// The same of those of which a takeover throws members out.
const CHOSEN_OUT: [&str; 4] = [
    "out-raid1-bitmap",
    "out-raid5-dirty",
    "out-raid6-two",
    "out-raid10-bitmap",
];

pub fn trials() -> Vec<Trial> {
    let beds = Beds::new(env!("CARGO_BIN_EXE_arrays"), Bed::up);
    let mut trials = Vec::new();
    type Run = fn(&Bed, &Array) -> anyhow::Result<()>;
    let runs: [(&str, Run); 2] = [("read", Bed::read), ("assembled", Bed::assemble)];
    for array in ARRAYS {
        for (what, run) in runs {
            let name = format!("arrays::{what}::{}", array.name);
            // Layouts that differ in a calculation alone are covered by their fixtures.
            let is_chosen = CHOSEN.contains(&array.name);
            let trial = beds.trial(name, move |bed| run(bed, array));
            trials.push(trial.with_ignored_flag(!is_chosen));
        }
    }
    for thrown in THROWN {
        let name = thrown.array.name;
        let trial = beds.trial(format!("arrays::thrown::{name}"), move |bed| {
            bed.take_back(thrown)
        });
        trials.push(trial.with_ignored_flag(!CHOSEN_OUT.contains(&name)));
    }
    trials.push(beds.trial("arrays::state::dirty".into(), Bed::dirty));
    trials.push(beds.trial("arrays::state::diverged".into(), Bed::diverged));
    if std::env::var_os("ORTHRUS_FIXTURES").is_some() {
        trials.push(beds.trial("arrays::fixtures".into(), |bed| {
            let into = Workspace::here()?.root().join("init/tests/fixtures/md");
            bed.fixtures(&into)
        }));
    }
    trials
}
