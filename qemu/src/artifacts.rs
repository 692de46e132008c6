//! Everything a lab runs from, built or found: the way from [`Options`] to [`Spec`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};
use orthrus_image::{ClientImage, Tools, Workspace, backported, client, firmware};

use crate::accel::Accel;
use crate::cpio::{self, Entry};
use crate::disks;
use crate::maker::{Drive, Maker};
use crate::names::ShelfKind;
use crate::spec::{Boot, Disks, GuestImage, Options, Spec};
use crate::state::{Starting, StateDir};
use crate::{config, esp, room, supervisor};

/// The kernel command line of a head that is booted directly; the UKI's is in `image/mkosi`.
const HEAD_CMDLINE: &str = "console=ttyS0,115200 panic=10 raid=noautodetect loglevel=4";

/// Builds what is missing and lays out a lab's state directory. Says what the host lacks first.
pub fn prepare(options: &Options, state: &StateDir, starting: &Starting) -> anyhow::Result<Spec> {
    if options.neighbour && options.shelf == ShelfKind::Plain {
        bail!("a plain shelf has no path for a neighbour");
    }
    spare_disks(&options.disks, state)?;
    supervisor::probe(state.path())?;
    let workspace = Workspace::here()?;
    room::check(options, &workspace)?;
    let tools = Tools::ensure(&workspace)?;
    let (kernel, initrd, disk) = match &options.firmware {
        Some((kernel, initrd)) => (kernel.clone(), initrd.clone(), PathBuf::new()),
        None => {
            let built = firmware::build(&workspace, &tools)?;
            (built.kernel, built.initrd, built.disk)
        }
    };
    let guest = guest_image(&workspace, &tools)?;
    let accel = Accel::probe(&workspace, &tools, &guest.kernel, &guest.initrd)?;
    let made = match options.disks {
        Disks::Made => disks::make::ensure(&workspace, &tools, accel, &guest, options.ledger)?,
        _ => Vec::new(),
    };
    state.prepare(starting)?;
    let disks = disks::provide(&options.disks, &made, &state.file("disks"))?;
    let config = match &options.config {
        Some(text) => text.clone(),
        None => config::generate(&disks, &config::secret()?, options.dead_ms),
    };
    let config_file = state.file("orthrus.toml");
    fs::write(&config_file, &config)?;
    let firmware = if options.uefi {
        if !disk.exists() {
            bail!("UEFI boots the flashable disk, which a firmware of other files does not have");
        }
        uefi(&tools, &disk, &config_file, state)?
    } else {
        let with_config = state.file("head.initrd");
        append(
            &initrd,
            &[Entry {
                path: "orthrus.toml",
                mode: 0o600,
                bytes: config.as_bytes(),
            }],
            &with_config,
        )?;
        Boot::Direct {
            kernel,
            initrd: with_config,
            cmdline: HEAD_CMDLINE.into(),
        }
    };
    let spec = Spec {
        name: options.name.clone(),
        dir: state.path().to_owned(),
        shelf: options.shelf,
        disks,
        disk_caches: options.disk_caches,
        paths: options.paths,
        neighbour: options.neighbour,
        accel,
        firmware,
        heads: options.heads.clone(),
        pools: config::pools(&config),
        config,
        client: guest,
    };
    fs::write(state.file("spec.json"), serde_json::to_vec_pretty(&spec)?)?;
    Ok(spec)
}

/// The default disks, made if they are not there yet: originals, to be copied and not written to.
pub fn made_disks(ledger: bool) -> anyhow::Result<Vec<PathBuf>> {
    let workspace = Workspace::here()?;
    let (tools, guest, accel) = guest_parts(&workspace)?;
    disks::make::ensure(&workspace, &tools, accel, &guest, ledger)
}

/// A new directory for the files of such a machine: several of a process run at a time.
pub fn machine_dir(kind: &str) -> anyhow::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{kind}-{}-{number}", std::process::id());
    let dir = Workspace::here()?.target().join("lab").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A machine with the real tools for volumes, with these disks, and its files in this directory.
pub fn maker(dir: &Path, drives: &[Drive]) -> anyhow::Result<Maker> {
    let (tools, guest, accel) = guest_parts(&Workspace::here()?)?;
    Maker::boot(&tools, accel, &guest, dir, drives)
}

/// The same with Debian's newest kernel, for what that of the release lacks.
pub fn backported_maker(dir: &Path, drives: &[Drive]) -> anyhow::Result<Maker> {
    let workspace = Workspace::here()?;
    let tools = Tools::ensure(&workspace)?;
    let image = backported::build(&workspace, &tools)?;
    let guest = with_agent(&workspace, &image, "guest-backports.initrd")?;
    let accel = Accel::probe(&workspace, &tools, &guest.kernel, &guest.initrd)?;
    Maker::boot(&tools, accel, &guest, dir, drives)
}

fn guest_parts(workspace: &Workspace) -> anyhow::Result<(Tools, GuestImage, Accel)> {
    let tools = Tools::ensure(workspace)?;
    let guest = guest_image(workspace, &tools)?;
    let accel = Accel::probe(workspace, &tools, &guest.kernel, &guest.initrd)?;
    Ok((tools, guest, accel))
}

/// A new lab empties its state directory: disks that lie in there must not be among what it is given.
fn spare_disks(disks: &Disks, state: &StateDir) -> anyhow::Result<()> {
    let (Disks::InPlace(files) | Disks::Copies(files)) = disks else {
        return Ok(());
    };
    for file in files {
        let path = file
            .canonicalize()
            .with_context(|| format!("no disk image {}", file.display()))?;
        if path.starts_with(state.path().canonicalize()?) {
            bail!(
                "{} belongs to an earlier lab of this name, which a new one removes: give --name",
                file.display()
            );
        }
    }
    Ok(())
}

/// The client image with the agent as its `/init`.
fn guest_image(workspace: &Workspace, tools: &Tools) -> anyhow::Result<GuestImage> {
    let image = client::build(workspace, tools)?;
    with_agent(workspace, &image, "guest.initrd")
}

/// An image whose initramfs ends with the agent, in this file.
fn with_agent(
    workspace: &Workspace,
    image: &ClientImage,
    name: &str,
) -> anyhow::Result<GuestImage> {
    let agent = fs::read(build_agent(workspace)?).context("reading the guest agent")?;
    let initrd = workspace.images().join(name);
    // Machines of one process may be started at a time, which the name of what is being made does not tell apart.
    let _lock = Workspace::lock(&workspace.images().join("lock"))?;
    append(
        &image.modules_initrd,
        &[Entry {
            path: "init",
            mode: 0o755,
            bytes: &agent,
        }],
        &initrd,
    )?;
    Ok(GuestImage {
        kernel: image.kernel.clone(),
        initrd,
        root: image.root.clone(),
    })
}

fn build_agent(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let status = agent_build(workspace).status().context("running cargo")?;
    if !status.success() {
        bail!("the guest agent does not build");
    }
    Ok(workspace
        .target()
        .join("x86_64-unknown-linux-gnu/release/guest"))
}

fn agent_build(workspace: &Workspace) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "orthrus-qemu", "--bin", "guest"])
        // Wherever the user's own builds go: one of an earlier day would be taken from there instead.
        .arg("--target-dir")
        .arg(workspace.target())
        .current_dir(workspace.root())
        // Flags from the environment would replace those of .cargo/config.toml, which make it static.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// An initramfs with an archive behind it. Made beside its place, as another lab may be reading it.
fn append(initrd: &Path, entries: &[Entry<'_>], to: &Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(initrd).with_context(|| format!("reading {}", initrd.display()))?;
    // The kernel looks for the next archive at a multiple of four bytes.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(cpio::archive(entries));
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let making = to.with_extension(format!("making-{}", std::process::id()));
    fs::write(&making, bytes)?;
    fs::rename(&making, to).with_context(|| format!("writing {}", to.display()))
}

/// For each head a copy of the flashable disk with the configuration on its ESP, and its variables.
fn uefi(tools: &Tools, disk: &Path, config: &Path, state: &StateDir) -> anyhow::Result<Boot> {
    let copy = |name: &str| -> anyhow::Result<(PathBuf, PathBuf)> {
        let (boot, vars) = (
            state.file(&format!("{name}.boot.raw")),
            state.file(&format!("{name}.vars.fd")),
        );
        disks::sparse::copy(disk, &boot)?;
        esp::write(tools, &boot, "orthrus.toml", config)?;
        let template = tools.path("/usr/share/OVMF/OVMF_VARS_4M.fd");
        fs::copy(&template, &vars).with_context(|| format!("copying {}", template.display()))?;
        Ok((boot, vars))
    };
    let ((disk_a, vars_a), (disk_b, vars_b)) = (copy("a")?, copy("b")?);
    Ok(Boot::Uefi {
        code: tools.path("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        vars: [vars_a, vars_b],
        disks: [disk_a, disk_b],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_built_where_it_is_read_whatever_the_environment_says() {
        let workspace = Workspace::here().unwrap();
        let command = agent_build(&workspace);
        let words: Vec<_> = command.get_args().collect();
        let at = words.iter().position(|word| *word == "--target-dir");
        let target = at.and_then(|at| words.get(at + 1));
        assert_eq!(target, Some(&workspace.target().as_os_str()));
        assert!(words.contains(&"--locked".as_ref()), "{words:?}");
    }
}
