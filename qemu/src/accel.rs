//! KVM or emulation: KVM counts only when a real guest reaches userland with it. `/dev/kvm` that
//! opens proves nothing (nested and restricted hosts die on the first unusual instruction).

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use orthrus_image::{Tools, Workspace};
use serde::{Deserialize, Serialize};

/// What the probe guest prints when it got as far as userland.
pub const PROBE_WORD: &str = "orthrus-lab-probe-reached-userland";

/// With KVM this takes a second or two; without, there is nothing to wait for.
const PROBE_LIMIT: Duration = Duration::from_secs(12);

/// How guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// On the processor.
    Kvm,
    /// Emulated.
    Tcg,
}

impl Accel {
    /// Arguments for QEMU.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without the pinned buffer size each of four machines would take a gigabyte for translations.
            Self::Tcg => ["-accel", "tcg,tb-size=256", "-cpu", "max"],
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// Finds out, or remembers what was found since the host's last boot.
    pub fn probe(
        workspace: &Workspace,
        tools: &Tools,
        kernel: &Path,
        initrd: &Path,
    ) -> anyhow::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Machines that are started at a time ask once.
        let _lock = Workspace::lock(&workspace.target().join("lab-accel.lock"))?;
        let memo = workspace.target().join("lab-accel");
        let known = fs::read_to_string(&memo).unwrap_or_default();
        let device = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
        let expected = |accel: Self| format!("{} {} {device}", boot.trim(), accel.name());
        if let Some(accel) = [Self::Kvm, Self::Tcg]
            .into_iter()
            .find(|&accel| known == expected(accel))
        {
            return Ok(accel);
        }
        let accel = if device && boots(tools, kernel, initrd)? {
            Self::Kvm
        } else {
            Self::Tcg
        };
        fs::write(&memo, expected(accel)).with_context(|| format!("writing {}", memo.display()))?;
        Ok(accel)
    }
}

fn boots(tools: &Tools, kernel: &Path, initrd: &Path) -> anyhow::Result<bool> {
    let log = std::env::temp_dir().join(format!("orthrus-kvm-probe-{}", std::process::id()));
    let mut qemu = tools
        .command("qemu-system-x86_64")?
        .args([
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "q35",
            "-m",
            "256",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(Accel::Kvm.arguments())
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 lab.role=probe",
            "-serial",
        ])
        .arg(format!("file:{}", log.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting QEMU")?;
    let until = Instant::now() + PROBE_LIMIT;
    let reached =
        || fs::read(&log).is_ok_and(|said| String::from_utf8_lossy(&said).contains(PROBE_WORD));
    while Instant::now() < until && !reached() && matches!(qemu.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(100));
    }
    let boots = reached();
    let _ = qemu.kill();
    let _ = qemu.wait();
    let _ = fs::remove_file(&log);
    Ok(boots)
}
