//! Conditions to wait for, as an operator would say them.
//!
//! | condition | holds when |
//! |---|---|
//! | `a serves tank`, `a serves` | that head says that it serves the pool; all pools |
//! | `a standby tank`, `a standby` | it says that it is standby for it; for all pools |
//! | `a ready tank`, `a ready` | it stands by, and the other head hears so: what is handed over now is taken |
//! | `a faulted tank` (or `claiming`, `importing`, `releasing`) | it says so |
//! | `any serves tank`, `any serves` | exactly one head serves the pool; each pool |
//! | `a answers`, `a silent` | its control port answers; does not |
//! | `a running`, `a paused`, `a frozen`, `a off` (or `client`) | its machine is |
//! | `client up`, `client in`, `client io` | its agent answers; it is logged in; writes are being acknowledged |
//!
//! `not` before a condition turns it round.

use std::fmt;
use std::str::FromStr;

use crate::headview;
use crate::names::Head;
use crate::request::{HeadStatus, LabStatus};
use crate::vm::Power;

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A head is in this state for a pool (for all, if none is named).
    Pool(Head, String, Option<String>),
    /// A head stands by for a pool (for all), and the other head hears so.
    Ready(Head, Option<String>),
    /// Exactly one head serves a pool (each).
    AnyServes(Option<String>),
    /// A head's control port answers.
    Answers(Head),
    /// A head's machine is in this state.
    HeadPower(Head, Power),
    /// The client's machine is.
    ClientPower(Power),
    /// The client's agent answers.
    ClientUp,
    /// The client is logged in to every target.
    ClientIn,
    /// The checked writer's writes are being acknowledged.
    ClientIo,
    /// The contrary.
    Not(Box<Condition>),
}

const POOL_STATES: [&str; 6] = [
    "standby",
    "claiming",
    "importing",
    "serving",
    "releasing",
    "faulted",
];

impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let ["not", rest @ ..] = words.as_slice() {
            return Ok(Self::Not(Box::new(rest.join(" ").parse()?)));
        }
        let unknown = || {
            format!(
                "{text:?} is no condition: such as 'a serves tank', 'b standby', 'a answers', 'client io'"
            )
        };
        let (&who, &what, pool) = match words.as_slice() {
            [who, what] => (who, what, None),
            [who, what, pool] => (who, what, Some((*pool).to_owned())),
            _ => return Err(unknown()),
        };
        let power = match what {
            "running" => Some(Power::Running),
            "paused" => Some(Power::Paused),
            "frozen" => Some(Power::Frozen),
            "off" => Some(Power::Off),
            _ => None,
        };
        match (who, what, pool) {
            ("any", "serves", pool) => Ok(Self::AnyServes(pool)),
            ("client", "up", None) => Ok(Self::ClientUp),
            ("client", "in", None) => Ok(Self::ClientIn),
            ("client", "io", None) => Ok(Self::ClientIo),
            ("client", _, None) => power.map(Self::ClientPower).ok_or_else(unknown),
            (_, what, pool) => {
                let head: Head = who.parse().map_err(|_| unknown())?;
                let state = if what == "serves" { "serving" } else { what };
                match (state, power, pool) {
                    ("answers", _, None) => Ok(Self::Answers(head)),
                    ("silent", _, None) => Ok(Self::Not(Box::new(Self::Answers(head)))),
                    ("ready", None, pool) => Ok(Self::Ready(head, pool)),
                    (_, Some(power), None) => Ok(Self::HeadPower(head, power)),
                    (state, None, pool) if POOL_STATES.contains(&state) => {
                        Ok(Self::Pool(head, state.into(), pool))
                    }
                    _ => Err(unknown()),
                }
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |pool: &Option<String>| {
            pool.as_ref()
                .map_or(String::new(), |pool| format!(" {pool}"))
        };
        match self {
            Self::Pool(head, state, pool) if state == "serving" => {
                write!(f, "{head} serves{}", of(pool))
            }
            Self::Pool(head, state, pool) => write!(f, "{head} {state}{}", of(pool)),
            Self::Ready(head, pool) => write!(f, "{head} ready{}", of(pool)),
            Self::AnyServes(pool) => write!(f, "any serves{}", of(pool)),
            Self::Answers(head) => write!(f, "{head} answers"),
            Self::HeadPower(head, power) => {
                write!(f, "{head} {}", format!("{power:?}").to_lowercase())
            }
            Self::ClientPower(power) => write!(f, "client {}", format!("{power:?}").to_lowercase()),
            Self::ClientUp => f.write_str("client up"),
            Self::ClientIn => f.write_str("client in"),
            Self::ClientIo => f.write_str("client io"),
            Self::Not(condition) => write!(f, "not {condition}"),
        }
    }
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, status: &LabStatus) -> bool {
        let head = |which: Head| status.heads.iter().find(|head| head.head == which);
        match self {
            Self::Pool(which, state, pool) => {
                head(*which).is_some_and(|head| in_state(head, state, pool.as_deref()))
            }
            Self::Ready(which, pool) => {
                let pool = pool.as_deref();
                let other = head(which.peer()).and_then(|head| head.report.as_ref());
                head(*which).is_some_and(|head| in_state(head, "standby", pool))
                    && other.is_some_and(|report| headview::hears_standby(report, pool))
            }
            Self::AnyServes(pool) => any_serves(status, pool.as_deref()),
            Self::Answers(which) => head(*which).is_some_and(|head| head.report.is_some()),
            Self::HeadPower(which, power) => head(*which).is_some_and(|head| head.power == *power),
            Self::ClientPower(power) => status.client.power == *power,
            Self::ClientUp => status.client.up,
            Self::ClientIn => status.client.logged_in,
            Self::ClientIo => status.io.as_ref().is_some_and(|io| io.flowing()),
            Self::Not(condition) => !condition.holds(status),
        }
    }
}

fn in_state(head: &HeadStatus, state: &str, pool: Option<&str>) -> bool {
    let Some(report) = &head.report else {
        return false;
    };
    let views = headview::pools(report);
    let mut chosen = views
        .iter()
        .filter(|view| pool.is_none_or(|pool| pool == view.name))
        .peekable();
    // A head without pools is standby for all of them, and serves none.
    if chosen.peek().is_none() {
        return pool.is_none() && state == "standby";
    }
    chosen.all(|view| view.state == state)
}

fn any_serves(status: &LabStatus, pool: Option<&str>) -> bool {
    let mut pools = status
        .pools
        .iter()
        .filter(|p| pool.is_none_or(|pool| pool == p.pool.name))
        .peekable();
    pools.peek().is_some()
        && pools.all(|p| {
            status
                .heads
                .iter()
                .filter(|head| in_state(head, "serving", Some(&p.pool.name)))
                .count()
                == 1
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn head(head: Head, pools: serde_json::Value) -> HeadStatus {
        HeadStatus {
            head,
            power: Power::Running,
            pid: None,
            console_log: "log".into(),
            report: Some(json!({ "pools": pools })),
            silence: None,
        }
    }

    #[test]
    fn conditions_read_as_they_print() {
        for text in [
            "a serves tank",
            "b standby",
            "any serves",
            "not client io",
            "a paused",
            "client up",
            "b faulted x",
            "a ready",
            "b ready tank",
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "a",
            "c serves tank",
            "a dances",
            "client serves tank",
            "a serves x y",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_pools_are_meant_where_none_is_named() {
        let serves_one = head(
            Head::A,
            json!([{"name":"x","state":"serving"},{"name":"y","state":"standby"}]),
        );
        assert!(in_state(&serves_one, "serving", Some("x")));
        assert!(!in_state(&serves_one, "serving", None));
        let empty = head(Head::B, json!([]));
        assert!(in_state(&empty, "standby", None));
        assert!(!in_state(&empty, "serving", None));
    }
}
