//! Logical volumes that belong to this firmware: their names, and what is different about them.
//!
//! They are ordinary volumes, so that lvm2 sees and spares them. None is ever offered to a client. The copies
//! of the ledger are not activated: both heads read them on the raw disk, and a standby may not activate. The state
//! volume is activated like any other by the owner, and mounted: see `crate::state`.

/// What every reserved name begins with.
pub const PREFIX: &str = "orthrus_";

/// What the names of the ledger's copies begin with: `orthrus_ledger0`, `1`, `2`.
pub const LEDGER: &str = "orthrus_ledger";

/// How many copies of the ledger there are at most.
pub const COPIES: usize = 3;

/// The volume of what moves with the pool.
pub const STATE: &str = "orthrus_state";

/// Whether a volume of this name is kept from clients.
pub fn is_reserved(lv: &str) -> bool {
    lv.starts_with(PREFIX)
}

/// Whether a volume of this name belongs to the ledger, whatever its shape.
pub fn is_ledger(lv: &str) -> bool {
    lv.starts_with(LEDGER)
}
