//! Reservations of NVMe namespaces, against the kernel's target in a machine with a newer kernel than the release's: 122 MB more to
//! download, so that it runs when asked:
//! `cargo test -p orthrus-tests --test tools -- --ignored reservations`.

use libtest_mimic::Trial;
use orthrus_tests::reservations::{Bed, CASES};

use crate::beds::Beds;

pub fn trials() -> Vec<Trial> {
    let beds = Beds::new(env!("CARGO_BIN_EXE_reservations"), Bed::up);
    let trials = CASES.iter().map(|case| {
        let name = format!("reservations::{}", case.name);
        let trial = beds.trial(name, move |bed| bed.run(case));
        trial.with_ignored_flag(true)
    });
    trials.collect()
}
