//! QMP, as much of it as the lab says: connect, negotiate, one command, its answer. A connection
//! lasts for one command, so that a machine that was started again needs no special care.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::socket::connect_within;

/// A paused QEMU does not answer; do not wait for it for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Runs one command.
pub fn execute(socket: &Path, command: &str, arguments: Value) -> anyhow::Result<Value> {
    let stream = connect_within(socket, ANSWER_LIMIT)
        .with_context(|| format!("QMP socket {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let greeting = next(&mut reader)?;
    if greeting.get("QMP").is_none() {
        bail!("QMP greeting expected, got {greeting}");
    }
    ask(&mut writer, &mut reader, "qmp_capabilities", json!({}))?;
    ask(&mut writer, &mut reader, command, arguments)
}

fn ask(
    to: &mut impl Write,
    from: &mut impl BufRead,
    command: &str,
    arguments: Value,
) -> anyhow::Result<Value> {
    let request = json!({ "execute": command, "arguments": arguments });
    to.write_all(format!("{request}\n").as_bytes())?;
    loop {
        let answer = next(from)?;
        if let Some(value) = answer.get("return") {
            return Ok(value.clone());
        }
        if let Some(error) = answer.get("error") {
            bail!(
                "QMP {command}: {}",
                error
                    .get("desc")
                    .and_then(Value::as_str)
                    .unwrap_or("refused")
            );
        }
        // An event: nothing waits for one here.
    }
}

fn next(from: &mut impl BufRead) -> anyhow::Result<Value> {
    let mut line = String::new();
    if from.read_line(&mut line).context("QMP answer")? == 0 {
        bail!("QEMU closed its QMP socket");
    }
    serde_json::from_str(&line).with_context(|| format!("QMP said {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_before_the_answer_are_passed_over() {
        let mut said = Vec::new();
        let mut answers = "{\"event\":\"RESET\"}\n{\"return\":{\"running\":true}}\n".as_bytes();
        let value = ask(&mut said, &mut answers, "query-status", json!({})).unwrap();
        assert_eq!(value["running"], true);
        assert!(String::from_utf8(said).unwrap().contains("query-status"));
    }

    #[test]
    fn a_refusal_says_why() {
        let mut answers = "{\"error\":{\"class\":\"X\",\"desc\":\"no such link\"}}\n".as_bytes();
        let error = ask(&mut Vec::new(), &mut answers, "set_link", json!({})).unwrap_err();
        assert!(error.to_string().contains("no such link"));
    }
}
