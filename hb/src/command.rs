//! What an operator asks of the core, and why it may be refused.

use core::fmt;

use crate::PoolId;

/// An operator's request for one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let the peer have it.
    Handover(PoolId),
    /// Get it here: asks a living owner, preempts one that cannot be heard.
    Takeover(PoolId),
    /// Move it to its home head, from wherever this is said.
    Giveback(PoolId),
    /// Make it here, of disks that the worker knows: it does not exist yet.
    Make(PoolId),
    /// Let go of it for good: it is served here, and its disks become bare ones.
    Destroy(PoolId),
    /// Forget that the peer was fenced, so that one that was fenced again and again is trusted again. To be said to the
    /// head that fenced it.
    Readmit,
}

/// What a command set in motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// This head lets go and the peer takes over.
    Releasing,
    /// The peer was asked to let go.
    AskedPeer,
    /// This head claims the pool.
    Claiming,
    /// The peer is trusted again.
    Readmitted,
}

/// Why a command does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such pool.
    UnknownPool,
    /// The pool is already where the command would bring it.
    AlreadyThere,
    /// This head does not serve the pool.
    NotServing,
    /// The pool is on its way already.
    Busy,
    /// The peer serves the pool, or is about to.
    PeerHolds,
    /// There is no peer to hand it to.
    PeerNotHeard,
    /// The peer could not import it, or does not stand by for it.
    PeerNotReady,
    /// The peer stands by, and is worse off than this head.
    PeerLessFit,
    /// Every cable is silent, and yet the peer's ledger ticks: it lives, and cannot be asked.
    LinksLost,
    /// The peer was fenced again and again.
    PeerBarred,
    /// So was this head.
    Barred,
    /// There is nothing to forget.
    NotFenced,
    /// This head is about to halt: it takes nothing more, and lets go of what it has.
    Retiring,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::UnknownPool => "no such pool; see `pools`",
            Refusal::AlreadyThere => "the pool is there already",
            Refusal::NotServing => "this head does not serve the pool; say it on the head that does, see `pools`",
            Refusal::Busy => "the pool is changing hands; see `pools`",
            Refusal::PeerHolds => "the peer serves the pool; what is to become of it is said on its console",
            Refusal::PeerNotHeard => "the peer is not heard on any link; check its power and both cables, see `links`",
            Refusal::PeerNotReady => "the peer does not stand by for the pool; `pools` on its console says why",
            Refusal::PeerLessFit => "the peer is less fit to serve the pool than this head; see `status`",
            Refusal::LinksLost => {
                "every cable is silent and the peer's ledger ticks: it lives; mend a cable, or use its own console"
            }
            Refusal::PeerBarred => "the peer was fenced again and again; `readmit` when the cause is mended",
            Refusal::Barred => {
                "this head was fenced again and again and is given nothing back; say `readmit` on the peer's console when the cause is mended, or `takeover` here"
            }
            Refusal::Retiring => {
                "this head is on its way down and takes nothing more; say it on the peer's console, or here after the next boot"
            }
            Refusal::NotFenced => "the peer was not fenced lately: there is nothing to forget",
        })
    }
}
