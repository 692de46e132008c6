//! What a head's own `status --json` means to the lab. The one place that knows its shape.

use serde_json::Value;

/// What a head says about one of its pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// The pool.
    pub name: String,
    /// `standby`, `claiming`, `importing`, `serving`, `releasing` or `faulted`.
    pub state: String,
    /// Its epoch, if the head knows one.
    pub epoch: Option<u64>,
}

/// The pools in a head's status.
pub fn pools(status: &Value) -> Vec<PoolView> {
    let Some(pools) = status.get("pools").and_then(Value::as_array) else {
        return Vec::new();
    };
    pools
        .iter()
        .filter_map(|pool| {
            Some(PoolView {
                name: pool.get("name")?.as_str()?.to_owned(),
                state: pool.get("state")?.as_str()?.to_lowercase(),
                epoch: pool.get("epoch").and_then(Value::as_u64),
            })
        })
        .collect()
}
