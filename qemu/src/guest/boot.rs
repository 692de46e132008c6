//! `/init` of the lab's guests: from an initramfs with modules to a chroot in the client image, with
//! a writable layer in memory over it, in a few seconds. Then PID 1 only reaps; a second process of
//! the same binary is the agent, because whoever reaps everything cannot also wait for its own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::mount::{MountFlags, mount, mount_bind, mount_move};

use super::modules::Modules;

/// Loaded in every guest.
const MODULES: &[&str] = &[
    "crc32c_generic",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "squashfs",
    "erofs",
    "ext4",
    "loop",
    "overlay",
    "af_packet",
];
/// Loaded in the client: the initiator, and what its users may mount.
const CLIENT_MODULES: &[&str] = &["sd_mod", "sg", "iscsi_tcp", "dm_mod", "nfsv4", "nfs", "xfs"];
/// Loaded in the LIO shelf.
const SHELF_MODULES: &[&str] = &[
    "configfs",
    "target_core_mod",
    "target_core_iblock",
    "iscsi_target_mod",
];
/// Loaded in the neighbour: disks as a head has them, and what offers its volumes.
const NEIGHBOUR_MODULES: &[&str] = &[
    "sd_mod",
    "sg",
    "virtio_scsi",
    "dm_mod",
    "configfs",
    "target_core_mod",
    "target_core_iblock",
    "iscsi_target_mod",
];
/// Loaded in the disk maker.
const MAKER_MODULES: &[&str] = &["dm_mod", "sd_mod", "virtio_scsi"];

/// Runs as PID 1; never returns.
pub fn run() -> ! {
    if let Err(e) = prepare().and_then(|()| supervise()) {
        eprintln!("guest: {e:#}");
    }
    // Ending would be a kernel panic without our message on the console: stay and let it be read.
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn prepare() -> anyhow::Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        pseudo(kind, target)?;
    }
    if option("lab.role").as_deref() == Some("probe") {
        probe();
    }
    let role = option("lab.role").unwrap_or_else(|| "client".into());
    let mut modules = Modules::open();
    let more = match role.as_str() {
        "shelf" => SHELF_MODULES,
        "maker" => MAKER_MODULES,
        "neighbour" => NEIGHBOUR_MODULES,
        _ => CLIENT_MODULES,
    };
    MODULES
        .iter()
        .chain(more)
        .for_each(|name| modules.load(name));
    let root = root_device()?;
    enter(&root)?;
    println!("guest: {role} ready");
    Ok(())
}

/// The accelerator's probe: reaching userland is all that is asked. Ends the machine.
fn probe() -> ! {
    println!("{}", crate::accel::PROBE_WORD);
    let _ = fs::write("/proc/sysrq-trigger", "o");
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn pseudo(kind: &str, target: &str) -> anyhow::Result<()> {
    fs::create_dir_all(target)?;
    match mount(kind, target, kind, MountFlags::empty(), None) {
        // The kernel may have mounted devtmpfs itself.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("mounting {kind} on {target}")),
    }
}

/// The virtio disk whose serial number is `root`.
fn root_device() -> anyhow::Result<String> {
    for _ in 0..200 {
        for entry in fs::read_dir("/sys/block")?.flatten() {
            let serial = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            if serial.trim() == "root" && Path::new("/dev").join(&name).exists() {
                return Ok(format!("/dev/{name}"));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(anyhow!("no virtio disk with the serial number `root`"))
}

/// Mounts the root read-only, a layer in memory over it, and makes that `/`.
fn enter(device: &str) -> anyhow::Result<()> {
    for dir in ["/image", "/memory", "/root"] {
        fs::create_dir_all(dir)?;
    }
    let mounted = ["squashfs", "erofs", "ext4"]
        .iter()
        .any(|kind| mount(device, "/image", *kind, MountFlags::RDONLY, None).is_ok());
    if !mounted {
        bail!("{device} is no squashfs, erofs or ext4");
    }
    mount("tmpfs", "/memory", "tmpfs", MountFlags::empty(), None)?;
    fs::create_dir_all("/memory/upper")?;
    fs::create_dir_all("/memory/work")?;
    let layers = c"lowerdir=/image,upperdir=/memory/upper,workdir=/memory/work";
    mount("overlay", "/root", "overlay", MountFlags::empty(), layers)
        .context("mounting the overlay")?;
    for dir in ["/proc", "/sys", "/dev"] {
        let target = format!("/root{dir}");
        fs::create_dir_all(&target)?;
        mount_move(dir, &target).with_context(|| format!("moving {dir}"))?;
    }
    for (dir, text) in [("/root/run", "run"), ("/root/tmp", "tmp")] {
        fs::create_dir_all(dir)?;
        mount(text, dir, "tmpfs", MountFlags::empty(), None)?;
    }
    // For what a script asks for later: the kernel's own requests too.
    let modules = "/root/usr/lib/modules";
    fs::create_dir_all(modules)?;
    mount_bind("/lib/modules", modules).context("binding the modules")?;
    fs::copy("/init", format!("/root{}", super::SELF))
        .context("copying the agent into the root")?;
    rustix::process::chdir("/root")?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    for (kind, target) in [
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("configfs", "/sys/kernel/config"),
    ] {
        let _ = fs::create_dir_all(target);
        // configfs only where its module is loaded.
        let _ = mount(kind, target, kind, MountFlags::empty(), None);
    }
    Ok(())
}

/// Starts the agent and reaps whatever ends, for ever.
fn supervise() -> anyhow::Result<()> {
    let agent = Command::new(super::SELF)
        .arg("agent")
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .process_group(0)
        .spawn()
        .context("starting the agent")?;
    let agent_pid = agent.id() as i32;
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == agent_pid => {
                bail!("the agent ended: {status:?}")
            }
            Ok(_) => {}
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// A word `NAME=VALUE` of the kernel's command line.
pub fn option(name: &str) -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    line.split_whitespace().find_map(|word| {
        word.strip_prefix(name)?
            .strip_prefix('=')
            .map(str::to_owned)
    })
}
