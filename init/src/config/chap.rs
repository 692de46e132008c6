//! `[[pool.iscsi.chap]]`: who a client must prove to be, and who the target proves to be to it (RFC 7143 section 12.1.3).

use std::fmt;

use super::error::ConfigError;
use super::names;
use super::parse::name;
use super::section::Section;

/// One `[[pool.iscsi.chap]]`: a client of the list that must log in with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChapConfig {
    /// The initiator's name.
    pub client: String,
    /// What it calls itself.
    pub user: String,
    /// What it knows.
    pub password: Password,
    /// What the target calls itself to it, and knows, where the client wants a proof as well.
    pub mutual: Option<(String, Password)>,
}

/// A password: carried, used, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// One that clients take.
    pub(super) fn parse(text: &str) -> Option<Password> {
        names::is_password(text).then(|| Password(text.to_owned()))
    }

    /// The text, for the one place that hands it to the kernel.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

pub(super) fn chap(section: &Section<'_>, clients: &[String]) -> Result<ChapConfig, ConfigError> {
    section.only(&[
        "client",
        "user",
        "password",
        "mutual_user",
        "mutual_password",
    ])?;
    let client = section.text("client", "one of the pool's clients")?;
    if !clients.iter().any(|known| known == client.value) {
        return Err(client.at.error(format!(
            "is {:?}; allowed: one of the pool's clients: {}",
            client.value,
            clients.join(", ")
        )));
    }
    let password = password(section, "password")?;
    let mutual = match (section.has("mutual_user"), section.has("mutual_password")) {
        (false, false) => None,
        (true, false) => return Err(section.missing("mutual_password", names::PASSWORD)),
        (false, true) => return Err(section.missing("mutual_user", names::USER)),
        (true, true) => {
            let user = section.text("mutual_user", names::USER)?;
            let proof = self::password(section, "mutual_password")?;
            // Else whoever is asked could ask the asker.
            if proof == password {
                return Err(section
                    .place("mutual_password")
                    .error("is the same as password; allowed: another one"));
            }
            Some((name(user, names::is_user, names::USER)?, proof))
        }
    };
    let user = section.text("user", names::USER)?;
    Ok(ChapConfig {
        client: client.value.to_owned(),
        user: name(user, names::is_user, names::USER)?,
        password,
        mutual,
    })
}

/// The error never has the text in it.
fn password(section: &Section<'_>, key: &str) -> Result<Password, ConfigError> {
    let field = section.text(key, names::PASSWORD)?;
    match Password::parse(field.value) {
        Some(password) => Ok(password),
        None => Err(field.at.error(format!(
            "has {} characters, or others than these; allowed: {}",
            field.value.chars().count(),
            names::PASSWORD
        ))),
    }
}
