//! Time, coarse: everything is a whole number of beats, and a wait is as short as its purpose allows.
//!
//! The proportions of the defaults are kept where the core relies on them: a look and a claim fit their limits
//! however slowly the workers go, a round trip fits `retry`, a boot takes longer than `dead`, and
//! `peer_wait` longer than a boot's `dead`.

use embassy_time::{Duration, Instant};
use orthrus_hb::Timing;

/// A beat. The core remembers a new boot of the peer for a second: two beats of this and a half.
pub const BEAT: Duration = Duration::from_millis(400);

/// `dead` in beats.
pub const DEAD: u32 = 3;
/// `barred_dead` in beats.
pub const BARRED_DEAD: u32 = 10;
/// Fences that bar a head.
pub const FENCES: u8 = 3;
/// `ledger_dead` in beats; the ledger is written and read once a beat.
pub const LEDGER_DEAD: u32 = 4;
/// Beats that a head which lost its fence may still run: the watch looks, the heartbeat thread acts.
pub const LOSS_LIMIT: u8 = 2;
/// A lease in beats; it is renewed once a beat.
pub const LEASE: u32 = 3;
/// Beats without food after which a watchdog resets its machine.
pub const WATCHDOG: u32 = 1;
/// Beats from the write of a claim by lease to the look that decides: more than a rival may take.
pub const SETTLE: u32 = 2;
/// Beats from a reset to the next boot.
pub const RESET: u8 = 4;
/// Frames that wait for a head that does not run; the kernel drops what comes after them.
pub const QUEUE: usize = 2;

pub fn at(beats: u32) -> Instant {
    // Not zero, so that nothing is taken for "never".
    Instant::from_secs(1000) + BEAT * beats
}

pub fn timing() -> Timing {
    Timing {
        beat: BEAT,
        dead: BEAT * DEAD,
        ledger_beat: BEAT,
        ledger_dead: BEAT * LEDGER_DEAD,
        ledger_unread: BEAT * 6,
        barred_dead: BEAT * BARRED_DEAD,
        health_settle: BEAT * 3,
        duel_wait: BEAT * 2,
        peer_wait: BEAT * 5,
        home_wait: BEAT * 4,
        survey_limit: BEAT * 4,
        claim_limit: BEAT * 12,
        import_limit: BEAT * 6,
        release_limit: BEAT * 6,
        broken_release_limit: BEAT * 4,
        offer_limit: BEAT * 5,
        retry: BEAT * 4,
        retry_max: BEAT * 8,
    }
}
