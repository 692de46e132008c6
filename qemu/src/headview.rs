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
    /// Clients are answered. A head of a release that does not say so answers whenever it serves.
    pub answers: bool,
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
                answers: pool.get("answers").and_then(Value::as_bool).unwrap_or(true),
            })
        })
        .collect()
}

/// Whether a head hears that its peer stands by for a pool (for each).
pub fn hears_standby(status: &Value, pool: Option<&str>) -> bool {
    let word = |of: &Value, field: &str| Some(of.get(field)?.as_str()?.to_owned());
    let pools = status.get("pools").and_then(Value::as_array);
    let mut chosen = pools
        .into_iter()
        .flatten()
        .filter(|of| pool.is_none() || word(of, "name").as_deref() == pool)
        .peekable();
    word(status, "peer_state").as_deref() == Some("alive")
        && chosen.peek().is_some()
        && chosen.all(|of| word(of, "peer_state").as_deref() == Some("standby"))
}

/// Whether a head hears its peer on both cables.
pub fn hears_all(status: &Value) -> bool {
    let word = |link: &Value, field: &str| Some(link.get(field)?.as_str()?.to_owned());
    let links = status.get("links").and_then(Value::as_array);
    let up = |name: &str| {
        let mut links = links.into_iter().flatten();
        let link = links.find(|link| word(link, "name").as_deref() == Some(name));
        link.is_some_and(|link| word(link, "state").as_deref() == Some("up"))
    };
    up("serial") && up("ether")
}

/// What costs redundancy, in the head's words.
pub fn problems(status: &Value) -> Vec<String> {
    let problems = status.get("problems").and_then(Value::as_array);
    let what = |problem: &Value| Some(problem.get("what")?.as_str()?.to_owned());
    problems.into_iter().flatten().filter_map(what).collect()
}

/// A figure of `status --json` by its path, such as `usage.memory_used_bytes`.
pub fn figure(status: &Value, path: &str) -> Option<u64> {
    path.split('.')
        .try_fold(status, |value, name| value.get(name))?
        .as_u64()
}

/// When a head became standby, in seconds of its kernel's clock, from its log.
pub fn standby_after_s(log: &str) -> Option<f64> {
    let line = log
        .lines()
        .find(|line| line.trim_end().ends_with("info  standby"))?;
    line.split(['[', ']']).nth(1)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pools_and_figures_are_found() {
        let status = json!({
            "pools": [{ "name": "tank", "state": "serving", "epoch": 3, "answers": false }, { "name": 4 }],
            "usage": { "processes": 1 }
        });
        let tank = PoolView {
            name: "tank".into(),
            state: "serving".into(),
            epoch: Some(3),
            answers: false,
        };
        assert_eq!(pools(&status), [tank]);
        assert_eq!(figure(&status, "usage.processes"), Some(1));
        assert_eq!(figure(&status, "usage.none"), None);
    }

    #[test]
    fn a_standby_that_is_not_heard_is_not_relied_on() {
        let told = |peer: &str, tank: Option<&str>| {
            json!({ "peer_state": peer, "pools": [
                { "name": "tank", "peer_state": tank }, { "name": "two", "peer_state": "serving" },
            ] })
        };
        assert!(hears_standby(&told("alive", Some("standby")), Some("tank")));
        assert!(!hears_standby(&told("alive", Some("standby")), None));
        assert!(!hears_standby(&told("dead", Some("standby")), Some("tank")));
        assert!(!hears_standby(&told("alive", None), Some("tank")));
        assert!(!hears_standby(&told("alive", Some("standby")), Some("x")));
    }

    #[test]
    fn the_moment_of_standby_is_in_the_log() {
        let log = "[    6.455401] info  watchdog\n[    6.478281] info  standby\n[    7.0] info  standby -> claiming\n";
        assert_eq!(standby_after_s(log), Some(6.478281));
        assert_eq!(standby_after_s(""), None);
    }
}
