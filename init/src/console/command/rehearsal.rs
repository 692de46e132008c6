//! What can be broken on purpose, and the question before that.

/// What can be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// The heartbeat thread stops for ever: the peer must take over, the watchdog must reset this head.
    Hang,
    /// The kernel does, so that nothing else runs either: the same, and the watchdog is all that can.
    HangKernel,
    /// The worker of a pool does, as one that is stuck in the kernel: the pool is served on, and is not let go when that is asked for.
    HangWorker {
        /// The pool's name.
        pool: String,
    },
}

impl Rehearsal {
    pub(super) fn question(&self) -> &'static str {
        match self {
            Rehearsal::Hang => HANG,
            Rehearsal::HangKernel => {
                "The kernel stops for ever, and nothing but the hardware watchdog resets this head. Hang it?"
            }
            Rehearsal::HangWorker { .. } => {
                "The pool's worker stops for ever: the pool is served on, but not changed, and the first attempt to hand it over ends in a \
                 reset of this head. Hang it?"
            }
        }
    }
}

pub(super) const HANG: &str =
    "The heartbeat stops for ever, and the watchdog resets this head. Hang it?";

/// What comes behind `hang`, if anything does.
pub(in crate::console) const HANG_WHAT: [&str; 2] = ["kernel", "worker"];
