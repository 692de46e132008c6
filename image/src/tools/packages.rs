//! Which packages are in the tree of tools, and why. What they depend on comes with them.

/// Names of Debian packages. A change makes a new tree.
#[rustfmt::skip]
pub const TOOLS: &[&str] = &[
    // The lab.
    "qemu-system-x86",       // heads, shelf, client
    "qemu-block-extra",      // its iSCSI driver: how a head reaches the shelf
    "qemu-utils",            // qemu-img
    "seabios", "ipxe-qemu",  // firmware of machines that boot a kernel directly; ROMs of network cards
    "ovmf",                  // UEFI
    "tgt",                   // the shelf on the host: tgtd, tgtadm
    "iproute2",              // bridge and taps in the lab's namespaces
    "libiscsi-bin",          // iscsi-ls, iscsi-inq, iscsi-test-cu for `lab exec`
    "sg3-utils",             // sg_persist

    // The image.
    "mkosi",                 // drives the rest
    "bubblewrap",            // its sandbox
    "apt", "debian-archive-keyring", // packages of the client image
    "systemd-repart",        // partition table of the flashable disk
    "systemd-ukify", "systemd-boot-efi", // the UKI, and the stub that it starts with
    "mtools", "dosfstools",  // the ESP's file system without mounting it
    "kmod",                  // depmod
    "cpio", "zstd", "xz-utils",
    "squashfs-tools",        // root of the client image
    "e2fsprogs", "xfsprogs", // makers and checkers of file systems, for the image too
    "util-linux",            // unshare, setpriv
    "python3",               // mkosi and ukify are Python
    // Essential packages, which no other depends on: what mkosi and maintainer scripts call.
    "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip", "libc-bin", "mawk", "sed", "tar",
];
