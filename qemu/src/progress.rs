//! Shows how things are while something is waited for: a line whenever the picture changes.

use std::time::{Duration, Instant};

use crate::headview;
use crate::request::LabStatus;

/// Silence after which the same picture is shown again: it is still being waited for.
const REMINDER: Duration = Duration::from_secs(15);

/// The progress of one wait.
pub struct Progress {
    what: String,
    began: Instant,
    shown: Instant,
    last: String,
}

impl Progress {
    /// Nothing is shown before something changes or takes its time.
    pub fn new(what: &str) -> Self {
        let now = Instant::now();
        Self {
            what: what.into(),
            began: now,
            shown: now,
            last: String::new(),
        }
    }

    /// Shows the picture, if it is a new one.
    pub fn show(&mut self, status: &LabStatus) {
        let summary = summary(status);
        if summary != self.last || self.shown.elapsed() > REMINDER {
            eprintln!(
                "lab: {:5.1} s  waiting for '{}': {summary}",
                self.began.elapsed().as_secs_f64(),
                self.what
            );
            self.last = summary;
            self.shown = Instant::now();
        }
    }
}

/// One line about everything.
pub fn summary(status: &LabStatus) -> String {
    let mut parts = Vec::new();
    for head in &status.heads {
        let what = match &head.report {
            Some(report) => {
                let pools = headview::pools(report);
                let states = pools
                    .iter()
                    .map(|pool| format!("{} {}", pool.state, pool.name));
                let states: Vec<String> = states.collect();
                if states.is_empty() {
                    "no pools".into()
                } else {
                    states.join(", ")
                }
            }
            None if head.power == crate::vm::Power::Running => "running, silent".into(),
            None => format!("{:?}", head.power).to_lowercase(),
        };
        parts.push(format!("{} {what}", head.head));
    }
    let client = match (&status.client, status.io.as_ref()) {
        (client, _) if !client.up => format!("{:?}, silent", client.power).to_lowercase(),
        (_, Some(io)) if io.flowing() => "writing".into(),
        (_, Some(io)) if io.running => "waiting for its writes".into(),
        (client, _) if client.logged_in => "logged in".into(),
        _ => "up".into(),
    };
    parts.push(format!("client {client}"));
    if !status.cuts.is_empty() {
        parts.push(format!("cut: {}", status.cuts.join(", ")));
    }
    parts.join(" · ")
}
