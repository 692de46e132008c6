//! The lab's own namespaces: nothing that it does to networks or processes is seen by the host, and
//! everything in it ends with the supervisor, which is PID 1 in there.
//!
//! By way of `unshare` of util-linux, which works for root and for ordinary users and needs no
//! `unsafe` here. The network inside:
//!
//! | bridge | members | addresses |
//! |---|---|---|
//! | `clients` | data ports of the heads, the client, the neighbour | 10.77.0.1 host side, .10 up service addresses, .99 neighbour, .100 client |
//! | `shelf` | the LIO shelf | 10.78.0.1 host side, .2 shelf |

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use orthrus_image::Tools;

use crate::names::Head;

/// Arguments of `unshare` for the supervisor.
const UNSHARE: &[&str] = &[
    "--user",
    "--map-root-user",
    "--net",
    "--pid",
    "--mount",
    "--kill-child",
    "--fork",
    "--",
];

/// The client's address.
pub const CLIENT_ADDRESS: &str = "10.77.0.100/24";
/// The neighbour's address.
pub const NEIGHBOUR_ADDRESS: &str = "10.77.0.99/24";
/// The LIO shelf's address.
pub const SHELF_ADDRESS: &str = "10.78.0.2/24";

/// A command that runs a program in new namespaces.
pub fn enter(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(program);
    command
}

/// Tries all that the lab needs from the kernel; says what is missing before anything is built.
pub fn probe() -> anyhow::Result<()> {
    let output = Command::new("unshare")
        .args(UNSHARE)
        .args(["sh", "-c", PROBE])
        .stdin(Stdio::null())
        .output()
        .context("`unshare` (package util-linux) is missing")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.trim() == "fine" {
        return Ok(());
    }
    if said.contains("fine") {
        bail!(
            "the lab cannot run here: {}",
            said.replace("fine", "").trim()
        );
    }
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    bail!(
        "the lab needs user, network, mount and pid namespaces, and does not get them here: {}\n\
         user.max_user_namespaces is {}; kernel.unprivileged_userns_clone=0 and AppArmor's restriction \
         of unprivileged user namespaces are the usual reasons; none of them applies to root",
        said.trim(),
        limit.trim(),
    )
}

/// Says what is missing inside of namespaces; `fine` when it got to its end.
const PROBE: &str = r#"exec 2>&1
mount -t tmpfs tmpfs /run || echo "no private /run can be mounted"
[ -c /dev/net/tun ] || echo "there is no /dev/net/tun (kernel module tun)"
{ [ -r /dev/net/tun ] && [ -w /dev/net/tun ]; } || echo "/dev/net/tun may not be opened by this user: usual is chmod 0666 /dev/net/tun"
echo fine"#;

/// Inside: a private /run, loopback, bridges and taps.
pub fn furnish(tools: &Tools) -> anyhow::Result<()> {
    // tgtd and others keep their sockets under /run; the host's is not theirs.
    rustix::mount::mount(
        "tmpfs",
        "/run",
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .context("mounting a private /run")?;
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
