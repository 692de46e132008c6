//! A command as one line of JSON, for programs at the operator's console; the control port takes it too, as far as its lines are long enough.
//!
//! ```text
//! {"command": "volume create", "arguments": ["tank/vol", "50G"], "options": {"raid": "raid6", "images": 8}, "id": 17}
//! {"answer":{"done":"vol is made, and LUN 0","pool":"tank"},"code":0,"id":17}
//! {"command": "pool destroy", "arguments": ["tank"]}
//! {"code":1,"error":{"what":"The pool and all that ... Destroy it? Say it with \"yes\": true","where":"options.yes"}}
//! ```
//!
//! | field | is |
//! |---|---|
//! | `command` | a command of `help` with its action, `volume create`, `status`; nothing behind that |
//! | `arguments` | its arguments in order, texts or whole numbers; may be left out |
//! | `options` | its options without their hyphens: those without a value `true` or `false`, the others a text or a whole number; may be left out |
//! | `id` | a whole number that the answer repeats; may be left out |
//!
//! The answer is one line that begins with `{`: `answer` is what the command answers with `--json`, `error` has `what` and `where` (a field, a
//! column of the line, or `head` when the request was right and the head did not do it), and `code` is the exit status of the control port.
//! Lines of the log may stand before and behind it, never in it, but for the last words of a kernel that dies. The request is not shown as it comes in. A program begins with
//! Ctrl-C, which throws away whatever was typed and answers every question with no, and sends its next request when it has its answer: what
//! the kernel keeps for a console that is busy has an end.
//!
//! A command is answered when its text would be: `pool create` when the pool is served, a change of a volume, of disks or of clients when it is in
//! force, or with an error after a minute, which says that it is still under way; `handover`, `takeover` and `giveback` when they have begun;
//! `reboot` and `poweroff` only where they take long. A rebuild, a merge, and the first time that the images of RAID are made equal
//! go on behind the answer, and `pools` tells of them.
//!
//! Decisions:
//! - It becomes the words of a line, which [`command::parse_words`] takes as it takes any others: there is one parser, and one set of checks.
//! - No value becomes an option, an action, or two words: an argument has only bytes that a word of a line can have, and does not begin
//!   with a hyphen. What a line cannot say is refused, not escaped.
//! - Whatever is not known is refused, also what is said twice: a program that is wrong about one part is not taken at its word about
//!   the others.
//! - What would be asked is refused without `"yes": true`. A program is never asked.
//! - `serde_json`, which writes all JSON here, reads it too; not by derived types, since these repeat values in their errors, and a value
//!   may be a password.

mod error;
mod node;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::command::{self, VERBS, Verb, shorten};
use super::{DONE, Operator, Reply, perform};
pub(super) use error::RequestError;
use node::Node;

/// The fields of a request.
const FIELDS: [&str; 4] = ["command", "arguments", "options", "id"];

/// Whether a line is a request of a program.
pub(super) fn is_request(line: &str) -> bool {
    line.trim_start().starts_with('{')
}

/// Carries out a request, and says how that went in one line.
pub(super) fn carry_out(operator: &dyn Operator, line: &str) -> Reply {
    let (id, request) = read(line);
    let request = match request {
        Ok(request) => request,
        Err(error) => return refusal(id, &error),
    };
    if !request.yes
        && let Some(question) = operator.question(&request)
    {
        return refusal(id, &RequestError::Unconfirmed(question));
    }
    let reply = perform(operator, &request);
    match reply.code {
        DONE => said(id, DONE, "answer", reply.json),
        code => {
            let error = json!({ "what": reply.text.trim_end(), "where": "head" });
            said(id, code, "error", error)
        }
    }
}

/// The answer to what is no request, or one that is not carried out.
pub(super) fn refusal(id: Option<u64>, error: &RequestError) -> Reply {
    let what = json!({ "what": error.to_string(), "where": error.place() });
    said(id, error.code(), "error", what)
}

fn said(id: Option<u64>, code: u8, key: &str, value: Value) -> Reply {
    let mut json = json!({ "code": code, key: value });
    if let Some(id) = id {
        json["id"] = id.into();
    }
    Reply {
        text: json.to_string(),
        json,
        code,
    }
}

/// All that `command` can be.
fn commands() -> Vec<String> {
    let all = VERBS.iter().flat_map(|verb| {
        let with = |action: &&str| format!("{} {action}", verb.name);
        match verb.actions() {
            [] => vec![verb.name.to_owned()],
            actions => actions.iter().map(with).collect(),
        }
    });
    all.collect()
}

/// What a line asks for, and by which number.
fn read(line: &str) -> (Option<u64>, Result<command::Request, RequestError>) {
    let fields = match serde_json::from_str::<Node>(line) {
        Ok(Node::Fields(fields)) => fields,
        Ok(_) => return (None, Err(kind("request", "an object"))),
        Err(error) => return (None, Err(syntax(&error))),
    };
    let mut ids = fields.iter().filter(|(name, _)| name == "id");
    let id = match (ids.next(), ids.next()) {
        (Some((_, Node::Number(id))), None) => Some(*id),
        _ => None,
    };
    (id, words(&fields).and_then(|words| understood(&words)))
}

fn syntax(error: &serde_json::Error) -> RequestError {
    let what = error.to_string();
    // The line is one, and the column is said.
    let end = what.rfind(" at line ").unwrap_or(what.len());
    RequestError::Syntax {
        what: what[..end].to_owned(),
        column: error.column(),
    }
}

fn kind(place: impl Into<String>, wanted: &'static str) -> RequestError {
    let place = place.into();
    RequestError::Kind { place, wanted }
}

/// The words of the line that fields come to.
fn words(fields: &[(String, Node)]) -> Result<Vec<Word>, RequestError> {
    let known = |name: &str| FIELDS.contains(&name);
    each_once(fields, "", known, || FIELDS.join(", "))?;
    let field = |name: &str| fields.iter().find(|(known, _)| known == name);
    if let Some((_, id)) = field("id")
        && !matches!(id, Node::Number(_))
    {
        return Err(kind("id", "a whole number"));
    }
    let Some((_, command)) = field("command") else {
        return Err(RequestError::Missing);
    };
    let Node::Text(command) = command else {
        return Err(kind("command", "a text"));
    };
    let (verb, action) = named(command).ok_or_else(|| RequestError::NoCommand {
        name: shorten(command),
    })?;
    let mut words = vec![Word::of("command", verb.name)];
    words.extend(action.map(|action| Word::of("command", action)));
    match field("arguments") {
        None => {}
        Some((_, Node::List(arguments))) => {
            for (at, argument) in arguments.iter().enumerate() {
                words.push(Word::argument(format!("arguments[{at}]"), argument)?);
            }
        }
        Some(_) => return Err(kind("arguments", "a list")),
    }
    match field("options") {
        None => {}
        Some((_, Node::Fields(options))) => put_options(verb, options, &mut words)?,
        Some(_) => return Err(kind("options", "an object")),
    }
    Ok(words)
}

fn understood(words: &[Word]) -> Result<command::Request, RequestError> {
    let line = words.iter().map(|word| word.text.as_str());
    match command::parse_words(line) {
        Ok(Some(request)) => Ok(request),
        // The command is a word.
        Ok(None) => Err(RequestError::Missing),
        Err(error) => {
            let is_it = |word: &&Word| error.word() == Some(&shorten(&word.text));
            let place = words.iter().rev().find(is_it);
            let place = place.map_or("arguments", |word| word.place.as_str());
            Err(RequestError::Command {
                place: place.to_owned(),
                error,
            })
        }
    }
}

/// A command and its action by their whole name: a value that was put in there is part of no name.
fn named(command: &str) -> Option<(&'static Verb, Option<&'static str>)> {
    let (name, action) = match command.split_once(' ') {
        Some((name, action)) => (name, Some(action)),
        None => (command, None),
    };
    let verb = VERBS.iter().find(|verb| verb.name == name)?;
    match action {
        None => verb.actions().is_empty().then_some((verb, None)),
        Some(action) => {
            let found = verb.actions().iter().find(|known| **known == action)?;
            Some((verb, Some(*found)))
        }
    }
}

/// That all fields are known, and none comes twice.
fn each_once(
    fields: &[(String, Node)],
    within: &'static str,
    is_known: impl Fn(&str) -> bool,
    allowed: impl Fn() -> String,
) -> Result<(), RequestError> {
    for (at, (name, _)) in fields.iter().enumerate() {
        if !is_known(name) {
            return Err(RequestError::Unknown {
                within,
                name: shorten(name),
                allowed: allowed(),
            });
        }
        if fields[..at].iter().any(|(earlier, _)| earlier == name) {
            let place = format!("{within}{name}");
            return Err(RequestError::Twice { place });
        }
    }
    Ok(())
}

fn put_options(
    verb: &Verb,
    options: &[(String, Node)],
    words: &mut Vec<Word>,
) -> Result<(), RequestError> {
    // The answer is JSON whatever is said.
    let all = || verb.options().iter().filter(|option| **option != "--json");
    let bare = |option: &&'static str| option.trim_start_matches('-');
    let find = |name: &str| all().find(|option| bare(option) == name);
    let allowed = || all().map(bare).collect::<Vec<_>>().join(", ");
    each_once(options, "options.", |name| find(name).is_some(), allowed)?;
    for (name, value) in options {
        let Some(option) = find(name) else { continue };
        let place = format!("options.{name}");
        if verb.valued().contains(option) {
            // Behind its option, whatever it begins with.
            let value = Word::value(place.clone(), value)?;
            words.extend([Word::of(place, option), value]);
        } else {
            match value {
                Node::Flag(true) => words.push(Word::of(place, option)),
                Node::Flag(false) => {}
                _ => return Err(kind(place, "true or false")),
            }
        }
    }
    Ok(())
}

/// A word of the line that a request comes to.
struct Word {
    /// The field that it is from.
    place: String,
    text: String,
}

impl Word {
    fn of(place: impl Into<String>, text: &str) -> Word {
        Word {
            place: place.into(),
            text: text.to_owned(),
        }
    }

    /// One that stands for itself, and is no option.
    fn argument(place: String, value: &Node) -> Result<Word, RequestError> {
        let word = Word::value(place, value)?;
        if word.text.starts_with('-') {
            let also = ", and no hyphen at its beginning";
            let place = word.place;
            return Err(RequestError::Word { place, also });
        }
        Ok(word)
    }

    /// One that is the value of an option.
    fn value(place: String, value: &Node) -> Result<Word, RequestError> {
        let text = match value {
            Node::Text(text) => text.clone(),
            Node::Number(number) => number.to_string(),
            _ => return Err(kind(place, "a text or a whole number")),
        };
        let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match is_word {
            true => Ok(Word { place, text }),
            false => Err(RequestError::Word { place, also: "" }),
        }
    }
}
