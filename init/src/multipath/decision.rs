//! What to do about the paths of one disk, from what is seen of them. Pure.

use std::time::Duration;

/// One path, as it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The kernel sends I/O there.
    pub is_active: bool,
    /// Commands that were sent there and are not back.
    pub under_way: u64,
    /// It has a part in the claim: it is registered.
    pub is_registered: bool,
    /// Its reservations can be read.
    pub answers: bool,
    /// They were, since no path is in use: what was read before says nothing of a path that failed then.
    pub answered: bool,
}

/// For how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// No path is in use.
    pub idle: Duration,
    /// Neither is one of the disk of the pool that lost its last one last.
    pub lost: Duration,
    /// The path in use does not answer, and a spare does.
    pub failing: Duration,
    /// No path is in use and nothing is under way.
    pub quiet: Duration,
    /// The path was changed, or went on after it failed; `None` when its I/O is held back again, should it fail.
    pub trial: Option<Duration>,
}

/// How long no path may be in use before I/O fails, when none can be: a cable that is put into another socket. A disk
/// with one path fails at once.
pub const GIVE_UP: Duration = Duration::from_secs(5);

/// The same when other disks of the pool go on losing their last one. A shelf that is cut off may go disk by disk, and the
/// head must have time to see that all of it is gone: until it does, clients are answered, and would be told of errors.
pub const GIVE_UP_AT_LAST: Duration = Duration::from_secs(15);

/// How long the path in use may not answer our questions, or by errors, while a spare does answer, with nothing sent there by which the kernel would find out. One
/// error is no dead path, and a path that is left stays out.
pub const FAILING: Duration = Duration::from_secs(1);

/// How long a path must be in use before its I/O is held back again when it fails; and how long it is left alone when it fails
/// before that.
pub const TRIAL: Duration = Duration::from_secs(1);

/// How long nothing must be under way before a path is changed. The kernel chooses a path for a command, and counts it only
/// then: one look between the two would miss it.
pub const QUIET: Duration = Duration::from_millis(100);

/// After this a path has passed its trial whatever is under way: longer than the kernel tries a command that hangs. Under load
/// something always is, and it may never be seen to come to an end.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(120);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The path in use is fine.
    Nothing,
    /// Look again in a moment.
    Wait,
    /// No I/O meets the path in use, which is dead: the kernel is to know.
    Fail,
    /// The path that failed is the only one, and answers again: it goes on. What was under way has come back, and it is the
    /// same nexus, as for a disk with one path whose command is sent again.
    GoOn,
    /// Take the failed path's registration away by this one, and use it from then on.
    Change {
        /// Its place.
        to: usize,
    },
    /// Let what is held back fail.
    GiveUp,
    /// The path on trial works: what it cannot do is held back again.
    HoldBack,
}

fn can_be_used(path: &View) -> bool {
    path.is_registered && path.answers
}

/// The path that would be used instead of the one at `used`.
pub fn spare(used: usize, paths: &[View]) -> Option<usize> {
    let mut places = 0..paths.len();
    places.find(|place| *place != used && can_be_used(&paths[*place]))
}

/// What to do when the path at `used` is in use, or was last.
pub fn next(used: usize, paths: &[View], since: Since) -> Next {
    let spare = spare(used, paths);
    if paths.iter().any(|path| path.is_active) {
        let is_dead = since.failing >= FAILING && spare.is_some();
        let is_over = since.trial.is_some_and(|trial| trial >= LONGEST_TRIAL);
        let came_back = |path: &View| path.under_way == 0 || is_over;
        let works = |path: &View| path.is_active && path.answers && came_back(path);
        let has_passed = since.trial.is_some_and(|trial| trial >= TRIAL);
        return match is_dead {
            true => Next::Fail,
            // What was sent there came back, and none of it as the error of a path.
            false if has_passed && paths.get(used).is_some_and(works) => Next::HoldBack,
            false => Next::Nothing,
        };
    }
    // A path that was fenced meanwhile would answer it with a conflict.
    if paths.iter().any(|path| path.under_way > 0) || since.quiet < QUIET {
        return Next::Wait;
    }
    if let Some(to) = spare {
        return Next::Change { to };
    }
    let answers_again = |path: &View| can_be_used(path) && path.answered;
    match paths.get(used).is_some_and(answers_again) {
        true if since.trial.is_some_and(|trial| trial < TRIAL) => Next::Wait,
        true => Next::GoOn,
        false if since.lost >= GIVE_UP || since.idle >= GIVE_UP_AT_LAST => Next::GiveUp,
        false => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: View = View {
        is_active: true,
        under_way: 3,
        is_registered: true,
        answers: true,
        answered: true,
    };
    const SPARE: View = View {
        is_active: false,
        under_way: 0,
        ..FINE
    };
    const DEAD: View = View {
        answers: false,
        answered: false,
        ..SPARE
    };
    const OUT: View = View {
        is_registered: false,
        ..SPARE
    };

    fn decide(used: usize, paths: &[View]) -> Next {
        let quiet = QUIET;
        next(
            used,
            paths,
            Since {
                quiet,
                ..Since::default()
            },
        )
    }

    fn late(used: usize, paths: &[View]) -> Next {
        lost_for(GIVE_UP, GIVE_UP, used, paths)
    }

    fn lost_for(idle: Duration, lost: Duration, used: usize, paths: &[View]) -> Next {
        next(
            used,
            paths,
            Since {
                idle,
                lost,
                quiet: QUIET,
                ..Since::default()
            },
        )
    }

    #[test]
    fn a_path_that_works_is_left_alone_whatever_becomes_of_the_spares() {
        for spare in [SPARE, DEAD, OUT] {
            assert_eq!(decide(0, &[FINE, spare]), Next::Nothing);
        }
        // It works, and does not answer our own questions: commands decide.
        let slow = View {
            answers: false,
            ..FINE
        };
        assert_eq!(decide(0, &[slow, SPARE]), Next::Nothing);
    }

    #[test]
    fn a_path_without_io_that_answers_by_errors_is_left_only_for_one_that_works() {
        let dead = View {
            under_way: 0,
            answers: false,
            ..FINE
        };
        let failing = |paths: &[View]| {
            let failing = FAILING;
            next(
                0,
                paths,
                Since {
                    failing,
                    ..Since::default()
                },
            )
        };
        assert_eq!(failing(&[dead, SPARE]), Next::Fail);
        for spare in [DEAD, OUT] {
            assert_eq!(failing(&[dead, spare]), Next::Nothing);
        }
    }

    #[test]
    fn a_disk_that_answers_by_no_path_has_no_spare() {
        assert_eq!(spare(0, &[DEAD, SPARE]), Some(1));
        assert_eq!(spare(1, &[SPARE, DEAD]), Some(0));
        for out in [DEAD, OUT] {
            assert_eq!(spare(0, &[DEAD, out]), None);
        }
    }

    #[test]
    fn no_path_is_fenced_while_somebody_waits_for_it() {
        let failed = View {
            under_way: 1,
            ..DEAD
        };
        assert_eq!(decide(0, &[failed, SPARE]), Next::Wait);
        assert_eq!(late(0, &[failed, SPARE]), Next::Wait);
        assert_eq!(decide(0, &[DEAD, SPARE]), Next::Change { to: 1 });
    }

    #[test]
    fn a_path_is_changed_only_when_nothing_was_under_way_for_a_while() {
        let quiet_for = |quiet, paths: &[View]| {
            next(
                0,
                paths,
                Since {
                    quiet,
                    ..Since::default()
                },
            )
        };
        for paths in [[DEAD, SPARE], [SPARE, OUT]] {
            assert_eq!(quiet_for(Duration::ZERO, &paths), Next::Wait);
            assert_ne!(quiet_for(QUIET, &paths), Next::Wait);
        }
    }

    #[test]
    fn a_path_without_registration_is_never_used_again() {
        assert_eq!(decide(1, &[OUT, DEAD]), Next::Wait);
        assert_eq!(late(1, &[OUT, DEAD]), Next::GiveUp);
        assert_eq!(decide(0, &[DEAD, OUT, SPARE]), Next::Change { to: 2 });
    }

    #[test]
    fn a_spare_comes_before_the_path_that_failed_and_that_before_none() {
        assert_eq!(decide(0, &[SPARE, SPARE]), Next::Change { to: 1 });
        assert_eq!(decide(0, &[SPARE, DEAD]), Next::GoOn);
        assert_eq!(decide(1, &[OUT, SPARE]), Next::GoOn);
        // Even after it was given up.
        assert_eq!(late(1, &[OUT, SPARE]), Next::GoOn);
    }

    fn on_trial(for_how_long: Duration, paths: &[View]) -> Next {
        let trial = Some(for_how_long);
        next(
            1,
            paths,
            Since {
                trial,
                quiet: QUIET,
                ..Since::default()
            },
        )
    }

    #[test]
    fn a_path_that_was_just_changed_to_passes_only_when_everything_came_back() {
        let idle = View {
            under_way: 0,
            ..FINE
        };
        assert_eq!(on_trial(Duration::ZERO, &[OUT, idle]), Next::Nothing);
        // A disk that hangs has something under way for long.
        assert_eq!(on_trial(20 * TRIAL, &[OUT, FINE]), Next::Nothing);
        assert_eq!(on_trial(TRIAL, &[OUT, idle]), Next::HoldBack);
        // Longer than any command can hang, it is load.
        assert_eq!(on_trial(LONGEST_TRIAL, &[OUT, FINE]), Next::HoldBack);
        assert_eq!(decide(1, &[OUT, idle]), Next::Nothing);
    }

    #[test]
    fn a_path_that_fails_again_at_once_goes_on_after_a_pause() {
        assert_eq!(on_trial(Duration::ZERO, &[OUT, SPARE]), Next::Wait);
        assert_eq!(on_trial(TRIAL, &[OUT, SPARE]), Next::GoOn);
    }

    #[test]
    fn without_a_path_io_is_held_back_for_a_while_and_not_for_ever() {
        assert_eq!(decide(0, &[DEAD, DEAD]), Next::Wait);
        assert_eq!(late(0, &[DEAD, DEAD]), Next::GiveUp);
    }

    #[test]
    fn disks_that_go_one_after_the_other_are_given_up_with_the_last_of_them() {
        let late = |idle, lost| lost_for(idle, lost, 0, &[DEAD, OUT]);
        assert_eq!(late(GIVE_UP_AT_LAST / 2, GIVE_UP / 2), Next::Wait);
        assert_eq!(late(GIVE_UP_AT_LAST / 2, GIVE_UP), Next::GiveUp);
        assert_eq!(late(GIVE_UP_AT_LAST, GIVE_UP / 2), Next::GiveUp);
    }

    #[test]
    fn a_path_goes_on_only_by_an_answer_that_is_newer_than_its_failure() {
        let stale = View {
            answered: false,
            ..SPARE
        };
        assert_eq!(decide(0, &[stale, OUT]), Next::Wait);
        assert_eq!(late(0, &[stale, OUT]), Next::GiveUp);
        assert_eq!(decide(0, &[SPARE, OUT]), Next::GoOn);
    }
}
