//! What a pool offers to its clients: LUNs ([`iscsi`]), namespaces ([`nvme`]) and shares ([`nfs`]), by the kernel's own servers.
//!
//! Both go by a plan: what is offered, made of the configuration and the active volumes alone, so that both heads make the
//! same of it (invariant I6). All exports of a pool open before its service address comes, and close after it went.
//! What can wait in the kernel for ever is given a limit here; past it a release ends in a reset.

mod error;
pub mod iscsi;
mod limit;
pub mod nfs;
pub mod nvme;

use sha2::{Digest, Sha256};

pub use error::{Cause, ExportError};
pub use iscsi::{ExportPlan, Lio, LunPlan, PlanError, STEP_LIMIT, Volume, naa_digits, unit_serial};

/// What an export is known by is made of texts, each with its length, after the name of the derivation: 16 bytes of their SHA-256.
fn digest(domain: &str, parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [domain].iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    first
}
