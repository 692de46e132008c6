//! KVM or emulation.
/// x
pub const PROBE_WORD: &str = "orthrus-lab-probe";
