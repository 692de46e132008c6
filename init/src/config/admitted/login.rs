//! The login of an initiator, as it was said at a console.

use crate::config::chap::Password;
use crate::config::{ChapConfig, names};

/// Names and passwords of a login, as they were said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// What the client calls itself.
    pub user: Option<&'a str>,
    /// What it knows.
    pub password: Option<&'a str>,
    /// What the target calls itself to it.
    pub mutual_user: Option<&'a str>,
    /// What the target knows.
    pub mutual_password: Option<&'a str>,
}

impl Login<'_> {
    /// What the client must prove, if anything.
    pub(super) fn chap(self, client: &str) -> Result<Option<ChapConfig>, String> {
        let Login {
            user,
            password,
            mutual_user,
            mutual_password,
        } = self;
        let one = |user: Option<&str>, password: Option<&str>, which: &str| match (user, password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => {
                if !names::is_user(user) {
                    return Err(format!("{which}user is not {}", names::USER));
                }
                let password = Password::parse(password);
                let password =
                    password.ok_or_else(|| format!("{which}password is not {}", names::PASSWORD));
                Ok(Some((user.to_owned(), password?)))
            }
            _ => Err(format!("{which}user and {which}password go together")),
        };
        let proof = one(user, password, "")?;
        let mutual = one(mutual_user, mutual_password, "mutual-")?;
        match (proof, mutual) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err("mutual-user needs user and password as well".to_owned()),
            // Else whoever is asked could ask the asker.
            (Some((_, password)), Some((_, other))) if password == other => {
                Err("mutual-password is the same as password; allowed: another one".to_owned())
            }
            (Some((user, password)), mutual) => Ok(Some(ChapConfig {
                client: client.to_owned(),
                user,
                password,
                mutual,
            })),
        }
    }
}
