//! The firmware of a head: kernel and initramfs for direct boot, the UKI, the flashable disk.
//!
//! The initramfs holds `/init`, the kernel's modules, a few helpers and nothing else (`image/tests` looks): what is
//! not there cannot be run. It is the same for every box; the configuration lies on the ESP, or is
//! appended by the lab as a second archive.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::{
    Kernel, Tools,
    fingerprint::{Fingerprint, build_seconds},
    helpers,
    mkosi::{Mkosi, below},
    modules::{self, Indexes},
    progress::step,
    workspace::Workspace,
};

/// The largest UKI that is allowed: DESIGN section 9.
const UKI_BYTES_MAX: u64 = 32 << 20;

/// Where the target of the whole workspace puts its programs; `.cargo/config.toml` sets it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The artefacts, each a file.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// The kernel, for direct boot.
    pub kernel: PathBuf,
    /// The initramfs, for direct boot: cpio, zstd. Further archives may be appended.
    pub initrd: PathBuf,
    /// Kernel, initramfs and command line in one EFI program.
    pub uki: PathBuf,
    /// GPT disk whose ESP boots the UKI; raw, sparse.
    pub disk: PathBuf,
}

impl Firmware {
    /// What was made, for a list: a name, the file, and the seconds that its step took when it was
    /// last built. Kernel, UKI and disk are made in one step.
    pub fn artefacts(&self) -> [(&'static str, &Path, Option<f32>); 4] {
        let (initramfs, disk) = (build_seconds(&self.initrd), build_seconds(&self.disk));
        [
            ("kernel", &self.kernel, disk),
            ("initramfs", &self.initrd, initramfs),
            ("UKI", &self.uki, disk),
            ("disk", &self.disk, disk),
        ]
    }
}

/// What to build, where it is not the firmware as it is shipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variant<'a> {
    /// Names the directory under `target/image`; empty for the one that is shipped.
    pub name: &'a str,
    /// The checkout that PID 1 is built from, if not this one: for tests of what happens when a
    /// safeguard is left out. There are no switches for that in the code itself.
    pub source: Option<&'a Path>,
}

/// Builds the firmware as it is shipped, into `target/image`.
pub fn build(workspace: &Workspace, tools: &Tools) -> Result<Firmware> {
    build_variant(workspace, tools, Variant::default())
}

/// Builds a variant; what is there already of the same inputs is not built again.
pub fn build_variant(workspace: &Workspace, tools: &Tools, variant: Variant) -> Result<Firmware> {
    let directory = workspace.images().join(variant.name);
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let _lock = Workspace::lock(&workspace.images().join("lock"))?;
    let kernel = Kernel::ensure(workspace, tools)?;
    let init = init(workspace, variant)?;
    let firmware = Firmware {
        kernel: directory.join("orthrus.vmlinuz"),
        initrd: directory.join("orthrus.initrd"),
        uki: directory.join("orthrus.efi"),
        disk: directory.join("orthrus.raw"),
    };
    initramfs(workspace, tools, &kernel, &init, &firmware)?;
    disk(workspace, tools, &kernel, &firmware)?;
    Ok(firmware)
}

/// Builds PID 1; returns the program, one static file.
fn init(workspace: &Workspace, variant: Variant) -> Result<PathBuf> {
    // Another checkout's programs have the same names.
    let (source, target) = match variant.source {
        None => (workspace.root(), workspace.target()),
        Some(source) => (source, workspace.images().join(variant.name).join("cargo")),
    };
    step("build init", || {
        let shell = Shell::new()?;
        shell.change_dir(source);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let target = &target;
        // Flags from the environment would replace those of .cargo/config.toml, which make it static.
        cmd!(
            shell,
            "{cargo} build --quiet --release --locked --package orthrus-init --target-dir {target}"
        )
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .quiet()
        .run()?;
        Ok(())
    })?;
    Ok(target.join(TARGET).join("release/orthrus-init"))
}

fn initramfs(
    workspace: &Workspace,
    tools: &Tools,
    kernel: &Kernel,
    init: &Path,
    firmware: &Firmware,
) -> Result<()> {
    let list = workspace.image_source().join("modules/head.list");
    let mut fingerprint = Fingerprint::new(include_str!("firmware.rs"));
    fingerprint.text(kernel.version());
    fingerprint.path(init)?;
    fingerprint.path(&list)?;
    fingerprint.path(&workspace.image_source().join("mkosi/initramfs"))?;
    helpers::fingerprint(tools, &mut fingerprint)?;
    let stamp = fingerprint.stamp(&firmware.initrd);
    stamp.build("initramfs", || {
        let tree = fresh_tree(workspace, "head-tree")?;
        fs::copy(init, tree.join("init")).with_context(|| format!("copy {}", init.display()))?;
        fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
        modules::install(tools, kernel, &list, &tree, Indexes::ForInit)?;
        helpers::install(tools, &tree)?;
        pack(workspace, tools, "head", &tree, &firmware.initrd)
    })
}

/// Packs a tree of files as an initramfs, as it is.
pub(crate) fn pack(
    workspace: &Workspace,
    tools: &Tools,
    name: &str,
    tree: &Path,
    to: &Path,
) -> Result<()> {
    let arguments = vec!["--extra-tree".into(), extra(workspace, tree, "/")?];
    let output = Mkosi {
        tools,
        workspace,
        configuration: "initramfs",
        name,
        arguments,
    }
    .run()?;
    place(&output.join(format!("{name}.cpio.zst")), to)
}

fn disk(workspace: &Workspace, tools: &Tools, kernel: &Kernel, firmware: &Firmware) -> Result<()> {
    let mut fingerprint = Fingerprint::new(include_str!("firmware.rs"));
    fingerprint.path(&kernel.image())?;
    fingerprint.path(&firmware.initrd)?;
    fingerprint.path(&workspace.image_source().join("mkosi/disk"))?;
    let stamp = fingerprint.stamp(&firmware.disk);
    if !firmware.uki.exists() || !firmware.kernel.exists() {
        stamp.clear()?;
    }
    stamp.build("UKI and disk", || {
        let tree = fresh_tree(workspace, "disk-tree")?;
        let modules = tree.join("usr/lib/modules").join(kernel.version());
        let stubs = tree.join("usr/lib/systemd/boot/efi");
        fs::create_dir_all(&modules)?;
        fs::create_dir_all(&stubs)?;
        fs::copy(kernel.image(), modules.join("vmlinuz"))?;
        // mkosi runs the image's own depmod unless these are there, and this image has no programs.
        for index in [
            "modules.dep",
            "modules.dep.bin",
            "modules.symbols",
            "modules.symbols.bin",
        ] {
            fs::write(modules.join(index), "")?;
        }
        fs::copy(
            tools.path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
            stubs.join("linuxx64.efi.stub"),
        )?;
        let arguments = vec![
            "--extra-tree".into(),
            extra(workspace, &tree, "/")?,
            "--initrd".into(),
            below(workspace, &firmware.initrd)?,
        ];
        let output = Mkosi {
            tools,
            workspace,
            configuration: "disk",
            name: "orthrus",
            arguments,
        }
        .run()?;
        let bytes = fs::metadata(output.join("orthrus.efi"))
            .context("the UKI")?
            .len();
        ensure!(
            bytes <= UKI_BYTES_MAX,
            "the UKI has {bytes} bytes, allowed are {UKI_BYTES_MAX}"
        );
        fs::copy(kernel.image(), &firmware.kernel)?;
        place(&output.join("orthrus.efi"), &firmware.uki)?;
        place(&output.join("orthrus.raw"), &firmware.disk)
    })
}

/// mkosi's `SOURCE:TARGET` of an extra tree.
pub(crate) fn extra(workspace: &Workspace, tree: &Path, target: &str) -> Result<OsString> {
    let mut argument = below(workspace, tree)?;
    argument.push(":");
    argument.push(target);
    Ok(argument)
}

/// An empty directory for the files of one image.
pub(crate) fn fresh_tree(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let tree = workspace.images().join("work").join(name);
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    fs::create_dir_all(&tree).with_context(|| format!("create {}", tree.display()))?;
    Ok(tree)
}

/// Moves a finished file to where it is looked for.
pub(crate) fn place(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("move {} to {}", from.display(), to.display()))
}
