//! The tree in place of the host's `/usr`, for programs that start others by their names.
//!
//! mkosi starts a dozen programs, itself among them, from sandboxes that it sets up, so the trick of
//! [`Tools::command`] does not carry. Here the tree is mounted over `/usr` in a mount namespace of
//! the command's own; the host sees nothing of it. What lies under the host's `/usr` (`/usr/local`
//! too) is out of sight meanwhile, so a checkout must not lie there.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::Tools;

/// Mounts, then becomes the program. The arguments are its words; `$0` is the tree's `/usr`.
const SCRIPT: &str = r#"mount --bind "$0" /usr && exec "$@""#;

impl Tools {
    /// A command that runs `program` with the tree's `/usr` mounted over the host's.
    ///
    /// As an ordinary user it is root of a user namespace with the user's subordinate ids.
    pub fn in_place(&self, program: &str) -> Result<Command> {
        ensure!(
            fs::read_link("/bin").is_ok(),
            "this host has no merged /usr: the tools cannot be mounted over it"
        );
        ensure!(
            !self.root.starts_with("/usr"),
            "the checkout lies under /usr, where the tools are mounted"
        );
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            can_map_ids()?;
            command.args(["--user", "--map-root-user", "--map-auto"]);
        }
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]);
        command
            .arg(self.path("/usr"))
            .arg(program)
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
        // Python would write beside its modules, and the tree is not to change.
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Fails with what is missing, before minutes go into a build that cannot end.
fn can_map_ids() -> Result<()> {
    let probe = ["--user", "--map-root-user", "--map-auto", "--mount", "true"];
    let output = Command::new("unshare")
        .args(probe)
        .output()
        .context("start unshare")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let ids = if Path::new("/usr/bin/newuidmap").exists() {
        ""
    } else {
        " The package uidmap is not installed."
    };
    anyhow::bail!(
        "images are built in a user namespace with subordinate ids, and this user cannot make one: {}.{ids} \
         Wanted: unprivileged user namespaces, and a range for this user in /etc/subuid and /etc/subgid; or run as root",
        said.trim()
    )
}
