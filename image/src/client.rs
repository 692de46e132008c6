//! The lab's client: a small Debian as a read-only image, and the modules to reach it.
//!
//! Made by mkosi as a tar (which keeps owners) and packed with `sqfstar`: mkosi's own way to a
//! squashfs goes through a partitioned disk, which the VM would have to look into. There is no
//! `/init` in it: the lab appends an archive with its agent to [`ClientImage::modules_initrd`].

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    Kernel, Tools,
    apt::Apt,
    fingerprint::{Fingerprint, build_seconds},
    firmware::{extra, fresh_tree, pack, place},
    mkosi::Mkosi,
    modules::{self, Indexes},
    progress::step,
    workspace::Workspace,
};

/// The pieces that a VM of the client, or of the LIO shelf, is started with.
#[derive(Debug, Clone)]
pub struct ClientImage {
    /// The kernel: the same as a head's.
    pub kernel: PathBuf,
    /// cpio, zstd: `/lib/modules` alone. Further archives may be appended.
    pub modules_initrd: PathBuf,
    /// Root file system: squashfs, zstd. Without `/lib/modules`.
    pub root: PathBuf,
}

impl ClientImage {
    /// What was made, for a list: a name, the file, and the seconds that it took when last built.
    pub fn artefacts(&self) -> [(&'static str, &Path, Option<f32>); 2] {
        [
            (
                "modules",
                &self.modules_initrd,
                build_seconds(&self.modules_initrd),
            ),
            ("root", &self.root, build_seconds(&self.root)),
        ]
    }
}

/// Builds the client image into `target/image`; what is there already is not built again.
pub fn build(workspace: &Workspace, tools: &Tools) -> Result<ClientImage> {
    let directory = workspace.images();
    let _lock = Workspace::lock(&directory.join("lock"))?;
    let kernel = Kernel::ensure(workspace, tools)?;
    let image = ClientImage {
        kernel: kernel.image(),
        modules_initrd: directory.join("client.modules"),
        root: directory.join("client.squashfs"),
    };
    modules_initrd(workspace, tools, &kernel, &image)?;
    root(workspace, tools, &image)?;
    Ok(image)
}

fn modules_initrd(
    workspace: &Workspace,
    tools: &Tools,
    kernel: &Kernel,
    image: &ClientImage,
) -> Result<()> {
    let list = workspace.image_source().join("modules/client.list");
    let mut fingerprint = Fingerprint::new(include_str!("client.rs"));
    fingerprint.text(kernel.version());
    fingerprint.path(&list)?;
    fingerprint.path(&workspace.image_source().join("mkosi/initramfs"))?;
    let stamp = fingerprint.stamp(&image.modules_initrd);
    stamp.build("client modules", || {
        let tree = fresh_tree(workspace, "client-tree")?;
        modules::install(tools, kernel, &list, &tree, Indexes::ForModprobe)?;
        pack(
            workspace,
            tools,
            "client-modules",
            &tree,
            &image.modules_initrd,
        )
    })
}

fn root(workspace: &Workspace, tools: &Tools, image: &ClientImage) -> Result<()> {
    let mut fingerprint = Fingerprint::new(include_str!("client.rs"));
    fingerprint.path(&workspace.image_source().join("mkosi/client"))?;
    let stamp = fingerprint.stamp(&image.root);
    stamp.build("client root", || {
        let tar = step("Debian packages of the client", || tar(workspace, tools))?;
        step("squashfs of the client", || {
            squashfs(tools, &tar, &image.root)
        })
    })
}

/// Installs the packages; returns the root file system as a tar.
fn tar(workspace: &Workspace, tools: &Tools) -> Result<PathBuf> {
    let apt = Apt::new(workspace)?;
    let mut arguments = Vec::new();
    // mkosi's own sources name an archive of debug symbols, which a mirror need not have.
    let sandbox = workspace.images().join("work/client-apt");
    fs::create_dir_all(&sandbox)?;
    for (name, text, target) in [
        (
            "sources",
            apt.sources_for_sandbox()?,
            "/etc/apt/sources.list.d/mkosi.sources",
        ),
        ("acquire", apt.acquire()?, "/etc/apt/apt.conf.d/90host"),
    ] {
        let file = sandbox.join(name);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        let tree = extra(workspace, &file, target)?;
        arguments.extend(["--sandbox-tree".into(), tree]);
    }
    let output = Mkosi {
        tools,
        workspace,
        configuration: "client",
        name: "client",
        arguments,
    }
    .run()?;
    Ok(output.join("client.tar"))
}

fn squashfs(tools: &Tools, tar: &Path, to: &Path) -> Result<()> {
    let making = tar.with_extension("squashfs");
    let source = File::open(tar).with_context(|| format!("open {}", tar.display()))?;
    let mut pack = tools.command("sqfstar")?;
    pack.args([
        "-quiet",
        "-no-progress",
        "-force",
        "-comp",
        "zstd",
        "-Xcompression-level",
        "6",
    ]);
    // sqfstar takes no mode or time of the root directory from the tar.
    pack.args([
        "-mkfs-time",
        "0",
        "-root-mode",
        "0755",
        "-root-time",
        "0",
        "-root-uid",
        "0",
        "-root-gid",
        "0",
    ]);
    pack.arg(&making).stdin(source);
    crate::tools::run(&mut pack)?;
    place(&making, to)?;
    fs::remove_file(tar).with_context(|| format!("remove {}", tar.display()))
}
