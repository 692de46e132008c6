//! The lab's client with Debian's newest kernel, for tests that want what the release's own lacks: the root of [`client`], and the
//! few modules of `modules/backports.list`. Nothing that is shipped is built of it.

use anyhow::Result;

use crate::{
    ClientImage, Kernel, Tools, client,
    fingerprint::Fingerprint,
    firmware::{fresh_tree, pack},
    modules::{self, Indexes},
    workspace::Workspace,
};

/// Builds it into `target/image`; what is there already is not built again.
pub fn build(workspace: &Workspace, tools: &Tools) -> Result<ClientImage> {
    let client = client::build(workspace, tools)?;
    let directory = workspace.images();
    let _lock = Workspace::lock(&directory.join("lock"))?;
    let kernel = Kernel::ensure_backported(workspace, tools)?;
    let image = ClientImage {
        kernel: kernel.image(),
        modules_initrd: directory.join("backports.modules"),
        root: client.root,
    };
    let list = workspace.image_source().join("modules/backports.list");
    let mut fingerprint = Fingerprint::new(include_str!("backported.rs"));
    fingerprint.text(kernel.version());
    fingerprint.path(&list)?;
    fingerprint.path(&workspace.image_source().join("mkosi/initramfs"))?;
    let stamp = fingerprint.stamp(&image.modules_initrd);
    stamp.build("backported kernel's modules", || {
        let tree = fresh_tree(workspace, "backports-tree")?;
        modules::install(tools, &kernel, &list, &tree, Indexes::ForModprobe)?;
        let to = &image.modules_initrd;
        pack(workspace, tools, "backports-modules", &tree, to)
    })?;
    Ok(image)
}
