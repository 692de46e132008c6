//! Shares through the kernel's nfsd, versions 4.1 and 4.2, without any program beside this one.
//!
//! What mountd, nfsdcld and exportfs do elsewhere is done here: nfsd asks who a client is, what a handle means and what may be
//! done with it ([`caches`]), and tells which clients have state, to be asked again after a restart ([`tracking`], [`records`]).
//! Those records are kept on the pool, in its state volume, so that after a takeover clients reclaim their opens and
//! locks from the other head, nobody else gets these meanwhile, and the grace period ends when the last of them has.
//!
//! ```text
//! import:   volumes mounted ─► Server::start (answers first, then threads) ─► address
//! release:  address off ─► Server::stop (threads end, and all state with them) ─► volumes unmounted
//! ```
//!
//! Decisions:
//! - Version 3 is not served: it needs lockd and rpcbind, whose state cannot move. 4.0 is not: clients of it find a
//!   server again by its address alone, and delegations need connections back to them.
//! - nfsd's state is one a network namespace, so each pool with shares has one of its own (`net/branch.rs`), in which all of
//!   this is done: pools move one by one, with their own clients, grace period and name.
//! - The root that clients see is a small file system in memory with a directory for each share, made in the order of the file on both
//!   heads, so that its handles and inode numbers agree. A share's own handles have its UUID and inode numbers.
//! - Without a state volume nothing is shared: after a takeover locks would be given to whoever asks first.
//!
//! Reading order: `plan` (what), `volumes`, `server` (the steps), `responder` (who answers), `caches` and `line`, `tracking`, `records`.

mod caches;
mod delegations;
mod line;
mod plan;
mod records;
mod responder;
mod server;
mod tracking;
mod volumes;

pub use plan::{NfsPlan, SharePlan, Withheld, root};
pub use records::Records;
pub use responder::{RECORDS, Tracked, keep_records, read_records};
pub use server::{Server, Sharing, StartError};
pub use volumes::{Mounted, Unchecked, mount, unmount};

#[cfg(test)]
mod damage;
