//! Volumes of every kind: what lvm2 makes and activates, the firmware activates alike. How fast:
//! `cargo test --release -p orthrus-tests --test tools -- --ignored speed`.

use libtest_mimic::Trial;
use orthrus_tests::kinds::{Bed, KINDS, Kind, speed};

use crate::beds::Beds;

/// Layouts that differ from another kind of every run in a calculation alone, which is the kernel's; the fixtures of the unit
/// tests have them. Run by `--include-ignored`.
const LEFT_OUT: [&str; 6] = [
    "raid5_la",
    "raid5_rs",
    "raid5_ra",
    "raid6_nr",
    "raid6_nc",
    "raid6_ls_6",
];

pub fn trials() -> Vec<Trial> {
    let beds = Beds::new(env!("CARGO_BIN_EXE_volumes"), Bed::up);
    let name = |kind: &Kind| format!("kinds::{}", kind.name.replace(' ', "_"));
    let compared = |kind: &'static Kind| {
        let trial = beds.trial(name(kind), move |bed| bed.compare(kind));
        trial.with_ignored_flag(LEFT_OUT.contains(&kind.name))
    };
    let mut trials: Vec<Trial> = KINDS.iter().map(compared).collect();
    for (index, kind) in KINDS
        .iter()
        .enumerate()
        .filter(|(_, kind)| kind.is_redundant)
    {
        for lost in 0..kind.disks {
            let name = format!("{}::without_disk_{lost}", name(kind));
            let trial = beds.trial(name, move |bed| bed.compare_without(kind, lost));
            // One disk of each in every run, another one of each; all of them by `--include-ignored`.
            let is_chosen = index % kind.disks == lost && !LEFT_OUT.contains(&kind.name);
            trials.push(trial.with_ignored_flag(!is_chosen));
        }
    }
    trials.push(beds.trial("kinds::crashed".into(), Bed::crash));
    let measure = beds.trial("kinds::speed".into(), |bed| {
        println!("{}", speed::table(bed)?);
        Ok(())
    });
    trials.push(measure.with_ignored_flag(true));
    trials
}
