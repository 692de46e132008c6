//! The lab's own namespaces: nothing that it does to networks or processes is seen by the host, and
//! everything in it ends with the supervisor, which is PID 1 in there.
//!
//! By way of `unshare` of util-linux, which works for root and for ordinary users and needs no
//! `unsafe` here. An ordinary user becomes root of a user namespace in which there is no other user; root stays what it is,
//! since in such a namespace it could not enter a directory of another user's, such as the checkout that it was called
//! in, and since user namespaces may be forbidden. The root of a container may be none that can do without, and is treated as
//! an ordinary user then. The network inside:
//!
//! | bridge | members | addresses |
//! |---|---|---|
//! | `clients` | data ports of the heads, the client, the neighbour | 10.77.0.1 host side, .10 up service addresses, .99 neighbour, .100 client |
//! | `shelf` | the LIO shelf | 10.78.0.1 host side, .2 shelf |

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use orthrus_image::Tools;
use rustix::thread::CapabilitySet;

use crate::names::Head;

/// Arguments of `unshare` for who has no [`PRIVILEGES`].
const AS_USER: &[&str] = &["--user", "--map-root-user"];

/// Arguments of `unshare` for everybody.
const UNSHARE: &[&str] = &["--net", "--pid", "--mount", "--kill-child", "--fork", "--"];

/// The client's address.
pub const CLIENT_ADDRESS: &str = "10.77.0.100/24";
/// The neighbour's address.
pub const NEIGHBOUR_ADDRESS: &str = "10.77.0.99/24";
/// The LIO shelf's address.
pub const SHELF_ADDRESS: &str = "10.78.0.2/24";

/// What it takes to make the namespaces and a network in them without being root of a user namespace.
const PRIVILEGES: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN);

/// Whether namespaces can be had without a user namespace, whose only user is the one who made it.
fn is_privileged() -> bool {
    let mine =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    rustix::process::geteuid().is_root() && mine.contains(PRIVILEGES)
}

/// The arguments of `unshare` up to the program.
fn arguments(is_privileged: bool) -> Vec<&'static str> {
    let user = if is_privileged { &[] } else { AS_USER };
    [user, UNSHARE].concat()
}

/// A command that runs a program in new namespaces.
pub fn enter(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(arguments(is_privileged())).arg(program);
    command
}

/// Tries all that the lab needs from the kernel, with `probe`, which is [`look_around`] in new namespaces; says what is missing
/// before anything is built.
pub fn probe(mut probe: Command) -> anyhow::Result<()> {
    let output = probe
        .stdin(Stdio::null())
        .output()
        .context("`unshare` (package util-linux) is missing")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.trim() == FINE {
        return Ok(());
    }
    if said.contains(FINE) {
        bail!("the lab cannot run here: {}", said.replace(FINE, "").trim());
    }
    if said.contains("failed to execute") {
        bail!(
            "the lab cannot run here: {}: who starts the lab must be able to run this program and to enter its directories",
            said.trim()
        );
    }
    if is_privileged() {
        bail!(
            "the lab needs network, mount and pid namespaces, and does not get them here: {}",
            said.trim()
        );
    }
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    bail!(
        "the lab needs user, network, mount and pid namespaces, and does not get them here: {}\n\
         user.max_user_namespaces is {}; kernel.unprivileged_userns_clone=0 and AppArmor's restriction \
         of unprivileged user namespaces are the usual reasons; none of them applies to root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
        said.trim(),
        limit.trim(),
    )
}

/// The last word of a probe that got to its end.
const FINE: &str = "the probe has ended";

/// Inside, before there is a lab: says what of all that it needs is missing, line by line. `dir` is to be its state directory.
pub fn look_around(dir: &Path) {
    if let Err(error) = private_run() {
        println!("{error:#}");
    }
    let tun = Path::new("/dev/net/tun");
    if !tun.exists() {
        println!("there is no /dev/net/tun (kernel module tun)");
    } else if let Err(error) = File::options().read(true).write(true).open(tun) {
        println!(
            "/dev/net/tun may not be opened by this user: {error}; usual is chmod 0666 /dev/net/tun"
        );
    }
    let file = dir.join("probe");
    if let Err(error) = fs::write(&file, "").and_then(|()| fs::remove_file(&file)) {
        println!("nothing can be written to {}: {error}", dir.display());
    }
    println!("{FINE}");
}

/// tgtd and others keep their sockets under /run; the host's is not theirs.
fn private_run() -> anyhow::Result<()> {
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", "/run", "tmpfs", flags, None).context("mounting a private /run")
}

/// Inside: a private /run, loopback, bridges and taps.
pub fn furnish(tools: &Tools) -> anyhow::Result<()> {
    private_run()?;
    std::fs::create_dir_all("/run/tgtd")?;
    ip(tools, "link set lo up")?;
    for (bridge, address) in [("clients", "10.77.0.1/24"), ("shelf", "10.78.0.1/24")] {
        ip(tools, &format!("link add {bridge} type bridge"))?;
        ip(tools, &format!("address add {address} dev {bridge}"))?;
        ip(tools, &format!("link set {bridge} up"))?;
    }
    for (tap, bridge) in [
        ("data-a", "clients"),
        ("data-b", "clients"),
        ("spare-a", "clients"),
        ("spare-b", "clients"),
        ("client", "clients"),
        ("neighbour", "clients"),
        ("shelf-vm", "shelf"),
    ] {
        ip(tools, &format!("tuntap add {tap} mode tap"))?;
        ip(tools, &format!("link set {tap} master {bridge} up"))?;
    }
    Ok(())
}

/// Takes a head's data port off the client network, or puts it back.
pub fn set_data_port(tools: &Tools, head: Head, joined: bool) -> anyhow::Result<()> {
    let master = if joined { "master clients" } else { "nomaster" };
    ip(tools, &format!("link set data-{head} {master}"))
}

fn ip(tools: &Tools, arguments: &str) -> anyhow::Result<()> {
    let output = tools
        .command("ip")?
        .args(arguments.split(' '))
        .output()
        .context("running ip")?;
    if !output.status.success() {
        bail!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The pid by which other shells know a child of the supervisor, which itself sees pids of its own
/// namespace: /proc is still the host's.
pub fn outer_pid(inner: u32) -> Option<u32> {
    let mine = std::fs::read_link("/proc/self/ns/pid").ok()?;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if std::fs::read_link(entry.path().join("ns/pid"))
            .ok()
            .as_ref()
            != Some(&mine)
        {
            continue;
        }
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .unwrap_or_default();
        if line
            .split_whitespace()
            .last()
            .and_then(|pid| pid.parse().ok())
            == Some(inner)
        {
            return Some(pid);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_makes_no_user_namespace_and_anybody_else_does() {
        // In one it would not be let into a checkout of another user's, and the kernel may forbid it.
        assert_eq!(arguments(true), UNSHARE);
        assert_eq!(arguments(false)[..2], *AS_USER);
        assert_eq!(arguments(false)[2..], *UNSHARE);
    }
}
