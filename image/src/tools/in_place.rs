//! The tree in place of the host's `/usr`, for programs that start others by their names.
//!
//! mkosi starts a dozen programs, itself among them, from sandboxes that it sets up, so the trick of
//! [`Tools::command`] does not carry. Here the tree is mounted over `/usr` in a mount namespace of
//! the command's own; the host sees nothing of it. What lies under the host's `/usr` (`/usr/local`
//! too) is out of sight meanwhile, so a checkout must not lie there.
//!
//! An ordinary user is root of a user namespace with that one id in it, and `chown` does nothing: all
//! files of an image then belong to root. Rejected: subordinate ids, which want a setuid helper and
//! entries in `/etc/subuid` that a fresh machine lacks, for a few owners in the client that nobody
//! misses. The firmware is the same either way.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::Tools;

/// Mounts, then becomes the program. The arguments are its words; `$0` is the tree's `/usr`.
const SCRIPT: &str = r#"mount --bind "$0" /usr && exec "$@""#;

/// Makes `chown` do nothing (mkosi has the filter), then becomes the program.
const WITHOUT_CHOWN: &str = "import os, sys; from mkosi.sandbox import seccomp_suppress_chown; \
    seccomp_suppress_chown(); os.execvp(sys.argv[1], sys.argv[1:])";

impl Tools {
    /// A command that runs `program` with the tree's `/usr` mounted over the host's.
    pub fn in_place(&self, program: &str) -> Result<Command> {
        ensure!(
            fs::read_link("/bin").is_ok(),
            "this host has no merged /usr: the tools cannot be mounted over it"
        );
        ensure!(
            !self.root.starts_with("/usr"),
            "the checkout lies under /usr, where the tools are mounted"
        );
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        if !is_root {
            has_user_namespaces()?;
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT])
            .arg(self.path("/usr"));
        if !is_root {
            command.args(["python3", "-c", WITHOUT_CHOWN]);
        }
        command
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
fn has_user_namespaces() -> Result<()> {
    let probe = ["--user", "--map-root-user", "--mount", "true"];
    let output = Command::new("unshare")
        .args(probe)
        .output()
        .context("start unshare")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!(
        "images are built in a user namespace, and this user cannot make one: {}. Allow it \
         (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces), or run as root",
        said.trim()
    )
}
