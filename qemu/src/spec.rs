//! What a lab is made of: [`Options`] say what is wanted, [`Spec`] has every file found or built,
//! and is what the supervisor runs from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::accel::Accel;
use crate::names::{Head, ShelfKind};

/// Whether made disks hold a ledger unless something else is asked for.
pub const LEDGER: bool = true;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lab's name; one of a name runs at a time.
    pub name: String,
    /// What holds the disks.
    pub shelf: ShelfKind,
    /// Which disks.
    pub disks: Disks,
    /// Whether made disks hold a ledger and a state volume.
    pub ledger: bool,
    /// The disks have a volatile write cache that cannot be turned off; not for a tgt shelf, whose can be.
    pub disk_caches: bool,
    /// The text of `orthrus.toml`; generated from the disks if absent.
    pub config: Option<String>,
    /// Silence that counts as death in a generated configuration. The default is the product's; a test
    /// that must not fail when the host stalls for a second gives more.
    pub dead_ms: u32,
    /// How many paths each head has to each disk of the shelf; a plain shelf has one.
    pub paths: usize,
    /// A plain Linux server beside the heads, with a path to the same disks; a plain shelf has none.
    pub neighbour: bool,
    /// Boot the flashable disk by UEFI instead of the kernel directly.
    pub uefi: bool,
    /// Which heads are started at once; the others wait for `boot`.
    pub heads: Vec<Head>,
    /// Kernel and initramfs of the heads, where they are not the ones of this checkout.
    pub firmware: Option<(PathBuf, PathBuf)>,
    /// When `up` is done.
    pub ready: Ready,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "lab".into(),
            shelf: ShelfKind::default(),
            disks: Disks::Made,
            ledger: LEDGER,
            disk_caches: false,
            config: None,
            dead_ms: 1000,
            paths: 1,
            neighbour: false,
            uefi: false,
            heads: Head::BOTH.to_vec(),
            firmware: None,
            ready: Ready::Served,
        }
    }
}

/// The shared disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disks {
    /// Four, with a volume group made by the real lvm2: a fresh copy.
    Made,
    /// These raw images, in place.
    InPlace(Vec<PathBuf>),
    /// Copies of these raw images.
    Copies(Vec<PathBuf>),
    /// None at all.
    None,
}

/// When a lab counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// As soon as its machines run.
    Started,
    /// When every started head answers commands.
    Answering,
    /// When also every pool is served and the client is logged in.
    Served,
}

/// A pool, as far as the lab needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its first service address, without prefix length.
    pub address: String,
    /// Its target's name, if it exports by iSCSI.
    pub iqn: Option<String>,
    /// What it shares by NFS.
    #[serde(default)]
    pub shares: Vec<String>,
}

/// Everything that the supervisor needs: all paths absolute, all files there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The lab's name.
    pub name: String,
    /// Its state directory.
    pub dir: PathBuf,
    /// The shelf.
    pub shelf: ShelfKind,
    /// The raw images.
    pub disks: Vec<PathBuf>,
    /// They have a volatile write cache.
    #[serde(default)]
    pub disk_caches: bool,
    /// How many paths each head has to each of them.
    pub paths: usize,
    /// There is a neighbour.
    #[serde(default)]
    pub neighbour: bool,
    /// KVM or emulation.
    pub accel: Accel,
    /// How heads boot.
    pub firmware: Boot,
    /// Which heads are started at once.
    pub heads: Vec<Head>,
    /// The text of `orthrus.toml`.
    pub config: String,
    /// The pools in it; empty if it cannot be read.
    pub pools: Vec<Pool>,
    /// The image of the client, of the LIO shelf and of the neighbour.
    pub client: GuestImage,
}

/// How a head boots.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// QEMU loads kernel and initramfs; the configuration is appended to the latter.
    Direct {
        /// The kernel.
        kernel: PathBuf,
        /// The initramfs with the configuration.
        initrd: PathBuf,
        /// The kernel's command line.
        cmdline: String,
    },
    /// UEFI loads the UKI from the boot disk.
    Uefi {
        /// OVMF.
        code: PathBuf,
        /// Each head's variables: a, b.
        vars: [PathBuf; 2],
        /// Each head's boot disk: a, b.
        disks: [PathBuf; 2],
    },
}

/// What a guest with the agent boots.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestImage {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its modules and the agent.
    pub initrd: PathBuf,
    /// The root, read-only.
    pub root: PathBuf,
}
